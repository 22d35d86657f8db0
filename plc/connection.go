package plc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"edgeagent"
)

// Options are what a connection needs of others.
type Options struct {
	Deliver   func(edgeagent.Scan)                               // takes every scan; must not block
	Memory    Memory                                             // nil: nothing outlives a restart
	Log       *slog.Logger                                       // nil: silent
	OnRequest func(device string, took time.Duration, err error) // called for every request; nil: not
}

// Connection reads all the units behind one driver, one request at a time.
type Connection struct {
	driver Driver
	o      Options
	saver  *saver
	turn   chan struct{} // held by whoever uses the driver
	wake   chan struct{}

	mu      sync.Mutex // guards the devices' fields
	devices []*device
}

// NewConnection returns a connection that does nothing before Run.
func NewConnection(d Driver, devices []DeviceSpec, o Options) *Connection {
	if o.Deliver == nil {
		o.Deliver = func(edgeagent.Scan) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnRequest == nil {
		o.OnRequest = func(string, time.Duration, error) {}
	}
	c := &Connection{driver: d, o: o, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	for _, spec := range devices {
		c.devices = append(c.devices, newDevice(spec))
	}
	if o.Memory != nil {
		c.saver = newSaver(o.Memory, o.Log)
	}
	return c
}

// Run reads until ctx ends, then closes the driver and returns nil.
func (c *Connection) Run(ctx context.Context) error {
	if c.saver != nil {
		c.restore()
		defer c.startSaving(ctx)()
	}
	for c.rest(ctx) {
		if d := c.nextDue(time.Now()); d != nil {
			c.scan(ctx, d)
		}
	}
	return c.end()
}

// startSaving returns the function that ends it: after the last scan, so that
// what came of that is saved, too.
func (c *Connection) startSaving(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var saving sync.WaitGroup
	saving.Go(func() { c.saver.run(ctx) })
	return func() {
		cancel()
		saving.Wait()
	}
}

// end closes the driver once nobody uses it any more.
func (c *Connection) end() error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if err := c.driver.Close(); err != nil {
		c.o.Log.Debug("connection not closed cleanly", "error", err)
	}
	return nil
}

// restore takes up the machines where the last run left them, and says at once
// which devices are not being read.
func (c *Connection) restore() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	now := time.Now()
	var scans []edgeagent.Scan
	for _, d := range c.devices {
		if m, known := c.o.Memory.LoadDevice(d.spec.Name); known {
			d.restore(m, now)
			c.save(d)
		}
		if d.mark != nil {
			scans = append(scans, d.outgoing(now))
		}
	}
	c.mu.Unlock()
	c.deliver(scans)
}

// rest waits until a device is due. It returns false when ctx has ended.
func (c *Connection) rest(ctx context.Context) bool {
	var alarm <-chan time.Time
	if at, some := c.earliest(); some {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
	case <-c.wake:
	case <-alarm:
	}
	return ctx.Err() == nil
}

func (c *Connection) earliest() (at time.Time, some bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.devices {
		if due, ever := d.due(); ever && (!some || due.Before(at)) {
			at, some = due, true
		}
	}
	return at, some
}

// nextDue returns the device that has been due for longest, nil if none is.
func (c *Connection) nextDue(now time.Time) *device {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first *device
	var at time.Time
	for _, d := range c.devices {
		if due, ever := d.due(); ever && !due.After(now) && (first == nil || due.Before(at)) {
			first, at = d, due
		}
	}
	return first
}

// scan gives a device its turn and delivers what came of it.
func (c *Connection) scan(ctx context.Context, d *device) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-c.turn }()
	began := time.Now()
	p := c.pass(ctx, d, c.classes(d, began))
	if ctx.Err() != nil {
		return // cut short by the end of the agent: says nothing of the device
	}
	c.deliver(c.settle(d, p, began))
	if c.allIdle() {
		// Not even keep-alives go to a device that is not being read.
		if err := c.driver.Close(); err != nil {
			c.o.Log.Debug("connection not closed cleanly", "error", err)
		}
	}
}

// classes returns what a turn reads: the classes whose slot has come, and all
// tags in one go when it is to be found out whether the device answers.
func (c *Connection) classes(d *device, now time.Time) []*class {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.state == edgeagent.DevicePolling {
		return d.at(now)
	}
	return d.at(time.Time{})
}

