package plc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestDeadDeviceIsAskedAfter2_4_8_16_30SecondsThenStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{answer: dead}, nil, filler())
		r.until(time.Hour)
		if got, want := r.seconds(1), []float64{0, 2, 6, 14, 30, 60}; !slices.Equal(got, want) {
			t.Errorf("asked at %v s, want %v", got, want)
		}
		s := r.status("filler")
		if s.State != edgeagent.DeviceStopped || s.Attempt != 6 || s.NextTryAt != nil || s.Link != edgeagent.LinkSilent || s.Resume != "operator" {
			t.Errorf("status = %+v, want stopped for the operator, silent, 6 attempts", s)
		}
		if got := r.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventStopped}) {
			t.Errorf("events = %v, want one stop", got)
		}
		level := r.latest("filler")["level"]
		if level.Quality != edgeagent.QualityBad || !level.Reason.Is(edgeagent.ReasonDeviceStopped) {
			t.Errorf("level = %+v, want bad: device stopped", level)
		}
		if r.driver.closed() == 0 {
			t.Error("the connection of a stopped device was left open: its keep-alives are packets, too")
		}
	})
}

func TestWaitsBeginWhenTheAttemptHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{answer: dead, took: time.Second}, nil, filler())
		r.until(time.Hour)
		if got, want := r.seconds(1), []float64{0, 3, 8, 17, 34, 65}; !slices.Equal(got, want) {
			t.Errorf("asked at %v s, want %v", got, want)
		}
	})
}

func TestFirstFailureMakesTagsUncertainWithTheirLastValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{}, nil, filler())
		r.until(2500 * time.Millisecond)
		r.driver.set(dead)
		r.until(4 * time.Second)
		level := r.latest("filler")["level"]
		if level.Quality != edgeagent.QualityUncertain || !level.Reason.Is(edgeagent.ReasonNoAnswer) {
			t.Fatalf("level = %+v, want uncertain: no answer", level)
		}
		if want := edgeagent.Uint(uint64(oracle(edgeagent.AreaHolding, 100))); !level.Value.Equal(want) {
			t.Errorf("value = %v, want the last known %v", level.Value, want)
		}
		if age := level.At.Sub(r.start); age != 2*time.Second {
			t.Errorf("value is of %v, want of the last answer at 2s: it must not look fresh", age)
		}
		if s := r.status("filler"); s.State != edgeagent.DeviceRetrying || s.Attempt != 1 || s.Tags.Uncertain != 1 {
			t.Errorf("status = %+v, want retrying(1) with one uncertain tag", s)
		}
	})
}

func TestFlappingDeviceReachesTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, filler())
		f.set(flapping(r.start, 50*time.Second))
		r.until(time.Hour)
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped {
			t.Errorf("state = %v, want stopped: it never was good for 60 s", s.State)
		}
	})
}

func TestDeviceThatIsGoodFor60sStartsAWholeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		r := run(t, f, nil, filler())
		f.set(flapping(r.start, 70*time.Second))
		r.until(time.Hour)
		if s := r.status("filler"); s.State == edgeagent.DeviceStopped || s.Attempt > 1 {
			t.Errorf("state = %v(%d), want never beyond the first attempt", s.State, s.Attempt)
		}
	})
}

// flapping fails for half a second once a period.
func flapping(start time.Time, period time.Duration) func(uint8, Request) error {
	return func(uint8, Request) error {
		if time.Since(start)%period >= period-time.Second {
			return errDead
		}
		return nil
	}
}

func TestStoppedDeviceIsProbedOnceAPeriodAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.ResumeEvery = 5 * time.Minute
		r := run(t, &fakeDriver{answer: dead}, nil, spec)
		r.until(60 * time.Second)
		r.driver.takeCalls()
		r.until(21 * time.Minute)
		if got, want := r.seconds(1), []float64{360, 660, 960, 1260}; !slices.Equal(got, want) {
			t.Errorf("probed at %v s, want %v", got, want)
		}
		r.driver.set(nil)
		r.until(26*time.Minute + 5*time.Second)
		want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventStopped, edgeagent.DeviceEventResumed}
		if got := r.events("filler"); !slices.Equal(got, want) {
			t.Errorf("events = %v, want %v", got, want)
		}
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Link != edgeagent.LinkUp || s.Tags.Good != 1 {
			t.Errorf("status = %+v, want polling, up, one good tag", s)
		}
	})
}

func TestPersonResumesAStoppedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{answer: dead}, nil, filler())
		r.until(30 * time.Second)
		if err := r.conn.Resume("filler", "ann", ""); !errors.Is(err, edgeagent.ErrConflict) {
			t.Errorf("Resume while retrying = %v, want conflict", err)
		}
		if err := r.conn.Resume("capper", "ann", ""); !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("Resume of another's device = %v, want not found", err)
		}
		r.until(time.Hour)
		r.driver.set(nil)
		if err := r.conn.Resume("filler", "ann", "valve changed"); err != nil {
			t.Fatal(err)
		}
		r.until(time.Hour + time.Second)
		scans := r.takeScans()
		last := slices.IndexFunc(scans, func(s edgeagent.Scan) bool {
			return len(s.Events) > 0 && s.Events[0].Kind == edgeagent.DeviceEventResumed
		})
		if last < 0 || scans[last].Events[0].By != "ann" || len(scans[last].Samples) != 1 {
			t.Errorf("scans = %+v, want a resume by ann together with the first values", scans)
		}
	})
}

func TestResumedDeviceThatIsStillDeadGetsAWholeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{answer: dead}, nil, filler())
		r.until(100 * time.Second)
		r.driver.takeCalls()
		if err := r.conn.Resume("filler", "ann", ""); err != nil {
			t.Fatal(err)
		}
		r.until(time.Hour)
		if got, want := r.seconds(1), []float64{100, 102, 106, 114, 130, 160}; !slices.Equal(got, want) {
			t.Errorf("asked at %v s, want %v", got, want)
		}
	})
}

