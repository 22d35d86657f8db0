package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/plc"
	"edgeagent/tags"
)

// loop is the one goroutine that owns tags and alarms. Scans come in through
// the inbox, people's actions as functions; what changed goes to the recorder.
// It never waits for the disk.
type loop struct {
	inbox    *plc.Inbox
	table    *tags.Table
	engine   *alarm.Engine
	recorder *recorder
	calls    chan func(*loop) // shared with the loop that a reload puts in this one's place
	beat     atomic.Int64     // unix nanoseconds of the last turn, for the watchdog
	onScan   func(edgeagent.Scan)
}

// tickEvery bounds how late a staleness or a shelving's end is noticed.
const tickEvery = time.Second

func newLoop(table *tags.Table, engine *alarm.Engine, rec *recorder, calls chan func(*loop), onScan func(edgeagent.Scan)) *loop {
	return &loop{inbox: plc.NewInbox(), table: table, engine: engine, recorder: rec, calls: calls, onScan: onScan}
}

// Run turns until ctx ends.
func (l *loop) Run(ctx context.Context) error {
	scans := make(chan edgeagent.Scan)
	var forwarding sync.WaitGroup
	defer forwarding.Wait()
	forwarding.Go(func() { l.forward(ctx, scans) })
	timer := time.NewTimer(tickEvery)
	defer timer.Stop()
	for {
		l.beat.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return nil
		case scan := <-scans:
			l.scan(scan)
		case call := <-l.calls:
			call(l)
		case <-timer.C:
			l.recorder.Put(l.engine.Tick(time.Now(), l.table), nil)
		}
		timer.Reset(l.wait())
	}
}

// forward holds one scan in its hand; all others merge in the inbox.
func (l *loop) forward(ctx context.Context, out chan<- edgeagent.Scan) {
	for {
		scan, err := l.inbox.Next(ctx)
		if err != nil {
			return
		}
		select {
		case out <- scan:
		case <-ctx.Done():
			return
		}
	}
}

func (l *loop) scan(s edgeagent.Scan) {
	l.table.Put(s)
	l.recorder.Put(l.engine.Apply(s, l.table, time.Now()), nil)
	l.onScan(s)
}

func (l *loop) wait() time.Duration {
	if at, ok := l.engine.Next(); ok {
		return max(min(time.Until(at), tickEvery), time.Millisecond)
	}
	return tickEvery
}

// do runs f in the loop and waits for it. While a reload exchanges the loops
// it waits for the new one, which is handed to f: a person's action is not
// lost for coming at that moment.
func (l *loop) do(ctx context.Context, f func(*loop)) error {
	done := make(chan struct{})
	select {
	case l.calls <- func(now *loop) { f(now); close(done) }:
	case <-ctx.Done():
		return fmt.Errorf("reach the alarm engine: %w", context.Cause(ctx))
	}
	<-done
	return nil
}

// change runs one action on an alarm in the loop and returns the alarm as it
// was committed.
func (l *loop) change(ctx context.Context, f func(*alarm.Engine, time.Time) (edgeagent.Transition, error)) (edgeagent.Alarm, error) {
	done := make(chan recorded, 1)
	var refused error
	err := l.do(ctx, func(l *loop) {
		t, err := f(l.engine, time.Now())
		if err != nil {
			refused = err
			return
		}
		l.recorder.Put([]edgeagent.Transition{t}, done)
	})
	if err != nil || refused != nil {
		return edgeagent.Alarm{}, firstError(err, refused)
	}
	select {
	case r := <-done:
		return r.first()
	case <-ctx.Done():
		return edgeagent.Alarm{}, fmt.Errorf("wait for the data file: %w; it is done as soon as the file can be written", context.Cause(ctx))
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
