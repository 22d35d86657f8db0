package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// Backup writes the file as of the last commit, while work goes on. begin is
// told its size in bytes and returns where it goes. Pages that the copy still
// needs are not used again until it is done: a reader that is slow for long
// makes the file grow.
func (db *DB) Backup(begin func(size int64) (io.Writer, error)) error {
	tx, err := db.hold()
	if err != nil {
		return fmt.Errorf("back up the data file: %w", err)
	}
	defer db.letGo(tx)
	w, err := begin(tx.Size())
	if err != nil {
		return fmt.Errorf("back up the data file: %w", err)
	}
	n, err := tx.WriteTo(w)
	if err == nil && n != tx.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("back up the data file: after %d of %d bytes: %w", n, tx.Size(), err)
	}
	return nil
}

// hold opens a view of the file that no compaction takes away, and that is whole
// without the journal.
func (db *DB) hold() (tx *bbolt.Tx, err error) {
	err = db.do(context.Background(), "seal", func(b *batch) (err error) {
		if err = db.settleNow(false); err != nil {
			return err
		}
		db.compacting.mu.Lock()
		defer db.compacting.mu.Unlock()
		held, err := db.bolt.Begin(false)
		if tx = held; err == nil {
			db.compacting.held++
			b.undoWith(func() { db.letGo(held); tx = nil }) // the batch may fail, or be tried again one by one
		}
		return err
	})
	if slow, stalled := errors.AsType[*late](err); stalled {
		go slow.then(func() { db.letGo(tx) })
	}
	return tx, err
}

func (db *DB) letGo(tx *bbolt.Tx) {
	_ = tx.Rollback() // of a read-only transaction: nothing to undo
	db.compacting.mu.Lock()
	defer db.compacting.mu.Unlock()
	db.compacting.held--
}

// readWait is how long a command waits for a file that is being opened or closed.
const readWait = 2 * time.Second

// BackupFile copies a data file that no agent has open to a new one, which is
// whole and synced when it returns; target must not exist. It returns an error
// while an agent has the file.
func BackupFile(ctx context.Context, path, target string) error {
	release, err := share(ctx, path)
	if err != nil {
		return err
	}
	err = guard(func() error {
		return readFile(path, func(tx *bbolt.Tx) error { return copyTree(tx, target, ctx.Done()) })
	})
	if err := errors.Join(err, release()); err != nil {
		return fmt.Errorf("back up %s: %w", path, err)
	}
	return syncPath(target)
}

// waited waits, and reports false when ctx ended before.
func waited(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// share takes the lock of a data file together with other readers, for at most
// two seconds.
func share(ctx context.Context, path string) (release func() error, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path + ".lock")
	if errors.Is(err, os.ErrNotExist) {
		return func() error { return nil }, nil // a copy: no agent ever had it
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data file: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		if !waited(ctx, 50*time.Millisecond) {
			err = fmt.Errorf("the data file %s %w%s: when that is the agent, wait until it answers, or stop it first", path, ErrInUse, holder(f))
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
