package plc

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestRestartNeitherResumesNorForgetsAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		first := run(t, &fakeDriver{answer: dead}, memory, filler())
		first.until(2 * time.Minute)
		first.stop()

		again := run(t, &fakeDriver{}, memory, filler())
		again.until(time.Hour)
		if got := again.driver.takeCalls(); len(got) > 0 {
			t.Errorf("%d requests after the restart, want none before a person resumes", len(got))
		}
		if level := again.latest("filler")["level"]; !level.Reason.Is(edgeagent.ReasonDeviceStopped) {
			t.Errorf("level = %+v, want bad: device stopped, said at once", level)
		}
		if s := again.status("filler"); s.State != edgeagent.DeviceStopped || s.Attempt != 6 {
			t.Errorf("status = %+v, want stopped after 6 attempts", s)
		}
		if err := again.conn.Resume("filler", "ann", ""); err != nil {
			t.Fatal(err)
		}
		again.until(time.Hour + time.Second)
		want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventStopped, edgeagent.DeviceEventResumed}
		if got := again.events("filler"); !slices.Equal(got, want) {
			t.Errorf("events = %v, want the stop told again, for the alarm may not have been stored, and the resume", got)
		}
	})
}

func TestRestartGoesOnInTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		first := run(t, &fakeDriver{answer: dead}, memory, filler())
		first.until(20 * time.Second) // four attempts: 0, 2, 6, 14; the next is due at 30
		first.stop()

		again := run(t, &fakeDriver{answer: dead}, memory, filler())
		again.until(time.Hour)
		if got, want := again.seconds(1), []float64{10, 40}; !slices.Equal(got, want) {
			t.Errorf("asked %v s after the restart, want %v", got, want)
		}
	})
}

func TestRestartKeepsTheGridOfProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, memory := filler(), newFakeMemory()
		spec.ResumeEvery = 5 * time.Minute
		first := run(t, &fakeDriver{answer: dead}, memory, spec)
		first.until(7 * time.Minute) // stopped at 1:00, probed at 6:00, due at 11:00
		first.stop()
		again := run(t, &fakeDriver{answer: dead}, memory, spec)
		again.until(10 * time.Minute)
		if got, want := again.seconds(1), []float64{240, 540}; !slices.Equal(got, want) {
			t.Errorf("probed %v s after the restart, want %v", got, want)
		}
	})
}

func TestChangedConnectionStartsAnewAndClearsTheOldAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		first := run(t, &fakeDriver{answer: dead}, memory, filler())
		first.until(2 * time.Minute)
		first.stop()

		moved := filler()
		moved.Key = "k2"
		again := run(t, &fakeDriver{}, memory, moved)
		again.until(time.Second)
		if s := again.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 {
			t.Errorf("status = %+v, want polling with no failures", s)
		}
		if got := again.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventResumed}) {
			t.Errorf("events = %v, want the resume that ends the old alarm", got)
		}
	})
}

// TestConnectionThatIsChangedBackStartsAnewAsWell: a trial with another address
// must not bring back what was long over.
func TestConnectionThatIsChangedBackStartsAnewAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		memory.kept["filler"] = edgeagent.DeviceMemory{Device: "filler", Key: "k1", State: edgeagent.DeviceRetrying, Attempt: 5, Since: time.Now()}
		for _, key := range []string{"k2", "k1"} {
			spec := filler()
			spec.Key = key
			r := run(t, &fakeDriver{}, memory, spec)
			r.until(time.Second)
			if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Attempt != 0 {
				t.Errorf("with %s: %+v, want polling, no attempt counted", key, s)
			}
			r.stop()
		}
	})
}

// TestHeartbeatThatIsTakenAwayEndsItsStandstillForGood: configured again later, it
// must not tell of one that was long over.
func TestHeartbeatThatIsTakenAwayEndsItsStandstillForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		memory.kept["filler"] = edgeagent.DeviceMemory{
			Device: "filler", Key: "k1", State: edgeagent.DevicePolling, Since: time.Now(),
			Reason: edgeagent.NewNote(edgeagent.ReasonFrozen, "stood still"),
		}
		spec := filler()
		for _, want := range [][]edgeagent.DeviceEventKind{{edgeagent.DeviceEventThawed}, nil} {
			r := run(t, &fakeDriver{}, memory, spec)
			r.until(10 * time.Second)
			if s, got := r.status("filler"), r.events("filler"); s.Link != edgeagent.LinkUp || !slices.Equal(got, want) {
				t.Errorf("link %s, events = %v; want it up, and %v", s.Link, got, want)
			}
			r.stop()
			spec.Heartbeat = &Heartbeat{Tag: "level", Within: time.Minute}
		}
	})
}

func TestHealthyScanningSavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		r := run(t, &fakeDriver{}, memory, filler())
		r.until(time.Hour)
		r.stop()
		if got := memory.saved(); len(got) != 0 {
			t.Errorf("%d saves in a healthy hour, want none: %+v", len(got), got)
		}
	})
}

func TestHealthyListeningSavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		r := listen(t, &fakeServer{}, memory, server())
		r.until(50 * time.Minute)
		r.stop()
		if got := memory.saved(); len(got) != 0 {
			t.Errorf("%d saves in a healthy hour, want none: %+v", len(got), got)
		}
	})
}

func TestFreezeAndThawAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		spec, f, running := beating()
		running.Store(false)
		r := &rig{t: t, driver: f, start: time.Now()}
		r.conn = NewConnection(f, []DeviceSpec{spec}, Options{Log: slog.New(slog.NewTextHandler(&said, nil))})
		r.begin()
		r.until(time.Minute)
		running.Store(true)
		r.until(2 * time.Minute)
		r.stop()
		log := said.String()
		if strings.Count(log, "its heartbeat stands still") != 1 || strings.Count(log, "not frozen any more") != 1 {
			t.Errorf("log = %s, want one freeze and one thaw", log)
		}
	})
}

func TestStalledDiskDoesNotDelayScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		memory.stall = time.Minute
		f := &fakeDriver{}
		f.set(func(unit uint8, _ Request) error {
			if unit == 2 {
				return errDead
			}
			return nil
		})
		r := run(t, f, memory, filler(), filler().named("capper", 2))
		r.until(10*time.Second + 500*time.Millisecond)
		if got := r.seconds(1); len(got) != 11 {
			t.Errorf("read %d times in 11 slots: %v", len(got), got)
		}
		if s := r.status("filler"); s.Overruns != 0 {
			t.Errorf("%d overruns, want none", s.Overruns)
		}
	})
}

func TestFailedSaveIsTriedAgainWithTheLatestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		memory.fail = 3
		r := run(t, &fakeDriver{answer: dead}, memory, filler())
		r.until(2 * time.Minute)
		kept, ok := memory.LoadDevice("filler")
		if !ok || kept.State != edgeagent.DeviceStopped || kept.Attempt != 6 || kept.Key != "k1" || kept.Reason == nil {
			t.Errorf("kept %+v, want the stop", kept)
		}
	})
}

func TestDiskThatIsFullForDaysIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		memory := newFakeMemory()
		memory.fail = 1000
		s := newSaver(memory, slog.New(slog.NewTextHandler(&said, nil)))
		ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
		defer cancel()
		s.put(edgeagent.DeviceMemory{Device: "filler"})
		s.run(ctx)
		if n := strings.Count(said.String(), "not saved"); n != 1 || !strings.Contains(said.String(), "saved again") {
			t.Errorf("said %d times that it failed, want once, and that it is over:\n%s", n, said.String())
		}
	})
}

func TestStateOfTheLastMomentIsSavedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		memory.fail = 1
		r := run(t, &fakeDriver{answer: dead}, memory, filler())
		r.until(time.Second)
		r.stop()
		if kept, _ := memory.LoadDevice("filler"); kept.Attempt != 1 {
			t.Errorf("kept %+v, want the first failure", kept)
		}
	})
}

func TestRestartAfterAResumeThatWasNotAnsweredStillEndsTheAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		first := run(t, &fakeDriver{answer: dead, took: 500 * time.Millisecond}, memory, filler())
		first.until(2 * time.Minute)
		if err := first.conn.Resume("filler", "ann", ""); err != nil {
			t.Fatal(err)
		}
		first.until(2*time.Minute + 100*time.Millisecond) // in the middle of the first attempt
		first.stop()
		if kept, _ := memory.LoadDevice("filler"); kept.State == edgeagent.DeviceStopped {
			t.Fatalf("kept %+v: the restart would undo what ann did", kept)
		}
		again := run(t, &fakeDriver{}, memory, filler())
		again.until(time.Second)
		if got := again.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventResumed}) {
			t.Errorf("events = %v, want the resume", got)
		}
	})
}

func TestMemoryOfAClockThatWasSetBackIsNotWaitedFor(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		since time.Time
		want  time.Duration
	}{
		"half gone":       {now.Add(-15 * time.Second), 15 * time.Second},
		"long gone":       {now.Add(-time.Hour), 0},
		"from the future": {now.Add(40 * 24 * time.Hour), 30 * time.Second},
	} {
		if got := restOf(tc.since, 30*time.Second, now); got != tc.want {
			t.Errorf("%s: %v left, want %v", name, got, tc.want)
		}
	}
	if got := resumeGrid(now.Add(time.Hour), 5*time.Minute, now).Sub(now); got != 5*time.Minute {
		t.Errorf("probe after %v, want a whole period", got)
	}
}

// Whoever asks without a connection is told what the memory tells, of the device
// that it was made with; and that only a person resumes one whose credentials
// were refused.
func TestLeftTellsWhatIsRemembered(t *testing.T) {
	now := time.Now()
	spec := filler()
	spec.Key, spec.ResumeEvery = "k", 5*time.Minute
	stopped := edgeagent.DeviceMemory{Device: "filler", Key: "k", State: edgeagent.DeviceStopped, Attempt: 6, Since: now.Add(-time.Hour), Reason: stopReason(6, ErrSilent)}
	barred, moved := stopped, stopped
	barred.Reason, moved.Key = stopReason(1, ErrRefused), "another"
	for name, tt := range map[string]struct {
		m      edgeagent.DeviceMemory
		state  edgeagent.DeviceState
		resume string
	}{
		"stopped": {stopped, edgeagent.DeviceStopped, "5m"},
		"refused": {barred, edgeagent.DeviceStopped, "operator"},
		"moved":   {moved, edgeagent.DeviceConnecting, "5m"},
		"nothing": {edgeagent.DeviceMemory{}, edgeagent.DeviceConnecting, "5m"},
	} {
		s := Left(spec, tt.m, now)
		if s.State != tt.state || s.Resume != tt.resume || s.Name != "filler" {
			t.Errorf("%s: %+v", name, s)
		}
		if known := tt.state == edgeagent.DeviceStopped; known != (s.Since != nil && s.Attempt > 0 && s.Error != "") {
			t.Errorf("%s: since %v after %d attempts: %q", name, s.Since, s.Attempt, s.Error)
		}
	}
}
