package diagnose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// archive is the queue as a reviewer sees it, in memory: it keeps the data
// file's law that one review is under way at a time.
type archive struct {
	mu      sync.Mutex
	jobs    []edgeagent.Job
	counts  edgeagent.JobCounts
	next    time.Time
	under   edgeagent.ID
	outside map[edgeagent.ID]bool // may leave the site; all when nil
	fail    map[string][]error
	log     []string // "1m30s begin A"
	start   time.Time
	tries   map[edgeagent.ID]int
}

func newArchive(jobs ...edgeagent.Job) *archive {
	return &archive{jobs: jobs, fail: map[string][]error{}, start: time.Now(), tries: map[edgeagent.ID]int{}}
}

func (a *archive) note(verb string, job edgeagent.ID) {
	a.log = append(a.log, fmt.Sprintf("%v %s %s", time.Since(a.start).Round(time.Second), verb, job))
}

func (a *archive) pop(verb string) error {
	if len(a.fail[verb]) == 0 {
		return nil
	}
	err := a.fail[verb][0]
	a.fail[verb] = a.fail[verb][1:]
	return err
}

func (a *archive) Reviewable() ([]edgeagent.Job, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.jobs), a.pop("list")
}

func (a *archive) JobCounts() edgeagent.JobCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts
}

func (a *archive) NextReady() (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.next, !a.next.IsZero()
}

func (a *archive) BeginReview(_ context.Context, job edgeagent.ID, _ string, outside bool) (edgeagent.Case, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.pop("begin"); err != nil {
		return edgeagent.Case{}, err
	}
	if a.under != "" || outside && a.outside != nil && !a.outside[job] || a.tries[job] == 2 {
		return edgeagent.Case{}, fmt.Errorf("not %s: %w", job, edgeagent.ErrConflict)
	}
	a.under = job
	a.tries[job]++
	a.note("begin", job)
	return edgeagent.Case{Job: job}, nil
}

func (a *archive) end(verb string, job edgeagent.ID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.pop(verb); err != nil {
		return err
	}
	if a.under != job {
		return edgeagent.ErrLeaseLost
	}
	a.under = ""
	a.note(verb, job)
	if verb == "review" || a.tries[job] == 2 {
		a.jobs = slices.DeleteFunc(a.jobs, func(j edgeagent.Job) bool { return j.ID == job })
	}
	return nil
}

func (a *archive) Review(_ context.Context, job edgeagent.ID, _ edgeagent.Outcome) error {
	return a.end("review", job)
}

func (a *archive) ReviewFailed(_ context.Context, job edgeagent.ID, _ edgeagent.Outcome, _ string) error {
	return a.end("failed", job)
}

// oracle is a provider that is ready when somebody says so.
type oracle struct {
	mu    sync.Mutex
	ready bool
	brain brain
	asked int
}

func (o *oracle) set(ready bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ready = ready
}

func (o *oracle) Ready(string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ready
}

func (o *oracle) DiagnoseWith(ctx context.Context, _ string, c edgeagent.Case) (edgeagent.Outcome, error) {
	o.mu.Lock()
	o.asked++
	o.mu.Unlock()
	return o.brain(ctx, c)
}

// makeshift is a job that the local model answered because the cloud was away.
func makeshift(id string) edgeagent.Job {
	return edgeagent.Job{ID: edgeagent.ID(id), State: edgeagent.JobCompleted, Diagnosis: &edgeagent.Diagnosis{
		By: edgeagent.Provenance{Provider: "local", WhyNotFirst: "cloud: breaker open", Passed: []edgeagent.Passed{{Provider: "cloud", Reason: edgeagent.PassedBreaker}}}}}
}

// reviewing runs a reviewer for a while of virtual time.
func reviewing(t *testing.T, a *archive, o *oracle, during func()) {
	t.Helper()
	r := NewReviewer(ReviewOptions{Jobs: a, Book: a, Asker: o, Provider: "cloud", Outside: true, Settle: time.Minute, Pace: 30 * time.Second})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	during()
	stop()
	synctest.Wait()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run = %v", err)
		}
	default:
		t.Error("Run has not ended with its context")
		<-done
	}
}

func (a *archive) verbs() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := []string{}
	for _, line := range a.log {
		_, what, _ := strings.Cut(line, " ")
		out = append(out, what)
	}
	return strings.Join(out, ", ")
}

