package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
)

// store is what the recorder needs of the data file.
type store interface {
	Record(ctx context.Context, ts []edgeagent.Transition) ([]edgeagent.Alarm, error)
	LastTime(device, line, code string, before edgeagent.ID) *edgeagent.Occurrence
}

// hinter writes the first answer of an alarm; it is pure and at once.
type hinter interface {
	Hint(a edgeagent.Alarm, ev *edgeagent.Evidence, line string) edgeagent.Diagnosis
}

// recorder carries transitions from the loop to the data file. On a card that
// stalls they wait here, in order and counted; none is dropped.
type recorder struct {
	store    store
	hints    func() hinter
	log      *slog.Logger
	onStored func(edgeagent.Transition, edgeagent.Alarm)

	mu      sync.Mutex
	waiting []entry
	last    uint64 // number of an entry
	wake    chan struct{}
	fault   error // of the last write; nil when it succeeded
}

type entry struct {
	number     uint64 // in the order in which they came
	transition edgeagent.Transition
	done       chan<- recorded // may be nil
}

// recorded is the answer to a person's action, after the commit.
type recorded struct {
	alarms []edgeagent.Alarm
	err    error
}

func (r recorded) first() (edgeagent.Alarm, error) {
	if r.err != nil || len(r.alarms) == 0 {
		return edgeagent.Alarm{}, r.err
	}
	return r.alarms[0], nil
}

func newRecorder(log *slog.Logger, hints func() hinter, onStored func(edgeagent.Transition, edgeagent.Alarm)) *recorder {
	return &recorder{hints: hints, log: log, onStored: onStored, wake: make(chan struct{}, 1)}
}

// Put adds transitions to the end of the queue and returns at once. done, if
// any, is answered once they are committed; it must be buffered.
func (r *recorder) Put(ts []edgeagent.Transition, done chan<- recorded) {
	if len(ts) == 0 {
		return
	}
	r.mu.Lock()
	for _, t := range ts {
		r.last++
		r.waiting = append(r.waiting, entry{r.last, t, done})
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Waiting returns how many transitions are not committed yet, and why the last
// write failed if it did.
func (r *recorder) Waiting() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting), r.fault
}

// Keyed returns the hash of the body that came with an idempotency key, while its
// alarm waits here.
func (r *recorder) Keyed(key string) (bodyHash string, waits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.waiting {
		if e.transition.Key == key {
			return e.transition.KeyHash, true
		}
	}
	return "", false
}

// flushTime bounds how long a shutdown waits for a disk that does not answer.
const flushTime = 5 * time.Second

// Run writes until ctx ends and nothing is waiting any more.
func (r *recorder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		r.writeAll(ctx)
		select {
		case <-r.wake:
		case <-ctx.Done():
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	r.writeAll(flush)
	if n, fault := r.Waiting(); n > 0 {
		r.log.Error("stopped before the data file took everything", "lost", n, "error", fault)
	}
	return nil
}

// maxBatch bounds one commit, so that a storm is acknowledged in steps.
const maxBatch = 256

// writeAll writes batch after batch until nothing waits; a batch that the file
// does not take is tried again, for its order must hold.
func (r *recorder) writeAll(ctx context.Context) {
	backoff := retry.Backoff{First: 100 * time.Millisecond, Max: 10 * time.Second}
	failures := 0
	for ctx.Err() == nil {
		batch := r.head()
		if len(batch) == 0 {
			return
		}
		if err := r.write(ctx, batch); err != nil {
			if errors.Is(err, context.Canceled) && ctx.Err() != nil {
				return // the end of the agent is no fault of the file; the flush comes
			}
			failures++
			r.report(err, failures, len(batch))
			r.rest(ctx, backoff.Wait(failures), err)
			continue
		}
		failures = 0
		r.report(nil, 0, 0)
	}
}

// excuse tells everybody who waits that the file is full, instead of letting
// them hang until their patience ends. What they asked for stays in the queue:
// it was taken, and is written when there is space.
func (r *recorder) excuse(err error) {
	if !errors.Is(err, edgeagent.ErrFull) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range r.waiting {
		if e.done != nil {
			e.done <- recorded{err: fmt.Errorf("%w; it is kept in memory and written as soon as there is space", err)}
			r.waiting[i].done = nil
		}
	}
}

func (r *recorder) head() []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]entry(nil), r.waiting[:min(len(r.waiting), maxBatch)]...)
}

