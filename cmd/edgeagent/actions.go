package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/queue"
	"edgeagent/status"
)

// actions is what people may do; see [status.Actions].
type actions struct{ *agent }

// Raise records an alarm from outside. One at a time: a key is compared with
// what is committed.
func (x actions) Raise(ctx context.Context, o status.OutsideAlarm, key, bodyHash string) (edgeagent.Alarm, bool, error) {
	if x.conns.Load() == nil {
		return edgeagent.Alarm{}, false, errChecking
	}
	select {
	case x.raising <- struct{}{}:
		defer func() { <-x.raising }()
	case <-ctx.Done(): // who has gone waits behind no disk
		return edgeagent.Alarm{}, false, fmt.Errorf("wait for another alarm from outside: %w; nothing was raised", context.Cause(ctx))
	}
	if key != "" {
		if err := x.settled(ctx, key, bodyHash); err != nil { // before the file is asked: what leaves the one is in the other
			return edgeagent.Alarm{}, false, err
		}
		if id, known, ok := x.db.Load().ByKey(key); ok {
			return x.raisedBefore(id, known, bodyHash)
		}
	}
	a, err := x.outsideAlarm(o)
	if err != nil {
		return edgeagent.Alarm{}, false, err
	}
	stored, err := x.loop.Load().change(ctx, func(e *alarm.Engine, now time.Time) (edgeagent.Transition, error) {
		t := e.Outside(a, o.Values, now)
		t.By, t.Key, t.KeyHash = o.By, key, bodyHash
		t.Evidence = x.table.Evidence(x.witness(a), nil, now)
		return t, nil
	})
	return stored, true, err
}

// errOtherBody refuses a key that came with another body before.
var errOtherBody = fmt.Errorf("%w: the Idempotency-Key was used with another body; use a new key", edgeagent.ErrConflict)

// settled waits until no alarm of a key is on its way to the data file. A full
// file can last a night: who asks again then is told, as the first was.
func (x actions) settled(ctx context.Context, key, bodyHash string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		known, waits := x.rec.Keyed(key)
		_, fault := x.rec.Waiting()
		switch {
		case !waits:
			return nil
		case known != bodyHash:
			return errOtherBody
		case errors.Is(fault, edgeagent.ErrFull):
			return fmt.Errorf("%w: the alarm of this Idempotency-Key waits in memory for the data file and is written as soon as that takes it; ask again later", edgeagent.ErrFull)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the data file: %w; the alarm of this Idempotency-Key is written as soon as the file can be", context.Cause(ctx))
		}
	}
}

func (x actions) raisedBefore(id edgeagent.ID, known, bodyHash string) (edgeagent.Alarm, bool, error) {
	if known != bodyHash {
		return edgeagent.Alarm{}, false, errOtherBody
	}
	a, err := x.db.Load().Alarm(id)
	return a, false, err
}

// outsideAlarm fills in what the plant's description knows.
func (x actions) outsideAlarm(o status.OutsideAlarm) (edgeagent.Alarm, error) {
	cfg := x.cfg.Load()
	a := edgeagent.Alarm{
		Device: o.Device, Line: o.Line, Code: o.Code, Text: o.Text, SourceText: o.Text, Priority: o.Priority,
		Origin: edgeagent.OriginOutside, Diagnose: true,
	}
	if a.Priority == 0 {
		a.Priority = 3
	}
	if slices.Contains(edgeagent.ReservedCodes, o.Code) {
		return a, fmt.Errorf("%w: code %q is the agent's own", status.ErrInvalid, o.Code)
	}
	if o.Device != "" {
		line, known := x.lineOf(o.Device)
		if !known {
			return a, fmt.Errorf("%w: no device %q in the configuration; leave it out and name the line", status.ErrInvalid, o.Device)
		}
		if a.Line != "" && a.Line != line { // whether a case may leave the site hangs on its line
			return a, fmt.Errorf("%w: device %q is of line %q, not %q; leave the line out", status.ErrInvalid, o.Device, line, a.Line)
		}
		a.Line = line
	}
	a.Area = cfg.Line(a.Line).Area
	return a, nil
}

