package upsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"edgeagent"
)

// batch is what goes out in one request: events of one epoch.
type batch struct {
	events []edgeagent.Outgoing
	again  bool // the cursor is past them: served to a resend, or
	parked bool // refused once, and tried anew because a person wants it
}

// choose returns the next batch: the rest of a refused one, else what upstream
// wants again and what is new in turns, for a long resend must not hold up the
// alarms of now.
func (u *Uploader) choose() (batch, error) {
	if half := u.portion.half(); len(half) > 0 {
		return batch{events: half}, nil
	}
	size := min(u.portion.ceiling, u.pace.size(u.o.Batch))
	if !u.trial {
		if again, err := u.resend.next(u.o.Book, size, u.o.MaxBytes); err != nil || len(again) > 0 {
			return batch{events: again, again: true}, err
		}
	}
	events, err := u.o.Outbox.Pending(u.o.Name, size, u.o.MaxBytes)
	switch {
	case len(events) > 0 || err != nil:
		return batch{events: oneEpoch(events)}, err
	case u.trial: // what is old says nothing of what waits
		return batch{}, nil
	case u.resend.waiting():
		return u.choose()
	default:
		return u.refusedOnce(size)
	}
}

// oneEpoch cuts a batch where the epoch changes: a receipt speaks of one.
func oneEpoch(events []edgeagent.Outgoing) []edgeagent.Outgoing {
	for i, ev := range events {
		if ev.Epoch != events[0].Epoch {
			return events[:i]
		}
	}
	return events
}

// deliver sends a batch and books what its receipt proves.
func (u *Uploader) deliver(ctx context.Context, b batch) result {
	start := time.Now()
	proof, fault := u.send(ctx, b.events, b.again)
	switch {
	case b.parked && fault != nil:
		return u.failedAgain(ctx, b, fault)
	case b.again && fault != nil:
		return u.notTaken(ctx, b, fault)
	case fault != nil:
		u.barren = u.barren || !u.trusted
		return result{event: u.classify(fault), err: fault, batch: b}
	}
	if !b.again {
		u.trusted, u.barren = true, false
	}
	u.flow = start.Add(u.pace.gap(len(b.events)))
	u.pace.good(time.Since(start))
	u.takesEvents = true
	switch {
	case b.parked:
		return u.storedAfterAll(ctx, b, proof)
	case b.again:
		u.resend.served(b.events)
		return result{event: accepted}
	}
	u.portion.stored(proven(b.events, proof), u.o.Batch)
	u.confirm(ctx, proof)
	return result{event: accepted}
}

// notTaken narrows a resend that failed, whyever, down to an event that is left out.
// It was delivered long ago: a firewall that dislikes it, or a receiver that falls
// over it, must not stop what is new. A heartbeat shows how the upstream itself is;
// who wants the event all the same asks again.
func (u *Uploader) notTaken(ctx context.Context, b batch, fault *Error) result {
	if ctx.Err() != nil {
		return result{} // we stop: nobody's fault
	}
	u.o.Log.Debug("what upstream asked for again was not taken", "upstream", u.o.Name, "events", len(b.events), "why", fault)
	u.resend.refused(b.events)
	switch fault.Class {
	case Busy: // it says when it wants the next request
		u.beatAt = time.Now() // the first after that: else a few of these in a row would be an outage
		return result{event: u.classify(fault), err: fault, batch: b}
	case Unfit, TooLarge: // for itself
	default:
		u.beatAt, u.flow = time.Now(), time.Now().Add(refusalPace)
	}
	return result{event: accepted}
}

// proven returns how many events from the front of a batch are stored.
func proven(events []edgeagent.Outgoing, proof edgeagent.Receipt) int {
	for i, ev := range events {
		if ev.Sequence > proof.Contig[ev.Stream] {
			return i
		}
	}
	return len(events)
}

// send makes one request and returns what its receipt proves.
func (u *Uploader) send(ctx context.Context, events []edgeagent.Outgoing, again bool) (edgeagent.Receipt, *Error) {
	u.ordered, u.triedAt = false, time.Now()
	u.heed()
	u.wait(time.Time{})
	ctx, cancel := context.WithTimeout(ctx, u.o.Timeout)
	defer cancel()
	r, err := u.o.Destination.Send(ctx, events)
	if err != nil {
		u.refresh(err)
		return edgeagent.Receipt{}, known(ctx, err)
	}
	if r.Epoch == "" {
		if u.o.Receipt != "status" {
			return edgeagent.Receipt{}, &Error{Class: NotReceipt, Text: `accepted without a receipt; set receipt = "status" if that is all this upstream gives`}
		}
		r = implied(events)
	}
	if again { // nothing in it moves a cursor
		events = []edgeagent.Outgoing{{Epoch: events[0].Epoch}}
	}
	l := u.ledger(events[0].Epoch)
	proof, fault := judge(events, r, l)
	u.resend.add(proof, l, time.Now())
	if again && fault == nil {
		proof.Contig = r.Contig
	}
	return proof, fault
}

