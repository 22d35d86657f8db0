package opcua

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
)

// maxConditions is how many branches of conditions of one server are followed.
// Of a server with more no refresh is complete: nothing is closed on what could
// not be kept.
const maxConditions = 10_000

// conditions follow the events of one server: what it tells live, and what it
// tells again between the start and the end of a refresh. It is pure: events
// and times in, sets out.
type conditions struct {
	events *Events
	ns     []string
	// patience is how long a refresh may be silent before it is taken for one
	// that never ends.
	patience time.Duration

	open    map[string]open
	dropped uint64 // events of conditions beyond maxConditions
	gaps    uint64 // how often events may have been missed

	refresh refresh
}

// open is a condition that the server retains.
type open struct {
	active  bool
	since   time.Time // ActiveSince as it was told on
	undated bool      // and Undated
	told    time.Time // TransitionTime as the server last told it; zero: never
	gaps    uint64    // those before it was told last
}

// refresh is the state of a ConditionRefresh. What comes meanwhile is held
// until its end, replayed and live alike: it is the latest of each branch that
// counts.
type refresh struct {
	running, started bool
	awaited          bool // it was given up before it started: a slow server may yet tell it
	broken           bool // events were lost, or were too many: it cannot be complete
	begun, heard     time.Time
	held             map[string]edgeagent.Condition
	ended            map[string]edgeagent.Condition
}

func newConditions(e *Events, patience time.Duration) *conditions {
	return &conditions{events: e, patience: patience, open: make(map[string]open)}
}

// reconnected begins a new episode: what is open is remembered, so that an
// activation keeps its beginning where the server tells none.
func (c *conditions) reconnected(ns []string) {
	c.ns, c.refresh = ns, refresh{}
	c.lost()
}

// begin tells that a refresh was asked for.
func (c *conditions) begin(now time.Time) {
	c.refresh = refresh{running: true, begun: now, heard: now,
		held: make(map[string]edgeagent.Condition), ended: make(map[string]edgeagent.Condition)}
}

// fail tells that the refresh was refused; what was held meanwhile is live.
func (c *conditions) fail() []edgeagent.ConditionSet { return c.flush(false) }

// told takes one event. again says that the server wants to be asked for a
// refresh.
func (c *conditions) told(values []*ua.Variant, now time.Time) (sets []edgeagent.ConditionSet, again bool) {
	o := c.events.understand(values, c.ns, now)
	c.refresh.heard = now
	switch o.kind {
	case id.RefreshStartEventType:
		if c.refresh.awaited {
			c.begin(now)
		}
		c.refresh.started = c.refresh.running
	case id.RefreshEndEventType:
		if !c.refresh.started {
			return nil, false // of a refresh that was given up
		}
		return c.flush(!c.refresh.broken), false
	case id.RefreshRequiredEventType:
		return nil, true
	case id.EventQueueOverflowEventType:
		c.lost()
		return nil, true
	case id.ConditionType:
		return c.follow(o), false
	}
	return nil, false
}

// lost tells that events were lost: a running refresh cannot be complete.
func (c *conditions) lost() {
	c.refresh.broken = true
	c.gaps++
}

// refreshing reports whether a refresh is under way.
func (c *conditions) refreshing() bool { return c.refresh.running }

// follow takes one event of a condition.
func (c *conditions) follow(o occurrence) []edgeagent.ConditionSet {
	key := o.condition.Key()
	before, known := c.open[key]
	if !known && !c.wanted(o) || c.refresh.superseded(o.condition) {
		return nil
	}
	if !known && !o.condition.Gone && len(c.open) >= maxConditions {
		c.dropped++
		c.refresh.broken = true
		return nil
	}
	o.condition.ActiveSince, o.condition.Undated = c.since(o, before)
	if o.condition.Gone {
		delete(c.open, key)
	} else {
		c.open[key] = open{active: o.condition.Active, since: o.condition.ActiveSince, undated: o.condition.Undated, told: o.since, gaps: c.gaps}
	}
	if c.refresh.running {
		c.hold(o)
		return nil
	}
	return []edgeagent.ConditionSet{{Conditions: []edgeagent.Condition{o.condition}}}
}

