package plc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// fakeServer plays an episode as play says, or a healthy one.
type fakeServer struct {
	mu      sync.Mutex
	began   []time.Time
	running int
	play    func(ctx context.Context, tell func(Heard)) error
	fetch   func(ctx context.Context) ([]edgeagent.Sample, error)
}

func (f *fakeServer) Episode(ctx context.Context, tell func(Heard)) error {
	f.mu.Lock()
	f.began = append(f.began, time.Now())
	f.running++
	play := f.play
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.running--
		f.mu.Unlock()
	}()
	if play == nil {
		play = healthy
	}
	return play(ctx, tell)
}

func (f *fakeServer) Fetch(ctx context.Context) ([]edgeagent.Sample, error) { return f.fetch(ctx) }

func (f *fakeServer) set(play func(ctx context.Context, tell func(Heard)) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.play = play
}

// seconds returns when episodes began, since start.
func (f *fakeServer) seconds(start time.Time) []float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []float64
	for _, at := range f.began {
		out = append(out, at.Sub(start).Seconds())
	}
	return out
}

func (f *fakeServer) listening() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running > 0
}

// told is a good value as a server tells it.
func told(tag string, v uint64) edgeagent.Sample {
	now := time.Now()
	return edgeagent.Sample{Tag: tag, Value: edgeagent.Uint(v), Quality: edgeagent.QualityGood, At: now, SourceAt: now}
}

// healthy tells first values and then a keep-alive every three seconds.
func healthy(ctx context.Context, tell func(Heard)) error { return during(ctx, tell, time.Hour) }

func during(ctx context.Context, tell func(Heard), length time.Duration) error {
	tell(Heard{Up: true, Security: "None", At: time.Now(), Samples: []edgeagent.Sample{told("level", 1), told("count", 2)}, Requests: 5})
	end := time.After(length)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return errDead
		case <-time.After(3 * time.Second):
			tell(Heard{At: time.Now(), Confirmed: []string{"level", "count"}})
		}
	}
}

func refusedConnection(context.Context, func(Heard)) error {
	return fmt.Errorf("connection refused: %w", ErrUnreachable)
}

func wrongPassword(context.Context, func(Heard)) error {
	return fmt.Errorf("user access denied: %w", ErrRefused)
}

// server is a device that tells two tags by itself.
func server() DeviceSpec {
	d := filler()
	d.Tags = []TagSpec{{Tag: edgeagent.Tag{Name: "level"}, Node: "ns=2;s=Level"}, {Tag: edgeagent.Tag{Name: "count"}, Node: "ns=2;s=Count"}}
	return d
}

func TestServerThatIsAwayIsTriedAfter2_4_8_16_30SecondsThenStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: refusedConnection}
		r := listen(t, f, nil, server())
		r.until(time.Hour)
		if got, want := f.seconds(r.start), []float64{0, 2, 6, 14, 30, 60}; !slices.Equal(got, want) {
			t.Errorf("connected at %v s, want %v", got, want)
		}
		s := r.status("filler")
		if s.State != edgeagent.DeviceStopped || s.Attempt != 6 || s.Link != edgeagent.LinkDown || s.Tags.Bad != 2 {
			t.Errorf("status = %+v, want stopped after 6 attempts, 2 bad tags", s)
		}
		if got := r.events("filler"); !slices.Equal(got, []edgeagent.DeviceEventKind{edgeagent.DeviceEventStopped}) {
			t.Errorf("events = %v, want one stop", got)
		}
		if err := r.conn.Resume("filler", "ann", ""); err != nil {
			t.Fatal(err)
		}
		f.set(nil)
		r.until(time.Hour + time.Second)
		if s := r.status("filler"); s.State != edgeagent.DevicePolling || s.Tags.Good != 2 || s.Security != "None" || s.Requests != 5 {
			t.Errorf("status = %+v, want polling and two good tags", s)
		}
	})
}

