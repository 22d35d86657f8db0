package e2e

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// One alarm, the whole way: two PLC servers of other implementations, a
// completions endpoint, and a receiver that commits to PostgreSQL.
func TestAlarmTravelsFromPLCToPostgres(t *testing.T) {
	peers := []*peer{startLibmodbus(t), startPymodbus(t)}
	cloud := newOpenAI(t, listenLoopback(t))
	up := newReceiver(t)
	devices := ""
	for _, p := range peers {
		devices += peerDevice(p.name, p.tap.addr(), "line-"+p.name, "")
	}
	a := newAgent(t, plan{devices: devices, cloud: cloud.url, upstreams: []string{up.url}}.toml(t))
	a.start()
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			a.eventually(20*time.Second, p.name+" is polled", func() bool {
				d := a.device(p.name)
				return d.State == "polling" && d.Tags.Good == 11
			})
			compare(t, a, p)
			p.set("holding", 500, 7)
			follow(t, a, up, p)
		})
	}
	if n := len(cloud.questions()); n != len(peers) {
		t.Errorf("the endpoint saw %d requests for %d alarms", n, len(peers))
	}
	if bad := up.gaps(); len(bad) > 0 {
		t.Errorf("gaps: %v", bad)
	}
}

// compare holds the agent's values against what mbpoll reads from the same
// server, and the floats against the numbers that the server was filled with.
func compare(t *testing.T, a *agent, p *peer) {
	t.Helper()
	tags := a.tags(p.name)
	whole := map[string]int{
		"r0": p.mbpoll("4", 0, 1)[0], "r9": p.mbpoll("4", 9, 1)[0], "in3": p.mbpoll("3", 3, 1)[0], "fault": p.mbpoll("4", 500, 1)[0],
	}
	for name, want := range whole {
		if got, ok := tags[name].Value.(float64); !ok || int(got) != want || tags[name].Quality != "good" {
			t.Errorf("%s.%s = %v (%s), mbpoll reads %d", p.name, name, tags[name].Value, tags[name].Quality, want)
		}
	}
	bits := map[string]int{"c3": p.mbpoll("0", 3, 1)[0], "c4": p.mbpoll("0", 4, 1)[0], "d5": p.mbpoll("1", 5, 1)[0]}
	for name, want := range bits {
		if got := tags[name].Value; got != (want == 1) {
			t.Errorf("%s.%s = %v, mbpoll reads %d", p.name, name, got, want)
		}
	}
	floats := map[string]float64{"f_abcd": 12.5, "f_cdab": -3.25, "f_badc": 1e6, "f_dcba": 0.001}
	for name, want := range floats {
		if got, ok := tags[name].Value.(float64); !ok || math.Abs(got-want) > 1e-9+math.Abs(want)*1e-7 {
			t.Errorf("%s.%s = %v, the server holds %v", p.name, name, tags[name].Value, want)
		}
	}
}

// follow waits for the alarm at every station of its way.
func follow(t *testing.T, a *agent, up *receiver, p *peer) {
	t.Helper()
	var found alarmDoc
	a.eventually(10*time.Second, "the alarm is active", func() bool {
		for _, d := range a.alarms("active") {
			if d.Device == p.name && d.Code == "E500" {
				found = d
			}
		}
		return found.ID != ""
	})
	if found.Hint == nil || found.Hint.Summary == "" {
		t.Errorf("alarm without a hint: %+v", found)
	}
	if got := found.Values[p.name+".fault"]; got != 7.0 {
		t.Errorf("values at the raise: %v", found.Values)
	}
	j := a.finished(found.ID, 30*time.Second)
	if j.Diagnosis == nil || j.Diagnosis.By.Provider != "cloud" || j.Diagnosis.Summary != "The sensor is dirty." {
		t.Fatalf("diagnosis: %+v", j.Diagnosis)
	}
	a.eventually(20*time.Second, "the receiver has alarm and diagnosis", func() bool {
		return raisedWithHint(t, up, found.ID) && up.diagnoses()[found.ID] == 1
	})
}

func raisedWithHint(t *testing.T, up *receiver, id string) bool {
	t.Helper()
	for _, e := range up.events("edgeagent.alarm.raised.v1") {
		var d alarmDoc
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		if d.ID == id {
			return d.Hint != nil && strings.TrimSpace(d.Hint.Summary) != ""
		}
	}
	return false
}
