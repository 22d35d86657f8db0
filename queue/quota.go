package queue

import (
	"fmt"
	"math"
	"syscall"
	"time"

	"edgeagent"
)

// jobReserve is what an accepted job still has to write until it is finished:
// its frozen case, its calls, the answer and the event, in bytes.
const jobReserve = 8 << 10

// headroom is left on the disk for what others write beside us.
const headroom = 64 << 10

// pressure says what a file that fills up still takes.
type pressure int

const (
	pressureNone  pressure = iota
	pressureTrim           // the bodies of finished jobs go
	pressureLow            // jobs of priority 3 and 4 are refused
	pressureFirst          // all jobs but those of priority 1 are
	pressureFull           // alarms too, except of priority 1
)

// watermarks are the percentages at which the next pressure begins. Nothing that
// was accepted is ever given up for them: what has to go is history, and then
// work that was not accepted yet.
var watermarks = []int64{pressureTrim: 70, pressureLow: 85, pressureFirst: 95, pressureFull: 100}

// space is what the data file holds and can hold, in bytes.
type space struct {
	used     int64 // pages that hold something
	reserved int64 // for finishing what was accepted
	capacity int64 // of the quota, or of the disk if that is less
}

// pressure returns the highest mark that is reached.
func (s space) pressure() pressure {
	for p := pressureFull; p > pressureNone; p-- {
		if (s.used+s.reserved)*100 >= s.capacity*watermarks[p] {
			return p
		}
	}
	return pressureNone
}

// takesJob reports whether a job of that priority is accepted.
func (p pressure) takesJob(priority int) bool {
	switch {
	case priority <= 1:
		return true
	case p >= pressureFirst:
		return false
	case p == pressureLow:
		return priority <= 2
	default:
		return true
	}
}

// said is what the page says of a pressure; nothing while all is accepted.
func (p pressure) said() string {
	switch p {
	case pressureLow:
		return "alarms of priority 3 and 4 get no diagnosis until there is space"
	case pressureFirst:
		return "only alarms of priority 1 get a diagnosis until there is space"
	default:
		return ""
	}
}

// spaceAge is how long a measurement of a file that does not change is good for:
// the disk fills up without us.
const spaceAge = time.Second

// measured is the last measurement; the committer's.
type measured struct {
	space
	at          time.Time
	checkpoints uint64
}

// space measures the file, at most once a checkpoint and a second. What the batch
// itself will add is guessed from its records: it must not overrun a mark.
func (b *batch) space() space {
	m := &b.db.measured
	if n := b.db.checkpoints.Load(); m.at.IsZero() || m.checkpoints != n || b.now.Sub(m.at) >= spaceAge {
		m.space, m.at, m.checkpoints = b.db.roomOf(b.o.MaxSize), b.now, n
	}
	s := m.space
	s.used += b.db.unsettled.Load() + int64(len(b.puts))<<10
	s.reserved = int64(b.w.unfinishedJobs()) * jobReserve
	return s
}

// roomOf measures what is used and what can be: up to the quota, or until the
// disk and what is held back on it for open jobs are used up. Pages that are
// free within the file need no disk. The base of the reserve is for people.
func (db *DB) roomOf(quota int64) space {
	file, free := db.sizes()
	disk := max(db.used.Load(), allocated(db.path)) + diskFree(db.path) + db.reserve.size.Load() - reserveBase - headroom
	return space{used: file - free, capacity: max(1, min(quota, disk, sizeLimit()-allocSize-headroom))}
}

// sizeLimit is how large the kernel lets a file of this process become, in bytes:
// a service manager may have set that (LimitFSIZE).
func sizeLimit() int64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil || uint64(l.Cur) > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(l.Cur)
}

// room refuses an alarm that the file cannot hold. Those of priority 1 are let
// through to what is left for finishing, as long as the disk takes them.
func (b *batch) room(priority int) error {
	s := b.space()
	p := s.pressure()
	b.wantsRoom = b.wantsRoom || p >= pressureTrim // what nobody needs any more goes with the next commit
	if p < pressureFull || priority <= 1 {
		return nil
	}
	if s.capacity < s.used { // nothing can be added; how little could be says nothing to anybody
		return fmt.Errorf("%w: no room for more than the %d KiB in use; free the disk, or raise max_size", edgeagent.ErrFull, s.used>>10)
	}
	return fmt.Errorf("%w: %d KiB are in use and %d KiB kept for %d open jobs, of %d KiB; retain less, raise max_size or free the disk",
		edgeagent.ErrFull, s.used>>10, s.reserved>>10, b.w.unfinishedJobs(), s.capacity>>10)
}

// acceptsJob reports whether the alarm gets a diagnosis. One that is refused is
// recorded with its hint all the same, and counted. To join a job that waits
// anyway costs next to nothing.
func (b *batch) acceptsJob(a *edgeagent.Alarm) bool {
	if _, open := b.w.groups[groupOf(*a).key()]; open {
		return true
	}
	if b.space().pressure().takesJob(a.Priority) && (b.db.reserve.cover(b.w.unfinishedJobs()+1) || a.Priority <= 1) {
		return true
	}
	b.db.refused.Add(1)
	b.undoWith(func() { b.db.refused.Add(^uint64(0)) })
	return false
}

// RefusedJobs returns how many alarms got no diagnosis for want of space since
// the file was opened.
func (db *DB) RefusedJobs() uint64 { return db.refused.Load() }
