package queue

import (
	"cmp"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"edgeagent"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// An AlarmFilter selects alarms. Lists are newest first.
type AlarmFilter struct {
	State string       // active (open, not shelved; the default), shelved (closed ones too, as long as they hide the next), history (all)
	Limit int          // 0 is 50, at most 1000
	After edgeagent.ID // only older ones: the next of the page before
}

// A JobFilter selects jobs. Lists are newest first.
type JobFilter struct {
	State edgeagent.JobState // empty: all
	Limit int                // 0 is 50, at most 1000
	After edgeagent.ID       // only older ones: the next of the page before
}

// viewing reads the file as it was committed last. It waits for no sync but that
// of a checkpoint. It must not be called within itself.
func (db *DB) viewing(doing string, read func(*bbolt.Tx) error) error {
	if err := db.enter(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer db.turn.RUnlock()
	if db.tx == nil {
		return fmt.Errorf("%s: %w", doing, cmp.Or(db.failure(), errClosed))
	}
	if err := guard(func() error { return read(db.tx) }); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// getter reads JSON records of a transaction.
func getter(tx *bbolt.Tx) func(bucket byte, key string, v any) error {
	return func(bucket byte, key string, v any) error {
		body, _, err := readRecord(tx, bucket, key)
		if err != nil {
			return err
		}
		return unmarshal(bucket, key, body, v)
	}
}

func readAlarm(tx *bbolt.Tx, id edgeagent.ID) (edgeagent.Alarm, error) {
	return alarmOf(getter(tx), id)
}

// Alarm returns one alarm, open or not; ErrNotFound without one.
func (db *DB) Alarm(id edgeagent.ID) (a edgeagent.Alarm, err error) {
	err = db.viewing("read alarm "+string(id), func(tx *bbolt.Tx) error {
		a, err = readAlarm(tx, id)
		return err
	})
	return a, err
}

// Evidence returns what was known when an alarm rose. It is nil for an alarm
// that came without any, and ErrNotFound without the alarm.
func (db *DB) Evidence(alarm edgeagent.ID) (e *edgeagent.Evidence, err error) {
	err = db.viewing("read the evidence of alarm "+string(alarm), func(tx *bbolt.Tx) error {
		if _, err := readAlarm(tx, alarm); err != nil {
			return err
		}
		e, err = optional[edgeagent.Evidence](getter(tx), bucketBodies, part(alarm, partEvidence))
		return err
	})
	return e, err
}

// Alarms returns a page of alarms and the id to ask for the next one with; it is
// empty on the last page.
func (db *DB) Alarms(f AlarmFilter) (list []edgeagent.Alarm, next edgeagent.ID, err error) {
	list = []edgeagent.Alarm{}
	limit := limited(f.Limit)
	if f.State != "history" {
		for _, a := range db.OpenAlarms() {
			if (f.State == "shelved") == (a.ShelvedUntil != nil) && (f.After == "" || a.ID < f.After) {
				list = append(list, a)
			}
		}
		if len(list) > limit {
			list = list[:limit]
			next = list[limit-1].ID
		}
		return list, next, nil
	}
	err = db.viewing("list alarms", func(tx *bbolt.Tx) error {
		return db.backwards(tx, bucketAlarms, f.After, func(id edgeagent.ID) (bool, error) {
			a, err := readAlarm(tx, id)
			if err != nil {
				return true, err
			}
			if len(list) == limit {
				next = list[limit-1].ID
				return false, nil
			}
			list = append(list, a)
			return true, nil
		})
	})
	return list, next, err
}

// backwards visits ids older than after, newest first, until visit returns
// false. One record that cannot be read must not hide all others: it is logged
// and left out.
func (db *DB) backwards(tx *bbolt.Tx, kind byte, after edgeagent.ID, visit func(edgeagent.ID) (more bool, err error)) error {
	r, err := rowsOf(tx, kind)
	if err != nil {
		return err
	}
	ok := r.last()
	if after != "" {
		if !r.seek(string(after)) {
			r.last()
		}
		for ok = r.key != ""; ok && edgeagent.ID(r.key) >= after; ok = r.prev() {
		}
	}
	for ; ok; ok = r.prev() {
		more, err := visit(edgeagent.ID(r.key))
		if errors.Is(err, errDamaged) {
			db.options.Load().Log.Error("a record cannot be read and is left out", "id", r.key, "error", err)
			continue
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// Job returns one job whole; ErrNotFound without it.
func (db *DB) Job(id edgeagent.ID) (j edgeagent.Job, err error) {
	err = db.viewing("read job "+string(id), func(tx *bbolt.Tx) error {
		h, err := readHeader(tx, id)
		if err != nil {
			return err
		}
		j, err = readJob(tx, id, h)
		return err
	})
	return j, err
}

func readHeader(tx *bbolt.Tx, id edgeagent.ID) (header, error) {
	body, _, err := readRecord(tx, bucketJobs, string(id))
	if err != nil {
		return header{}, err
	}
	return decodeHeader(body)
}

func readJob(tx *bbolt.Tx, id edgeagent.ID, h header) (edgeagent.Job, error) {
	bodies, err := bodiesOf(tx, id)
	if err != nil {
		return edgeagent.Job{}, err
	}
	return assemble(id, h, bodies)
}

// Jobs returns a page of jobs and the id to ask for the next one with; it is
// empty on the last page.
func (db *DB) Jobs(f JobFilter) (list []edgeagent.Job, next edgeagent.ID, err error) {
	list = []edgeagent.Job{}
	limit := limited(f.Limit)
	err = db.viewing("list jobs", func(tx *bbolt.Tx) error {
		return db.backwards(tx, bucketJobs, f.After, func(id edgeagent.ID) (bool, error) {
			h, err := readHeader(tx, id)
			if err != nil || f.State != "" && h.State != f.State {
				return true, err
			}
			if len(list) == limit {
				next = list[limit-1].ID
				return false, nil
			}
			j, err := readJob(tx, id, h)
			if err == nil {
				list = append(list, j)
			}
			return true, err
		})
	})
	return list, next, err
}

func limited(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

// ByKey returns the alarm that came with an idempotency key, and the hash of the
// body that it came with. A key whose alarm is lost, or damaged, is free.
func (db *DB) ByKey(key string) (alarm edgeagent.ID, bodyHash string, ok bool) {
	var k keyed
	err := db.viewing("look up an idempotency key", func(tx *bbolt.Tx) error {
		if err := getter(tx)(bucketKeys, idempotencyKey(key), &k); err != nil {
			return err
		}
		_, _, err := readRecord(tx, bucketAlarms, string(k.Alarm))
		return err
	})
	if err != nil && !errors.Is(err, edgeagent.ErrNotFound) {
		db.options.Load().Log.Error("an idempotency key cannot be read and counts as unknown", "error", err)
	}
	return k.Alarm, k.Hash, err == nil
}
