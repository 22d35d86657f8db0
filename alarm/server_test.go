package alarm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func served(t *testing.T) *plant {
	t.Helper()
	return startWith(t, Options{Servers: []Server{{Device: "filler", Line: "L1", Area: "A", Diagnose: true, Context: []string{"level"}}}})
}

// cond is a condition of the filler's server: active, not acknowledged.
func cond(id string, since time.Time) edgeagent.Condition {
	return edgeagent.Condition{ID: "nsu=urn:x;s=" + id, Code: id, Source: "Tank", Name: id + " limit", Text: id + " too high",
		Severity: 700, Priority: 2, Active: true, At: since, ActiveSince: since}
}

func with(c edgeagent.Condition, edit func(*edgeagent.Condition)) edgeagent.Condition {
	edit(&c)
	return c
}

func acked(c edgeagent.Condition) edgeagent.Condition {
	return with(c, func(c *edgeagent.Condition) { c.Acked = true })
}

// over is told a moment later.
func over(c edgeagent.Condition) edgeagent.Condition {
	return with(c, func(c *edgeagent.Condition) { c.Active, c.At = false, c.At.Add(time.Millisecond) })
}

func (p *plant) tells(cs ...edgeagent.Condition) []edgeagent.Transition {
	p.t.Helper()
	return p.apply(edgeagent.Scan{Device: "filler", Conditions: []edgeagent.ConditionSet{{Conditions: cs}}})
}

func (p *plant) refresh(cs ...edgeagent.Condition) []edgeagent.Transition {
	p.t.Helper()
	return p.apply(edgeagent.Scan{Device: "filler", Conditions: []edgeagent.ConditionSet{{Conditions: cs, Complete: true}}})
}

func TestConditionFromRaiseToNormal(t *testing.T) {
	p := served(t)
	p.refresh()
	p.scan("level", 90.0)
	c := cond("Hi", p.now.Add(-time.Second))
	ts := p.tells(c)
	p.expect(ts, "raised filler/Hi")
	a := ts[0].Alarm
	if a.State != edgeagent.AlarmUnacked || a.Origin != edgeagent.OriginServer || a.SourceID != c.Key() || !a.SourceAt.Equal(c.ActiveSince) || !a.RaisedAt.Equal(p.now) ||
		a.Line != "L1" || a.Area != "A" || a.Priority != 2 || a.Text != "Hi too high" || a.SourceText != a.Text || !a.Diagnose || !a.FirstOut ||
		!a.Values["filler.level"].Equal(edgeagent.Float(90)) || ts[0].Evidence == nil {
		t.Errorf("raised as %+v", a)
	}
	ts = p.tells(acked(c))
	p.expect(ts, "acked filler/Hi")
	if ts[0].By != "OPC UA server" || ts[0].Alarm.AckedBy != "OPC UA server" || ts[0].Alarm.State != edgeagent.AlarmAcked {
		t.Errorf("acked as %+v", ts[0])
	}
	ts = p.tells(over(acked(c)))
	p.expect(ts, "cleared filler/Hi")
	if ts[0].Alarm.State != edgeagent.AlarmNormal || ts[0].Alarm.ID != a.ID {
		t.Errorf("cleared as %+v", ts[0])
	}
}

func TestConditionClearsBeforeItIsSeen(t *testing.T) {
	p := served(t)
	c := cond("Hi", p.now)
	p.tells(c)
	ts := p.tells(over(c))
	p.expect(ts, "cleared filler/Hi")
	if ts[0].Alarm.State != edgeagent.AlarmClearedUnacked {
		t.Errorf("state %s, want cleared_unacked until the server's acknowledgement", ts[0].Alarm.State)
	}
	p.expect(p.tells(c), "") // told again
	ts = p.tells(over(acked(c)))
	p.expect(ts, "acked filler/Hi")
	if ts[0].Alarm.State != edgeagent.AlarmNormal || len(p.engine.Open()) != 0 {
		t.Errorf("acked as %+v", ts[0].Alarm)
	}
	p.expect(p.tells(over(acked(c)), over(c), acked(c), c), "") // told again
}

