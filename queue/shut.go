package queue

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A shut file is one that no agent has open, as a transaction to be read.
type shut struct {
	bolt *bbolt.DB
	tx   *bbolt.Tx
}

// openShut opens a file for reading. What its journal holds is laid over it in a
// transaction that is never committed: nothing is written, but the right to
// write is needed.
func openShut(path string, wait time.Duration) (s shut, err error) {
	if s.bolt, err = bbolt.Open(path, 0o640, &bbolt.Options{ReadOnly: true, PageSize: pageSize, Timeout: wait}); err != nil {
		return s, taken(err, path)
	}
	var c chain
	err = s.bolt.View(func(tx *bbolt.Tx) (err error) {
		c, err = unsettled(tx, path)
		return err
	})
	if err == nil && len(c.frames) == 0 {
		s.tx, err = s.bolt.Begin(false)
	}
	if err == nil && len(c.frames) > 0 {
		s, err = s.overlaid(path, wait, c)
	}
	if err != nil {
		return shut{}, errors.Join(err, s.close())
	}
	return s, nil
}

// unsettled returns the frames of the journal that the file does not have.
func unsettled(tx *bbolt.Tx, path string) (chain, error) {
	mark, err := markOf(tx)
	if err != nil || mark == nil {
		return chain{}, err
	}
	found, err := readJournal(path + journalSuffix)
	if err != nil {
		return chain{}, err
	}
	defer func() { _ = found.close() }() // only read
	return found.after(mark)
}

func (s shut) overlaid(path string, wait time.Duration, c chain) (shut, error) {
	if err := s.bolt.Close(); err != nil {
		return shut{}, err
	}
	o := boltOptions(0)
	o.Timeout = wait
	bolt, err := bbolt.Open(path, 0o640, o)
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("the journal of %s holds commits, and to read them takes the right to write: %w", path, err)
	}
	if err != nil {
		return shut{}, taken(err, path)
	}
	s = shut{bolt: bolt}
	if s.tx, err = bolt.Begin(true); err == nil {
		_, err = replay(s.tx, c.frames)
	}
	w := newWorking()
	if err == nil {
		err = w.loadOutbox(s.tx)
	}
	if err == nil {
		err = w.count(s.tx)
	}
	return s, err
}

// taken says of a file that another reader has what that means: the commits of a
// journal are laid over it by one command at a time.
func taken(err error, path string) error {
	if !errors.Is(err, bolterrors.ErrTimeout) {
		return err
	}
	who := ""
	if pid := locking(path); pid != "" {
		who = " (process " + pid + ")"
	}
	return fmt.Errorf("another command%s has the file to itself, because no agent has taken over its journal yet: wait for that command to end, or end it: %w", who, err)
}

func (s shut) close() error {
	if s.bolt == nil {
		return nil
	}
	var err error
	if s.tx != nil {
		err = s.tx.Rollback()
	}
	return errors.Join(err, s.bolt.Close())
}