// pass reads; whoever calls it holds the turn.
func (c *Connection) pass(ctx context.Context, d *device, classes []*class) *pass {
	ask := func(ctx context.Context, r Request) ([]byte, error) { return c.ask(ctx, d, r) }
	p := &pass{ask: ask, d: &d.asks, classes: classes}
	p.run(ctx)
	return p
}

func (c *Connection) ask(ctx context.Context, d *device, r Request) ([]byte, error) {
	if d.spec.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.spec.Timeout+d.spec.Pause)
		defer cancel()
	}
	began := time.Now()
	payload, err := c.driver.Read(ctx, d.spec.Unit, r)
	c.o.OnRequest(d.spec.Name, time.Since(began), err)
	switch {
	case errors.Is(err, ErrUnreachable):
		return nil, err // nothing was asked of this unit: it is nobody's more than another's
	case err != nil:
		return nil, fmt.Errorf("read %s of unit %d: %w", r, d.spec.Unit, err)
	}
	return payload, nil
}

// settle draws the conclusions from a pass: for the device and, when no
// connection could be made, for all that share it. It returns what is to be
// delivered.
func (c *Connection) settle(d *device, p *pass, began time.Time) []edgeagent.Scan {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	scans := d.settle(p, began, now)
	c.conclude(d)
	if errors.Is(p.failed, ErrUnreachable) {
		for _, other := range c.devices {
			if other != d && other.shares(now) {
				other.failed(now, p.failed)
				scans = append(scans, other.outgoing(now))
				c.conclude(other)
			}
		}
	}
	return scans
}

// conclude saves and logs what changed in a device.
func (c *Connection) conclude(d *device) {
	c.save(d)
	state, was := d.state, d.logged
	if d.logged = state; state == was {
		return
	}
	switch state {
	case edgeagent.DeviceRetrying:
		c.o.Log.Warn("device does not answer", "device", d.spec.Name, "attempt", d.attempt, "error", d.err)
	case edgeagent.DeviceStopped:
		c.o.Log.Error("device stopped: it is not being read any more", "device", d.spec.Name, "attempts", d.attempt, "error", d.err)
	case edgeagent.DevicePolling:
		c.o.Log.Info("device answers", "device", d.spec.Name)
	default: // nothing that anybody has to read
	}
}

func (c *Connection) save(d *device) {
	if c.saver == nil {
		return
	}
	if m, changed := d.unsaved(time.Now()); changed {
		c.saver.put(m)
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

func (c *Connection) deliver(scans []edgeagent.Scan) {
	for _, s := range scans {
		c.o.Deliver(s)
	}
}

// Resume lets a stopped device be tried again at once, with a whole window. The
// error wraps edgeagent.ErrNotFound for a device of another connection and
// edgeagent.ErrConflict for one that is not stopped.
func (c *Connection) Resume(device, by, reason string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.find(device)
	if err != nil {
		return err
	}
	if d.state != edgeagent.DeviceStopped {
		return fmt.Errorf("resume device %q: it is %s, not stopped: %w", device, d.state, edgeagent.ErrConflict)
	}
	d.resumer = by
	d.fire(eventResumed, time.Now(), nil)
	c.o.Log.Info("device resumed", "device", device, "by", by, "reason", reason)
	c.conclude(d)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// Probe reads all tags of a device once, between the scans, and changes nothing
// of its state. It works without Run, too. A stopped device is left alone: the
// error wraps edgeagent.ErrConflict.
func (c *Connection) Probe(ctx context.Context, device string) (edgeagent.Scan, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return edgeagent.Scan{}, fmt.Errorf("probe device %q: %w", device, ctx.Err())
	}
	defer func() { <-c.turn }()
	d, err := c.probed(device)
	if err != nil {
		return edgeagent.Scan{}, err
	}
	began := time.Now()
	p := c.pass(ctx, d, d.at(time.Time{}))
	s := p.scan(d, began, time.Now())
	return s, p.failed
}

func (c *Connection) probed(name string) (*device, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.find(name)
	if err == nil && d.idle() {
		return nil, fmt.Errorf("probe device %q: it is %s, nothing is sent to it: %w", name, d.state, edgeagent.ErrConflict)
	}
	return d, err
}

func (c *Connection) find(name string) (*device, error) {
	for _, d := range c.devices {
		if d.spec.Name == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("device %q: %w", name, edgeagent.ErrNotFound)
}
