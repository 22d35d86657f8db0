package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// parked is the record of an event that was set aside.
type parked struct {
	At     time.Time       `json:"at"`
	Reason *edgeagent.Note `json:"reason"`
	Asked  *askedAgain     `json:"asked,omitempty"`
}

// askedAgain says who wants an event sent again.
type askedAgain struct {
	At time.Time `json:"at"`
	By string    `json:"by"`
}

// Park sets aside an event that a destination refuses for good. It stays in the
// file and on the page; a gap event tells whoever counts numbers. One that was
// sent again because a person wanted it, and refused again, waits for the next
// word.
func (db *DB) Park(ctx context.Context, dest string, ev edgeagent.Outgoing, reason *edgeagent.Note) error {
	return db.do(ctx, "park an event of "+dest, func(b *batch) error {
		p := parkedKey{cursorKey{dest, streamKey{ev.Epoch, ev.Stream}}, ev.Sequence}
		known, again := b.w.parked[p], b.w.again[p]
		if known && !again || !known && ev.Sequence <= b.w.position(p.cursorKey) {
			return nil
		}
		if !known && ev.Sequence > b.w.last[p.streamKey] {
			return fmt.Errorf("%s %d: %w", ev.Stream, ev.Sequence, edgeagent.ErrNotFound)
		}
		set(b, b.w.parked, p, true)
		remove(b, b.w.again, p)
		b.outboxChanged = true
		if err := b.putJSON(bucketMeta, p.key(), 0, parked{At: b.now, Reason: reason}); err != nil || known {
			return err // the gap was told the first time
		}
		if err := b.advance(p.cursorKey, 0); err != nil {
			return err
		}
		if ev.Type == edgeagent.EventGap {
			return nil // a gap for every refused gap would never end
		}
		gap := edgeagent.Gap{Epoch: ev.Epoch, Stream: ev.Stream, From: ev.Sequence, To: ev.Sequence, Reason: reason}
		return b.emit(outgoing{edgeagent.EventGap, edgeagent.NewID(b.now), 1, "", b.now, gap})
	})
}

// unpark forgets that an event was set aside.
func (b *batch) unpark(p parkedKey) {
	remove(b, b.w.parked, p)
	remove(b, b.w.again, p)
	b.outboxChanged = true
	b.drop(bucketMeta, p.key())
}

