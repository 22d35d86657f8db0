package alarm

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

const (
	stopped = edgeagent.DeviceEventStopped
	resumed = edgeagent.DeviceEventResumed
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
	unanswered := func() []edgeagent.Transition {
		r := p.values["filler.level"]
		r.Quality, r.Reason = edgeagent.QualityUncertain, edgeagent.NewNote(edgeagent.ReasonNoAnswer, "timeout")
		p.values["filler.level"] = r
		return p.keep(p.engine.Apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "level"}}}, p, p.now))
	}
	p.wait(time.Second)
	p.expect(unanswered(), "")
	p.expect(p.wait(time.Second), "")
	p.expect(p.scan("level", 90.0), "")
	p.expect(unanswered(), "")
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

func TestDeviceStopped(t *testing.T) {
	p := start(t, high())
	p.scan("level", 70.0)
	ts := p.event(stopped)
	p.expect(ts, "raised filler/device_stopped")
	a := ts[0].Alarm
	if a.Origin != edgeagent.OriginAgent || a.Priority != 2 || a.Line != "L1" || a.Area != "A" || !a.Diagnose || ts[0].Evidence == nil ||
		!strings.HasPrefix(a.Text, "filler is NOT BEING READ: no answer") || ts[0].Device == nil || ts[0].Device.Kind != stopped {
		t.Errorf("raised as %+v, %+v", a, ts[0].Device)
	}
	p.expect(p.event(stopped), "") // the same stop, said again
	ts = p.event(resumed)
	p.expect(ts, "cleared filler/device_stopped")
	if ts[0].Alarm.State != edgeagent.AlarmClearedUnacked || ts[0].Device == nil {
		t.Errorf("cleared as %+v, want cleared_unacked", ts[0].Alarm)
	}
	ack, err := p.engine.Acknowledge(a.ID, "anna", p.now)
	if err != nil || ack.Alarm.State != edgeagent.AlarmNormal || ack.By != "anna" || ack.Alarm.AckedBy != "anna" {
		t.Errorf("acknowledged as %+v, %v", ack, err)
	}
	if len(p.engine.Open()) != 0 {
		t.Errorf("open: %v", p.engine.Open())
	}
}

func TestDeviceStoppedThatWasSeenClearsToNormal(t *testing.T) {
	p := start(t)
	id := p.event(stopped)[0].Alarm.ID
	if _, err := p.engine.Acknowledge(id, "anna", p.now); err != nil {
		t.Fatal(err)
	}
	if got := p.event(resumed)[0].Alarm.State; got != edgeagent.AlarmNormal {
		t.Errorf("state %s, want normal", got)
	}
}

func TestSecondStopTakesThePlaceOfTheUnseenOne(t *testing.T) {
	p := start(t)
	first := p.event(stopped)[0].Alarm.ID
	p.event(resumed)
	ts := p.event(stopped)
	p.expect(ts, "marked filler/device_stopped, raised filler/device_stopped")
	if ts[0].Alarm.ID != first || ts[0].Alarm.State != edgeagent.AlarmNormal || ts[1].Alarm.ID == first {
		t.Errorf("transitions %+v", ts)
	}
	if n := len(p.engine.Open()); n != 1 {
		t.Errorf("%d open, want 1", n)
	}
}

func TestStopSurvivesARestartAndIsNotRaisedAgain(t *testing.T) {
	p := start(t, high())
	p.event(stopped)
	p.restart()
	p.expect(p.event(stopped), "")
	p.expect(p.event(resumed), "cleared filler/device_stopped")
}

func TestStopEndsWhenADeviceDeliversWithoutSayingSo(t *testing.T) {
	p := start(t, high())
	p.event(stopped)
	p.restart()
	p.wait(time.Second)
	p.expect(p.scan("level", 90.0), "cleared filler/device_stopped, raised filler/F212 at_start")
}

