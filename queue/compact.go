package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

const (
	compactLeast = 32 << 20   // a smaller file is not worth the wear
	compactSpare = 4 << 20    // the disk keeps at least this much more than the new file takes
	compactAgain = time.Hour  // after one that could not be made
	compactDelta = 8 << 20    // changes that are kept in memory meanwhile; with more it is given up
	copyChunk    = 1 << 20    // bytes of a transaction of the copy
	freshSuffix  = ".compact" // of the new file, until it has the name
)

// compacting is a compaction under way. The file is copied in the background
// while work goes on; what is committed meanwhile is remembered and written into
// the copy at the end, between two commits. It belongs to the committer, but
// for busy and held.
type compacting struct {
	changed map[string][]byte // kind and key → record, nil for deleted; nil: none is under way
	bytes   int
	tried   time.Time
	asked   []chan error // who waits for its end

	busy sync.WaitGroup // the copying
	mu   sync.Mutex
	held int // backups that read the file
}

// taken is what follows every commit.
func (db *DB) taken(b *batch) {
	db.full.Store(false)
	db.reserve.adjust(b.w.unfinishedJobs(), db.unsettled.Load())
	c := &db.compacting
	if c.changed != nil {
		if c.bytes += int(b.bytes()); c.bytes <= compactDelta {
			maps.Copy(c.changed, b.puts)
		} else {
			clear(c.changed) // it is given up at the end
		}
	}
	if db.journal.next == 0 { // a checkpoint was made
		db.settled()
	}
}

// settled is what follows every checkpoint.
func (db *DB) settled() {
	db.full.Store(false)
	now := time.Now()
	if file, free := db.sizes(); file >= compactLeast && free > file/2 && now.Sub(db.compacting.tried) >= compactAgain {
		_ = db.compact(now) // said there
	}
}

// compact begins a compaction. The copy is of the last checkpoint, so that one
// is made.
func (db *DB) compact(now time.Time) error {
	c := &db.compacting
	if c.changed != nil {
		return nil
	}
	if err := db.settleNow(true); err != nil {
		return err
	}
	c.changed, c.bytes, c.tried = make(map[string][]byte), 0, now
	bolt := db.bolt
	c.busy.Go(func() {
		o := db.options.Load()
		err := db.copyOut(bolt, *o)
		err = db.handOver(err)
		if err != nil && !errors.Is(err, errClosed) {
			o.Log.Warn("the data file was not compacted", "error", err)
		}
		if err != nil {
			_ = os.Remove(db.path + freshSuffix) // it is of no use; the next one removes it too
		}
	})
	return nil
}

