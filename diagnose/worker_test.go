package diagnose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a queue in memory that keeps the lease's law: a token is good for
// one result.
type shelf struct {
	mu     sync.Mutex
	ready  chan struct{}
	leases []edgeagent.Lease
	due    map[edgeagent.ID]time.Time
	leased map[edgeagent.ID]string
	log    []string // "12s complete A"
	start  time.Time
	fail   map[string][]error // by verb, in order
	calls  int                // cost booked with any result
	waits  []time.Duration
	notes  []*edgeagent.Note
}

func newShelf(jobs ...string) *shelf {
	s := &shelf{ready: make(chan struct{}, 1), due: map[edgeagent.ID]time.Time{}, leased: map[edgeagent.ID]string{},
		start: time.Now(), fail: map[string][]error{}}
	for _, j := range jobs {
		s.add(j, 0)
	}
	return s
}

func (s *shelf) add(job string, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := edgeagent.ID(job)
	s.leases = append(s.leases, edgeagent.Lease{Job: id, Token: "t-" + job, Attempt: 1, Case: edgeagent.Case{Job: id}})
	s.due[id] = time.Now().Add(after)
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *shelf) JobsReady() <-chan struct{} { return s.ready }

func (s *shelf) NextReady() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, l := range s.leases {
		if at := s.due[l.Job]; next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next, !next.IsZero()
}

func (s *shelf) Lease(context.Context) (*edgeagent.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.pop("lease"); err != nil {
		return nil, err
	}
	for i, l := range s.leases {
		if time.Now().Before(s.due[l.Job]) {
			continue
		}
		s.leases = slices.Delete(s.leases, i, i+1)
		s.leased[l.Job] = l.Token
		return &l, nil
	}
	return nil, nil
}

func (s *shelf) pop(verb string) error {
	if len(s.fail[verb]) == 0 {
		return nil
	}
	err := s.fail[verb][0]
	s.fail[verb] = s.fail[verb][1:]
	return err
}

func (s *shelf) end(verb string, l edgeagent.Lease, o edgeagent.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.pop(verb); err != nil {
		return err
	}
	if s.leased[l.Job] != l.Token {
		return edgeagent.ErrLeaseLost
	}
	delete(s.leased, l.Job)
	s.calls += len(o.Calls)
	s.log = append(s.log, fmt.Sprintf("%v %s %s", time.Since(s.start).Round(time.Millisecond), verb, l.Job))
	return nil
}

func (s *shelf) Complete(_ context.Context, l edgeagent.Lease, o edgeagent.Outcome) error {
	return s.end("complete", l, o)
}

func (s *shelf) Retry(_ context.Context, l edgeagent.Lease, o edgeagent.Outcome, why *edgeagent.Note, wait time.Duration) error {
	s.mu.Lock()
	s.waits, s.notes = append(s.waits, wait), append(s.notes, why)
	s.mu.Unlock()
	return s.end("retry", l, o)
}

func (s *shelf) Release(_ context.Context, l edgeagent.Lease, o edgeagent.Outcome) error {
	return s.end("release", l, o)
}

func (s *shelf) history() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// brain diagnoses by a function.
type brain func(ctx context.Context, c edgeagent.Case) (edgeagent.Outcome, error)

func (b brain) Diagnose(ctx context.Context, c edgeagent.Case) (edgeagent.Outcome, error) {
	return b(ctx, c)
}

func answered() edgeagent.Outcome {
	return edgeagent.Outcome{Diagnosis: &edgeagent.Diagnosis{Summary: "photo-eye dirty"}, Calls: make([]edgeagent.Call, 1)}
}

// takes answers after d, or returns the calls made so far when cancelled.
func takes(d time.Duration) brain {
	return func(ctx context.Context, _ edgeagent.Case) (edgeagent.Outcome, error) {
		select {
		case <-time.After(d):
			return answered(), nil
		case <-ctx.Done():
			return edgeagent.Outcome{Calls: make([]edgeagent.Call, 1)}, ctx.Err()
		}
	}
}

// rig runs a worker inside a bubble, stops it after d, and returns Run's error
// with the time from the stop to its return.
func rig(t *testing.T, o Options, d time.Duration) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- New(o).Run(ctx) }()
	time.Sleep(d)
	synctest.Wait()
	cancel()
	stop := time.Now()
	err := <-ended
	took := time.Since(stop)
	time.Sleep(2 * time.Hour) // virtual: what was left behind ends before the bubble
	return took, err
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("history = %q, want %q", got, want)
	}
}

func TestJobsRunAtMostWorkersAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf("A", "B", "C")
		_, err := rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(10 * time.Second), Workers: 2}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		got := s.history()
		slices.Sort(got)
		equal(t, got, "10s complete A", "10s complete B", "20s complete C")
	})
}

func TestDelayedJobStartsOnItsSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.add("A", 5*time.Second)
		_, _ = rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(0)}, time.Minute)
		equal(t, s.history(), "5s complete A")
	})
}

func TestNewJobWakesAnIdleWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		time.AfterFunc(7*time.Second, func() { s.add("A", 0) })
		_, _ = rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(time.Second)}, 20*time.Second)
		equal(t, s.history(), "8s complete A")
	})
}

func TestClockSetBackDoesNotStrandAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The queue says "in an hour"; after a step of the clock the job is due,
		// and nothing was written that would wake anybody.
		s := newShelf()
		s.add("A", time.Hour)
		time.AfterFunc(90*time.Second, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.due["A"] = time.Now()
		})
		_, _ = rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(0)}, 10*time.Minute)
		equal(t, s.history(), "2m0s complete A")
	})
}

func TestShutdown(t *testing.T) {
	deaf := brain(func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) {
		time.Sleep(time.Hour) // ignores its cancellation
		return answered(), nil
	})
	answersLate := brain(func(ctx context.Context, _ edgeagent.Case) (edgeagent.Outcome, error) {
		<-ctx.Done()
		return answered(), ctx.Err()
	})
	tests := []struct {
		name    string
		brain   brain
		history []string
		took    time.Duration
		calls   int
	}{
		{"finishes within the grace", takes(35 * time.Second), []string{"35s complete A"}, 5 * time.Second, 1},
		{"is put back when the grace is over, its calls booked", takes(time.Hour), []string{"40s release A"}, 10 * time.Second, 1},
		{"answer that comes with the cancellation is kept", answersLate, []string{"40s complete A"}, 10 * time.Second, 1},
		{"one that does not listen is put back and left", deaf, []string{"45s release A"}, 15 * time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf("A", "B")
				took, err := rig(t, Options{Jobs: s, Ready: s, Diagnoser: tt.brain, Grace: 10 * time.Second}, 30*time.Second)
				if err != nil || took != tt.took {
					t.Errorf("Run returned %v after %v, want nil after %v", err, took, tt.took)
				}
				equal(t, s.history(), tt.history...) // B is never leased: intake stopped at once
				if s.calls != tt.calls {
					t.Errorf("%d calls booked, want %d", s.calls, tt.calls)
				}
			})
		})
	}
}

// mud is a shelf whose Release never returns: a disk that hangs.
type mud struct{ *shelf }

func (m mud) Release(ctx context.Context, _ edgeagent.Lease, _ edgeagent.Outcome) error {
	time.Sleep(time.Hour)
	return ctx.Err()
}

func TestShutdownDoesNotWaitForADeadDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mud{newShelf("A")}
		took, err := rig(t, Options{Jobs: m, Ready: m, Diagnoser: takes(time.Hour), Grace: 10 * time.Second}, time.Second)
		if !errors.Is(err, ErrStuck) || took != 25*time.Second {
			t.Errorf("Run returned %v after %v, want ErrStuck after 25s", err, took)
		}
	})
}

var ends = []struct {
	name    string
	brain   brain
	fail    map[string][]error
	history []string
	outcome string
	note    string
	logged  string
}{
	{
		name: "error costs an attempt",
		brain: func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) {
			return edgeagent.Outcome{}, errors.New("nobody home")
		},
		history: []string{"0s retry A"}, outcome: OutcomeRetry, note: "nobody home",
	},
	{
		name:    "nothing and no error costs an attempt",
		brain:   func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) { return edgeagent.Outcome{}, nil },
		history: []string{"0s retry A"}, outcome: OutcomeRetry, note: "no provider gave an answer",
	},
	{
		name:    "panic is caught and costs an attempt",
		brain:   func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) { panic(strings.Repeat("x", 4096)) },
		history: []string{"0s retry A"}, outcome: OutcomePanic, note: "diagnosis crashed: xxx", logged: "worker_test.go",
	},
	{
		name: "panic that says which calls it made books them",
		brain: func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) {
			return edgeagent.Outcome{Calls: make([]edgeagent.Call, 1)}, fmt.Errorf("job A: %w", crashed{})
		},
		history: []string{"0s retry A"}, outcome: OutcomePanic, note: "job A: boom", logged: "judge.go:7",
	},
	{
		name:    "overdue is stopped and costs an attempt",
		brain:   takes(time.Hour),
		history: []string{"1m0s retry A"}, outcome: OutcomeDeadline, note: "stopped after 1m0s",
	},
	{
		name: "overdue and deaf is left behind",
		brain: func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) {
			time.Sleep(2 * time.Minute)
			return answered(), nil
		},
		history: []string{"1m5s retry A"}, outcome: OutcomeDeadline, note: "stopped after 1m0s",
	},
	{
		name:    "lease lost drops the answer",
		brain:   takes(0),
		fail:    map[string][]error{"complete": {edgeagent.ErrLeaseLost}},
		outcome: OutcomeLost, logged: "no longer ours",
	},
	{
		name:    "a paid answer waits for the disk",
		brain:   takes(0),
		fail:    map[string][]error{"complete": {errors.New("no space left"), errors.New("no space left"), errors.New("no space left")}},
		history: []string{"7s complete A"}, outcome: OutcomeCompleted, logged: "no space left",
	},
}