// refresh drops connections after a failure without an answer: the next probe
// must not go out from an address that we no longer have.
func (u *Uploader) refresh(err error) {
	var e *Error
	if !errors.As(err, &e) || e.Class == NoAnswer {
		u.closeIdle()
	}
}

// known returns err as an *Error; what no destination classified is taken for
// the network's fault.
func known(ctx context.Context, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Class: NoAnswer, Text: "no answer", Timeout: errors.Is(ctx.Err(), context.DeadlineExceeded), Err: err}
}

func (u *Uploader) ledger(epoch edgeagent.ID) ledger {
	b := u.o.Book.Backlog(u.o.Name) // after the answer: it cannot be behind what was sent
	return ledger{
		epoch: b.Epoch,
		next:  b.Next,
		missing: func(s edgeagent.Stream, n uint64) bool {
			if u.o.Book.IsParked(u.o.Name, epoch, s, n) {
				return true
			}
			kept, err := u.o.Book.Range(epoch, edgeagent.Range{Stream: s, From: n, To: n})
			return err == nil && len(kept) == 0 // nobody has it any more; a gap event names it
		},
	}
}

// classify turns a failed send into an event of the machine.
func (u *Uploader) classify(e *Error) event {
	switch e.Class {
	case NoAnswer, Busy:
		if u.fails+1 >= giveUp {
			return lost
		}
		if e.Class == Busy {
			return busy
		}
		return noAnswer
	case Unproven:
		if u.fails+1 < giveUp {
			return busy
		}
		return refused
	case Unfit, TooLarge:
		return unfit
	default:
		return refused
	}
}

// booking is for what an answer in hand is booked with: even while the agent stops.
func (u *Uploader) booking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), u.o.Timeout)
}

// confirm moves the cursors. If the data file does not take it, the same events go out again
// later: upstream applies each id once.
func (u *Uploader) confirm(ctx context.Context, proof edgeagent.Receipt) {
	ctx, cancel := u.booking(ctx)
	defer cancel()
	if err := u.o.Outbox.Confirm(ctx, u.o.Name, proof); err != nil {
		u.portion.forget()
		u.storeFailed("confirm a receipt", err)
		return
	}
	u.unserved = 0
}

// beat sends a heartbeat. It is never stored, has no number, and says what the
// next number of each stream will be, so that upstream can see what it lacks.
func (u *Uploader) beat(ctx context.Context) result {
	u.beatAt = time.Now().Add(u.o.Heartbeat)
	hb, err := u.heartbeat(time.Now())
	if err != nil {
		return result{event: refused, err: &Error{Class: Denied, Text: "heartbeat", Err: err}}
	}
	r := result{event: accepted}
	if _, fault := u.send(ctx, []edgeagent.Outgoing{hb}, false); fault != nil {
		r = result{event: u.classify(fault), err: fault}
	}
	u.takesBeats = u.takesBeats || r.event == accepted
	if u.barren && u.state != edgeagent.UpstreamUp && (r.event == accepted || r.event == unfit) {
		return result{event: halfway}
	}
	return r
}

func (u *Uploader) heartbeat(now time.Time) (edgeagent.Outgoing, error) {
	b := u.o.Book.Backlog(u.o.Name)
	data := struct {
		Next    map[edgeagent.Stream]uint64 `json:"next"`
		Backlog int                         `json:"backlog"`
		OldestS float64                     `json:"oldest_s"`
		Parked  int                         `json:"parked"`
		Agent   any                         `json:"agent,omitempty"`
	}{Next: b.Next, Backlog: b.Events, Parked: b.Parked}
	if b.Events > 0 {
		data.OldestS = max(now.Sub(b.Oldest).Seconds(), 0)
	}
	if u.o.HeartbeatData != nil {
		data.Agent = u.o.HeartbeatData()
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return edgeagent.Outgoing{}, fmt.Errorf("marshal its data: %w", err)
	}
	ev := edgeagent.Event{
		SpecVersion: "1.0", ID: edgeagent.EventID(u.o.Source, edgeagent.EventHeartbeat, edgeagent.NewID(now), 0),
		Source: u.o.Source, Type: edgeagent.EventHeartbeat, Time: now, DataContentType: "application/json",
		Epoch: b.Epoch, Data: raw,
	}
	if u.o.Stamp != nil {
		ev.Boot, ev.Mono = u.o.Stamp()
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return edgeagent.Outgoing{}, fmt.Errorf("marshal it: %w", err)
	}
	return edgeagent.Outgoing{Epoch: ev.Epoch, ID: ev.ID, Type: ev.Type, At: now, Body: body}, nil
}
