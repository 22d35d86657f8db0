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
//  4. Where every signature that can be asked for is owed (single registers,
//     a device that was stopped for long) the one that was asked for last is
//     asked for again. What comes may be the old answer or the new one; either
//     was asked for after all the others, so those are gone, and any of them
//     confirms the line as in 2. A line of single registers is so found in step
//     with two answers, however much was lost and without waiting for anything.
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
// value, but it would condemn the wrong tags. One by which a gateway says that
// the unit has not answered is no answer: that one is owed.
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
// such a slip cannot last; for single registers that is a request that the unit
// has answered before, else a neighbour that may be read.
//
// How late an answer may be is bounded nowhere, but for a unit that answers
// nothing else than what it is asked for anyway, all of one size, not even with
// a refusal: there an answer is taken to be lost after forgetAfter times the
// timeout, and the request itself is asked twice.
//
// What is assumed: answers stay in order; one that comes twice comes twice in a
// row; at most owedAtMost different sizes in turn wait in any buffer between
// here and the device; and nobody gives, with nothing wrong on the line before,
// another request's answer of the right unit, function and size that was not
// seen yet. Against the last, no master can do anything that has no number to
// send.

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"edgeagent/internal/retry"
	"edgeagent/plc"
)

const (
	// forgetAfter is after how many timeouts an answer is taken to be lost, where
	// no other signature was ever answered to confirm the line with. A gateway
	// gives a request up after a second or so and a few tries of its own.
	forgetAfter = 40
	// owedAtMost bounds what is booked of a unit that is away for days.
	owedAtMost = 64
	// alikeAtMost is how many requests of one size may follow each other.
	alikeAtMost = 16
	// confirmations bounds the refused confirmations within one Read.
	confirmations = 6
)

// errAmbiguous: a refusal that may be that of an earlier request.
var errAmbiguous = errors.New("refusal that may be meant for an earlier request")

// errUnheard: one by a gateway, which says nothing of what the unit answers.
var errUnheard = fmt.Errorf("%w, by a gateway", errAmbiguous)

// unit is what is known of one unit on the line.
type unit struct {
	trusted bool
	quiet   time.Time // not asked before
	owed    []debt    // oldest first
	habits  habits
	before  plc.Request
	alike   int     // requests since one of another size was answered
	fresh   bool    // nothing was asked since it was confirmed
	seen    answers // known again when they come twice

	heard uint64    // the sum of its last answer
	twice bool      // which had the bytes of the one before
	spent signature // of the last confirmation that was owed and answered
}

// confirmed makes the unit trusted: nothing that was asked for before can come.
func (u *unit) confirmed() {
	u.trusted, u.fresh, u.quiet, u.owed, u.alike = true, true, time.Time{}, nil, 0
}

// follow puts the unit in doubt when too many requests could have been given
// each other's answers, if that can be cleared by what the unit answers.
func (u *unit) follow(r plc.Request, forbidden func(plc.Request) bool) {
	switch {
	case expected(r) != expected(u.before):
		u.alike = 0
	case r.Offset != u.before.Offset:
		u.alike++
	}
	u.before = r
	if u.alike >= alikeAtMost || u.alike > 0 && !u.habits.tried {
		u.trusted = u.trusted && !u.habits.promising(u.habits.candidates(r, forbidden))
	}
}

// debt are answers of one signature that may still come, asked for in a row.
type debt struct {
	signature
	times int
	since time.Time // of the last
}

