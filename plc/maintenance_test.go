package plc

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// lines are the two kinds of connection, each with a device "filler", and how
// often it was spoken to.
func lines(t *testing.T, m Memory) map[string]func() (*rig, func() int) {
	t.Helper()
	return map[string]func() (*rig, func() int){
		"polled": func() (*rig, func() int) {
			f := &fakeDriver{}
			return run(t, f, m, filler()), func() int { return len(f.takeCalls()) }
		},
		"subscribed": func() (*rig, func() int) {
			f := &fakeServer{}
			r, before := listen(t, f, m, server()), 0
			return r, func() int {
				n := len(f.seconds(r.start))
				defer func() { before = n }()
				return n - before
			}
		},
	}
}

func TestNothingIsSentInMaintenanceAndItEndsByItself(t *testing.T) {
	for name := range lines(t, nil) {
		synctest.Test(t, func(t *testing.T) {
			r, spoken := lines(t, nil)[name]()
			r.until(10*time.Second + 500*time.Millisecond)
			if err := r.conn.Maintain("filler", "ann", "new pump", 4*time.Hour); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			spoken()
			for tag, s := range r.latest("filler") {
				if s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonMaintenance) || s.Reason.Params["by"] != "ann" {
					t.Errorf("%s: %s = %+v, want bad at once: maintenance by ann", name, tag, s)
				}
			}
			r.until(4 * time.Hour)
			if n := spoken(); n != 0 {
				t.Errorf("%s: spoken to %d times in maintenance", name, n)
			}
			if s := r.status("filler"); s.State != edgeagent.DeviceMaintenance || s.Until == nil || s.Link != edgeagent.LinkDown ||
				!s.Until.Equal(r.start.Add(4*time.Hour+10*time.Second+500*time.Millisecond)) {
				t.Errorf("%s: status = %+v, want maintenance until its end", name, s)
			}
			if _, err := r.conn.Probe(t.Context(), "filler"); !errors.Is(err, edgeagent.ErrConflict) {
				t.Errorf("%s: probe in maintenance = %v, want conflict", name, err)
			}
			r.until(4*time.Hour + 12*time.Second)
			if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Until != nil || s.Tags.Bad != 0 {
				t.Errorf("%s: status = %+v, want polling again", name, s)
			}
			want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventMaintenance, edgeagent.DeviceEventGap, edgeagent.DeviceEventResumed}
			if got := r.events("filler"); !slices.Equal(got, want) {
				t.Errorf("%s: events = %v, want %v", name, got, want)
			}
		})
	}
}

func TestMaintenanceHangsUpOnTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{}
		r := listen(t, f, nil, server())
		r.until(10 * time.Second)
		if err := r.conn.Maintain("filler", "ann", "", time.Hour); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if f.listening() {
			t.Error("the episode goes on in maintenance")
		}
		if s := r.status("filler"); s.State != edgeagent.DeviceMaintenance || s.Errors != 0 {
			t.Errorf("status = %+v, want maintenance, and no failure", s)
		}
	})
}

func TestMaintenanceIsEndedByAPersonWithAFreshWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{answer: dead}, nil, filler())
		r.until(15 * time.Second) // four failures
		if err := r.conn.Maintain("filler", "ann", "", time.Hour); err != nil {
			t.Fatal(err)
		}
		r.until(20 * time.Second)
		r.driver.takeCalls()
		if err := r.conn.Resume("filler", "ben", "pump is in"); err != nil {
			t.Fatal(err)
		}
		log := r.status("filler").Log
		if last := log[len(log)-1]; last.Event != "resumed" || last.Detail.Text != "resumed by ben: pump is in" {
			t.Errorf("log ends with %+v %v, want who resumed it and why", last, last.Detail)
		}
		r.until(30 * time.Minute)
		if got, want := r.seconds(1), []float64{20, 22, 26, 34, 50, 80}; !slices.Equal(got, want) {
			t.Errorf("asked at %v s, want %v", got, want)
		}
		want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventMaintenance, edgeagent.DeviceEventStopped}
		if got := r.events("filler"); !slices.Equal(got, want) {
			t.Errorf("events = %v, want %v: it never answered", got, want)
		}
	})
}

