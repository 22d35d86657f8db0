package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// ResendAtOnce bounds one commit of [DB.Resend].
const ResendAtOnce = resendAtOnce

// FutureSchema makes a file look like one of a later version.
func FutureSchema(tx *bbolt.Tx) error {
	if err := initialise(tx); err != nil {
		return err
	}
	return mark(tx, schemaVersion+1)
}

// Names returns how many names of alarms and groups of lines are remembered.
func (db *DB) Names(ctx context.Context) (alarms, groups int) {
	_ = db.do(ctx, "count", func(b *batch) error {
		alarms, groups = len(b.w.raised), len(b.w.flood)
		return nil
	})
	return alarms, groups
}

// Hold keeps the committer busy until release is closed; held is closed when it is.
func (db *DB) Hold(ctx context.Context, held, release chan struct{}) error {
	var once sync.Once // the batch may be tried again
	return db.do(ctx, "hold", func(*batch) error {
		once.Do(func() { close(held) })
		<-release
		return nil
	})
}

// Await returns when n operations wait for the committer.
func (db *DB) Await(n int) {
	for len(db.ops) < n {
		runtime.Gosched()
	}
}

// FillAndDrain writes n bodies of a kilobyte and deletes them again.
func (db *DB) FillAndDrain(ctx context.Context, n int) error {
	const each = 500
	if err := db.do(ctx, "put off", func(*batch) error { db.compacting.tried = time.Now(); return nil }); err != nil {
		return err
	}
	body := make([]byte, 1<<10)
	id := edgeagent.NewID(time.Now())
	for _, change := range []func(b *batch, key string) error{
		func(b *batch, key string) error { return b.put(bucketBodies, key, 0, body) },
		func(b *batch, key string) error { b.drop(bucketBodies, key); return nil },
	} {
		for from := 0; from < n; from += each {
			err := db.do(ctx, "fill and drain", func(b *batch) (err error) {
				for i := from; i < from+each && err == nil; i++ {
					err = change(b, fmt.Sprintf("%s%c%06d", id, partEvidence, i))
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Limit sets the largest size of the file, in bytes; 0 is none. As long as there
// is one there is no journal, so that every commit meets it.
func (db *DB) Limit(ctx context.Context, size int) error {
	return db.do(ctx, "limit", func(b *batch) error {
		db.keeper.join()
		b.db.bolt.MaxSize = size
		if size == 0 {
			return errors.Join(db.journal.close(), db.journal.take())
		}
		return errors.Join(db.settleNow(false), db.journal.close())
	})
}

// LimitFile sets the largest size of the file alone: the journal goes on.
func (db *DB) LimitFile(ctx context.Context, size int) error {
	return db.do(ctx, "limit", func(b *batch) error {
		db.keeper.join()
		b.db.bolt.MaxSize = size
		return nil
	})
}

// Rest waits until the committer and the keeper have put away what it answered, and made the
// checkpoint that was due.
func (db *DB) Rest(ctx context.Context) error {
	return db.do(ctx, "rest", func(*batch) error { db.keeper.join(); return nil })
}

// Checkpoint makes one, after which the journal is open and holds nothing.
func (db *DB) Checkpoint(ctx context.Context) error {
	return db.do(ctx, "checkpoint", func(*batch) error { return db.settleNow(true) })
}

// Occupy gives the keeper a task that takes until release is closed, and then a
// checkpoint of all that was committed so far.
func (db *DB) Occupy(ctx context.Context, release <-chan struct{}) error {
	return db.do(ctx, "occupy", func(*batch) error {
		db.keeper.join()
		db.hand(func() { <-release })
		return db.beginSettling()
	})
}

// FailBeside lets the file fail in the hands of the keeper, when release is closed.
func (db *DB) FailBeside(ctx context.Context, release <-chan struct{}) error {
	return db.do(ctx, "fail", func(*batch) error {
		db.hand(func() { <-release; db.fail(syscall.EIO) })
		return nil
	})
}

// SlowSync has the disk take until release is closed for the next frames; begun
// receives when the first of them is being synced.
func (db *DB) SlowSync(ctx context.Context, begun chan<- struct{}, release <-chan struct{}) error {
	return db.do(ctx, "slow", func(*batch) error {
		db.keeper.join()
		var once sync.Once
		db.journal.syncing = func() {
			once.Do(func() { close(begun) })
			<-release
		}
		return nil
	})
}

// FailSync has the sync of the next frame fail, which the disk has all the same.
func (db *DB) FailSync(ctx context.Context) error {
	return db.do(ctx, "fail to sync", func(*batch) error {
		db.keeper.join()
		db.journal.syncing = func() {
			real := db.journal.file
			db.journal.file, _ = os.OpenFile("/dev/null", os.O_RDWR, 0) // which cannot be synced
			_ = real.Close()
		}
		return nil
	})
}

// RefuseFrames has the journal find no space, or find it again.
func (db *DB) RefuseFrames(ctx context.Context, refuse bool) error {
	return db.do(ctx, "refuse", func(*batch) error {
		path := db.journal.path
		if refuse {
			path = "/dev/full"
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = db.journal.file.Close()
		db.journal.file = f
		return err
	})
}

// Readable reports whether somebody could read the file now.
func (db *DB) Readable() bool {
	if !db.turn.TryRLock() {
		return false
	}
	db.turn.RUnlock()
	return true
}

// SettleBeside begins a checkpoint beside the committer, as a MiB in the journal does.
func (db *DB) SettleBeside(ctx context.Context) error {
	return db.do(ctx, "settle", func(*batch) error {
		if j := &db.journal; !j.live() || j.next == 0 || j.behind() {
			return nil
		}
		return db.beginSettling()
	})
}

// Unplug lets every write to the journal fail, and not for want of space.
func (db *DB) Unplug(ctx context.Context) error {
	return db.do(ctx, "unplug", func(*batch) error {
		f, err := os.Open(db.journal.path)
		if err != nil {
			return err
		}
		err = db.journal.file.Close()
		db.journal.file = f
		return err
	})
}

// Break takes a bucket away: what touches it later fails, and not for want of space.
func (db *DB) Break(ctx context.Context, bucket byte) error {
	return db.do(ctx, "break", func(*batch) error {
		db.turn.Lock()
		defer db.turn.Unlock()
		return db.tx.DeleteBucket([]byte{bucket})
	})
}

// Damage flips a byte of every body of an object, in the open file.
func (db *DB) Damage(ctx context.Context, id edgeagent.ID) error {
	return db.flip(ctx, bucketBodies, string(id))
}

// DamageCalls flips a byte of the n-th record of a job's calls, in the open file.
func (db *DB) DamageCalls(ctx context.Context, job edgeagent.ID, n uint16) error {
	return db.flip(ctx, bucketBodies, numbered(job, partCalls, n))
}

// DamageEvent flips a byte of an event, in the open file.
func (db *DB) DamageEvent(ctx context.Context, s edgeagent.Stream, seq uint64) error {
	return db.flip(ctx, bucketOutbox, streamKey{db.Epoch(), s}.key(seq))
}

func (db *DB) flip(ctx context.Context, bucket byte, prefix string) error {
	return db.do(ctx, "damage", func(b *batch) error {
		clear(b.w.opened) // what is in memory cannot be damaged on disk
		db.turn.Lock()
		defer db.turn.Unlock()
		r, err := rowsOf(db.tx, bucket)
		if err != nil {
			return err
		}
		bad := make(map[string][]byte)
		for ok := r.seek(prefix); ok && strings.HasPrefix(r.key, prefix); ok = r.next() {
			rec := bytes.Clone(r.rec)
			rec[len(rec)-1] ^= 1
			bad[string(rune(bucket))+r.key] = rec
		}
		return writeAll(db.tx, bad)
	})
}

// OpenFull opens a file that has no room to grow.
func OpenFull(ctx context.Context, o Options) (*DB, error) {
	o = o.withDefaults()
	lock, err := acquire(o.Path + ".lock")
	if err != nil {
		return nil, err
	}
	db := newDB(o, lock)
	if err := db.openFile(ctx, o); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	db.bolt.MaxSize = 1
	return db, db.begin()
}

// Grow lets the file of OpenFull grow again; call it while nothing is under way.
func (db *DB) Grow() { db.bolt.MaxSize = 0 }

// Hang makes the next commit hang in the disk until release is called.
func (db *DB) Hang() (release func()) {
	c := make(chan struct{})
	o := *db.options.Load()
	was := o.OnCommit
	o.OnCommit = func(took time.Duration, ops int) { <-c; was(took, ops) }
	db.options.Store(&o)
	return func() { close(c) }
}

// Insist carries out what nobody waits for.
func (db *DB) Insist(f func() error) { db.insist(f) }

// DamageJob flips a byte of a job's header, in the open file.
func (db *DB) DamageJob(ctx context.Context, id edgeagent.ID) error {
	return db.flip(ctx, bucketJobs, string(id))
}

// DamageAlarm flips a byte of an alarm's record, in the open file.
func (db *DB) DamageAlarm(ctx context.Context, id edgeagent.ID) error {
	return db.flip(ctx, bucketAlarms, string(id))
}
