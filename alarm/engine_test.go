package alarm

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func TestRaiseAndClear(t *testing.T) {
	p := start(t, high())
	p.expect(p.scan("level", 70.0), "")
	p.expect(p.scan("level", 80.0), "")
	raised := p.scan("level", 80.5)
	p.expect(raised, "raised filler/F212")
	a := raised[0].Alarm
	if a.State != edgeagent.AlarmUnacked || a.Line != "L1" || a.Area != "A" || a.Priority != 2 || a.Text != "Level" ||
		!a.FirstOut || !a.Diagnose || a.Origin != edgeagent.OriginTag || a.Revision != 1 || !a.RaisedAt.Equal(p.now) {
		t.Errorf("raised as %+v", a)
	}
	if !a.Values["filler.level"].Equal(edgeagent.Float(80.5)) || len(a.Values) != 1 {
		t.Errorf("values %v", a.Values)
	}
	if raised[0].Evidence == nil || strings.Join(p.evidence[0], " ") != "level" {
		t.Errorf("evidence of %v", p.evidence)
	}
	p.expect(p.scan("level", 76.0), "")
	cleared := p.scan("level", 74.0)
	p.expect(cleared, "cleared filler/F212")
	if c := cleared[0].Alarm; c.ID != a.ID || c.State != edgeagent.AlarmNormal || c.ClearedAt == nil || c.Revision != 2 {
		t.Errorf("cleared as %+v", c)
	}
	again := p.scan("level", 90.0)
	p.expect(again, "raised filler/F212")
	if again[0].Alarm.ID == a.ID {
		t.Error("a new activation has the id of the old one")
	}
}

func TestLosingAValueNeverClears(t *testing.T) {
	tests := []struct {
		name string
		lose func(p *plant) []edgeagent.Transition
	}{
		{"bad", func(p *plant) []edgeagent.Transition { return p.scan("level", nil) }},
		{"NaN", func(p *plant) []edgeagent.Transition { return p.scan("level", math.NaN()) }},
		{"a text for a number", func(p *plant) []edgeagent.Transition { return p.scan("level", "70") }},
		{"stale", func(p *plant) []edgeagent.Transition { return p.wait(4 * time.Second) }},
		{"device stopped", func(p *plant) []edgeagent.Transition { return p.event(stopped)[1:] }},
		{"infinite", func(p *plant) []edgeagent.Transition { return p.scan("level", math.Inf(-1)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, high())
			p.scan("level", 70.0)
			p.scan("level", 90.0)
			p.expect(tt.lose(p), "marked filler/F212 lost")
			p.expect(p.wait(time.Hour), "")
			if len(p.engine.Open()) == 0 {
				t.Fatal("the alarm is gone with its value")
			}
			p.scan("level", 90.0) // and a stop ends
			p.expect(p.log[len(p.log)-1:], "marked filler/F212")
			p.expect(p.scan("level", 70.0), "cleared filler/F212")
		})
	}
}

func TestOneLostPacketIsNotALostValue(t *testing.T) {
	p := start(t, high())
	p.scan("level", 70.0)
	p.scan("level", 90.0)
	p.wait(time.Second)
	p.expect(p.unanswered("level"), "")
	p.expect(p.wait(time.Second), "")
	p.expect(p.scan("level", 90.0), "")
	p.expect(p.unanswered("level"), "")
	p.expect(p.wait(3*time.Second), "")
	p.expect(p.wait(time.Second), "marked filler/F212 lost")
}

func TestLostValueThatComesBackClearedIsOneTransition(t *testing.T) {
	p := start(t, high())
	p.scan("level", 70.0)
	p.scan("level", 90.0)
	p.scan("level", nil)
	p.expect(p.scan("level", 70.0), "cleared filler/F212")
}

func TestBadValuesNeverRaise(t *testing.T) {
	rule := high()
	rule.When, rule.Clear = "not (level < 80)", ""
	p := start(t, rule)
	for _, v := range []any{nil, math.NaN(), math.Inf(1), "90"} {
		p.expect(p.scan("level", v), "")
	}
}

