package llm

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"edgeagent"
)

// tier is a network provider with all that is known of its health.
type tier struct {
	o       ProviderOptions
	log     *slog.Logger
	breaker *gobreaker.CircuitBreaker[Answer]
	slots   chan struct{}        // one element a request under way
	changes chan gobreaker.State // of the breaker, for the prober
	kick    chan struct{}        // wakes the prober
	later   time.Duration        // the budgets of the providers after this one
	before  []*tier              // the providers that are asked before this one
	after   []*tier              // those that stand in for this one

	openUntil atomic.Pointer[time.Time] // the breaker does not tell
	onTrial   atomic.Bool               // a probe closed the breaker, no answer yet has proved it right

	mu        sync.Mutex
	hold      hold
	okAt      time.Time
	usedAt    time.Time // end of the last request, probes too: from then on a loaded model stays
	lastError string
	calls     uint64
	throttled int       // rate limits in a row that named no time
	suspect   int       // failed probes since a failure; -1: not suspect
	notBefore time.Time // of the next probe
}

// hold keeps a provider from being asked: beside the breaker, because neither
// a wrong key nor a Retry-After says that the way there is bad.
type hold struct {
	class  edgeagent.CallOutcome
	reason string
	until  time.Time
}

// Rate limits that name no time hold a provider after so many in a row.
const (
	throttledLimit = 5
	throttledHold  = time.Minute
)

func newTier(o ProviderOptions, maxConcurrent int, log *slog.Logger) *tier {
	o = o.withDefaults()
	slots := max(maxConcurrent, 1)
	if o.Kind == kindOllama {
		slots = 1
	}
	t := &tier{
		o: o, log: log.With("provider", o.Name), slots: make(chan struct{}, slots),
		changes: make(chan gobreaker.State, 16), kick: make(chan struct{}, 1), suspect: -1,
	}
	t.breaker = gobreaker.NewCircuitBreaker[Answer](gobreaker.Settings{
		Name: o.Name, MaxRequests: 1, Timeout: o.BreakerOpenFor,
		// No Interval: alarms are sparse, and a window of a minute would
		// forget every failure before the next one.
		ReadyToTrip:   t.readyToTrip,
		IsSuccessful:  func(err error) bool { return err == nil || countingOf(err) == Healthy },
		IsExcluded:    func(err error) bool { return err != nil && countingOf(err) == Excluded },
		OnStateChange: t.onStateChange,
	})
	return t
}

// readyToTrip opens after the configured failures, and at once after a probe
// that promised too much: a server may list its models and yet not answer.
func (t *tier) readyToTrip(c gobreaker.Counts) bool {
	return c.ConsecutiveFailures >= t.o.BreakerFailures || t.onTrial.Load()
}

// onStateChange runs under the breaker's lock: it must not ask for its state,
// nor wait.
func (t *tier) onStateChange(_ string, _, to gobreaker.State) {
	if to == gobreaker.StateOpen {
		t.onTrial.Store(false)
		until := time.Now().Add(t.o.BreakerOpenFor)
		t.openUntil.Store(&until)
	}
	select {
	case t.changes <- to:
	default: // nobody probes; the state itself is right all the same
	}
	t.alert()
}

func countingOf(err error) Counting {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Breaker
	}
	return Counted
}

// refusal is why a provider is passed by, for programs and for people; the zero
// value is none.
type refusal struct {
	class edgeagent.CallOutcome
	text  string
}

// refuses returns why the provider cannot be asked now.
func (t *tier) refuses(now time.Time) (none refusal) {
	if h := t.held(now); h.reason != "" {
		return refusal{h.class, h.reason}
	}
	if t.breaker.State() == gobreaker.StateOpen {
		return refusal{edgeagent.PassedBreaker, "breaker open"}
	}
	return none
}

func (t *tier) held(now time.Time) hold {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.hold.until) {
		return t.hold
	}
	return hold{}
}

// slot waits for a free place, as long as half of the provider's budget and
// all of the later ones' would still be left, and returns how to give it back.
// It does not wait behind a trial.
func (t *tier) slot(ctx context.Context) (free func(), no refusal) {
	free = func() { <-t.slots }
	end, _ := ctx.Deadline()
	patience := time.NewTimer(max(0, time.Until(end)-t.o.Budget/2-t.later))
	defer patience.Stop()
	select {
	case t.slots <- struct{}{}:
		return free, no
	default:
	}
	if t.breaker.State() != gobreaker.StateClosed { // whoever has the place tries a provider that may hang
		return nil, refusal{edgeagent.PassedBreaker, "breaker half-open, another request tries"}
	}
	select {
	case t.slots <- struct{}{}:
		return free, no
	case <-patience.C:
		return nil, refusal{edgeagent.PassedBusy, "busy with other jobs"}
	case <-ctx.Done():
		return nil, refusal{edgeagent.CallAborted, "given up by the agent"}
	}
}

// asked counts a request.
func (t *tier) asked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
}

