package plc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestScansKeepTheirGridWhateverTheyTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{took: 300 * time.Millisecond}, nil, filler())
		r.until(time.Hour)
		calls := r.driver.takeCalls()
		if len(calls) < 3599 {
			t.Fatalf("%d scans in an hour of seconds", len(calls))
		}
		first := calls[1].at
		for i, c := range calls[1:] {
			if drift := c.at.Sub(first) - time.Duration(i)*time.Second; drift != 0 {
				t.Fatalf("scan %d is %v off its slot", i, drift)
			}
		}
		if s := r.status("filler"); s.Overruns != 0 {
			t.Errorf("%d overruns, want none", s.Overruns)
		}
	})
}

func TestMissedSlotsAreCountedNotMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Timeout = time.Minute
		f := &fakeDriver{}
		r := run(t, f, nil, spec)
		r.until(10500 * time.Millisecond)
		f.mu.Lock()
		f.calls, f.took = nil, 3500*time.Millisecond
		f.mu.Unlock()
		r.until(12 * time.Second)
		f.mu.Lock()
		f.took = 0
		f.mu.Unlock()
		r.until(20500 * time.Millisecond)
		want := []float64{11, 15, 16, 17, 18, 19, 20}
		got := r.seconds(1)
		if len(got) != len(want) || got[1] != 15 {
			t.Errorf("asked at %v s, want %v", got, want)
		}
		if s := r.status("filler"); s.Overruns != 3 {
			t.Errorf("%d overruns, want the slots at 12, 13 and 14", s.Overruns)
		}
	})
}

func TestScanClassesHaveTheirOwnPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		fast, slow := word("fast", 101), word("slow", 102)
		fast.Scan, slow.Scan = 200*time.Millisecond, 5*time.Second
		spec.Tags = append(spec.Tags, fast, slow)
		r := run(t, &fakeDriver{}, nil, spec)
		r.until(10*time.Second + 100*time.Millisecond)
		count := map[uint16]int{}
		for _, c := range r.driver.takeCalls() {
			count[c.r.Offset]++
		}
		if count[101] != 51 || count[100] != 11 || count[102] != 3 {
			t.Errorf("read 101 %d times, 100 %d times, 102 %d times; want 51, 11 and 3", count[101], count[100], count[102])
		}
	})
}

// TestSlotThatComesDuringAnotherClassIsNotLost: the slow class takes so long
// that the fast one's slot comes meanwhile.
func TestSlotThatComesDuringAnotherClassIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		slow := word("slow", 5000)
		slow.Scan = 1900 * time.Millisecond
		spec.Tags = append(spec.Tags, slow)
		r := run(t, &fakeDriver{took: 150 * time.Millisecond}, nil, spec)
		r.until(time.Minute)
		var fast int
		for _, c := range r.driver.takeCalls() {
			if c.r.Offset == 100 {
				fast++
			}
		}
		if fast < 59 {
			t.Errorf("the one-second class was read %d times in a minute", fast)
		}
	})
}

func TestRunEndsInTheMiddleOfARequestAndTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{took: 900 * time.Millisecond}, newFakeMemory(), filler())
		r.until(500 * time.Millisecond)
		r.stop()
		if took := time.Since(r.start); took != 500*time.Millisecond {
			t.Errorf("Run ended after %v, want at once", took)
		}
		if scans := r.takeScans(); len(scans) != 0 {
			t.Errorf("delivered %+v: the end of the agent is no failure of the device", scans)
		}
		if r.driver.closed() == 0 {
			t.Error("the connection was left open")
		}
	})
}

func TestDisabledDeviceIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Enabled = false
		r := run(t, &fakeDriver{}, newFakeMemory(), spec, filler().named("capper", 2))
		r.until(time.Minute)
		if got := r.seconds(1); len(got) > 0 {
			t.Errorf("asked at %v", got)
		}
		if s := r.status("filler"); s.State != edgeagent.DeviceDisabled {
			t.Errorf("state = %v, want disabled", s.State)
		}
	})
}

func TestDeviceThatIsAskedForNothingDoesNotCountAsAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none, some := filler(), filler().named("capper", 2)
		none.NeverRead = []AddressRange{{Area: edgeagent.AreaHolding, From: 100, To: 100}}
		latch := word("latch", 210)
		latch.Scan = 100 * time.Millisecond
		some.Tags, some.Scan = append(some.Tags, latch), time.Minute
		some.NeverRead = []AddressRange{{Area: edgeagent.AreaHolding, From: 200, To: 219}}
		r := run(t, &fakeDriver{}, nil, none, some)
		r.until(30 * time.Second)
		if s := r.status("filler"); s.State != edgeagent.DeviceDisabled || s.Link != edgeagent.LinkDown || s.LastOKAt != nil {
			t.Errorf("status without a tag that may be read = %+v, want disabled and never answered", s)
		}
		if s := r.status("capper"); s.LastOKAt == nil || !s.LastOKAt.Equal(r.start) {
			t.Errorf("last answer at %v, want that of the only request", s.LastOKAt)
		}
	})
}

func TestProbeReadsOnceAndLeavesStoppedDevicesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		c := NewConnection(f, []DeviceSpec{filler()}, Options{})
		s, err := c.Probe(t.Context(), "filler")
		if err != nil || len(s.Samples) != 1 || s.Samples[0].Quality != edgeagent.QualityGood || len(f.takeCalls()) != 1 {
			t.Errorf("probe without Run = %+v, %v", s, err)
		}
		if _, err := c.Probe(t.Context(), "nobody"); !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("probe of nobody = %v, want not found", err)
		}
		f.set(dead)
		if _, err := c.Probe(t.Context(), "filler"); !errors.Is(err, ErrSilent) {
			t.Errorf("probe of a dead device = %v, want its error", err)
		}
		r := run(t, f, nil, filler())
		r.until(time.Hour)
		f.takeCalls()
		if _, err := r.conn.Probe(t.Context(), "filler"); !errors.Is(err, edgeagent.ErrConflict) || len(f.takeCalls()) > 0 {
			t.Errorf("probe of a stopped device = %v, want conflict and no packet", err)
		}
	})
}

func TestProbeWaitsForItsTurnAndForItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.Timeout = time.Hour
		r := run(t, &fakeDriver{took: 30 * time.Second}, nil, spec)
		r.until(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.conn.Probe(ctx, "filler"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("probe = %v, want its own deadline", err)
		}
		if n := len(r.driver.takeCalls()); n != 1 {
			t.Errorf("%d requests at a time on one connection", n)
		}
	})
}