// rest waits before the next attempt. While the file is full, what is urgent is
// tried at once and as soon as it comes; whoever waits for something else is told.
func (r *recorder) rest(ctx context.Context, d time.Duration, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		if errors.Is(err, edgeagent.ErrFull) {
			_ = r.writeEach(ctx, r.urgent()) // the fault is the one that is reported already
			r.excuse(err)
		}
		select {
		case <-r.wake:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// urgent returns what should not wait behind what a full file refuses: what
// people did, what is over, and alarms of priority 1, unless something that
// happened to the same alarm waits before it.
func (r *recorder) urgent() []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []entry
	held := make(map[edgeagent.ID]bool)
	for _, e := range r.waiting {
		t := e.transition
		if !held[t.Alarm.ID] && len(out) < maxBatch && (t.Kind != edgeagent.TransitionRaised || t.Alarm.Priority <= 1) {
			out = append(out, e)
			continue
		}
		held[t.Alarm.ID] = true
	}
	return out
}

// report keeps the fault for the page and logs the first and then every 32nd
// failure in a row: a full disk must not fill the journal too.
func (r *recorder) report(err error, failures, waiting int) {
	r.mu.Lock()
	had := r.fault
	r.fault = err
	r.mu.Unlock()
	switch {
	case err == nil && had != nil:
		r.log.Info("data file can be written again")
	case err != nil && failures%32 == 1:
		r.log.Error("alarms wait for the data file", "waiting", waiting, "failures", failures, "error", err)
	}
}

// write commits one batch, or its entries one by one when the file refuses one
// of them for what it is: one bad transition must not hold up the others.
func (r *recorder) write(ctx context.Context, batch []entry) error {
	ts := make([]edgeagent.Transition, len(batch))
	for i, e := range batch {
		ts[i] = r.withHint(e.transition)
	}
	alarms, err := r.store.Record(ctx, ts)
	if (refusedForGood(err) || errors.Is(err, edgeagent.ErrFull)) && len(batch) > 1 {
		return r.writeEach(ctx, batch)
	}
	if err != nil && !refusedForGood(err) {
		return err
	}
	r.settle(batch, ts, alarms, err)
	return nil
}

// writeEach writes what the file takes. One that is full still takes what is
// urgent and what people do: that does not wait behind what it refuses. Only
// what has happened to one alarm stays in its order.
func (r *recorder) writeEach(ctx context.Context, batch []entry) error {
	var first error
	held := make(map[edgeagent.ID]bool)
	for _, e := range batch {
		id := e.transition.Alarm.ID
		if held[id] {
			continue
		}
		err := r.write(ctx, []entry{e})
		if err != nil && !errors.Is(err, edgeagent.ErrFull) {
			return err
		}
		held[id] = err != nil
		first = firstError(first, err)
	}
	return first
}

// refusedForGood reports whether trying again cannot help.
func refusedForGood(err error) bool {
	return errors.Is(err, edgeagent.ErrConflict) || errors.Is(err, edgeagent.ErrNotFound)
}

// withHint adds what the alarm's own commit must carry: nobody looks at an
// empty page.
func (r *recorder) withHint(t edgeagent.Transition) edgeagent.Transition {
	if t.Kind != edgeagent.TransitionRaised {
		return t
	}
	t.Alarm.LastTime = r.store.LastTime(t.Alarm.Device, t.Alarm.Line, t.Alarm.Code, t.Alarm.ID)
	hint := r.hints().Hint(t.Alarm, t.Evidence, t.Alarm.Line)
	t.Alarm.Hint = &hint
	return t
}

// without returns all but the entries of a batch, which are among the first and
// in the same order.
func without(all, batch []entry) []entry {
	left := make([]entry, 0, len(all))
	for i, e := range all {
		if len(batch) == 0 {
			return append(left, all[i:]...)
		}
		if e.number == batch[0].number {
			batch = batch[1:]
			continue
		}
		left = append(left, e)
	}
	return left
}

// settle takes the batch off the queue and answers who waits for it.
func (r *recorder) settle(batch []entry, ts []edgeagent.Transition, alarms []edgeagent.Alarm, err error) {
	r.mu.Lock()
	r.waiting = without(r.waiting, batch)
	r.mu.Unlock()
	if err != nil {
		r.log.Error("transition refused by the data file", "alarm", ts[0].Alarm.ID, "kind", ts[0].Kind, "error", err)
	}
	for i, e := range batch {
		answer := recorded{err: err}
		if i < len(alarms) {
			answer.alarms = alarms[i : i+1]
			r.onStored(ts[i], alarms[i])
		}
		if e.done != nil {
			e.done <- answer
		}
	}
}
