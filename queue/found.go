package queue

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A journalFile is a journal as it is found.
type journalFile struct {
	path  string
	file  *os.File // nil: there is none
	parts [journalParts]area
	size  int64
}

// readJournal opens what lies beside a data file; nothing is an empty one. Of one
// that is cut off counts what is there. Close it.
func readJournal(path string) (j journalFile, err error) {
	j.path = path
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return j, errors.Join(err, f.Close())
	}
	j.file, j.size = f, info.Size()
	for i := range j.parts {
		begins := int64(i) * journalPart
		j.parts[i] = area{r: io.NewSectionReader(f, begins, journalPart), size: int(max(0, min(journalPart, info.Size()-begins)))}
	}
	return j, nil
}

func (j *journalFile) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// chain returns the frames of a generation of the journal of a mark.
func (j *journalFile) chain(m journalMark, generation uint64) chain {
	return readChain(&j.parts[m.at(generation)], m.id, generation)
}

// after returns the frames that a data file with such a mark does not have yet.
// Its only error is damage.
func (j *journalFile) after(m *journalMark) (chain, error) {
	if m == nil || !m.open {
		return chain{whole: true}, nil
	}
	c, newest := j.chain(*m, m.generation), j.newest(m.id)
	if newest == m.generation+1 {
		c = c.before(j.chain(*m, newest))
	}
	switch {
	case newest > m.generation+1:
		return c, fmt.Errorf("the data file is older than its journal %s: %w", j.path, errDamaged)
	case len(c.frames) == 0 && !j.known(*m):
		return c, fmt.Errorf("the journal %s is missing, or is another's: %w", j.path, errDamaged)
	case j.cutOff(*m):
		return c, fmt.Errorf("the journal %s is cut off: %w", j.path, errDamaged)
	case j.unread() != nil:
		return c, fmt.Errorf("read the journal %s: %w: %w", j.path, errDamaged, j.unread())
	case !c.whole:
		return c, fmt.Errorf("frames of the journal %s are missing: %w", j.path, errDamaged)
	}
	return c, nil
}

func (j *journalFile) cutOff(m journalMark) bool {
	return j.file != nil && j.size < int64(m.parts)*journalPart
}

// known reports whether a journal can be the one that the mark speaks of: it
// still holds frames of the generation before, if there were any.
func (j *journalFile) known(m journalMark) bool {
	if j.parts[0].r == nil {
		return false
	}
	id, any := j.owner()
	return any && id == m.id || !any && m.before == 0
}

// unread returns why part of it could not be read.
func (j *journalFile) unread() (err error) {
	for i := range j.parts {
		err = errors.Join(err, j.parts[i].err)
	}
	return err
}

// newest returns the newest generation of a journal of which there is a frame.
func (j *journalFile) newest(id journalID) (generation uint64) {
	for i := range j.parts {
		for f := range j.parts[i].all {
			if f.id == id {
				generation = max(generation, f.generation)
			}
		}
	}
	return generation
}

// owner returns whose frames the journal holds.
func (j *journalFile) owner() (id journalID, any bool) {
	for i := range j.parts {
		for f := range j.parts[i].all {
			return f.id, true
		}
	}
	return id, false
}
