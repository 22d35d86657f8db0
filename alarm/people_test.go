package alarm

import (
	"errors"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

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

func TestShelvingOutlivesARestartWithoutItsAlarm(t *testing.T) {
	for left, hidden := range map[time.Duration]bool{time.Minute: true, -time.Second: false} {
		p := start(t, high())
		until := p.now.Add(left)
		closed := edgeagent.Alarm{ID: edgeagent.NewID(p.now), Device: "filler", Line: "L1", Code: "F212", Origin: edgeagent.OriginTag,
			State: edgeagent.AlarmNormal, ShelvedUntil: &until, ShelveReason: "sensor on order"}
		p.expect(p.engine.Restore([]edgeagent.Alarm{closed}), "")
		if a := p.scan("level", 90.0)[0].Alarm; (a.ShelvedUntil != nil) != hidden || a.Diagnose == hidden {
			t.Errorf("%v left: raised %+v, want hidden %v", left, a, hidden)
		}
		if n := len(p.engine.Open()); n != 1 {
			t.Errorf("%d open, want the new one alone", n)
		}
	}
}

// A clock that was years ahead when an alarm was shelved must not hide it for years.
func TestShelvingEndsThoughTheClockWasAhead(t *testing.T) {
	p := start(t, high())
	until := p.now.AddDate(10, 0, 0)
	a := edgeagent.Alarm{ID: edgeagent.NewID(p.now), Line: "L9", Code: "X", Origin: edgeagent.OriginOutside,
		State: edgeagent.AlarmUnacked, Observed: edgeagent.ObservedLive, ShelvedUntil: &until, ShelveReason: "sensor on order"}
	p.expect(p.engine.Restore([]edgeagent.Alarm{a}), "")
	if got := p.engine.Open()[0].ShelvedUntil; got == nil || got.After(p.now.Add(defaultMaxShelve)) {
		t.Errorf("shelved until %v, want at most %v from now", got, defaultMaxShelve)
	}
	p.expect(p.wait(defaultMaxShelve+time.Minute), "unshelved L9/X")
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
	p.wait(2 * time.Minute)
	p.engine.Outside(edgeagent.Alarm{Line: "L10", Code: "X"}, nil, p.now)
	if n := len(p.engine.rose); n != 1 {
		t.Errorf("%d lines are remembered, want the one that is not quiet", n)
	}
	cleared, err := p.engine.ClearOutside(a.ID, "anna", p.now)
	if err != nil || cleared.Alarm.State != edgeagent.AlarmNormal || cleared.By != "anna" || cleared.Alarm.Observed != edgeagent.ObservedLive {
		t.Errorf("cleared as %+v, %v", cleared, err)
	}
	if next := p.engine.Outside(edgeagent.Alarm{Line: "L9", Code: "X"}, nil, p.now); next.Kind != edgeagent.TransitionRaised || next.Alarm.ID == a.ID {
		t.Errorf("after the clear: %+v", next)
	}
}
