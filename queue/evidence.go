package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"edgeagent"
)

// Evidence is the largest part of what a raise stores, and most of it is numbers
// of many digits: as text they took a third of what a raise costs. So it is kept
// as they are in memory. Who reads it gets the JSON that it would have been.
//
// All is written one behind the other, in the order of the fields: counts and
// lengths as uvarint, an optional part behind a byte that says whether it is
// there, a list behind its length plus one, for none is not the same as empty.
const tabled = 4 // first byte of such a body

// A quill writes evidence. What encoding/json would refuse it refuses too: it
// would never be read again.
type quill struct {
	out []byte
	odd bool

	at   time.Time // of the evidence: others are told from there
	zone int       // its, in seconds

	last *edgeagent.Note
}

// noteAgain stands for a note that is the one before.
const noteAgain = 2

// appendEvidence appends evidence as a body; false when encoding/json would refuse
// it. The quill stays on the stack: it moves on with every field, and on the heap
// the collector would be told each time.
func appendEvidence(out []byte, e *edgeagent.Evidence) ([]byte, bool) {
	q := quill{out: append(out, tabled)}
	q.evidence(e)
	return q.out, !q.odd
}

func (q *quill) evidence(e *edgeagent.Evidence) {
	q.timeWhole(e.At)
	q.at = e.At.Round(0)
	_, q.zone = q.at.Zone()
	q.float(e.WindowS)
	q.time(e.HistorySince)
	listed(q, e.Tags, q.feature)
	listed(q, e.Moved, q.feature)
	q.whole(int64(e.Omitted))
	listed(q, e.Gaps, func(gap *string) { q.text(*gap) })
	q.text(e.Mode)
}

func (q *quill) feature(f *edgeagent.Feature) {
	q.text(f.Tag)
	q.value(f.Value)
	q.text(f.Text)
	q.text(f.EngUnit)
	q.out = append(q.out, byte(f.Quality))
	q.note(f.Reason)
	q.float(f.AgeS)
	for _, bound := range []*float64{f.Min, f.Max, f.Mean, f.SlopePerMin, f.LimitLow, f.LimitHigh} {
		if q.there(bound != nil) {
			q.float(*bound)
		}
	}
	q.whole(int64(f.Changes))
	if q.there(f.LastChange != nil) {
		q.time(*f.LastChange)
	}
	q.float(f.Moved)
	q.there(f.Safety)
}

// there says whether something is.
func (q *quill) there(is bool) bool {
	q.out = append(q.out, boolByte(is))
	return is
}

func (q *quill) text(s string) {
	q.out = append(binary.AppendUvarint(q.out, uint64(len(s))), s...)
}

func (q *quill) whole(n int64) { q.out = binary.AppendVarint(q.out, n) }

// float writes nothing for a zero, four bytes for what came from a register of
// 32 bits, and eight for any other.
func (q *quill) float(f float64) {
	const infinite = 0x7ff << 52 // or no number
	whole := math.Float64bits(f)
	q.odd = q.odd || whole&infinite == infinite
	switch short := float32(f); {
	case whole == 0:
		q.out = append(q.out, 0)
	case float64(short) == f:
		q.out = binary.LittleEndian.AppendUint32(append(q.out, 4), math.Float32bits(short))
	default:
		q.out = binary.LittleEndian.AppendUint64(append(q.out, 8), whole)
	}
}

func (q *quill) value(v edgeagent.Value) {
	q.out = append(q.out, byte(v.Kind()))
	switch of := v.Any().(type) {
	case bool:
		q.there(of)
	case int64:
		q.whole(of)
	case uint64:
		q.out = binary.AppendUvarint(q.out, of)
	case float64:
		odd := q.odd
		q.float(of)
		q.odd = odd // one that JSON cannot write is none there
	case string:
		q.text(of)
	}
}

// time writes how far one of the same zone is from the evidence, in nanoseconds
// of the wall clock, as JSON has it, and any other whole.
func (q *quill) time(t time.Time) {
	const far = 250 * 365 * 24 * 60 * 60 // as many nanoseconds fit
	seconds := t.Unix() - q.at.Unix()
	_, zone := t.Zone()
	if q.at.IsZero() || zone != q.zone || seconds < -far || seconds > far || !usual(t) {
		q.timeWhole(t)
		return
	}
	q.there(true)
	q.whole(seconds*1e9 + int64(t.Nanosecond()-q.at.Nanosecond()))
}

// usual reports whether a time is of a year that JSON knows, wherever it is.
func usual(t time.Time) bool {
	const year1, year9999 = -62135596800, 253370764800
	seconds := t.Unix()
	return seconds > year1+24*60*60 && seconds < year9999
}

// timeWhole writes one with its zone.
func (q *quill) timeWhole(t time.Time) {
	t = t.Round(0)
	text, err := t.MarshalBinary()
	_, unwritable := t.MarshalText()
	q.odd = q.odd || err != nil || unwritable != nil
	q.there(false)
	q.text(string(text))
}

