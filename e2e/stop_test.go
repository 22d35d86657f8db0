package e2e

import (
	"strings"
	"testing"
	"time"
)

// A PLC that is gone: five waits, one alarm, then silence. The waits are
// shortened here by configuration; their exact lengths are held under virtual
// time in package plc.
func TestStoppedPLC(t *testing.T) {
	mostlyWaits(t)
	dead, alive := startLibmodbus(t), startPymodbus(t)
	window := "retry = { first = \"100ms\", max = \"800ms\" }\n"
	devices := peerDevice("dead", dead.tap.addr(), "line-1", window+"resume = \"operator\"") +
		peerDevice("alive", alive.tap.addr(), "line-1", "")
	a := newAgent(t, plan{devices: devices}.toml(t))
	a.start()
	a.eventually(20*time.Second, "both are polled", func() bool {
		return a.device("dead").State == "polling" && a.device("alive").State == "polling"
	})
	dead.down()
	a.eventually(30*time.Second, "the device is stopped", func() bool { return a.device("dead").State == "stopped" })
	stoppedOnce(t, a)

	before, others := dead.tap.count(), alive.tap.count()
	a.eventually(10*time.Second, "the other device is read on", func() bool { return alive.tap.count() > others+15 })
	if n := dead.tap.count(); n != before {
		t.Errorf("%d packets went to a stopped device", n-before)
	}
	if d := a.device("alive"); d.State != "polling" || d.Tags.Good != 11 {
		t.Errorf("the other device is hurt: %+v", d)
	}

	// The PLC is back, but only a person resumes it; a restart does not.
	dead.up()
	if err := a.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	a.start()
	a.eventually(10*time.Second, "the other device is polled again", func() bool { return a.device("alive").State == "polling" })
	if d := a.device("dead"); d.State != "stopped" || dead.tap.count() != before {
		t.Errorf("a restart resumed the device: %+v, %d packets", d, dead.tap.count()-before)
	}
	stoppedOnce(t, a)
	out, errOut, code := a.run("devices", "resume", "dead", "--reason", "power is back", "-c", a.config())
	if code != 0 {
		t.Fatalf("resume: exit %d\n%s%s", code, out, errOut)
	}
	a.eventually(10*time.Second, "the device is polled again", func() bool {
		d := a.device("dead")
		return d.State == "polling" && d.Tags.Good == 11
	})
}

// stoppedOnce holds that there is one device_stopped alarm, answered by the
// runbook.
func stoppedOnce(t *testing.T, a *agent) {
	t.Helper()
	n, id := 0, ""
	a.eventually(10*time.Second, "the alarm is there", func() bool { // an alarm is shown after its commit, the state at once
		n = 0
		for _, d := range a.alarms("history") {
			if d.Code == "device_stopped" {
				n, id = n+1, d.ID
			}
		}
		return n > 0
	})
	if n != 1 {
		t.Fatalf("%d device_stopped alarms, want one", n)
	}
	if j := a.finished(id, 20*time.Second); j.Diagnosis == nil || j.Diagnosis.By.Provider != "runbook" {
		t.Errorf("its diagnosis: %+v", j.Diagnosis)
	}
}

// With a period instead of a person there is one probe a period, and the
// device comes back by itself: switch, gateway and PLC losing power together
// must not need a visit.
func TestPowerCutOfTheWholeLineHealsItself(t *testing.T) {
	mostlyWaits(t)
	p := startLibmodbus(t)
	a := newAgent(t, plan{devices: peerDevice("press", p.tap.addr(), "line-1",
		"retry = { first = \"100ms\", max = \"400ms\" }\nresume = \"2s\"")}.toml(t))
	a.start()
	a.eventually(20*time.Second, "it is polled", func() bool { return a.device("press").State == "polling" })

	p.down() // PLC and switch
	a.eventually(20*time.Second, "it is stopped", func() bool { return a.device("press").State == "stopped" })
	before := p.tap.count()
	a.eventually(20*time.Second, "three probes", func() bool { return p.tap.count() >= before+3 })
	if d := a.device("press"); d.State != "stopped" {
		t.Errorf("a failed probe made it %s", d.State)
	}
	if n := len(stopsOf(a)); n != 1 {
		t.Errorf("%d device_stopped alarms, want one", n)
	}

	a.kill() // and the gateway
	p.up()
	a.start()
	a.eventually(20*time.Second, "it comes back by itself", func() bool { return a.device("press").State == "polling" })
	_, errOut, code := a.run("devices", "resume", "press", "-c", a.config())
	if code == 0 || !strings.Contains(errOut, "press") {
		t.Errorf("resuming a device that runs: exit %d, %q", code, errOut)
	}
}

func stopsOf(a *agent) []alarmDoc {
	var all []alarmDoc
	for _, d := range a.alarms("history") {
		if d.Code == "device_stopped" {
			all = append(all, d)
		}
	}
	return all
}