// wanted reports whether a condition that is not followed yet is worth it. One
// that is followed is followed to its end, however mild it gets: else its end
// would never be told.
func (c *conditions) wanted(o occurrence) bool {
	return !o.rated || o.condition.Severity >= c.events.MinSeverity
}

// since returns when the present activation began, or the last one. While all
// events arrive, an activation is the same until one says that it is over, even
// where a server sets the transition time anew for each level of its limits.
// Where events may be missing, another transition time is another activation;
// a server that tells none gives no way to know, and one job too few is better
// than one after each reconnect.
func (c *conditions) since(o occurrence, before open) (since time.Time, undated bool) {
	unbroken := !c.refresh.running && before.gaps == c.gaps
	same := before.active && (unbroken || o.since.IsZero() || o.since.Equal(before.told))
	switch {
	case o.condition.Active && same, !o.condition.Active && !before.since.IsZero():
		return before.since, before.undated
	case o.condition.Active && !o.since.IsZero():
		return o.since, false
	default:
		return o.condition.At, true
	}
}

// superseded reports whether the refresh holds something later of the same
// branch: a live event may come before the replay of what was.
func (r *refresh) superseded(c edgeagent.Condition) bool {
	held, known := r.held[c.Key()]
	if !known {
		held, known = r.ended[c.Key()]
	}
	return known && c.At.Before(held.At)
}

// hold keeps what a refresh tells.
func (c *conditions) hold(o occurrence) {
	r, key := &c.refresh, o.condition.Key()
	if !o.condition.Gone {
		delete(r.ended, key)
		r.held[key] = o.condition
		return
	}
	delete(r.held, key)
	if len(r.ended) < maxConditions {
		r.ended[key] = o.condition
	}
}

// flush ends the refresh. Of a complete one the set is all that is open, after
// what ended meanwhile; of another nothing is known but what it told.
func (c *conditions) flush(complete bool) []edgeagent.ConditionSet {
	r := c.refresh
	c.refresh = refresh{}
	set := edgeagent.ConditionSet{Conditions: append(sorted(r.ended), sorted(r.held)...), Complete: complete}
	if complete {
		c.forget(r.held)
	}
	if !complete && len(set.Conditions) == 0 {
		return nil
	}
	return []edgeagent.ConditionSet{set}
}

// forget drops what a complete refresh did not tell.
func (c *conditions) forget(held map[string]edgeagent.Condition) {
	maps.DeleteFunc(c.open, func(key string, _ open) bool { _, told := held[key]; return !told })
}

// sorted returns conditions in the order in which they began.
func sorted(held map[string]edgeagent.Condition) []edgeagent.Condition {
	return slices.SortedFunc(maps.Values(held), func(a, b edgeagent.Condition) int {
		if d := a.ActiveSince.Compare(b.ActiveSince); d != 0 {
			return d
		}
		return strings.Compare(a.Key(), b.Key())
	})
}

// refreshLimit is how many patiences a refresh may take in all, however busy.
const refreshLimit = 10

// overdue gives a refresh up that is silent or goes on for ever: what it told
// is passed on, and nothing is closed on it.
func (c *conditions) overdue(now time.Time) (sets []edgeagent.ConditionSet, err error) {
	r := c.refresh
	silent, long := now.Sub(r.heard) > c.patience, now.Sub(r.begun) > refreshLimit*c.patience
	if !r.running || !silent && !long {
		return nil, nil
	}
	sets = c.flush(false)
	c.refresh.awaited = !r.started
	return sets, fmt.Errorf("the refresh of conditions did not end within %v (%d told)",
		now.Sub(r.begun).Round(time.Millisecond), len(r.held))
}
