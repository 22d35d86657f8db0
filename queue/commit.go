package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"edgeagent"
)

// maxBatch bounds how many operations share a commit.
const maxBatch = 1024

// errClosed is returned by everything after Close.
var errClosed = errors.New("the data file is closed")

// An op is one operation on its way through the committer.
type op struct {
	ctx   context.Context
	apply func(*batch) error
	done  chan error // buffered: the committer never waits for who asked
	asker *asker
}

// do has apply carried out by the committer and returns after its commit. Once
// the committer has taken it, ctx no longer counts: an answer that says nothing
// about what was written helps nobody.
func (db *DB) do(ctx context.Context, doing string, apply func(*batch) error) error {
	return db.doPrepared(ctx, doing, func() {}, apply)
}

// doPrepared does so after prepare, for which the committer waits, see asking.go.
func (db *DB) doPrepared(ctx context.Context, doing string, prepare func(), apply func(*batch) error) error {
	a := db.askers.join()
	defer a.end()
	prepare()
	if err := db.submit(ctx, op{ctx: ctx, apply: apply, done: make(chan error, 1), asker: a}); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// answer says what became of it.
func (o op) answer(err error) {
	o.asker.answer()
	o.done <- err
}

// commitLoop is the committer.
func (db *DB) commitLoop() {
	defer close(db.done)
	defer db.keeper.join()
	for {
		select {
		case first := <-db.ops:
			db.runBatch(first, db.upcoming)
		case <-db.stop:
			return
		}
	}
}

// upcoming returns the next operation of a batch that has n. There is no timer: a
// lone operation is written at once. What others ask meanwhile is carried out as it
// comes, and written with it.
func (db *DB) upcoming(n int) (o op, any bool) {
	for n < maxBatch {
		last := db.askers.number.Load() == 0
		select {
		case o := <-db.ops:
			return o, true
		default:
		}
		if last {
			return o, false
		}
		<-db.askers.some
	}
	return o, false
}

// alone is a batch of one operation.
func alone(int) (o op, any bool) { return o, false }

// runBatch applies, commits, publishes and answers. Who is refused is told so after
// the commit too: it may be for what another of the batch has done.
func (db *DB) runBatch(first op, next func(n int) (op, bool)) {
	b, ops, refused := db.gather(first, next)
	accepted := acceptedOf(ops, refused)
	answerEarly(accepted)
	err := db.finish(b, len(accepted))
	db.ends(&db.busy)
	if len(accepted) == 0 {
		err = nil // of housekeeping alone, which nobody has asked for
	}
	if errors.Is(err, edgeagent.ErrFull) && len(ops) > 1 {
		for _, o := range ops { // what is small, or frees space, still fits
			db.runBatch(o, alone)
		}
		return
	}
	for n, o := range ops {
		o.answer(cmp.Or(err, refused[n]))
	}
	db.putAway(b)
	b.done()
	if err == nil && len(b.puts) > 0 {
		db.settle(len(accepted))
	}
}

// gather carries out operations and returns them with why they cannot be committed.
// Nobody is answered meanwhile, and so nobody comes twice into one batch.
func (db *DB) gather(first op, next func(n int) (op, bool)) (b *batch, ops []op, refused []error) {
	late := db.takeBackLate()
	b, ops = db.newBatch(db.journal.shared), []op{first}
	refused = make([]error, 0, db.journal.shared)
	for n := 0; n < len(ops); n++ {
		refused = append(refused, db.applyOne(b, ops[n], late))
		if o, any := next(n + 1); any {
			ops = append(ops, o)
		}
	}
	return b, ops, refused
}

// acceptedOf returns the operations that can be committed.
func acceptedOf(ops []op, refused []error) []op {
	accepted := make([]op, 0, len(ops))
	for n, o := range ops {
		if refused[n] == nil {
			accepted = append(accepted, o)
		}
	}
	return accepted
}

// newBatch begins one for so many operations, a raise putting the most of them.
func (db *DB) newBatch(ops int) *batch {
	spare := db.work.spare
	db.work.spare = nil
	return &batch{
		db: db, o: *db.options.Load(), w: db.work, now: time.Now(), histories: spare,
		puts: make(map[string][]byte, 6*ops), undo: make([]undoable, 0, 16*ops), alarms: make(map[edgeagent.ID]struct{}, ops),
	}
}

// applyOne checks and applies one operation; one that fails leaves no trace in
// the batch.
func (db *DB) applyOne(b *batch, o op, late error) error {
	if err := cmp.Or(late, db.failure()); err != nil {
		return err
	}
	if err := o.ctx.Err(); err != nil {
		return err
	}
	if db.busy.began.Load() == 0 {
		db.starts(&db.busy) // pages are read, of a disk that may hang; until runBatch has finished
	}
	mark := len(b.undo)
	err := guard(func() error { return o.apply(b) })
	if err != nil {
		b.rollback(mark)
	}
	return err
}

// finish commits what the batch holds; a batch that only read costs nothing.
func (db *DB) finish(b *batch, ops int) error {
	if len(b.puts) == 0 && !b.wantsRoom {
		return nil
	}
	saved, plain, err := db.prepare(b)
	if err == nil && len(b.puts) > 0 {
		err = db.commit(b, ops)
	}
	if errors.Is(err, edgeagent.ErrFull) && len(b.undo) > plain {
		b.rollback(plain) // to delete takes pages too: what was asked for goes before
		err = nil
		if len(b.puts) > 0 {
			err = db.commit(b, ops)
		}
	}
	if err != nil {
		db.keeper.join() // it may be reading the batch
		b.rollback(0)
		db.putAway(b)
		return err
	}
	db.ledger.stored(saved)
	db.publish(b)
	return nil
}

// prepare adds what rides along with every commit: spend and housekeeping, which
// begins at the mark plain.
func (db *DB) prepare(b *batch) (saved uint64, plain int, err error) {
	body, saved, changed, err := db.ledger.snapshot()
	if err != nil {
		return 0, 0, err
	}
	if changed {
		if err := b.put(bucketMeta, keySpend, 0, body); err != nil {
			return 0, 0, err
		}
	}
	mark := len(b.undo)
	if err := guard(b.tidy); err != nil { // it reads what is old, where damage lies unseen
		b.rollback(mark)
		b.o.Log.Warn("the data file was not tidied", "error", err)
	}
	return saved, mark, nil
}

// commit is one transaction.
func (db *DB) commit(b *batch, ops int) error {
	if err := db.failure(); err != nil {
		return err // an operation of this batch made a checkpoint, which failed: no frame counts any more
	}
	start := time.Now()
	db.starts(&db.busy)
	defer db.ends(&db.busy)
	err := guard(func() error { return errors.Join(db.store(b), failpoint("commit.answer")) })
	if err != nil {
		return db.judge(err)
	}
	db.commits.Add(1)
	db.taken(b)
	b.o.OnCommit(time.Since(start), ops)
	return nil
}

// judge decides what a failed commit means. No space is an answer, and the file
// goes on. Everything else leaves it in a state that cannot be trusted.
func (db *DB) judge(err error) error {
	if errors.Is(err, edgeagent.ErrFull) && !errors.Is(err, errUntrusted) {
		db.full.Store(true)
		return err
	}
	db.fail(err)
	return err
}

func noSpace(err error) bool {
	return errors.Is(err, bolterrors.ErrMaxSizeReached) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) ||
		// bbolt flattens the errors of growing the file to text
		strings.Contains(err.Error(), syscall.ENOSPC.Error()) || strings.Contains(err.Error(), syscall.EFBIG.Error())
}

// txid returns the number of the newest transaction that can be seen.
func (db *DB) txid() int {
	id := -1
	_ = guard(func() error { // an error leaves -1, which equals no number
		return db.bolt.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil })
	})
	return id
}

// fail ends all writing. The process has to open the file anew.
func (db *DB) fail(err error) {
	db.failOnce.Do(func() {
		db.broken.Store(&err)
		close(db.failed)
		db.options.Load().Log.Error("the data file can no longer be written: restart the agent", "error", err)
	})
}

func (db *DB) failure() error {
	if err := db.broken.Load(); err != nil {
		return fmt.Errorf("the data file failed before: %w", *err)
	}
	return nil
}

// guard turns a panic of bbolt into an error: on a damaged page it panics where
// others return.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v: %w", r, errDamaged)
		}
	}()
	return f()
}
