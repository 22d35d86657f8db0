package queue

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// CheckFile reads every page and every record of a data file and returns the
// first damage. Run it in a process of its own: on some damage bbolt panics in
// a goroutine that nobody can guard, and that is an answer too.
func CheckFile(path string) error {
	if err := walkFile(path); err != nil {
		return err
	}
	b, err := bbolt.Open(path, 0o640, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true, PageSize: pageSize, Timeout: boltOptions(0).Timeout})
	if err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return b.Close()
}

// walkFile reads all records on this goroutine, where a panic and a fault of
// the mapped file can be caught.
func walkFile(path string) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	err := guard(func() error {
		b, err := bbolt.Open(path, 0o640, &bbolt.Options{ReadOnly: true, PageSize: pageSize, Timeout: boltOptions(0).Timeout})
		if err != nil {
			return fmt.Errorf("%w: %w", err, errDamaged)
		}
		return errors.Join(b.View(walk), b.Close())
	})
	if err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return nil
}

func walk(tx *bbolt.Tx) error {
	v, err := checkSchema(tx)
	if err != nil {
		return err
	}
	budget := tx.Size() // a cycle of pages would be read for ever
	visit := func(kind byte, rec []byte) error {
		if budget -= int64(len(rec)); budget < 0 {
			return fmt.Errorf("kind %c holds more than the file: %w", kind, errDamaged)
		}
		return nil
	}
	if v == schemaApart {
		return walkApart(tx, visit)
	}
	return walkTogether(tx, visit)
}

// walkTogether visits every record once, in the order in which they lie.
func walkTogether(tx *bbolt.Tx, visit func(kind byte, rec []byte) error) error {
	for _, name := range buckets {
		b, err := bucketOf(tx, name)
		if err != nil {
			return err
		}
		if err := b.ForEach(func(k, rec []byte) error {
			kind, key := byte(bucketMeta), string(k)
			if name != bucketMeta {
				kind, key = placed(k)
			}
			if _, _, err := decodeRecord(kind, key, rec); err != nil {
				return err
			}
			return visit(kind, rec)
		}); err != nil {
			return err
		}
	}
	return nil
}

func walkApart(tx *bbolt.Tx, visit func(kind byte, rec []byte) error) error {
	for _, kind := range kinds {
		if err := scanApart(tx, kind, func(_ string, rec []byte) error { return visit(kind, rec) }); err != nil {
			return err
		}
	}
	return nil
}

// The clean-shutdown mark lies beside the file, so that nothing has to be opened
// to believe it. It holds the boot, the size and a hash of both meta pages,
// which change with every commit.
func cleanMark(path, boot string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.CopyN(hash, f, 2*pageSize)
	info, statErr := f.Stat()
	if err := errors.Join(err, statErr, f.Close()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %s\n", boot, info.Size(), hex.EncodeToString(hash.Sum(nil))), nil
}

func writeCleanMark(path, boot string) error {
	mark, err := cleanMark(path, boot)
	if err == nil {
		err = durable("close.mark", func() error { return os.WriteFile(path+".clean", []byte(mark), 0o640) })
	}
	if err != nil {
		return fmt.Errorf("leave the clean-shutdown mark: %w", err)
	}
	return nil
}

// takeCleanMark reports whether the file is as it was closed, and removes the
// mark. One that a power cut brings back names another boot.
func takeCleanMark(path, boot string) bool {
	found, err := os.ReadFile(path + ".clean")
	if err != nil {
		return false
	}
	want, err := cleanMark(path, boot)
	return os.Remove(path+".clean") == nil && err == nil && boot != "" && string(found) == want
}
