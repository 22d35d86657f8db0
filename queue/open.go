package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"edgeagent"
)

// schemaVersion is of the buckets and records; a file of a newer one is set aside.
const schemaVersion = 2

// errNewer is returned for a file that a later version of the agent has written.
var errNewer = errors.New("written by a newer version of the agent")

const (
	pageSize  = 4096      // pinned: a 16 KiB page of some kernels would write three times as much
	allocSize = 256 << 10 // by which the file grows
	mapSize   = 64 << 20  // address space: a commit never waits for readers because the file is mapped anew
	mapLimit  = 512 << 20 // of it: a 32-bit machine has no more to give
	minSlack  = 16 << 20  // above max_size, for what must never be refused
)

// boltOptions are chosen for flash wear: the free list is rebuilt at
// open, so that a commit stays small however much was deleted before.
func boltOptions(maxSize int64) *bbolt.Options {
	limit := maxSize + max(minSlack, maxSize/10)
	return &bbolt.Options{
		PageSize: pageSize, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true,
		InitialMmapSize: int(min(max(mapSize, limit), mapLimit)), Timeout: time.Second, MaxSize: int(limit),
	}
}

func openBolt(path string, maxSize int64) (*bbolt.DB, error) {
	b, err := bbolt.Open(path, 0o640, boltOptions(maxSize))
	if err != nil {
		return nil, err
	}
	b.AllocSize = allocSize // the default of 16 MiB is much for a small card
	mutateFile(b)
	return b, nil
}

// openFile opens the file that is there, or begins a new one.
func (db *DB) openFile(ctx context.Context, o Options) error {
	_, err := os.Stat(o.Path)
	if errors.Is(err, os.ErrNotExist) {
		if err := create(o.Path); err != nil {
			return err
		}
		return db.attach(o)
	}
	if err != nil {
		return err
	}
	if err := usable(o.Path); err != nil {
		return err // a check in another process could not say it was not damage
	}
	err = db.examine(ctx, o)
	if err == nil {
		err = db.attach(o)
	}
	if err == nil || ctx.Err() != nil || !isDamage(err) {
		return err
	}
	return db.replace(o, err)
}

// usable reports whether we may read and write the file at all.
func usable(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// isDamage tells a file that cannot be used from a machine that does not let us:
// setting the file aside would help against the first alone.
func isDamage(err error) bool {
	for _, other := range []error{os.ErrPermission, bolterrors.ErrTimeout, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// examine reads the whole file, unless it was closed cleanly under this boot.
func (db *DB) examine(ctx context.Context, o Options) error {
	if takeCleanMark(o.Path, o.BootID) {
		return nil
	}
	if o.Check != nil {
		return o.Check(ctx, o.Path)
	}
	return walkFile(o.Path)
}

// replace sets the damaged file aside and begins a new one: the agent always starts.
func (db *DB) replace(o Options, damage error) error {
	word := "corrupt"
	if strings.Contains(damage.Error(), errNewer.Error()) { // a text, when it comes from another process
		word = "newer"
	}
	aside := fmt.Sprintf("%s.%s-%s", o.Path, word, time.Now().UTC().Format("20060102T150405.000Z"))
	if err := durable("aside.rename", func() error { return os.Rename(o.Path, aside) }); err != nil {
		return errors.Join(damage, err)
	}
	db.salvaged = fmt.Sprintf("the data file was set aside as %s and a new one begun: %v", filepath.Base(aside), damage)
	o.Log.Error("the data file cannot be used: set aside, a new one begun", "kept", aside, "error", damage)
	if err := create(o.Path); err != nil {
		return err
	}
	return db.attach(o)
}

// attach opens the file in place and fills memory from it.
func (db *DB) attach(o Options) error {
	err := guard(func() (err error) {
		db.bolt, err = openCurrent(o.Path, o.MaxSize)
		return err
	})
	if err != nil {
		return err
	}
	db.work = newWorking()
	if err := guard(func() error { return errors.Join(db.load(), db.measure()) }); err != nil {
		return errors.Join(err, db.bolt.Close())
	}
	return nil
}

// create makes a new file whole before it gets its name: a power cut during
// bbolt's own first write leaves a file that never opens again.
func create(path string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := openBolt(fresh, 0)
	if err != nil {
		return err
	}
	fill := func() error { return b.Update(initialise) }
	if err := errors.Join(durable("create.fill", fill), b.Close()); err != nil {
		return fmt.Errorf("make %s: %w", fresh, err)
	}
	if err := durable("create.sync", func() error { return syncPath(fresh) }); err != nil {
		return err
	}
	if err := durable("create.rename", func() error { return os.Rename(fresh, path) }); err != nil {
		return err
	}
	return durable("create.folder", func() error { return syncPath(filepath.Dir(path)) })
}

// initialise writes what every file has.
func initialise(tx *bbolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucket([]byte{name}); err != nil {
			return err
		}
	}
	meta := tx.Bucket([]byte{bucketMeta})
	epoch := string(edgeagent.NewID(time.Now()))
	return errors.Join(
		meta.Put([]byte(keySchema), encodeRecord(bucketMeta, keySchema, 0, []byte(strconv.Itoa(schemaVersion)))),
		meta.Put([]byte(keyEpoch), encodeRecord(bucketMeta, keyEpoch, 0, []byte(epoch))))
}

// durable carries out a step that must be done before the next one begins. Its
// name is a failpoint: the moment before it is where a process may be killed.
func durable(name string, step func() error) error {
	if err := failpoint(name); err != nil {
		return err
	}
	return step()
}

// syncPath makes a file or a folder durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// checkSource begins a new epoch when the file has come to another agent, by a
// cloned card or a changed name: two agents must never number the same stream.
func (b *batch) checkSource() error {
	found, _, err := b.get(bucketMeta, keySource)
	if err == nil && string(found) == b.o.source() {
		return nil
	}
	if err != nil && !errors.Is(err, edgeagent.ErrNotFound) {
		return err
	}
	if err == nil {
		epoch := edgeagent.NewID(b.now)
		b.o.Log.Warn("the data file was another agent's: a new epoch begins", "was", string(found), "is", b.o.source(), "epoch", epoch)
		if err := b.put(bucketMeta, keyEpoch, 0, []byte(epoch)); err != nil {
			return err
		}
		assign(b, &b.w.epoch, epoch)
	}
	return b.put(bucketMeta, keySource, 0, []byte(b.o.source()))
}
