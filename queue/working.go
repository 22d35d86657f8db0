package queue

import (
	"hash/maphash"
	"slices"
	"time"

	"edgeagent"
)

// working is what the committer knows without reading the file: all that is
// unfinished, and numbers. It belongs to the committer alone. Everything in it
// is changed through set, remove and assign, so that a batch whose commit fails
// leaves no trace.
type working struct {
	epoch   edgeagent.ID
	began   time.Time // of the clock of ready and delayed
	running map[edgeagent.ID]job
	counts  map[edgeagent.JobState]int
	groups  map[groupKey]rawID // the job that new alarms of a line join
	joined  map[rawID]*job     // those of them that are at hand; never changed, but replaced
	ready   entries            // pending jobs that may be leased
	delayed entries            // and those that have to wait

	alarms map[edgeagent.ID]*edgeagent.Alarm // those at hand, see atHand; never changed, but replaced
	known  recorded                          // which is never taken back
	raised map[occasion]rawID                // last activation of every alarm
	before map[occasion][]rawID              // and those before it, oldest first, of one that had some
	flood  map[group]groupFlood
	lines  map[string][]sighting   // the raises of the last ten minutes, oldest first
	opened map[edgeagent.ID]opened // jobs that were opened a moment ago, with what their case needs
	recent []time.Time             // last raises of all, for the flood
	tidied time.Time               // when tidy looked last
	untidy bool                    // and whether it left something
	tidyAt map[byte]edgeagent.ID   // bucket → where it goes on; empty: at the first

	most struct{ groups, flood, lines int } // how many there were at most, see shed

	trimmed time.Time    // when trim came to the end last
	trimAt  edgeagent.ID // and up to where it is now; empty: at the first

	last    map[streamKey]uint64 // newest number of each stream
	floor   map[streamKey]uint64 // up to here events were deleted
	cursors map[cursorKey]cursor
	parked  map[parkedKey]bool
	again   map[parkedKey]bool // those of parked that a person wants sent again

	devices map[string]edgeagent.DeviceMemory

	learned map[occasion]bool               // alarms of which something is remembered
	judged  map[answerer]edgeagent.Accuracy // how they were judged, all alarms together; never changed, but replaced
	review  reviewing

	slab  slab      // of the last records
	spare histories // of the last batch, for the next one
}

func newWorking() *working {
	return &working{
		began: time.Now(),
		ready: entries{less: first}, delayed: entries{less: soonest},

		running: make(map[edgeagent.ID]job),
		counts:  make(map[edgeagent.JobState]int),
		groups:  make(map[groupKey]rawID),
		joined:  make(map[rawID]*job),
		alarms:  make(map[edgeagent.ID]*edgeagent.Alarm),
		lines:   make(map[string][]sighting),
		opened:  make(map[edgeagent.ID]opened),
		flood:   make(map[group]groupFlood),
		tidyAt:  make(map[byte]edgeagent.ID),
		raised:  make(map[occasion]rawID),
		before:  make(map[occasion][]rawID),
		last:    make(map[streamKey]uint64),
		floor:   make(map[streamKey]uint64),
		cursors: make(map[cursorKey]cursor),
		parked:  make(map[parkedKey]bool),
		again:   make(map[parkedKey]bool),
		devices: make(map[string]edgeagent.DeviceMemory),
		learned: make(map[occasion]bool),
	}
}

// A job is a header in memory.
type job struct {
	header
	id       edgeagent.ID
	revision uint32
	was      edgeagent.JobState // as it is counted; empty for a new one
}

// A group is what shares jobs: alarms of one line, those of the agent itself
// apart, for a device that stopped explains no alarm of the plant.
type group struct {
	Line  string `json:"line"`
	Agent bool   `json:"agent"`
}

// A groupKey stands for a group in memory, where a hundred thousand may wait. It
// is a hash that differs from start to start: who finds a job by it looks
// whether it is the group's.
type groupKey uint64