func TestEndOfAnEpisodeMakesAllTagsUncertainAndIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error { return during(ctx, tell, 10*time.Second) }}
		r := listen(t, f, nil, server())
		r.until(11 * time.Second)
		for tag, s := range r.latest("filler") {
			if s.Quality != edgeagent.QualityUncertain || !s.Reason.Is(edgeagent.ReasonNoAnswer) || s.Value.IsNone() {
				t.Errorf("%s = %+v, want its last value, uncertain", tag, s)
			}
		}
		// The server is back, but tells one tag only: the other must not look fresh.
		f.set(func(ctx context.Context, tell func(Heard)) error {
			tell(Heard{Up: true, Samples: []edgeagent.Sample{told("level", 7)}})
			<-ctx.Done()
			return ctx.Err()
		})
		r.until(13 * time.Second)
		got := r.latest("filler")
		if got["level"].Quality != edgeagent.QualityGood || got["count"].Quality != edgeagent.QualityUncertain {
			t.Errorf("level %v, count %v; want good, and uncertain until it is told again", got["level"].Quality, got["count"].Quality)
		}
		if gaps := r.gaps("filler"); !slices.Equal(gaps, []float64{9, 12}) {
			t.Errorf("gaps = %v, want one from the last keep-alive to the return", gaps)
		}
		if s := r.status("filler"); s.Gaps != 1 || s.Tags.Good != 1 || s.Tags.Uncertain != 1 {
			t.Errorf("status = %+v, want 1 gap, 1 good and 1 uncertain tag", s)
		}
	})
}

func TestFlappingServerReachesTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error { return during(ctx, tell, 20*time.Second) }}
		r := listen(t, f, nil, server())
		r.until(time.Hour)
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped {
			t.Errorf("state = %v, want stopped: no episode lasted a minute", s.State)
		}
		steady := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error { return during(ctx, tell, 70*time.Second) }}
		again := listen(t, steady, nil, server())
		again.until(time.Hour)
		if s := again.status("filler"); s.State == edgeagent.DeviceStopped || s.Attempt > 1 {
			t.Errorf("status = %+v, want the failures forgotten after each good minute", s)
		}
	})
}

func TestRefusedCredentialsAreNeverTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, memory := server(), newFakeMemory()
		spec.ResumeEvery = 5 * time.Minute
		f := &fakeServer{play: wrongPassword}
		r := listen(t, f, memory, spec)
		r.until(24 * time.Hour)
		if got := f.seconds(r.start); len(got) != 1 {
			t.Errorf("logged in at %v s, want once: each try can lock the account", got)
		}
		s := r.status("filler")
		if s.State != edgeagent.DeviceStopped || s.Resume != "operator" || s.NextTryAt != nil || s.Attempt != 1 {
			t.Errorf("status = %+v, want stopped at once, for a person", s)
		}
		r.stop()
		again := listen(t, f, memory, spec)
		again.until(time.Hour)
		if got := f.seconds(r.start); len(got) != 1 {
			t.Errorf("logged in at %v s, want none after the restart", got)
		}
		if err := again.conn.Maintain("filler", "ann", "new password", time.Hour); err != nil {
			t.Fatal(err)
		}
		again.until(5 * time.Hour)
		if got := f.seconds(r.start); len(got) != 1 || again.status("filler").State != edgeagent.DeviceStopped {
			t.Errorf("logged in at %v s, want none by itself after a maintenance", got)
		}
		f.set(nil)
		if err := again.conn.Resume("filler", "ann", ""); err != nil {
			t.Fatal(err)
		}
		again.until(5*time.Hour + time.Second)
		if s := again.status("filler"); s.State != edgeagent.DevicePolling || s.Resume != "5m" {
			t.Errorf("status = %+v, want polling", s)
		}
	})
}

func TestProbeThatIsRefusedForGoodIsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := server()
		spec.ResumeEvery = 5 * time.Minute
		f := &fakeServer{play: refusedConnection}
		r := listen(t, f, nil, spec)
		r.until(2 * time.Minute)
		f.set(wrongPassword)
		r.until(time.Hour)
		if got, want := f.seconds(r.start), []float64{0, 2, 6, 14, 30, 60, 360}; !slices.Equal(got, want) {
			t.Errorf("connected at %v s, want %v", got, want)
		}
	})
}

func TestValuesLostByTheServerAreAGapOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error {
			tell(Heard{Up: true, At: time.Now()})
			for ctx.Err() == nil {
				<-time.After(time.Second)
				tell(Heard{At: time.Now(), Gap: true, Samples: []edgeagent.Sample{told("level", 1)}})
			}
			return ctx.Err()
		}}
		r := listen(t, f, nil, server())
		r.until(2*time.Minute + 500*time.Millisecond)
		if got, want := r.gaps("filler"), []float64{0, 1, 1, 61}; !slices.Equal(got, want) {
			t.Errorf("gaps = %v, want %v", got, want)
		}
		if s := r.status("filler"); s.Gaps != 120 || s.State != edgeagent.DevicePolling {
			t.Errorf("%d gaps in state %v, want 120 counted while polling", s.Gaps, s.State)
		}
	})
}

func TestConditionsAndConfirmationsPassThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := edgeagent.ConditionSet{Complete: true, Conditions: []edgeagent.Condition{{ID: "i=1", Active: true}}}
		f := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error {
			tell(Heard{Up: true, Conditions: []edgeagent.ConditionSet{set}, Confirmed: []string{"level"}})
			<-ctx.Done()
			return ctx.Err()
		}}
		spec := server()
		spec.Tags = nil // a device may have alarms alone
		r := listen(t, f, nil, spec)
		r.until(time.Second)
		scans := r.takeScans()
		if len(scans) != 1 || len(scans[0].Conditions) != 1 || !slices.Equal(scans[0].Confirmed, []string{"level"}) || scans[0].At.IsZero() {
			t.Errorf("scans = %+v, want the conditions and confirmations of the only message", scans)
		}
	})
}

// Several values of one tag in one message are so many scans: a bit that came
// and went is an alarm that was.
func TestSeveralValuesOfATagInOneMessageAreSeenInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: func(ctx context.Context, tell func(Heard)) error {
			tell(Heard{Up: true, Samples: []edgeagent.Sample{told("count", 0), told("level", 5)}})
			tell(Heard{Samples: []edgeagent.Sample{told("count", 1), told("level", 6), told("count", 0), told("count", 2)}, Confirmed: []string{"level"}})
			<-ctx.Done()
			return ctx.Err()
		}}
		r := listen(t, f, nil, server())
		r.until(time.Second)
		var got []string
		for _, s := range r.takeScans() {
			for _, sample := range s.Samples {
				got = append(got, sample.Tag+"="+sample.Value.String())
			}
			got = append(got, strconv.Itoa(len(s.Confirmed)))
		}
		want := "count=0 level=5 0 count=1 level=6 0 count=0 0 count=2 1"
		if strings.Join(got, " ") != want {
			t.Errorf("told: %s, want %s", strings.Join(got, " "), want)
		}
	})
}

func TestRunOfASubscriptionEndsWithItsEpisodeAndTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{}
		r := listen(t, f, newFakeMemory(), server())
		r.until(10 * time.Second)
		r.takeScans()
		r.stop()
		if scans := r.takeScans(); len(scans) != 0 || f.listening() {
			t.Errorf("delivered %+v, listening %v: the end of the agent is no failure", scans, f.listening())
		}
	})
}

func TestEpisodeThatEndsWithoutAWordIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: func(context.Context, func(Heard)) error { return nil }}
		r := listen(t, f, nil, server())
		r.until(time.Hour)
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped || s.Error == "" {
			t.Errorf("status = %+v, want stopped with a reason", s)
		}
	})
}

func TestProbeOfASubscriptionFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{fetch: func(context.Context) ([]edgeagent.Sample, error) {
			return []edgeagent.Sample{told("level", 9)}, nil
		}}
		s := NewSubscription(f, server(), Options{})
		scan, err := s.Probe(t.Context(), "filler")
		if err != nil || len(scan.Samples) != 1 || scan.Device != "filler" {
			t.Errorf("probe without Run = %+v, %v", scan, err)
		}
		if _, err := s.Probe(t.Context(), "nobody"); !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("probe of nobody = %v, want not found", err)
		}
		r := listen(t, &fakeServer{play: wrongPassword}, nil, server())
		r.until(time.Second)
		if _, err := r.conn.Probe(t.Context(), "filler"); !errors.Is(err, edgeagent.ErrConflict) {
			t.Errorf("probe of a stopped device = %v, want conflict", err)
		}
	})
}

func TestDisabledServerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f := server(), &fakeServer{}
		spec.Enabled = false
		r := listen(t, f, newFakeMemory(), spec)
		r.until(time.Hour)
		if got := f.seconds(r.start); len(got) != 0 || r.status("filler").State != edgeagent.DeviceDisabled {
			t.Errorf("connected at %v s", got)
		}
		if err := r.conn.Maintain("filler", "ann", "", time.Hour); !errors.Is(err, edgeagent.ErrConflict) {
			t.Errorf("maintenance of a disabled device = %v, want conflict", err)
		}
	})
}

// TestServerThatNeverSaysThatItIsUpIsNotConnectingForEver: it accepts, answers
// now and then, and never gets there.
func TestServerThatNeverSaysThatItIsUpIsNotConnectingForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{play: func(ctx context.Context, _ func(Heard)) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		r := listen(t, f, nil, server())
		r.until(time.Hour)
		if got, want := f.seconds(r.start), []float64{0, 62, 126, 194, 270, 360}; !slices.Equal(got, want) {
			t.Errorf("connected at %v s, want %v", got, want)
		}
		if s := r.status("filler"); s.State != edgeagent.DeviceStopped || s.Link != edgeagent.LinkSilent {
			t.Errorf("status = %+v, want stopped and silent", s)
		}
		long := listen(t, &fakeServer{}, nil, server())
		long.until(10 * time.Minute)
		if s := long.status("filler"); s.State != edgeagent.DevicePolling || s.Errors != 0 {
			t.Errorf("status = %+v, want one that is up to be left alone", s)
		}
	})
}

// TestStatusOfASubscriptionFromManyGoroutines is for the race detector.
func TestStatusOfASubscriptionFromManyGoroutines(t *testing.T) {
	f := &fakeServer{
		play: func(ctx context.Context, tell func(Heard)) error {
			tell(Heard{Up: true})
			for i := uint64(0); i < 200 && ctx.Err() == nil; i++ {
				tell(Heard{Samples: []edgeagent.Sample{told("count", i)}, Confirmed: []string{"level"}})
			}
			return errDead
		},
		fetch: func(context.Context) ([]edgeagent.Sample, error) { return []edgeagent.Sample{told("level", 1)}, nil },
	}
	spec, in := server(), NewInbox()
	spec.Retry.First, spec.Retry.Max = time.Microsecond, time.Microsecond
	spec.Heartbeat = &Heartbeat{Tag: "count", Within: time.Microsecond}
	s := NewSubscription(f, spec, Options{Deliver: in.Put, Memory: newFakeMemory()})
	ctx, cancel := context.WithCancel(t.Context())
	var running, asking sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		for ctx.Err() == nil {
			_, _ = in.Next(ctx)
		}
	})
	for range 4 {
		asking.Go(func() {
			for range 50 {
				if got := s.Status(); len(got) != 1 {
					t.Errorf("%d devices", len(got))
				}
				_ = s.Maintain("filler", "ann", "", time.Microsecond)
				_ = s.Resume("filler", "ann", "")
				_, _ = s.Probe(ctx, "filler")
			}
		})
	}
	asking.Wait()
	cancel()
	running.Wait()
}
