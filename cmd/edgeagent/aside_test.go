package main

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/status"
)

// drawer is a data file of these alarms.
type drawer struct {
	archive
	open []edgeagent.Alarm
}

func (d drawer) OpenAlarms() []edgeagent.Alarm                                 { return d.open }
func (d drawer) Evidence(edgeagent.ID) (*edgeagent.Evidence, error)            { return nil, nil }
func (d drawer) Around(c edgeagent.Case) (edgeagent.Case, error)               { return c, nil }
func (d drawer) LastTime(_, _, _ string, _ edgeagent.ID) *edgeagent.Occurrence { return nil }

const listedDevice = `
[[line]]
name = "Filler-2"
area = "Filling"
diagnose_outside = false

[[device]]
name = "rinser"
line = "Filler-2"
url = "modbus-tcp://127.0.0.1:1"

  [[device.tag]]
  name = "alm1"
  address = "holding:0"
  type = "uint16"

  [[device.tag]]
  name = "fault_no"
  address = "holding:1"
  type = "uint16"
  safety = true

  [[device.alarm_word]]
  tag = "alm1"
  texts_file = "alm1.csv"

  [[device.alarm_code]]
  tag = "fault_no"
  none = [0]
  texts_file = "faults.csv"
`

func listedRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, listedDevice, strings.Replace(startPanel(t).device("filler"), "[[device.alarm]]", "[[device.tag]]\n  name = \"flow\"\n  address = \"holding:1\"\n  type = \"uint16\"\n\n  [[device.alarm]]", 1))
	r.file("alm1.csv", "bit,code,priority,text_en\n3,W103,1,Rinser pump tripped\n")
	r.file("faults.csv", "value,code,text_en\n12,N12,Guard circuit\n")
	return r
}

// An alarm that is not open is found wherever the configuration has it, with the
// tags that it would carry.
func TestDefinedAlarms(t *testing.T) {
	cfg := listedRig(t).load()
	for _, tt := range []struct {
		code, text, tags string
		priority         int
		safety           bool
	}{
		{"F212", "Level unstable", "level", 3, false},
		{"W103", "Rinser pump tripped", "alm1", 1, false},
		{"N12", "Guard circuit", "fault_no", 3, true},
	} {
		d, err := definedAlarm(cfg, status.AskedCase{Alarm: tt.code})
		if err != nil || d.alarm.Text != tt.text || strings.Join(d.tags, " ") != tt.tags || d.alarm.Priority != tt.priority || d.alarm.Safety != tt.safety || d.alarm.Line != "Filler-2" {
			t.Errorf("%s: %+v, %v", tt.code, d, err)
		}
		if _, err := definedAlarm(cfg, status.AskedCase{Alarm: tt.code, Line: "Filler-3"}); err == nil || !strings.Contains(err.Error(), "of line Filler-3") {
			t.Errorf("%s of another line: %v", tt.code, err)
		}
	}
}

// Of the same code at several machines the person chooses; the newest of one
// machine is meant.
func TestActiveAlarmThatIsMeant(t *testing.T) {
	r := listedRig(t)
	older, newer := edgeagent.NewID(time.Now().Add(-time.Hour)), edgeagent.NewID(time.Now())
	x := &aside{cfg: r.load(), archive: drawer{open: []edgeagent.Alarm{
		{ID: newer, Device: "filler", Line: "Filler-2", Code: "F212"}, {ID: older, Device: "filler", Line: "Filler-2", Code: "F212"},
		{ID: older, Device: "filler-3", Line: "Filler-3", Code: "F212"}, {ID: older, Line: "Filler-3", Code: "SCADA"},
	}}}
	for _, tt := range []struct {
		q    status.AskedCase
		want edgeagent.ID
		says string
	}{
		{status.AskedCase{Alarm: "F212"}, "", "is open at filler, filler-3"},
		{status.AskedCase{Alarm: "F212", Device: "filler"}, newer, ""},
		{status.AskedCase{Alarm: "F212", Line: "Filler-3"}, older, ""},
		{status.AskedCase{Alarm: "SCADA"}, older, ""},
		{status.AskedCase{Alarm: "F213"}, "", ""},
	} {
		a, err := x.active(tt.q)
		switch {
		case tt.says != "":
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%+v: %v", tt.q, err)
			}
		case err != nil || tt.want == "" && a != nil || tt.want != "" && (a == nil || a.ID != tt.want):
			t.Errorf("%+v: %+v, %v", tt.q, a, err)
		}
	}
	a, err := x.caseOf(t.Context(), status.AskedCase{Alarm: "SCADA"})
	if err != nil || a.From != status.CaseActive || len(a.Notes) != 1 || len(a.Case.First().Evidence.Gaps) != 1 {
		t.Errorf("an alarm whose evidence is gone: %+v, %v", a, err)
	}
}

// Whatever is sent, what a line forbids stays here.
func TestGivenCaseOfALineThatStaysHere(t *testing.T) {
	x := &aside{cfg: listedRig(t).load()}
	for line, want := range map[string]bool{"Filler-2": false, "Packer-1": true} {
		c := edgeagent.Case{Line: line, Outside: true, Alarms: []edgeagent.CaseAlarm{{Alarm: edgeagent.Alarm{Code: "X"}}}}
		if a, err := x.caseOf(t.Context(), status.AskedCase{Case: &c}); err != nil || a.Case.Outside != want || a.From != status.CaseGiven {
			t.Errorf("%s: %v, %v", line, a.Case.Outside, err)
		}
		c.Outside = false
		if a, _ := x.caseOf(t.Context(), status.AskedCase{Case: &c}); a.Case.Outside {
			t.Errorf("%s: what was not to leave leaves", line)
		}
	}
	if _, err := x.caseOf(t.Context(), status.AskedCase{Job: edgeagent.NewID(time.Now())}); err == nil || !strings.Contains(err.Error(), "no data file yet") {
		t.Errorf("a job without a data file: %v", err)
	}
}