// crashed is a panic that the diagnoser has caught.
type crashed struct{}

func (crashed) Error() string { return "boom" }
func (crashed) Stack() []byte { return []byte("judge.go:7") }

func TestEndsOfAnAttempt(t *testing.T) {
	for _, tt := range ends {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShelf("A")
				s.fail = tt.fail
				var log bytes.Buffer
				var outcomes []string
				o := Options{Jobs: s, Ready: s, Diagnoser: tt.brain, Deadline: time.Minute,
					Retry: func(k int) time.Duration { return time.Duration(k) * time.Hour },
					Log:   slog.New(slog.NewTextHandler(&log, nil)),
					OnJob: func(outcome string, _ time.Duration) { outcomes = append(outcomes, outcome) }}
				if _, err := rig(t, o, 10*time.Minute); err != nil {
					t.Fatal(err)
				}
				equal(t, s.history(), tt.history...)
				equal(t, outcomes, tt.outcome)
				if tt.note != "" && (len(s.notes) != 1 || !strings.HasPrefix(s.notes[0].Text, tt.note) || len(s.notes[0].Text) > 400) {
					t.Errorf("notes = %v, want one that begins %q", s.notes, tt.note)
				}
				if len(s.waits) > 0 && s.waits[0] != time.Hour {
					t.Errorf("retry after %v, want 1h", s.waits[0])
				}
				if !strings.Contains(log.String(), tt.logged) {
					t.Errorf("log lacks %q: %s", tt.logged, log.String())
				}
				dumps := strings.Count(log.String(), `overdue diagnosis" job=A stack="goroutine `)
				if want := map[bool]int{true: 1}[tt.outcome == OutcomeDeadline]; dumps != want {
					t.Errorf("%d dumps, want %d", dumps, want)
				}
				if n := strings.Count(log.String(), "did not take the result"); n > 1 {
					t.Errorf("the same trouble is logged %d times", n)
				}
			})
		})
	}
}

func TestStopWhileTheDiskRefusesTriesOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf("A")
		for range 5 { // at 0, 1, 3, 7 and 15 s; the grace ends at 20 s
			s.fail["complete"] = append(s.fail["complete"], errors.New("i/o error"))
		}
		took, err := rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(0), Grace: 10 * time.Second}, 10*time.Second)
		if err != nil || took != 10*time.Second {
			t.Errorf("Run returned %v after %v, want nil after 10s", err, took)
		}
		equal(t, s.history(), "20s complete A")
	})
}

func TestLeaseErrorIsLoggedOnceAndOutlived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf("A")
		s.fail["lease"] = []error{edgeagent.ErrFull, edgeagent.ErrFull, edgeagent.ErrFull}
		var log bytes.Buffer
		_, _ = rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(0), Log: slog.New(slog.NewTextHandler(&log, nil))}, time.Minute)
		equal(t, s.history(), "15s complete A")
		if n := strings.Count(log.String(), "leased"); n != 1 {
			t.Errorf("logged %d times, want once: %s", n, log.String())
		}
	})
}

// A disk that hangs says with every try for how long by now.
func TestLeaseErrorWithFiguresIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf("A")
		for n := range 100 {
			s.fail["lease"] = append(s.fail["lease"], fmt.Errorf("the disk does not answer: a write has taken %ds so far", 30+5*n))
		}
		var log bytes.Buffer
		_, _ = rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(0), Log: slog.New(slog.NewTextHandler(&log, nil))}, 10*time.Minute)
		equal(t, s.history(), "8m20s complete A")
		if n := strings.Count(log.String(), "leased"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
	})
}

// So does a result that the disk does not take.
func TestAResultErrorWithFiguresIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf("A")
		for n := range 20 {
			s.fail["complete"] = append(s.fail["complete"], fmt.Errorf("the disk does not answer: a write has taken %ds so far", 30+30*n))
		}
		var log bytes.Buffer
		_, _ = rig(t, Options{Jobs: s, Ready: s, Diagnoser: takes(0), Log: slog.New(slog.NewTextHandler(&log, nil))}, time.Hour)
		equal(t, s.history(), "8m1s complete A")
		if n := strings.Count(log.String(), "trying on"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
	})
}

// late is a shelf whose lease comes back after the stop: its commit was under way.
type late struct{ *shelf }

func (l late) Lease(ctx context.Context) (*edgeagent.Lease, error) {
	<-ctx.Done()
	return l.shelf.Lease(context.WithoutCancel(ctx))
}

func TestLeaseThatComesWithTheStopIsNotLeftRunning(t *testing.T) {
	for _, grace := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := late{newShelf("A")}
			_, err := rig(t, Options{Jobs: l, Ready: l, Diagnoser: takes(time.Hour), Grace: grace}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, l.history(), (time.Minute+grace).String()+" release A")
		})
	}
}
