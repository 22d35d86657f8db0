package alarm

import (
	"cmp"
	"maps"
	"slices"
	"time"

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
	switch a.Origin {
	case edgeagent.OriginOutside:
		k.line = a.Line
	case edgeagent.OriginServer: // a code may be that of many conditions
		k.code = a.SourceID
	default:
	}
	return k
}

// activation is one open alarm.
type activation struct {
	alarm  edgeagent.Alarm
	rule   *rule     // nil for those of the agent, of servers and from outside
	toldAt time.Time // when a server's condition was last said to be so, by the server's clock
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
	watches  map[string]map[string]*watch // device, tag
	rated    map[string]bool              // devices of which a rate is asked for
	byDevice map[string][]*rule
	byKey    map[key]*rule
	codes    []*code
	modes    map[string]*lineModes // line
	servers  map[string]*server    // device
	lines    map[string]string     // device -> line
	areas    map[string]string     // line -> area
	fresh    map[string]bool       // devices with rules of which no scan has come yet
	live     map[*rule]struct{}    // rules for which time alone may change something

	open       map[edgeagent.ID]*activation
	active     map[key]*activation // at most one of a name; those from outside are not in it
	shelves    map[key]shelf
	failed     map[key]time.Time    // outage -> when this engine learned of it last
	maintained map[string]bool      // devices that a person took out of service
	rose       map[string]time.Time // line -> last raise
	closed     []edgeagent.ID
}

// New compiles the rules over the tags of their devices, and what Options adds
// to them. The error names the alarm and says what to do.
func New(rules []Rule, tags []edgeagent.Tag, o Options) (*Engine, error) {
	if o.At.IsZero() {
		o.At = time.Now()
	}
	if o.MaxShelve == 0 {
		o.MaxShelve = defaultMaxShelve
	}
	e := newEngine(o)
	for _, t := range tags {
		e.lines[t.Device] = ""
	}
	plant := newSignals(tags)
	for _, def := range rules {
		r, err := newRule(def, plant)
		if err != nil {
			return nil, err
		}
		e.add(r)
	}
	if err := e.addTables(plant); err != nil {
		return nil, err
	}
	if err := e.addLines(tags); err != nil {
		return nil, err
	}
	for _, r := range e.rules {
		e.watchRule(r)
	}
	maps.Copy(e.lines, o.Devices)
	maps.Copy(e.areas, o.Lines)
	return e, nil
}

func newEngine(o Options) *Engine {
	return &Engine{
		options: o, watches: map[string]map[string]*watch{}, rated: map[string]bool{}, byDevice: map[string][]*rule{}, byKey: map[key]*rule{},
		modes: map[string]*lineModes{}, servers: map[string]*server{}, lines: map[string]string{}, areas: map[string]string{},
		fresh: map[string]bool{}, live: map[*rule]struct{}{}, open: map[edgeagent.ID]*activation{}, active: map[key]*activation{},
		shelves: map[key]shelf{}, failed: map[key]time.Time{}, maintained: map[string]bool{}, rose: map[string]time.Time{},
	}
}

// addTables takes over words, codes and servers.
func (e *Engine) addTables(plant *signals) error {
	for _, w := range e.options.Words {
		if err := e.addWord(w, plant); err != nil {
			return err
		}
	}
	for _, c := range e.options.Codes {
		if err := e.addCode(c, plant); err != nil {
			return err
		}
	}
	for _, s := range e.options.Servers {
		e.servers[s.Device] = &server{Server: s, raised: map[string][]episode{}}
		e.lines[s.Device], e.areas[s.Line] = s.Line, s.Area
	}
	return nil
}

