package queue

import (
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// A Place is where a record lies in a file.
type Place struct {
	Kind    byte
	Key     string
	At, To  int64
	Journal bool // not in the data file: the frame that it is in
}

// Places returns where each record of a whole file lies.
func Places(path string) (map[string]Place, error) {
	pages, f, err := openPages(path)
	if err != nil {
		return nil, err
	}
	good, damage := pages.metas()
	if damage != nil {
		return nil, errors.Join(damage, f.Close())
	}
	s := surveyTree(pages, good[0])
	found := make(map[string]Place)
	err = pages.strays(func(r stray) error {
		name := string(rune(r.kind)) + r.key
		if !s.holds(pages.pageAt(r.at)) {
			return nil
		}
		if _, twice := found[name]; twice {
			return fmt.Errorf("%q lies in two pages that are in use", name)
		}
		found[name] = Place{r.kind, r.key, r.at, r.at + int64(len(r.rec)), false}
		return nil
	})
	if len(found) != s.rows {
		err = errors.Join(err, fmt.Errorf("%d records in the tree, %d found by their bytes", s.rows, len(found)))
	}
	return found, errors.Join(err, overlayPlaces(path, s.mark, found), s.damage, f.Close())
}

// overlayPlaces puts what is in the journal of a whole file in its place.
func overlayPlaces(path string, mark *journalMark, found map[string]Place) error {
	journal, err := readJournal(path + journalSuffix)
	if err != nil {
		return err
	}
	defer func() { _ = journal.close() }()
	c, err := journal.after(mark)
	for _, f := range c.frames {
		err = errors.Join(err, f.each(func(kind byte, key string, rec []byte) error {
			name := string(rune(kind)) + key
			at := int64(mark.at(f.generation))*journalPart + int64(f.at)
			if found[name] = (Place{kind, key, at, at + int64(f.size), true}); rec == nil || kind == bucketTally {
				delete(found, name)
			}
			return nil
		}))
	}
	return err
}

// Pages are the numbers of the pages of a whole file: those that its tree leads
// to, those that are free, and of the former the branches and the root.
type Pages struct {
	Used, Free, Branches []uint64
	Root                 uint64
	Size                 int64 // bytes of one
}

// PagesOf returns the pages of a whole file.
func PagesOf(path string) (Pages, error) {
	pages, f, err := openPages(path)
	if err != nil {
		return Pages{}, err
	}
	good, _ := pages.metas()
	s := surveyTree(pages, good[0])
	p := Pages{Root: good[0].root, Size: pages.page}
	for id := uint64(firstDataPage); id < s.limit; id++ {
		if s.roles[id] == roleFree {
			p.Free = append(p.Free, id)
			continue
		}
		p.Used = append(p.Used, id)
		if h, _, err := pages.tree(id); err == nil && h.flags == flagBranch {
			p.Branches = append(p.Branches, id)
		}
	}
	return p, f.Close()
}

// EventKey returns where an event lies, as [Places] names it.
func EventKey(epoch, stream string, seq uint64) string {
	for s := range streamLetters {
		if string(s) == stream {
			return string(rune(bucketOutbox)) + streamKey{edgeagent.ID(epoch), s}.key(seq)
		}
	}
	return ""
}

// MakeNewer marks a whole file as one of a later version.
func MakeNewer(path string) error {
	return change(path, func(tx *bbolt.Tx) error { return mark(tx, schemaVersion+1) })
}

// MakeOlder marks a whole file as one of schema 2, whose journal stays.
func MakeOlder(path string) error {
	return change(path, func(tx *bbolt.Tx) error { return mark(tx, 2) })
}

// MakeUnjournaled makes a whole file one of schema 2.
func MakeUnjournaled(path string) error {
	drop := func(tx *bbolt.Tx) error { return writeRecord(tx, bucketMeta, keyJournal, nil) }
	return change(path, func(tx *bbolt.Tx) error { return errors.Join(mark(tx, 2), drop(tx)) })
}

// Schema returns that of a file.
func Schema(path string) (v int, err error) {
	failed := change(path, func(tx *bbolt.Tx) error { v, err = schemaOf(tx); return err })
	return v, errors.Join(err, failed)
}

func mark(tx *bbolt.Tx, schema int) error {
	return writeRecord(tx, bucketMeta, keySchema, encodeRecord(bucketMeta, keySchema, 0, []byte(strconv.Itoa(schema))))
}

func change(path string, do func(*bbolt.Tx) error) error {
	b, err := openBolt(path, 1<<20)
	if err != nil {
		return err
	}
	return errors.Join(b.Update(do), b.Close())
}

// LoseEvents takes the events of a stream out of a whole file, as a salvage may
// save what is said of them alone.
func LoseEvents(path string, epoch edgeagent.ID, s edgeagent.Stream, numbers ...uint64) error {
	return change(path, func(tx *bbolt.Tx) (err error) {
		for _, n := range numbers {
			err = errors.Join(err, writeRecord(tx, bucketOutbox, streamKey{epoch, s}.key(n), nil))
		}
		return err
	})
}
