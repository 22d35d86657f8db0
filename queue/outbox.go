package queue

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"edgeagent"
)

// outgoing is what becomes an event.
type outgoing struct {
	typ      edgeagent.EventType
	object   edgeagent.ID
	revision int
	line     string
	at       time.Time // when it happened
	data     any
}

// emit freezes an event and gives it the next number of its stream. Without
// destinations nobody would ever fetch it: nothing is written and no number is
// used, so that the streams begin at 1 for the first destination.
func (b *batch) emit(o outgoing) error {
	if len(b.o.Destinations) == 0 {
		return nil
	}
	data, err := json.Marshal(o.data)
	if err != nil {
		return fmt.Errorf("write %s: %w", o.typ, err)
	}
	return b.emitText(o, data)
}

// emitText does so for an event whose data is JSON already.
func (b *batch) emitText(o outgoing, data []byte) error {
	e, key := b.number(o)
	b.scribe = scribe{out: b.scribe.out[:0]}
	if b.scribe.event(&e); b.scribe.odd {
		return fmt.Errorf("write %s: %v is no time that JSON knows", o.typ, e.Time)
	}
	return b.put(bucketOutbox, key, 0, appendHead(nil, &e, b.now), pack(slices.Concat(b.scribe.out, data, []byte("}"))))
}

// emitFrozen does so for an event whose data is an alarm, as it is stored.
//
//	told   uvarint length of the next five   source   subject   boot   mono   time   the alarm, frozen
func (b *batch) emitFrozen(o outgoing, alarm [2][]byte) error {
	if len(b.o.Destinations) == 0 {
		return nil
	}
	e, key := b.number(o)
	q := quill{out: b.told[:0]}
	for _, text := range []string{e.Source, e.Subject, e.Boot, e.Mono} {
		q.text(text)
	}
	if q.time(e.Time); q.odd {
		return fmt.Errorf("write %s: %v is no time that JSON knows", o.typ, e.Time)
	}
	b.told = q.out
	b.head = binary.AppendUvarint(append(appendHead(b.head[:0], &e, b.now), told), uint64(len(b.told)))
	return b.put(bucketOutbox, key, 0, b.head, b.told, alarm[0], alarm[1])
}

// told is the first byte of an event of which only that is written that neither its
// key nor what stands before it says: it costs the committer a third. Others are
// JSON, packed JSON, or frozen with their beginning as packed JSON, as they were
// written before schema 4. An event is sent with the same bytes for as long as it
// is kept: what scribe.event writes of these is not to change.
const told = 5

// number gives an event its number, and with it its key.
func (b *batch) number(o outgoing) (e edgeagent.Event, key string) {
	s, source := streamKey{b.w.epoch, o.typ.Stream()}, b.o.source()
	seq := b.w.last[s] + 1
	boot, mono := b.db.Stamp()
	e = eventOf(s, seq, edgeagent.EventID(source, o.typ, o.object, o.revision), o.typ)
	e.Source, e.Subject, e.Time, e.Boot, e.Mono = source, o.line, o.at, boot, mono
	set(b, b.w.last, s, seq)
	b.outboxChanged = true
	return e, s.key(seq)
}

// eventOf returns what its key and what stands before it say of an event.
func eventOf(s streamKey, seq uint64, id string, typ edgeagent.EventType) edgeagent.Event {
	return edgeagent.Event{
		SpecVersion: "1.0", ID: id, Type: typ, DataContentType: "application/json",
		Epoch: s.epoch, Stream: s.stream, Sequence: edgeagent.FormatSequence(seq),
	}
}

// eventText returns an event byte for byte, whatever it was put as.
func eventText(e edgeagent.Event, body []byte) ([]byte, error) {
	if len(body) == 0 || body[0] != frozen && body[0] != told {
		return unpack(body)
	}
	length, n := binary.Uvarint(body[1:])
	if n <= 0 || length > uint64(len(body)-1-n) {
		return nil, fmt.Errorf("frozen event of %d bytes: %w", len(body), errDamaged)
	}
	before, alarm := body[1+n:][:length], body[1+n:][length:]
	begin := unpack
	if body[0] == told {
		begin = func(in []byte) ([]byte, error) { return beginning(e, in) }
	}
	text, err := begin(before)
	if err != nil {
		return nil, err
	}
	data, err := thaw(alarm)
	if err != nil {
		return nil, err
	}
	return slices.Concat(text, data, []byte("}")), nil
}

// beginning returns the JSON of an event up to where its data begins.
func beginning(e edgeagent.Event, in []byte) ([]byte, error) {
	r := lens{in: in}
	e.Source, e.Subject, e.Boot, e.Mono = r.text(), r.text(), r.text(), r.text()
	e.Time = r.time()
	s := scribe{}
	if s.event(&e); r.err != nil || len(r.in) > 0 || s.odd {
		return nil, fmt.Errorf("beginning of an event of %d bytes: %w", len(in), errDamaged)
	}
	return s.out, nil
}

