package alarm

import (
	"testing"
	"time"

	"edgeagent"
)

const (
	frozen      = edgeagent.DeviceEventFrozen
	thawed      = edgeagent.DeviceEventThawed
	maintenance = edgeagent.DeviceEventMaintenance
)

func TestFrozenDevice(t *testing.T) {
	p := start(t, high())
	p.scan("level", 70.0)
	ts := p.event(frozen)
	p.expect(ts, "raised filler/device_frozen")
	if a := ts[0].Alarm; a.Text != "filler answers, but its heartbeat stands still: no answer for 60 s" || a.Priority != 2 || a.Origin != edgeagent.OriginAgent || !a.Diagnose {
		t.Errorf("raised as %+v", a)
	}
	p.expect(p.event(frozen), "")
	p.expect(p.scan("level", 90.0), "") // of a CPU that stands still
	p.expect(p.event(thawed), "cleared filler/device_frozen, raised filler/F212")
	p.expect(p.event(frozen), "marked filler/device_frozen, raised filler/device_frozen, marked filler/F212 lost")
	p.expect(p.event(stopped), "cleared filler/device_frozen, raised filler/device_stopped")
	p.event(resumed)
	p.expect(p.event(thawed), "")
	p.expect(p.event(frozen), "marked filler/device_frozen, raised filler/device_frozen")
	p.expect(p.event(resumed), "cleared filler/device_frozen")
}

// After a restart nobody says that a device has thawed; and for as long as its
// heartbeat may stand still unnoticed its values look good.
func TestFrozenDeviceOverARestart(t *testing.T) {
	p := start(t, high())
	p.scan("level", 70.0)
	p.event(frozen)
	p.expect(p.restart(), "")
	for range 60 {
		p.expect(p.scan("level", 90.0), "")
		p.wait(time.Second)
	}
	p.wait(time.Second)
	p.expect(p.scan("level", 90.0), "cleared filler/device_frozen, raised filler/F212 at_start")
	p.event(frozen)
	p.restart()
	p.wait(30 * time.Second)
	p.expect(p.event(frozen), "") // it still stands
	p.wait(50 * time.Second)
	p.expect(p.scan("level", 90.0), "marked filler/F212 at_start")
	p.wait(11 * time.Second)
	p.expect(p.scan("flow", 1.0), "cleared filler/device_frozen")
}

func TestMaintenance(t *testing.T) {
	other := high()
	other.Code, other.When, other.Clear = "F300", "flow > 80", ""
	p := start(t, high(), other)
	p.scan("level", 90.0, "flow", 0.0)
	p.event(stopped)
	p.expect(p.event(maintenance), "cleared filler/device_stopped")
	p.expect(p.scan("flow", 90.0), "") // somebody turns the pump by hand
	p.expect(p.event(resumed), "raised filler/F300")
	p.expect(p.scan("level", 90.0), "marked filler/F212 at_start")
	p.expect(p.event(maintenance), "marked filler/F212 at_start lost, marked filler/F300 lost")
	p.expect(p.event(stopped), "marked filler/device_stopped, raised filler/device_stopped") // its first try afterwards found nobody
}

func TestGapIsNoAlarm(t *testing.T) {
	p := start(t, high())
	p.scan("level", 90.0)
	p.expect(p.event(edgeagent.DeviceEventGap), "")
}

// While a value stands a server sends nothing but keep-alives. They keep it
// fresh, and its rate is nothing.
func TestConfirmedValueStaysFresh(t *testing.T) {
	rising := Rule{Device: "filler", Line: "L1", Code: "RATE", When: "rate(level) > 5"}
	p := start(t, high(), rising)
	confirm := func() []edgeagent.Transition {
		p.wait(2 * time.Second)
		return p.apply(edgeagent.Scan{Device: "filler", Confirmed: []string{"flow", "level", "nothing"}})
	}
	p.scan("level", 70.0)
	p.wait(time.Second)
	p.scan("level", 70.0)
	p.wait(time.Second)
	p.expect(p.scan("level", 90.0), "raised filler/F212, raised filler/RATE")
	p.expect(confirm(), "cleared filler/RATE")
	for range 10 {
		p.expect(confirm(), "")
	}
	p.expect(p.wait(time.Hour), "marked filler/F212 lost")
	p.expect(confirm(), "marked filler/F212")
	p.wait(time.Second)
	p.expect(p.scan("level", 70.0), "cleared filler/F212")
}

func TestOverflowIsEvaluated(t *testing.T) {
	p := start(t, high())
	p.expect(p.apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "level", Value: edgeagent.Float(90), At: p.now,
		Quality: edgeagent.QualityUncertain, Reason: edgeagent.NewNote(edgeagent.ReasonOverflow, "")}}}), "raised filler/F212 at_start")
}

func TestDoubtfulValuesDecideNothing(t *testing.T) {
	for _, reason := range []string{edgeagent.ReasonFrozen, edgeagent.ReasonQuarantined, edgeagent.ReasonStatus, edgeagent.ReasonType, edgeagent.ReasonMaintenance} {
		p := start(t, high())
		p.scan("level", 90.0)
		p.expect(p.apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "level", Value: edgeagent.Float(70), At: p.now,
			Quality: edgeagent.QualityUncertain, Reason: edgeagent.NewNote(reason, "")}}}), "marked filler/F212 at_start lost")
	}
}
