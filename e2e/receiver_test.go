package e2e

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// receiver is an upstream: it commits a batch to PostgreSQL before it answers
// with the receipt, which it reads back from the table.
type receiver struct {
	t   *testing.T
	db  *sql.DB
	url string

	mu         sync.Mutex
	misbehave  func(w http.ResponseWriter, r *http.Request) bool // true: answered already
	heartbeats int
	conflicts  int
}

const receiverSchema = `
CREATE TABLE event (
	source text, epoch text, stream text, sequence bigint, id text NOT NULL, type text NOT NULL,
	digest text NOT NULL, body jsonb NOT NULL, received timestamptz DEFAULT clock_timestamp(),
	arrival bigserial, PRIMARY KEY (source, epoch, stream, sequence));
CREATE TABLE applied (id text PRIMARY KEY, times int NOT NULL DEFAULT 1);`

func newReceiver(t *testing.T) *receiver { return newReceiverOn(t, listenLoopback(t)) }

func newReceiverOn(t *testing.T, l net.Listener) *receiver {
	t.Helper()
	r := &receiver{t: t, db: newDatabase(t), url: "http://" + l.Addr().String() + "/events"}
	if _, err := r.db.ExecContext(t.Context(), receiverSchema); err != nil {
		t.Fatalf("schema: %v", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(r.handle)}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return r
}

// set installs a misbehaviour; nil is back to normal.
func (r *receiver) set(f func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.misbehave = f
}

type eventDoc struct {
	ID, Source, Type, Subject, Sequence string
	Epoch                               string `json:"eaepoch"`
	Stream                              string `json:"eastream"`
	Time                                time.Time
	Data                                json.RawMessage
}

func (r *receiver) handle(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	wrong := r.misbehave
	r.mu.Unlock()
	if wrong != nil && wrong(w, req) {
		return
	}
	raw, err := readBatch(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	receipt, err := r.store(req.Context(), raw)
	var conflict *conflictError
	switch {
	case errors.As(err, &conflict):
		r.mu.Lock()
		r.conflicts++
		r.mu.Unlock()
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(receipt)
	}
}

func readBatch(req *http.Request) ([]json.RawMessage, error) {
	if ct := req.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/cloudevents-batch+json") {
		return nil, fmt.Errorf("content type %q", ct)
	}
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(req.Body)
		if err != nil {
			return nil, err
		}
		body = z
	}
	var raw []json.RawMessage
	err := json.NewDecoder(body).Decode(&raw)
	return raw, err
}

type conflictError struct{ what string }

func (e *conflictError) Error() string { return "another event has the number of " + e.what }

// store commits the batch and returns the receipt as the table has it.
func (r *receiver) store(ctx context.Context, raw []json.RawMessage) (map[string]any, error) {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	var epoch, source string
	for _, body := range raw {
		var e eventDoc
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, err
		}
		epoch, source = e.Epoch, e.Source
		if e.Stream == "" {
			r.mu.Lock()
			r.heartbeats++
			r.mu.Unlock()
			continue
		}
		if err := insert(ctx, tx, e, body); err != nil {
			return nil, err
		}
	}
	contig, err := contiguous(ctx, tx, source, epoch)
	if err != nil {
		return nil, err
	}
	return map[string]any{"epoch": epoch, "contig": contig}, tx.Commit()
}

func insert(ctx context.Context, tx *sql.Tx, e eventDoc, body []byte) error {
	seq, err := strconv.ParseUint(e.Sequence, 10, 64)
	if err != nil || len(e.Sequence) != 20 {
		return fmt.Errorf("sequence %q", e.Sequence)
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	res, err := tx.ExecContext(ctx, `INSERT INTO event (source, epoch, stream, sequence, id, type, digest, body)
		VALUES ($1,$2,$3,$4,$5,$6,$7,$8) ON CONFLICT DO NOTHING`, e.Source, e.Epoch, e.Stream, seq, e.ID, e.Type, digest, string(body))
	if err != nil {
		return err
	}
	if n, _ := res.RowsAffected(); n == 1 {
		_, err = tx.ExecContext(ctx, `INSERT INTO applied (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET times = applied.times + 1`, e.ID)
		return err
	}
	var known string
	if err := tx.QueryRowContext(ctx, `SELECT digest FROM event WHERE source=$1 AND epoch=$2 AND stream=$3 AND sequence=$4`,
		e.Source, e.Epoch, e.Stream, seq).Scan(&known); err != nil {
		return err
	}
	if known != digest {
		return &conflictError{e.Stream + " " + e.Sequence}
	}
	return nil
}

func contiguous(ctx context.Context, tx *sql.Tx, source, epoch string) (map[string]uint64, error) {
	contig := map[string]uint64{}
	for _, stream := range []string{"alarm", "diagnosis", "event"} {
		var n uint64
		err := tx.QueryRowContext(ctx, `SELECT COALESCE(max(sequence), 0) FROM (
			SELECT sequence, row_number() OVER (ORDER BY sequence) AS place FROM event
			WHERE source=$1 AND epoch=$2 AND stream=$3) s WHERE sequence = place`, source, epoch, stream).Scan(&n)
		if err != nil {
			return nil, err
		}
		contig[stream] = n
	}
	return contig, nil
}

// events returns what was stored of a type, in the order of arrival.
func (r *receiver) events(typ string) []eventDoc {
	r.t.Helper()
	rows, err := r.db.Query(`SELECT body FROM event WHERE type = $1 ORDER BY arrival`, typ)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	var all []eventDoc
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			r.t.Fatal(err)
		}
		var e eventDoc
		if err := json.Unmarshal(body, &e); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// diagnoses returns, for every alarm, in how many diagnosis.completed it is.
func (r *receiver) diagnoses() map[string]int {
	r.t.Helper()
	count := map[string]int{}
	for _, e := range r.events("edgeagent.diagnosis.completed.v1") {
		var j jobDoc
		if err := json.Unmarshal(e.Data, &j); err != nil {
			r.t.Fatal(err)
		}
		for _, id := range j.Alarms {
			count[id]++
		}
	}
	return count
}

// gaps returns every stream that is not numbered 1, 2, 3, … without a hole.
func (r *receiver) gaps() []string {
	r.t.Helper()
	rows, err := r.db.Query(`SELECT epoch, stream, count(*), max(sequence), min(sequence) FROM event GROUP BY 1, 2`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	var bad []string
	for rows.Next() {
		var epoch, stream string
		var n, most, least int64
		if err := rows.Scan(&epoch, &stream, &n, &most, &least); err != nil {
			r.t.Fatal(err)
		}
		if n != most || least != 1 {
			bad = append(bad, fmt.Sprintf("%s/%s: %d events from %d to %d", epoch, stream, n, least, most))
		}
	}
	return bad
}

// doubled returns how many ids were applied more than once.
func (r *receiver) doubled() int {
	r.t.Helper()
	var n int
	if err := r.db.QueryRow(`SELECT count(*) FROM applied WHERE times > 1`).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}