// Parked returns up to limit events that a destination has refused, the oldest
// first, with why.
func (db *DB) Parked(dest string, limit int) ([]edgeagent.ParkedEvent, error) {
	keys := parkedOf(dest, db.view.Load().parked)
	out := make([]edgeagent.ParkedEvent, 0, min(limit, len(keys)))
	err := db.viewing("read the refused events of "+dest, func(tx *bbolt.Tx) error {
		for _, p := range keys[:min(limit, len(keys))] {
			e, err := readParked(tx, p)
			if errors.Is(err, edgeagent.ErrNotFound) {
				continue // stored or too old meanwhile
			}
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

func readParked(tx *bbolt.Tx, p parkedKey) (edgeagent.ParkedEvent, error) {
	e := edgeagent.ParkedEvent{Epoch: p.epoch, Stream: p.stream, Sequence: p.seq}
	body, _, err := readRecord(tx, bucketMeta, p.key())
	if err != nil {
		return e, err
	}
	var is parked
	if err := unmarshal(bucketMeta, p.key(), body, &is); err != nil {
		return e, err
	}
	e.ParkedAt, e.Reason = is.At, is.Reason
	if is.Asked != nil {
		e.AskedAt, e.AskedBy = &is.Asked.At, is.Asked.By
	}
	if ev, err := readEvent(tx, p); err == nil { // else its number is all that is left
		e.ID, e.Type, e.At = ev.ID, ev.Type, &ev.At
	}
	return e, nil
}

func readEvent(tx *bbolt.Tx, p parkedKey) (edgeagent.Outgoing, error) {
	key := p.streamKey.key(p.seq)
	body, _, err := readRecord(tx, bucketOutbox, key)
	if err != nil {
		return edgeagent.Outgoing{}, err
	}
	return decodeOutgoing(key, body)
}

// parkedOf returns those of a destination in the order in which they were written.
func parkedOf(dest string, all map[parkedKey]bool) []parkedKey {
	var keys []parkedKey
	for p := range all {
		if p.dest == dest {
			keys = append(keys, p)
		}
	}
	slices.SortFunc(keys, func(x, y parkedKey) int {
		return cmp.Or(strings.Compare(x.prefix(), y.prefix()), cmp.Compare(x.seq, y.seq))
	})
	return keys
}

// resendAtOnce bounds one commit of [DB.Resend].
const resendAtOnce = 500

// Resend has the events that a destination refused sent to it again, on the word
// of a person, and returns how many. Those that were damaged on disk are left
// out. What is refused again is parked again.
func (db *DB) Resend(ctx context.Context, dest, by string) (int, error) {
	for sum := 0; ; {
		marked := 0
		err := db.do(ctx, "send refused events of "+dest+" again", func(b *batch) (err error) {
			marked, err = b.askAgain(dest, by)
			return err
		})
		if sum += marked; err != nil || marked < resendAtOnce {
			return sum, err
		}
	}
}

func (b *batch) askAgain(dest, by string) (marked int, err error) {
	for _, p := range parkedOf(dest, b.w.parked) {
		if marked == resendAtOnce {
			break
		}
		if b.w.again[p] {
			continue
		}
		body, _, err := b.get(bucketOutbox, p.streamKey.key(p.seq))
		if err == nil {
			_, err = decodeOutgoing(p.streamKey.key(p.seq), body)
		}
		if errors.Is(err, errDamaged) || errors.Is(err, edgeagent.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if err := b.markAgain(p, by); err != nil {
			return 0, err
		}
		marked++
	}
	return marked, nil
}

func (b *batch) markAgain(p parkedKey, by string) error {
	var is parked
	if err := b.getJSON(bucketMeta, p.key(), &is); err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	is.Asked = &askedAgain{b.now, by}
	set(b, b.w.again, p, true)
	b.outboxChanged = true
	return b.putJSON(bucketMeta, p.key(), 0, is)
}

// Asked returns the next refused events of a destination that a person wants
// sent again: of one epoch, and only such as the cursor has passed, so that they
// overtake nothing that comes before them.
func (db *DB) Asked(dest string, maxEvents, maxBytes int) ([]edgeagent.Outgoing, error) {
	v := db.view.Load()
	var found picked
	err := db.viewing("read the refused events of "+dest, func(tx *bbolt.Tx) error {
		room := room{events: maxEvents, bytes: maxBytes}
		for _, p := range parkedOf(dest, v.again) {
			if p.seq > v.position(p.cursorKey) || len(found.events) > 0 && found.events[0].Epoch != p.epoch {
				continue
			}
			e, err := readEvent(tx, p)
			if errors.Is(err, errDamaged) || errors.Is(err, edgeagent.ErrNotFound) {
				found.lost = append(found.lost, edgeagent.Outgoing{Epoch: p.epoch, Stream: p.stream, Sequence: p.seq})
			}
			if err != nil {
				continue
			}
			if !room.takes(len(e.Body), len(found.events) == 0) {
				return nil
			}
			found.events = append(found.events, e)
		}
		return nil
	})
	if err == nil {
		err = db.parkLost(dest, found.lost)
	}
	return found.events, err
}

// Unpark notes that a destination has stored events that it had refused.
func (db *DB) Unpark(ctx context.Context, dest string, stored []edgeagent.Outgoing) error {
	return db.do(ctx, "book refused events of "+dest+" as stored", func(b *batch) error {
		for _, ev := range stored {
			p := parkedKey{cursorKey{dest, streamKey{ev.Epoch, ev.Stream}}, ev.Sequence}
			if !b.w.parked[p] || p.seq > b.w.position(p.cursorKey) {
				continue
			}
			b.unpark(p)
			c := b.w.cursors[p.cursorKey]
			c.confirmed++
			if err := b.putCursor(p.cursorKey, c); err != nil {
				return err
			}
		}
		return nil
	})
}
