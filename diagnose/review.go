package diagnose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"edgeagent"
)

// ReviewJobs says what there is to review, and whether alarms wait.
type ReviewJobs interface {
	// Reviewable returns jobs that may be asked about again, the most urgent first.
	Reviewable() ([]edgeagent.Job, error)
	JobCounts() edgeagent.JobCounts
	NextReady() (time.Time, bool)
}

// ReviewBook keeps reviews. What it is told of one is on disk when it returns.
type ReviewBook interface {
	// BeginReview returns the case of a job as it was. [edgeagent.ErrConflict]:
	// not this job; any other error: none now.
	BeginReview(ctx context.Context, job edgeagent.ID, provider string, outside bool) (edgeagent.Case, error)
	Review(ctx context.Context, job edgeagent.ID, o edgeagent.Outcome) error
	ReviewFailed(ctx context.Context, job edgeagent.ID, o edgeagent.Outcome, why string) error
}

// Asker has one provider answer, nobody in its place.
type Asker interface {
	// Ready reports whether nothing is known against asking it now.
	Ready(provider string) bool
	// DiagnoseWith returns the calls it made even with an error.
	DiagnoseWith(ctx context.Context, provider string, c edgeagent.Case) (edgeagent.Outcome, error)
}

// ReviewOptions are what a [Reviewer] is made of. Jobs, Book, Asker and Provider
// are required.
type ReviewOptions struct {
	Jobs     ReviewJobs
	Book     ReviewBook
	Asker    Asker
	Provider string // that is asked: the first in the order
	Outside  bool   // it is not on this site
	// Settle is how long the provider must have been ready before the first
	// review, at least; up to twice as long, so that a thousand gateways whose VPN
	// is back do not ask in the same second. 0 is a minute.
	Settle time.Duration
	Pace   time.Duration // between two reviews; 0 is 30 s
	Log    *slog.Logger
	// Backlog writes what the data file does not take before the stop. Without one
	// no other answer is reviewed until the data file is opened anew.
	Backlog *Backlog
	// OnReview is told of every job that was asked about, whatever came of it.
	OnReview func(job edgeagent.ID)
}

const (
	reviewLook  = 15 * time.Second // how often it is looked whether there is anything to do
	reviewAgain = time.Hour        // before a job, or money, that was refused is asked for again
)

// Reviewer asks the first provider again, when it is back, about answers that
// another gave in its place: one at a time, slowly, and only while no alarm
// waits for its first answer.
type Reviewer struct {
	o ReviewOptions
}

