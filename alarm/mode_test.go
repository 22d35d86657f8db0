package alarm

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// modes are those of line L1: what the packaging machine says goes first.
func modes() map[string][]Mode {
	return map[string][]Mode{"L1": {
		{Name: "cip", When: "filler.state == 30"},
		{Name: "run", When: "filler.state == 6 and packaging.run"},
	}}
}

func moded(t *testing.T, edit func(*Rule)) *plant {
	t.Helper()
	rule := high()
	rule.ActiveIn = []string{"run"}
	edit(&rule)
	p := startWith(t, Options{Modes: modes()}, rule)
	p.scanOf("packaging", "run", true)
	return p
}

func (p *plant) expectMode(want string) {
	p.t.Helper()
	if got := p.engine.Mode("L1"); got != want {
		p.t.Errorf("at +%v: mode %q, want %q", p.now.Sub(began), got, want)
	}
}

func TestModeOfALine(t *testing.T) {
	p := startWith(t, Options{Modes: modes()})
	p.expectMode(UnknownMode)
	p.scan("state", 30)
	p.expectMode("cip")
	p.scan("state", 6)
	p.expectMode(UnknownMode) // nobody knows whether packaging runs
	p.scanOf("packaging", "run", true)
	p.expectMode("run")
	p.scanOf("packaging", "run", false)
	p.expectMode(UnknownMode)
	p.scan("state", nil)
	p.expectMode(UnknownMode)
	p.scan("state", 30)
	p.expectMode("cip")
	p.wait(4 * time.Second)
	p.expectMode(UnknownMode) // stale
	if got := p.engine.Mode("L2"); got != "" {
		t.Errorf("a line without modes has %q", got)
	}
}

// The mode of the line is part of what is known of an alarm at its raise.
func TestEvidenceNamesTheMode(t *testing.T) {
	p := moded(t, func(*Rule) {})
	p.scan("state", 6, "level", 70.0)
	ts := p.scan("level", 90.0)
	p.expect(ts, "raised filler/F212")
	if len(ts) != 1 || ts[0].Evidence.Mode != "run" {
		t.Errorf("transitions %+v, want a raise in mode run", ts)
	}
}

func TestModeOutlivesALostPacket(t *testing.T) {
	p := startWith(t, Options{Modes: modes()})
	p.scan("state", 30)
	r := p.values["filler.state"]
	r.Quality, r.Reason = edgeagent.QualityUncertain, edgeagent.NewNote(edgeagent.ReasonNoAnswer, "timeout")
	p.values["filler.state"] = r
	p.wait(time.Second)
	p.keep(p.engine.Apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "state"}}}, p, p.now))
	p.expectMode("cip")
	p.wait(4 * time.Second)
	p.expectMode(UnknownMode)
}

// Nor is one by way of a rate: it is taken over the packet, not begun anew.
func TestModeOfARateOutlivesALostPacket(t *testing.T) {
	low := Rule{Device: "filler", Line: "L1", Code: "LOW", When: "flow < 10", ActiveIn: []string{"run"}}
	p := startWith(t, Options{Modes: map[string][]Mode{"L1": {
		{Name: "run", When: "rate(filler.level) > 0"},
		{Name: "idle", When: "rate(filler.level) == 0"},
	}}}, low)
	p.scan("level", 7.0, "flow", 0.0)
	p.wait(time.Second)
	p.scan("level", 7.0)
	p.expectMode("idle")
	for range 3 {
		p.wait(time.Second)
		p.unanswered("level")
		p.expectMode("idle")
		p.wait(time.Second)
		p.expect(p.scan("level", 7.0, "flow", 0.0), "")
		p.expectMode("idle")
	}
	p.wait(time.Second)
	p.unanswered("level")
	p.wait(time.Second)
	p.scan("level", 9.0)
	p.expectMode("run")
}

func TestActiveIn(t *testing.T) {
	p := moded(t, func(*Rule) {})
	p.scan("state", 30, "level", 70.0)
	p.expect(p.scan("level", 90.0), "")
	p.expect(p.scan("state", 6), "raised filler/F212")
	p.expect(p.scan("state", 30), "marked filler/F212 by mode:cip")
	p.expect(p.scan("level", 78.0), "")
	p.expect(p.scan("state", 6), "marked filler/F212")
	p.expect(p.scan("state", 30), "marked filler/F212 by mode:cip")
	p.expect(p.scan("level", 70.0), "cleared filler/F212")
	p.expect(p.scan("level", 90.0), "")
	p.expect(p.scan("state", nil), "raised filler/F212") // unknown counts as active
}

func TestModeAndValueOfOneScan(t *testing.T) {
	p := moded(t, func(*Rule) {})
	p.scan("state", 6, "level", 70.0)
	p.expect(p.scan("level", 90.0, "state", 30), "")
	p.expect(p.scan("level", 70.0, "state", 6), "")
	p.expect(p.scan("level", 90.0, "state", 6), "raised filler/F212")
}

