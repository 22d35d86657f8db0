package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// Pending returns the next events for a destination: after its cursor, without
// parked ones, alarms first, then diagnoses, then the rest. All are of one
// epoch, the oldest that has any. At least one event is returned, if there is
// one, even if it is larger than maxBytes. One that was damaged on disk is
// parked, which a gap event tells: it must not hold up those behind it.
func (db *DB) Pending(dest string, maxEvents, maxBytes int) ([]edgeagent.Outgoing, error) {
	v := db.view.Load()
	var found picked
	err := db.viewing("read the outbox", func(tx *bbolt.Tx) error {
		room := room{events: maxEvents, bytes: maxBytes}
		for _, epoch := range v.epochs() {
			for _, stream := range edgeagent.Streams {
				c := cursorKey{dest, streamKey{epoch, stream}}
				if err := v.collect(tx, c, &room, &found); err != nil {
					return err
				}
			}
			if len(found.events) > 0 {
				return nil
			}
		}
		return nil
	})
	if err == nil {
		err = db.parkLost(dest, found.lost)
	}
	return found.events, err
}

// picked is what was found for a destination.
type picked struct {
	events []edgeagent.Outgoing
	lost   []edgeagent.Outgoing // damaged: nothing but their numbers is known
}

func (db *DB) parkLost(dest string, lost []edgeagent.Outgoing) error {
	for _, e := range lost {
		db.options.Load().Log.Error("an event was damaged on disk and cannot be sent", "upstream", dest, "stream", e.Stream, "sequence", e.Sequence)
		if err := db.Park(context.Background(), dest, e, edgeagent.NewNote("damaged", "it was damaged on disk")); err != nil {
			return err
		}
	}
	return nil
}

// room is what is left of a batch.
type room struct{ events, bytes int }

// takes reports whether n more bytes fit; the first event always does.
func (r *room) takes(n int, first bool) bool {
	if r.events <= 0 || !first && r.bytes < n {
		return false
	}
	r.events--
	r.bytes -= n
	return true
}

// collect appends the events of one stream after the cursor.
func (v *view) collect(tx *bbolt.Tx, c cursorKey, room *room, found *picked) error {
	r, err := rowsOf(tx, bucketOutbox)
	if err != nil {
		return err
	}
	prefix := c.prefix()
	for ok := r.seek(c.streamKey.key(v.position(c) + 1)); ok && strings.HasPrefix(r.key, prefix); ok = r.next() {
		_, seq, err := parseOutboxKey(r.key)
		if err != nil {
			return err
		}
		if seq > v.last[c.streamKey] || v.parked[parkedKey{c, seq}] {
			continue // newer than what is published, or set aside
		}
		e, err := readOutgoing(r.key, r.rec)
		if err != nil {
			found.lost = append(found.lost, edgeagent.Outgoing{Epoch: c.epoch, Stream: c.stream, Sequence: seq})
			continue
		}
		if !room.takes(len(e.Body), len(found.events) == 0) {
			return nil
		}
		found.events = append(found.events, e)
	}
	return nil
}

// readOutgoing returns an event of the file; its only error is damage.
func readOutgoing(key string, rec []byte) (edgeagent.Outgoing, error) {
	body, _, err := decodeRecord(bucketOutbox, key, rec)
	if err != nil {
		return edgeagent.Outgoing{}, err
	}
	return decodeOutgoing(key, body)
}

func (v *view) position(c cursorKey) uint64 { return max(v.cursors[c].at, v.floor[c.streamKey]) }

// epochs returns every epoch that has events, the oldest first.
func (v *view) epochs() []edgeagent.ID {
	var out []edgeagent.ID
	for s := range v.last {
		if !slices.Contains(out, s.epoch) {
			out = append(out, s.epoch)
		}
	}
	slices.Sort(out)
	return out
}

// Range returns events by their numbers, for a receipt that asks for them
// again: those that are still kept, and can be read.
func (db *DB) Range(epoch edgeagent.ID, r edgeagent.Range) ([]edgeagent.Outgoing, error) {
	s := streamKey{epoch, r.Stream}
	var out []edgeagent.Outgoing
	if _, ok := streamLetters[r.Stream]; !ok || r.From > r.To {
		return nil, nil
	}
	err := db.viewing("read the outbox", func(tx *bbolt.Tx) error {
		rows, err := rowsOf(tx, bucketOutbox)
		if err != nil {
			return err
		}
		last := s.key(r.To)
		for ok := rows.seek(s.key(r.From)); ok && rows.key <= last && len(out) < maxBatch; ok = rows.next() {
			if e, err := readOutgoing(rows.key, rows.rec); err == nil {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

// IsParked reports whether dest has refused the event of that number, in this
// life of the agent or an earlier one.
func (db *DB) IsParked(dest string, epoch edgeagent.ID, stream edgeagent.Stream, n uint64) bool {
	return db.view.Load().parked[parkedKey{cursorKey{dest, streamKey{epoch, stream}}, n}]
}

// Backlog returns what a destination has not confirmed yet.
func (db *DB) Backlog(dest string) edgeagent.Backlog {
	v := db.view.Load()
	b := edgeagent.Backlog{Epoch: v.epoch, Next: make(map[edgeagent.Stream]uint64, len(edgeagent.Streams))}
	for _, stream := range edgeagent.Streams {
		b.Next[stream] = v.last[streamKey{v.epoch, stream}] + 1
	}
	for s, last := range v.last {
		c := cursorKey{dest, s}
		b.Events += int(last - min(last, v.position(c))) // confirmed events may be lost with a damaged page
		b.Confirmed += v.cursors[c].confirmed
	}
	for p := range v.parked {
		if p.dest != dest {
			continue
		}
		b.Parked++
		if v.again[p] {
			b.Again++
		}
		if p.seq > v.position(p.cursorKey) {
			b.Events--
		}
	}
	if b.Events > 0 {
		b.Oldest = db.oldest(v, dest)
	}
	return b
}

// oldest returns when the oldest event that waits for dest was written.
func (db *DB) oldest(v *view, dest string) time.Time {
	var oldest time.Time
	err := db.viewing("find the oldest event", func(tx *bbolt.Tx) error {
		for s := range v.last {
			var first picked
			if err := v.collect(tx, cursorKey{dest, s}, &room{events: 1}, &first); err != nil {
				return err
			}
			if len(first.events) > 0 && (oldest.IsZero() || first.events[0].At.Before(oldest)) {
				oldest = first.events[0].At
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrStalled) { // which is said once, and not with every page
		db.options.Load().Log.Error("the age of the backlog is unknown", "upstream", dest, "error", err)
	}
	return oldest
}
