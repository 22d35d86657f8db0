package queue

import (
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// loadObjects reads the head of every alarm and the header of every job, in the
// order of their ids. It makes no garbage of what is over: a file may hold a
// hundred thousand of each.
func (w *working) loadObjects(tx *bbolt.Tx) error {
	b, err := bucketOf(tx, bucketData)
	if err != nil {
		return err
	}
	l := loader{w: w, tx: tx, now: time.Now()}
	c := b.Cursor()
	for at, rec := c.First(); at != nil && region(placedKind(at)) == bucketBodies; at, rec = c.Next() {
		kind := placedKind(at)
		if kind != bucketAlarms && kind != bucketJobs {
			continue
		}
		body, revision, err := decodeRecord(kind, at[:idLength], rec)
		if err == nil && kind == bucketAlarms {
			err = l.alarm(at[:idLength], body)
		} else if err == nil {
			err = l.job(at[:idLength], body, revision)
		}
		if err != nil {
			return err
		}
	}
	l.settle()
	return l.resight()
}

// A loader takes up the objects of a file.
type loader struct {
	w       *working
	tx      *bbolt.Tx
	now     time.Time
	pending [][]entry // in chunks: a slice that grew would leave four times its size behind
	fresh   []rawID   // alarms that rose a moment ago, the newest last
}

const (
	loadChunk = 1 << 12 // entries
	maxFresh  = 4096    // alarms that are read for the sake of the flood: a start is not to wait for a hundred thousand
)

func (l *loader) add(e entry) {
	last := len(l.pending) - 1
	if last < 0 || len(l.pending[last]) == loadChunk {
		l.pending, last = append(l.pending, make([]entry, 0, loadChunk)), last+1
	}
	l.pending[last] = append(l.pending[last], e)
}

// settle puts the jobs that wait in their order.
func (l *loader) settle() {
	due := l.w.mono(l.now)
	l.w.ready.all = l.those(func(e entry) bool { return e.ready <= due })
	l.w.delayed.all = l.those(func(e entry) bool { return e.ready > due })
	l.w.ready.order()
	l.w.delayed.order()
}

// those returns some of the jobs that wait, in memory of their size.
func (l *loader) those(wanted func(entry) bool) []entry {
	n := 0
	for e := range l.all {
		if wanted(e) {
			n++
		}
	}
	out := make([]entry, 0, n)
	for e := range l.all {
		if wanted(e) {
			out = append(out, e)
		}
	}
	return out
}

// all is an iterator over them.
func (l *loader) all(yield func(entry) bool) {
	for _, chunk := range l.pending {
		for _, e := range chunk {
			if !yield(e) {
				return
			}
		}
	}
}

// alarm takes up an alarm, whole if it is at hand.
func (l *loader) alarm(key, body []byte) error {
	h, err := readHead(key, body)
	if err != nil {
		return err
	}
	raw := rawOf(key)
	l.w.known.raise(raw)
	l.w.remember(raw, h)
	if l.now.Sub(h.raised).Abs() < floodWindow { // under a clock that was set back all are yet to come
		l.fresh = append(l.fresh, raw)
		if len(l.fresh) == 2*maxFresh {
			l.fresh = append(l.fresh[:0], l.fresh[maxFresh:]...)
		}
	}
	if !l.w.atHand(raw, h) {
		return nil
	}
	a, err := alarmOf(getter(l.tx), edgeagent.ID(key))
	if err != nil {
		return err
	}
	l.w.alarms[a.ID] = &a
	return nil
}

// resight notes what rose shortly before the start.
func (l *loader) resight() error {
	for _, raw := range l.fresh[max(0, len(l.fresh)-maxFresh):] {
		id := raw.id()
		if a, known := l.w.alarms[id]; known {
			l.w.resight(*a)
			continue
		}
		a, err := alarmOf(getter(l.tx), id)
		if err != nil {
			return err
		}
		l.w.resight(a)
	}
	return nil
}

// job takes up a job: nothing but a number of one that is over.
func (l *loader) job(key, body []byte, revision uint32) error {
	state, err := headerState(body)
	if err != nil {
		return fmt.Errorf("job %s: %w", key, err)
	}
	l.w.counts[state]++
	if !unfinished(state) {
		return nil
	}
	h, err := l.header(key, body)
	if err != nil {
		return err
	}
	raw := rawOf(key)
	if state == edgeagent.JobRunning {
		id := edgeagent.ID(key)
		l.w.running[id] = job{header: h, id: id, revision: revision, was: state}
		return nil
	}
	l.add(l.w.entryFor(raw, h, l.now))
	if !h.Frozen {
		l.w.groups[h.Group.key()] = raw
	}
	return nil
}

// header reads a header, in files of schema 1 with what lies beside it.
func (l *loader) header(key, body []byte) (header, error) {
	if body[0] == headerApart {
		return wholeHeader(getter(l.tx), edgeagent.ID(key), body)
	}
	return decodeHeader(body)
}
