package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// beside carries out operations in one batch, in their order, and returns what
// each was answered.
func beside(t *testing.T, db *DB, ctx []context.Context, all ...func(context.Context) error) []error {
	t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	go func() { _ = db.Hold(t.Context(), held, release) }()
	<-held
	answers := make([]chan error, len(all))
	for i, do := range all {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- do(ctx[i]) }()
		db.Await(i + 1)
	}
	close(release)
	got := make([]error, len(all))
	for i := range got {
		got[i] = <-answers[i]
	}
	return got
}

// An operation may make a checkpoint of its own, as a backup does. When the file
// fails with it, those beside it must not be answered: their frame would be of a
// generation that is over.
func TestNobodyIsAnsweredBesideAFileThatFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	db := openPlain(t, path)
	write := func(ctx context.Context) error {
		return db.do(ctx, "write", func(b *batch) error {
			return b.put(bucketBodies, string(edgeagent.NewID(time.Now()))+"e", 0, []byte("x"))
		})
	}
	seal := func(ctx context.Context) error {
		return db.do(ctx, "seal", func(*batch) error {
			err := fmt.Errorf("checkpoint: %w", syscall.EIO)
			db.fail(err)
			return err
		})
	}
	got := beside(t, db, []context.Context{t.Context(), t.Context()}, write, seal)
	if !errors.Is(got[1], syscall.EIO) || got[0] == nil {
		t.Errorf("answers %v, want that neither is done", got)
	}
	closesInTime(t, db)
}

// Who asked for a compaction in a batch that had to be tried again has asked
// twice, and may be gone: nobody else waits for that.
func TestACompactionAskedForTwiceHoldsUpNobody(t *testing.T) {
	for range 50 {
		if askedForTwice(t) {
			return
		}
	}
	t.Fatal("the batch was never tried again before the compaction was done, which proves nothing")
}

// askedForTwice reports false when the compaction was done too soon.
func askedForTwice(t *testing.T) bool {
	t.Helper()
	db := openPlain(t, filepath.Join(t.TempDir(), "agent.db"))
	ctx, gone := context.WithCancel(t.Context())
	if err := db.Limit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	compact := func(ctx context.Context) error { _, _, err := db.Compact(ctx); return err }
	tooMuch := func(ctx context.Context) error {
		return db.do(ctx, "write", func(b *batch) error {
			return b.put(bucketBodies, string(edgeagent.NewID(time.Now()))+"e", 0, make([]byte, 1<<20))
		})
	}
	asked := 0
	leave := func(context.Context) error {
		return db.do(t.Context(), "look", func(*batch) error {
			if asked = len(db.compacting.asked); asked > 1 {
				gone()
			}
			return nil
		})
	}
	beside(t, db, []context.Context{ctx, t.Context(), t.Context()}, compact, tooMuch, leave)
	if err := db.Rest(t.Context()); err != nil {
		t.Error(err)
	}
	closesInTime(t, db)
	return asked > 1
}

// amidABatch has the committer wait, in a batch that has begun, for one who prepares
// until ready is closed.
func amidABatch(t *testing.T, db *DB, all *sync.WaitGroup) (ready chan struct{}) {
	ready = make(chan struct{})
	nothing := func(*batch) error { return nil }
	all.Go(func() { _ = db.doPrepared(t.Context(), "prepare for long", func() { <-ready }, nothing) })
	all.Go(func() { _ = db.do(t.Context(), "begin a batch", nothing) })
	synctest.Wait()
	return ready
}

// A batch may have begun before the options changed: what is done because of them is
// done by the new ones.
func TestADestinationIsGreetedAmidABatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	synctest.Test(t, func(t *testing.T) {
		db := openPlain(t, path)
		s := streamKey{db.Epoch(), edgeagent.StreamAlarm}
		gone := func(b *batch) error {
			set(b, b.w.last, s, 2)
			set(b, b.w.floor, s, 2)
			return nil
		}
		if err := db.do(t.Context(), "events that are gone", gone); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		ready := amidABatch(t, db, &all)
		o := *db.options.Load()
		o.Destinations = []Destination{{Name: "new", Required: true}}
		all.Go(func() { db.Configure(o) })
		synctest.Wait()
		close(ready)
		all.Wait()
		var at uint64
		look := func(b *batch) error { at = b.w.cursors[cursorKey{"new", s}].at; return nil }
		if err := db.do(t.Context(), "look", look); err != nil || at != 2 {
			t.Errorf("cursor %d, %v, want 2: the destination was not greeted", at, err)
		}
		closesInTime(t, db)
	})
}

// Whoever comes while the committer waits for others wakes it: however many come at
// once, some are carried out before the one that prepares for long is ready.
func TestManyAtOnceWakeTheCommitter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	for range 40 {
		synctest.Test(t, func(t *testing.T) {
			db := openPlain(t, path)
			var all sync.WaitGroup
			ready := amidABatch(t, db, &all)
			var done atomic.Int64
			for range 32 {
				all.Go(func() { _ = db.do(t.Context(), "more", func(*batch) error { done.Add(1); return nil }) })
			}
			synctest.Wait()
			if done.Load() < 32-someCame {
				t.Errorf("%d of 32 were carried out, and the committer sleeps", done.Load())
			}
			close(ready)
			all.Wait()
			closesInTime(t, db)
		})
	}
}

// Who is refused because of what somebody else does in the same batch is told so
// when that is stored: a result that is paid for must not be dropped for nothing.
func TestNobodyIsRefusedForWhatIsNotStored(t *testing.T) {
	db := openPlain(t, filepath.Join(t.TempDir(), "agent.db"))
	up := edgeagent.Transition{Kind: edgeagent.TransitionRaised, At: time.Now(), Alarm: edgeagent.Alarm{
		ID: edgeagent.NewID(time.Now()), Line: "line-1", Code: "A1", State: edgeagent.AlarmUnacked, Diagnose: true, Revision: 1,
	}}
	if _, err := db.Record(t.Context(), []edgeagent.Transition{up}); err != nil {
		t.Fatal(err)
	}
	l, err := db.Lease(t.Context())
	if err != nil || l == nil {
		t.Fatalf("lease = %v, %v", l, err)
	}
	if err := db.Limit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	discardMuch := func(ctx context.Context) error {
		return db.do(ctx, "discard, and more than fits", func(b *batch) error {
			j, err := b.job(l.Job)
			if err != nil {
				return err
			}
			return errors.Join(b.step(&j, evDiscard), b.note(&j, "discarded", nil), b.put(bucketBodies, string(j.id)+"e", 0, make([]byte, 1<<20)))
		})
	}
	complete := func(ctx context.Context) error {
		return db.Complete(ctx, *l, edgeagent.Outcome{Diagnosis: &edgeagent.Diagnosis{Summary: "x"}})
	}
	got := beside(t, db, []context.Context{t.Context(), t.Context()}, discardMuch, complete)
	if !errors.Is(got[0], edgeagent.ErrFull) {
		t.Fatalf("discard = %v: this proves nothing", got[0])
	}
	if errors.Is(got[1], edgeagent.ErrLeaseLost) {
		t.Errorf("complete = %v, and nobody has taken the lease", got[1])
	}
	if err := db.Limit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	closesInTime(t, db)
}