// copyOut writes the live records of the file into a new one and checks it.
func (db *DB) copyOut(bolt *bbolt.DB, o Options) error {
	file, free := db.sizes()
	if live := file - free; diskFree(db.path) < live+compactSpare {
		return fmt.Errorf("compact: the copy needs %d bytes: %w", live+compactSpare, edgeagent.ErrFull)
	}
	fresh := db.path + freshSuffix
	err := guard(func() error {
		return bolt.View(func(tx *bbolt.Tx) error { return copyTree(tx, fresh, db.stop) })
	})
	if err != nil {
		return fmt.Errorf("compact into %s: %w", fresh, err)
	}
	if o.Check == nil {
		return walkFile(fresh)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db.compacting.busy.Go(func() { // a stop does not wait for the check
		select {
		case <-db.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	return o.Check(ctx, fresh)
}

// exchange ends a compaction: what was committed since it began goes into the
// copy, and the copy gets the file's name. It runs in the committer.
func (db *DB) exchange(b *batch, err error) error {
	if failed := db.joined(); failed != nil {
		return failed
	}
	c := &db.compacting
	changed := c.changed
	c.changed = nil
	if changed == nil {
		return nil // done, and the batch is tried again
	}
	if err == nil && c.bytes > compactDelta {
		err = errors.New("too much was written meanwhile")
	}
	if err == nil {
		err = db.replaceBy(b, db.path+freshSuffix, changed)
	}
	for _, done := range c.asked {
		select {
		case done <- err:
		default: // it asked twice: its batch was tried again
		}
	}
	c.asked = nil
	return err
}

func (db *DB) replaceBy(b *batch, fresh string, changed map[string][]byte) error {
	db.compacting.mu.Lock()
	defer db.compacting.mu.Unlock()
	if db.compacting.held > 0 {
		return fmt.Errorf("a backup reads the file: %w", edgeagent.ErrConflict)
	}
	bolt, err := openBolt(fresh, b.o.MaxSize)
	if err != nil {
		return err
	}
	mark := db.journal.upcoming(true)
	late := func(tx *bbolt.Tx) error { // not what memory has, which is ahead by this batch
		w, err := db.published()
		return errors.Join(err, writeAll(tx, changed), w.count(tx), writeMark(tx, mark))
	}
	steps := errors.Join(
		durable("compact.changes", func() error { return guard(func() error { return bolt.Update(late) }) }),
		durable("compact.sync", func() error { return syncPath(fresh) }))
	if steps == nil {
		steps = durable("compact.rename", func() error { return os.Rename(fresh, db.path) })
	}
	if steps != nil {
		return errors.Join(steps, bolt.Close())
	}
	before, _ := db.sizes()
	old, err := db.swap(bolt, mark)
	if err := errors.Join(err, durable("compact.folder", func() error { return syncPath(filepath.Dir(db.path)) }), db.measure(), old.Close()); err != nil {
		db.fail(fmt.Errorf("take the compacted file: %w", err)) // which of both a power cut leaves is not known
		return err
	}
	after, _ := db.sizes()
	b.o.Log.Info("the data file was compacted", "was", before, "is", after)
	return nil
}

// swap goes on with another file, which has all that the journal holds.
func (db *DB) swap(bolt *bbolt.DB, mark journalMark) (old *bbolt.DB, err error) {
	db.turn.Lock()
	defer db.turn.Unlock()
	db.dropTx()
	db.swapping.Lock()
	old, db.bolt = db.bolt, bolt
	db.page.Store(int64(bolt.Info().PageSize))
	db.swapping.Unlock()
	db.journal.turn(mark)
	db.journal.settled.Store(mark.generation)
	db.unsettled.Store(0)
	db.checkpoints.Add(1) // what was measured is not of this file
	return old, db.beginTx()
}

// Compact writes the file anew without its free pages, while work goes on, and
// returns its size before and after in bytes. It returns ErrConflict while a
// backup is made, and ErrFull when the disk has no room for a second file.
func (db *DB) Compact(ctx context.Context) (before, after int64, err error) {
	before, _ = db.sizes()
	done := make(chan error, 1)
	err = db.do(ctx, "compact", func(b *batch) error {
		if err := db.compact(b.now); err != nil {
			return err
		}
		db.compacting.asked = append(db.compacting.asked, done)
		return nil
	})
	if err != nil {
		return before, before, err
	}
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("compact: %w; it goes on", context.Cause(ctx))
	case <-db.done:
		err = errClosed
	}
	after, _ = db.sizes()
	return before, after, err
}

// copyTree writes all that a transaction sees into a new file, which is whole and
// synced when it returns. It ends early when stop is closed.
func copyTree(tx *bbolt.Tx, path string, stop <-chan struct{}) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := openBolt(path, 0)
	if err != nil {
		return err
	}
	to.NoSync, to.MaxSize = true, 0 // nobody knows its name until it is whole
	c := &copier{to: to, stop: stop}
	err = durable("compact.copy", func() error { return tx.ForEach(c.bucket) })
	if err == nil {
		err = errors.Join(c.tally(tx), to.Sync())
	}
	return errors.Join(err, to.Close())
}

// A copier writes in pieces, so that a file does not have to fit into memory.
type copier struct {
	to      *bbolt.DB
	stop    <-chan struct{}
	balance uint64 // of what was copied
	changed uint64 // by how much it is another one's than that of the source
}

func (c *copier) bucket(name []byte, from *bbolt.Bucket) error {
	if string(name) == string(rune(bucketTally)) {
		return nil // it counts by the transactions of its file
	}
	cur := from.Cursor()
	k, v := cur.First()
	for first := true; first || k != nil; first = false {
		select {
		case <-c.stop:
			return errClosed
		default:
		}
		err := c.to.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			b.FillPercent = fill90
			for n := 0; k != nil && n < copyChunk; k, v = cur.Next() {
				rec := sealed(name, k, v)
				if err := b.Put(k, rec); err != nil {
					return err
				}
				c.balance += weight(rec)
				c.changed += weight(rec) - weight(v)
				n += len(k) + len(v)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("copy bucket %s: %w", name, err)
		}
	}
	return nil
}

// sealed returns a record as a copy has it: that is whole without the journal.
func sealed(bucket, key, rec []byte) []byte {
	if string(bucket) != string(rune(bucketMeta)) || string(key) != keyJournal {
		return rec
	}
	body, revision, err := decodeRecord(bucketMeta, keyJournal, rec)
	if err != nil {
		return rec // what is damaged stays so
	}
	m, err := decodeJournalMark(body)
	if err != nil {
		return rec
	}
	m.generation, m.before, m.open = m.generation+1, 0, false
	return encodeRecord(bucketMeta, keyJournal, revision, m.encode())
}

// tally writes the tally anew: its revision is the transaction that wrote it. The
// balance is that of the source, so that what it misses is missed by the copy too.
func (c *copier) tally(from *bbolt.Tx) error {
	b := from.Bucket([]byte{bucketTally})
	if b == nil {
		return nil
	}
	body, number, err := decodeRecord(bucketTally, keyTally, b.Get([]byte(keyTally)))
	if err != nil {
		return err
	}
	if balance := b.Sequence(); balanced(balance, number) {
		c.balance = balance + c.changed
	}
	return c.to.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte{bucketTally})
		if err != nil {
			return err
		}
		if err := b.SetSequence(c.balance >> numberBits << numberBits); err != nil { // as if no tally had been written
			return err
		}
		return putTally(b, uint32(tx.ID()), body)
	})
}

