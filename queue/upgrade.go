package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"go.etcd.io/bbolt"
)

// Schema 1 had a bucket for every kind of record. The records themselves have
// not changed since: an older file is made anew by putting each where it belongs
// now. Bodies, alarms and headers that were written then are still read as they
// are, see frozen.go and header.go. Schema 2 had other packing and at first no
// journal, schema 3 a journal of two parts: before their files get a frame they are
// of schema 4.
const schemaApart = 1

// upgradeChunk is how many bytes of an older file are moved at a time.
const upgradeChunk = 1 << 20

// openCurrent opens a data file, and makes one of an older schema anew before.
func openCurrent(path string, maxSize int64) (*bbolt.DB, error) {
	b, err := openBolt(path, maxSize)
	if err != nil {
		return nil, err
	}
	old, err := isApart(b)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if !old {
		return b, nil
	}
	fresh := path + ".new"
	if err := errors.Join(moveTogether(b, fresh, maxSize), b.Close()); err != nil {
		return nil, fmt.Errorf("upgrade the data file %s: %w", path, err)
	}
	if err := durable("upgrade.rename", func() error { return os.Rename(fresh, path) }); err != nil {
		return nil, err
	}
	if err := durable("upgrade.folder", func() error { return syncPath(filepath.Dir(path)) }); err != nil {
		return nil, err
	}
	return openBolt(path, maxSize)
}

func isApart(b *bbolt.DB) (old bool, err error) {
	err = b.View(func(tx *bbolt.Tx) error {
		v, err := schemaOf(tx)
		old = v == schemaApart
		return err
	})
	return old, err
}

// schemaOf returns the version of a file, ErrNotFound and damage included.
func schemaOf(tx *bbolt.Tx) (int, error) {
	body, _, err := readRecord(tx, bucketMeta, keySchema)
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(string(body))
	if err != nil {
		return 0, fmt.Errorf("schema %q: %w", body, errDamaged)
	}
	return v, nil
}

// moveTogether writes all records of an older file into a new one. It is not
// synced before it is whole: until then nobody knows its name.
func moveTogether(from *bbolt.DB, path string, maxSize int64) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	to, err := openBolt(path, maxSize)
	if err != nil {
		return err
	}
	to.NoSync, to.MaxSize = true, 0
	m := mover{to: to}
	err = errors.Join(to.Update(initialise), from.View(m.moveAll))
	if err == nil {
		err = durable("upgrade.sync", to.Sync)
	}
	return errors.Join(err, to.Close())
}

// A mover collects records and writes them in pieces.
type mover struct {
	to    *bbolt.DB
	puts  map[string][]byte // kind and key → record
	bytes int
}

func (m *mover) moveAll(tx *bbolt.Tx) error {
	m.puts = make(map[string][]byte)
	for _, kind := range kinds {
		err := scanApart(tx, kind, func(key string, rec []byte) error {
			if kind == bucketMeta && key == keySchema {
				return nil // the new file's own
			}
			m.puts[string(rune(kind))+key] = rec
			if m.bytes += len(rec); m.bytes < upgradeChunk {
				return nil
			}
			return m.flush()
		})
		if err != nil {
			return err
		}
	}
	return m.flush()
}

func (m *mover) flush() error {
	err := m.to.Update(func(tx *bbolt.Tx) error {
		for _, name := range sortedKeys(m.puts) {
			if err := writeRecord(tx, name[0], name[1:], m.puts[name]); err != nil {
				return err
			}
		}
		return nil
	})
	clear(m.puts)
	m.bytes = 0
	return err
}

// scanApart visits the records of a kind in a file of schema 1.
func scanApart(tx *bbolt.Tx, kind byte, visit func(key string, rec []byte) error) error {
	b, err := bucketOf(tx, kind)
	if err != nil {
		return err
	}
	return b.ForEach(func(k, rec []byte) error {
		if _, _, err := decodeRecord(kind, string(k), rec); err != nil {
			return err
		}
		return visit(string(k), rec)
	})
}
