package e2e

import (
	"fmt"
	"testing"
	"time"
)

// cable is one way to a device, which can be cut and be whole again.
type cable struct {
	set          func(uint32)
	cut, restore func()
}

// An alarm word of 32 bits: every bit goes its own way, over Modbus and over
// OPC UA, live, over a reconnect, and when it stood before the first connect.
func TestAlarmWord(t *testing.T) {
	t.Run("modbus", func(t *testing.T) {
		p := startLibmodbus(t)
		device := fmt.Sprintf("\n[[device]]\nname = \"line1\"\nurl = \"modbus-tcp://%s\"\nscan = \"200ms\"\n%s", p.tap.addr(), quickRetry) +
			"  [[device.tag]]\n  name = \"word\"\n  address = \"holding:600\"\n  type = \"uint32\"\n"
		word := uint32(0)
		set := func(value uint32) {
			word = value
			p.set("holding", 600, int(value>>16))
			p.set("holding", 601, int(value&0xffff))
		}
		bits(t, device, cable{set, p.down, func() {
			p.tap.let(false) // until the word is what it was: a PLC keeps it
			p.up()
			set(word)
			p.tap.let(true)
		}})
	})
	t.Run("opcua", func(t *testing.T) {
		p := startOPCUA(t)
		device := fmt.Sprintf("\n[[device]]\nname = \"line1\"\nurl = \"opc.tcp://%s\"\nscan = \"200ms\"\n%s", p.chaos.addr(), quickRetry) + opcuaKeysTable() +
			"  [[device.tag]]\n  name = \"word\"\n  address = \"ns=1;s=Line1.Word\"\n  type = \"uint32\"\n"
		bits(t, device, cable{
			func(value uint32) { p.say("set Word %d", value) },
			func() { p.chaos.set(chaosCut) }, func() { p.chaos.set(chaosPass) },
		})
	})
}

// quickRetry is for tests that are not about the window: soon back, and not
// stopped for a while in which the machine does something else.
const quickRetry = "retry = { first = \"500ms\", max = \"30s\" }\n"

const wordTexts = "bit,code,priority,text_en\n0,W0,2,Emergency stop chain open\n31,W31,1,Main drive tripped\n"

// bits sets and clears bits of a word and watches its alarms.
func bits(t *testing.T, device string, c cable) {
	t.Helper()
	a := newAgent(t, "")
	a.write("word.csv", wordTexts)
	a.writeConfig(plan{devices: device + "  [[device.alarm_word]]\n  tag = \"word\"\n  texts_file = \"word.csv\"\n"}.toml(t))
	c.set(1)
	a.start()
	active := func(codes ...string) func() bool {
		return func() bool {
			all := a.alarms("active")
			for _, code := range codes {
				if _, n := alarmOf(a, "active", code); n != 1 {
					return false
				}
			}
			return len(all) == len(codes)
		}
	}
	a.eventually(20*time.Second, "the bit that stood before the first connect is an alarm", active("W0"))
	before, _ := alarmOf(a, "active", "W0")
	if before.Observed != "at_start" {
		t.Errorf("W0 is observed %s, want at_start", before.Observed)
	}
	c.cut()
	a.eventually(15*time.Second, "the loss is noticed", func() bool { return a.device("line1").State != "polling" })
	if after, n := alarmOf(a, "active", "W0"); n != 1 || after.ID != before.ID {
		t.Errorf("the loss changed the alarm: %+v", after)
	}
	c.restore()
	a.eventually(20*time.Second, "it is read again", func() bool { return a.tags("line1")["word"].Quality == "good" })
	if after, n := alarmOf(a, "active", "W0"); n != 1 || after.ID != before.ID {
		t.Errorf("the reconnect made another alarm: %+v", after)
	}
	for _, step := range []struct {
		value uint32
		codes []string
	}{
		{0x80000001, []string{"W0", "W31"}},
		{0x80000080, []string{"W31", "WORD.7"}},
		{0, nil},
		{1, []string{"W0"}},
		{0, nil},
	} {
		c.set(step.value)
		a.eventually(10*time.Second, fmt.Sprintf("0x%08X is %v", step.value, step.codes), active(step.codes...))
	}
	all := a.alarms("history")
	jobs := map[string]bool{}
	for _, d := range all {
		jobs[d.Job] = true
		if d.State != "normal" {
			t.Errorf("%s is %s at the end", d.Code, d.State)
		}
	}
	if len(all) != 4 || len(jobs) > 4 || jobs[""] {
		t.Errorf("%d activations with %d jobs, want 4: W0 twice, W31, WORD.7", len(all), len(jobs))
	}
}
