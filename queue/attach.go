package queue

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// attach opens the data file in place, lays what is in its journal over it and
// fills memory from both.
func (db *DB) attach(o Options) error {
	err := guard(func() (err error) {
		db.bolt, err = openCurrent(o.Path, o.MaxSize)
		return err
	})
	if err != nil {
		return err
	}
	db.page.Store(int64(db.bolt.Info().PageSize)) // not asked later: bbolt answers for a file that is open and lies where it lay
	db.work = newWorking()
	var found journalFile
	err = guard(func() (err error) {
		found, err = db.replayJournal()
		return errors.Join(err, db.measure())
	})
	if err == nil {
		err = guard(func() error { return db.load(db.tx) })
	}
	if err == nil {
		err = db.takeJournal(o, &found)
	}
	if err = errors.Join(err, found.close()); err != nil {
		return errors.Join(err, db.detach())
	}
	return nil
}

// detach closes what attach has opened.
func (db *DB) detach() error {
	db.turn.Lock()
	db.dropTx()
	db.turn.Unlock()
	return errors.Join(db.bolt.Close(), db.journal.close())
}

// replayJournal begins the transaction that is held with what the journal holds.
func (db *DB) replayJournal() (found journalFile, err error) {
	var mark *journalMark
	err = db.bolt.View(func(tx *bbolt.Tx) (err error) {
		mark, err = markOf(tx)
		return err
	})
	if err != nil {
		return found, err
	}
	if found, err = readJournal(db.path + journalSuffix); err != nil && mark != nil && mark.open {
		return found, fmt.Errorf("read the journal: %w", err)
	}
	c, err := found.after(mark)
	if err != nil {
		return found, err
	}
	if mark == nil {
		mark = &journalMark{id: newJournalID(), parts: journalParts}
	}
	j := &db.journal
	j.path, j.mark, j.next, j.at = found.path, *mark, uint32(len(c.frames)-c.earlier), c.end
	j.settled.Store(mark.generation)
	if c.earlier > 0 {
		j.mark.generation, j.mark.before = mark.generation+1, uint32(c.earlier)
	}
	if err := db.beginTx(); err != nil {
		return found, err
	}
	n, err := replay(db.tx, c.frames)
	db.unsettled.Store(n)
	return found, err
}

// takeJournal gets the journal ready for what comes. What was found in it is
// committed to the data file first: after a kill it may be in the cache alone.
// On a full disk it stays where it is, and the journal goes on behind it.
func (db *DB) takeJournal(o Options, found *journalFile) error {
	j := &db.journal
	if err := syncPath(o.Path); err != nil { // after a kill the last checkpoint, too, may be in the cache alone
		return fmt.Errorf("sync %s: %w", o.Path, err)
	}
	refused := db.keepForeign(o, found)
	if refused == nil {
		refused = j.take()
	}
	schema, err := schemaOf(db.tx)
	if err != nil {
		return err
	}
	older := schema < schemaVersion && j.mark.open // its next frames would be taken for damage by who wrote it
	if j.next > 0 || older || j.mark.open && j.file == nil {
		err := db.checkpoint(nil, true)
		if errors.Is(err, edgeagent.ErrFull) {
			o.Log.Error("the data file is full: what is in the journal stays there until there is space", "error", err)
			err = syncPath(j.path)
			if older {
				err = errors.Join(err, j.close()) // it goes on without one, until the next start
			}
			return err
		}
		if err != nil {
			return err
		}
	}
	if j.file == nil && refused == nil {
		if refused = createJournal(j.path); refused == nil {
			refused = j.take()
		}
	}
	if refused != nil {
		o.Log.Warn("there is no journal: every commit takes longer", "error", refused)
	}
	return nil
}

// keepForeign sets a journal aside that is of another data file, or of a later
// copy of this one: what is in it is somebody's, unless it has another name already.
func (db *DB) keepForeign(o Options, found *journalFile) error {
	mark := db.journal.mark
	id, any := found.owner()
	if !any || id == mark.id && (found.newest(id) < mark.generation || mark.open && found.newest(id) == mark.generation) {
		return nil
	}
	info, err := os.Stat(found.path)
	if err != nil || names(info) > 1 {
		return err
	}
	kept, err := setAside(found.path, asideForeign)
	if err != nil {
		return err
	}
	if err := os.Remove(found.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	o.Log.Error("the journal beside the data file is that of another: set aside", "kept", kept)
	return nil
}
