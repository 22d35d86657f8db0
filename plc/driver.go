package plc

import (
	"context"
	"errors"
	"fmt"
)

// Driver is one connection that is asked: a TCP endpoint or a serial line. It
// is used by one goroutine at a time. A [Subscriber] is one that tells by itself.
//
// One that counts late answers it dropped has StaleFrames() uint64, and one that
// is secured Security() string; those two are called from any goroutine.
type Driver interface {
	// Read asks unit for r and returns the payload: the bytes of the registers
	// as the device sent them, or packed bits, least significant first. It
	// dials when needed. After any error but an [*Exception] the connection is
	// closed, so that no late answer can be taken for a later one.
	//
	// An error wraps [ErrUnreachable] when no connection could be made and
	// [ErrSilent] when there was one but nothing valid came over it. One that
	// wraps [ErrQuarantined] says nothing of the unit.
	Read(ctx context.Context, unit uint8, r Request) ([]byte, error)
	// Close ends the connection; the next Read dials again.
	Close() error
}

// What a driver says of a failure, beyond its text.
var (
	// ErrUnreachable: no connection to the endpoint; all its units share this.
	ErrUnreachable = errors.New("unreachable")
	// ErrSilent: connected, but nothing that came matched the request.
	ErrSilent = errors.New("no valid answer")
	// ErrRefused: credentials or certificate were rejected; trying again would
	// not help and can lock an account.
	ErrRefused = errors.New("refused for good")
	// ErrQuarantined: after a timeout on a line without transaction numbers no
	// answer is believed before the line is known to be in step again.
	ErrQuarantined = errors.New("line not confirmed after a timeout")
	// ErrConfirmed: it is in step since just now, which left no time for the
	// request. The unit answers: it is worth asking again at once.
	ErrConfirmed = fmt.Errorf("%w until just now", ErrQuarantined)
)

// Exception is the typed answer of a device that refuses a request. The
// connection is sound: the device has answered.
type Exception struct {
	Function byte // of the request, 1 to 4
	Code     byte
}

// Error names the function, the code and the code's meaning.
func (e *Exception) Error() string {
	return fmt.Sprintf("FC%d refused with exception %d (%s)", e.Function, e.Code, kindOf(e.Code).meaning)
}

// verdict is what an answer means for whom.
type verdict uint8

const (
	verdictGood        verdict = iota
	verdictRefused             // belongs to the address: found by bisection, the rest is read on
	verdictBusy                // ask again shortly
	verdictFaulty              // the device doubts itself: a failure once it lasts
	verdictFailed              // the unit does not answer
	verdictUnconfirmed         // the line is out of step: nobody's answer can be believed yet
)

type exceptionKind struct {
	verdict verdict
	meaning string
}

// exceptions is the one classifier of what devices refuse with.
var exceptions = map[byte]exceptionKind{
	1:  {verdictRefused, "illegal function"},
	2:  {verdictRefused, "illegal data address"},
	3:  {verdictRefused, "illegal data value"},
	4:  {verdictFaulty, "server device failure"},
	5:  {verdictBusy, "acknowledge: still working on it"},
	6:  {verdictBusy, "server device busy"},
	7:  {verdictFaulty, "negative acknowledge"},
	8:  {verdictFaulty, "memory parity error"},
	10: {verdictFailed, "gateway path unavailable"},
	11: {verdictFailed, "gateway target device failed to respond"},
}

// kindOf returns what a code means; one that is in no standard is held for a
// fault of the device, which costs its values but not its neighbours'.
func kindOf(code byte) exceptionKind {
	if k, known := exceptions[code]; known {
		return k
	}
	return exceptionKind{verdictFaulty, "unknown code"}
}

// judge looks at the line before the answer: what was answered while nobody
// knew to whom condemns no address. A unit that was silent again when the line
// was to be confirmed does not answer.
func judge(err error) verdict {
	switch {
	case err == nil:
		return verdictGood
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrRefused), errors.Is(err, ErrSilent):
		return verdictFailed
	case errors.Is(err, ErrQuarantined):
		return verdictUnconfirmed
	}
	if e, ok := errors.AsType[*Exception](err); ok {
		return kindOf(e.Code).verdict
	}
	return verdictFailed
}