// witness is the device whose line tells what moved before an outside alarm:
// its own, or any of the line.
func (x actions) witness(a edgeagent.Alarm) string {
	if a.Device != "" {
		return a.Device
	}
	for _, d := range x.cfg.Load().Devices {
		if d.Line == a.Line {
			return d.Name
		}
	}
	return ""
}

func (x actions) lineOf(device string) (string, bool) {
	for _, d := range x.cfg.Load().Devices {
		if d.Name == device {
			return d.Line, true
		}
	}
	return "", false
}

func (x actions) change(ctx context.Context, f func(*alarm.Engine, time.Time) (edgeagent.Transition, error)) (edgeagent.Alarm, error) {
	if x.conns.Load() == nil {
		return edgeagent.Alarm{}, errChecking
	}
	return x.loop.Load().change(ctx, f)
}

// Acknowledge marks an alarm as seen.
func (x actions) Acknowledge(ctx context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error) {
	return x.change(ctx, func(e *alarm.Engine, now time.Time) (edgeagent.Transition, error) { return e.Acknowledge(id, by, now) })
}

// Shelve hides an alarm for a limited time.
func (x actions) Shelve(ctx context.Context, id edgeagent.ID, by, reason string, d time.Duration) (edgeagent.Alarm, error) {
	return x.change(ctx, func(e *alarm.Engine, now time.Time) (edgeagent.Transition, error) {
		t, err := e.Shelve(id, by, reason, d, now)
		if errors.Is(err, alarm.ErrShelve) {
			err = fmt.Errorf("%w: %w", status.ErrInvalid, err)
		}
		return t, err
	})
}

// Unshelve ends a shelving.
func (x actions) Unshelve(ctx context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error) {
	return x.change(ctx, func(e *alarm.Engine, now time.Time) (edgeagent.Transition, error) { return e.Unshelve(id, by, now) })
}

// Clear ends an alarm from outside.
func (x actions) Clear(ctx context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error) {
	return x.change(ctx, func(e *alarm.Engine, now time.Time) (edgeagent.Transition, error) { return e.ClearOutside(id, by, now) })
}

// RetryJob puts a failed job back into the queue.
func (x actions) RetryJob(ctx context.Context, id edgeagent.ID, by string) error {
	return x.onJob(id, func(db *queue.DB) error { return db.RetryJob(ctx, id, by) })
}

// DiscardJob gives a job up.
func (x actions) DiscardJob(ctx context.Context, id edgeagent.ID, by, reason string) error {
	return x.onJob(id, func(db *queue.DB) error { return db.Discard(ctx, id, by, reason) })
}

// Feedback stores a person's verdict on a diagnosis.
func (x actions) Feedback(ctx context.Context, id edgeagent.ID, f edgeagent.Feedback) (edgeagent.Job, error) {
	if err := x.onJob(id, func(db *queue.DB) error { return db.Feedback(ctx, id, f) }); err != nil {
		return edgeagent.Job{}, err
	}
	return x.db.Load().Job(id)
}

// ConfirmFeedback lets an engineer stand by what was said of a diagnosis.
func (x actions) ConfirmFeedback(ctx context.Context, id edgeagent.ID, by string) error {
	return x.onJob(id, func(db *queue.DB) error { return db.ConfirmFeedback(ctx, id, by) })
}

func (x actions) onJob(id edgeagent.ID, do func(*queue.DB) error) error {
	db := x.db.Load()
	if db == nil {
		return errChecking
	}
	if err := do(db); err != nil {
		return err
	}
	x.page.Changed(status.KindJob, string(id))
	return nil
}

// Reload reads the configuration again.
func (x actions) Reload(ctx context.Context) ([]string, error) {
	if x.conns.Load() == nil {
		return nil, errChecking
	}
	return x.reload(context.WithoutCancel(ctx))
}

// isLoopback reports whether a URL stays on this machine.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
