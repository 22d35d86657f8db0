package plc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgeagent"
)

// Connection reads all the units behind one driver, one request at a time.
type Connection struct {
	roster
	driver Driver
	turn   chan struct{} // held by whoever uses the driver
	open   bool          // the driver may have a connection; guarded by turn
	brief  bool          // no connection is kept from scan to scan
}

// NewConnection returns a connection that does nothing before Run.
func NewConnection(d Driver, devices []DeviceSpec, o Options) *Connection {
	c := &Connection{driver: d, turn: make(chan struct{}, 1)}
	c.init(o)
	for _, spec := range devices {
		c.devices = append(c.devices, newPolled(spec))
		c.brief = c.brief || spec.CloseAfterScan
	}
	return c
}

// Run reads until ctx ends, then closes the driver and returns nil.
func (c *Connection) Run(ctx context.Context) error {
	c.turn <- struct{}{}
	c.restore()
	<-c.turn
	defer c.startSaving(ctx)()
	for c.rest(ctx) {
		c.attend(ctx)
	}
	return c.end()
}

// attend does what is due now: at most one device's turn.
func (c *Connection) attend(ctx context.Context) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-c.turn }()
	c.expire(time.Now())
	if d := c.nextDue(time.Now()); d != nil {
		c.scan(ctx, d)
	}
	if c.allIdle() {
		c.hangUp() // not even keep-alives go to a device that is not being read
	}
}

// end closes the driver once nobody uses it any more.
func (c *Connection) end() error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.open = true // whoever had the driver before this connection may have left it open
	c.hangUp()
	return nil
}

// hangUp closes the driver's connection; whoever calls it holds the turn.
func (c *Connection) hangUp() {
	if !c.open {
		return
	}
	c.open = false
	if err := c.driver.Close(); err != nil {
		c.o.Log.Debug("connection not closed cleanly", "error", err)
	}
}

// scan gives a device its turn and delivers what came of it.
func (c *Connection) scan(ctx context.Context, d *device) {
	began := time.Now()
	p := c.pass(ctx, d, c.classes(d, began))
	if ctx.Err() != nil {
		return // cut short by the end of the agent: says nothing of the device
	}
	c.settle(d, p, began)
	c.release(d)
}

// release gives the device's only connection slot back, unless another unit
// behind it is waiting for its turn.
func (c *Connection) release(d *device) {
	if !c.brief {
		return
	}
	c.mu.Lock()
	waiting := c.dueAt(time.Now(), d)
	c.mu.Unlock()
	if waiting == nil {
		c.hangUp()
	}
}

// classes returns what a turn reads: the classes whose slot has come, and all
// tags in one go when it is to be found out whether the device answers, or gives
// a value at all.
func (c *Connection) classes(d *device, now time.Time) []*class {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.state == edgeagent.DevicePolling && d.suspects == 0 {
		return d.at(now)
	}
	return d.at(time.Time{})
}

// pass reads; whoever calls it holds the turn.
func (c *Connection) pass(ctx context.Context, d *device, classes []*class) *pass {
	c.mu.Lock()
	life := d.life
	c.mu.Unlock()
	ask := func(ctx context.Context, r Request) ([]byte, error) {
		if !c.lives(d, life) {
			return nil, errOutOfService
		}
		return c.ask(ctx, d, d.spec.Unit, r)
	}
	p := &pass{ask: ask, d: &d.asks, classes: classes, life: life}
	p.run(ctx)
	return p
}

// errOutOfService ends a pass in the middle of which its device was taken out
// of service.
var errOutOfService = fmt.Errorf("the device was taken out of service: %w", edgeagent.ErrConflict)

func (c *Connection) lives(d *device, life int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return d.life == life
}

func (c *Connection) ask(ctx context.Context, d *device, unit uint8, r Request) ([]byte, error) {
	began := time.Now()
	c.open = true
	payload, err := c.read(ctx, d, unit, r)
	if errors.Is(err, ErrConfirmed) {
		// Put off, a slow unit would never be asked for what follows: each pass
		// begins anew, and needs its confirmation at the same place.
		payload, err = c.read(ctx, d, unit, r)
	}
	c.o.OnRequest(d.spec.Name, time.Since(began), err)
	switch {
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrRefused):
		return nil, err // nothing was asked of this unit: it is nobody's more than another's
	case err == nil && len(payload) != r.bytes():
		// A driver checks that, too. What does not fit is never cut to fit.
		err = fmt.Errorf("answer of %d bytes, want %d: %w", len(payload), r.bytes(), ErrSilent)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of unit %d: %w", r, unit, err)
	}
	return payload, nil
}

// read has the driver read once, within the device's timeout.
func (c *Connection) read(ctx context.Context, d *device, unit uint8, r Request) ([]byte, error) {
	if d.spec.Timeout > 0 {
		var cancel context.CancelFunc // two pauses: a line may have to be confirmed before
		ctx, cancel = context.WithTimeout(ctx, d.spec.Timeout+2*d.spec.Pause+d.spec.ConnectDelay)
		defer cancel()
	}
	return c.driver.Read(ctx, unit, r)
}

// settle draws the conclusions from a pass and delivers them: for the device
// and, when no connection could be made, for all that share it.
func (c *Connection) settle(d *device, p *pass, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if d.life != p.life {
		d.sent += uint64(p.sent) // what was read before the maintenance is not told in it
		c.tellMarks(now)
		return
	}
	for _, s := range d.settle(p, began, now) {
		c.o.Deliver(s)
	}
	c.conclude(d)
	if errors.Is(p.failed, ErrUnreachable) || errors.Is(p.failed, ErrRefused) {
		for _, other := range c.devices {
			if other != d && other.shares(now) {
				other.failed(now, p.failed)
				c.o.Deliver(other.outgoing(now))
				c.conclude(other)
			}
		}
	}
}

func (c *Connection) allIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.devices {
		if !d.idle() {
			return false
		}
	}
	return true
}

// Maintain takes a device out of service for so long, at most 30 days: nothing
// is sent to it, its tags are bad. It ends by itself or by Resume, and goes on
// over a restart. Maintaining it again changes how long. The error wraps
// edgeagent.ErrNotFound for a device of another connection and
// edgeagent.ErrConflict for one that is disabled.
func (c *Connection) Maintain(device, by, reason string, length time.Duration) error {
	return c.maintain(device, by, reason, length)
}

// Probe reads all tags of a device once, between the scans, and changes nothing
// of its state. It works without Run, too. A device that is stopped or in
// maintenance is left alone: the error wraps edgeagent.ErrConflict.
func (c *Connection) Probe(ctx context.Context, device string) (edgeagent.Scan, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return edgeagent.Scan{}, fmt.Errorf("probe device %q: %w", device, ctx.Err())
	}
	defer func() { <-c.turn }()
	d, err := c.probed(device, "probe")
	if err != nil {
		return edgeagent.Scan{}, err
	}
	began := time.Now()
	p := c.pass(ctx, d, d.at(time.Time{}))
	c.release(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	d.chill(p.samples)
	return p.scan(d, began, time.Now()), p.failed
}

func (c *Connection) probed(name, why string) (*device, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.find(name)
	if err != nil {
		return nil, err
	}
	return d, d.leaveAlone(why)
}