func TestOutOfRangeIsEvaluated(t *testing.T) {
	p := start(t, high())
	p.expect(p.apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "level", Value: edgeagent.Float(140), At: p.now,
		Quality: edgeagent.QualityUncertain, Reason: edgeagent.NewNote(edgeagent.ReasonOutOfRange, "")}}}), "raised filler/F212 at_start")
}

func TestDelays(t *testing.T) {
	rule := high()
	rule.OnDelay, rule.OffDelay = 2*time.Second, 5*time.Second
	p := start(t, rule)
	p.scan("level", 70.0)
	for range 5 { // chatters
		p.expect(p.scan("level", 90.0), "")
		p.expect(p.wait(1900*time.Millisecond), "")
		p.expect(p.scan("level", 70.0), "")
	}
	p.scan("level", 90.0)
	rose := p.now
	ts := p.wait(2 * time.Second)
	p.expect(ts, "raised filler/F212")
	if !ts[0].Alarm.RaisedAt.Equal(rose.Add(2 * time.Second)) {
		t.Errorf("raised %v after the condition, want 2 s", ts[0].Alarm.RaisedAt.Sub(rose))
	}
	for range 5 {
		p.expect(p.scan("level", 70.0), "")
		p.expect(p.wait(2*time.Second), "")
		p.expect(p.scan("level", 90.0), "")
	}
	for range 5 {
		p.expect(p.scan("level", 70.0), "")
		p.wait(time.Second)
	}
	p.expect(p.scan("level", 70.0), "")
	p.expect(p.log[len(p.log)-1:], "cleared filler/F212")
	if n := len(p.log); n != 2 {
		t.Errorf("%d transitions, want a raise and a clear", n)
	}
}

func TestValueLostDuringADelayCancelsIt(t *testing.T) {
	rule := high()
	rule.OnDelay, rule.OffDelay = 5*time.Second, 5*time.Second
	p := start(t, rule)
	p.scan("level", 90.0)
	p.expect(p.wait(time.Minute), "") // stale after 3 s: nobody knows
	for range 5 {
		p.scan("level", 90.0)
		p.wait(time.Second)
	}
	p.expect(p.scan("level", 90.0), "")
	p.expect(p.log, "raised filler/F212 at_start")
	p.scan("level", 70.0)
	p.expect(p.wait(time.Minute), "marked filler/F212 at_start lost")
}

// unanswered has the driver say that a tag was not answered: its value is the
// last known one.
func (p *plant) unanswered(tag string) []edgeagent.Transition {
	if r := p.values["filler."+tag]; !r.Value.IsNone() {
		r.Quality, r.Reason = edgeagent.QualityUncertain, edgeagent.NewNote(edgeagent.ReasonNoAnswer, "timeout")
		p.values["filler."+tag] = r
	}
	return p.keep(p.engine.Apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: tag}}}, p, p.now))
}

// A line that loses a packet more often than the delay is long must not keep its
// alarms for itself.
func TestOneLostPacketDoesNotStartADelayAnew(t *testing.T) {
	slow := high()
	slow.OnDelay = 10 * time.Second
	second := func(p *plant, lost bool, v float64) []edgeagent.Transition {
		if p.wait(time.Second); lost {
			return p.unanswered("level")
		}
		return p.scan("level", v)
	}
	t.Run("raised", func(t *testing.T) {
		p := start(t, slow)
		p.scan("level", 70.0)
		p.scan("level", 90.0)
		for i := range 10 {
			p.expect(p.log, "")
			second(p, i%4 == 3, 90)
		}
		p.expect(p.log, "raised filler/F212")
	})
	t.Run("not while nothing is answered", func(t *testing.T) {
		p := start(t, slow)
		p.scan("level", 70.0)
		p.scan("level", 90.0)
		for range 8 {
			second(p, false, 90)
		}
		second(p, true, 0)
		p.expect(p.wait(2*time.Second), "") // its delay would have ended by now
		p.expect(p.scan("level", 90.0), "raised filler/F212")
	})
	t.Run("one that was gone behind the packet has no delay any more", func(t *testing.T) {
		p := start(t, slow)
		p.scan("level", 70.0)
		p.scan("level", 90.0)
		second(p, true, 0)
		second(p, false, 70)
		second(p, false, 90)
		for range 10 {
			p.expect(p.log, "")
			second(p, false, 90)
		}
		p.expect(p.log, "raised filler/F212")
	})
	t.Run("a hole is no lost packet", func(t *testing.T) {
		p := start(t, slow)
		p.scan("level", 70.0)
		p.scan("level", 90.0)
		second(p, true, 0)
		p.expect(p.wait(time.Minute), "")
		p.expect(p.scan("level", 90.0), "")
	})
	t.Run("cleared", func(t *testing.T) {
		brief := high()
		brief.OffDelay = 10 * time.Second
		p := start(t, brief)
		p.scan("level", 90.0)
		p.scan("level", 70.0)
		for i := range 10 {
			second(p, i%4 == 3, 70)
		}
		p.expect(p.log, "raised filler/F212 at_start, cleared filler/F212 at_start")
	})
}