// appendHead appends what stands before an event: what is asked of it without
// parsing it.
func appendHead(out []byte, e *edgeagent.Event, at time.Time) []byte {
	out = append(binary.BigEndian.AppendUint64(out, uint64(nanos(at))), byte(len(e.ID)))
	out = append(out, e.ID...)
	out = append(out, byte(len(e.Type)))
	return append(out, e.Type...)
}

// decodeOutgoing reads what begins with appendHead's.
func decodeOutgoing(key string, rec []byte) (edgeagent.Outgoing, error) {
	s, seq, err := parseOutboxKey(key)
	if err != nil {
		return edgeagent.Outgoing{}, fmt.Errorf("%w: %w", err, errDamaged)
	}
	id, rest, ok1 := cutText(rec[min(8, len(rec)):])
	typ, body, ok2 := cutText(rest)
	if len(rec) < 8 || !ok1 || !ok2 {
		return edgeagent.Outgoing{}, fmt.Errorf("event %d of %s: %w", seq, s.stream, errDamaged)
	}
	text, err := eventText(eventOf(s, seq, id, edgeagent.EventType(typ)), body)
	if err != nil {
		return edgeagent.Outgoing{}, fmt.Errorf("event %d of %s: %w", seq, s.stream, err)
	}
	return edgeagent.Outgoing{
		Epoch: s.epoch, Stream: s.stream, Sequence: seq, ID: id, Type: edgeagent.EventType(typ),
		At: fromNanos(int64(binary.BigEndian.Uint64(rec))), Body: bytes.Clone(text),
	}, nil
}

func cutText(b []byte) (string, []byte, bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	return string(b[1 : 1+b[0]]), b[1+b[0]:], true
}

// AgentStarted writes agent.started with data, when there are destinations.
func (db *DB) AgentStarted(ctx context.Context, data any) error {
	return db.do(ctx, "write agent.started", func(b *batch) error {
		return b.emit(outgoing{edgeagent.EventAgentStarted, edgeagent.NewID(b.now), 1, "", b.now, data})
	})
}

// Confirm moves a destination's cursor by a receipt: only forward, only within
// what was written, only for an epoch that is known. A receipt that breaks the
// last two is refused whole with ErrConflict; one that says nothing new writes
// nothing.
func (db *DB) Confirm(ctx context.Context, dest string, r edgeagent.Receipt) error {
	return db.do(ctx, "confirm events of "+dest, func(b *batch) error {
		if err := b.checkReceipt(r); err != nil {
			return err
		}
		for _, stream := range edgeagent.Streams {
			c := cursorKey{dest, streamKey{r.Epoch, stream}}
			// Of an earlier epoch more may have been sent than is left here: a backup was restored.
			if err := b.advance(c, min(r.Contig[stream], b.w.last[c.streamKey])); err != nil {
				return err
			}
		}
		return failpoint("confirm")
	})
}

func (b *batch) checkReceipt(r edgeagent.Receipt) error {
	known := r.Epoch == b.w.epoch
	for s := range b.w.last {
		known = known || s.epoch == r.Epoch
	}
	if !known {
		return fmt.Errorf("receipt for epoch %q, which is not ours: %w", r.Epoch, edgeagent.ErrConflict)
	}
	for stream, n := range r.Contig {
		if _, ok := streamLetters[stream]; !ok {
			continue // a later version's
		}
		if last := b.w.last[streamKey{r.Epoch, stream}]; n > last && r.Epoch == b.w.epoch {
			return fmt.Errorf("receipt for %s %d, but only %d were written: %w", stream, n, last, edgeagent.ErrConflict)
		}
	}
	return nil
}

// A cursor is how far a destination is in a stream.
type cursor struct{ at, confirmed uint64 }

// advance moves a cursor to n, and past what was parked behind it.
func (b *batch) advance(c cursorKey, n uint64) error {
	old := b.w.position(c)
	to := cursor{max(n, old), b.w.cursors[c].confirmed}
	for b.w.parked[parkedKey{c, to.at + 1}] {
		to.at++
	}
	if to.at == old {
		return nil
	}
	to.confirmed += to.at - old
	for p := range b.w.parked {
		if p.cursorKey == c && p.seq > old && p.seq <= to.at {
			to.confirmed--
		}
	}
	return b.putCursor(c, to)
}

func (b *batch) putCursor(c cursorKey, to cursor) error {
	set(b, b.w.cursors, c, to)
	b.outboxChanged = true
	return b.put(bucketMeta, c.key(), 0, to.encode())
}

func (c cursor) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, c.at), c.confirmed)
}

func decodeCursor(body []byte) (cursor, error) {
	if len(body) != 16 {
		return cursor{}, fmt.Errorf("cursor of %d bytes: %w", len(body), errDamaged)
	}
	return cursor{binary.BigEndian.Uint64(body), binary.BigEndian.Uint64(body[8:])}, nil
}

// position returns up to where nothing is left for a destination: what it
// confirmed, or what was gone before it was configured.
func (w *working) position(c cursorKey) uint64 { return max(w.cursors[c].at, w.floor[c.streamKey]) }
