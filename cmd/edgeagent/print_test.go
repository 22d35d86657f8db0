package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// Everything that a terminal obeys, in the form in which a panel's text brings it.
const hostile = "Level \x1b[2J\x1b]0;owned\x07 high\r\nALARM ACKNOWLEDGED\u202e\u200b\u2066\u009b31m\ufeff\x7f\t|"

// assertTame fails if a terminal would obey s. Line breaks are ours.
func assertTame(t *testing.T, what, s string) {
	t.Helper()
	for _, r := range s {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("\u202e\u200b\u2066\ufeff", r)) {
			t.Errorf("%s lets %U through: %q", what, r, s)
			return
		}
	}
}

func TestPrintable(t *testing.T) {
	got := printable(hostile)
	assertTame(t, "printable", got)
	if strings.Contains(got, "\n") {
		t.Errorf("a text forged a line: %q", got)
	}
	for _, plain := range []string{"Füllstand 72 %", "Ω µm °C", "充填", "a\u00a0b"} {
		if printable(plain) != plain {
			t.Errorf("%q became %q", plain, printable(plain))
		}
	}
	if got := printableLines("a\x1b\nb"); got != "a\ufffd\nb" {
		t.Errorf("got %q", got)
	}
}

func TestTablesAreTame(t *testing.T) {
	now := time.Now()
	note := edgeagent.NewNote("x", hostile)
	diagnosis := &edgeagent.Diagnosis{Summary: hostile, Safety: hostile, Unstructured: hostile, Checks: []string{hostile},
		Causes: []edgeagent.Cause{{Cause: hostile, Likelihood: "likely"}}, By: edgeagent.Provenance{Provider: "cloud", Model: hostile, WhyNotFirst: hostile}}
	job := edgeagent.Job{ID: "j", Line: hostile, LastError: note, Diagnosis: diagnosis,
		Timeline: []edgeagent.TimelineEntry{{At: now, Event: "failed", Detail: note}}, Calls: []edgeagent.Call{{Provider: "cloud", Model: hostile, Error: note}}}
	device := edgeagent.DeviceStatus{Name: hostile, Line: hostile, State: edgeagent.DeviceStopped, Since: &now, Error: hostile}
	for what, print := range map[string]func(*strings.Builder) error{
		"alarms": func(b *strings.Builder) error {
			return printAlarms(b, []edgeagent.Alarm{{ID: "a", Device: hostile, Code: hostile, Text: hostile, Hint: diagnosis, RaisedAt: now}})
		},
		"jobs":    func(b *strings.Builder) error { return printJobs(b, []edgeagent.Job{job, {LastError: note}}) },
		"job":     func(b *strings.Builder) error { printJob(b, job); return nil },
		"devices": func(b *strings.Builder) error { return table(b, deviceRows([]edgeagent.DeviceStatus{device})) },
		"tags": func(b *strings.Builder) error {
			return printTags(b, []edgeagent.Reading{{Device: "filler", Tag: "recipe", Value: edgeagent.String(hostile), Text: hostile, EngUnit: hostile, Reason: note}})
		},
		"status": func(b *strings.Builder) error {
			return printStatus(b, edgeagent.Status{Headline: edgeagent.Headline{Text: hostile}, Devices: []edgeagent.DeviceStatus{device},
				Providers: []edgeagent.ProviderStatus{{Name: "a", Hold: hostile}, {Name: "b", Error: hostile}},
				Upstreams: []edgeagent.UpstreamStatus{{Name: "c", Error: hostile}}})
		},
		"probe": func(b *strings.Builder) error { printProbe(b, probeResult{Name: "a", Error: hostile}); return nil },
	} {
		var b strings.Builder
		if err := print(&b); err != nil || b.Len() == 0 {
			t.Errorf("%s: %v", what, err)
		}
		assertTame(t, what, b.String())
	}
}

// A stopped device is never called just stopped: the machine may well run.
func TestStoppedDeviceInWords(t *testing.T) {
	now := time.Now()
	got := weAre(edgeagent.DeviceStatus{State: edgeagent.DeviceStopped, Since: &now})
	if want := "NOT BEING READ since " + now.Format("15:04:05") + ", machine state unknown"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestTimesInWords(t *testing.T) {
	for s, want := range map[float64]string{0: "0.0 s", 9.94: "9.9 s", 59.6: "60 s", 119: "119 s", 600: "10 min", 7200: "2 h"} {
		if got := seconds(s); got != want {
			t.Errorf("%v s: %q, want %q", s, got, want)
		}
	}
	yesterday := time.Now().Add(-48 * time.Hour)
	if got := clock(&yesterday); got != yesterday.Format("2006-01-02 15:04:05") {
		t.Errorf("the day before yesterday is %q", got)
	}
	if clock(nil) != "-" || clock(&time.Time{}) != "-" {
		t.Error("no time is not a dash")
	}
}

func TestPrintJSONKeepsWords(t *testing.T) {
	var b strings.Builder
	if err := printJSON(&b, map[string]string{"text": "level < 75 & rising"}); err != nil {
		t.Fatal(err)
	}
	var back map[string]string
	if json.Unmarshal([]byte(b.String()), &back) != nil || !strings.Contains(b.String(), "< 75 &") {
		t.Errorf("got %s", b.String())
	}
}
