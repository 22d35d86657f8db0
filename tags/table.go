package tags

import (
	"slices"
	"sync"
	"time"

	"edgeagent"
)

// headStart is how much older than its table a sample may be: drivers may have
// begun before.
const headStart = time.Minute

// Table is the last value, quality, age and history of every tag. One
// goroutine puts, any number read.
type Table struct {
	start time.Time // zero of all offsets; its monotonic reading is what counts

	mu      sync.RWMutex
	devices map[string]*deviceTags
	order   []*deviceTags // as configured
	ranked  ranking
}

type deviceTags struct {
	name, line string
	entries    []*entry // as configured
	byName     map[string]*entry
	outAt      time.Time       // since when it is not being read; zero while it is
	outReason  *edgeagent.Note // why
	firstAt    time.Duration   // offset of the first value; 0 before any
	lastAt     time.Duration   // of the last
	patience   time.Duration   // a longer pause is a gap; at least a second
	heard      bool            // a scan of it has come
	gaps       []gap
	staleNotes map[time.Duration]*edgeagent.Note // reasons of its tags that grew stale
}

// entry is one tag. Time and value belong together and are never parted: an
// old value keeps its old time whatever the quality becomes.
type entry struct {
	def       edgeagent.Tag
	value     edgeagent.Value // none when it is bad
	reason    *edgeagent.Note
	at        time.Time // of value
	raw       []uint16
	stamps    *stamps         // nil where the protocol has no times of its own
	confirmed *time.Time      // nil where values are polled; shared by all of a keep-alive
	last      *lastGood       // nil while value is the last good one, and before any
	base      edgeagent.Value // what the next change is measured against
	changed   time.Duration   // offset of the last change; zero before the first
	quality   edgeagent.Quality
	read      bool // a value has been read since the start
	history   history
}

// stamps are the times that an OPC UA server gives a value.
type stamps struct{ source, server time.Time }

// lastGood is what a tag was worth before it went bad.
type lastGood struct {
	value edgeagent.Value
	at    time.Time
}

// New returns a table of tags that have never been read. Lines says to which
// line each device belongs.
func New(all []edgeagent.Tag, lines map[string]string) *Table {
	t := &Table{start: time.Now().Add(-headStart), devices: map[string]*deviceTags{}}
	t.Configure(all, lines)
	return t
}

// Configure replaces the tags after a reload. A tag that stays as it was keeps
// its value and history; one that is read another way (address, order, type,
// scaling) starts anew, for its old numbers mean something else.
func (t *Table) Configure(all []edgeagent.Tag, lines map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ranked.known = false
	old := t.devices
	t.devices, t.order = make(map[string]*deviceTags, len(old)), nil
	slab := make([]entry, len(all)) // one tag alone would cost its own allocation
	for i, def := range all {
		d := t.devices[def.Device]
		if d == nil {
			d = succeed(old[def.Device], def.Device, lines[def.Device])
			t.devices[def.Device] = d
			t.order = append(t.order, d)
		}
		e := &slab[i]
		if was := old[def.Device].entry(def.Name); was != nil && same(was.def, def) {
			*e = *was
		}
		e.def = def
		d.entries = append(d.entries, e)
		d.byName[def.Name] = e
	}
	for _, d := range t.order {
		d.learnPatience()
	}
}

// succeed returns a device without tags that remembers what its predecessor,
// which may be nil, knew of the connection.
func succeed(was *deviceTags, name, line string) *deviceTags {
	d := &deviceTags{name: name, line: line, byName: map[string]*entry{}}
	if was != nil {
		d.outAt, d.outReason, d.firstAt, d.lastAt, d.gaps = was.outAt, was.outReason, was.firstAt, was.lastAt, was.gaps
		d.heard = was.heard
	}
	return d
}

// same reports whether both are read the same way, so that their numbers mean
// the same.
func same(a, b edgeagent.Tag) bool {
	if a.Fetch != "" || b.Fetch != "" {
		return a.Fetch == b.Fetch
	}
	return a.Address == b.Address && a.Type == b.Type && a.EngUnit == b.EngUnit
}

func (d *deviceTags) entry(name string) *entry {
	if d == nil {
		return nil
	}
	return d.byName[name]
}

// Put takes over the samples, confirmations and events of a scan. Samples of
// tags that are not configured, or older than what is known, are ignored. It
// keeps the sample's Raw: the driver must not write to it again.
func (t *Table) Put(scan edgeagent.Scan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ranked.known = false
	d := t.devices[scan.Device]
	if d == nil {
		return
	}
	d.heard = true
	now := time.Now()
	for _, ev := range scan.Events {
		t.event(d, ev, now)
	}
	for i := range scan.Samples {
		if e := d.byName[scan.Samples[i].Tag]; e != nil {
			t.take(d, e, scan.Samples[i], now)
		}
	}
	if len(scan.Confirmed) > 0 {
		t.confirm(d, scan, now)
	}
}

