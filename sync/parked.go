package upsync

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"edgeagent"
)

// retrial is how what was refused once is tried anew.
type retrial struct {
	size     int       // events at a time, 0 for no limit
	at       time.Time // nothing before
	balks    int       // tries in a row that failed, and nobody refused anything
	refusals int       // in a row
}

// An upstream that still refuses everything is not asked as fast as it can answer.
const (
	freeRefusals = 10 // in a row, before each takes its time
	refusalPace  = time.Second
)

// refusedOnce returns what this upstream has refused and a person wants it to
// get after all. It comes when nothing else waits: it is old, and what is new
// must not wait for it.
func (u *Uploader) refusedOnce(size int) (batch, error) {
	if u.o.Refusals == nil || time.Now().Before(u.again.at) {
		return batch{}, nil
	}
	if u.again.size > 0 {
		size = min(size, u.again.size)
	}
	events, err := u.o.Refusals.Asked(u.o.Name, size, u.o.MaxBytes)
	if len(events) == 0 && err == nil {
		u.again = retrial{}
	}
	return batch{events: events, again: true, parked: true}, err
}

// idleUntil returns when there is something to do again that nobody tells of.
func (u *Uploader) idleUntil(now time.Time) time.Time {
	if u.again.at.After(now) {
		return earlier(u.again.at, u.beatAt)
	}
	return u.beatAt
}

// storedAfterAll books what the upstream has now. What it accepts and does not
// count waits for the next word: sending it again and again helps nobody.
func (u *Uploader) storedAfterAll(ctx context.Context, b batch, proof edgeagent.Receipt) result {
	stored, rest := u.split(b.events, proof)
	ctx, cancel := u.booking(ctx)
	defer cancel()
	if err := u.o.Refusals.Unpark(ctx, u.o.Name, stored); err != nil {
		u.storeFailed("book a refused event as stored", err)
		return result{event: accepted}
	}
	u.again = retrial{size: u.again.size * 2}
	if len(stored) > 0 {
		u.o.Log.Info("upstream has stored what it had refused", "upstream", u.o.Name, "events", len(stored))
	}
	for _, ev := range rest {
		u.parkAgain(ctx, ev, edgeagent.NewNote("refused_upstream", u.o.Name+" accepted it, but its receipt does not have it", "upstream", u.o.Name))
	}
	return result{event: accepted}
}

// split tells which events of a batch a receipt proves.
func (u *Uploader) split(events []edgeagent.Outgoing, proof edgeagent.Receipt) (stored, rest []edgeagent.Outgoing) {
	l := u.ledger(events[0].Epoch)
	reached := map[edgeagent.Stream]uint64{}
	for stream, sent := range numbers(events) {
		reached[stream] = l.reach(stream, sent, proof.Contig[stream], proof.Resend)
	}
	for _, ev := range events {
		if ev.Sequence <= reached[ev.Stream] && !asked(proof.Resend, ev.Stream, ev.Sequence) {
			stored = append(stored, ev)
		} else {
			rest = append(rest, ev)
		}
	}
	return stored, rest
}

// concernsEvents reports whether a batch of refused events is refused for itself.
// A number that upstream has booked otherwise is one more reason: it must not
// pause what is new. A conflict that we found in its receipt is the upstream's.
func (e *Error) concernsEvents() bool {
	return e.Class == Unfit || e.Class == TooLarge || e.Class == Conflict && e.Status != 0
}

// failedAgain keeps what is old from stopping what is new. A 403, a 500 or a cut
// connection may be the event's own fault, as when a firewall on the way dislikes
// a word in it; so it rests, a heartbeat shows how the upstream itself is, and
// after a few tries it counts as refused.
func (u *Uploader) failedAgain(ctx context.Context, b batch, fault *Error) result {
	switch {
	case fault.concernsEvents():
		return u.refusedAgain(ctx, b, fault)
	case ctx.Err() != nil:
		return result{} // we stop: nobody's fault
	}
	u.again.at = time.Now().Add(pauseFor)
	if u.again.balks++; u.again.balks >= giveUp {
		u.again.at = time.Time{}
		u.refusedAgain(ctx, b, fault)
	} else {
		u.o.Log.Warn("a refused event was not taken; it is tried again later", "upstream", u.o.Name, "events", len(b.events), "next", u.again.at, "why", fault)
	}
	if fault.Class == Busy { // it says when it wants the next request
		return result{event: u.classify(fault), err: fault, batch: b}
	}
	u.beatAt = time.Now()
	return result{event: accepted}
}

// refusedAgain halves the batch down to the events that are still refused.
func (u *Uploader) refusedAgain(ctx context.Context, b batch, why *Error) result {
	if u.again.refusals++; u.again.refusals >= freeRefusals {
		u.again.at = time.Now().Add(refusalPace)
	}
	if n := len(b.events); n > 1 {
		u.again.size = n / 2
		return result{event: accepted}
	}
	u.again.balks = 0
	u.parkAgain(ctx, b.events[0], refusal(u.o.Name, why))
	return result{event: accepted}
}

func (u *Uploader) parkAgain(ctx context.Context, ev edgeagent.Outgoing, note *edgeagent.Note) {
	ctx, cancel := u.booking(ctx)
	defer cancel()
	if err := u.o.Outbox.Park(ctx, u.o.Name, ev, note); err != nil {
		u.storeFailed("park a refused event", err)
		return
	}
	u.o.Log.Warn("upstream refuses an event again; it is parked", "upstream", u.o.Name, "stream", ev.Stream, "sequence", ev.Sequence, "why", note.Text)
}

// refusal is why an event is parked.
func refusal(upstream string, why *Error) *edgeagent.Note {
	return edgeagent.NewNote("refused_upstream", fmt.Sprintf("%s refused it: %s", upstream, why), "upstream", upstream, "status", strconv.Itoa(why.Status))
}
