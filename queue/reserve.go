package queue

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	reserveBase  = 1 << 20          // bytes held back even without a job
	reserveStep  = 1 << 20          // by which the reserve grows and is given up
	reserveSlack = 4 * reserveStep  // more than this too much is given back
	reserveAgain = 10 * time.Second // after it was given up, or could not be taken
)

// reserve is a file beside the data file that holds nothing but disk space. It
// covers what accepted jobs still have to write, and is given up step by step
// when the disk is full: then they can be finished and people can act, whatever
// filled the disk. Without a file system that can set space aside there is none.
// It belongs to the committer; size is read by others.
type reserve struct {
	path string
	file *os.File
	size atomic.Int64 // bytes that it holds
	lost time.Time    // when it was given up last, or could not be taken
	none bool         // the file system cannot
}

// wanted returns how large the reserve has to be, in bytes.
func wanted(jobs int) int64 {
	need := reserveBase + int64(jobs)*jobReserve
	return (need + reserveStep - 1) / reserveStep * reserveStep
}

// open takes the reserve. That it cannot is no reason not to start.
func (r *reserve) open(jobs int) error {
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return r.fault(fmt.Errorf("make the reserve: %w", err))
	}
	r.file = f
	if err := f.Truncate(0); err != nil { // whatever an earlier life left is not known to be there
		return r.fault(fmt.Errorf("empty the reserve: %w", err))
	}
	return r.take(wanted(jobs))
}

// fault gives up on having a reserve, unless space alone is missing.
func (r *reserve) fault(err error) error {
	r.none = r.none || !noSpace(err)
	r.lost = time.Now()
	return err
}

// take has the file system set n bytes aside.
func (r *reserve) take(n int64) error {
	if r.none || r.file == nil {
		return nil
	}
	err := syscall.Fallocate(int(r.file.Fd()), 0, 0, n)
	if err == nil {
		r.size.Store(n)
		return nil
	}
	err = fmt.Errorf("set %d bytes aside: %w", n, err)
	// Half of it may have been taken: what does not cover is not kept.
	return r.fault(errors.Join(err, r.file.Truncate(r.size.Load())))
}

// cover reports whether the reserve holds, or can be made to hold, what so many
// open jobs need.
func (r *reserve) cover(jobs int) bool {
	n := wanted(jobs)
	if r.none || n <= r.size.Load() {
		return true
	}
	if time.Since(r.lost) < reserveAgain {
		return false
	}
	return r.take(n) == nil || r.none
}

// yield gives up enough for n more bytes, and reports whether there was anything
// to give.
func (r *reserve) yield(n int64) bool {
	had := r.size.Load()
	if had == 0 || r.file == nil {
		return false
	}
	left := max(0, had-max(reserveStep, n))
	r.lost = time.Now()
	if err := r.file.Truncate(left); err != nil {
		return false
	}
	r.size.Store(left)
	return true
}

// adjust follows the number of open jobs and what only the journal holds, after a
// commit: taken again when space is back, given back when jobs are finished.
func (r *reserve) adjust(jobs int, unsettled int64) {
	jobs += int(unsettled / reserveStep * reserveStep / jobReserve)
	n := wanted(jobs)
	switch have := r.size.Load(); {
	case n > have:
		r.cover(jobs)
	case have-n >= reserveSlack && r.file != nil && r.file.Truncate(n) == nil:
		r.size.Store(n)
	}
}

// diskFull tells a disk without space from a file at its quota, which no reserve helps.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// recordShare is about what a record changes of pages beside itself, in bytes.
const recordShare = 4 << 10

// bytes is about what the batch writes.
func (b *batch) bytes() (n int64) {
	if b == nil {
		return 0
	}
	for _, rec := range b.puts {
		n += int64(len(rec)) + recordShare
	}
	return n
}

func (r *reserve) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