// addLines takes over the modes of the lines, after all rules.
func (e *Engine) addLines(tags []edgeagent.Tag) error {
	if len(e.options.Modes) == 0 {
		return nil
	}
	plant := newPlantTags(tags)
	for _, line := range slices.Sorted(maps.Keys(e.options.Modes)) {
		if err := e.addModes(line, e.options.Modes[line], plant); err != nil {
			return err
		}
	}
	for _, r := range e.rules {
		m := e.modes[r.Line]
		if m != nil && (len(r.ActiveIn) > 0 || r.Settle > 0) {
			r.modes = m
			m.rules = append(m.rules, r)
		}
	}
	return nil
}

func (e *Engine) add(r *rule) {
	r.order = len(e.rules)
	e.rules = append(e.rules, r)
	e.byDevice[r.Device] = append(e.byDevice[r.Device], r)
	if r.Code != "" {
		e.byKey[key{origin: edgeagent.OriginTag, device: r.Device, code: r.Code}] = r
	}
	e.lines[r.Device], e.areas[r.Line] = r.Line, r.Area
	e.fresh[r.Device] = true
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
		e.takeActivation(a)
		if !a.State.Open() {
			continue
		}
		if twin := e.active[keyOf(a)]; twin != nil { // one activation at a time: the newest is the one
			out = append(out, e.drop(twin))
		}
		act := e.adopt(a)
		if !e.defined(act) {
			out = append(out, e.drop(act))
		}
	}
	return out
}

func (e *Engine) adopt(a edgeagent.Alarm) *activation {
	act := &activation{alarm: a, rule: e.ruleOf(a)}
	e.enter(act)
	if r := act.rule; r != nil && a.State.Active() {
		r.open, r.restored = act, true
		r.freshUntil = e.options.At.Add(settling)
		e.note(r)
	}
	if s := e.servers[a.Device]; s != nil && a.Origin == edgeagent.OriginServer && a.State.Active() && a.ValueLostSince == nil {
		s.lostAt = e.options.At.Add(settling)
	}
	if a.RaisedAt.After(e.rose[a.Line]) {
		e.rose[a.Line] = a.RaisedAt
	}
	return act
}

// ruleOf returns the rule of an alarm of before a restart, nil without one.
func (e *Engine) ruleOf(a edgeagent.Alarm) *rule {
	if r := e.byKey[keyOf(a)]; r != nil || a.Origin != edgeagent.OriginTag {
		return r
	}
	for _, c := range e.codes {
		if c.adopts(a) {
			return c.unlisted
		}
	}
	return nil
}

// takeActivation remembers what was raised before a restart, so that a server
// that tells it again raises nothing.
func (e *Engine) takeActivation(a edgeagent.Alarm) {
	if s := e.servers[a.Device]; s != nil && a.Origin == edgeagent.OriginServer && a.SourceAt != nil {
		s.raised[a.SourceID] = append(s.raised[a.SourceID], episode{since: *a.SourceAt, told: *a.SourceAt, over: !a.State.Active()})
	}
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
func (e *Engine) defined(act *activation) bool {
	known := true
	switch act.alarm.Origin {
	case edgeagent.OriginTag:
		known = act.rule != nil
	case edgeagent.OriginAgent:
		_, known = e.lines[act.alarm.Device]
		known = known && !slices.Contains(e.options.Disabled, act.alarm.Device)
		if act.alarm.Code == edgeagent.CodeConditionsFull {
			known = e.servers[act.alarm.Device] != nil
		}
	case edgeagent.OriginServer:
		known = e.servers[act.alarm.Device] != nil
	default:
	}
	return known
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
		e.note(act.rule)
	}
	if !act.alarm.State.Open() {
		k := keyOf(act.alarm)
		e.count(act.alarm, -1)
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
	for r := range e.live {
		at = earlier(at, r.due())
	}
	for _, m := range e.modes {
		at = earlier(at, m.freshUntil)
	}
	for _, s := range e.servers {
		at = earlier(at, s.lostAt)
	}
	for _, act := range e.open {
		at = earlier(at, e.shelvedUntil(act))
	}
	return at, !at.IsZero()
}
