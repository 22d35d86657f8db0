package llm

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"edgeagent"
)

// Run probes every provider whose breaker is open or that is held, so that the
// next alarm does not pay for finding out, and each once at the start: a model
// on the box is loaded by it. It blocks until ctx ends and returns nil.
func (r *Router) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, t := range r.tiers {
		wg.Go(func() { t.watch(ctx) })
	}
	wg.Wait()
	return nil
}

func (t *tier) watch(ctx context.Context) {
	t.suspected()
	timer := time.NewTimer(idleCheck)
	defer timer.Stop()
	down := false
	for ctx.Err() == nil {
		timer.Reset(t.untilProbe())
		select {
		case <-ctx.Done():
		case to := <-t.changes:
			down = t.changed(to, down)
		case <-t.kick:
		case <-timer.C:
			t.probeIfDue(ctx)
		}
	}
}

// idleCheck is how often a prober with nothing to do looks; it is woken for
// everything that matters.
const idleCheck = time.Hour

func (t *tier) untilProbe() time.Duration {
	state := t.breaker.State() // makes an open breaker half-open when its time is over
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	at, due := t.nextProbe(state, now)
	if !due {
		return idleCheck
	}
	return max(at.Sub(now), 0)
}

// changed follows the breaker and returns whether the provider is down now. A
// long outage is said once, not at every probe that fails.
func (t *tier) changed(to gobreaker.State, down bool) bool {
	switch to {
	case gobreaker.StateOpen:
		// A pooled connection that died with the way would fail every probe.
		if c, ok := t.o.Provider.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
		if !down {
			t.log.Warn("breaker open", "probe_every", t.o.BreakerOpenFor, "error", t.status(time.Now()).Error)
		}
		return true
	case gobreaker.StateClosed:
		t.log.Info("breaker closed")
		return false
	default:
		return down
	}
}

func (t *tier) probeIfDue(ctx context.Context) {
	if t.untilProbe() > 0 {
		return
	}
	if t.o.Kind == kindOllama { // one request at a time, probes too
		select {
		case t.slots <- struct{}{}:
			defer func() { <-t.slots }()
		case <-ctx.Done():
			return
		}
	}
	if t.untilProbe() > 0 { // the job that held the slot has found out
		return
	}
	fail := t.probe(ctx)
	if ctx.Err() == nil {
		t.probed(fail)
	}
}

// probe asks through the breaker when it is half-open, so that success closes
// it. While it is closed only a failure is booked: a list of models that can
// be read must not wipe out the failures of real questions.
func (t *tier) probe(ctx context.Context) *Error {
	ctx, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	if t.breaker.State() != gobreaker.StateClosed {
		_, err := t.breaker.Execute(func() (Answer, error) { return Answer{}, t.sendProbe(ctx) })
		fail := asError(err)
		if fail == nil || fail.Code != codeBreaker { // else a job tries, and its answer is proof
			t.onTrial.Store(t.breaker.State() == gobreaker.StateClosed)
		}
		return fail
	}
	err := t.sendProbe(ctx)
	if countingOf(err) == Counted && err != nil {
		_, _ = t.breaker.Execute(func() (Answer, error) { return Answer{}, err })
	}
	return asError(err)
}

// sendProbe lets a rate limit pass: whoever limits is there.
func (t *tier) sendProbe(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	err = t.o.Provider.Probe(ctx)
	var e *Error
	if errors.As(err, &e) && e.Class == edgeagent.CallThrottled {
		e.Breaker = Healthy
	}
	return err
}

// probed books the end of a probe and when the next one may be.
func (t *tier) probed(fail *Error) {
	now := time.Now()
	if fail == nil {
		t.log.Debug("probe answered")
		t.succeeded(now)
		return
	}
	if fail.Code != codeBreaker {
		t.log.Debug("probe failed", "error", fail.Error())
		t.failed(fail, now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release(now)
	t.pace(fail, now)
}

// pace says when to probe again: soon while failures are still counted, so
// that the breaker opens before the next alarm; after a full open time when
// the answer says nothing about health.
func (t *tier) pace(fail *Error, now time.Time) {
	if fail.Breaker != Counted {
		t.suspect, t.notBefore = -1, now.Add(t.o.BreakerOpenFor)
		return
	}
	t.suspect = max(t.suspect, 0) + 1
	t.notBefore = now.Add(t.o.Retry.Jittered(t.suspect))
}
