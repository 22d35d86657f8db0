package tags

import (
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
	return e.reading(d, time.Now()), true
}

// Readings returns all tags of a device in their configured order, of all
// devices for "".
func (t *Table) Readings(device string) []edgeagent.Reading {
	t.mu.RLock()
	defer t.mu.RUnlock()
	now := time.Now()
	out := []edgeagent.Reading{}
	for _, d := range t.order {
		for _, e := range d.entries {
			if device == "" || device == d.name {
				out = append(out, e.reading(d, now))
			}
		}
	}
	return out
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
		switch q, _ := e.quality(d, now); q {
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

// quality judges an entry now: what the driver said of the last sample, and
// then its age and its device.
func (e *entry) quality(d *deviceTags, now time.Time) (edgeagent.Quality, *edgeagent.Note) {
	s := e.sample
	switch {
	case !d.stoppedAt.IsZero() && !s.At.After(d.stoppedAt):
		return edgeagent.QualityBad, edgeagent.NewNote(edgeagent.ReasonDeviceStopped, d.name+" is not being read")
	case !e.read && s.Reason != nil:
		return edgeagent.QualityBad, s.Reason
	case !e.read:
		return edgeagent.QualityBad, edgeagent.NewNote(edgeagent.ReasonNeverRead, "not read since the agent started")
	case s.Quality == edgeagent.QualityBad:
		return edgeagent.QualityBad, s.Reason
	case e.def.StaleAfter > 0 && now.Sub(s.At) > e.def.StaleAfter:
		return edgeagent.QualityUncertain, stale(s, e.def.StaleAfter)
	default:
		return s.Quality, s.Reason
	}
}

// stale keeps the reason why a value grew old where the driver gave one.
func stale(s edgeagent.Sample, after time.Duration) *edgeagent.Note {
	if s.Reason.Is(edgeagent.ReasonNoAnswer) {
		return s.Reason
	}
	return edgeagent.NewNote(edgeagent.ReasonStale, "older than "+after.String(), "stale_after", after.String())
}

func (e *entry) reading(d *deviceTags, now time.Time) edgeagent.Reading {
	s := e.sample
	r := edgeagent.Reading{
		Device: d.name, Tag: e.def.Name, EngUnit: e.def.EngUnit, Address: e.def.Address, Type: e.def.Type,
		Safety: e.def.Safety, At: edgeagent.TimePtr(s.At), SourceAt: edgeagent.TimePtr(s.SourceAt), Raw: s.Raw,
	}
	r.Quality, r.Reason = e.quality(d, now)
	if !s.At.IsZero() {
		r.AgeS = now.Sub(s.At).Seconds()
	}
	if r.Quality != edgeagent.QualityBad {
		r.Value, r.Text = s.Value, word(e.def, s.Value)
		return r
	}
	if !e.goodAt.IsZero() {
		good, at := e.good, e.goodAt
		r.LastGood, r.LastGoodAt = &good, &at
	}
	return r
}

// word returns the enum's word for a value, empty without one.
func word(def edgeagent.Tag, v edgeagent.Value) string {
	if len(def.Enum) == 0 {
		return ""
	}
	f, ok := v.Float64()
	if !ok || f != float64(int64(f)) {
		return ""
	}
	return def.Enum[int64(f)]
}
