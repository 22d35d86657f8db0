package plc

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// beating is a device whose register 100 counts while running is true.
func beating() (spec DeviceSpec, f *fakeDriver, running *atomic.Bool) {
	var count atomic.Uint32
	running = new(atomic.Bool)
	running.Store(true)
	f = &fakeDriver{value: func(area edgeagent.Area, address int) uint16 {
		if address != 100 {
			return oracle(area, address)
		}
		if running.Load() {
			return uint16(count.Add(1))
		}
		return uint16(count.Load())
	}}
	spec = filler()
	spec.Tags = []TagSpec{word("beat", 100), word("level", 5000), word("slow", 9000)}
	spec.Tags[2].Scan = time.Minute
	spec.Heartbeat = &Heartbeat{Tag: "beat", Within: 10 * time.Second}
	return spec, f, running
}

func wantFrozen(t *testing.T, r *rig, when string, tags ...string) {
	t.Helper()
	latest := r.latest("filler")
	for _, tag := range tags {
		if s := latest[tag]; s.Quality != edgeagent.QualityUncertain || !s.Reason.Is(edgeagent.ReasonFrozen) || s.Value.IsNone() {
			t.Errorf("%s: %s = %+v %v, want its last value, frozen", when, tag, s, s.Reason)
		}
	}
	if s := r.status("filler"); s.Link != edgeagent.LinkFrozen || s.State != edgeagent.DevicePolling || s.Tags.Uncertain != len(tags) {
		t.Errorf("%s: status = %+v, want polling, frozen, %d uncertain tags", when, s, len(tags))
	}
}

func TestControllerThatStandsStillIsFrozenUntilItBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f, running := beating()
		r := run(t, f, nil, spec)
		r.until(20*time.Second + 500*time.Millisecond)
		running.Store(false)
		r.until(29*time.Second + 500*time.Millisecond)
		if s := r.status("filler"); s.Link != edgeagent.LinkUp || s.Tags.Good != 3 {
			t.Errorf("status = %+v, want up: the last beat was 9 s ago", s)
		}
		r.until(31 * time.Second)
		wantFrozen(t, r, "when it froze", "beat", "level", "slow")
		r.until(5 * time.Minute)
		wantFrozen(t, r, "minutes later", "beat", "level", "slow")
		running.Store(true)
		r.until(6*time.Minute + 500*time.Millisecond)
		if s := r.status("filler"); s.Link != edgeagent.LinkUp || s.Tags.Good != 3 {
			t.Errorf("status = %+v, want up and good once it beats", s)
		}
		want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventFrozen, edgeagent.DeviceEventThawed}
		if got := r.events("filler"); !slices.Equal(got, want) {
			t.Errorf("events = %v, want one frozen and one thawed", got)
		}
	})
}

func TestDeviceThatDoesNotAnswerIsNotFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f, _ := beating()
		r := run(t, f, nil, spec)
		r.until(5500 * time.Millisecond)
		f.set(dead)
		r.until(25 * time.Second)
		f.set(refusing(6, 100)) // back, but too busy to tell
		r.until(3 * time.Minute)
		f.set(nil)
		r.until(4 * time.Minute)
		if got := r.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventGap}) {
			t.Errorf("events = %v, want the gap alone", got)
		}
		if s := r.status("filler"); s.Link != edgeagent.LinkUp || s.Tags.Good != 3 {
			t.Errorf("status = %+v, want up and good", s)
		}
	})
}

// TestDeviceThatComesBackHasItsTime: the same value as before an outage is no
// standstill yet.
func TestDeviceThatComesBackHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f, running := beating()
		r := run(t, f, nil, spec)
		r.until(5500 * time.Millisecond)
		f.set(dead)
		running.Store(false)
		r.until(25 * time.Second) // the tries are at 6, 8, 12, 20 and 36
		f.set(nil)
		r.until(45500 * time.Millisecond)
		if s := r.status("filler"); s.Link != edgeagent.LinkUp {
			t.Errorf("link = %v 9 s after it came back, want up", s.Link)
		}
		r.until(47 * time.Second)
		wantFrozen(t, r, "10 s after it came back", "beat", "level", "slow")
	})
}

func TestHeartbeatWithoutAValueProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f, _ := beating()
		f.set(refusing(2, 100))
		r := run(t, f, nil, spec)
		r.until(30 * time.Second)
		if s := r.status("filler"); s.Link != edgeagent.LinkFrozen || s.Tags.Good != 0 {
			t.Errorf("status = %+v, want frozen: nothing shows that the program runs", s)
		}
		if level := r.latest("filler")["level"]; level.Quality != edgeagent.QualityUncertain || !level.Reason.Is(edgeagent.ReasonFrozen) {
			t.Errorf("level = %+v, want uncertain", level)
		}
	})
}

