package upsync

import (
	"context"

	"edgeagent"
)

// portion decides how much goes into a batch, and finds the one event that an
// upstream refuses.
type portion struct {
	ceiling  int                  // events; halved by 413 and time-outs, grows back
	suspects []edgeagent.Outgoing // a refused batch; the poison is among them
	poison   *edgeagent.Outgoing  // refused alone
	reason   *Error
}

// refused narrows a search: halves of the refused batch go out one after the
// other until a single event is refused alone.
func (p *portion) refused(r result) {
	n := len(r.batch.events)
	switch {
	case n == 0: // a heartbeat
	case n == 1:
		p.poison, p.reason, p.suspects = &r.batch.events[0], r.err, nil
	case r.err.Class == TooLarge:
		p.ceiling, p.suspects = n/2, nil
	default:
		p.suspects = r.batch.events
	}
}

// slow shrinks the batch after a time-out: a slow receiver may manage less.
func (p *portion) slow(r result) {
	if r.err.Timeout {
		p.ceiling = max(1, len(r.batch.events)/2)
	}
}

// stored grows the batch back and takes what is stored off the suspects.
func (p *portion) stored(n, limit int) {
	p.ceiling = min(limit, p.ceiling+p.ceiling/4+1)
	p.suspects = p.suspects[min(n, len(p.suspects)):]
}

// half returns the next part of the suspects to try.
func (p *portion) half() []edgeagent.Outgoing {
	if len(p.suspects) < 2 {
		return p.suspects
	}
	return p.suspects[:min(len(p.suspects)/2, p.ceiling)]
}

// doubt takes a verdict back but keeps the suspects: whoever comes back after
// an outage may be mended, and a search that began anew each time would never
// end on a bad line.
func (p *portion) doubt() {
	if p.poison != nil {
		p.suspects = []edgeagent.Outgoing{*p.poison}
	}
	p.poison, p.reason = nil, nil
}

// forget ends the search.
func (p *portion) forget() { p.suspects, p.poison, p.reason = nil, nil, nil }

// tryPoison parks an event that was refused alone, but only after the upstream
// has just accepted a heartbeat: one that refuses everything has been given
// the wrong address or a broken release, and would have the whole backlog
// parked. An upstream that never took heartbeats must have taken events.
func (u *Uploader) tryPoison(ctx context.Context) result {
	ev, why := *u.portion.poison, u.portion.reason
	r := u.beat(ctx)
	if r.event == unfit && (u.takesBeats || !u.takesEvents) {
		return result{event: refused, err: &Error{Class: Denied, Status: why.Status, Err: why,
			Text: "refuses everything, even a heartbeat: nothing was parked; check the URL and the receiver"}}
	}
	if r.event != accepted && r.event != unfit {
		return r
	}
	if err := u.o.Outbox.Park(ctx, u.o.Name, ev, refusal(u.o.Name, why)); err != nil {
		u.storeFailed("park a refused event", err)
		return result{event: accepted}
	}
	u.o.Log.Warn("upstream refuses an event; it is parked", "upstream", u.o.Name, "stream", ev.Stream, "sequence", ev.Sequence, "why", why)
	u.portion.forget()
	return result{event: accepted}
}