// answered books an answer: it proves a provider that a probe let back.
func (t *tier) answered(now time.Time) {
	t.onTrial.Store(false)
	t.succeeded(now)
}

// refused books a request that was not sent, unless the breaker refused it.
func (t *tier) refused(e *Error) {
	if e.Code != codeBreaker {
		t.failed(e, time.Now())
	}
}

// rest holds the provider for what it asked for, when no job waits so long; one
// that was busy for a whole budget will be for a minute more.
func (t *tier) rest(e *Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := e.RetryAfter
	if e.Queue {
		d = max(d, throttledHold)
	}
	if d > 0 {
		t.holdFor(d, e, time.Now())
	}
}

// succeeded books an answer, or a probe that went well.
func (t *tier) succeeded(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.okAt, t.usedAt, t.lastError, t.throttled, t.suspect = now, now, "", 0, -1
	t.release(now)
}

// pardon forgets a hold before its time, because a person says that its cause
// is mended; the prober finds out whether it is. A server that asked for time
// gets it all the same.
func (t *tier) pardon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.hold.class {
	case edgeagent.CallAuth, edgeagent.CallQuota, edgeagent.CallConfig:
		t.hold.until = time.Time{}
		t.release(time.Now())
		t.suspect = max(t.suspect, 0) // not ready before a probe went well
		t.wake()
	default: // passes by itself
	}
}

// release forgets a hold whose time is over; the caller holds the lock.
func (t *tier) release(now time.Time) {
	if t.hold.reason != "" && !now.Before(t.hold.until) {
		t.log.Info("provider released", "reason", t.hold.reason)
		t.hold = hold{}
	}
}

// failed books a failure and holds the provider if it says so.
func (t *tier) failed(e *Error, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !e.Unsent {
		t.usedAt = now
	}
	if e.Class == edgeagent.CallAborted {
		return
	}
	t.lastError = e.Error()
	d := e.Hold
	if e.RetryAfter > maxWaited {
		d = max(d, e.RetryAfter)
	}
	switch {
	case e.Queue: // the job that waits says when it has waited enough
	case e.Class != edgeagent.CallThrottled, e.RetryAfter > 0:
		t.throttled = 0
	case t.throttled+1 >= throttledLimit:
		t.throttled, d = 0, max(d, throttledHold)
	default:
		t.throttled++
	}
	if d > 0 {
		t.holdFor(d, e, now)
	}
}

// holdFor keeps the provider from being asked; the caller holds the lock.
func (t *tier) holdFor(d time.Duration, e *Error, now time.Time) {
	reason := e.Error()
	until := now.Add(d)
	if !until.After(t.hold.until) {
		return
	}
	if reason != t.hold.reason {
		t.log.Warn("provider held", "reason", reason, "until", until)
	}
	t.hold = hold{class: e.Class, reason: reason, until: until}
	t.wake()
	t.alert()
}

// suspected wakes the prober after a job has given the provider up: what it
// finds out, the next alarm does not have to.
func (t *tier) suspected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.suspect < 0 {
		t.suspect = 0
	}
	t.wake()
}

func (t *tier) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *tier) status(now time.Time) edgeagent.ProviderStatus {
	state := t.breaker.State()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := edgeagent.ProviderStatus{
		Name: t.o.Name, Kind: t.o.Kind, Model: t.o.Model, Breaker: state.String(), Calls: t.calls,
		LastOKAt: edgeagent.TimePtr(t.okAt), Error: t.lastError, ContextTokens: t.o.ContextTokens,
	}
	if m, ok := t.o.Provider.(interface{ Speed() Speed }); ok {
		speed := m.Speed()
		s.TokensPerSecond, s.PromptTokensPerSecond = speed.TokensPerSecond, speed.PromptTokensPerSecond
		s.LoadS, s.WaitS = speed.Load.Seconds(), speed.Wait.Seconds()
	}
	if now.Before(t.hold.until) {
		s.Hold, s.HoldClass, s.HoldUntil = t.hold.reason, t.hold.class, edgeagent.TimePtr(t.hold.until)
	}
	if at, due := t.nextProbe(state, now); due {
		s.NextProbe = &at
	}
	return s
}

// nextProbe returns when the provider is to be probed, if at all. The caller
// holds the lock.
func (t *tier) nextProbe(state gobreaker.State, now time.Time) (time.Time, bool) {
	var at time.Time
	switch {
	case t.hold.reason != "":
		at = t.hold.until
	case state == gobreaker.StateOpen:
		// One millisecond past the end: at the end itself it is still open.
		at = t.openUntil.Load().Add(time.Millisecond)
	case state == gobreaker.StateHalfOpen:
		at = now
	case t.suspect == 0:
		at = now
	case t.suspect > 0:
		at = t.notBefore
	case t.standsIn(now):
		at = t.coldAt(now)
	default:
		return time.Time{}, false
	}
	if at.Before(t.notBefore) {
		at = t.notBefore
	}
	return at, true
}
