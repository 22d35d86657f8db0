package queue

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// A Reader reads a data file that no agent has open.
type Reader struct {
	db      *DB
	file    shut
	release func() error
}

// OpenReader opens a data file for reading. It shares the lock with other
// readers, and returns an error that wraps [ErrInUse] while an agent has the
// file. A damaged file may end the process: have it checked before, see
// [CheckFile] and [OpenChecked].
func OpenReader(ctx context.Context, path string) (*Reader, error) {
	return OpenChecked(ctx, path, func(context.Context, string) error { return nil })
}

// OpenChecked opens a data file as [OpenReader] does, once check has found it
// whole. Nobody writes the file while it is checked: what is written meanwhile
// looks like damage.
func OpenChecked(ctx context.Context, path string, check func(ctx context.Context, path string) error) (*Reader, error) {
	release, err := share(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := check(ctx, path); err != nil {
		return nil, errors.Join(err, release())
	}
	o := Options{Path: path}.withDefaults()
	db := &DB{path: path, work: newWorking()}
	db.options.Store(&o)
	db.ledger.configure(o)
	var s shut
	err = guard(func() (err error) {
		s, err = openShut(path, readWait)
		return err
	})
	if err == nil {
		db.bolt, db.tx = s.bolt, s.tx
		db.page.Store(int64(s.bolt.Info().PageSize))
		err = db.viewing("read the data file", db.recall)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), s.close(), release())
	}
	return &Reader{db: db, file: s, release: release}, nil
}

// current refuses a file that another version has to read.
func current(tx *bbolt.Tx) error {
	v, err := checkSchema(tx)
	if err == nil && v == schemaApart {
		err = fmt.Errorf("schema %d is an older version's: start the agent once, it upgrades the file", v)
	}
	return err
}

// Jobs returns a page of jobs, as [DB.Jobs] does.
func (r *Reader) Jobs(f JobFilter) ([]edgeagent.Job, edgeagent.ID, error) { return r.db.Jobs(f) }

// Alarm returns one alarm, as [DB.Alarm] does.
func (r *Reader) Alarm(id edgeagent.ID) (edgeagent.Alarm, error) { return r.db.Alarm(id) }

// Memories returns what is remembered, as [DB.Memories] does.
func (r *Reader) Memories(limit int) ([]edgeagent.Memory, error) { return r.db.Memories(limit) }

// Close closes the file.
func (r *Reader) Close() error { return errors.Join(r.file.close(), r.release()) }

// A Description says what a data file holds.
type Description struct {
	Schema    int                 `json:"schema"`
	Epoch     edgeagent.ID        `json:"epoch"`
	FileBytes int64               `json:"file_bytes"` // up to its last page
	Jobs      edgeagent.JobCounts `json:"jobs"`
	Alarms    int                 `json:"alarms"`
	Events    int                 `json:"events"` // of the outbox, confirmed ones included
	Records   int                 `json:"records"`
}

// Describe counts what is in the file.
func (r *Reader) Describe() (d Description, err error) {
	err = r.db.viewing("describe the data file", func(tx *bbolt.Tx) error {
		d.FileBytes = tx.Size()
		if d.Schema, err = schemaOf(tx); err != nil {
			return err
		}
		epoch, _, err := readRecord(tx, bucketMeta, keyEpoch)
		if err != nil {
			return err
		}
		d.Epoch = edgeagent.ID(epoch)
		w := newWorking()
		for _, kind := range kinds {
			if err := d.count(tx, kind, w); err != nil {
				return err
			}
		}
		d.Jobs = w.jobCounts()
		return nil
	})
	return d, err
}

func (d *Description) count(tx *bbolt.Tx, kind byte, w *working) error {
	return scanRecords(tx, kind, "", func(_ string, body []byte, _ uint32) error {
		d.Records++
		switch kind {
		case bucketAlarms:
			d.Alarms++
		case bucketOutbox:
			d.Events++
		case bucketJobs:
			h, err := decodeHeader(body)
			if err != nil {
				return err
			}
			w.counts[h.State]++
		}
		return nil
	})
}
