package alarm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"edgeagent"
)

// witness replays transitions as a reader of the data file sees them, and
// complains about what must never be.
type witness struct {
	t    *testing.T
	seed uint64
	last map[edgeagent.ID]edgeagent.Alarm
	open map[string]edgeagent.ID // name -> the one that is active
	out  bool                    // in maintenance
}

func (w *witness) see(p *plant, ts []edgeagent.Transition) {
	w.t.Helper()
	for _, t := range ts {
		a := t.Alarm
		if before, known := w.last[a.ID]; known && (t.Kind == edgeagent.TransitionRaised || a.Revision != before.Revision+1 || t.From != before.State) {
			w.t.Fatalf("seed %d: %s of %s: from %s revision %d after %s revision %d", w.seed, t.Kind, a.Name(), t.From, a.Revision, before.State, before.Revision)
		}
		w.last[a.ID] = a
		switch t.Kind {
		case edgeagent.TransitionRaised:
			w.raised(p, a)
		case edgeagent.TransitionCleared:
			w.cleared(p, a)
		default:
		}
	}
}

func (w *witness) raised(p *plant, a edgeagent.Alarm) {
	w.t.Helper()
	if id := w.open[a.Name()]; id != "" {
		w.t.Fatalf("seed %d: %s raised while %s is active", w.seed, a.Name(), id)
	}
	w.open[a.Name()] = a.ID
	if a.Origin != edgeagent.OriginTag {
		return
	}
	if w.open["filler/device_stopped"] != "" || w.open["filler/device_frozen"] != "" || w.out {
		w.t.Fatalf("seed %d: %s raised while the device cannot be seen", w.seed, a.Name())
	}
	if mode := p.engine.Mode("L1"); a.Code == "MODE" && mode != UnknownMode && mode != "run" {
		w.t.Fatalf("seed %d: %s raised in mode %s", w.seed, a.Name(), mode)
	}
	if v, usable := level(p); !usable || v <= 80 {
		w.t.Fatalf("seed %d: %s raised at %v, usable %v", w.seed, a.Name(), v, usable)
	}
}

func (w *witness) cleared(p *plant, a edgeagent.Alarm) {
	w.t.Helper()
	if w.open[a.Name()] != a.ID {
		w.t.Fatalf("seed %d: %s cleared, but %q is active", w.seed, a.Name(), w.open[a.Name()])
	}
	delete(w.open, a.Name())
	if a.Origin != edgeagent.OriginTag {
		return
	}
	if v, usable := level(p); !usable || v >= 75 {
		w.t.Fatalf("seed %d: %s cleared at %v, usable %v", w.seed, a.Name(), v, usable)
	}
}

func level(p *plant) (float64, bool) {
	r, _ := p.Reading("filler", "level")
	f, _ := r.Value.Float64()
	return f, r.Usable()
}

// stored are the alarms that a restart finds.
func (w *witness) stored() []edgeagent.Alarm {
	var out []edgeagent.Alarm
	for _, a := range w.last {
		if a.State.Open() {
			out = append(out, a)
		}
	}
	return out
}

// check compares the engine with what is stored.
func (w *witness) check(p *plant) {
	w.t.Helper()
	stored := map[edgeagent.ID]edgeagent.AlarmState{}
	for _, a := range w.stored() {
		stored[a.ID] = a.State
	}
	open := p.engine.Open()
	if len(open) != len(stored) {
		w.t.Fatalf("seed %d: %d open, %d stored", w.seed, len(open), len(stored))
	}
	for _, a := range open {
		if stored[a.ID] != a.State {
			w.t.Fatalf("seed %d: %s is %s, stored as %q", w.seed, a.Name(), a.State, stored[a.ID])
		}
	}
}

func TestAnyHistoryKeepsThePromises(t *testing.T) {
	slow := high()
	slow.Code, slow.OnDelay, slow.OffDelay, slow.InhibitedBy = "SLOW", 2*time.Second, 3*time.Second, []string{"F212"}
	moded := high()
	moded.Code, moded.ActiveIn, moded.Settle = "MODE", []string{"run"}, time.Second
	modes := map[string][]Mode{"L1": {{Name: "cip", When: "filler.state == 30"}, {Name: "run", When: "filler.state == 6"}}}
	raises := 0
	for seed := range uint64(120) {
		p := startWith(t, Options{Modes: modes}, high(), slow, moded)
		w := &witness{t: t, seed: seed, last: map[edgeagent.ID]edgeagent.Alarm{}, open: map[string]edgeagent.ID{}}
		r := rand.New(rand.NewPCG(seed, 7))
		for range 200 {
			w.see(p, act(p, w, r))
			w.check(p)
		}
		raises += len(w.last)
	}
	if raises < 500 {
		t.Errorf("only %d activations were tried", raises)
	}
}