// began returns when each review began, in seconds.
func (a *archive) began(t *testing.T) (at []time.Duration) {
	t.Helper()
	for _, line := range a.log {
		when, what, _ := strings.Cut(line, " ")
		if strings.HasPrefix(what, "begin") {
			d, err := time.ParseDuration(when)
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, d)
		}
	}
	return at
}

func TestReviewsWaitSettleAndKeepTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newArchive(makeshift("A"), makeshift("B"), makeshift("C")), &oracle{brain: takes(2 * time.Second)}
		reviewing(t, a, o, func() {
			time.Sleep(10 * time.Minute) // no VPN
			if o.asked != 0 {
				t.Error("a provider that is away was asked")
			}
			o.set(true)
			time.Sleep(40 * time.Second)
			o.set(false) // not for long
			time.Sleep(time.Minute)
			o.set(true)
			time.Sleep(10 * time.Minute)
		})
		if got := a.verbs(); got != "begin A, review A, begin B, review B, begin C, review C" {
			t.Fatalf("done: %s", got)
		}
		at := a.began(t)
		back := 11*time.Minute + 40*time.Second
		if wait := at[0] - back; wait < time.Minute || wait > 2*time.Minute+2*reviewLook {
			t.Errorf("the first review began %v after the provider was back, want 1 to 2 minutes", wait)
		}
		for i := 1; i < len(at); i++ {
			if apart := at[i] - at[i-1]; apart != 32*time.Second {
				t.Errorf("reviews %v apart, want 30s after the end of the one before", apart)
			}
		}
	})
}

func TestGatewaysDoNotAskInTheSameSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := map[time.Duration]int{}
		for range 60 {
			a, o := newArchive(makeshift("A")), &oracle{ready: true, brain: takes(time.Second)}
			reviewing(t, a, o, func() { time.Sleep(5 * time.Minute) })
			starts[a.began(t)[0]]++
		}
		if len(starts) < 3 {
			t.Errorf("60 gateways began at %v, want them spread", starts)
		}
	})
}

func TestReviewsComeAfterTheAlarmsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newArchive(makeshift("A")), &oracle{ready: true, brain: takes(time.Second)}
		reviewing(t, a, o, func() {
			a.mu.Lock()
			a.next = time.Now() // a job is ready
			a.mu.Unlock()
			time.Sleep(10 * time.Minute)
			a.mu.Lock()
			a.next, a.counts.Running = time.Now().Add(time.Hour), 1 // it is worked on; another waits for its time
			a.mu.Unlock()
			time.Sleep(10 * time.Minute)
			if got := a.verbs(); got != "" {
				t.Errorf("done while alarms waited: %s", got)
			}
			a.mu.Lock()
			a.counts.Running = 0
			a.mu.Unlock()
			time.Sleep(reviewLook + 2*time.Second)
		})
		if got := a.verbs(); got != "begin A, review A" {
			t.Errorf("done: %s", got)
		}
	})
}

func TestAFailedReviewWaitsAnHourAndDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(makeshift("A"), makeshift("B"))
		o := &oracle{ready: true, brain: func(_ context.Context, c edgeagent.Case) (edgeagent.Outcome, error) {
			if c.Job == "A" {
				return edgeagent.Outcome{Calls: []edgeagent.Call{{Provider: "cloud"}}}, errors.New("its answer could not be used")
			}
			return answered(), nil
		}}
		reviewing(t, a, o, func() { time.Sleep(3 * time.Hour) })
		if got := a.verbs(); got != "begin A, failed A, begin B, review B, begin A, failed A" {
			t.Errorf("done: %s", got)
		}
		if at := a.began(t); at[2]-at[0] < time.Hour {
			t.Errorf("tried again after %v, want an hour", at[2]-at[0])
		}
	})
}

func TestNoMoneyIsAskedForOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newArchive(makeshift("A")), &oracle{ready: true, brain: takes(time.Second)}
		spent := errors.New("daily cap reached")
		a.fail["begin"] = []error{spent, spent, spent}
		reviewing(t, a, o, func() { time.Sleep(3*time.Hour + 10*time.Minute) })
		if got := a.verbs(); got != "begin A, review A" || a.began(t)[0] < 3*time.Hour {
			t.Errorf("done: %s at %v, want it after three refusals an hour apart", got, a.began(t))
		}
	})
}