func (t *Table) event(d *deviceTags, ev edgeagent.DeviceEvent, now time.Time) {
	switch ev.Kind {
	case edgeagent.DeviceEventStopped:
		d.outAt = t.trusted(ev.At, now)
		d.outReason = edgeagent.NewNote(edgeagent.ReasonDeviceStopped, d.name+" is not being read")
	case edgeagent.DeviceEventMaintenance:
		d.outAt = t.trusted(ev.At, now)
		if d.outReason = ev.Reason; !d.outReason.Is(edgeagent.ReasonMaintenance) {
			d.outReason = edgeagent.NewNote(edgeagent.ReasonMaintenance, d.name+" is out of service for maintenance")
		}
	case edgeagent.DeviceEventResumed:
		d.outAt, d.outReason = time.Time{}, nil
	case edgeagent.DeviceEventGap:
		d.told(t.offset(ev.From, now), t.offset(ev.At, now))
	default: // says nothing of values
	}
}

// confirm books that values still hold. The history gets them as if they had
// been read: a mean over ten minutes must know that a value stood.
func (t *Table) confirm(d *deviceTags, scan edgeagent.Scan, now time.Time) {
	at := t.trusted(scan.At, now)
	off := at.Sub(t.start)
	for _, name := range scan.Confirmed {
		e := d.byName[name]
		if e == nil || e.value.IsNone() || at.Before(e.at) || e.reason.Is(edgeagent.ReasonNoAnswer) {
			continue
		}
		e.confirmed = &at
		f, numeric := e.value.Float64()
		e.history.add(off, f, numeric, false)
	}
	d.sees(off)
}

// take applies one sample. A sample that says only that there was no answer
// changes the quality and leaves value and time alone.
func (t *Table) take(d *deviceTags, e *entry, s edgeagent.Sample, now time.Time) {
	s.At = t.trusted(s.At, now)
	if !s.Value.Finite() {
		s.Quality = edgeagent.QualityBad
		s.Reason = orReason(s.Reason, edgeagent.ReasonNotANumber, "the PLC sent a value that is not a number")
	}
	if s.Reason.Is(edgeagent.ReasonNoAnswer) {
		e.unanswered(s)
		return
	}
	if s.At.Before(e.at) {
		return
	}
	if s.Quality == edgeagent.QualityBad {
		s.Value = edgeagent.Value{}
	}
	if s.Value.IsNone() {
		s.Quality = edgeagent.QualityBad
	}
	e.take(s)
	if e.quality != edgeagent.QualityBad {
		e.remember(s.At.Sub(t.start))
		d.sees(s.At.Sub(t.start))
	}
}

// take replaces value and time. The last good one is kept beside only when it
// is not the present one any more.
func (e *entry) take(s edgeagent.Sample) {
	if s.Quality != edgeagent.QualityGood && e.quality == edgeagent.QualityGood {
		e.last = &lastGood{e.value, e.at}
	}
	if s.Quality == edgeagent.QualityGood {
		e.last = nil
	}
	e.read, e.value, e.quality, e.reason, e.at, e.raw, e.confirmed = true, s.Value, s.Quality, s.Reason, s.At, s.Raw, nil
	switch {
	case s.SourceAt.IsZero() && s.ServerAt.IsZero():
		e.stamps = nil
	case e.stamps == nil:
		e.stamps = &stamps{s.SourceAt, s.ServerAt}
	default:
		*e.stamps = stamps{s.SourceAt, s.ServerAt}
	}
}

// unanswered keeps value and time. What was bad does not become better by it.
func (e *entry) unanswered(s edgeagent.Sample) {
	if e.quality == edgeagent.QualityGood && s.Quality != edgeagent.QualityGood {
		e.last = &lastGood{e.value, e.at}
	}
	e.quality, e.reason = s.Quality, s.Reason
	if e.value.IsNone() {
		e.quality = edgeagent.QualityBad
	}
}

// remember adds the value to the history and counts a change.
func (e *entry) remember(off time.Duration) {
	changed := !e.base.IsNone() && differs(e.base, e.value, e.def.Deadband)
	if changed {
		e.changed = off
	}
	if changed || e.base.IsNone() {
		e.base = e.value
	}
	f, numeric := e.value.Float64()
	e.history.add(off, f, numeric, changed)
}

// differs reports whether b is a change against a: more than the deadband away,
// or simply another where there is no distance.
func differs(a, b edgeagent.Value, deadband float64) bool {
	x, numeric := a.Float64()
	y, both := b.Float64()
	if !numeric || !both {
		return !a.Equal(b)
	}
	return max(x-y, y-x) > deadband
}

// trusted returns at, or now for a time that cannot be: before the agent
// started, or still to come. Only times without a monotonic reading, of a wall
// clock that was set in between, can be so wrong.
func (t *Table) trusted(at, now time.Time) time.Time {
	if at.Before(t.start) || at.After(now) {
		return now
	}
	return at
}

// offset is trusted's time as an offset; of an unknown one the table's start.
func (t *Table) offset(at, now time.Time) time.Duration {
	if at.IsZero() || at.Before(t.start) {
		return 0
	}
	return t.trusted(at, now).Sub(t.start)
}

func orReason(n *edgeagent.Note, code, text string) *edgeagent.Note {
	if n != nil {
		return n
	}
	return edgeagent.NewNote(code, text)
}

// line returns the devices of a line, in their order.
func (t *Table) line(name string) []*deviceTags {
	return slices.DeleteFunc(slices.Clone(t.order), func(d *deviceTags) bool { return d.line != name })
}
