package queue

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// ErrUnchecked is returned by a check that came to no verdict: it could not
// begin, was ended, or found no memory. That is no damage, and no data file is
// set aside for it.
var ErrUnchecked = errors.New("the data file could not be checked")

// CheckFile reads every page and every record of a data file and returns the
// first damage, or [ErrUnchecked]. Run it in a process of its own: on damage that
// our own reading has missed bbolt panics in a goroutine that nobody can guard,
// and that is an answer too.
func CheckFile(path string) error {
	if err := walkFile(path); err != nil {
		return err
	}
	b, err := bbolt.Open(path, 0o640, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true, PageSize: pageSize, Timeout: boltOptions(0).Timeout})
	if err != nil && !isDamage(err) {
		return fmt.Errorf("check %s: %w: %w", path, ErrUnchecked, err)
	}
	if err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return b.Close()
}

// walkFile reads every page and every record without bbolt: nothing in the
// file can end the process that does it, so it is done before every open.
func walkFile(path string) error {
	pages, f, err := openPages(path)
	if err != nil {
		return fmt.Errorf("check %s: %w: %w", path, ErrUnchecked, err)
	}
	pages.r = &ahead{r: f}
	mark, err := pages.verify()
	if err == nil {
		err = verifyJournal(path+journalSuffix, mark)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return nil
}

// verify returns what the file says of its journal, or its damage.
func (p pageFile) verify() (*journalMark, error) {
	good, damage := p.metas()
	if len(good) == 0 {
		return nil, damage
	}
	s := surveyTree(p, good[0])
	if errors.Is(s.damage, errNewer) {
		return nil, s.damage
	}
	if damage != nil && !p.unfinished(good[0]) { // the checkpoint before shows instead of the last one, in silence
		return nil, damage
	}
	s.freelist(good[0].freelist)
	return s.mark, s.damage
}

// verifyJournal reads what the data file does not have yet.
func verifyJournal(path string, mark *journalMark) error {
	if mark == nil || !mark.open {
		return nil
	}
	found, err := readJournal(path)
	if err != nil {
		return fmt.Errorf("read the journal: %w: %w", errDamaged, err)
	}
	defer func() { _ = found.close() }() // only read
	c, err := found.after(mark)
	for _, f := range c.frames {
		err = errors.Join(err, f.each(func(byte, string, []byte) error { return nil }))
	}
	return err
}

// freelist checks a stored list of free pages: of a page that is in use and free
// bbolt makes two things.
func (s *survey) freelist(id uint64) {
	if id == noFreelist {
		return
	}
	ids, err := s.pages.freeIDs(id)
	if err != nil {
		s.met(err)
	}
	for _, free := range ids {
		if free < firstDataPage || free >= s.limit || s.roles[free] != roleFree {
			s.met(fmt.Errorf("page %d cannot be free: %w", free, errDamaged))
			return
		}
	}
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
	_, err = io.CopyN(hash, f, 2*pageSize) // of a file of smaller pages two more, which change with them
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
