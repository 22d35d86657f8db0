package queue

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// The journal is a file beside the data file into which each commit goes with
// one write and one sync; bbolt needs two, and writes every page on the way to
// its root. It has three parts, which take turns. When one is full, everything
// in it is committed to the data file, see checkpoint.go, and the frames of the
// next generation go into the next while that is done. So one part is being
// committed, one is written, and one has what came before: the data file's
// previous meta page still finds all that came after it.
//
// All of the file is written and synced before it gets its name, so that a frame
// changes no length and needs no space.
const (
	journalSuffix = ".journal"
	journalPart   = 4 << 20
	journalParts  = 3
	journalSize   = journalParts * journalPart
	journalHalves = 2 // the parts of before schema 4
)

// journalID is of one data file and its journal, so that neither is mistaken for
// another's: files are copied, restored and swapped.
type journalID [16]byte

func newJournalID() (id journalID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// A journalMark is what the data file says of its journal, in bucket m. While it
// is open, frames of its generation may exist that are not in the data file; the
// mark of a sealed one names whose frames are done with.
type journalMark struct {
	id         journalID
	generation uint64
	before     uint32 // frames of the generation before, which still lie in their part
	open       bool
	parts      uint8
}

// at returns the part of a journal in which the frames of a generation lie.
func (m journalMark) at(generation uint64) int { return int(generation % uint64(m.parts)) }

// keyJournal is where the mark lies in bucket m.
const keyJournal = "journal"

const journalMarkSize = 16 + 8 + 4 + 1 + 1 // of before schema 4: one less

func (m journalMark) encode() []byte {
	out := append(make([]byte, 0, journalMarkSize), m.id[:]...)
	out = binary.BigEndian.AppendUint64(out, m.generation)
	return append(binary.BigEndian.AppendUint32(out, m.before), boolByte(m.open), m.parts)
}

func decodeJournalMark(body []byte) (m journalMark, err error) {
	if len(body) == journalMarkSize-1 {
		body = append(bytes.Clone(body), journalHalves)
	}
	if len(body) != journalMarkSize || body[29] < journalHalves || body[29] > journalParts {
		return m, fmt.Errorf("mark of the journal of %d bytes: %w", len(body), errDamaged)
	}
	copy(m.id[:], body)
	m.generation, m.before = binary.BigEndian.Uint64(body[16:]), binary.BigEndian.Uint32(body[24:])
	m.open, m.parts = body[28] != 0, body[29]
	return m, nil
}

// markOf returns what a data file says of its journal; nil when it never had one.
func markOf(tx *bbolt.Tx) (*journalMark, error) {
	body, _, err := readRecord(tx, bucketMeta, keyJournal)
	if errors.Is(err, edgeagent.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := decodeJournalMark(body)
	return &m, err
}

// A journal is open for writing. It belongs to the committer.
type journal struct {
	path   string
	file   *os.File // nil: there is none, and every commit is a checkpoint
	mark   journalMark
	next   uint32 // sequence of the next frame
	at     int    // where it goes in its part
	shared int    // operations that shared the last commit
	buf    []byte // of the last frame, to be used again

	syncing func() // called before each sync by tests of slow disks; nil

	settled atomic.Uint64 // generation that the data file says: that of mark, or the one before
}

// live reports whether frames of the generation count.
func (j *journal) live() bool { return j.file != nil && j.mark.open }

// behind reports whether there are frames of a generation before that of the mark
// which the data file does not have.
func (j *journal) behind() bool { return j.settled.Load() != j.mark.generation }

// A lot is frames of one generation.
type lot struct {
	generation uint64
	frames     uint32
}

// lots returns what the data file does not have.
func (j *journal) lots() []lot {
	last := lot{j.mark.generation, j.next}
	if j.behind() {
		return []lot{{j.settled.Load(), j.mark.before}, last}
	}
	return []lot{last}
}

// frame encodes what a batch puts, with the tally of it for a salvage.
func (j *journal) frame(b *batch) []byte {
	buf := beginFrame(j.buf)
	b.names = sortedKeys(b.puts)
	for _, name := range b.names {
		buf = appendEntry(buf, name, b.puts[name])
	}
	if b.outboxChanged {
		buf = appendEntry(buf, "", encodeRecord(bucketTally, keyTally, 0, b.w.encodeTally()))
	}
	j.buf = endFrame(buf, frameMark{j.mark.id, j.mark.generation, j.next, j.mark.before})
	return j.buf
}

// holds reports whether a frame fits behind the others.
func (j *journal) holds(frame []byte) bool { return j.live() && j.at+len(frame) <= journalPart }

// append makes a frame durable.
func (j *journal) append(frame []byte) error {
	write := func() error {
		_, err := j.file.WriteAt(frame, int64(j.mark.at(j.mark.generation))*journalPart+int64(j.at))
		return err
	}
	if err := durable("journal.write", write); err != nil {
		return fmt.Errorf("write to the journal %s: %w", j.path, err)
	}
	if err := durable("journal.sync", j.sync); err != nil {
		return fmt.Errorf("%w: %w", errUntrusted, fmt.Errorf("sync the journal %s: %w", j.path, err))
	}
	j.at += len(frame)
	j.next++
	return nil
}

// upcoming is the mark of the next generation.
func (j *journal) upcoming(open bool) journalMark {
	return journalMark{id: j.mark.id, generation: j.mark.generation + 1, before: j.next, open: open && j.file != nil, parts: journalParts}
}

// turn goes on in the part of the next generation: when the data file says so, or
// is about to.
func (j *journal) turn(m journalMark) { j.mark, j.next, j.at = m, 0, 0 }

// dataSync makes the content of a file durable. Its length does not change.
func dataSync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (j *journal) sync() error {
	if j.syncing != nil {
		j.syncing()
	}
	return syncJournal(j.file)
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// take opens the journal beside the data file for writing. One that is kept under
// a second name, with a data file that was set aside, is left alone.
func (j *journal) take() error {
	f, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == journalSize && names(info) == 1 {
		j.file = f
		return nil
	}
	return errors.Join(err, f.Close())
}

// names returns how many names a file has.
func names(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

func createJournal(path string) error {
	fresh := path + ".new"
	err := durable("journal.create", func() error { return writeZeros(fresh, journalSize) })
	if err == nil {
		err = durable("journal.rename", func() error { return os.Rename(fresh, path) })
	}
	if err != nil {
		_ = os.Remove(fresh) // half of it is space that the data file may need
		return fmt.Errorf("make the journal: %w", err)
	}
	return durable("journal.folder", func() error { return syncPath(filepath.Dir(path)) })
}

// writeZeros makes a file of so many bytes, synced. They are written, not
// promised: what is promised has to be marked as written with the first frame.
func writeZeros(path string, n int) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	chunk := make([]byte, 64<<10)
	for ; n > 0 && err == nil; n -= len(chunk) {
		_, err = f.Write(chunk)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
