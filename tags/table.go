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
	stoppedAt  time.Time     // zero while it is being read
	firstAt    time.Duration // offset of the first value; 0 before any
	lastAt     time.Duration // of the last
	patience   time.Duration // a longer pause is a gap; at least a second
	gaps       []gap
}

// entry is one tag. At and value belong together and are never parted: an old
// value keeps its old time whatever the quality becomes.
type entry struct {
	def      edgeagent.Tag
	read     bool // a value has been read since the start
	sample   edgeagent.Sample
	off      time.Duration // of sample.At, on the monotonic clock
	good     edgeagent.Value
	goodAt   time.Time
	base     edgeagent.Value // what the next change is measured against
	changeAt time.Time       // zero before the first change
	history  *history
}

// New returns a table of tags that have never been read. Lines says to which
// line each device belongs.
func New(all []edgeagent.Tag, lines map[string]string) *Table {
	t := &Table{start: time.Now().Add(-headStart), devices: map[string]*deviceTags{}}
	t.Configure(all, lines)
	return t
}

// Configure replaces the tags after a reload. A tag that stays as it was keeps
// its value and history; one with another address, type or unit starts anew,
// for its old numbers mean something else.
func (t *Table) Configure(all []edgeagent.Tag, lines map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ranked.known = false
	old := t.devices
	t.devices, t.order = make(map[string]*deviceTags, len(old)), nil
	for _, def := range all {
		d := t.devices[def.Device]
		if d == nil {
			d = succeed(old[def.Device], def.Device, lines[def.Device])
			t.devices[def.Device] = d
			t.order = append(t.order, d)
		}
		e := &entry{def: def}
		if was := old[def.Device].entry(def.Name); was != nil && same(was.def, def) {
			kept := *was
			kept.def = def
			e = &kept
		}
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
		d.stoppedAt, d.firstAt, d.lastAt, d.gaps = was.stoppedAt, was.firstAt, was.lastAt, was.gaps
	}
	return d
}

func same(a, b edgeagent.Tag) bool {
	return a.Address == b.Address && a.Type == b.Type && a.EngUnit == b.EngUnit
}

func (d *deviceTags) entry(name string) *entry {
	if d == nil {
		return nil
	}
	return d.byName[name]
}

// Put takes over the samples and events of a scan. Samples of tags that are not
// configured, or older than what is known, are ignored. It keeps the sample's
// Raw: the driver must not write to it again.
func (t *Table) Put(scan edgeagent.Scan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ranked.known = false
	d := t.devices[scan.Device]
	if d == nil {
		return
	}
	for _, ev := range scan.Events {
		switch ev.Kind {
		case edgeagent.DeviceEventStopped:
			d.stoppedAt = t.trusted(ev.At)
		case edgeagent.DeviceEventResumed:
			d.stoppedAt = time.Time{}
		}
	}
	for _, s := range scan.Samples {
		if e := d.byName[s.Tag]; e != nil {
			t.take(d, e, s)
		}
	}
}

// take applies one sample. A sample that says only that there was no answer
// changes the quality and leaves value and time alone.
func (t *Table) take(d *deviceTags, e *entry, s edgeagent.Sample) {
	s.At = t.trusted(s.At)
	if !s.Value.Finite() {
		s.Quality = edgeagent.QualityBad
		s.Reason = orReason(s.Reason, edgeagent.ReasonNotANumber, "the PLC sent a value that is not a number")
	}
	if s.Reason.Is(edgeagent.ReasonNoAnswer) {
		e.unanswered(s)
		return
	}
	if s.At.Before(e.sample.At) {
		return
	}
	if s.Quality == edgeagent.QualityBad || s.Value.IsNone() {
		e.sample = edgeagent.Sample{Tag: s.Tag, Reason: s.Reason, At: s.At, SourceAt: s.SourceAt, Raw: s.Raw}
		e.read = true
		return
	}
	e.read, e.sample, e.off = true, s, s.At.Sub(t.start)
	if s.Quality == edgeagent.QualityGood {
		e.good, e.goodAt = s.Value, s.At
	}
	e.remember()
	d.sees(e.off)
}

// unanswered keeps value and time. What was bad does not become better by it.
func (e *entry) unanswered(s edgeagent.Sample) {
	e.sample.Quality, e.sample.Reason = s.Quality, s.Reason
	if e.sample.Value.IsNone() {
		e.sample.Quality = edgeagent.QualityBad
	}
}

// remember adds the value to the history and counts a change.
func (e *entry) remember() {
	if e.history == nil {
		e.history = newHistory()
	}
	v := e.sample.Value
	changed := !e.base.IsNone() && differs(e.base, v, e.def.Deadband)
	if changed {
		e.changeAt = e.sample.At
	}
	if changed || e.base.IsNone() {
		e.base = v
	}
	f, _ := v.Float64()
	e.history.add(e.off, f, v.Kind() != edgeagent.KindString, changed)
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
func (t *Table) trusted(at time.Time) time.Time {
	if now := time.Now(); at.Before(t.start) || at.After(now) {
		return now
	}
	return at
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
