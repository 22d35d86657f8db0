package plc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"edgeagent"
)

// Options are what a connection needs of others.
type Options struct {
	Deliver   func(edgeagent.Scan)                               // takes every scan, in order; must neither block nor call back
	Memory    Memory                                             // nil: nothing outlives a restart
	Log       *slog.Logger                                       // nil: silent
	OnRequest func(device string, took time.Duration, err error) // called for every request; nil: not
}

func (o Options) withDefaults() Options {
	if o.Deliver == nil {
		o.Deliver = func(edgeagent.Scan) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnRequest == nil {
		o.OnRequest = func(string, time.Duration, error) {}
	}
	return o
}

// roster is the devices behind one connection, polled or subscribed to, and
// what persons and restarts do with them.
type roster struct {
	o     Options
	saver *saver
	wake  chan struct{}

	mu      sync.Mutex // guards the devices' fields, and keeps what is delivered in order
	devices []*device
}

func (r *roster) init(o Options) {
	r.o, r.wake = o.withDefaults(), make(chan struct{}, 1)
	if o.Memory != nil {
		r.saver = newSaver(o.Memory, r.o.Log)
	}
}

// startSaving returns the function that ends it: after the last scan, so that
// what came of that is saved, too.
func (r *roster) startSaving(ctx context.Context) (stop func()) {
	if r.saver == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var saving sync.WaitGroup
	saving.Go(func() { r.saver.run(ctx) })
	return func() {
		cancel()
		saving.Wait()
	}
}

// restore takes up the machines where the last run left them, and says at once
// which devices are not being read.
func (r *roster) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, d := range r.devices {
		if r.o.Memory == nil || d.state != edgeagent.DeviceConnecting { // taken out of service before Run
			continue
		}
		if m, known := r.o.Memory.LoadDevice(d.spec.Name); known {
			d.restore(m, now)
			r.save(d)
		}
	}
	r.tellMarks(now)
}

// tellMarks says of every device whose tags were marked why they are not good.
// The caller holds mu and is the one who may look at the tags.
func (r *roster) tellMarks(now time.Time) {
	for _, d := range r.devices {
		if d.mark != nil {
			r.o.Deliver(d.outgoing(now))
		}
	}
}

// rest waits until a device is due. It returns false when ctx has ended.
func (r *roster) rest(ctx context.Context) bool {
	var alarm <-chan time.Time
	if at, some := r.earliest(); some {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
	case <-r.wake:
	case <-alarm:
	}
	return ctx.Err() == nil
}

func (r *roster) earliest() (at time.Time, some bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.devices {
		if due, ever := d.due(); ever && (!some || due.Before(at)) {
			at, some = due, true
		}
	}
	return at, some
}

// nextDue returns the device that has been due for longest, nil if none is.
func (r *roster) nextDue(now time.Time) *device {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dueAt(now, nil)
}

// dueAt leaves one device out; the caller holds mu.
func (r *roster) dueAt(now time.Time, but *device) *device {
	var first *device
	var at time.Time
	for _, d := range r.devices {
		if due, ever := d.due(); d != but && ever && !due.After(now) && (first == nil || due.Before(at)) {
			first, at = d, due
		}
	}
	return first
}

// expire ends the maintenances whose time is over.
func (r *roster) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.devices {
		if d.state == edgeagent.DeviceMaintenance && !d.next.After(now) {
			d.endMaintenance(now)
			r.conclude(d)
		}
	}
	r.tellMarks(now)
}

// conclude saves and logs what changed in a device.
func (r *roster) conclude(d *device) {
	r.save(d)
	r.logFrost(d)
	state, was := d.state, d.logged
	if d.logged = state; state == was {
		return
	}
	switch state {
	case edgeagent.DeviceRetrying:
		r.o.Log.Warn("device does not answer", "device", d.spec.Name, "attempt", d.attempt, "error", d.err)
	case edgeagent.DeviceStopped:
		r.o.Log.Error("device stopped: it is not being read any more", "device", d.spec.Name, "attempts", d.attempt, "error", d.reason)
	case edgeagent.DevicePolling:
		r.o.Log.Info("device answers", "device", d.spec.Name)
	case edgeagent.DeviceMaintenance:
		r.o.Log.Info("device is out of service", "device", d.spec.Name, "until", d.until)
	default: // nothing that anybody has to read
	}
}

func (r *roster) logFrost(d *device) {
	frozen := d.frost != nil
	if frozen == d.loggedFrost {
		return
	}
	d.loggedFrost = frozen
	if frozen {
		r.o.Log.Warn("device answers, but its heartbeat stands still", "device", d.spec.Name, "reason", d.frost)
	} else {
		r.o.Log.Info("device is not frozen any more", "device", d.spec.Name)
	}
}

func (r *roster) save(d *device) {
	if r.saver == nil {
		return
	}
	if m, changed := d.unsaved(time.Now()); changed {
		r.saver.put(m)
	}
}

func (r *roster) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Resume lets a device that is stopped or in maintenance be tried again at
// once, with a whole window. The error wraps edgeagent.ErrNotFound for a device
// of another connection and edgeagent.ErrConflict for one that is neither.
func (r *roster) Resume(device, by, reason string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, err := r.find(device)
	if err != nil {
		return err
	}
	if d.state != edgeagent.DeviceStopped && d.state != edgeagent.DeviceMaintenance {
		return fmt.Errorf("resume device %q: it is %s, neither stopped nor in maintenance: %w", device, d.state, edgeagent.ErrConflict)
	}
	d.resumer, d.because = by, reason
	d.fire(eventResumed, time.Now(), nil)
	r.o.Log.Info("device resumed", "device", device, "by", by, "reason", reason)
	r.conclude(d)
	r.poke()
	return nil
}

func (r *roster) find(name string) (*device, error) {
	for _, d := range r.devices {
		if d.spec.Name == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("device %q: %w", name, edgeagent.ErrNotFound)
}

// leaveAlone returns why nothing may be sent to a device for somebody's
// question, nil if it may.
func (d *device) leaveAlone(why string) error {
	if !d.idle() {
		return nil
	}
	return fmt.Errorf("%s device %q: it is %s, nothing is sent to it: %w", why, d.spec.Name, d.state, edgeagent.ErrConflict)
}