func TestConditionSteps(t *testing.T) {
	gone := func(c edgeagent.Condition) edgeagent.Condition {
		return with(c, func(c *edgeagent.Condition) { c.Gone = true })
	}
	since := began.Add(-time.Minute)
	hi, again := cond("Hi", since), cond("Hi", began)
	tests := []struct {
		name string
		tell []edgeagent.Condition
		want string
		open string
	}{
		{"seen already", []edgeagent.Condition{acked(hi)}, "raised filler/Hi, acked filler/Hi", "acked"},
		{"seen and over at once", []edgeagent.Condition{hi, over(acked(hi))}, "raised filler/Hi, acked filler/Hi, cleared filler/Hi", ""},
		{"wants to be seen again", []edgeagent.Condition{acked(hi), hi}, "raised filler/Hi, acked filler/Hi, marked filler/Hi", "unacked"},
		{"over and wants to be seen again", []edgeagent.Condition{acked(hi), over(hi)}, "raised filler/Hi, acked filler/Hi, marked filler/Hi, cleared filler/Hi", "cleared_unacked"},
		{"retained no more, unseen", []edgeagent.Condition{hi, gone(over(hi))}, "raised filler/Hi, cleared filler/Hi", ""},
		{"retained no more after it was over", []edgeagent.Condition{hi, over(hi), gone(over(hi))}, "raised filler/Hi, cleared filler/Hi, marked filler/Hi", ""},
		{"seen and then retained no more", []edgeagent.Condition{hi, over(hi), gone(acked(over(hi)))}, "raised filler/Hi, cleared filler/Hi, acked filler/Hi", ""},
		{"over and retained no more, and nobody could see it", []edgeagent.Condition{hi, gone(acked(over(hi)))}, "raised filler/Hi, cleared filler/Hi", ""},
		{"never active", []edgeagent.Condition{over(hi), gone(hi)}, "", ""},
		{"again before it was seen", []edgeagent.Condition{hi, over(hi), again}, "raised filler/Hi, cleared filler/Hi, marked filler/Hi, raised filler/Hi", "unacked"},
		{"again after it was seen", []edgeagent.Condition{acked(hi), over(acked(hi)), again}, "raised filler/Hi, acked filler/Hi, cleared filler/Hi, raised filler/Hi", "unacked"},
		{"another branch", []edgeagent.Condition{hi, with(again, func(c *edgeagent.Condition) { c.Branch = "1" })}, "raised filler/Hi, raised filler/Hi", "unacked unacked"},
		{"the same activation, left behind as a branch when it ended unseen",
			[]edgeagent.Condition{hi, with(hi, func(c *edgeagent.Condition) { c.Branch = "1" }), over(acked(hi))}, "raised filler/Hi, acked filler/Hi, cleared filler/Hi", ""},
		{"a clock that was set back", []edgeagent.Condition{again, over(acked(again)), hi}, "raised filler/Hi, acked filler/Hi, cleared filler/Hi, raised filler/Hi", "unacked"},
		{"no times at all", []edgeagent.Condition{cond("Hi", time.Time{}), over(cond("Hi", time.Time{})), cond("Hi", time.Time{})}, "raised filler/Hi, cleared filler/Hi, marked filler/Hi, raised filler/Hi", "unacked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := served(t)
			p.expect(p.tells(tt.tell...), tt.want)
			var open []string
			for _, a := range p.engine.Open() {
				open = append(open, string(a.State))
			}
			if got := strings.Join(open, " "); got != tt.open {
				t.Errorf("open %q, want %q", got, tt.open)
			}
		})
	}
}

// From high to very high is one activation: one alarm, one job.
func TestConditionGrowsWorse(t *testing.T) {
	for name, since := range map[string]time.Duration{"with a transition time": 0, "without one": time.Minute} {
		t.Run(name, func(t *testing.T) {
			p := served(t)
			c := cond("Hi", p.now)
			id := p.tells(c)[0].Alarm.ID
			c.Undated = since > 0
			c.At, c.ActiveSince, c.Priority, c.Severity, c.Text = c.At.Add(time.Minute), c.ActiveSince.Add(since), 1, 900, "far too high"
			ts := p.tells(c)
			p.expect(ts, "marked filler/Hi")
			if a := ts[0].Alarm; a.ID != id || a.Priority != 1 || a.Text != "far too high" {
				t.Errorf("marked as %+v", a)
			}
			p.expect(p.tells(c), "")
			p.expect(p.refresh(c), "") // what was told last is told again
			p.restart()
			p.expect(p.refresh(c), "")
		})
	}
}

