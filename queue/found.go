package queue

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A journalFile is a journal as it is found.
type journalFile struct {
	path   string
	halves [2][]byte
	short  bool // part of it is missing
}

// readJournal returns what lies beside a data file; nothing is an empty one. Of
// one that is cut off counts what is there.
func readJournal(path string) (j journalFile, err error) {
	j.path = path
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return j, err
	}
	for i := range j.halves {
		j.halves[i] = make([]byte, journalHalf)
		n, readErr := io.ReadFull(io.NewSectionReader(f, int64(i)*journalHalf, journalHalf), j.halves[i])
		clear(j.halves[i][n:])
		j.short = j.short || n < journalHalf
		if readErr != nil && !errors.Is(readErr, io.EOF) && !errors.Is(readErr, io.ErrUnexpectedEOF) {
			err = errors.Join(err, readErr)
		}
	}
	return j, errors.Join(err, f.Close())
}

// chain returns the frames of a generation.
func (j journalFile) chain(id journalID, generation uint64) chain {
	return readChain(j.halves[generation%2], id, generation)
}

// after returns the frames that a data file with such a mark does not have yet.
// Its only error is damage.
func (j journalFile) after(m *journalMark) (chain, error) {
	if m == nil || !m.open {
		return chain{whole: true}, nil
	}
	c := j.chain(m.id, m.generation)
	switch {
	case j.newest(m.id) > m.generation:
		return c, fmt.Errorf("the data file is older than its journal %s: %w", j.path, errDamaged)
	case len(c.frames) == 0 && !j.known(*m):
		return c, fmt.Errorf("the journal %s is missing, or is another's: %w", j.path, errDamaged)
	case j.short:
		return c, fmt.Errorf("the journal %s is cut off: %w", j.path, errDamaged)
	case !c.whole:
		return c, fmt.Errorf("frames of the journal %s are missing: %w", j.path, errDamaged)
	}
	return c, nil
}

// known reports whether a journal can be the one that the mark speaks of: it
// still holds frames of the generation before, if there were any.
func (j journalFile) known(m journalMark) bool {
	if j.halves[0] == nil {
		return false
	}
	id, any := j.owner()
	return any && id == m.id || !any && m.before == 0
}

// newest returns the newest generation of a journal of which there is a frame.
func (j journalFile) newest(id journalID) (generation uint64) {
	for _, half := range j.halves {
		for _, f := range framesOf(half, id) {
			generation = max(generation, f.generation)
		}
	}
	return generation
}

// owner returns whose frames the journal holds.
func (j journalFile) owner() (id journalID, any bool) {
	for _, half := range j.halves {
		for at := 0; at < len(half); at += blockSize {
			if f, ok := frameAt(half, at); ok {
				return f.id, true
			}
		}
	}
	return id, false
}