var groupSeed = maphash.MakeSeed()

func (g group) key() groupKey {
	var h maphash.Hash
	h.SetSeed(groupSeed)
	_, _ = h.WriteString(g.Line) // a hash's Write never fails
	_ = h.WriteByte(boolByte(g.Agent))
	return groupKey(h.Sum64())
}

// activations returns the last ones of an alarm, oldest first.
func (w *working) activations(name occasion) []rawID {
	last, known := w.raised[name]
	if !known {
		return nil
	}
	return append(slices.Clip(w.before[name]), last)
}

// earlier returns what comes before an activation that is new.
func earlier(before []rawID, last rawID) []rawID {
	before = append(slices.Clip(before), last)
	return before[max(0, len(before)-occurrences+1):]
}

// atHand reports whether an alarm is kept in memory: it is open, or it was
// closed while shelved and is the last of its name, whose next activation that
// shelving hides.
func (w *working) atHand(id rawID, h alarmHead) bool {
	if h.state.Open() {
		return true
	}
	last, known := w.raised[h.name]
	return !h.shelved.IsZero() && known && last == id
}

// hiding returns the alarm of a name that is closed and at hand: the shelving of
// that name is the next one's.
func (w *working) hiding(name occasion) (id edgeagent.ID, found bool) {
	last, known := w.raised[name]
	if !known || len(w.alarms) == 0 {
		return "", false
	}
	id = last.id()
	a, found := w.alarms[id]
	return id, found && !a.State.Open()
}

// lapsed reports whether a closed alarm that is at hand hides nothing any more.
func lapsed(a *edgeagent.Alarm, now time.Time) bool {
	return !a.State.Open() && !now.Before(*a.ShelvedUntil)
}

// An opened job has alarms whose evidence was told by who recorded them: an alarm
// that comes alone is leased at once, and nothing has to be read for it. Many
// jobs, or many alarms of one, are read from the file.
type opened struct {
	alarms   []edgeagent.ID
	evidence []*edgeagent.Evidence
}

const (
	maxOpened       = 64
	maxOpenedAlarms = 8
	maxJoined       = 1 << 10 // jobs whose next alarm is not to wait for the file; an outage leaves more lines alone than that
)

func (o opened) with(id edgeagent.ID, e *edgeagent.Evidence) opened {
	return opened{append(o.alarms, id), append(o.evidence, e)} // see slide
}

// of returns the evidence of an alarm, and whether it is known.
func (o opened) of(id edgeagent.ID) (*edgeagent.Evidence, bool) {
	if i := slices.Index(o.alarms, id); i >= 0 {
		return o.evidence[i], true
	}
	return nil, false
}

// A sighting is a raise on a line.
type sighting struct {
	id edgeagent.ID
	at time.Time
}

// sight adds a raise to those of its line and leaves out what is too old to be
// related to anything.
func sight(seen []sighting, id edgeagent.ID, at, now time.Time) []sighting {
	for len(seen) > 0 && now.Sub(seen[0].at) > relatedWindow {
		seen = seen[1:]
	}
	return slide(seen, sighting{id, at}, maxSighted)
}

// slide appends to a slice that keeps the last ones. It never changes what the
// slice held before, which is what a batch goes back to and what readers see; what
// lies behind its end is nobody's, for there is only one that goes on from it.
func slide[T any](all []T, v T, most int) []T { return append(all[max(0, len(all)-most+1):], v) }

// jobCounts returns the counts as the page shows them.
func (w *working) jobCounts() edgeagent.JobCounts {
	return edgeagent.JobCounts{
		Pending:   w.counts[edgeagent.JobPending],
		Running:   w.counts[edgeagent.JobRunning],
		Completed: w.counts[edgeagent.JobCompleted],
		Failed:    w.counts[edgeagent.JobFailed],
		Discarded: w.counts[edgeagent.JobDiscarded],
	}
}
