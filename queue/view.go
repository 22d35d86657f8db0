package queue

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"edgeagent"
)

// More new alarms than floodAlarms within floodWindow are a flood (ISA-18.2).
const (
	floodAlarms = 10
	floodWindow = 10 * time.Minute
)

// A view is what readers see of memory: the state after a commit, never changed
// once it is published.
type view struct {
	epoch   edgeagent.ID
	counts  edgeagent.JobCounts
	recent  []time.Time
	next    time.Time
	waiting bool // next is a time
	devices map[string]edgeagent.DeviceMemory
	last    map[streamKey]uint64
	floor   map[streamKey]uint64
	cursors map[cursorKey]cursor
	parked  map[parkedKey]bool
	again   map[parkedKey]bool
	judged  map[answerer]edgeagent.Accuracy
}

// publish shows the state after a commit and wakes who waits for it.
func (db *DB) publish(b *batch) {
	w, old := db.work, db.view.Load()
	v := &view{}
	if old != nil {
		*v = *old
	}
	v.epoch, v.counts, v.recent = w.epoch, w.jobCounts(), w.recent
	v.next, v.waiting = w.upcoming(b.now)
	v.judged = w.judged
	if old == nil {
		db.atHand.all = maps.Clone(w.alarms) // nobody reads yet
	}
	db.atHand.publish(w, b.alarms)
	if old == nil || b.devicesChanged {
		v.devices = maps.Clone(w.devices)
	}
	if old == nil || b.outboxChanged {
		v.last, v.floor = maps.Clone(w.last), maps.Clone(w.floor)
		v.cursors, v.parked, v.again = maps.Clone(w.cursors), maps.Clone(w.parked), maps.Clone(w.again)
	}
	db.view.Store(v)
	if b.jobsWoken {
		signal(db.jobs)
	}
	if b.outboxChanged {
		db.subs.wake()
	}
}

// alarmsAtHand is what readers see of the alarms in memory. A commit touches
// those that it changed alone, however many are open.
type alarmsAtHand struct {
	mu  sync.RWMutex
	all map[edgeagent.ID]*edgeagent.Alarm
}

func (h *alarmsAtHand) publish(w *working, changed map[edgeagent.ID]struct{}) {
	if len(changed) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range changed {
		if a, open := w.alarms[id]; open {
			h.all[id] = a
		} else {
			delete(h.all, id)
		}
	}
}

// list returns them, those that hide nothing any more left out.
func (h *alarmsAtHand) list() []*edgeagent.Alarm {
	now := time.Now()
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]*edgeagent.Alarm, 0, len(h.all))
	for _, a := range h.all {
		if !lapsed(a, now) {
			out = append(out, a)
		}
	}
	return out
}

// NextReady returns when the next job can be leased; a time in the past means
// at once. It reports false when no job waits.
func (db *DB) NextReady() (time.Time, bool) {
	v := db.view.Load()
	return v.next, v.waiting
}

// JobCounts counts the jobs by state.
func (db *DB) JobCounts() edgeagent.JobCounts { return db.view.Load().counts }

// OpenAlarms returns what an engine has to know after a restart, newest first:
// every open alarm, and of each name that is still shelved the last one, though
// it is closed.
func (db *DB) OpenAlarms() []edgeagent.Alarm {
	list := db.atHand.list()
	slices.SortFunc(list, func(x, y *edgeagent.Alarm) int { return strings.Compare(string(y.ID), string(x.ID)) })
	open := make([]edgeagent.Alarm, len(list))
	for i, a := range list {
		open[i] = *a
	}
	return open
}

// AlarmCounts counts the alarms of [DB.OpenAlarms]; a shelved one counts as
// shelved alone.
func (db *DB) AlarmCounts() edgeagent.AlarmCounts {
	v := db.view.Load()
	var c edgeagent.AlarmCounts
	for _, a := range db.atHand.list() {
		switch {
		case a.ShelvedUntil != nil:
			c.Shelved++
			continue
		case a.State.Active():
			c.Active++
		}
		if a.State == edgeagent.AlarmUnacked || a.State == edgeagent.AlarmClearedUnacked {
			c.Unacked++
			if a.Origin == edgeagent.OriginAgent {
				c.Own++
			}
		}
	}
	c.Flood = len(v.recent) > floodAlarms && time.Since(v.recent[0]) < floodWindow
	return c
}
