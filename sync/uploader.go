package upsync

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
)

// Options are what an [Uploader] is made of. Name, Destination, Outbox, Book
// and Source are required.
type Options struct {
	Name, URL   string
	Destination Destination
	Outbox      Outbox
	Book        Book
	Refusals    Refusals        // nil: what was refused stays so
	Ready       <-chan struct{} // receives when something new is in the outbox
	Source      string          // CloudEvents source of the agent
	Batch       int             // events, default 200
	MaxBytes    int             // of the events of a batch before compression, default 256 KiB
	Timeout     time.Duration   // one request, default 15 s
	Heartbeat   time.Duration   // default 60 s
	Retry       retry.Backoff   // default 1 s to 60 s; its jitter is not used: all of the wait is random
	Receipt     string          // "body": the answer is a receipt; "status": accepted is enough
	Log         *slog.Logger
	Poke        <-chan struct{} // the link or a route changed: the next probe may come sooner
	// HeartbeatData returns what a heartbeat says of the agent; nil for nothing.
	HeartbeatData func() any
	// Stamp returns the boot id and the nanoseconds since that boot, as events
	// carry them; nil leaves them out.
	Stamp func() (boot, mono string)
	// OnChange is told after every request, whatever came of it; nil is nobody.
	OnChange func()
}

const (
	pauseFor = 5 * time.Minute // between probes of a destination that refuses us
	// A poke comes in bursts while an interface comes up, and half a second
	// before DNS works; probes on its behalf come at most every 10 s.
	pokeDelay, pokeEvery = 2 * time.Second, 10 * time.Second
)

// Uploader keeps one upstream supplied.
type Uploader struct {
	o      Options
	asked  chan struct{}
	random func() float64 // in [0,1)

	mu    sync.Mutex // guards what Status reads
	state edgeagent.UpstreamState
	since time.Time
	text  string
	next  time.Time // of the next try while nothing may be sent

	// What follows belongs to Run.
	fails                   int       // failed sends in a row
	outage                  time.Time // when the first of them was, zero while all is well
	quiet                   time.Time // no request before
	ordered                 bool      // quiet was set by the upstream: a poke does not shorten it
	flow                    time.Time // no batch before
	beatAt                  time.Time // the next heartbeat while up
	triedAt                 time.Time // the last request
	pace                    pace
	portion                 portion
	resend                  resend
	again                   retrial
	unserved                int  // failures of the data file since it last took a receipt
	takesBeats, takesEvents bool // it has accepted one in this life
	trusted                 bool // it has taken events since it came up
	barren                  bool // it came up, and what it was sent then failed
	trial                   bool // events are next, though it is not up
}

// New returns an uploader that has tried nothing yet.
func New(o Options) *Uploader {
	setDefault(&o.Batch, 200)
	setDefault(&o.MaxBytes, 256<<10)
	setDefault(&o.Timeout, 15*time.Second)
	setDefault(&o.Heartbeat, time.Minute)
	setDefault(&o.Retry.First, time.Second)
	setDefault(&o.Retry.Max, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Uploader{
		o: o, asked: make(chan struct{}, 1), random: rand.Float64,
		state: edgeagent.UpstreamProbing, since: time.Now(),
		portion: portion{ceiling: o.Batch},
	}
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// ProbeNow has the upstream tried at once, whatever it waits for: a person has
// mended something.
func (u *Uploader) ProbeNow() {
	select {
	case u.asked <- struct{}{}:
	default:
	}
}

// heed takes a person's word for what goes out now: left behind, it would lift
// what the answer orders.
func (u *Uploader) heed() {
	select {
	case <-u.asked:
		u.again.at = time.Time{}
	default:
	}
}

// Status returns how the upstream is doing.
func (u *Uploader) Status() edgeagent.UpstreamStatus {
	u.mu.Lock()
	s := edgeagent.UpstreamStatus{Name: u.o.Name, URL: u.o.URL, State: u.state, Error: u.text}
	since, next := u.since, u.next
	u.mu.Unlock()
	s.Since = &since
	if time.Until(next) > 0 {
		s.NextTryAt = &next
	}
	b := u.o.Book.Backlog(u.o.Name)
	s.Backlog, s.Confirmed, s.Parked, s.Again = b.Events, b.Confirmed, b.Parked, b.Again
	if !b.Oldest.IsZero() {
		s.OldestS = max(time.Since(b.Oldest).Seconds(), 0)
	}
	return s
}

// Run sends until ctx ends. Everything else is waited out, so it returns nil.
func (u *Uploader) Run(ctx context.Context) error {
	defer u.closeIdle()
	for ctx.Err() == nil {
		if r := u.act(ctx); r.event != "" && ctx.Err() == nil {
			u.step(r)
		}
	}
	return nil
}

// result is what one request came to; without an event nothing was sent.
type result struct {
	event event
	err   *Error
	batch batch
}

// act does the next thing: wait, or send one request.
func (u *Uploader) act(ctx context.Context) result {
	now := time.Now()
	if u.quiet.After(now) {
		u.sleep(ctx, u.quiet, nil)
		return result{}
	}
	if !u.trial && (u.state != edgeagent.UpstreamUp || !u.beatAt.After(now)) {
		return u.beat(ctx)
	}
	if u.portion.poison != nil {
		return u.tryPoison(ctx)
	}
	if !u.trial && u.flow.After(now) {
		u.sleep(ctx, earlier(u.flow, u.beatAt), nil)
		return result{}
	}
	b, err := u.choose()
	if err != nil {
		u.storeFailed("read the outbox", err)
		return result{}
	}
	if len(b.events) == 0 && u.trial {
		return result{event: accepted} // what failed does not wait any more
	}
	if len(b.events) == 0 {
		u.unserved = 0
		u.pace.end()
		u.sleep(ctx, u.idleUntil(now), u.o.Ready)
		return result{}
	}
	return u.deliver(ctx, b)
}

// sleep waits until at, or for something that is worth a look before.
func (u *Uploader) sleep(ctx context.Context, at time.Time, ready <-chan struct{}) {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-ready:
	case <-u.asked:
		u.quiet, u.beatAt, u.again.at = time.Time{}, time.Now(), time.Time{}
	case <-u.o.Poke:
		u.poked()
	}
}

// poked brings the next heartbeat forward, on a fresh connection: the old one
// may belong to an address that we no longer have.
func (u *Uploader) poked() {
	u.closeIdle()
	at := time.Now().Add(pokeDelay)
	if soonest := u.triedAt.Add(pokeEvery); soonest.After(at) {
		at = soonest
	}
	u.beatAt = earlier(u.beatAt, at)
	if !u.ordered {
		u.wait(earlier(u.quiet, at))
	}
}

// wait lets nothing be sent before at.
func (u *Uploader) wait(at time.Time) {
	u.quiet = at
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next = at
}

func (u *Uploader) closeIdle() {
	if d, ok := u.o.Destination.(idler); ok {
		d.CloseIdleConnections()
	}
}

// storeFailed waits out a data file that does not answer; the upstream's state
// is not touched by it. A disk can be full for days: it is said once, and what
// cannot be booked is sent again less and less often.
func (u *Uploader) storeFailed(what string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if u.unserved++; u.unserved == 1 {
		u.o.Log.Error("the data file does not serve the upstream; trying on", "upstream", u.o.Name, "what", what, "err", err)
	}
	u.wait(time.Now().Add(u.o.Retry.Wait(3 + u.unserved)))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
