package plc

import (
	"context"
	"fmt"
	"time"

	"edgeagent"
)

// idleAfter is how long a connection that no scan needs is kept for the next
// question.
const idleAfter = 10 * time.Second

// Ask sends one request over this connection, between the scans and with their
// pauses, and returns what [Driver.Read] returns. It is for finding out what is
// there: unit may be one that no device has. The timeout is the device's, whose
// state an answer or the lack of one does not change. One that is disabled, or
// has no tags yet, may be asked all the same. The error wraps
// edgeagent.ErrNotFound for a device of another connection, and
// edgeagent.ErrConflict where nothing may be sent: the device, or another with
// that unit, is stopped or in maintenance, or must never be read there.
func (c *Connection) Ask(ctx context.Context, device string, unit uint8, r Request) ([]byte, error) {
	if err := r.valid(); err != nil {
		return nil, err
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("ask unit %d for %s: %w", unit, r, ctx.Err())
	}
	defer func() { <-c.turn }()
	d, err := c.mayAsk(device, unit, r)
	if err != nil {
		return nil, err
	}
	defer c.release(d)
	if c.allIdle() { // Run has no other reason to look whether it is to hang up
		time.AfterFunc(idleAfter, c.poke)
	}
	return c.ask(ctx, d, unit, r)
}

// mayAsk returns the device on whose behalf r is sent, or why it must not be.
func (c *Connection) mayAsk(name string, unit uint8, r Request) (*device, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.find(name)
	if err != nil {
		return nil, err
	}
	for _, other := range c.devices {
		if other != d && other.spec.Unit != unit {
			continue
		}
		if !other.off() && other.idle() {
			return nil, other.leaveAlone("ask")
		}
		if other.spec.Unit != unit {
			continue
		}
		for _, never := range other.spec.NeverRead {
			if never.overlaps(r.Area, int(r.Offset), r.end()) {
				return nil, fmt.Errorf("ask unit %d for %s: never_read of device %q forbids %s: %w",
					unit, r, other.spec.Name, never, edgeagent.ErrConflict)
			}
		}
	}
	d.sent++
	return d, nil
}

// valid returns why no device could be asked for r.
func (r Request) valid() error {
	most := limits{}.most(r.Area)
	if r.Area < edgeagent.AreaCoil || r.Area > edgeagent.AreaInput || r.Quantity < 1 || int(r.Quantity) > most || r.end() > addressesPerArea {
		return fmt.Errorf("request of %d from %d of area %d: want 1 to %d of one of the four areas, within 65536", r.Quantity, r.Offset, r.Area, most)
	}
	return nil
}
