package e2e

import (
	"fmt"
	"testing"
	"time"
)

const events = `
  [device.events]
  source = "i=2253"
  min_severity = 1
  priorities = { 1 = 800, 2 = 600, 3 = 1 }
  code_from = "ConditionName"
`

// alarmOf returns the newest alarm with the code and whether there is one.
func alarmOf(a *agent, state, code string) (alarmDoc, int) {
	var found alarmDoc
	n := 0
	for _, d := range a.alarms(state) {
		if d.Code == code {
			if found.ID == "" {
				found = d
			}
			n++
		}
	}
	return found, n
}

func (a *agent) jobs() []jobDoc {
	a.t.Helper()
	var answer struct{ Jobs []jobDoc }
	if err := a.get("/api/v1/jobs?limit=200", &answer); err != nil {
		a.t.Fatalf("jobs: %v", err)
	}
	return answer.Jobs
}

// A limit alarm of a server: active, acked, normal. One alarm, one job.
func TestOPCUACondition(t *testing.T) {
	reconnect := func(a *agent, p *opcuaPeer) {
		p.chaos.set(chaosCut)
		a.eventually(15*time.Second, "the loss is noticed", func() bool { return a.device("line1").State != "polling" })
		p.chaos.set(chaosPass)
		a.eventually(30*time.Second, "it is back", func() bool { return a.device("line1").State == "polling" })
	}
	for _, c := range []struct {
		name        string
		before      bool // active before the first connect
		interrupted bool
	}{{"live", false, false}, {"with a reconnect in between", false, true}, {"active before the first connect", true, false}, {"active before, and reconnects", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			p := startOPCUA(t)
			if c.before {
				p.say("set Level 90")
			}
			a := newAgent(t, plan{devices: opcuaDevice(p.chaos.addr(), opcuaKeys("None", "None", "", "")+events, "")}.toml(t))
			a.start()
			allGood(a, opcuaTags)
			if !c.before {
				p.say("set Level 90")
			}
			var raised alarmDoc
			a.eventually(15*time.Second, "the alarm is active", func() bool {
				raised, _ = alarmOf(a, "active", "LevelAlarm")
				return raised.State == "unacked"
			})
			if c.interrupted {
				reconnect(a, p)
			}
			p.say("ack")
			a.eventually(15*time.Second, "the acknowledgement is followed", func() bool {
				d, n := alarmOf(a, "active", "LevelAlarm")
				return n == 1 && d.ID == raised.ID && d.State == "acked"
			})
			if c.interrupted {
				reconnect(a, p)
			}
			p.say("set Level 20")
			a.eventually(15*time.Second, "it is over", func() bool {
				_, active := alarmOf(a, "active", "LevelAlarm")
				d, n := alarmOf(a, "history", "LevelAlarm")
				return active == 0 && n == 1 && d.ID == raised.ID && d.State == "normal"
			})
			if jobs := a.jobs(); len(jobs) != 1+stops(jobs) {
				t.Errorf("%d jobs, want one", len(jobs))
			}
			if want := map[bool]string{true: "at_start", false: "live"}[c.before]; raised.Observed != want {
				t.Errorf("observed %s, want %s", raised.Observed, want)
			}
		})
	}
}

// stops counts the jobs that are the agent's own.
func stops(jobs []jobDoc) int {
	n := 0
	for _, j := range jobs {
		if len(j.Alarms) == 0 {
			n++
		}
	}
	return n
}

func opcuaKeysTable() string { return "  [device.opcua]\n  security = \"None\"\n  mode = \"None\"\n" }

// Alarm words: every bit goes its own way, over Modbus and over OPC UA.
func TestAlarmWord(t *testing.T) {
	const texts = "bit,code,priority,text_en\n0,W0,2,Emergency stop chain open\n31,W31,1,Main drive tripped\n"
	t.Run("modbus", func(t *testing.T) {
		p := startLibmodbus(t)
		device := fmt.Sprintf("\n[[device]]\nname = \"line1\"\nurl = \"modbus-tcp://%s\"\nscan = \"200ms\"\n", p.tap.addr()) +
			"  [[device.tag]]\n  name = \"word\"\n  address = \"holding:600\"\n  type = \"uint32\"\n"
		p.set("holding", 600, 0)
		p.set("holding", 601, 0)
		bits(t, device, texts, func(value uint32) {
			p.set("holding", 600, int(value>>16))
			p.set("holding", 601, int(value&0xffff))
		})
	})
	t.Run("opcua", func(t *testing.T) {
		p := startOPCUA(t)
		device := fmt.Sprintf("\n[[device]]\nname = \"line1\"\nurl = \"opc.tcp://%s\"\nscan = \"200ms\"\n", p.chaos.addr()) + opcuaKeysTable() +
			"  [[device.tag]]\n  name = \"word\"\n  address = \"ns=1;s=Line1.Word\"\n  type = \"uint32\"\n"
		bits(t, device, texts, func(value uint32) { p.say("set Word %d", value) })
	})
}

// bits sets and clears bits of a word and watches its alarms.
func bits(t *testing.T, device, texts string, set func(uint32)) {
	t.Helper()
	a := newAgent(t, "")
	a.write("word.csv", texts)
	a.writeConfig(plan{devices: device + "  [[device.alarm_word]]\n  tag = \"word\"\n  texts_file = \"word.csv\"\n"}.toml(t))
	a.start()
	a.eventually(20*time.Second, "the word is read", func() bool { return a.tags("line1")["word"].Quality == "good" })
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
	for _, step := range []struct {
		value uint32
		codes []string
	}{
		{1, []string{"W0"}},
		{0x80000001, []string{"W0", "W31"}},
		{0x80000080, []string{"W31", "WORD.7"}},
		{0, nil},
		{1, []string{"W0"}},
		{0, nil},
	} {
		set(step.value)
		a.eventually(10*time.Second, fmt.Sprintf("0x%08X is %v", step.value, step.codes), active(step.codes...))
	}
	if n := len(a.alarms("history")); n != 4 {
		t.Errorf("%d activations, want 4: W0 twice, W31, WORD.7", n)
	}
}
