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
	tasks []func()
	idle  chan struct{} // closed when it has nothing more to do; nil: it never had
	busy  bool

	disk  watch
	ended atomic.Bool // a checkpoint has, and the committer has not looked yet
}

// keepLeast is from how many records on a batch is put by the keeper: to hand over a
// few takes longer than to put them.
const keepLeast = 32

// hand gives the keeper a task, to be done after those before it. Only the committer
// does: when the keeper has no work, nobody else gives it any before it has the turn.
func (db *DB) hand(task func()) {
	k := &db.keeper
	if k.add(task) {
		return
	}
	db.turn.Lock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tasks, k.busy, k.idle = append(k.tasks, task), true, make(chan struct{})
	go db.keepOn()
}

// add gives a task to a keeper that is at work.
func (k *keeper) add(task func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy {
		k.tasks = append(k.tasks, task)
	}
	return k.busy
}

func (db *DB) keepOn() {
	for task := db.nextTask(); task != nil; task = db.nextTask() {
		db.starts(&db.keeper.disk)
		task()
		db.ends(&db.keeper.disk)
	}
}

// nextTask gives back the turn when there is none.
func (db *DB) nextTask() (task func()) {
	k := &db.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.tasks) == 0 {
		k.busy, k.tasks = false, nil
		db.turn.Unlock()
		close(k.idle)
		return nil
	}
	task, k.tasks = k.tasks[0], k.tasks[1:]
	return task
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
	db.hand(func() { db.settleBeside(s) })
	db.journal.turn(s.mark)
	return nil
}

// settleBeside makes a checkpoint. Without space all is as before, and the
// committer tries again.
func (db *DB) settleBeside(s settlement) {
	if db.failure() != nil {
		return
	}
	err := guard(func() error { return db.commitTx(s) })
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
// that was taken back meanwhile there is nothing. Where it cannot, there is no
// transaction any more: who reads is told that the file has failed, and not that
// what was answered is not there.
func (db *DB) putRecords(b *batch) {
	if db.failure() != nil {
		db.dropTx()
		return
	}
	if err := guard(func() error { return writeThese(db.tx, b.names, b.puts) }); err != nil {
		db.fail(fmt.Errorf("put into %s what its journal holds: %w", db.path, err))
		db.dropTx()
	}
}