func TestUnreachableEndpointIsDialledOnceASlotForAllItsUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := filler().named("packer", 3)
		slow.Scan = 45 * time.Second
		r := run(t, &fakeDriver{}, nil, filler(), filler().named("capper", 2), slow)
		r.until(10500 * time.Millisecond)
		r.driver.takeCalls()
		r.driver.set(unreachable)
		r.until(time.Hour)
		var got []float64
		for _, c := range r.driver.takeCalls() {
			got = append(got, c.at.Sub(r.start).Seconds())
		}
		if want := []float64{11, 13, 17, 25, 41, 71}; !slices.Equal(got, want) {
			t.Errorf("dialled at %v s, want %v", got, want)
		}
		for _, s := range r.conn.Status() {
			if s.State != edgeagent.DeviceStopped || s.Link != edgeagent.LinkDown {
				t.Errorf("%s is %s and %s, want stopped and down", s.Name, s.State, s.Link)
			}
		}
	})
}

func TestDeadUnitCostsOthersOneTimeoutPerItsRetrySlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDriver{}
		f.set(func(unit uint8, _ Request) error {
			if unit != 2 {
				return nil
			}
			<-time.After(time.Second)
			return errDead
		})
		r := run(t, f, nil, filler(), filler().named("capper", 2))
		r.until(10*time.Minute + 500*time.Millisecond)
		if s := r.status("capper"); s.State != edgeagent.DeviceStopped {
			t.Errorf("dead unit is %v, want stopped", s.State)
		}
		healthy := r.status("filler")
		if healthy.State != edgeagent.DevicePolling || healthy.Errors != 0 || healthy.Attempt != 0 {
			t.Errorf("healthy unit = %+v, want untouched", healthy)
		}
		// 601 slots in ten minutes, and six timeouts of one second that may each cost one.
		if n := len(r.seconds(1)); n < 601-6 {
			t.Errorf("healthy unit was read %d times in 601 slots, want at most 6 missed", n)
		}
	})
}

// TestPowerCutOfEverythingHealsByItself: gateway, PLC and switch go down
// together; first nobody is there, then the gateway without its units, then all.
func TestPowerCutOfEverythingHealsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.ResumeEvery = 5 * time.Minute
		r := run(t, &fakeDriver{}, newFakeMemory(), spec, spec.named("capper", 2))
		r.until(10 * time.Second)
		r.driver.set(unreachable)
		r.until(64 * time.Hour) // a weekend
		r.driver.set(refusing(11, 100))
		r.until(64*time.Hour + 6*time.Minute)
		r.driver.set(nil)
		r.driver.takeCalls()
		r.until(64*time.Hour + 12*time.Minute)
		for _, device := range []string{"filler", "capper"} {
			if s := r.status(device); s.State != edgeagent.DevicePolling || s.Link != edgeagent.LinkUp {
				t.Errorf("%s is %s and %s, want polling and up", device, s.State, s.Link)
			}
			want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventStopped, edgeagent.DeviceEventGap, edgeagent.DeviceEventResumed}
			if got := r.events(device); !slices.Equal(got, want) {
				t.Errorf("%s: events = %v, want one stop, one gap and one resume over the weekend", device, got)
			}
		}
	})
}

func TestGatewayExceptionIsTheUnitsFailure(t *testing.T) {
	for _, code := range []byte{10, 11} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t, &fakeDriver{answer: refusing(code, 100)}, nil, filler())
			r.until(time.Hour)
			if got, want := r.seconds(1), []float64{0, 2, 6, 14, 30, 60}; !slices.Equal(got, want) {
				t.Errorf("exception %d: asked at %v s, want %v", code, got, want)
			}
			if s := r.status("filler"); s.State != edgeagent.DeviceStopped || s.Link != edgeagent.LinkDown {
				t.Errorf("exception %d: status = %+v, want stopped and down", code, s)
			}
		})
	}
}

func TestUnitsBehindARefusedCertificateStopAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := filler()
		spec.ResumeEvery = 5 * time.Minute
		f := &fakeDriver{answer: func(uint8, Request) error { return fmt.Errorf("certificate is not pinned: %w", ErrRefused) }}
		r := run(t, f, nil, spec, spec.named("capper", 2))
		r.until(24 * time.Hour)
		if calls := f.takeCalls(); len(calls) != 1 {
			t.Errorf("asked %d times, want once for all", len(calls))
		}
		for _, s := range r.conn.Status() {
			if s.State != edgeagent.DeviceStopped || s.Resume != "operator" || s.Attempt != 1 {
				t.Errorf("%s = %+v, want stopped at once, for a person", s.Name, s)
			}
		}
	})
}

// lying answers with one byte too few or too many.
type lying struct {
	fakeDriver
	by int
}

func (l *lying) Read(ctx context.Context, unit uint8, r Request) ([]byte, error) {
	payload, err := l.fakeDriver.Read(ctx, unit, r)
	if l.by < 0 {
		return payload[:len(payload)+l.by], err
	}
	return append(payload, make([]byte, l.by)...), err
}

func TestAnswerOfAnotherLengthIsNoAnswer(t *testing.T) {
	for _, by := range []int{-2, -1, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			c := NewConnection(&lying{by: by}, []DeviceSpec{block(10)}, Options{})
			s, err := c.Probe(t.Context(), "filler")
			if !errors.Is(err, ErrSilent) || len(s.Samples) != 0 {
				t.Errorf("%+d bytes: %v and %d samples, want no valid answer", by, err, len(s.Samples))
			}
		})
	}
}
