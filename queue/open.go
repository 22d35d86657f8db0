package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
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
const schemaVersion = 4

// errNewer is returned for a file that a later version of the agent has written.
var errNewer = errors.New("written by a newer version of the agent")

const (
	pageSize  = 8 << 10   // pinned: systems differ in theirs; of before schema 4: 4 KiB
	allocSize = 256 << 10 // by which the file grows
	mapSize   = 64 << 20  // address space: a commit never waits for readers because the file is mapped anew
	mapLimit  = 512 << 20 // of it, for a machine of 32 bits has no more to give
	minSlack  = 16 << 20  // above max_size, for what must never be refused
)

// boltOptions are chosen for flash wear: the free list is rebuilt at
// open, so that a commit stays small however much was deleted before.
func boltOptions(maxSize int64) *bbolt.Options {
	limit := maxSize + max(minSlack, maxSize/10)
	return &bbolt.Options{
		PageSize: pageSize, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true,
		InitialMmapSize: mapped(limit), Timeout: time.Second, MaxSize: int(min(limit, math.MaxInt)),
	}
}

// mapped returns how much of a file is mapped from the beginning: all that it may ever
// be. To map it anew waits for every reader, and a backup may be read for hours.
func mapped(limit int64) int {
	if strconv.IntSize < 64 {
		limit = min(limit, mapLimit)
	}
	return int(max(mapSize, limit))
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
		err = takeBackAside(o)
	}
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
	for _, other := range []error{
		ErrUnchecked, os.ErrPermission, bolterrors.ErrTimeout, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EROFS,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return !noSpace(err)
}

// examine reads the whole file before bbolt does. In a process of its own, unless
// the file was closed cleanly under this boot: then our own reading is enough,
// as it is where no process can be had.
func (db *DB) examine(ctx context.Context, o Options) error {
	if !takeCleanMark(o.Path, o.BootID) && o.Check != nil {
		err := o.Check(ctx, o.Path)
		if !errors.Is(err, ErrUnchecked) || ctx.Err() != nil {
			return err
		}
		o.Log.Warn("no process of its own for the check of the data file: checked by this one alone", "error", err)
	}
	return walkFile(o.Path)
}

// replace puts another file in place of one that cannot be used: the agent
// always starts. What can be read of it is in the new one.
func (db *DB) replace(o Options, damage error) error {
	if strings.Contains(damage.Error(), errNewer.Error()) { // a text, when it comes from another process
		return db.beginAnew(o, asideNewer, damage)
	}
	o.Log.Error("the data file is damaged: salvaging what is whole of it", "file", o.Path, "error", damage)
	err := salvageTwice(o, damage)
	if errors.Is(err, errNewer) {
		return db.beginAnew(o, asideNewer, err)
	}
	if err == nil {
		err = db.attach(o)
	}
	if err == nil {
		o.Log.Error("the data file was replaced", "what", db.salvaged)
		return nil
	}
	return db.beginAnew(o, asideCorrupt, errors.Join(damage, err))
}

// beginAnew is for a file that nothing can be had from.
func (db *DB) beginAnew(o Options, why string, cause error) error {
	kept, err := setAside(o.Path, why)
	if err != nil {
		return errors.Join(cause, err)
	}
	if err := create(o.Path); err != nil {
		return err
	}
	if err := db.attach(o); err != nil {
		return err
	}
	db.newer = why == asideNewer
	db.salvaged = fmt.Sprintf("the data file was set aside as %s and a new one begun: %v", filepath.Base(kept), cause)
	o.Log.Error("the data file cannot be used: set aside, a new one begun", "kept", kept, "error", cause)
	return nil
}

// tellNewer says of a newer file that an earlier start has set aside what it is: what
// is in it is missed until a person has put it back or deleted it.
func (db *DB) tellNewer(o Options) error {
	found, err := filepath.Glob(escapeGlob(o.Path) + "." + asideNewer + "-*Z")
	if err != nil || len(found) == 0 || db.salvaged != "" {
		return err
	}
	db.newer = true
	db.salvaged = fmt.Sprintf("a data file that a newer version of the agent has written lies set aside as %s: put it back with that version, or delete it",
		filepath.Base(found[len(found)-1]))
	return nil
}

// salvageTwice salvages once more when the card fails meanwhile, as those do whose
// files are damaged: what was saved is not to be left for an empty file because of one
// error in putting it in place.
func salvageTwice(o Options, damage error) error {
	was, err := os.Stat(o.Path)
	if err != nil {
		return err
	}
	err = salvageInto(o, damage)
	if err == nil || errors.Is(err, errNewer) || noSpace(err) {
		return err
	}
	o.Log.Error("the salvage failed and is tried once more", "error", err)
	if _, gone := os.Stat(o.Path); errors.Is(gone, os.ErrNotExist) {
		if back := takeBackAside(o); back != nil {
			return errors.Join(err, back)
		}
	}
	is, gone := os.Stat(o.Path)
	if gone == nil && !os.SameFile(was, is) && walkFile(o.Path) == nil { // what was saved has its name already
		return syncPath(filepath.Dir(o.Path))
	}
	return salvageInto(o, damage)
}

// salvageInto replaces a damaged file by one of all that is whole in it. Where
// there is no room for that, older damaged files go, then what a job can do
// without.
func salvageInto(o Options, damage error) error {
	fresh := o.Path + ".new"
	s, err := salvageFile(o, fresh, false)
	if err != nil && noSpace(err) {
		if pruneErr := pruneDamaged(o.Path, 0, 0); pruneErr == nil {
			s, err = salvageFile(o, fresh, true)
		}
	}
	if err != nil {
		return err
	}
	if s.Why = firstLine(damage); errors.Is(damage, ErrUnchecked) {
		s.Why = "it could not be checked"
	}
	kept, err := setAside(o.Path, asideCorrupt)
	if err != nil {
		return err
	}
	s.Kept = filepath.Base(kept)
	if err := errors.Join(s.leave(fresh, o.MaxSize), walkFile(fresh)); err != nil {
		return err
	}
	if err := swapIn(fresh, o.Path); err != nil {
		return err
	}
	if err := pruneDamaged(o.Path, keepDamaged, o.MaxSize); err != nil {
		o.Log.Warn("older damaged files were not deleted", "error", err)
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
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
	for _, name := range append([]byte{bucketTally}, buckets...) {
		if _, err := tx.CreateBucket([]byte{name}); err != nil {
			return err
		}
	}
	epoch := string(edgeagent.NewID(time.Now()))
	return errors.Join(
		writeSchema(tx),
		writeRecord(tx, bucketMeta, keyEpoch, encodeRecord(bucketMeta, keyEpoch, 0, []byte(epoch))))
}

// writeSchema keeps older versions of the agent away from what they cannot read.
func writeSchema(tx *bbolt.Tx) error {
	return writeRecord(tx, bucketMeta, keySchema, encodeRecord(bucketMeta, keySchema, 0, []byte(strconv.Itoa(schemaVersion))))
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
