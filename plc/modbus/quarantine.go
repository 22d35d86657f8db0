package modbus

// An RTU frame has no transaction number. An old answer that comes when a
// later request is waiting can be told from the right one by three things only:
// its unit, its function and its size. This file keeps values away from
// everything that these cannot tell apart.
//
// A request that was not answered rightly (a timeout, an answer of another
// size, a bad checksum, a cut connection, two answers to one request) leaves
// its answer owed, and its unit in doubt. Then:
//
//  1. The unit is not asked for one timeout. What comes meanwhile, and whatever
//     comes before any request, is drained and taken off what is owed.
//  2. The unit is asked for something else, the confirmation, whose answer has
//     another signature (function and size) than every owed answer and than
//     the request that follows. If it is not answered either, its own answer
//     is owed too, and the next confirmation has yet another signature.
//  3. Only when an answer of exactly that signature came is the unit trusted,
//     and values are read again. Until then Read fails with ErrQuarantined.
//
// Why no owed answer can then become a value. A device answers its requests in
// the order in which they were sent, and a gateway passes answers on in the
// order in which it got them. The answer to the confirmation, known by its
// signature, was asked for after every owed one; when it is here, each of
// those has come before it, and was dropped for its size, or will never come.
// That holds however late an owed answer is: during the confirmation it is
// caught by its size, after it there is none. A late answer to a confirmation
// is owed as any other. A gateway that delivers on another connection changes
// nothing, because what is owed belongs to the unit, not to the connection.
//
// A refusal (exception) has no size, so the late refusal of an owed request
// looks like one of the confirmation. It confirms only when nothing of its
// function is owed; otherwise another function is asked. A refusal is never a
// value, but it would condemn the wrong tags.
//
// An answer that comes unasked, or twice, puts its unit in doubt by itself. So
// does the request of a second master. An answer is believed only after the
// silence that ends a frame: when an old answer and the right one come
// together, neither is.
//
// An answer that comes twice has the same bytes twice. If those of another
// request come, the request is asked again, after a confirmation where one can
// be had from the same addresses (seen.go). So a duplicate is found as well
// when it comes at the worst moment: while a request waits that is not answered.
//
// A gateway that asks the device twice on its own can slip by one answer without
// a sign: from then on each request is given the answer to the one before. The
// next request of another size finds it. Where many in a row are of one size
// and of different addresses, a confirmation is asked between them, so that
// such a slip cannot last.
//
// What is assumed: answers stay in order; an answer that overtakes one that was
// asked for before it is not older than forgetAfter; and nobody gives, with
// nothing wrong on the line before, another request's answer of the right unit,
// function and size that was not seen yet. Against the last, no master can do
// anything that has no number to send.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/plc"
)

const (
	// forgetAfter is when an owed answer may be given up if no other signature
	// is left to confirm with.
	forgetAfter = time.Minute
	// alikeAtMost is how many requests of one size may follow each other.
	alikeAtMost = 16
	// confirmations bounds the refused confirmations within one Read.
	confirmations = 4
)

// errAmbiguous: a refusal that may be that of an earlier request.
var errAmbiguous = errors.New("refusal that may be meant for an earlier request")

// unit is what is known of one unit on the line.
type unit struct {
	trusted bool
	quiet   time.Time // not asked before
	owed    []debt    // oldest first
	refuses bool      // confirmations of the function asked: others are tried first
	before  plc.Request
	alike   int     // requests since one of another size was answered
	fresh   bool    // nothing was asked since it was confirmed
	seen    answers // known again when they come twice
}

// confirmed makes the unit trusted: nothing that was asked for before can come.
func (u *unit) confirmed(refused bool) {
	u.trusted, u.fresh, u.quiet, u.owed, u.alike = true, true, time.Time{}, nil, 0
	u.refuses = u.refuses || refused
}

// follow puts the unit in doubt when too many requests could have been given
// each other's answers, if that can be cleared by what is read anyway.
func (u *unit) follow(r plc.Request) {
	switch {
	case expected(r) != expected(u.before):
		u.alike = 0
	case r.Offset != u.before.Offset:
		u.alike++
	}
	u.before = r
	if u.alike >= alikeAtMost && len(smaller(r)) > 0 {
		u.trusted = false
	}
}

