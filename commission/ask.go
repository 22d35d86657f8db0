package commission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// Ask sends one request to a unit and returns the payload of its answer, like
// [plc.Driver]: the bytes of registers as sent, or packed bits.
type Ask func(ctx context.Context, unit uint8, r plc.Request) ([]byte, error)

// exception returns the exception that err is, or nil.
func exception(err error) *plc.Exception {
	if e, ok := errors.AsType[*plc.Exception](err); ok {
		return e
	}
	return nil
}

// Codes of exceptions that decide what is asked next.
const (
	illegalFunction = 1
	acknowledge     = 5
	busy            = 6
	pathUnavailable = 10
	targetSilent    = 11
)

// reply is what came of one request.
type reply struct {
	data []byte
	err  error
}

// answered reports whether the unit itself has answered, be it by refusing: an
// exception of a gateway is not the unit's.
func (a reply) answered() bool {
	if e := exception(a.err); e != nil {
		return e.Code != pathUnavailable && e.Code != targetSilent
	}
	return a.err == nil
}

const (
	busyTries = 3
	busyWait  = 100 * time.Millisecond
)

// asker sends requests one after the other, with a pause between them.
type asker struct {
	ask   Ask
	pause time.Duration
	sent  int
}

// send asks once, and again shortly while the unit says it is busy or the line
// is not confirmed. The error
// is only of a context that ended; what went wrong otherwise is in the reply.
func (a *asker) send(ctx context.Context, unit uint8, r plc.Request) (reply, error) {
	for try := 1; ; try++ {
		if a.sent > 0 {
			if err := wait(ctx, a.pause); err != nil {
				return reply{}, err
			}
		}
		a.sent++
		data, err := a.ask(ctx, unit, r)
		if ctx.Err() != nil {
			return reply{}, context.Cause(ctx)
		}
		if err == nil && len(data) != payload(r) {
			err = fmt.Errorf("%w: the answer to %v holds %d bytes instead of %d", plc.ErrSilent, r, len(data), payload(r))
		}
		if !again(err) || try == busyTries {
			return reply{data, err}, nil
		}
		if err := wait(ctx, busyWait); err != nil {
			return reply{}, err
		}
	}
}

// again reports whether the same request may be answered a moment later: the
// unit is busy, or the line not yet confirmed after a timeout.
func again(err error) bool {
	if e := exception(err); e != nil {
		return e.Code == busy || e.Code == acknowledge
	}
	return errors.Is(err, plc.ErrQuarantined)
}

// payload is how many bytes a whole answer to r holds.
func payload(r plc.Request) int {
	if r.Area.Bits() {
		return (int(r.Quantity) + 7) / 8
	}
	return 2 * int(r.Quantity)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// forbidden reports whether [from, end) of the area touches a never-read range.
func forbidden(never []plc.AddressRange, area edgeagent.Area, from, end int) bool {
	for _, n := range never {
		if n.Area == area && int(n.From) < end && from <= int(n.To) {
			return true
		}
	}
	return false
}

const addressesPerArea = 1 << 16

// limit returns how many addresses of the area one request may ask for.
func limit(area edgeagent.Area, registers, bits int) int {
	most, limit := registers, 125
	if area.Bits() {
		most, limit = bits, 2000
	}
	if most < 1 || most > limit {
		return limit
	}
	return most
}