func TestObserved(t *testing.T) {
	t.Run("at start", func(t *testing.T) {
		rule := high()
		rule.OnDelay = time.Second
		p := start(t, rule)
		p.scan("level", 90.0)
		p.expect(p.wait(time.Second), "raised filler/F212 at_start")
	})
	t.Run("live after a first look at normal", func(t *testing.T) {
		p := start(t, high())
		p.scan("level", nil)
		p.scan("level", 70.0)
		p.expect(p.scan("level", 90.0), "raised filler/F212")
	})
	t.Run("still there after a restart", func(t *testing.T) {
		p := start(t, high())
		p.scan("level", 70.0)
		id := p.scan("level", 90.0)[0].Alarm.ID
		p.expect(p.restart(), "")
		p.expect(p.scan("level", 95.0), "")
		if open := p.engine.Open(); len(open) != 1 || open[0].ID != id {
			t.Errorf("open %v, want the same activation", open)
		}
		p.expect(p.scan("level", 70.0), "cleared filler/F212")
	})
	t.Run("gone after a restart", func(t *testing.T) {
		p := start(t, high())
		p.scan("level", 70.0)
		p.scan("level", 90.0)
		p.restart()
		p.expect(p.scan("level", 70.0), "cleared filler/F212 after_gap")
		p.expect(p.scan("level", 90.0), "raised filler/F212")
	})
	t.Run("never read after a restart", func(t *testing.T) {
		p := start(t, high())
		p.scan("level", 70.0)
		p.scan("level", 90.0)
		p.values = map[string]edgeagent.Reading{}
		p.restart()
		p.expect(p.wait(9*time.Second), "")
		p.expect(p.wait(time.Hour), "marked filler/F212 lost")
	})
}

func TestReloadClosesWhatHasNoDefinition(t *testing.T) {
	other := high()
	other.Code = "F300"
	p := start(t, high(), other)
	p.scan("level", 90.0)
	p.event(stopped)
	p.engine.Acknowledge(p.engine.Open()[2].ID, "anna", p.now)
	p.rules = []Rule{other}
	p.expect(p.restart(), "cleared filler/F212 at_start lost removed")
	p.rules, p.defs = nil, nil
	e, err := New(nil, nil, Options{At: p.now})
	if err != nil {
		t.Fatal(err)
	}
	p.expect(e.Restore(p.engine.Open()), "cleared filler/F300 at_start lost removed, cleared filler/device_stopped removed")
	if n := len(e.Open()); n != 0 {
		t.Errorf("%d open, want none", n)
	}
}

