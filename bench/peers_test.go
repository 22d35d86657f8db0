package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/mikestefanello/backlite"
	"maragu.dev/goqite"

	"edgeagent"
)

// sqlite opens a database that survives a power cut: synchronous is FULL.
func sqlite(b *testing.B, name string) *sql.DB {
	b.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(b.TempDir(), name)+"?_journal=WAL&_sync=FULL&_timeout=5000&_txlock=immediate")
	must(b, err)
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { _ = db.Close() })
	return db
}

// A peer is goqite doing what the data file does, with the same payload: a queue
// of jobs, a queue of events, four commits an alarm.
type peer struct {
	b            *testing.B
	db           *sql.DB
	jobs, events *goqite.Queue
}

func newPeer(b *testing.B) *peer {
	b.Helper()
	db := sqlite(b, "goqite.db")
	schema, err := os.ReadFile("testdata/goqite.sql")
	must(b, err)
	_, err = db.Exec(string(schema))
	must(b, err)
	return &peer{
		b: b, db: db,
		jobs:   goqite.New(goqite.NewOpts{DB: db, Name: "jobs", Timeout: time.Minute}),
		events: goqite.New(goqite.NewOpts{DB: db, Name: "events", Timeout: time.Minute}),
	}
}

func (p *peer) tx(do func(tx *sql.Tx) error) {
	tx, err := p.db.Begin()
	must(p.b, err)
	must(p.b, do(tx))
	must(p.b, tx.Commit())
}

func text(v any) []byte {
	out, _ := json.Marshal(v) // of plain values: never fails
	return out
}

// record stores the alarm with its evidence as a job, and its event.
func (p *peer) record(up edgeagent.Transition) (event goqite.ID) {
	ctx := context.Background()
	p.tx(func(tx *sql.Tx) (err error) {
		if err := p.jobs.SendTx(ctx, tx, goqite.Message{Body: text(up)}); err != nil {
			return err
		}
		event, err = p.events.SendAndGetIDTx(ctx, tx, goqite.Message{Body: text(up.Alarm)})
		return err
	})
	return event
}

func (p *peer) life(up edgeagent.Transition, o edgeagent.Outcome) {
	ctx := context.Background()
	raised := p.record(up)
	m, err := p.jobs.Receive(ctx)
	if err != nil || m == nil {
		p.b.Fatalf("receive: %v, %v", m, err)
	}
	var told goqite.ID
	p.tx(func(tx *sql.Tx) (err error) {
		if err := p.jobs.DeleteTx(ctx, tx, m.ID); err != nil {
			return err
		}
		told, err = p.events.SendAndGetIDTx(ctx, tx, goqite.Message{Body: text(o)})
		return err
	})
	p.tx(func(tx *sql.Tx) error {
		if err := p.events.DeleteTx(ctx, tx, raised); err != nil {
			return err
		}
		return p.events.DeleteTx(ctx, tx, told)
	})
}

// A task is what backlite queues. Its dispatcher fetches one task at a time and
// bounds a life, not the disk: only queueing is compared.
type task struct{ Transition []byte }

// Config is backlite.Task's.
func (task) Config() backlite.QueueConfig {
	return backlite.QueueConfig{Name: "diagnose", MaxAttempts: 3, Timeout: time.Minute, Backoff: time.Second}
}

func newBacklite(b *testing.B) *backlite.Client {
	b.Helper()
	c, err := backlite.NewClient(backlite.ClientConfig{DB: sqlite(b, "backlite.db"), NumWorkers: 1, ReleaseAfter: time.Hour})
	must(b, err)
	c.Register(backlite.NewQueue(func(context.Context, task) error { return nil }))
	must(b, c.Install())
	return c
}
