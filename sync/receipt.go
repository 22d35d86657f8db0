package upsync

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"edgeagent"
)

// ErrNotReceipt is wrapped by every error of [ParseReceipt].
var ErrNotReceipt = errors.New("not a receipt")

// maxResend bounds the ranges of one receipt that are listened to.
const maxResend = 16

// ParseReceipt reads a receipt as it comes over any transport:
// {"epoch":"…","contig":{"alarm":12},"resend":[{"stream":"alarm","from":3,"to":4}]}.
// It checks the shape; whether the receipt proves anything is the uploader's.
func ParseReceipt(body []byte) (edgeagent.Receipt, error) {
	var r edgeagent.Receipt
	if err := json.Unmarshal(body, &r); err != nil {
		return edgeagent.Receipt{}, fmt.Errorf("%w: %w", ErrNotReceipt, err)
	}
	if _, err := edgeagent.ParseID(string(r.Epoch)); err != nil {
		return edgeagent.Receipt{}, fmt.Errorf("%w: epoch %.40q is no id", ErrNotReceipt, r.Epoch)
	}
	if len(r.Resend) > maxResend {
		r.Resend = r.Resend[:maxResend] // what is missing then is asked for again
	}
	return r, nil
}

// implied is the receipt of a destination that says no more than "accepted".
func implied(batch []edgeagent.Outgoing) edgeagent.Receipt {
	r := edgeagent.Receipt{Epoch: batch[0].Epoch, Contig: map[edgeagent.Stream]uint64{}}
	for _, ev := range batch {
		if ev.Stream != "" {
			r.Contig[ev.Stream] = max(r.Contig[ev.Stream], ev.Sequence)
		}
	}
	return r
}

// ledger is what the agent knows of its own numbers when a receipt comes.
type ledger struct {
	epoch   edgeagent.ID
	next    map[edgeagent.Stream]uint64
	missing func(edgeagent.Stream, uint64) bool // parked: the upstream cannot have it
}

// judge returns what a receipt proves: the cursors that may move, and what the
// upstream wants again. An error of class Unproven says that nothing was stored
// this time; NotReceipt and Conflict say that the receipt cannot be true, and
// nothing of it counts.
func judge(batch []edgeagent.Outgoing, r edgeagent.Receipt, l ledger) (edgeagent.Receipt, *Error) {
	epoch := batch[0].Epoch
	if r.Epoch != epoch {
		return edgeagent.Receipt{}, &Error{Class: NotReceipt,
			Text: fmt.Sprintf("the receipt is for epoch %s, the events are of %s: is another agent using this source?", r.Epoch, epoch)}
	}
	if fault := l.beyond(r); fault != nil {
		return edgeagent.Receipt{}, fault
	}
	proof := edgeagent.Receipt{Epoch: epoch, Contig: map[edgeagent.Stream]uint64{}, Resend: r.Resend}
	var stuck *Error
	for stream, sent := range numbers(batch) {
		contig, last := r.Contig[stream], sent[len(sent)-1]
		if reached := l.reach(stream, sent, contig, r.Resend); reached >= sent[0] {
			proof.Contig[stream] = min(reached, max(last, l.last(epoch, stream)))
			continue
		}
		if stuck = unproven(stream, sent[0], last, contig, asked(r.Resend, stream, contig+1)); stuck.Class != Unproven {
			return edgeagent.Receipt{}, stuck
		}
	}
	if len(proof.Contig) > 0 {
		stuck = nil // the rest comes first in the next batch
	}
	return proof, stuck
}

// unproven says why a batch was accepted but none of a stream's events is in
// the receipt. A receiver that ends right before the batch may only be slow;
// one that forgot confirmed events, and does not ask for them, has lost data.
func unproven(stream edgeagent.Stream, first, last, contig uint64, asked bool) *Error {
	if contig+1 >= first || asked {
		return &Error{Class: Unproven, Text: fmt.Sprintf("%s %d to %d was accepted, but the receipt ends at %d", stream, first, last, contig)}
	}
	return &Error{Class: Conflict,
		Text: fmt.Sprintf("the receipt ends at %s %d, but %d was confirmed before: the upstream lost events; it gets them when its receipt asks by resend", stream, contig, first-1)}
}

// beyond finds a number in r that was never written: the data file is older
// than what upstream has, and numbers would be used twice.
func (l ledger) beyond(r edgeagent.Receipt) *Error {
	if r.Epoch != l.epoch {
		return nil // of an earlier life of the file; its end is not known any more
	}
	for stream, contig := range r.Contig {
		if next, known := l.next[stream]; known && contig >= max(next, 1) {
			return &Error{Class: Conflict,
				Text: fmt.Sprintf("the receipt confirms %s %d, but only %d were ever written: was an old data file restored?", stream, contig, max(next, 1)-1)}
		}
	}
	return nil
}

// last returns the highest number of a stream that was written.
func (l ledger) last(epoch edgeagent.ID, stream edgeagent.Stream) uint64 {
	if next := l.next[stream]; epoch == l.epoch && next > 0 {
		return next - 1
	}
	return 0
}

// reach returns up to where a stored batch is proven. The receipt's own number
// counts, unless the next one cannot be there or is being asked for: then the
// upstream cannot count on for a known reason, and its 2xx stands for the
// batch, up to the first number of it that it wants again.
func (l ledger) reach(stream edgeagent.Stream, sent []uint64, contig uint64, resend []edgeagent.Range) uint64 {
	if contig >= sent[len(sent)-1] || slices.Contains(sent, contig+1) {
		return contig
	}
	if !asked(resend, stream, contig+1) && !l.missing(stream, contig+1) {
		return contig
	}
	for _, n := range sent {
		if n > contig && asked(resend, stream, n) {
			break
		}
		contig = max(contig, n)
	}
	return contig
}

func numbers(batch []edgeagent.Outgoing) map[edgeagent.Stream][]uint64 {
	all := map[edgeagent.Stream][]uint64{}
	for _, ev := range batch {
		if ev.Stream != "" {
			all[ev.Stream] = append(all[ev.Stream], ev.Sequence)
		}
	}
	return all
}

func asked(resend []edgeagent.Range, stream edgeagent.Stream, n uint64) bool {
	for _, r := range resend {
		if r.Stream == stream && r.From <= n && n <= r.To {
			return true
		}
	}
	return false
}