// What the agent says of a device itself clears when that is read again, or its
// server is asked: after a reload that ends both nobody would.
func TestReloadClosesWhatNobodyWouldClear(t *testing.T) {
	tests := []struct {
		name string
		code string
		edit func(o *Options)
		want string
	}{
		{"as it was", edgeagent.CodeDeviceStopped, func(*Options) {}, ""},
		{"disabled", edgeagent.CodeDeviceStopped, func(o *Options) { o.Disabled = []string{"filler"} }, "cleared filler/device_stopped  removed"},
		{"another disabled", edgeagent.CodeDeviceFrozen, func(o *Options) { o.Disabled = []string{"capper"} }, ""},
		{"events taken out", edgeagent.CodeConditionsFull, func(o *Options) { o.Servers = nil }, "cleared filler/conditions_full  removed"},
		{"events stay", edgeagent.CodeConditionsFull, func(*Options) {}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := startWith(t, Options{Servers: []Server{{Device: "filler", Line: "L1"}}})
			p.keep(p.engine.Restore([]edgeagent.Alarm{{ID: edgeagent.NewID(p.now), Device: "filler", Line: "L1", Code: tt.code,
				Origin: edgeagent.OriginAgent, State: edgeagent.AlarmUnacked}}))
			tt.edit(&p.options)
			p.expect(p.restart(), tt.want)
		})
	}
}

func TestContextOfARule(t *testing.T) {
	rule := high()
	rule.Context = []string{"flow", "state"}
	p := start(t, rule)
	p.scan("level", 90.0)
	if strings.Join(p.evidence[0], " ") != "flow state" {
		t.Errorf("evidence of %v", p.evidence)
	}
}

func TestRate(t *testing.T) {
	rule := high()
	rule.When, rule.Clear = "rate(level) > 5 and state == 6", ""
	p := start(t, rule)
	p.expect(p.scan("level", 0.0, "state", 6), "") // no rate yet
	for i := 1; i <= 8; i++ {                      // 4 a second, by halves
		p.now = p.now.Add(500 * time.Millisecond)
		p.expect(p.scan("level", float64(2*i)), "")
		p.scan("state", 6)
	}
	p.now = p.now.Add(time.Second)
	p.expect(p.scan("level", 22.0), "raised filler/F212")
	p.scan("level", nil)
	p.now = p.now.Add(time.Second)
	p.expect(p.scan("level", 22.0, "state", 6), "") // no rate over the hole
	p.now = p.now.Add(time.Second)
	p.expect(p.scan("level", 22.0, "state", 6), "cleared filler/F212")
}

func TestDivisionByZeroDecidesNothing(t *testing.T) {
	rule := high()
	rule.When, rule.Clear = "level / flow > 2", ""
	p := start(t, rule)
	p.expect(p.scan("level", 10.0, "flow", 0.0), "")
	p.expect(p.scan("flow", 1.0), "raised filler/F212 at_start")
	p.expect(p.scan("flow", 0.0), "")
	p.expect(p.scan("flow", 10.0), "cleared filler/F212 at_start")
}

func TestClearThatHoldsWithItsConditionDoesNotFlap(t *testing.T) {
	rule := high()
	rule.Clear = "level < 95"
	p := start(t, rule)
	p.scan("level", 90.0)
	for range 10 {
		p.expect(p.scan("level", 90.0), "")
	}
	p.expect(p.scan("level", 79.0), "cleared filler/F212 at_start")
}

func TestScansOfNobody(t *testing.T) {
	p := start(t, high())
	p.expect(p.apply(edgeagent.Scan{Device: "nobody", Samples: []edgeagent.Sample{{Tag: "level"}}}), "")
	p.expect(p.apply(edgeagent.Scan{}), "")
	p.expect(p.scan("nothing", 1.0), "")
	if _, ok := p.engine.Next(); ok {
		t.Error("an idle engine wants ticks")
	}
}

func TestMachineIsTheTable(t *testing.T) {
	seen := map[edgeagent.Step]bool{}
	for _, s := range Machine() {
		s.Action, s.To = "", ""
		if seen[s] {
			t.Errorf("%+v leads to two states", s)
		}
		seen[s] = true
	}
	for _, state := range []edgeagent.AlarmState{edgeagent.AlarmUnacked, edgeagent.AlarmAcked, edgeagent.AlarmClearedUnacked} {
		a := edgeagent.Alarm{State: state, Origin: edgeagent.OriginAgent}
		if _, err := next(a, remove); err != nil {
			t.Errorf("no way out of %s", state)
		}
	}
	if _, err := next(edgeagent.Alarm{State: edgeagent.AlarmUnacked, Origin: edgeagent.OriginTag}, rise); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("an active alarm rises again: %v", err)
	}
}
