package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// schemaVersion is of the buckets and records; a file of a newer one is set aside.
const schemaVersion = 1

// errNewer is returned for a file that a later version of the agent has written.
var errNewer = errors.New("written by a newer version of the agent")

const (
	pageSize  = 4096      // pinned: a 16 KiB page of some kernels would write three times as much
	allocSize = 256 << 10 // by which the file grows
	mapSize   = 64 << 20  // address space: readers never wait for the file to be mapped anew
	minSlack  = 16 << 20  // above max_size, for what must never be refused
)

// boltOptions are those of research on flash wear: the free list is rebuilt at
// open, so that a commit stays small however much was deleted before.
func boltOptions(maxSize int64) *bbolt.Options {
	return &bbolt.Options{
		PageSize: pageSize, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true,
		InitialMmapSize: mapSize, Timeout: time.Second, MaxSize: int(maxSize + max(minSlack, maxSize/10)),
	}
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
	damage := db.examine(ctx, o)
	if damage == nil {
		if damage = db.attach(o); damage == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return db.replace(o, damage)
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
	if errors.Is(damage, errNewer) {
		word = "newer"
	}
	aside := fmt.Sprintf("%s.%s-%s", o.Path, word, time.Now().UTC().Format("20060102T150405.000Z"))
	if err := os.Rename(o.Path, aside); err != nil {
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
	return guard(func() error {
		b, err := bbolt.Open(o.Path, 0o640, boltOptions(o.MaxSize))
		if err != nil {
			return err
		}
		b.AllocSize = allocSize
		db.bolt, db.work = b, newWorking()
		if err := errors.Join(db.load(), db.measure()); err != nil {
			return errors.Join(err, b.Close())
		}
		return nil
	})
}

// create makes a new file whole before it gets its name: a power cut during
// bbolt's own first write leaves a file that never opens again.
func create(path string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := bbolt.Open(fresh, 0o640, boltOptions(0))
	if err != nil {
		return err
	}
	if err := errors.Join(b.Update(initialise), b.Close()); err != nil {
		return fmt.Errorf("make %s: %w", fresh, err)
	}
	if err := syncPath(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
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

// syncPath makes a file or a folder durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
