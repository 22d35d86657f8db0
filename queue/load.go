package queue

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// load fills memory from the file. Any damage it meets is the file's.
func (db *DB) load() error {
	return db.bolt.View(func(tx *bbolt.Tx) error {
		if _, err := checkSchema(tx); err != nil {
			return err
		}
		w := db.work
		for _, step := range []func(*bbolt.Tx) error{w.loadMeta, w.loadAlarms, w.loadJobs, w.loadOutbox} {
			if err := step(tx); err != nil {
				return err
			}
		}
		if err := db.loadSalvaged(tx); err != nil {
			return err
		}
		body, _, err := readRecord(tx, bucketMeta, keySpend)
		if errors.Is(err, edgeagent.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return db.ledger.load(body)
	})
}

// loadSalvaged finds the note of a salvage that was not told of yet.
func (db *DB) loadSalvaged(tx *bbolt.Tx) error {
	s, err := optional[salvaged](getter(tx), bucketMeta, keySalvaged)
	if s != nil {
		db.salvaged = s.String()
	}
	return err
}

// checkSchema returns the version of a file, or an error for one that is not ours to read.
func checkSchema(tx *bbolt.Tx) (int, error) {
	v, err := schemaOf(tx)
	if err == nil && v > schemaVersion {
		err = fmt.Errorf("schema %d: %w", v, errNewer)
	}
	return v, err
}

func (w *working) loadMeta(tx *bbolt.Tx) error {
	epoch, _, err := readRecord(tx, bucketMeta, keyEpoch)
	if err != nil {
		return err
	}
	w.epoch = edgeagent.ID(epoch)
	return errors.Join(
		scanRecords(tx, bucketMeta, prefixDev, func(key string, body []byte, _ uint32) error {
			var m edgeagent.DeviceMemory
			err := unmarshal(bucketMeta, key, body, &m)
			w.devices[m.Device] = m
			return err
		}),
		scanRecords(tx, bucketMeta, prefixSent, w.loadCursor),
		scanRecords(tx, bucketMeta, prefixPark, w.loadParked))
}

func (w *working) loadCursor(key string, body []byte, _ uint32) error {
	dest, rest := cutLast(strings.TrimPrefix(key, prefixSent), 27)
	s, _, err := parseOutboxKey(rest + "12345678")
	if err != nil {
		return fmt.Errorf("cursor %q: %w", key, errDamaged)
	}
	w.cursors[cursorKey{dest, s}], err = decodeCursor(body)
	return err
}

func (w *working) loadParked(key string, _ []byte, _ uint32) error {
	dest, rest := cutLast(strings.TrimPrefix(key, prefixPark), 35)
	s, seq, err := parseOutboxKey(rest)
	if err != nil {
		return fmt.Errorf("parked event %q: %w", key, errDamaged)
	}
	w.parked[parkedKey{cursorKey{dest, s}, seq}] = true
	return nil
}

// cutLast splits off the last n bytes and the slash before them.
func cutLast(s string, n int) (before, last string) {
	if len(s) < n+1 {
		return "", ""
	}
	return s[:len(s)-n-1], s[len(s)-n:]
}

// loadAlarms reads the head of every alarm, and those whole that are at hand or
// rose a moment ago.
func (w *working) loadAlarms(tx *bbolt.Tx) error {
	return scanRecords(tx, bucketAlarms, "", func(key string, body []byte, _ uint32) error {
		id := edgeagent.ID(key)
		h, err := readHead(key, body)
		if err != nil {
			return err
		}
		w.remember(id, h)
		fresh := time.Since(h.raised) < floodWindow
		if !fresh && !w.atHand(id, h) {
			return nil
		}
		a, err := alarmOf(getter(tx), id)
		if err != nil {
			return err
		}
		if w.atHand(id, h) {
			w.alarms[id] = &a
		}
		if fresh {
			w.resight(a)
		}
		return nil
	})
}

// remember notes an alarm of the file; ids rise, so the newest comes last.
func (w *working) remember(id edgeagent.ID, h alarmHead) {
	if hiding, found := w.hiding(h.name); found {
		delete(w.alarms, hiding)
	}
	ids := append(w.raised[h.name], id)
	w.raised[h.name] = ids[max(0, len(ids)-occurrences):]
}

// resight notes an alarm that rose shortly before the start.
func (w *working) resight(a edgeagent.Alarm) {
	w.recent = append(w.recent, a.RaisedAt)
	w.recent = w.recent[max(0, len(w.recent)-floodAlarms-1):]
	w.lines[a.Line] = sight(w.lines[a.Line], a.ID, a.RaisedAt, time.Now())
	if a.Diagnose && a.Job != "" {
		g := groupOf(a)
		w.flood[g] = w.flood[g].raise(a.RaisedAt).open(a.Job.Time())
	}
}

func (w *working) loadJobs(tx *bbolt.Tx) error {
	now := time.Now()
	return scanRecords(tx, bucketJobs, "", func(key string, body []byte, revision uint32) error {
		id := edgeagent.ID(key)
		h, err := wholeHeader(getter(tx), id, body)
		if err != nil {
			return err
		}
		w.counts[h.State]++
		j := job{header: h, id: id, revision: revision, was: h.State}
		if h.State == edgeagent.JobRunning {
			w.running[id] = j
		}
		if h.State != edgeagent.JobPending {
			return nil
		}
		w.schedule(j, now)
		if !h.Frozen {
			w.groups[h.Group] = id
		}
		return nil
	})
}

// loadOutbox finds both ends of every stream. Keys are sorted by epoch, stream
// and number, so it steps from end to end instead of reading all of it.
func (w *working) loadOutbox(tx *bbolt.Tx) error {
	r, err := rowsOf(tx, bucketOutbox)
	if err != nil {
		return err
	}
	for ok := r.seek(""); ok; ok = r.next() {
		s, first, err := parseOutboxKey(r.key)
		if err != nil {
			return fmt.Errorf("%w: %w", err, errDamaged)
		}
		if after := s.prefix() + "\xff\xff\xff\xff\xff\xff\xff\xff"; r.seek(after) {
			r.prev()
		} else {
			r.last()
		}
		_, last, err := parseOutboxKey(r.key)
		if err != nil {
			return fmt.Errorf("%w: %w", err, errDamaged)
		}
		w.floor[s], w.last[s] = first-1, last
	}
	return nil
}
