package diagnose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"edgeagent"
)

// Jobs is the queue as the worker needs it.
type Jobs interface {
	// Lease hands out the next job, or nil when none is ready.
	Lease(ctx context.Context) (*edgeagent.Lease, error)
	// Complete ends the job with its diagnosis.
	Complete(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome) error
	// Retry counts the attempt and makes the job ready again after wait, or
	// fails it when that was the last attempt.
	Retry(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome, why *edgeagent.Note, wait time.Duration) error
	// Release makes the job ready again without counting the attempt.
	Release(ctx context.Context, l edgeagent.Lease, o edgeagent.Outcome) error
}

// Ready says when it is worth asking for a lease.
type Ready interface {
	// JobsReady receives when a job has become ready or the next one has
	// changed.
	JobsReady() <-chan struct{}
	// NextReady returns when the next waiting job becomes ready.
	NextReady() (time.Time, bool)
}

// Diagnoser answers a case. It returns the calls it made even with an error.
type Diagnoser interface {
	Diagnose(ctx context.Context, c edgeagent.Case) (edgeagent.Outcome, error)
}

// The outcomes of an attempt, as given to [Options.OnJob].
const (
	OutcomeCompleted = "completed"
	OutcomeRetry     = "retry"    // no answer, counted
	OutcomePanic     = "panic"    // crashed, counted
	OutcomeDeadline  = "deadline" // took too long, counted
	OutcomeReleased  = "released" // interrupted by the shutdown, not counted
	OutcomeLost      = "lost"     // the lease was gone, or the data file never took the result
)

// Options are what a [Worker] is made of. Jobs, Ready and Diagnoser are
// required.
type Options struct {
	Jobs      Jobs
	Ready     Ready
	Diagnoser Diagnoser
	Workers   int           // diagnoses at a time, at least 1
	Grace     time.Duration // running diagnoses get after the stop
	Deadline  time.Duration // one diagnosis may take; 0 for no limit
	// Retry returns the wait after the k-th attempt of a job, k from 1. Nil
	// waits 30 s after each.
	Retry func(k int) time.Duration
	Log   *slog.Logger
	// Backlog writes what the data file does not take before the stop. Without one
	// that is lost, and the job runs until the data file is opened anew.
	Backlog *Backlog
	// OnJob is told how each attempt ended and how long it took.
	OnJob func(outcome string, took time.Duration)
}

// Worker leases jobs and has them diagnosed.
type Worker struct {
	o Options
}

// New returns a worker. It does nothing until [Worker.Run].
func New(o Options) *Worker {
	o.Workers = max(o.Workers, 1)
	if o.Retry == nil {
		o.Retry = func(int) time.Duration { return 30 * time.Second }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnJob == nil {
		o.OnJob = func(string, time.Duration) {}
	}
	return &Worker{o: o}
}

const (
	// recheck bounds the wait for the next job: its time is of the wall clock,
	// which may be set while the timer runs.
	recheck = time.Minute
	// leaseAgain is the wait after the data file refused a lease.
	leaseAgain = 5 * time.Second
	// settle is how long a cancelled diagnosis has to come back, and the data
	// file to take what a stopping worker hands it.
	settle = 5 * time.Second
)

// ErrStuck is returned by [Worker.Run] when a diagnosis ignored its
// cancellation and was left behind.
var ErrStuck = errors.New("a diagnosis ignored its cancellation")

// errShutdown is the cause of the cancellation when the grace is over.
var errShutdown = errors.New("the agent is stopping")

// Run works until ctx ends. Then leasing stops at once, running diagnoses have
// Grace to finish, and what still runs is cancelled and put back. It returns
// nil, or [ErrStuck].
func (w *Worker) Run(ctx context.Context) error {
	work, stopWork := context.WithCancelCause(context.WithoutCancel(ctx))
	store, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStore()
	defer stopWork(nil)

	var running sync.WaitGroup
	w.dispatch(ctx, func(l edgeagent.Lease, free func()) {
		running.Go(func() {
			defer free()
			(&attempt{Worker: w, lease: l, work: work, store: store}).run()
		})
	})
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	return w.shutdown(done, func() { stopWork(errShutdown) }, stopStore)
}

// shutdown gives the running diagnoses their grace, then cancels them, then
// gives up on the data file too.
func (w *Worker) shutdown(done <-chan struct{}, stopWork, stopStore func()) error {
	for _, phase := range []struct {
		wait time.Duration
		end  func()
	}{{w.o.Grace, stopWork}, {2 * settle, stopStore}, {settle, func() {}}} {
		t := time.NewTimer(phase.wait)
		select {
		case <-done:
			t.Stop()
			return nil
		case <-t.C:
			phase.end()
		}
	}
	return fmt.Errorf("stop the diagnosis workers: %w", ErrStuck)
}

// dispatch hands leases to start until ctx ends. One goroutine leases for all
// workers, so that one wake-up is never swallowed by a busy one.
func (w *Worker) dispatch(ctx context.Context, start func(l edgeagent.Lease, free func())) {
	slots := make(chan struct{}, w.o.Workers)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		l := w.next(ctx)
		if l == nil {
			return
		}
		start(*l, func() { <-slots })
	}
}

// next waits for a lease; it returns nil when ctx has ended.
func (w *Worker) next(ctx context.Context) *edgeagent.Lease {
	var last string
	for ctx.Err() == nil {
		ready := w.o.Ready.JobsReady() // before the lease: a job that comes between is not missed
		l, err := w.o.Jobs.Lease(ctx)
		switch {
		case l != nil && err == nil:
			return l
		case err == nil || errors.Is(err, edgeagent.ErrNotFound):
			last = ""
			w.wait(ctx, ready, w.untilReady())
		case ctx.Err() == nil:
			if said := gist(err); said != last { // a full disk says the same for hours
				last = said
				w.o.Log.Error("no job could be leased; trying on", "err", err)
			}
			w.wait(ctx, nil, leaseAgain)
		}
	}
	return nil
}

// gist is an error without its figures: a disk that hangs says with every try for
// how long by now, a full one how full it is.
func gist(err error) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, err.Error())
}

func (w *Worker) untilReady() time.Duration {
	at, ok := w.o.Ready.NextReady()
	if !ok {
		return recheck
	}
	// A job whose time has come but was not leased must not spin.
	return min(max(time.Until(at), 100*time.Millisecond), recheck)
}

func (w *Worker) wait(ctx context.Context, ready <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-ready:
	case <-t.C:
	}
}
