package queue

import (
	"bytes"
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

// A Detour is where in a file a pointer to a page lies, and a page that it does not
// mean: one that is free and holds what the page was before, most often, or one that
// another leaf goes on into.
type Detour struct {
	At int64 // the pointer, of 8 bytes in the machine's order
	To uint64
}

// Detours returns those of a whole file.
func Detours(path string) (found []Detour, err error) {
	pages, f, err := openPages(path)
	if err != nil {
		return nil, err
	}
	good, _ := pages.metas()
	s := surveyTree(pages, good[0])
	for id := uint64(firstDataPage); id < s.limit; id++ {
		if h, page, err := pages.tree(id); err == nil && s.roles[id] == roleLive && h.flags == flagBranch {
			found = append(found, s.detours(id, page)...)
		}
	}
	_, root, err := pages.tree(good[0].root)
	if err != nil {
		return nil, err
	}
	found = append(found, s.rootDetours(good[0].root, root)...)
	return found, f.Close()
}

// rootDetours are those of the bucket of all data, to what its topmost page was.
func (s *survey) rootDetours(id uint64, page []byte) (found []Detour) {
	rows, _ := elements(page)
	for i := range rows {
		at := slotAt(page, pageHeadSize+i*pageElemSize, false)
		for free := uint64(firstDataPage); rows[i].key[0] == bucketData && free < s.limit; free++ {
			if h, _, err := s.pages.tree(free); err == nil && s.roles[free] == roleFree && h.flags == flagBranch {
				found = append(found, Detour{int64(id)*s.pages.page + int64(at.from+at.keys), free})
			}
		}
	}
	return found
}

// behind returns the pages that leaves go on into.
func (s *survey) behind() (ids []uint64) {
	for id := uint64(firstDataPage); id < s.limit; id++ {
		if _, _, err := s.pages.tree(id); err != nil && s.roles[id] == roleLive {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *survey) detours(id uint64, page []byte) (found []Detour) {
	rows, _ := elements(page)
	behind := s.behind()
	for i, e := range rows {
		if len(behind) > 0 {
			found = append(found, Detour{int64(id)*s.pages.page + pageHeadSize + int64(i)*pageElemSize + 8, behind[i%len(behind)]})
		}
		var end []byte
		if i+1 < len(rows) {
			end = rows[i+1].key
		}
		for free := uint64(firstDataPage); free < s.limit; free++ {
			h, page, err := s.pages.tree(free)
			if err != nil || s.roles[free] != roleFree || h.flags != flagLeaf {
				continue
			}
			if old, err := elements(page); err == nil && len(old) > 0 && !outside(old, e.key, end) {
				found = append(found, Detour{int64(id)*s.pages.page + pageHeadSize + int64(i)*pageElemSize + 8, free})
			}
		}
	}
	return found
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

// BalanceOf returns whether a whole file knows its balance, and whether it holds.
func BalanceOf(path string) (known, even bool, err error) {
	pages, f, err := openPages(path)
	if err != nil {
		return false, false, err
	}
	good, _ := pages.metas()
	s := surveyTree(pages, good[0])
	return s.known(), s.even(), f.Close()
}

// WriteAsBefore changes a whole file as a version without a balance does: an alarm is
// deleted, and one tally more was written.
func WriteAsBefore(path string, id edgeagent.ID) error {
	return change(path, func(tx *bbolt.Tx) error {
		s := tx.Bucket([]byte{bucketTally})
		body, number, err := decodeRecord(bucketTally, keyTally, s.Get([]byte(keyTally)))
		if err != nil {
			return err
		}
		rec := encodeRecord(bucketTally, keyTally, number+1, bytes.Clone(body))
		return errors.Join(unwrite(tx, id), s.Put([]byte(keyTally), rec))
	})
}

// Lose takes an alarm out of a whole file as a card does that gives back what a page
// was before.
func Lose(path string, id edgeagent.ID) error {
	return change(path, func(tx *bbolt.Tx) error { return unwrite(tx, id) })
}

// unwrite deletes an alarm behind the file's back.
func unwrite(tx *bbolt.Tx, id edgeagent.ID) error {
	bucket, at := place(bucketAlarms, string(id))
	return tx.Bucket([]byte{bucket}).Delete(at)
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