func TestGoodSamplesOfBeforeTheStopDoNotEndIt(t *testing.T) {
	p := start(t, high())
	p.expect(p.apply(edgeagent.Scan{Device: "filler",
		Samples: []edgeagent.Sample{{Tag: "flow", Value: edgeagent.Float(1), Quality: edgeagent.QualityGood, At: p.now.Add(-time.Second)}},
		Events:  []edgeagent.DeviceEvent{{Kind: stopped, At: p.now}}}), "raised filler/device_stopped")
}

func TestStopMutesNewAlarmsOnly(t *testing.T) {
	other := high()
	other.Code, other.When, other.Clear = "F300", "flow > 80", ""
	p := start(t, high(), other)
	p.scan("level", 90.0, "flow", 70.0)
	p.expect(p.event(stopped), "raised filler/device_stopped, marked filler/F212 at_start lost")
	p.wait(time.Second)
	// A probe that reads while the device is still held to be stopped.
	reading := p.values["filler.flow"]
	at := p.now
	reading.Value, reading.Quality, reading.Reason, reading.At = edgeagent.Float(90), edgeagent.QualityGood, nil, &at
	p.values["filler.flow"] = reading
	p.expect(p.keep(p.engine.Apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "flow"}}}, p, p.now)), "")
	p.expect(p.event(resumed), "cleared filler/device_stopped, raised filler/F300")
}

func TestInhibition(t *testing.T) {
	motor := Rule{Device: "filler", Line: "L1", Code: "A305", When: "run"}
	jam := Rule{Device: "filler", Line: "L1", Code: "A101", When: "eye", InhibitedBy: []string{"A305"}}
	t.Run("mutes what is new and marks what is open", func(t *testing.T) {
		low := Rule{Device: "filler", Line: "L1", Code: "B1", When: "level < 10", InhibitedBy: []string{"A305"}}
		p := start(t, motor, jam, low)
		p.scan("run", false, "eye", false, "level", 5.0)
		p.expect(p.scan("run", true), "raised filler/A305, marked filler/B1 at_start by A305")
		p.expect(p.scan("eye", true), "")
		p.expect(p.scan("run", false), "cleared filler/A305, marked filler/B1 at_start, raised filler/A101")
	})
	t.Run("of one scan: the one that mutes comes first", func(t *testing.T) {
		p := start(t, jam, motor)
		p.expect(p.scan("run", true, "eye", true), "raised filler/A305 at_start")
		p.expect(p.scan("run", false), "cleared filler/A305 at_start, raised filler/A101 at_start")
	})
	t.Run("a suppressed alarm clears", func(t *testing.T) {
		p := start(t, motor, jam)
		p.scan("run", false, "eye", true)
		p.scan("run", true)
		p.expect(p.scan("eye", false), "cleared filler/A101 at_start")
	})
	t.Run("in a circle one still rises", func(t *testing.T) {
		m := motor
		m.InhibitedBy = []string{"A101"}
		p := start(t, jam, m)
		p.expect(p.scan("run", true, "eye", true), "raised filler/A101 at_start")
	})
	t.Run("over a delay starts the delay anew", func(t *testing.T) {
		j := jam
		j.OnDelay = 2 * time.Second
		p := start(t, motor, j)
		p.scan("run", false, "eye", false)
		p.scan("eye", true)
		p.wait(time.Second)
		p.scan("run", true)
		p.expect(p.wait(1500*time.Millisecond), "")
		p.expect(p.scan("run", false, "eye", true), "cleared filler/A305")
		p.expect(p.wait(1900*time.Millisecond), "")
		p.expect(p.wait(100*time.Millisecond), "raised filler/A101")
	})
}

