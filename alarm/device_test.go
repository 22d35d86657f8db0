package alarm

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
)

const (
	stopped = edgeagent.DeviceEventStopped
	resumed = edgeagent.DeviceEventResumed
)

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

func TestFirstOutThoughTheClockWasAhead(t *testing.T) {
	other := high()
	other.Code, other.When, other.Clear = "F300", "flow > 80", ""
	p := start(t, high(), other)
	p.scan("level", 90.0, "flow", 70.0)
	p.now = p.now.Add(-48 * time.Hour)
	p.restart()
	p.scan("level", 90.0, "flow", 70.0)
	if ts := p.scan("flow", 90.0); !ts[0].Alarm.FirstOut {
		t.Error("no first-out on a line that was quiet, but for what a wrong clock has stored")
	}
}
