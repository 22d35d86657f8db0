package upsync

import (
	"math"
	"time"

	"edgeagent"
)

const (
	// resendEvery bounds an upstream that asks and asks: what it wants is
	// listened to once in this time.
	resendEvery = time.Minute
	// resendSpan bounds a range of an epoch whose end is not known any more.
	resendSpan = 100_000
)

// wanted is a range that is still to be served.
type wanted struct {
	epoch edgeagent.ID
	edgeagent.Range
}

// resend serves the ranges that receipts ask for.
type resend struct {
	queue []wanted
	since time.Time // when they were asked for
	limit int       // events at a time after one was refused, 0 for none
	turn  bool      // the last batch was of this kind
}

// add takes the ranges of a receipt, unless earlier ones are still being
// served or were asked for a moment ago.
func (s *resend) add(r edgeagent.Receipt, l ledger, now time.Time) {
	if len(r.Resend) == 0 || len(s.queue) > 0 || !s.since.IsZero() && now.Sub(s.since) < resendEvery {
		return
	}
	s.since, s.limit = now, 0
	for _, want := range r.Resend {
		want.From = max(want.From, 1)
		end := l.last(r.Epoch, want.Stream)
		if r.Epoch != l.epoch {
			end = math.MaxUint64 - resendSpan
		}
		want.To = min(want.To, end, want.From+resendSpan)
		if want.From <= want.To {
			s.queue = append(s.queue, wanted{r.Epoch, want})
		}
	}
}

func (s *resend) waiting() bool { return len(s.queue) > 0 }

// next returns a batch every other time it is asked: what is new goes between.
func (s *resend) next(book Book, size, maxBytes int) ([]edgeagent.Outgoing, error) {
	if s.turn = s.waiting() && !s.turn; !s.turn {
		return nil, nil
	}
	if s.limit > 0 {
		size = min(size, s.limit)
	}
	const stretch = 256 // numbers looked up at a time; most of them are there
	for s.waiting() {
		head := &s.queue[0]
		to := min(head.To, head.From+stretch-1)
		events, err := book.Range(head.epoch, edgeagent.Range{Stream: head.Stream, From: head.From, To: to})
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			return atMost(events, size, maxBytes), nil
		}
		s.skip(to) // gone; a gap event or the upstream's own books say so
	}
	return nil, nil
}

// skip takes the numbers up to n off the first range.
func (s *resend) skip(n uint64) {
	if s.queue[0].From = n + 1; s.queue[0].From > s.queue[0].To {
		s.queue = s.queue[1:]
	}
}

// served takes a batch off that was stored.
func (s *resend) served(events []edgeagent.Outgoing) {
	s.limit *= 2
	s.skip(events[len(events)-1].Sequence)
}

// refused halves the batch down to the one event, which is left out: its place
// was confirmed before, so there is nothing to park.
func (s *resend) refused(events []edgeagent.Outgoing) {
	if len(events) == 1 {
		s.skip(events[0].Sequence)
		return
	}
	s.limit = len(events) / 2
}

// atMost cuts events to a batch; one event always fits.
func atMost(events []edgeagent.Outgoing, n, maxBytes int) []edgeagent.Outgoing {
	bytes := 0
	for i, ev := range events {
		if bytes += len(ev.Body); i > 0 && (i >= n || bytes > maxBytes) {
			return events[:i]
		}
	}
	return events
}