func TestFirstOut(t *testing.T) {
	b := Rule{Device: "packaging", Line: "L1", Code: "B", When: "level > 80"}
	c := high()
	c.Code, c.When, c.Clear = "C", "flow > 80", ""
	p := start(t, high(), b, c)
	p.scan("level", 70.0, "flow", 0.0)
	p.scanOf("packaging", "level", 0.0)
	late := edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{
		{Tag: "level", Value: edgeagent.Float(90), Quality: edgeagent.QualityGood, At: p.now.Add(20 * time.Millisecond)},
		{Tag: "flow", Value: edgeagent.Float(90), Quality: edgeagent.QualityGood, At: p.now.Add(10 * time.Millisecond)},
	}}
	p.now = p.now.Add(30 * time.Millisecond)
	ts := p.apply(late)
	p.expect(ts, "raised filler/C, raised filler/F212") // by the time of the samples, not the order of the rules
	if !ts[0].Alarm.FirstOut || ts[1].Alarm.FirstOut {
		t.Errorf("first-out %v %v, want the first alone", ts[0].Alarm.FirstOut, ts[1].Alarm.FirstOut)
	}
	p.wait(60 * time.Second)
	if ts := p.scanOf("packaging", "level", 90.0); ts[0].Alarm.FirstOut {
		t.Error("first-out within a minute of another")
	}
	p.scanOf("packaging", "level", 0.0)
	p.wait(61 * time.Second)
	if ts := p.scanOf("packaging", "level", 90.0); !ts[0].Alarm.FirstOut {
		t.Error("no first-out after a quiet minute")
	}
}

func TestShelve(t *testing.T) {
	p := start(t, high())
	p.scan("level", 70.0)
	id := p.scan("level", 90.0)[0].Alarm.ID
	tr, err := p.engine.Shelve(id, "anna", "sensor on order", time.Hour, p.now)
	if err != nil || tr.Kind != edgeagent.TransitionShelved || tr.By != "anna" || !tr.Alarm.ShelvedUntil.Equal(p.now.Add(time.Hour)) ||
		tr.Alarm.ShelveReason != "sensor on order" || tr.Alarm.State != edgeagent.AlarmUnacked {
		t.Fatalf("shelved as %+v, %v", tr, err)
	}
	p.expect(p.scan("level", 70.0), "cleared filler/F212")
	again := p.scan("level", 90.0)
	if a := again[0].Alarm; a.ShelvedUntil == nil || a.Diagnose || a.ShelveReason == "" {
		t.Errorf("the next activation is not shelved: %+v", a)
	}
	p.restart()
	for range 3600 {
		p.scan("level", 90.0)
		p.wait(time.Second)
	}
	p.expect(p.log[len(p.log)-1:], "unshelved filler/F212")
	if a := p.engine.Open()[0]; a.ShelvedUntil != nil || a.ShelveReason != "" {
		t.Errorf("still shelved: %+v", a)
	}
	if _, err := p.engine.Unshelve(again[0].Alarm.ID, "anna", p.now); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("Unshelve = %v, want a conflict", err)
	}
	p.engine.Shelve(again[0].Alarm.ID, "anna", "x", time.Hour, p.now)
	tr, err = p.engine.Unshelve(again[0].Alarm.ID, "bob", p.now)
	if err != nil || tr.Kind != edgeagent.TransitionUnshelved || tr.Alarm.ShelvedUntil != nil || tr.By != "bob" {
		t.Errorf("unshelved as %+v, %v", tr, err)
	}
}

