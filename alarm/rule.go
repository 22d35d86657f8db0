package alarm

import (
	"fmt"
	"slices"
	"time"
)

// question is what a rule asks of its signals, once all of them are usable.
type question interface {
	// answer is not known where the values do not say it: that decides nothing.
	answer() (holds, clears, known bool)
}

// rule is a Rule at work.
type rule struct {
	Rule
	order    int
	question question
	signals  []*signal // that the question rests on
	table    *table    // of a word or code; else nil
	modes    *lineModes

	open        *activation // unacked or acked, else nil
	since       time.Time   // since when the condition asks for a change; zero: it does not
	roseAt      time.Time   // when the samples that make it true were taken
	freshUntil  time.Time   // when a value will have grown stale
	settleUntil time.Time   // muted until then, for the line has just changed its mode
	held        bool        // a value is merely unanswered for a moment, see [standing]
	looked      bool        // evaluated, unmuted, since the engine was made
	atStart     bool        // the condition held at that first look, and has ever since
	restored    bool        // the open alarm is older than the engine and has not been seen to hold since
	muted       bool
	queued      bool // in the queue of the pass that runs
	live        bool // in the engine's live rules
}

// comparison is a question in words: expressions over tags.
type comparison struct {
	when, clear *condition // clear is nil for "not when"
}

func (c comparison) answer() (holds, clears, known bool) {
	if !c.when.rated() || !c.clear.rated() {
		return false, false, false
	}
	holds, known = c.when.holds()
	if !known || c.clear == nil {
		return holds, !holds, known
	}
	clears, known = c.clear.holds()
	return holds, clears && !holds, known // while the condition holds, nothing clears it
}

func newRule(def Rule, plant *signals) (*rule, error) {
	r := &rule{Rule: def}
	var c comparison
	var err error
	if c.when, err = plant.compile(def.Device, def.When); err != nil {
		return nil, fmt.Errorf("alarm %s/%s: when: %w", def.Device, def.Code, err)
	}
	if def.Clear != "" {
		if c.clear, err = plant.compile(def.Device, def.Clear); err != nil {
			return nil, fmt.Errorf("alarm %s/%s: clear: %w", def.Device, def.Code, err)
		}
	}
	r.question, r.signals = c, union(c.when, c.clear)
	return r, nil
}

// union lists the signals of both conditions once, in the order of their names
// in the text.
func union(conditions ...*condition) []*signal {
	var out []*signal
	for _, c := range conditions {
		if c == nil {
			continue
		}
		for _, s := range c.signals {
			if !slices.Contains(out, s) {
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

// awaits reports whether time alone may change something for the rule.
func (r *rule) awaits() bool {
	return r.open != nil || !r.since.IsZero() || !r.settleUntil.IsZero()
}

// due is when the rule must be looked at again without a scan: a delay ends, a
// mode has settled, or a value that an open alarm rests on grows stale. Zero:
// not by itself.
func (r *rule) due() time.Time {
	at := r.settleUntil
	switch {
	case r.since.IsZero():
	case r.held: // the next answer ends the delay, or nobody can say any more that it lasted
		at = earlier(at, r.freshUntil.Add(settling))
	default:
		at = earlier(at, r.since.Add(r.delay()))
	}
	if r.open != nil && r.open.alarm.ValueLostSince == nil {
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