// CompactFile compacts a file that no process has open, and returns its size
// before and after in bytes. check, if any, reads the new file before it gets
// the name; see [Options.Check].
func CompactFile(ctx context.Context, path string, check func(ctx context.Context, path string) error) (before, after int64, err error) {
	was, err := os.Stat(path) // before the lock's file: root's would keep the agent from its first start
	if err != nil {
		return 0, 0, err
	}
	before = was.Size()
	lock, err := acquire(path + ".lock")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = lock.Close() }()
	fresh := path + freshSuffix
	err = guard(func() error {
		return readFile(path, func(tx *bbolt.Tx) error { return copyTree(tx, fresh, ctx.Done()) })
	})
	if err == nil {
		err = ownLike(fresh, filepath.Dir(path))
	}
	if err == nil && check != nil {
		err = check(ctx, fresh)
	}
	if err != nil {
		_ = os.Remove(fresh)
		return before, before, fmt.Errorf("compact %s: %w", path, err)
	}
	if err := takePlace(fresh, path); err != nil {
		return before, before, fmt.Errorf("compact %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return before, before, err
	}
	return before, info.Size(), nil
}

// readFile reads a file that no process has open, with what its journal holds.
func readFile(path string, read func(*bbolt.Tx) error) error {
	s, err := openShut(path, boltOptions(0).Timeout)
	if err != nil {
		return err
	}
	return errors.Join(read(s.tx), s.close())
}

// takePlace gives a file that is whole the name of another, whose journal is done
// with.
func takePlace(fresh, path string) error {
	if err := TakeName(fresh, path); err != nil {
		return err
	}
	return dropJournal(path)
}

// TakeName syncs a file that is whole and gives it the name of another, so that
// a power cut leaves either the one or the other.
func TakeName(fresh, path string) error {
	if err := durable("swap.sync", func() error { return syncPath(fresh) }); err != nil {
		return err
	}
	if err := durable("swap.rename", func() error { return os.Rename(fresh, path) }); err != nil {
		return err
	}
	return durable("swap.folder", func() error { return syncPath(filepath.Dir(path)) })
}

// handOver has the committer end a compaction, however long the disk hangs.
func (db *DB) handOver(copied error) error {
	for {
		done := make(chan error, 1)
		err := db.do(context.Background(), "take the compacted file", func(b *batch) error {
			err := db.exchange(b, copied)
			select {
			case done <- err:
			default: // tried again
			}
			return err
		})
		if slow, stalled := errors.AsType[*late](err); stalled {
			select { // it is in the queue
			case err = <-slow.done:
			case <-slow.end:
			}
		}
		select {
		case err = <-done:
			return err
		case <-db.stop:
			return errClosed
		case <-db.failed:
			return err
		case <-time.After(stallLook): // it was refused
		}
	}
}
