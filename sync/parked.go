package upsync

import (
	"context"
	"fmt"
	"strconv"

	"edgeagent"
)

// refusedOnce returns what this upstream has refused and a person wants it to
// get after all. It comes when nothing else waits: it is old, and what is new
// must not wait for it.
func (u *Uploader) refusedOnce(size int) (batch, error) {
	if u.o.Refusals == nil {
		return batch{}, nil
	}
	if u.again > 0 {
		size = min(size, u.again)
	}
	events, err := u.o.Refusals.Asked(u.o.Name, size, u.o.MaxBytes)
	if len(events) == 0 {
		u.again = 0
	}
	return batch{events: events, again: true, parked: true}, err
}

// storedAfterAll books what the upstream has now. What it accepts and does not
// count waits for the next word: sending it again and again helps nobody.
func (u *Uploader) storedAfterAll(ctx context.Context, b batch, proof edgeagent.Receipt) result {
	stored, rest := u.split(b.events, proof)
	if err := u.o.Refusals.Unpark(ctx, u.o.Name, stored); err != nil {
		u.storeFailed("book a refused event as stored", err)
		return result{event: accepted}
	}
	u.again *= 2
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
// pause what is new.
func (e *Error) concernsEvents() bool {
	return e != nil && (e.Class == Unfit || e.Class == TooLarge || e.Class == Conflict)
}

// refusedAgain halves the batch down to the events that are still refused.
func (u *Uploader) refusedAgain(ctx context.Context, b batch, why *Error) result {
	if n := len(b.events); n > 1 {
		u.again = n / 2
		return result{event: accepted}
	}
	u.parkAgain(ctx, b.events[0], refusal(u.o.Name, why))
	return result{event: accepted}
}

func (u *Uploader) parkAgain(ctx context.Context, ev edgeagent.Outgoing, note *edgeagent.Note) {
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