// act does one random thing and returns what changed.
func act(p *plant, w *witness, r *rand.Rand) []edgeagent.Transition {
	values := []any{70.0, 70.0, 78.0, 90.0, 90.0, nil, math.NaN(), "text"}
	switch n := r.IntN(31); {
	case n >= 28:
		return p.unanswered("level")
	case n == 27:
		w.out = true
		return p.event(maintenance)
	case n == 26:
		return p.event(thawed)
	case n == 25:
		return p.event(frozen)
	case n >= 20:
		return p.scan("state", []any{30, 6, 6, 0, nil}[r.IntN(5)])
	case n < 11:
		return p.scan("level", values[r.IntN(len(values))])
	case n < 15:
		return tickTo(p, w, time.Duration(r.IntN(5000))*time.Millisecond)
	case n == 15:
		w.out = false
		return p.event(stopped)
	case n == 16:
		w.out = false
		return p.event(resumed)
	case n == 17:
		w.out = false // its connection says it again
		return restartFrom(p, w.stored())
	default:
		return person(p, r)
	}
}

// tickTo ticks as often as the engine asks, and lets the witness see each tick
// at its own time.
func tickTo(p *plant, w *witness, d time.Duration) []edgeagent.Transition {
	end := p.now.Add(d)
	for {
		at, ok := p.engine.Next()
		if !ok || at.After(end) {
			p.now = end
			return nil
		}
		if at.After(p.now) {
			p.now = at
		}
		w.see(p, p.engine.Tick(p.now, p))
	}
}

func restartFrom(p *plant, stored []edgeagent.Alarm) []edgeagent.Transition {
	p.options.At = p.now
	e, err := New(p.rules, p.defs, p.options)
	if err != nil {
		p.t.Fatal(err)
	}
	p.engine = e
	return e.Restore(stored)
}

func person(p *plant, r *rand.Rand) []edgeagent.Transition {
	open := p.engine.Open()
	if len(open) == 0 {
		return nil
	}
	id := open[r.IntN(len(open))].ID
	do := []func() (edgeagent.Transition, error){
		func() (edgeagent.Transition, error) { return p.engine.Acknowledge(id, "anna", p.now) },
		func() (edgeagent.Transition, error) { return p.engine.Shelve(id, "anna", "x", 4*time.Second, p.now) },
		func() (edgeagent.Transition, error) { return p.engine.Unshelve(id, "anna", p.now) },
	}
	t, err := do[r.IntN(len(do))]()
	if err != nil {
		return nil
	}
	return []edgeagent.Transition{t}
}

// A storm: many rules rise in one scan. Every one is raised once, with ids in
// the order of the transitions, and one of them is first.
func TestStorm(t *testing.T) {
	var rules []Rule
	for i := range 500 {
		rule := high()
		rule.Code = fmt.Sprintf("S%03d", i)
		rules = append(rules, rule)
	}
	p := start(t, rules...)
	p.scan("level", 70.0)
	ts := p.scan("level", 90.0)
	if len(ts) != 500 {
		t.Fatalf("%d transitions, want 500", len(ts))
	}
	if !slices.IsSortedFunc(ts, func(a, b edgeagent.Transition) int {
		if a.Alarm.ID < b.Alarm.ID && a.Alarm.Code < b.Alarm.Code {
			return -1
		}
		return 1
	}) {
		t.Error("ids do not rise in the order of the rules")
	}
	first := 0
	for _, x := range ts {
		if x.Alarm.FirstOut {
			first++
		}
	}
	if first != 1 || !ts[0].Alarm.FirstOut {
		t.Errorf("%d are first-out", first)
	}
	if ts := p.scan("level", 70.0); len(ts) != 500 {
		t.Errorf("%d cleared, want 500", len(ts))
	}
}
