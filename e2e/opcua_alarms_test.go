package e2e

import (
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
			a := newAgent(t, plan{devices: opcuaDevice(p.chaos.addr(), opcuaKeys("None", "None", "", "")+events, quickRetry)}.toml(t))
			refreshes := p.number("refreshes")
			a.start()
			allGood(a, opcuaTags)
			a.eventually(15*time.Second, "what is active already was told", func() bool { return p.number("refreshes") > refreshes })
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