func TestRefresh(t *testing.T) {
	since := began.Add(-time.Minute)
	t.Run("of one that grew worse, without a transition time", func(t *testing.T) {
		p := served(t)
		worse := with(cond("Hi", since), func(c *edgeagent.Condition) { c.At = since.Add(30 * time.Second) })
		p.tells(cond("Hi", since), worse)
		// A fresh connection knows the time of the last event alone.
		again := with(worse, func(c *edgeagent.Condition) { c.ActiveSince = worse.At })
		p.expect(p.refresh(again), "marked filler/Hi")
		p.expect(p.refresh(again), "")
		p.expect(p.refresh(cond("Hi", began)), "cleared filler/Hi after_gap, raised filler/Hi")
	})
	t.Run("the first tells what is there", func(t *testing.T) {
		p := served(t)
		p.expect(p.tells(cond("Live", since)), "raised filler/Live")
		p.expect(p.refresh(cond("Hi", since), cond("Live", since)), "raised filler/Hi at_start")
		p.expect(p.refresh(cond("Hi", since), cond("Live", since), cond("Lo", since)), "raised filler/Lo")
	})
	t.Run("what it does not speak of has ended", func(t *testing.T) {
		p := served(t)
		p.tells(cond("A", since), acked(cond("B", since)), cond("C", since), over(cond("C", since)), cond("D", since))
		p.expect(p.refresh(cond("D", since)), "cleared filler/A after_gap, cleared filler/B after_gap, marked filler/C")
		if n := len(p.engine.Open()); n != 1 {
			t.Errorf("%d open, want 1", n)
		}
	})
	t.Run("what is over and not seen stays", func(t *testing.T) {
		p := served(t)
		p.tells(cond("A", since))
		ts := p.refresh(over(cond("A", since)))
		p.expect(ts, "cleared filler/A after_gap")
		if ts[0].Alarm.State != edgeagent.AlarmClearedUnacked {
			t.Errorf("state %s", ts[0].Alarm.State)
		}
	})
	t.Run("a later activation is another", func(t *testing.T) {
		p := served(t)
		p.refresh()
		p.tells(cond("A", since))
		ts := p.refresh(cond("A", since.Add(time.Second)))
		p.expect(ts, "cleared filler/A after_gap, raised filler/A")
		if ts[0].Alarm.State != edgeagent.AlarmNormal || ts[0].Alarm.ID == ts[1].Alarm.ID {
			t.Errorf("transitions %+v", ts)
		}
		p.expect(p.refresh(cond("A", since.Add(time.Second))), "")
	})
	t.Run("of another device says nothing", func(t *testing.T) {
		p := served(t)
		p.tells(cond("A", since))
		p.expect(p.apply(edgeagent.Scan{Device: "packaging", Conditions: []edgeagent.ConditionSet{{Complete: true}}}), "")
	})
	t.Run("that is not complete closes nothing", func(t *testing.T) {
		p := served(t)
		p.tells(cond("A", since))
		p.expect(p.tells(), "")
	})
}

func TestConditionOverARestart(t *testing.T) {
	p := served(t)
	a, b := cond("A", began), cond("B", began)
	p.tells(a, b, cond("C", began), over(cond("C", began)))
	p.expect(p.restart(), "")
	p.expect(p.refresh(a, over(cond("C", began)), cond("D", began)), "raised filler/D at_start, cleared filler/B after_gap")
	p.expect(p.tells(b), "") // told again, and known from before the restart
	p.restart()
	p.expect(p.wait(9*time.Second), "")
	p.expect(p.wait(time.Second), "marked filler/A lost, marked filler/D at_start lost")
	p.expect(p.refresh(a, cond("D", began)), "marked filler/A, marked filler/D at_start, marked filler/C")
	p.options.Servers = nil
	p.expect(p.restart(), "cleared filler/A removed, cleared filler/D at_start removed")
}

