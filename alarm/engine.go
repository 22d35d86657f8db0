package alarm

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/expr-lang/expr/vm"

	"edgeagent"
)

const (
	defaultMaxShelve = 24 * time.Hour
	firstOutQuiet    = 60 * time.Second // a line that was quiet for so long has a first-out again
	settling         = 10 * time.Second // what has not been read by then after a restart is a lost value
	rememberedClosed = 256              // ids whose acknowledgement is a conflict, not unknown
)

// key names an alarm over all its activations.
type key struct {
	origin             edgeagent.Origin
	device, line, code string
}

func keyOf(a edgeagent.Alarm) key {
	k := key{origin: a.Origin, device: a.Device, code: a.Code}
	if a.Origin == edgeagent.OriginOutside {
		k.line = a.Line
	}
	return k
}

// activation is one open alarm.
type activation struct {
	alarm edgeagent.Alarm
	rule  *rule // nil for those of the agent and from outside
}

// shelf outlives the activation: who shelves a chattering alarm wants quiet
// from the next one too.
type shelf struct {
	until  time.Time
	reason string
}

// Engine holds the open alarms and decides what changes them. It is for one
// goroutine.
type Engine struct {
	options  Options
	rules    []*rule
	byTag    map[string][]*rule // DEVICE.TAG
	byDevice map[string][]*rule
	byKey    map[key]*rule
	lines    map[string]string // device -> line
	areas    map[string]string // line -> area
	open     map[edgeagent.ID]*activation
	active   map[key]*activation // at most one of a name; those from outside are not in it
	shelves  map[key]shelf
	stopped  map[string]time.Time // device -> when this engine learned of its stop
	rose     map[string]time.Time // line -> last raise
	closed   []edgeagent.ID
	machine  vm.VM
}

// New compiles the rules over the tags of their devices. The error names the
// alarm and says what to do.
func New(rules []Rule, tags []edgeagent.Tag, o Options) (*Engine, error) {
	if o.At.IsZero() {
		o.At = time.Now()
	}
	if o.MaxShelve == 0 {
		o.MaxShelve = defaultMaxShelve
	}
	e := &Engine{
		options: o, byTag: map[string][]*rule{}, byDevice: map[string][]*rule{}, byKey: map[key]*rule{},
		lines: map[string]string{}, areas: map[string]string{}, open: map[edgeagent.ID]*activation{},
		active: map[key]*activation{}, shelves: map[key]shelf{}, stopped: map[string]time.Time{}, rose: map[string]time.Time{},
	}
	for _, t := range tags {
		e.lines[t.Device] = ""
	}
	plant := newSignals(tags)
	for i, def := range rules {
		r, err := newRule(def, i, plant)
		if err != nil {
			return nil, err
		}
		e.add(r)
	}
	maps.Copy(e.lines, o.Devices)
	maps.Copy(e.areas, o.Lines)
	return e, nil
}

func (e *Engine) add(r *rule) {
	e.rules = append(e.rules, r)
	e.byDevice[r.Device] = append(e.byDevice[r.Device], r)
	e.byKey[key{origin: edgeagent.OriginTag, device: r.Device, code: r.Code}] = r
	for _, s := range r.signals {
		e.byTag[s.tag.ID()] = append(e.byTag[s.tag.ID()], r)
	}
	e.lines[r.Device], e.areas[r.Line] = r.Line, r.Area
}

// Restore takes over the open alarms of before a restart or reload, once,
// before the first scan; of closed ones it takes the shelving of their name.
// Nothing is raised again. The transitions close what has no definition any more.
func (e *Engine) Restore(open []edgeagent.Alarm) []edgeagent.Transition {
	open = slices.Clone(open)
	slices.SortFunc(open, func(a, b edgeagent.Alarm) int { return cmp.Compare(a.ID, b.ID) })
	var out []edgeagent.Transition
	for _, a := range open {
		e.boundShelf(&a)
		e.takeShelf(a)
		if !a.State.Open() {
			continue
		}
		if twin := e.active[keyOf(a)]; twin != nil { // one activation at a time: the newest is the one
			out = append(out, e.drop(twin))
		}
		act := e.adopt(a)
		if !e.defined(a) {
			out = append(out, e.drop(act))
		}
	}
	return out
}

func (e *Engine) adopt(a edgeagent.Alarm) *activation {
	k := keyOf(a)
	act := &activation{alarm: a, rule: e.byKey[k]}
	e.enter(act)
	if act.rule != nil {
		act.rule.open, act.rule.restored = act, true
		act.rule.freshUntil = e.options.At.Add(settling)
	}
	if a.RaisedAt.After(e.rose[a.Line]) {
		e.rose[a.Line] = a.RaisedAt
	}
	return act
}

// boundShelf lets no shelving outlast what one may: it was stored by a clock
// that may have been years ahead.
func (e *Engine) boundShelf(a *edgeagent.Alarm) {
	latest := e.options.At.Add(e.options.MaxShelve).Round(0)
	if a.ShelvedUntil != nil && a.ShelvedUntil.After(latest) {
		a.ShelvedUntil = &latest
	}
}

func (e *Engine) takeShelf(a edgeagent.Alarm) {
	if a.ShelvedUntil != nil {
		e.shelves[keyOf(a)] = shelf{until: *a.ShelvedUntil, reason: a.ShelveReason}
	}
}

// defined reports whether something can still clear the alarm.
func (e *Engine) defined(a edgeagent.Alarm) bool {
	switch a.Origin {
	case edgeagent.OriginTag:
		return e.byKey[keyOf(a)] != nil
	case edgeagent.OriginAgent:
		_, known := e.lines[a.Device]
		return known
	default:
		return true
	}
}

func (e *Engine) drop(act *activation) edgeagent.Transition {
	act.alarm.Removed = true
	t, _ := e.change(act, remove, e.options.At) // every open state has a row
	return t
}

// change applies an event to an open alarm and forgets it once it is normal.
func (e *Engine) change(act *activation, ev event, now time.Time) (edgeagent.Transition, error) {
	t, err := advance(&act.alarm, ev, now)
	if err != nil {
		return t, err
	}
	if act.rule != nil && !act.alarm.State.Active() {
		act.rule.open, act.rule.since, act.rule.restored = nil, time.Time{}, false
	}
	if !act.alarm.State.Open() {
		k := keyOf(act.alarm)
		delete(e.open, act.alarm.ID)
		if e.active[k] == act {
			delete(e.active, k)
		}
		e.closed = append(e.closed, act.alarm.ID)
		e.closed = e.closed[max(0, len(e.closed)-rememberedClosed):]
	}
	return t, nil
}

// Open returns the open alarms, oldest first.
func (e *Engine) Open() []edgeagent.Alarm {
	out := make([]edgeagent.Alarm, 0, len(e.open))
	for _, act := range e.open {
		out = append(out, act.alarm)
	}
	slices.SortFunc(out, func(a, b edgeagent.Alarm) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Next returns when Tick has something to do, and false when it has not.
func (e *Engine) Next() (time.Time, bool) {
	var at time.Time
	for _, r := range e.rules {
		if d := r.due(); !d.IsZero() {
			at = earlier(at, d)
		}
	}
	for _, act := range e.open {
		at = earlier(at, e.shelvedUntil(act))
	}
	return at, !at.IsZero()
}