func TestAPaidAnswerIsKeptThroughAStopAndABadDisk(t *testing.T) {
	for _, tt := range []struct {
		name  string
		brain brain
		fail  []error
		run   time.Duration
		want  string
	}{
		{"a disk that hesitates", takes(time.Second), []error{errors.New("full"), errors.New("full"), errors.New("full")}, 10 * time.Minute, "begin A, review A"},
		{"cancelled by the stop", takes(time.Hour), nil, 10 * time.Minute, "begin A, failed A"},
		{"a crash of the provider's code", func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) { panic("boom") }, nil, 10 * time.Minute, "begin A, failed A"},
		{"nothing and no error", func(context.Context, edgeagent.Case) (edgeagent.Outcome, error) { return edgeagent.Outcome{}, nil }, nil, 10 * time.Minute, "begin A, failed A"},
		{"the job is gone", takes(time.Second), []error{edgeagent.ErrNotFound}, 10 * time.Minute, "begin A"},
		{"the stop while the disk is full", takes(time.Second), slices.Repeat([]error{errors.New("full")}, 1000), 10 * time.Minute, "begin A"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, o := newArchive(makeshift("A")), &oracle{ready: true, brain: tt.brain}
				a.fail["review"] = tt.fail
				reviewing(t, a, o, func() { time.Sleep(tt.run) })
				if got := a.verbs(); got != tt.want || o.asked != 1 {
					t.Errorf("done: %s, asked %d times; want %s and once", got, o.asked, tt.want)
				}
			})
		})
	}
}

func TestAJobThatIsRefusedIsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newArchive(makeshift("A"), makeshift("B")), &oracle{ready: true, brain: takes(time.Second)}
		a.outside = map[edgeagent.ID]bool{"B": true} // A's line must not leave the site
		a.fail["list"] = []error{errors.New("disk")}
		reviewing(t, a, o, func() { time.Sleep(10 * time.Minute) })
		if got := a.verbs(); got != "begin B, review B" {
			t.Errorf("done: %s", got)
		}
	})
}

func TestWantsReview(t *testing.T) {
	passed := func(all ...string) (out []edgeagent.Passed) {
		for i := 0; i < len(all); i += 2 {
			out = append(out, edgeagent.Passed{Provider: all[i], Reason: edgeagent.CallOutcome(all[i+1])})
		}
		return out
	}
	for _, tt := range []struct {
		name, by string
		passed   []edgeagent.Passed
		want     bool
	}{
		{"breaker open", "local", passed("cloud", "breaker"), true},
		{"breaker open, the runbook answered", "runbook", passed("cloud", "breaker", "local", "breaker"), true},
		{"held for its key", "local", passed("cloud", "auth"), true},
		{"held for its account", "local", passed("cloud", "quota"), true},
		{"could not be reached", "local", passed("cloud", "unreachable"), true},
		{"broke down", "local", passed("cloud", "transient"), true},
		{"timed out", "local", passed("cloud", "aborted"), true},
		{"throttled", "local", passed("cloud", "throttled"), true},
		{"busy with other jobs", "local", passed("cloud", "busy"), true},
		{"the first answered", "cloud", nil, false},
		{"its answer was of no use", "local", passed("cloud", "output"), false},
		{"it refused the request", "runbook", passed("cloud", "request"), false},
		{"must not leave", "local", passed("cloud", "outside"), false},
		{"no money", "local", passed("cloud", "cap", "local", "breaker"), false},
		{"second away, first not allowed", "runbook", passed("cloud", "outside", "local", "breaker"), false},
		{"second of no use, first away", "runbook", passed("cloud", "breaker", "local", "output"), true},
		{"too small a model", "local", passed("cloud", "context"), false},
		{"no model's business", "runbook", nil, false},
		{"another is first now", "runbook", passed("local", "breaker"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := edgeagent.Job{Diagnosis: &edgeagent.Diagnosis{By: edgeagent.Provenance{Provider: tt.by, Passed: tt.passed}}}
			if got := WantsReview(j, "cloud"); got != tt.want {
				t.Errorf("WantsReview = %v, want %v", got, tt.want)
			}
		})
	}
	if WantsReview(edgeagent.Job{}, "cloud") {
		t.Error("a job without an answer is reviewed")
	}
}