func TestServerIsLost(t *testing.T) {
	c := cond("A", began)
	t.Run("stopped", func(t *testing.T) {
		p := served(t)
		p.tells(c)
		p.expect(p.event(stopped), "raised filler/device_stopped, marked filler/A lost")
		p.expect(p.wait(time.Hour), "")
		p.event(resumed)
		p.expect(p.refresh(c), "marked filler/A")
	})
	t.Run("maintenance", func(t *testing.T) {
		p := served(t)
		p.tells(c)
		p.expect(p.event(edgeagent.DeviceEventMaintenance), "marked filler/A lost")
		p.expect(p.tells(cond("B", began)), "")
		p.event(resumed)
		p.expect(p.refresh(c, cond("B", began)), "marked filler/A, raised filler/B at_start")
	})
	t.Run("for a while", func(t *testing.T) {
		p := served(t)
		p.refresh(c)
		fail := func() []edgeagent.Transition {
			return p.apply(edgeagent.Scan{Device: "filler", Err: errors.New("no answer")})
		}
		p.expect(fail(), "")
		p.expect(p.wait(5*time.Second), "")
		p.expect(p.apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "level", At: p.now, Value: edgeagent.Float(1),
			Quality: edgeagent.QualityUncertain, Reason: edgeagent.NewNote(edgeagent.ReasonNoAnswer, "")}}}), "")
		p.expect(p.refresh(c), "")
		p.expect(p.wait(time.Hour), "")
		fail()
		p.expect(p.wait(9*time.Second), "")
		p.expect(p.wait(time.Second), "marked filler/A at_start lost")
		p.expect(p.tells(c), "marked filler/A at_start") // it is told alone
		fail()
		p.wait(time.Hour)
		p.expect(p.refresh(), "cleared filler/A after_gap")
	})
}

func TestServersAlarmIsAcknowledgedAtTheServer(t *testing.T) {
	p := served(t)
	id := p.tells(cond("A", began))[0].Alarm.ID
	_, err := p.engine.Acknowledge(id, "anna", p.now)
	if !errors.Is(err, edgeagent.ErrConflict) || !strings.Contains(err.Error(), "belongs to the OPC UA server of filler: acknowledge it there") {
		t.Errorf("Acknowledge = %v", err)
	}
	if _, err := p.engine.Shelve(id, "anna", "sensor on order", time.Hour, p.now); err != nil {
		t.Errorf("Shelve = %v", err)
	}
	p.tells(over(acked(cond("A", began))))
	again := p.tells(cond("A", began.Add(time.Minute)))[0].Alarm
	if again.ShelvedUntil == nil || again.Diagnose {
		t.Errorf("the next activation is not shelved: %+v", again)
	}
	p.tells(over(cond("A", began.Add(time.Minute))))
	p.expect(p.wait(2*time.Hour), "unshelved filler/A")
}

func TestHostileServer(t *testing.T) {
	t.Run("texts", func(t *testing.T) {
		p := served(t)
		c := cond("A", began)
		c.Code, c.Text = "\x1b[31m\u202eevil\n"+strings.Repeat("é", 1000), strings.Repeat("x", 10_000_000)+"\xff"
		a := p.tells(c)[0].Alarm
		if len([]rune(a.Code)) > maxServerCode || len(a.Text) > maxServerText || strings.ContainsAny(a.Code, "\x1b\u202e\n") {
			t.Errorf("code %q, %d bytes of text", a.Code, len(a.Text))
		}
		a = p.tells(edgeagent.Condition{ID: "i=7", Active: true, At: began})[0].Alarm
		if a.Code != "i=7" || a.Text != "i=7" || a.Priority != 3 {
			t.Errorf("a condition without a name raised as %+v", a)
		}
	})
	t.Run("numbers", func(t *testing.T) {
		p := served(t)
		var all []edgeagent.Condition
		for i := range 1100 {
			all = append(all, cond(fmt.Sprintf("N%04d", i), began))
		}
		p.tells(all...)
		if n := p.engine.Refused("filler"); n != 100 || len(p.engine.Open()) != 1001 {
			t.Errorf("%d refused, %d open; want 100 and 1001", n, len(p.engine.Open()))
		}
		full := p.log[len(p.log)-1].Alarm
		if full.Code != edgeagent.CodeConditionsFull || full.Origin != edgeagent.OriginAgent || !strings.Contains(full.Text, "more than 1000 open alarms") {
			t.Errorf("said %+v", full)
		}
		p.expect(p.tells(all...), "")
		p.restart()
		p.expect(p.refresh(all[:1000]...), "")
		p.expect(p.refresh(all[:999]...), "cleared filler/N0999 after_gap, cleared filler/conditions_full")
	})
	t.Run("over a long time", func(t *testing.T) {
		p := served(t)
		long := cond("long", began)
		p.tells(long)
		for i := range 20_000 {
			c := cond(fmt.Sprint(i), began)
			p.engine.Apply(edgeagent.Scan{Device: "filler", Conditions: []edgeagent.ConditionSet{{Conditions: []edgeagent.Condition{c, over(acked(c))}}}}, p, p.now)
		}
		if n := len(p.engine.servers["filler"].raised); n > rememberedKeys {
			t.Errorf("%d conditions are remembered", n)
		}
		p.expect(p.tells(over(acked(long)), long), "acked filler/long, cleared filler/long") // still known
	})
}

