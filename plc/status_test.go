package plc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestStatusTellsTheLastScansAndTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, block(3))
		r.until(2500 * time.Millisecond)
		f.set(refusing(2, 101))
		r.until(3500 * time.Millisecond)
		f.set(dead)
		r.until(5 * time.Second) // one failure at 4 s, the next try at 6 s
		s := r.status("filler")
		if s.Recent != "|||.x" {
			t.Errorf("recent = %q, want three good scans, a partial one and a failure", s.Recent)
		}
		var log []string
		for _, e := range s.Log {
			log = append(log, e.Event)
		}
		if !slices.Equal(log, []string{"polling", "retrying"}) {
			t.Errorf("log = %v", log)
		}
		if s.NextTryAt == nil || s.NextTryAt.Sub(r.start) != 6*time.Second || s.LastOKAt.Sub(r.start) != 3*time.Second {
			t.Errorf("next try at %v, last ok at %v; want 6 s and 3 s after the start", s.NextTryAt, s.LastOKAt)
		}
		if !strings.Contains(s.Error, "FC3 holding:100 (1 register) of unit 1") || s.Errors != 2 {
			t.Errorf("error %q, %d errors; want the request that failed, and 2", s.Error, s.Errors)
		}
		if !slices.Equal(s.Plan, []string{"FC3 holding:100-102 (3 registers)"}) || s.RequestsPerScan != 1 {
			t.Errorf("plan = %v, want everything asked for again after a failure", s.Plan)
		}
	})
}

func TestLogAndRecentAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, filler())
		f.set(flapping(r.start, 90*time.Second))
		r.until(3 * time.Hour)
		if s := r.status("filler"); len(s.Recent) != recentScans || len(s.Log) != logEntries {
			t.Errorf("%d scans and %d log entries kept", len(s.Recent), len(s.Log))
		}
	})
}

func TestResumeIsWrittenAsInTheConfiguration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "operator", 5 * time.Minute: "5m", 10 * time.Second: "10s", time.Hour: "1h", 90 * time.Minute: "1h30m", 100 * time.Minute: "1h40m", 90 * time.Second: "1m30s",
	} {
		if got := (&device{spec: DeviceSpec{ResumeEvery: d}}).resume(); got != want {
			t.Errorf("resume of %v = %q, want %q", d, got, want)
		}
	}
}

// TestStatusAndResumeFromManyGoroutines is for the race detector.
func TestStatusAndResumeFromManyGoroutines(t *testing.T) {
	f := &fakeDriver{answer: refusing(2, 101)}
	spec := block(8)
	spec.Scan, spec.Heartbeat = time.Millisecond, &Heartbeat{Tag: "w100", Within: time.Microsecond}
	in := NewInbox()
	c := NewConnection(f, []DeviceSpec{spec}, Options{Deliver: in.Put, Memory: newFakeMemory()})
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer func() { cancel(); asking.Wait() }()
	asking.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for range 4 {
		asking.Go(func() {
			for range 50 {
				if got := c.Status(); len(got) != 1 {
					t.Errorf("%d devices", len(got))
				}
				_ = c.Maintain("filler", "ann", "", time.Microsecond)
				_ = c.Resume("filler", "ann", "")
				if _, err := c.Probe(ctx, "filler"); err != nil && ctx.Err() == nil && !errors.Is(err, edgeagent.ErrConflict) {
					t.Error(err)
				}
				_, _ = c.Ask(ctx, "filler", 1, Request{Area: edgeagent.AreaHolding, Quantity: 1})
			}
		})
	}
	for range 50 {
		if _, err := in.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTableOfTheMachineIsWhole(t *testing.T) {
	states := []edgeagent.DeviceState{edgeagent.DeviceConnecting, edgeagent.DevicePolling, edgeagent.DeviceRetrying, edgeagent.DeviceStopped, edgeagent.DeviceMaintenance}
	seen := map[[2]string]bool{}
	for _, r := range table {
		if !slices.Contains(states, r.from) || !slices.Contains(states, r.to) {
			t.Errorf("%+v leads from or to a state that the machine does not have", r)
		}
		if actions[r.do] == nil {
			t.Errorf("%+v names an action that nobody does", r)
		}
		if seen[[2]string{string(r.from), string(r.on)}] {
			t.Errorf("%+v is there twice", r)
		}
		seen[[2]string{string(r.from), string(r.on)}] = true
	}
	always := map[edgeagent.DeviceState][]event{
		edgeagent.DeviceConnecting:  {eventAnswered, eventFailed, eventExhausted, eventRefused, eventMaintain},
		edgeagent.DevicePolling:     {eventAnswered, eventSteady, eventFailed, eventExhausted, eventRefused, eventMaintain},
		edgeagent.DeviceRetrying:    {eventAnswered, eventFailed, eventExhausted, eventRefused, eventMaintain},
		edgeagent.DeviceStopped:     {eventAnswered, eventFailed, eventRefused, eventResumed, eventMaintain},
		edgeagent.DeviceMaintenance: {eventResumed, eventOver, eventOverBarred, eventMaintain},
	}
	for _, s := range states {
		for _, e := range always[s] {
			if !seen[[2]string{string(s), string(e)}] {
				t.Errorf("%s has no row for %q, which can happen in it", s, e)
			}
		}
	}
	for _, e := range []event{eventAnswered, eventFailed, eventExhausted, eventRefused} {
		if seen[[2]string{string(edgeagent.DeviceMaintenance), string(e)}] {
			t.Errorf("maintenance has a row for %q: nothing is sent, so that nothing can answer", e)
		}
	}
	if got := Machine(); len(got) != len(table) || got[0].From != "connecting" || got[0].Action == "" {
		t.Errorf("Machine() = %v", got)
	}
}
