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
func (db *DB) load(tx *bbolt.Tx) error {
	if _, err := checkSchema(tx); err != nil {
		return err
	}
	w := db.work
	for _, step := range []func(*bbolt.Tx) error{w.loadMeta, w.loadObjects, w.loadOutbox, w.loadMemory, w.loadReview} {
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

func (w *working) loadParked(key string, body []byte, _ uint32) error {
	p, err := parseParkedKey(key)
	if err != nil {
		return fmt.Errorf("parked event %q: %w", key, errDamaged)
	}
	w.parked[p] = true
	var is parked
	if err := unmarshal(bucketMeta, key, body, &is); err != nil {
		return err
	}
	if is.Asked != nil {
		w.again[p] = true
	}
	return nil
}

// cutLast splits off the last n bytes and the slash before them.
func cutLast(s string, n int) (before, last string) {
	if len(s) < n+1 {
		return "", ""
	}
	return s[:len(s)-n-1], s[len(s)-n:]
}

// remember notes an alarm of the file; ids rise, so the newest comes last.
func (w *working) remember(id rawID, h alarmHead) {
	if hiding, found := w.hiding(h.name); found {
		delete(w.alarms, hiding)
	}
	if last, known := w.raised[h.name]; known {
		before := w.before[h.name] // nobody else looks at it yet
		if len(before) == occurrences-1 {
			before = append(before[:0], before[1:]...)
		}
		w.before[h.name] = append(before, last)
	}
	w.raised[h.name] = id
}

// resight notes an alarm that rose shortly before the start.
func (w *working) resight(a edgeagent.Alarm) {
	w.recent = slide(w.recent, a.RaisedAt, floodAlarms+1)
	w.lines[a.Line] = sight(w.lines[a.Line], a.ID, a.RaisedAt, time.Now())
	if a.Diagnose && a.Job != "" {
		g := groupOf(a)
		w.flood[g] = w.flood[g].raise(a.RaisedAt).open(a.Job.Time())
	}
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