func TestFrozenDeviceThatStopsIsStoppedNotFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f, running := beating()
		r := run(t, f, nil, spec)
		running.Store(false)
		r.until(20 * time.Second)
		f.set(dead)
		r.until(22 * time.Second)
		if s := r.status("filler"); s.Link != edgeagent.LinkSilent {
			t.Errorf("link = %v, want silent", s.Link)
		}
		f.set(nil)
		r.until(25 * time.Second)
		wantFrozen(t, r, "back without a beat", "beat", "level", "slow")
		f.set(dead)
		r.until(5 * time.Minute)
		want := []edgeagent.DeviceEventKind{
			edgeagent.DeviceEventFrozen, edgeagent.DeviceEventGap, edgeagent.DeviceEventThawed, edgeagent.DeviceEventStopped,
		}
		if got := r.events("filler"); !slices.Equal(got, want) {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

func TestRestartDoesNotMakeAFrozenDeviceLookFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		spec, f, running := beating()
		first := run(t, f, memory, spec)
		first.until(2 * time.Second)
		running.Store(false)
		first.until(20 * time.Second)
		first.stop()
		if n := len(memory.saved()); n != 1 {
			t.Errorf("saved %d times, want once for the freeze", n)
		}
		again := run(t, f, memory, spec)
		again.until(30 * time.Second)
		wantFrozen(t, again, "after the restart", "beat", "level", "slow")
		told := []edgeagent.DeviceEventKind{edgeagent.DeviceEventFrozen}
		if got := again.events("filler"); !slices.Equal(got, told) {
			t.Errorf("events = %v, want it told again: a power cut may have come before the alarm was stored", got)
		}
		running.Store(true)
		again.until(32 * time.Second)
		if got := again.events("filler"); !slices.Equal(got, append(told, edgeagent.DeviceEventThawed)) {
			t.Errorf("events = %v, want the thaw that ends the alarm", got)
		}
		again.stop()
		spec.Heartbeat = nil
		third := run(t, f, memory, spec)
		third.until(time.Second)
		if s := third.status("filler"); s.Link != edgeagent.LinkUp {
			t.Errorf("link = %v, want up", s.Link)
		}
	})
}

func TestHeartbeatTakenOutOfTheConfigurationEndsTheStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := newFakeMemory()
		spec, f, running := beating()
		running.Store(false)
		first := run(t, f, memory, spec)
		first.until(20 * time.Second)
		first.stop()
		spec.Heartbeat = nil
		again := run(t, f, memory, spec)
		again.until(time.Second)
		if got := again.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventThawed}) {
			t.Errorf("events = %v, want the thaw that ends the alarm", got)
		}
		if s := again.status("filler"); s.Tags.Good != 3 {
			t.Errorf("%+v, want three good tags", s.Tags)
		}
	})
}

// TestServerThatTellsNothingIsFrozenOnTime: keep-alives come, changes do not.
func TestServerThatTellsNothingIsFrozenOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		f := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error {
			tell(Heard{Up: true, Samples: []edgeagent.Sample{told("level", 1), told("count", 0)}})
			for i := uint64(1); ctx.Err() == nil; i++ {
				<-time.After(time.Second)
				since := time.Since(begin)
				if since < 20*time.Second || since > 100*time.Second {
					tell(Heard{Samples: []edgeagent.Sample{told("count", i)}})
					continue
				}
				tell(Heard{Samples: []edgeagent.Sample{told("count", 19)}, Confirmed: []string{"level", "count"}})
			}
			return ctx.Err()
		}}
		spec := server()
		spec.Heartbeat = &Heartbeat{Tag: "count", Within: 10 * time.Second}
		r := listen(t, f, nil, spec)
		r.until(29*time.Second - 1)
		if s := r.status("filler"); s.Link != edgeagent.LinkUp {
			t.Errorf("link = %v before its time", s.Link)
		}
		r.until(29 * time.Second)
		wantFrozen(t, r, "to the second", "level", "count")
		r.takeScans()
		r.until(90 * time.Second)
		for _, s := range r.takeScans() {
			if len(s.Confirmed) > 0 {
				t.Fatalf("%+v confirms what stands still", s)
			}
			for _, sample := range s.Samples {
				if sample.Quality == edgeagent.QualityGood {
					t.Fatalf("%+v is told as good", sample)
				}
			}
		}
		r.until(102 * time.Second)
		got := r.latest("filler")
		if got["level"].Quality != edgeagent.QualityGood || got["count"].Quality != edgeagent.QualityGood {
			t.Errorf("after the thaw %+v, want both good: what did not change is not told again", got)
		}
		if s := r.status("filler"); s.Link != edgeagent.LinkUp || s.Tags.Good != 2 {
			t.Errorf("status = %+v, want up and good", s)
		}
	})
}

func TestThawTellsNothingThatAnEarlierEpisodeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error { return during(ctx, tell, 5*time.Second) }}
		spec := server()
		spec.Heartbeat = &Heartbeat{Tag: "count", Within: 10 * time.Second}
		r := listen(t, f, nil, spec)
		r.until(6 * time.Second)
		f.set(func(ctx context.Context, tell func(Heard)) error { // level is not told any more
			tell(Heard{Up: true, Samples: []edgeagent.Sample{told("count", 2)}})
			<-time.After(30 * time.Second)
			tell(Heard{Samples: []edgeagent.Sample{told("count", 3)}})
			<-ctx.Done()
			return ctx.Err()
		})
		r.until(40 * time.Second)
		want := []edgeagent.DeviceEventKind{edgeagent.DeviceEventGap, edgeagent.DeviceEventFrozen, edgeagent.DeviceEventThawed}
		if got := r.events("filler"); !slices.Equal(got, want) {
			t.Errorf("events = %v, want %v", got, want)
		}
		if got := r.latest("filler"); got["level"].Quality != edgeagent.QualityUncertain || got["count"].Quality != edgeagent.QualityGood {
			t.Errorf("level %v, count %v; want uncertain, for it is a value of before, and good", got["level"], got["count"])
		}
	})
}

func TestFrozenDeviceInMaintenanceIsNotFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f, running := beating()
		running.Store(false)
		r := run(t, f, nil, spec)
		r.until(20 * time.Second)
		if err := r.conn.Maintain("filler", "ann", "", time.Minute); err != nil {
			t.Fatal(err)
		}
		running.Store(true)
		r.until(5 * time.Minute)
		want := []edgeagent.DeviceEventKind{
			edgeagent.DeviceEventFrozen, edgeagent.DeviceEventThawed, edgeagent.DeviceEventMaintenance,
			edgeagent.DeviceEventGap, edgeagent.DeviceEventResumed,
		}
		if got := r.events("filler"); !slices.Equal(got, want) {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}
