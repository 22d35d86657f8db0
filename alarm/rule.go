package alarm

import (
	"fmt"
	"time"

	"edgeagent"
)

// Rule is the definition of one alarm of one device.
type Rule struct {
	Device, Line, Area string
	Code               string
	When               string // an expression over the device's tags, see [Check]
	Clear              string // likewise; empty: as soon as When is false
	OnDelay, OffDelay  time.Duration
	Priority           int // 1 highest to 4
	Text               string
	Context            []string // tags sent as evidence; empty: those of the expressions
	InhibitedBy        []string // codes of the device that mute this alarm while they are active
	Diagnose           bool     // a raise wants a diagnosis
	Safety             bool     // concerns a safety function
}

// View is what the engine sees of the plant besides the scan.
type View interface {
	Reading(device, tag string) (edgeagent.Reading, bool)
	Evidence(device string, tags []string, at time.Time) *edgeagent.Evidence
}

// Options are what an engine can be told beyond its rules.
type Options struct {
	Lines     map[string]string // line -> area, for alarms that no rule defines
	Devices   map[string]string // device -> line; devices with rules are known anyway
	MaxShelve time.Duration     // the longest shelving; 24 h if zero
	// At is the moment at which the engine is made: what Restore closes was
	// closed then. The zero time is now.
	At time.Time
}

// rule is a Rule at work.
type rule struct {
	Rule
	order       int
	when, clear *condition  // clear is nil for "not when"
	signals     []*signal   // of both
	open        *activation // unacked or acked, else nil
	since       time.Time   // since when the condition asks for a change; zero: it does not
	roseAt      time.Time   // when the samples that make it true were taken
	freshUntil  time.Time   // when a value will have grown stale
	looked      bool        // evaluated, unmuted, since the engine was made
	atStart     bool        // the condition held at that first look, and has ever since
	restored    bool        // the open alarm is older than the engine and has not been seen to hold since
	muted       bool
	queued      bool // in the queue of the pass that runs
}

func newRule(def Rule, order int, plant *signals) (*rule, error) {
	r := &rule{Rule: def, order: order}
	var err error
	if r.when, err = plant.compile(def.Device, def.When); err != nil {
		return nil, fmt.Errorf("alarm %s/%s: when: %w", def.Device, def.Code, err)
	}
	if def.Clear != "" {
		if r.clear, err = plant.compile(def.Device, def.Clear); err != nil {
			return nil, fmt.Errorf("alarm %s/%s: clear: %w", def.Device, def.Code, err)
		}
	}
	r.signals = union(r.when, r.clear)
	return r, nil
}

// union lists the signals of both conditions once, in the order of their names
// in the text.
func union(conditions ...*condition) []*signal {
	var out []*signal
	seen := map[*signal]bool{}
	for _, c := range conditions {
		if c == nil {
			continue
		}
		for _, s := range c.signals {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}

// context returns the tags whose features go with a raise.
func (r *rule) context() []string {
	if len(r.Context) > 0 {
		return r.Context
	}
	out := make([]string, len(r.signals))
	for i, s := range r.signals {
		out[i] = s.tag.Name
	}
	return out
}

func (r *rule) values() map[string]edgeagent.Value {
	out := make(map[string]edgeagent.Value, len(r.signals))
	for _, s := range r.signals {
		out[s.tag.ID()] = s.value
	}
	return out
}

// due is when the rule must be looked at again without a scan: a delay ends, or
// a value that an open alarm rests on grows stale. Zero: not by itself.
func (r *rule) due() time.Time {
	var at time.Time
	if !r.since.IsZero() {
		at = r.since.Add(r.delay())
	}
	if r.open != nil && r.open.alarm.ValueLostSince == nil && !r.freshUntil.IsZero() {
		at = earlier(at, r.freshUntil)
	}
	return at
}

func (r *rule) delay() time.Duration {
	if r.open != nil {
		return r.OffDelay
	}
	return r.OnDelay
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
