package diagnose

import (
	"context"
	"log/slog"
	"sync"

	"edgeagent"
)

// Backlog keeps results that the data file did not take before the worker, or the
// reviewer, that had them was stopped. A reload stops those and not the data file:
// what nobody ended there would run until the agent is started anew. One backlog
// lives as long as the process; the zero value is ready.
type Backlog struct {
	Log *slog.Logger // nil: nothing is said

	mu   sync.Mutex
	left []unwritten
	over bool // Run has ended
}

// unwritten is a result that is still to be written.
type unwritten struct {
	job   edgeagent.ID
	write func(context.Context) error
	then  func(err error) // told what became of it
}

// take keeps a result; it reports false when nobody will write it. A nil backlog
// keeps nothing.
func (b *Backlog) take(u unwritten) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.left = append(b.left, u)
	}
	return !b.over
}

// Run writes what is kept as soon as the data file takes it. When ctx ends it tries
// once more, and what is not written then is as if the agent had been killed.
func (b *Backlog) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait(ctx, leaseAgain)
		b.try(ctx, false)
	}
	b.try(ctx, true)
	return nil
}

// try writes what can be written. The rest is kept, unless it is the last time.
func (b *Backlog) try(ctx context.Context, last bool) {
	b.mu.Lock()
	all := b.left
	b.left, b.over = nil, last
	b.mu.Unlock()
	for _, u := range all {
		store, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
		err := u.write(store)
		cancel()
		if err != nil && !gone(err) && b.take(u) { // what is smaller may still fit
			continue
		}
		b.say(u.job, err)
		u.then(err)
	}
}

func (b *Backlog) say(job edgeagent.ID, err error) {
	switch {
	case b.Log == nil:
	case err == nil:
		b.Log.Info("the data file has taken the result that it did not take before the stop", "job", job)
	case gone(err):
		b.Log.Warn("the job is no longer ours; the result is dropped", "job", job, "err", err)
	default:
		b.Log.Error("the data file did not take the result before the end; it is lost", "job", job, "err", err)
	}
}