// debt is an answer that may still come.
type debt struct {
	signature
	since time.Time
}

// unit returns the state of a unit. One that was never asked may owe an answer
// to whoever asked before: an agent that was stopped a second ago. It is
// confirmed first if that takes nothing but what is read anyway.
func (l *Link) unit(id uint8, r plc.Request) *unit {
	u, known := l.line.units[id]
	if !known {
		u = &unit{trusted: len(smaller(r)) == 0}
		l.line.units[id] = u
	}
	return u
}

// expected returns the signature of the answer to r.
func expected(r plc.Request) signature {
	return signature{r.Area.Function(), dataSize(r.Area.Function(), int(r.Quantity))}
}

// doubt books an answer that may still come. The unit is left alone for quiet.
func (u *unit) doubt(s signature, now time.Time, quiet time.Duration) {
	u.trusted = false
	u.quiet = now.Add(quiet)
	u.owed = slices.DeleteFunc(u.owed, func(d debt) bool { return d.signature == s })
	if s.size > 0 {
		u.owed = append(u.owed, debt{s, now})
	}
}

// settle takes off what is owed the oldest answer that s can be, and all that
// were asked for before: they will not come any more. It reports whether there
// was one.
func (u *unit) settle(s signature) bool {
	i := slices.IndexFunc(u.owed, func(d debt) bool { return d.function == s.function && (s.size == 0 || s.size == d.size) })
	if i < 0 {
		return false
	}
	u.owed = slices.Delete(u.owed, 0, i+1)
	return true
}

// owes reports whether an answer of the signature may still come.
func (u *unit) owes(s signature) bool {
	return slices.ContainsFunc(u.owed, func(d debt) bool { return d.signature == s })
}

// judge says of an answer of the unit whether it is the one that is wanted. An
// answer that was owed is none and no error.
func (u *unit) judge(s, want signature) (mine bool, err error) {
	switch {
	case s == want:
		return true, nil
	case s.size == 0 && s.function == want.function:
		if u.settle(s) {
			return false, errAmbiguous
		}
		return true, nil
	case u.settle(s):
		return false, nil
	default:
		return false, frameErrorf("function %d with %d bytes of data, want function %d with %d", s.function, s.size, want.function, want.size)
	}
}

// confirm asks the unit for something that cannot be confused with what is owed
// nor with r. It returns nil when the unit is trusted and there is time for r.
func (l *Link) confirm(ctx context.Context, id uint8, u *unit, r plc.Request) error {
	if err := l.keepQuiet(ctx, id, u); err != nil {
		return err
	}
	for range confirmations {
		c, ok := u.confirmation(r, func(c plc.Request) bool { return l.forbidden(id, c) }, time.Now())
		if !ok {
			return fmt.Errorf("%w: unit %d of %s owes answers of every size that it can be asked for", plc.ErrQuarantined, id, l.o.Addr)
		}
		if err := l.clear(ctx); err != nil {
			return err
		}
		began := time.Now()
		_, err := l.exchange(ctx, id, u, c)
		if _, refused := errors.AsType[*plc.Exception](err); err == nil || refused {
			u.confirmed(refused)
			return l.timeFor(ctx, id, r, time.Since(began))
		}
		if !errors.Is(err, errAmbiguous) {
			return fmt.Errorf("%w: unit %d: %w", plc.ErrQuarantined, id, err)
		}
		u.refuses, u.quiet = true, time.Time{}
	}
	return fmt.Errorf("%w: unit %d of %s refuses all that could confirm it", plc.ErrQuarantined, id, l.o.Addr)
}