func TestSettle(t *testing.T) {
	p := moded(t, func(r *Rule) { r.Settle = 2 * time.Second })
	p.scan("state", 30, "level", 70.0)
	p.expect(p.scan("state", 6, "level", 90.0), "")
	p.expect(p.wait(1900*time.Millisecond), "")
	p.expect(p.wait(100*time.Millisecond), "raised filler/F212")
	p.scan("level", 70.0, "state", 30)
	p.scan("level", 90.0, "state", 6)
	p.wait(time.Second)
	p.expect(p.scan("state", 30), "") // left before it settled
	p.wait(time.Second)
	p.expect(p.scan("state", 30, "level", 90.0), "")
	p.wait(2500 * time.Millisecond)
	p.expect(p.scan("level", 90.0), "")                 // still cip
	p.expect(p.wait(time.Second), "raised filler/F212") // the state is stale, and so the mode unknown
}

func TestSettleDoesNotDelayWhatWasThereBefore(t *testing.T) {
	p := moded(t, func(r *Rule) { r.Settle = time.Hour })
	p.expect(p.scan("state", 6, "level", 90.0), "raised filler/F212 at_start") // the mode was not entered now
	p.scan("level", 70.0)
	p.scan("state", nil)
	p.expect(p.scan("state", 6, "level", 90.0), "raised filler/F212") // nor here: it comes back
}

func TestSettleThenOnDelay(t *testing.T) {
	p := moded(t, func(r *Rule) { r.Settle, r.OnDelay = time.Second, time.Second })
	p.scan("state", 30, "level", 70.0)
	p.scan("state", 6, "level", 90.0)
	p.expect(p.wait(1900*time.Millisecond), "")
	p.expect(p.wait(100*time.Millisecond), "raised filler/F212")
}

func TestSuppressionOfBeforeARestartEnds(t *testing.T) {
	p := moded(t, func(*Rule) {})
	p.scan("state", 6, "level", 70.0)
	p.scan("level", 90.0)
	p.scan("state", 30)
	p.options.Modes = nil
	p.restart()
	p.expect(p.scan("level", 90.0), "marked filler/F212")
}

// After a restart another device may be read before the one that says the mode.
// What the mode suppresses must not rise in between.
func TestRestartInAModeRaisesNothing(t *testing.T) {
	low := Rule{Device: "packaging", Line: "L1", Code: "LOW", When: "flow < 10", ActiveIn: []string{"run"}}
	open := Rule{Device: "packaging", Line: "L1", Code: "OPEN", When: "level > 80", ActiveIn: []string{"run"}}
	in := func(t *testing.T) *plant {
		p := startWith(t, Options{Modes: modes()}, low, open)
		p.scan("state", 6)
		p.expect(p.scanOf("packaging", "run", true, "flow", 20.0, "level", 90.0), "raised packaging/OPEN at_start")
		p.scan("state", 30)
		p.scanOf("packaging", "flow", 0.0)
		delete(p.values, "filler.state")
		p.restart()
		p.log = nil
		return p
	}
	t.Run("another device first", func(t *testing.T) {
		p := in(t)
		p.scanOf("packaging", "run", true, "flow", 0.0, "level", 90.0)
		p.wait(time.Second)
		p.scan("state", 30)
		p.scanOf("packaging", "run", true, "flow", 0.0, "level", 90.0)
		p.wait(2 * time.Second)
		p.expect(p.log, "")
		p.expect(p.scan("state", 6), "raised packaging/LOW at_start, marked packaging/OPEN at_start")
	})
	t.Run("known from before a reload", func(t *testing.T) {
		p := in(t)
		at := p.now
		p.values["filler.state"] = edgeagent.Reading{Value: edgeagent.Int(30), Quality: edgeagent.QualityGood, At: &at}
		p.scanOf("packaging", "run", true, "flow", 0.0, "level", 90.0)
		p.expect(p.log, "")
		p.expectMode("cip")
	})
	t.Run("nobody ever says it", func(t *testing.T) {
		p := in(t)
		for range 10 {
			p.expect(p.log, "")
			p.scanOf("packaging", "run", true, "flow", 0.0, "level", 90.0)
			p.wait(time.Second)
		}
		p.expect(p.log, "raised packaging/LOW at_start, marked packaging/OPEN at_start")
	})
	t.Run("it was not answered at the reload, and is not stale for long", func(t *testing.T) {
		p := in(t)
		for i := range p.defs {
			p.defs[i].StaleAfter = time.Hour
		}
		at := p.now
		p.values["filler.state"] = edgeagent.Reading{Value: edgeagent.Int(30), Quality: edgeagent.QualityUncertain,
			Reason: edgeagent.NewNote(edgeagent.ReasonNoAnswer, "timeout"), At: &at}
		p.restart()
		p.scanOf("packaging", "run", true, "flow", 0.0, "level", 90.0)
		p.expect(p.wait(settling-time.Second), "")
		p.expect(p.wait(time.Second), "raised packaging/LOW at_start, marked packaging/OPEN at_start")
		p.expect(p.scan("state", 30), "marked packaging/LOW at_start by mode:cip, marked packaging/OPEN at_start by mode:cip")
	})
	t.Run("its device is stopped", func(t *testing.T) {
		p := in(t)
		p.scanOf("packaging", "run", true, "flow", 0.0, "level", 90.0)
		at := p.now
		p.values["filler.state"] = edgeagent.Reading{Reason: edgeagent.NewNote(edgeagent.ReasonDeviceStopped, ""), At: &at}
		p.event(stopped)
		p.expect(p.log, "raised filler/device_stopped, raised packaging/LOW at_start, marked packaging/OPEN at_start")
	})
}

