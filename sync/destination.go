package upsync

import (
	"context"
	"fmt"
	"time"

	"edgeagent"
)

// Destination is a place that stores events and says so.
type Destination interface {
	// Send delivers a batch of one epoch, or a single heartbeat, which has no
	// stream and no number. The receipt is what the storing system returned;
	// the zero receipt means that it was accepted without one. Errors are
	// *[Error].
	Send(ctx context.Context, batch []edgeagent.Outgoing) (edgeagent.Receipt, error)
}

// idler is a destination that keeps connections. They are closed when the
// network may have changed under them.
type idler interface{ CloseIdleConnections() }

// Outbox is the stored events of one data file, with a cursor for each
// destination.
type Outbox interface {
	// Pending returns the next events for dest in the order in which they are
	// to be sent, at least one if any is waiting.
	Pending(dest string, maxEvents, maxBytes int) ([]edgeagent.Outgoing, error)
	// Confirm moves the cursors of dest forward to the receipt's.
	Confirm(ctx context.Context, dest string, r edgeagent.Receipt) error
	// Park takes an event out of the way that dest refuses, keeps it for a
	// person, and writes the gap event that names its number.
	Park(ctx context.Context, dest string, ev edgeagent.Outgoing, reason *edgeagent.Note) error
}

// Book is what was ever written and is still kept.
type Book interface {
	Backlog(dest string) edgeagent.Backlog
	// Range returns the events of r that are still there.
	Range(epoch edgeagent.ID, r edgeagent.Range) ([]edgeagent.Outgoing, error)
	// IsParked reports whether dest has refused that number, ever.
	IsParked(dest string, epoch edgeagent.ID, stream edgeagent.Stream, n uint64) bool
}

// Refusals are the events that a destination has refused, those that a person
// wants it to get after all among them.
type Refusals interface {
	// Asked returns the next of these, all of one epoch and behind the cursor of
	// dest; none when nobody has asked.
	Asked(dest string, maxEvents, maxBytes int) ([]edgeagent.Outgoing, error)
	// Unpark notes that dest has stored them.
	Unpark(ctx context.Context, dest string, stored []edgeagent.Outgoing) error
}

// Class says what a failed send means for what is done next.
type Class string

// The classes of failed sends.
const (
	NoAnswer   Class = "no_answer"   // network, time-out, cut answer: the same again
	Busy       Class = "busy"        // 408, 425, 429, 5xx: the same again, later
	Unfit      Class = "unfit"       // 400, 422: something in the batch is refused
	TooLarge   Class = "too_large"   // 413: the batch, or the one event in it
	Conflict   Class = "conflict"    // 409: the number was stored before with other bytes
	Denied     Class = "denied"      // everything else, TLS too: a person must look
	Unproven   Class = "unproven"    // accepted, but the receipt does not have it
	NotReceipt Class = "not_receipt" // something answered, but not the upstream
)

// Error is a failed send.
type Error struct {
	Class      Class
	Status     int           // HTTP, 0 without an answer
	Timeout    bool          // it took too long: a smaller batch may not
	RetryAfter time.Duration // that the upstream asked for, 0 for none
	Text       string        // for the page: what, and what to do
	Err        error         // the cause, nil when the answer is the cause
}

// Error returns the text and its cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return fmt.Sprintf("%s: %v", e.Text, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
