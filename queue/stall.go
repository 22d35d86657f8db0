package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"edgeagent"
)

const (
	stallLimit = 30 * time.Second // of one commit; a worn card takes seconds
	stallLook  = 2 * time.Second

	insistAgain = 10 * time.Second
)

// ErrStalled is returned when a commit, or what it reads, has been under way for half
// a minute. What was asked for may or may not be stored; it shows when the disk answers.
var ErrStalled = errors.New("the disk does not answer")

// late is the error of an operation whose answer nobody waits for any more.
type late struct {
	error
	done <-chan error
	end  <-chan struct{}
}

func (l *late) Unwrap() error { return l.error }

// then calls f when the operation turns out to be stored after all.
func (l *late) then(f func()) {
	select {
	case err := <-l.done:
		if err == nil {
			f()
		}
	case <-l.end:
	}
}

// Stalled reports a commit that takes so long that nobody should wait for it,
// as an error that wraps [ErrStalled]; nil otherwise.
func (db *DB) Stalled() error {
	took := max(db.lasts(&db.busy), db.lasts(&db.keeper.disk))
	if took < stallLimit {
		return nil
	}
	return fmt.Errorf("%w: a write to %s has taken %s so far; check the card and its log of errors", ErrStalled, db.path, took.Round(time.Second))
}

// lasts returns for how long something has been under way.
func (db *DB) lasts(w *watch) time.Duration {
	if began := w.began.Load(); began != 0 {
		return time.Duration(db.boot.mono() - began)
	}
	return 0
}

// A watch is on something that the disk does for one goroutine. It wakes whoever
// waits when that takes too long: a timer for each of them would cost more than the
// rest of asking.
type watch struct {
	began atomic.Int64 // see clock of boot; 0: nothing is under way
	timer *time.Timer
}

// watch makes a watch ready.
func (db *DB) watch(w *watch) {
	w.timer = time.AfterFunc(stallLimit, func() { db.runOut(w) })
	w.timer.Stop()
}

func (db *DB) starts(w *watch) {
	w.began.Store(db.boot.mono())
	w.timer.Reset(stallLimit + stallLook)
}

func (db *DB) ends(w *watch) {
	w.began.Store(0)
	w.timer.Stop()
}

// runOut wakes those who wait, and after a while those who came since.
func (db *DB) runOut(w *watch) {
	h := &db.hung
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.began.Load() == 0 {
		return // it has ended this moment
	}
	if h.said != nil {
		close(h.said)
		h.said = nil
	}
	w.timer.Reset(stallLook)
}

// hung wakes who waits when a watch has run out.
type hung struct {
	mu   sync.Mutex
	said chan struct{} // nil: nobody waits
}

func (h *hung) channel() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.said == nil {
		h.said = make(chan struct{})
	}
	return h.said
}

// submit gives an operation to the committer, says so, and waits for its answer,
// unless the disk hangs: then nobody may hang with it.
func (db *DB) submit(ctx context.Context, o op) error {
	if err := db.Stalled(); err != nil {
		return err
	}
	for queue, hung := db.ops, db.hung.channel(); ; {
		select {
		case queue <- o:
			queue, ctx = nil, context.WithoutCancel(ctx) // from here on only its commit counts
			if o.asker.submit(); len(db.ops) >= someCame {
				signal(db.askers.some)
			}
		case err := <-o.done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-db.done:
			return lastWord(o)
		case <-hung:
			if err := db.Stalled(); err != nil {
				return &late{err, o.done, db.done}
			}
			hung = db.hung.channel() // it has answered this moment
		}
	}
}

// lastWord returns an answer that was given just before the end.
func lastWord(o op) error {
	select {
	case err := <-o.done:
		return err
	default:
		return errClosed
	}
}

// putBack returns a lease that was stored when its worker had given up waiting. The
// file may be full then: nobody else would ever end it.
func (db *DB) putBack(l *edgeagent.Lease) {
	if l == nil {
		return
	}
	db.insist(func() error { return db.Release(context.Background(), *l, edgeagent.Outcome{}) })
}

// insist carries out what nobody waits for until it is stored, or somebody else has
// decided, or the file is closed.
func (db *DB) insist(f func() error) {
	for err := f(); err != nil && !errors.Is(err, edgeagent.ErrLeaseLost) && !errors.Is(err, errClosed); err = f() {
		pause := time.NewTimer(insistAgain)
		select {
		case <-pause.C:
		case <-db.done:
			pause.Stop()
			return
		}
	}
}

// ended waits for the committer to end. It gives up on one that hangs in the disk.
func (db *DB) ended() error {
	look := time.NewTicker(stallLook)
	defer look.Stop()
	for {
		select {
		case <-db.done:
			return nil
		case <-look.C:
			if err := db.Stalled(); err != nil {
				return err
			}
		}
	}
}