func (q *quill) note(n *edgeagent.Note) {
	switch {
	case n == nil:
		q.out = append(q.out, 0)
		return
	case q.last != nil && n.Code == q.last.Code && n.Text == q.last.Text && maps.Equal(n.Params, q.last.Params):
		q.out = append(q.out, noteAgain) // all tags of a device that is lost say the same
		return
	}
	q.last = n
	q.out = append(q.out, 1)
	q.text(n.Code)
	q.out = binary.AppendUvarint(q.out, uint64(len(n.Params)))
	var few [8]string
	for _, name := range sorted(few[:0], n.Params) {
		q.text(name)
		q.text(n.Params[name])
	}
	q.text(n.Text)
}

// listed writes a list.
func listed[T any](q *quill, all []T, one func(*T)) {
	if all == nil {
		q.out = append(q.out, 0)
		return
	}
	q.out = binary.AppendUvarint(q.out, uint64(len(all))+1)
	for i := range all {
		one(&all[i])
	}
}

// readEvidence returns the JSON of evidence that appendEvidence has written. Its only
// error is damage.
func readEvidence(body []byte) ([]byte, error) {
	r := lens{in: body[1:]}
	var e edgeagent.Evidence
	e.At = r.time()
	_, zone := e.At.Zone()
	r.at = e.At.In(time.FixedZone("", zone)) // whatever this machine's zone does at another moment
	e.WindowS = r.float()
	e.HistorySince = r.time()
	e.Tags, e.Moved = all(&r, r.feature), all(&r, r.feature)
	e.Omitted = int(r.whole())
	e.Gaps = all(&r, r.text)
	e.Mode = r.text()
	s := scribe{}
	s.evidence(&e)
	if r.err == nil && (len(r.in) > 0 || s.odd) {
		r.err = errors.New("it is not what was written")
	}
	if r.err != nil {
		return nil, fmt.Errorf("evidence of %d bytes: %w: %w", len(body), r.err, errDamaged)
	}
	return s.out, nil
}

// A lens reads what a quill has written. After the first error it reads nothing.
type lens struct {
	in  []byte
	at  time.Time
	err error

	last *edgeagent.Note
}

func (r *lens) feature() (f edgeagent.Feature) {
	f.Tag, f.Value, f.Text, f.EngUnit = r.text(), r.value(), r.text(), r.text()
	f.Quality, f.Reason, f.AgeS = edgeagent.Quality(r.byte()), r.note(), r.float()
	for _, bound := range []**float64{&f.Min, &f.Max, &f.Mean, &f.SlopePerMin, &f.LimitLow, &f.LimitHigh} {
		if r.there() {
			n := r.float()
			*bound = &n
		}
	}
	f.Changes = int(r.whole())
	if r.there() {
		t := r.time()
		f.LastChange = &t
	}
	f.Moved, f.Safety = r.float(), r.there()
	return f
}

// take returns the next n bytes, which are nil when there are not so many.
func (r *lens) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.in)) {
		if r.err == nil {
			r.err = errors.New("it ends too early")
		}
		r.in = nil
		return nil
	}
	out := r.in[:n]
	r.in = r.in[n:]
	return out
}

func (r *lens) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *lens) there() bool { return r.byte() == 1 }

func (r *lens) count() uint64 {
	n, size := binary.Uvarint(r.in)
	if size <= 0 {
		r.take(uint64(len(r.in)) + 1) // more than there is
		return 0
	}
	r.take(uint64(size))
	return n
}

func (r *lens) whole() int64 { // as binary.Varint has it
	n := r.count()
	return int64(n>>1) ^ -int64(n&1)
}

func (r *lens) text() string { return string(r.take(r.count())) }

func (r *lens) float() float64 {
	switch b := r.take(uint64(r.byte())); len(b) {
	case 4:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	default:
		return 0
	}
}

func (r *lens) value() (v edgeagent.Value) {
	switch edgeagent.ValueKind(r.byte()) {
	case edgeagent.KindBool:
		return edgeagent.Bool(r.there())
	case edgeagent.KindInt:
		return edgeagent.Int(r.whole())
	case edgeagent.KindUint:
		return edgeagent.Uint(r.count())
	case edgeagent.KindFloat:
		return edgeagent.Float(r.float())
	case edgeagent.KindString:
		return edgeagent.String(r.text())
	default:
		return v
	}
}

func (r *lens) time() (t time.Time) {
	if r.there() {
		return r.at.Add(time.Duration(r.whole()))
	}
	if text := []byte(r.text()); r.err == nil {
		r.err = t.UnmarshalBinary(text)
	}
	return t
}

func (r *lens) note() *edgeagent.Note {
	switch r.byte() {
	case 0:
		return nil
	case noteAgain:
		return r.last
	}
	n := &edgeagent.Note{Code: r.text()}
	for left := r.count(); left > 0 && r.err == nil; left-- {
		if n.Params == nil {
			n.Params = make(map[string]string)
		}
		name := r.text()
		n.Params[name] = r.text()
	}
	n.Text = r.text()
	r.last = n
	return n
}

// all reads a list.
func all[T any](r *lens, one func() T) []T {
	n := r.count()
	if n == 0 {
		return nil
	}
	out := []T{}
	for ; n > 1 && r.err == nil; n-- {
		out = append(out, one())
	}
	return out
}