// ledger holds what must never be, whatever is told and told again.
type ledger struct {
	t      *testing.T
	seed   uint64
	open   map[string]edgeagent.ID
	raised map[string]bool // key and ActiveSince
	raises int
	clears int
}

func (l *ledger) see(ts []edgeagent.Transition) {
	l.t.Helper()
	for _, x := range ts {
		a := x.Alarm
		switch x.Kind {
		case edgeagent.TransitionRaised:
			activation := a.SourceID + a.SourceAt.String()
			if l.raised[activation] || l.open[a.SourceID] != "" {
				l.t.Fatalf("seed %d: %s raised twice", l.seed, activation)
			}
			l.raised[activation], l.open[a.SourceID] = true, a.ID
			l.raises++
		case edgeagent.TransitionCleared:
			if l.open[a.SourceID] != a.ID {
				l.t.Fatalf("seed %d: %s cleared, and %s is open", l.seed, a.ID, l.open[a.SourceID])
			}
			delete(l.open, a.SourceID)
			l.clears++
		default:
		}
	}
}

// TestAnyTellingIsOneAlarmAnActivation plays servers that go through their
// states, tell them twice, late or not at all, refresh, and an agent that starts
// again in between.
func TestAnyTellingIsOneAlarmAnActivation(t *testing.T) {
	raises := 0
	for seed := range uint64(120) {
		p, r := served(t), rand.New(rand.NewPCG(seed, 5))
		l := &ledger{t: t, seed: seed, open: map[string]edgeagent.ID{}, raised: map[string]bool{}}
		truth := map[string]edgeagent.Condition{}
		var told []edgeagent.Condition
		for range 120 {
			p.now = p.now.Add(time.Second)
			c := step1(truth, r, p.now)
			switch n := r.IntN(10); {
			case n < 5:
				l.see(p.tells(c))
				if l.raised[c.Key()+c.ActiveSince.Round(0).String()] { // a server tells again what it has told
					told = append(told, c)
				}
			case n < 6 && len(told) > 0:
				late := told[max(0, len(told)-6):]
				l.see(p.tells(late[r.IntN(len(late))], c))
			case n < 8:
				l.see(p.refresh(retained(truth)...))
				l.agrees(p, truth)
			case n < 9:
				l.see(p.restart())
				told = nil
			default: // nobody listened
			}
		}
		l.see(p.refresh())
		if l.raises != l.clears || len(p.engine.Open()) != 0 {
			t.Fatalf("seed %d: %d raised, %d cleared, %d open at the end", seed, l.raises, l.clears, len(p.engine.Open()))
		}
		raises += l.raises
	}
	if raises < 1500 {
		t.Errorf("only %d activations were tried", raises)
	}
}

// step1 moves one of three conditions on by one state.
func step1(truth map[string]edgeagent.Condition, r *rand.Rand, now time.Time) edgeagent.Condition {
	id := string(rune('A' + r.IntN(3)))
	c, known := truth[id]
	switch {
	case !known || !c.Active:
		c = cond(id, now)
	case !c.Acked && r.IntN(2) == 0:
		c.Acked = true
	case r.IntN(3) == 0:
		c.Priority = 1 + c.Priority%4
	default:
		c.Active = false
	}
	c.At, c.Gone = now, !c.Active && c.Acked
	truth[id] = c
	return c
}

func retained(truth map[string]edgeagent.Condition) []edgeagent.Condition {
	var out []edgeagent.Condition
	for _, c := range truth {
		if c.Active || !c.Acked {
			out = append(out, c)
		}
	}
	return out
}

// agrees holds that after a refresh the agent shows what the server has.
func (l *ledger) agrees(p *plant, truth map[string]edgeagent.Condition) {
	l.t.Helper()
	open := map[string]edgeagent.Alarm{}
	for _, a := range p.engine.Open() {
		open[a.SourceID] = a
	}
	for _, c := range truth {
		a, shown := open[c.Key()]
		if shown != (c.Active || !c.Acked) || shown && a.State.Active() != c.Active {
			if !c.Active && !shown {
				continue // its activation was never heard of
			}
			l.t.Fatalf("seed %d: %+v is shown as %v %s", l.seed, c, shown, a.State)
		}
	}
}