func TestRowsHaveModes(t *testing.T) {
	w := alm()
	w.Rows[0].ActiveIn = []string{"run"}
	p := startWith(t, Options{Modes: modes(), Words: []Word{w}})
	p.scanOf("packaging", "run", true)
	p.scan("state", 30, "alm1", 0)
	p.expect(p.scan("alm1", 33), "raised filler/E105")
	p.expect(p.scan("state", 6), "raised filler/E100")
	p.expect(p.scan("state", 30), "marked filler/E100 by mode:cip")
}

func plantDefs() []edgeagent.Tag {
	return []edgeagent.Tag{
		{Device: "filler", Name: "state", Type: edgeagent.TypeUint16}, {Device: "filler-2", Name: "state", Type: edgeagent.TypeUint16},
		{Device: "2-line", Name: "run", Type: edgeagent.TypeBool}, {Device: "a-b", Name: "c1", Type: edgeagent.TypeFloat32},
		{Device: "b", Name: "c1", Type: edgeagent.TypeFloat32}, {Device: "3", Name: "x", Type: edgeagent.TypeString},
	}
}

func TestCheckMode(t *testing.T) {
	tests := []struct{ expression, message string }{
		{"filler.state == 30", ""},
		{"filler-2.state == 30", ""},
		{"2-line.run and not (filler.state > filler-2.state)", ""},
		{"5-filler.state > 2", ""},
		{"a-b.c1 > a-b.c1-b.c1", ""},
		{"1.5 < b.c1", ""},
		{"rate(b.c1) > 1 or abs(a-b.c1) < .5", ""},
		{"3.x == 'filler.nothing'", ""},
		{`3.x == "a\".b"`, ""},
		{"3.x == `b.c2`", ""},
		{"filer.state == 30", `filer.state: unknown device "filer"; did you mean "filler"?`},
		{"oven-7.state == 30", `oven-7.state: unknown device "oven-7"; there are 2-line, 3, a-b, b, filler, filler-2`},
		{"filler.stat == 30", `filler.stat: unknown tag "stat"; did you mean "state"?`},
		{"filler.pressure == 30", `unknown tag "pressure"; this device has state`},
		{"state == 30", `column 1: unknown tag "state"; write DEVICE.TAG, such as filler.state`},
		{"2-line.run == 1", "column 12: == compares true or false with a number"},
		{"filler-2.state", "the expression is a number, not true or false"},
		{"1 < 2", "the expression uses no tag, so that it never changes; name one of DEVICE.TAG"},
		{"filler.state.x == 3", "a point or bracket reaches into a value"},
		{"filler.state >", "column 15: the expression ends where a value should stand"},
		{"", "column 1: the expression ends where a value should stand"},
		{"2-line.run" + strings.Repeat(" or 2-line.run", 100), "at most 1000 can be checked by a person"},
	}
	for _, tt := range tests {
		t.Run(tt.expression[:min(30, len(tt.expression))], func(t *testing.T) {
			err := CheckMode(tt.expression, plantDefs())
			switch {
			case tt.message == "" && err != nil:
				t.Error(err)
			case tt.message != "" && (err == nil || !strings.Contains(err.Error(), tt.message)):
				t.Errorf("%v, want %q", err, tt.message)
			}
		})
	}
}

func TestNewNamesTheMode(t *testing.T) {
	_, err := New(nil, defs(), Options{Modes: map[string][]Mode{"L1": {{Name: "cip", When: "filler.state = 30"}}}})
	if err == nil || !strings.HasPrefix(err.Error(), `line L1: mode cip: "filler.state = 30": column `) {
		t.Errorf("New = %v", err)
	}
}

// FuzzCheckMode holds that hostile expressions neither panic nor answer with
// something else than true or false, and that errors speak of what was written.
func FuzzCheckMode(f *testing.F) {
	for _, s := range []string{"filler-2.state == 30", "5-a-b.c1 > 2", "'a.b' == 3.x", "`", "3.x == \"\\\"a.b", "ǃ.x", "b.c1ǃ > 1", "a-b.c1.c1 > 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := CheckMode(s, plantDefs()); err != nil {
			if strings.ContainsAny(err.Error(), "ǃǀａ") && !strings.ContainsAny(s, "ǃǀａ") {
				t.Errorf("%q: the error speaks of something else: %v", s, err)
			}
			return
		}
		if _, err := New(nil, plantDefs(), Options{Modes: map[string][]Mode{"L": {{Name: "m", When: s}}}}); err != nil {
			t.Errorf("%q: CheckMode accepts what the engine refuses: %v", s, err)
		}
	})
}