func TestShelvesOfOneNameEndTogether(t *testing.T) {
	p := start(t)
	var ids []edgeagent.ID
	for range 3 {
		ids = append(ids, p.engine.Outside(edgeagent.Alarm{Line: "L9", Code: "X"}, nil, p.now).Alarm.ID)
	}
	for _, id := range ids {
		if _, err := p.engine.Shelve(id, "anna", "x", time.Hour, p.now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.engine.Unshelve(ids[0], "anna", p.now); err != nil {
		t.Fatal(err)
	}
	p.expect(p.wait(2*time.Hour), "unshelved L9/X, unshelved L9/X")
	if _, ok := p.engine.Next(); ok {
		t.Error("ticks are wanted after every shelf has ended")
	}
}

func TestPeopleComeTooLateOrAskTheImpossible(t *testing.T) {
	p := start(t, high())
	id := p.scan("level", 90.0)[0].Alarm.ID
	ack := func(id edgeagent.ID) error { _, err := p.engine.Acknowledge(id, "anna", p.now); return err }
	shelve := func(reason string, d time.Duration) error {
		_, err := p.engine.Shelve(id, "anna", reason, d, p.now)
		return err
	}
	if err := ack("01J00000000000000000000000"); !errors.Is(err, edgeagent.ErrNotFound) {
		t.Errorf("unknown id: %v", err)
	}
	for _, err := range []error{shelve("", time.Hour), shelve("x", 0), shelve("x", -time.Hour), shelve("x", 25*time.Hour)} {
		if !errors.Is(err, ErrShelve) {
			t.Errorf("shelved with %v, want ErrShelve", err)
		}
	}
	if err := ack(id); err != nil {
		t.Errorf("Acknowledge = %v", err)
	}
	if err := ack(id); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("acknowledged twice: %v", err)
	}
	if _, err := p.engine.ClearOutside(id, "anna", p.now); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("a tag's alarm was cleared by hand: %v", err)
	}
	p.scan("level", 70.0)
	if err := ack(id); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("acknowledged when normal: %v", err)
	}
	if got := words(p.log); got != "raised filler/F212 at_start, cleared filler/F212 at_start" {
		t.Errorf("log %q", got)
	}
}

func TestOutside(t *testing.T) {
	p := start(t)
	hostile := "<script>'; DROP\x00\n" + strings.Repeat("A", 10000)
	tr := p.engine.Outside(edgeagent.Alarm{Line: "L9", Code: "X", Text: hostile, State: edgeagent.AlarmNormal, Revision: 9, Diagnose: true},
		map[string]edgeagent.Value{"oven.heat": edgeagent.Int(3)}, p.now)
	a := tr.Alarm
	if tr.Kind != edgeagent.TransitionRaised || a.Origin != edgeagent.OriginOutside || a.State != edgeagent.AlarmUnacked || a.Revision != 1 ||
		a.Text != hostile || a.Priority != 3 || !a.FirstOut || !a.Values["oven.heat"].Equal(edgeagent.Int(3)) || a.Name() != "L9/X" {
		t.Errorf("raised as %+v", tr)
	}
	again := p.engine.Outside(edgeagent.Alarm{Line: "L9", Code: "X"}, nil, p.now)
	if again.Kind != edgeagent.TransitionRaised || again.Alarm.ID == a.ID || again.Alarm.FirstOut {
		t.Errorf("the same name again: %+v", again)
	}
	if other := p.engine.Outside(edgeagent.Alarm{Device: "filler", Code: "X"}, nil, p.now); other.Kind != edgeagent.TransitionRaised ||
		other.Alarm.Line != "L1" || other.Alarm.Area != "A" || other.Alarm.Values == nil {
		t.Errorf("of another device: %+v", other)
	}
	p.expect(p.restart(), "")
	if n := len(p.engine.Open()); n != 3 {
		t.Errorf("%d open after a restart, want 3", n)
	}
	cleared, err := p.engine.ClearOutside(a.ID, "anna", p.now)
	if err != nil || cleared.Alarm.State != edgeagent.AlarmNormal || cleared.By != "anna" || cleared.Alarm.Observed != edgeagent.ObservedLive {
		t.Errorf("cleared as %+v, %v", cleared, err)
	}
	if next := p.engine.Outside(edgeagent.Alarm{Line: "L9", Code: "X"}, nil, p.now); next.Kind != edgeagent.TransitionRaised || next.Alarm.ID == a.ID {
		t.Errorf("after the clear: %+v", next)
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