func TestMaintenanceGoesOnOverARestartAndNoLongerThanItWas(t *testing.T) {
	for name, tc := range map[string]struct {
		clock time.Duration // how far the clock was wrong at the restart
		left  time.Duration
	}{
		"right":    {0, 3 * time.Hour},
		"set back": {-365 * 24 * time.Hour, 4 * time.Hour},
		"advanced": {365 * 24 * time.Hour, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			memory := newFakeMemory()
			first := run(t, &fakeDriver{}, memory, filler())
			first.until(10 * time.Second)
			if err := first.conn.Maintain("filler", "ann", "new pump", 4*time.Hour); err != nil {
				t.Fatal(err)
			}
			first.until(time.Hour + 10*time.Second)
			first.stop()
			kept := memory.kept["filler"] // a clock that is wrong now is a memory that is wrong then
			kept.Since, kept.Until = kept.Since.Add(-tc.clock), kept.Until.Add(-tc.clock)
			memory.kept["filler"] = kept

			again := run(t, &fakeDriver{}, memory, filler())
			again.until(5 * time.Hour)
			asked := again.seconds(1)
			if len(asked) == 0 || asked[0] != tc.left.Seconds() {
				t.Fatalf("%s: first asked at %v s, want %v", name, asked[:min(1, len(asked))], tc.left.Seconds())
			}
			want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventMaintenance, edgeagent.DeviceEventResumed}
			if got := again.events("filler"); !slices.Equal(got, want) {
				t.Errorf("%s: events = %v, want %v", name, got, want)
			}
		})
	}
}

func TestRequestThatIsOnItsWayWhenMaintenanceBeginsIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Tags = append(spec.Tags, word("far", 5000), word("farther", 9000))
		r := run(t, &fakeDriver{took: 400 * time.Millisecond}, nil, spec)
		r.until(200 * time.Millisecond)
		if err := r.conn.Maintain("filler", "ann", "", time.Minute); err != nil {
			t.Fatal(err)
		}
		r.until(30 * time.Second)
		if got := r.seconds(1); !slices.Equal(got, []float64{0}) {
			t.Errorf("asked at %v s, want nothing after maintenance began", got)
		}
		for _, scan := range r.takeScans() {
			for _, s := range scan.Samples {
				if s.Quality != edgeagent.QualityBad {
					t.Errorf("%s is told as %v in maintenance", s.Tag, s.Quality)
				}
			}
		}
		if s := r.status("filler"); s.State != edgeagent.DeviceMaintenance || s.Requests != 1 {
			t.Errorf("status = %+v, want maintenance and one request sent", s)
		}
	})
}

func TestMaintenanceOfOneUnitLeavesItsNeighbourAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, filler(), filler().named("capper", 2))
		r.until(500 * time.Millisecond)
		if err := r.conn.Maintain("capper", "ann", "", time.Hour); err != nil {
			t.Fatal(err)
		}
		r.until(60*time.Second + 500*time.Millisecond)
		if n := len(r.seconds(1)); n != 61 || f.closed() != 0 {
			t.Errorf("the neighbour was read %d times, its connection closed %d times; want 61 and 0", n, f.closed())
		}
		if err := r.conn.Maintain("filler", "ann", "", time.Hour); err != nil {
			t.Fatal(err)
		}
		r.until(61 * time.Second)
		if f.closed() != 1 {
			t.Errorf("closed %d times, want once: nobody is read any more", f.closed())
		}
	})
}

func TestMaintenanceThatMakesNoSenseIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{}, nil, filler())
		for _, length := range []time.Duration{0, -time.Second, 30*24*time.Hour + 1} {
			if err := r.conn.Maintain("filler", "ann", "", length); err == nil {
				t.Errorf("maintenance for %v is accepted", length)
			}
		}
		if err := r.conn.Maintain("nobody", "ann", "", time.Hour); !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("maintenance of nobody = %v, want not found", err)
		}
		if err := r.conn.Maintain("filler", "ann", "", time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := r.conn.Maintain("filler", "ann", "", time.Minute); err != nil { // sooner done than thought
			t.Fatal(err)
		}
		r.until(2 * time.Minute)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling {
			t.Errorf("state = %v, want polling: the later word counts", s.State)
		}
	})
}

// TestChangedConnectionIsNotInMaintenance: a changed connection does not stay out of
// service for what was said of the old one.
func TestChangedConnectionIsNotInMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		first := run(t, &fakeDriver{}, memory, filler())
		first.until(time.Second)
		if err := first.conn.Maintain("filler", "ann", "", time.Hour); err != nil {
			t.Fatal(err)
		}
		first.until(2 * time.Second)
		first.stop()
		moved := filler()
		moved.Key = "k2"
		again := run(t, &fakeDriver{}, memory, moved)
		again.until(time.Second)
		if s := again.status("filler"); s.State != edgeagent.DevicePolling {
			t.Errorf("state = %v, want polling", s.State)
		}
		if got := again.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventResumed}) {
			t.Errorf("events = %v, want the resume that ends the mute", got)
		}
	})
}