// unit returns the state of a unit. One that was never asked may owe an answer
// to whoever asked before: an agent that was stopped a second ago. So it is
// confirmed first, by nothing but what is read anyway.
func (l *Link) unit(id uint8) *unit {
	u, known := l.line.units[id]
	if !known {
		u = &unit{}
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
	if until := now.Add(quiet); until.After(u.quiet) {
		u.quiet = until
	}
	last := len(u.owed) - 1
	switch {
	case s.size == 0:
	case last >= 0 && u.owed[last].signature == s:
		u.owed[last].times++
		u.owed[last].since = now
	default:
		u.owed = append(u.owed[max(0, last+2-owedAtMost):], debt{s, 1, now})
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
	u.habits.answer(u.owed[i].signature)
	if u.owed[i].times--; u.owed[i].times == 0 {
		i++
	}
	u.owed = slices.Delete(u.owed, 0, i)
	return true
}

// owes reports whether an answer of the signature may still come.
func (u *unit) owes(s signature) bool {
	return slices.ContainsFunc(u.owed, func(d debt) bool { return d.signature == s })
}

// judge says of an answer of the unit whether it is the one that is wanted. An
// answer that was owed is none and no error.
func (u *unit) judge(answer []byte, want signature) (mine bool, err error) {
	s := signed(answer)
	if s == want {
		u.hear(answer)
		return true, nil
	}
	refused, owed := s.size == 0 && s.function == want.function, u.owesOf(s.function)
	late := u.late(answer)
	switch {
	case refused && owed && gateways[answer[2]]:
		return false, errUnheard
	case refused && owed:
		return false, errAmbiguous
	case refused:
		return true, nil
	case late:
		return false, nil
	default:
		return false, frameErrorf("function %d with %d bytes of data, want function %d with %d", s.function, s.size, want.function, want.size)
	}
}

// late takes an answer off what is owed and reports whether it was. The same
// bytes twice may be one answer that came twice: nothing is taken off for that.
func (u *unit) late(answer []byte) bool {
	s := signed(answer)
	switch u.hear(answer); {
	case u.twice:
		return s.size > 0 && u.owes(s)
	case s.size == 0 && gateways[answer[2]]:
		return false // the unit may still answer
	default:
		return u.settle(s)
	}
}

// hear remembers the last answer of the unit that was heard.
func (u *unit) hear(answer []byte) {
	sum := maphash.Bytes(seed, answer)
	u.twice, u.heard = sum == u.heard, sum
}

// gateways are the exceptions by which a gateway says that a unit has not
// answered in time. It may do so yet, and a gateway that has given up can take
// that for the answer to the next request.
var gateways = map[byte]bool{10: true, 11: true}

// answeredBy reports whether err is a refusal of the unit itself.
func answeredBy(err error) bool {
	e, refused := errors.AsType[*plc.Exception](err)
	return refused && !gateways[e.Code]
}

func isException(err error) bool {
	_, refused := errors.AsType[*plc.Exception](err)
	return refused
}

// owesOf reports whether an answer of the function may still come.
func (u *unit) owesOf(function byte) bool {
	return slices.ContainsFunc(u.owed, func(d debt) bool { return d.function == function })
}

// confirm asks the unit for something that cannot be confused with what is owed
// nor with r. It returns nil when the unit is trusted and there is time for r.
func (l *Link) confirm(ctx context.Context, id uint8, u *unit, r plc.Request) error {
	if err := l.keepQuiet(ctx, id, u); err != nil {
		return err
	}
	for range confirmations {
		c, ok := u.confirmation(r, l.forbidding(id), time.Now().Add(-forgetAfter*l.o.Timeout))
		if !ok {
			return fmt.Errorf("%w: unit %d of %s may be asked for nothing that it does not owe", plc.ErrQuarantined, id, l.o.Addr)
		}
		if err := l.clear(ctx); err != nil {
			return err
		}
		began, either := time.Now(), u.owes(expected(c))
		_, err := l.exchange(ctx, id, u, c)
		u.habits.learn(c, r, err)
		switch {
		case err == nil && either: // the old answer or the new one: the other may still come
			if u.spent = expected(c); !u.twice {
				u.settle(u.spent)
			}
			u.doubt(expected(c), time.Now(), 0)
		case err == nil, answeredBy(err):
			u.confirmed()
			return l.timeFor(ctx, id, r, time.Since(began))
		case errors.Is(err, errAmbiguous):
			u.quiet = time.Time{}
		case expected(c) == expected(r), isException(err):
			return err // it is r itself that was not answered, or a gateway that says so
		default:
			return fmt.Errorf("%w: unit %d: %w", plc.ErrQuarantined, id, err)
		}
	}
	return fmt.Errorf("%w: unit %d of %s gives no answer yet that cannot be an old one", plc.ErrQuarantined, id, l.o.Addr)
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
// that comes too late would only bring the doubt back. The next Read, for which
// plc.ErrConfirmed asks, finds the unit trusted.
func (l *Link) timeFor(ctx context.Context, id uint8, r plc.Request, took time.Duration) error {
	d, ok := ctx.Deadline()
	if !ok || time.Until(d) >= l.o.Pause+2*took+wireTime(l.line.baud, expected(r).size) {
		return nil
	}
	return fmt.Errorf("%w: unit %d of %s has answered after %v: no time is left for the request", plc.ErrConfirmed, id, l.o.Addr, took.Round(time.Millisecond))
}

func (l *Link) forbidding(id uint8) func(plc.Request) bool {
	return func(c plc.Request) bool {
		return l.o.NeverRead != nil && l.o.NeverRead(id, c.Area, c.Offset, c.Offset+c.Quantity-1)
	}
}

// confirmation returns what to ask before r: what is not owed, r itself if
// nothing else is left, or what was asked for last of all that is owed; false
// where that cannot be asked for either.
func (u *unit) confirmation(r plc.Request, forbidden func(plc.Request) bool, before time.Time) (c plc.Request, ok bool) {
	if !u.habits.met && len(smaller(r)) == 0 {
		return r, true // nobody knows yet what else it answers
	}
	candidates := u.habits.candidates(r, forbidden)
	proven := u.habits.proven(candidates)
	if len(proven) == 0 && len(u.habits.known) > 0 && u.forget(expected(r), before) {
		return r, true
	}
	for _, c := range candidates {
		if !u.owes(expected(c)) {
			return c, true
		}
	}
	if !u.owes(expected(r)) || len(proven) == 0 && u.forget(expected(r), before) {
		return r, true
	}
	return u.lastOwed(candidates)
}

// lastOwed returns, of candidates that are all owed, the one whose answer shows
// most: not the one that was asked last, for the same answer twice in a row
// shows nothing; one that the unit answers; the one that was asked for last.
func (u *unit) lastOwed(candidates []plc.Request) (last plc.Request, ok bool) {
	best := -1
	for _, c := range candidates {
		s := expected(c)
		worth := slices.IndexFunc(u.owed, func(d debt) bool { return d.signature == s })
		if u.habits.answers[s] {
			worth += owedAtMost
		}
		if s != u.spent {
			worth += 2 * owedAtMost
		}
		if worth > best {
			last, best = c, worth
		}
	}
	return last, best >= 0
}

// forget gives up the answers of a signature if there are any, all asked for
// before then.
func (u *unit) forget(s signature, before time.Time) bool {
	if !u.owes(s) || slices.ContainsFunc(u.owed, func(d debt) bool { return d.signature == s && d.since.After(before) }) {
		return false
	}
	u.owed = slices.DeleteFunc(u.owed, func(d debt) bool { return d.signature == s })
	return true
}
