package queue

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"edgeagent"
)

// A keeper works beside the committer: what the journal holds it puts into the
// transaction that is held, and commits that. So nobody waits for the two syncs of
// a checkpoint but who reads the file, and amid a storm not even for the pages of
// a batch. It takes its tasks in their order, and as long as it has any it has
// the turn: who was answered reads what was written.
type keeper struct {
	mu    sync.Mutex
	tasks []task
	idle  chan struct{} // closed when it has nothing more to do; nil: it never had
	busy  bool

	since atomic.Int64 // when the task under way began, see clock of boot; 0: none
	ended atomic.Bool  // a checkpoint has, and the committer has not looked yet
}

// A task is a batch to be put, or a checkpoint.
type task struct {
	batch    *batch
	answered chan struct{} // closed when the batch's operations were; nil: they were
	settle   *settlement
}

// keepLeast is from how many records on a batch is put by the keeper: to hand over a
// few takes longer than to put them.
const keepLeast = 32

// await gives a keeper that is at work a batch whose operations are about to be
// answered. It reports false when the keeper has no work, and so not the turn.
func (k *keeper) await(b *batch) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.busy {
		return false
	}
	b.answered = make(chan struct{})
	k.tasks = append(k.tasks, task{batch: b, answered: b.answered})
	return true
}

// keep gives the keeper a task. Who has it begin has taken the turn for it.
func (db *DB) keep(t task) {
	k := &db.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tasks = append(k.tasks, t)
	if !k.busy {
		k.busy, k.idle = true, make(chan struct{})
		go db.keepOn()
	}
}

func (db *DB) keepOn() {
	for t, any := db.nextTask(); any; t, any = db.nextTask() {
		if t.answered != nil {
			<-t.answered
		}
		db.keeper.since.Store(db.boot.mono())
		if t.settle != nil {
			db.settleBeside(*t.settle)
		} else {
			db.putRecords(t.batch)
		}
		db.keeper.since.Store(0)
	}
}

// nextTask gives back the turn when there is none.
func (db *DB) nextTask() (t task, any bool) {
	k := &db.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.tasks) == 0 {
		k.busy, k.tasks = false, nil
		db.turn.Unlock()
		close(k.idle)
		return t, false
	}
	t, k.tasks = k.tasks[0], k.tasks[1:]
	return t, true
}

// join waits until the keeper has nothing to do. Only the committer brings it
// work, and may then use the transaction and the data file itself.
func (k *keeper) join() {
	k.mu.Lock()
	idle := k.idle
	k.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

func (k *keeper) working() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.busy
}

// beginSettling hands a checkpoint of all frames so far to the keeper and goes on
// in the next part of the journal.
func (db *DB) beginSettling() error {
	s, err := db.settlement(nil, true)
	if err != nil {
		return err
	}
	if !db.keeper.working() {
		db.turn.Lock() // nobody but the committer brings it work
	}
	db.keep(task{settle: &s})
	db.journal.turn(s.mark)
	return nil
}

// settleBeside makes a checkpoint. Without space all is as before, and the
// committer tries again.
func (db *DB) settleBeside(s settlement) {
	if db.failure() != nil {
		return
	}
	err := db.commitTx(s)
	switch {
	case errors.Is(err, edgeagent.ErrFull) && !errors.Is(err, errUntrusted):
		db.full.Store(true)
	case err != nil:
		db.fail(err)
	default:
		db.keeper.ended.Store(true)
	}
}

// putRecords puts what the journal holds of a batch into the transaction. Of one
// that was taken back meanwhile there is nothing.
func (db *DB) putRecords(b *batch) {
	if db.failure() != nil {
		return
	}
	if err := guard(func() error { return writeThese(db.tx, b.names, b.puts) }); err != nil {
		db.fail(fmt.Errorf("put into %s what its journal holds: %w", db.path, err))
	}
}