// keepQuiet waits until the unit may be asked again; not if the caller has no
// time to, because others may be waiting for the line.
func (l *Link) keepQuiet(ctx context.Context, id uint8, u *unit) error {
	wait := time.Until(u.quiet)
	if wait <= 0 {
		return nil
	}
	if d, ok := ctx.Deadline(); ok && d.Before(u.quiet) {
		return fmt.Errorf("%w: unit %d of %s is left alone for %v more", plc.ErrQuarantined, id, l.o.Addr, wait.Round(time.Millisecond))
	}
	if err := retry.Sleep(ctx, wait); err != nil {
		return fmt.Errorf("keep %s quiet: %w", l.o.Addr, err)
	}
	return nil
}

// timeFor reports whether the caller's time is enough for r: one more answer
// that comes too late would only bring the doubt back. The next Read finds the
// unit trusted.
func (l *Link) timeFor(ctx context.Context, id uint8, r plc.Request, took time.Duration) error {
	d, ok := ctx.Deadline()
	if !ok || time.Until(d) >= 2*took+wireTime(l.line.baud, expected(r).size) {
		return nil
	}
	return fmt.Errorf("%w: unit %d of %s was confirmed just now, after %v: no time is left for the request", plc.ErrQuarantined, id, l.o.Addr, took.Round(time.Millisecond))
}

func (l *Link) forbidden(id uint8, c plc.Request) bool {
	return l.o.NeverRead != nil && l.o.NeverRead(id, c.Area, c.Offset, c.Offset+c.Quantity-1)
}

// confirmation returns what to ask before r. If every signature is owed, it is
// the one that has been for longest, provided that this is long enough.
func (u *unit) confirmation(r plc.Request, forbidden func(plc.Request) bool, now time.Time) (plc.Request, bool) {
	candidates := slices.DeleteFunc(u.candidates(r), func(c plc.Request) bool {
		return expected(c) == expected(r) || forbidden(c)
	})
	for _, c := range candidates {
		if !u.owes(expected(c)) {
			return c, true
		}
	}
	for i, d := range u.owed {
		at := slices.IndexFunc(candidates, func(c plc.Request) bool { return expected(c) == d.signature })
		if at >= 0 && now.Sub(d.since) > forgetAfter {
			u.owed = slices.Delete(u.owed, i, i+1)
			return candidates[at], true
		}
	}
	return plc.Request{}, false
}

// candidates are what may confirm a unit before r, best first: less of the
// same, a neighbour more, another area.
func (u *unit) candidates(r plc.Request) []plc.Request {
	same, other := append(smaller(r), larger(r)...), others(r)
	if u.refuses {
		return append(other, same...)
	}
	return append(same, other...)
}

// smaller asks for less at the same addresses: even numbers of registers first,
// because some devices refuse half of a value.
func smaller(r plc.Request) (out []plc.Request) {
	if r.Area.Bits() {
		for q := uint16(8); q < r.Quantity; q += 8 {
			out = append(out, plc.Request{Area: r.Area, Offset: r.Offset, Quantity: q})
		}
		return out
	}
	for _, first := range []uint16{2, 1} {
		for q := first; q < r.Quantity; q += 2 {
			out = append(out, plc.Request{Area: r.Area, Offset: r.Offset, Quantity: q})
		}
	}
	return out
}

// larger asks for a neighbour or two as well, where there is hardly less to ask.
func larger(r plc.Request) (out []plc.Request) {
	step := uint16(1)
	if r.Area.Bits() {
		step = 8
	}
	if r.Quantity > 2*step {
		return nil
	}
	for more := step; more <= 2*step; more += step {
		for _, before := range []uint16{0, more} {
			if r.Offset >= before && int(r.Offset-before)+int(r.Quantity+more) <= 1<<16 {
				out = append(out, plc.Request{Area: r.Area, Offset: r.Offset - before, Quantity: r.Quantity + more})
			}
		}
	}
	return out
}

// others asks for one value of another area: nearly every device answers, be it
// with a refusal that names its function.
func others(r plc.Request) (out []plc.Request) {
	for _, area := range []edgeagent.Area{edgeagent.AreaHolding, edgeagent.AreaInput, edgeagent.AreaCoil, edgeagent.AreaDiscrete} {
		if area != r.Area {
			out = append(out, plc.Request{Area: area, Offset: r.Offset, Quantity: 1})
		}
	}
	return out
}
