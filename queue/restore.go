package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// keyRestored holds what has to be told of a restore when the file is opened.
const keyRestored = "restored"

// A Restored says what [Restore] did.
type Restored struct {
	Epoch edgeagent.ID    // of what will be written now
	Kept  string          // where the file that was replaced lies; empty without one
	Lost  []edgeagent.Gap // events of it that are neither confirmed nor in the backup
}

// restored is the record of keyRestored.
type restored struct {
	At    time.Time       `json:"at"`
	Kept  string          `json:"kept"`
	Lost  []edgeagent.Gap `json:"lost"`
	Epoch edgeagent.ID    `json:"epoch"` // of the backup
}

// Restore puts a backup in the place of the data file at path. The file that was
// there is kept beside it. A new epoch begins: what is written from now on must
// not have numbers that were given before. It refuses while an agent has the
// file, and a backup that check, if any, finds damaged; see [Options.Check].
func Restore(ctx context.Context, backup, path string, check func(ctx context.Context, path string) error) (Restored, error) {
	lock, err := acquire(path + ".lock")
	if err != nil {
		return Restored{}, err
	}
	defer func() { _ = lock.Close() }()
	if err := ownLike(lock.Name(), filepath.Dir(path)); err != nil {
		return Restored{}, fmt.Errorf("restore %s: %w", backup, err)
	}
	if check == nil {
		check = func(_ context.Context, path string) error { return walkFile(path) }
	}
	if err := check(ctx, backup); err != nil {
		return Restored{}, fmt.Errorf("restore %s: it cannot be used: %w", backup, err)
	}
	fresh := path + ".new"
	err = guard(func() error {
		return readFile(backup, func(tx *bbolt.Tx) error { return copyTree(tx, fresh, ctx.Done()) })
	})
	if err != nil {
		return Restored{}, fmt.Errorf("restore %s: %w", backup, err)
	}
	r, err := beginAnew(ctx, fresh, path, check)
	if err == nil {
		err = exchangeFiles(&r, fresh, path)
	}
	if err != nil {
		return Restored{}, fmt.Errorf("restore %s: %w", backup, err)
	}
	return r, nil
}

// beginAnew gives the restored file its epoch and notes what it lacks.
func beginAnew(ctx context.Context, fresh, path string, check func(context.Context, string) error) (Restored, error) {
	b, err := openBolt(fresh, 0)
	if err != nil {
		return Restored{}, err
	}
	b.MaxSize = 0
	now, r, keptName := time.Now(), Restored{}, ""
	if _, err := os.Stat(path); err == nil {
		r.Kept = fmt.Sprintf("%s.replaced-%s", path, now.UTC().Format("20060102T150405.000Z"))
		keptName = filepath.Base(r.Kept)
		r.Lost = unconfirmed(ctx, path, b, check)
	}
	err = b.Update(func(tx *bbolt.Tx) error {
		if err := writeRecord(tx, bucketMeta, keyJournal, nil); err != nil { // the journal that is there is not its
			return err
		}
		was, _, err := readRecord(tx, bucketMeta, keyEpoch)
		if err != nil {
			return err
		}
		r.Epoch = epochBehind([]edgeagent.ID{edgeagent.ID(was)}, now)
		note, err := json.Marshal(restored{At: now, Kept: keptName, Lost: r.Lost, Epoch: edgeagent.ID(was)})
		if err != nil {
			return err
		}
		return errors.Join(
			writeRecord(tx, bucketMeta, keyRestored, encodeRecord(bucketMeta, keyRestored, 0, note)),
			writeRecord(tx, bucketMeta, keyEpoch, encodeRecord(bucketMeta, keyEpoch, 0, []byte(r.Epoch))))
	})
	return r, errors.Join(err, b.Close())
}

// unconfirmed returns the events of the file that is replaced which no destination
// has confirmed and the backup does not hold. Of a damaged file nothing is known.
func unconfirmed(ctx context.Context, path string, backup *bbolt.DB, check func(context.Context, string) error) []edgeagent.Gap {
	had, has := newWorking(), newWorking()
	if check(ctx, path) != nil || guard(func() error { return readFile(path, had.loadSent) }) != nil || backup.View(has.loadSent) != nil {
		return nil
	}
	var lost []edgeagent.Gap
	reason := edgeagent.NewNote("restored", "written after the backup that was restored")
	for s, last := range had.last {
		if from := max(had.confirmedByAll(s), has.last[s]) + 1; from <= last {
			lost = append(lost, edgeagent.Gap{Epoch: s.epoch, Stream: s.stream, From: from, To: last, Reason: reason})
		}
	}
	return lost
}

// loadSent reads what is known of the streams.
func (w *working) loadSent(tx *bbolt.Tx) error { return errors.Join(w.loadMeta(tx), w.loadOutbox(tx)) }

// confirmedByAll returns up to where every destination that ever confirmed
// anything has a stream.
func (w *working) confirmedByAll(s streamKey) uint64 {
	at := w.floor[s]
	first := true
	for c := range w.cursors {
		if here := w.position(cursorKey{c.dest, s}); first || here < at {
			at, first = here, false
		}
	}
	return at
}

// exchangeFiles gives the restored file its name. At no moment is there none.
func exchangeFiles(r *Restored, fresh, path string) error {
	if err := ownLike(fresh, filepath.Dir(path)); err != nil {
		return err
	}
	if r.Kept != "" {
		keep := func() error { return errors.Join(os.Link(path, r.Kept), linkJournal(path, r.Kept)) }
		if err := durable("restore.keep", keep); err != nil {
			return fmt.Errorf("keep the file that is there: %w", err)
		}
	}
	if err := os.Remove(path + ".clean"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if r.Kept == "" { // a journal without its file is somebody's: the next start sets it aside
		return TakeName(fresh, path)
	}
	return takePlace(fresh, path)
}

// ownLike gives a file to whom the folder belongs: a restore is often done by
// root, and the agent must be able to open what it left.
func ownLike(path, folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}

// tellRestored writes the gap events of a restore, once.
func (b *batch) tellRestored() error {
	var r restored
	err := b.getJSON(bucketMeta, keyRestored, &r)
	if errors.Is(err, edgeagent.ErrNotFound) || errors.Is(err, errDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, gap := range r.Lost {
		if err := b.emit(outgoing{edgeagent.EventGap, edgeagent.NewID(b.now), 1, "", b.now, gap}); err != nil {
			return err
		}
	}
	b.o.Log.Info("the data file was restored from a backup: a new epoch began", "at", r.At, "was", r.Epoch, "epoch", b.w.epoch, "kept", r.Kept)
	b.drop(bucketMeta, keyRestored)
	return nil
}