// NewReviewer returns a reviewer. It does nothing until [Reviewer.Run].
func NewReviewer(o ReviewOptions) *Reviewer {
	if o.Settle <= 0 {
		o.Settle = time.Minute
	}
	if o.Pace <= 0 {
		o.Pace = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnReview == nil {
		o.OnReview = func(edgeagent.ID) {}
	}
	return &Reviewer{o: o}
}

// Run reviews until ctx ends, and returns nil then. A review under way is
// cancelled: the alarm has an answer, and the stop must not wait for a better one.
func (r *Reviewer) Run(ctx context.Context) error {
	s := shift{Reviewer: r, refused: make(map[edgeagent.ID]time.Time)}
	for ctx.Err() == nil {
		pause := reviewLook
		if s.may(time.Now()) && s.one(ctx) {
			pause = r.o.Pace
		}
		wait(ctx, pause)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// shift is what one Run remembers.
type shift struct {
	*Reviewer

	from    time.Time                  // the provider has settled; zero: it is not ready
	paused  time.Time                  // until then there is no money
	refused map[edgeagent.ID]time.Time // jobs that are left alone until then
	said    string
}

// may reports whether this is a moment for reviews.
func (s *shift) may(now time.Time) bool {
	if !s.o.Asker.Ready(s.o.Provider) {
		s.from = time.Time{}
		return false
	}
	if s.from.IsZero() {
		s.from = now.Add(s.o.Settle + rand.N(s.o.Settle))
	}
	if now.Before(s.from) || now.Before(s.paused) || s.o.Jobs.JobCounts().Running > 0 {
		return false
	}
	next, waits := s.o.Jobs.NextReady()
	return !waits || next.After(now)
}

// one reviews the first job that wants it, and reports whether anybody was asked.
func (s *shift) one(ctx context.Context) bool {
	jobs, err := s.o.Jobs.Reviewable()
	if err != nil {
		s.complain("answers to be reviewed cannot be listed", err)
		return false
	}
	now := time.Now()
	for _, j := range jobs {
		if !WantsReview(j, s.o.Provider) || now.Before(s.refused[j.ID]) {
			continue
		}
		c, err := s.o.Book.BeginReview(ctx, j.ID, s.o.Provider, s.o.Outside)
		switch {
		case err == nil:
			s.review(ctx, c)
			return true
		case errors.Is(err, edgeagent.ErrConflict), errors.Is(err, edgeagent.ErrNotFound):
			s.leave(j.ID, now)
		default:
			s.paused = now.Add(reviewAgain)
			s.complain("no review now", err)
			return false
		}
	}
	return false
}

// leave does not look at a job again for a while.
func (s *shift) leave(job edgeagent.ID, now time.Time) {
	for id, until := range s.refused {
		if now.After(until) {
			delete(s.refused, id)
		}
	}
	s.refused[job] = now.Add(reviewAgain)
}

func (s *shift) complain(what string, err error) {
	if said := gist(err); said != s.said { // a full disk says the same for hours
		s.said = said
		s.o.Log.Warn("reviews are held up", "what", what, "err", err)
	}
}

// review asks, and keeps what came of it.
func (s *shift) review(ctx context.Context, c edgeagent.Case) {
	o, err := s.ask(ctx, c)
	if o.Diagnosis != nil {
		if s.keep(ctx, c.Job, func(ctx context.Context) error { return s.o.Book.Review(ctx, c.Job, o) }) {
			s.o.Log.Info("an answer was reviewed", "job", c.Job, "provider", s.o.Provider, "cost_usd", o.CostUSD())
		}
	} else {
		if err == nil {
			err = errors.New("no answer")
		}
		s.leave(c.Job, time.Now())
		s.keep(ctx, c.Job, func(ctx context.Context) error { return s.o.Book.ReviewFailed(ctx, c.Job, o, short(err.Error())) })
	}
	s.o.OnReview(c.Job)
}

// ask turns a crash into an error.
func (s *shift) ask(ctx context.Context, c edgeagent.Case) (o edgeagent.Outcome, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the review crashed: %s", short(fmt.Sprint(r)))
			s.o.Log.Error("a review crashed", "job", c.Job, "err", err, "stack", string(stacks()))
		}
	}()
	o, err = s.o.Asker.DiagnoseWith(ctx, s.o.Provider, c)
	if crash, ok := errors.AsType[crash](err); ok {
		s.o.Log.Error("a review crashed", "job", c.Job, "err", err, "stack", string(crash.Stack()))
	}
	return o, err
}

// keep writes a result, for it may have been paid: as long as it takes, and once
// more when the reviewer stops. What is not kept then goes to the backlog; without
// one it counts at the next start as cut off. It reports whether it was written.
func (s *shift) keep(ctx context.Context, job edgeagent.ID, write func(context.Context) error) bool {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		last := ctx.Err() != nil
		store, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
		err := write(store)
		cancel()
		switch {
		case err == nil:
			return true
		case last && !gone(err) && s.o.Backlog.take(unwritten{job, write, func(error) { s.o.OnReview(job) }}):
			s.o.Log.Warn("the data file did not take the result of a review before the stop; it is kept and tried on", "job", job, "err", err)
			return false
		case gone(err) || last:
			s.o.Log.Warn("the result of a review is dropped", "job", job, "err", err)
			return false
		}
		s.complain("the data file did not take the result of a review; trying on", err)
		wait(ctx, pause)
	}
}

// onPurpose are the reasons for which a provider that could be had is passed by,
// or gave an answer of no use: asked again, it would be the same.
var onPurpose = []edgeagent.CallOutcome{
	edgeagent.CallOK, edgeagent.CallOutput, edgeagent.CallRequest,
	edgeagent.PassedOutside, edgeagent.PassedCap, edgeagent.PassedContext,
}

// WantsReview reports whether a job was answered by another than the first
// provider because that one could not be had.
func WantsReview(j edgeagent.Job, first string) bool {
	d := j.Diagnosis
	if d == nil || d.By.Provider == first {
		return false
	}
	i := slices.IndexFunc(d.By.Passed, func(p edgeagent.Passed) bool { return p.Provider == first })
	return i >= 0 && !slices.Contains(onPurpose, d.By.Passed[i].Reason)
}
