package queue

import (
	"bytes"
	"cmp"
	"time"

	"edgeagent"
)

// A rawID is an id in the 16 bytes that its letters stand for: the index holds
// one for every job that waits.
type rawID [16]byte

const idLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// idValues are what the letters stand for, and 0 for what is none.
var idValues = func() (values [256]byte) {
	for v, letter := range []byte(idLetters) {
		values[letter] = byte(v)
	}
	return values
}()

// rawOf returns the bytes of an id: five bits a letter, the first of them two
// bits short.
func rawOf[T ~string | ~[]byte](id T) (raw rawID) {
	var acc uint64
	bits, at := 0, len(raw)
	for i := len(id) - 1; i >= 0 && at > 0; i-- {
		acc |= uint64(idValues[id[i]]) << bits
		for bits += 5; bits >= 8 && at > 0; bits -= 8 {
			at--
			raw[at] = byte(acc)
			acc >>= 8
		}
	}
	if at > 0 {
		raw[at-1] = byte(acc)
	}
	return raw
}

// id returns the id that rawOf has read.
func (raw rawID) id() edgeagent.ID {
	out := make([]byte, idLength)
	var acc uint64
	bits, at := 0, len(out)
	for i := len(raw) - 1; i >= 0; i-- {
		acc |= uint64(raw[i]) << bits
		for bits += 8; bits >= 5 && at > 0; bits -= 5 {
			at--
			out[at] = idLetters[acc&31]
			acc >>= 5
		}
	}
	for ; at > 0; acc >>= 5 {
		at--
		out[at] = idLetters[acc&31]
	}
	return edgeagent.ID(out)
}

// An entry is a pending job: 40 bytes, for an outage may leave a hundred
// thousand of them. Everything else of it is read when its turn has come.
type entry struct {
	id        rawID
	ready     int64 // when it may be leased, in nanoseconds on this process's monotonic clock
	notBefore int64 // the same by the clock that may jump, in nanoseconds of Unix time
	priority  uint8
}

func (w *working) entryOf(j job, now time.Time) entry { return w.entryFor(rawOf(j.id), j.header, now) }

func (w *working) entryFor(id rawID, j header, now time.Time) entry {
	return entry{
		id: id, ready: w.mono(now.Add(j.remaining(now))),
		notBefore: nanos(j.NotBefore), priority: uint8(min(max(j.Priority, 0), 255)),
	}
}

// mono returns a time on the clock of the entries.
func (w *working) mono(t time.Time) int64 { return int64(t.Sub(w.began)) }

// at returns when an entry is ready.
func (w *working) at(e entry) time.Time { return w.began.Add(time.Duration(e.ready)) }

// first orders by priority, then age, then id.
func first(a, b entry) int {
	return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.notBefore, b.notBefore), bytes.Compare(a.id[:], b.id[:]))
}

// soonest orders by the time at which a job becomes ready.
func soonest(a, b entry) int { return cmp.Compare(a.ready, b.ready) }

// schedule makes a pending job findable.
func (w *working) schedule(j job, now time.Time) { w.push(w.entryOf(j, now), now) }

func (w *working) push(e entry, now time.Time) {
	if e.ready > w.mono(now) {
		w.delayed.push(e)
		return
	}
	w.ready.push(e)
}

// unschedule takes a job out, if it is there.
func (w *working) unschedule(id rawID) (entry, bool) {
	if e, found := w.ready.take(id); found {
		return e, true
	}
	return w.delayed.take(id)
}

// front returns the job to be leased next at now, if one is ready.
func (w *working) front(now time.Time) (entry, bool) {
	for due := w.mono(now); len(w.delayed.all) > 0 && w.delayed.all[0].ready <= due; {
		w.ready.push(w.delayed.remove(0))
	}
	if len(w.ready.all) == 0 {
		return entry{}, false
	}
	return w.ready.all[0], true
}

// upcoming returns when the next job is ready; a time that is not after now
// means at once.
func (w *working) upcoming(now time.Time) (time.Time, bool) {
	if e, ok := w.front(now); ok {
		return w.at(e), true
	}
	if len(w.delayed.all) > 0 {
		return w.at(w.delayed.all[0]), true
	}
	return time.Time{}, false
}

// unfinishedJobs is how many jobs are pending or running.
func (w *working) unfinishedJobs() int {
	return w.counts[edgeagent.JobPending] + w.counts[edgeagent.JobRunning]
}
