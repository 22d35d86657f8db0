package tags

import (
	"iter"
	"time"

	"edgeagent"
)

// Point is a moment of a trend: the extremes of the values up to At since the
// point before, and the last of them. In the last minute all three are one value.
type Point struct {
	At             time.Time
	Min, Max, Last float64
}

// Reading returns what is known of a tag now, and false for a tag that is not
// configured.
func (t *Table) Reading(device, tag string) (edgeagent.Reading, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d := t.devices[device]
	e := d.entry(tag)
	if e == nil {
		return edgeagent.Reading{}, false
	}
	return e.now(d, time.Now()), true
}

func (e *entry) now(d *deviceTags, now time.Time) (r edgeagent.Reading) {
	s := make(times, 0, e.timesNeeded())
	e.reading(&r, d, now, &s)
	return r
}

// Readings returns all tags of a device in their configured order, of all
// devices for "".
func (t *Table) Readings(device string) []edgeagent.Reading {
	t.mu.RLock()
	defer t.mu.RUnlock()
	now := time.Now()
	tags, room := 0, 0
	for e := range t.of(device) {
		tags, room = tags+1, room+e.timesNeeded()
	}
	out, s := make([]edgeagent.Reading, tags), make(times, 0, room)
	i := 0
	for e, d := range t.of(device) {
		e.reading(&out[i], d, now, &s)
		i++
	}
	return out
}

// of goes through the tags of a device, or of all for "".
func (t *Table) of(device string) iter.Seq2[*entry, *deviceTags] {
	return func(yield func(*entry, *deviceTags) bool) {
		for _, d := range t.order {
			if device != "" && device != d.name {
				continue
			}
			for _, e := range d.entries {
				if !yield(e, d) {
					return
				}
			}
		}
	}
}

// Heard reports whether a scan of the device has come since the start. What has
// no tags is not waited for.
func (t *Table) Heard(device string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d := t.devices[device]
	return d == nil || d.heard
}

// Counts counts the tags of a device by their quality now.
func (t *Table) Counts(device string) edgeagent.TagCount {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var c edgeagent.TagCount
	d := t.devices[device]
	if d == nil {
		return c
	}
	now := time.Now()
	for _, e := range d.entries {
		switch q, _ := e.judge(d, now); q {
		case edgeagent.QualityGood:
			c.Good++
		case edgeagent.QualityUncertain:
			c.Uncertain++
		default:
			c.Bad++
		}
	}
	return c
}

// History returns the trend of a tag since a moment, oldest first, ten minutes
// at most; the zero time asks for all there is. It is empty for texts.
func (t *Table) History(device, tag string, since time.Time) []Point {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.devices[device].entry(tag)
	if e == nil {
		return nil
	}
	now := time.Now()
	to := now.Sub(t.start)
	from := to - Window
	if !since.IsZero() {
		from = max(from, since.Sub(t.start))
	}
	var out []Point
	for _, p := range e.history.appendPoints(nil, from, to) {
		out = append(out, Point{At: t.wall(now, p.off), Min: p.min, Max: p.max, Last: p.last})
	}
	return out
}

// wall is the wall clock's time of an offset, told from now backwards: after a
// clock was set, all of a trend is on the clock that people see.
func (t *Table) wall(now time.Time, off time.Duration) time.Time {
	return now.Add(off - now.Sub(t.start)).Round(0)
}

// neverRead is the reason of every tag before its first value.
var neverRead = edgeagent.NewNote(edgeagent.ReasonNeverRead, "not read since the agent started")

// judge says what a tag is worth now: what the driver said of the last sample,
// and then its age and its device.
func (e *entry) judge(d *deviceTags, now time.Time) (edgeagent.Quality, *edgeagent.Note) {
	switch {
	case d.outReason != nil && !e.at.After(d.outAt):
		return edgeagent.QualityBad, d.outReason
	case !e.read && e.reason != nil:
		return edgeagent.QualityBad, e.reason
	case !e.read:
		return edgeagent.QualityBad, neverRead
	case e.quality == edgeagent.QualityBad:
		return edgeagent.QualityBad, e.reason
	case e.def.StaleAfter > 0 && now.Sub(e.freshAt()) > e.def.StaleAfter:
		return edgeagent.QualityUncertain, d.stale(e)
	default:
		return e.quality, e.reason
	}
}

// freshAt is when the value was last known to hold.
func (e *entry) freshAt() time.Time {
	if e.confirmed != nil && e.confirmed.After(e.at) {
		return *e.confirmed
	}
	return e.at
}

// stale keeps the reason why a value grew old where the driver gave one.
func (d *deviceTags) stale(e *entry) *edgeagent.Note {
	if e.reason.Is(edgeagent.ReasonNoAnswer) {
		return e.reason
	}
	return d.staleNotes[e.def.StaleAfter]
}

// times takes times from one allocation, so that thousands of readings do not
// cost thousands.
type times []time.Time

func (s *times) keep(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	*s = append(*s, at)
	return &(*s)[len(*s)-1]
}

// reading fills in what is known of a tag now. There must be room for its times
// in s: two, and two more with stamps.
func (e *entry) reading(r *edgeagent.Reading, d *deviceTags, now time.Time, s *times) {
	r.Device, r.Tag, r.EngUnit, r.Address, r.Type = d.name, e.def.Name, e.def.EngUnit, e.def.Address, e.def.Type
	r.Safety, r.At, r.Raw, r.ConfirmedAt = e.def.Safety, s.keep(e.at), e.raw, e.confirmed
	if e.stamps != nil {
		r.SourceAt, r.ServerAt = s.keep(e.stamps.source), s.keep(e.stamps.server)
	}
	r.Quality, r.Reason = e.judge(d, now)
	if !e.at.IsZero() {
		r.AgeS = now.Sub(e.freshAt()).Seconds()
	}
	if r.Quality != edgeagent.QualityBad {
		r.Value, r.Text = e.value, word(&e.def, e.value)
		return
	}
	if good, ok := e.lastGood(); ok {
		r.LastGood, r.LastGoodAt = &good.value, s.keep(good.at)
	}
}

// lastGood is the present value while it is good.
func (e *entry) lastGood() (lastGood, bool) {
	switch {
	case e.quality == edgeagent.QualityGood:
		return lastGood{e.value, e.at}, true
	case e.last != nil:
		return *e.last, true
	default:
		return lastGood{}, false
	}
}

func (e *entry) timesNeeded() int {
	if e.stamps != nil {
		return 4
	}
	return 2
}

// word returns the enum's word for a value, empty without one.
func word(def *edgeagent.Tag, v edgeagent.Value) string {
	if len(def.Enum) == 0 {
		return ""
	}
	f, ok := v.Float64()
	if !ok || f != float64(int64(f)) {
		return ""
	}
	return def.Enum[int64(f)]
}
