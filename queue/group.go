package queue

import (
	"errors"
	"fmt"
	"time"

	"edgeagent"
)

// assignJob puts an alarm into the job of its group, or opens one.
func (b *batch) assignJob(a *edgeagent.Alarm, at time.Time, told *edgeagent.Evidence) error {
	g := groupOf(*a)
	set(b, b.w.flood, g, b.w.flood[g].raise(b.now))
	if id, open := b.w.groups[g.key()]; open {
		j, err := b.joinable(id)
		switch {
		case errors.Is(err, errDamaged):
			b.o.Log.Error("a job cannot be read and is joined by no alarm", "job", id.id(), "error", err)
		case err != nil:
			return err
		case j.Group == g:
			return b.join(j, a, at, told)
		}
	}
	return b.open(g, a, at, told)
}

// joinable returns a job that alarms may join.
func (b *batch) joinable(id rawID) (job, error) {
	if j, joined := b.w.joined[id]; joined {
		return *j, nil
	}
	return b.job(id.id())
}

func groupOf(a edgeagent.Alarm) group {
	return group{Line: a.Line, Agent: a.Origin == edgeagent.OriginAgent}
}

// open makes a job. When it becomes ready is fixed by its first alarm: a line
// that keeps raising must not keep its diagnosis waiting.
func (b *batch) open(g group, a *edgeagent.Alarm, at time.Time, told *edgeagent.Evidence) error {
	j := job{id: edgeagent.NewID(b.now)}
	j.Group = g
	j.State, j.Priority, j.MaxAttempts = edgeagent.JobPending, a.Priority, b.o.MaxAttempts
	j.Created, j.NotBefore, j.Wait = b.now, at.Add(b.o.GroupWindow), b.o.GroupWindow
	if wait := b.w.flood[g].wait(b.now, b.o.FloodWindow); wait > j.Wait && a.Priority > mostUrgent {
		j.NotBefore, j.Wait = b.now.Add(wait), wait
	}
	set(b, b.w.flood, g, b.w.flood[g].open(b.now))
	set(b, b.w.groups, g.key(), rawOf(j.id))
	a.Job = j.id
	if len(b.w.opened) < maxOpened {
		set(b, b.w.opened, j.id, opened{}.with(a.ID, told))
	}
	return b.noteAlarm(&j, "opened", a)
}

// join adds an alarm to a job that was not leased yet.
func (b *batch) join(j job, a *edgeagent.Alarm, at time.Time, told *edgeagent.Evidence) error {
	j.Priority = min(j.Priority, a.Priority)
	if soon := at.Add(b.o.GroupWindow); a.Priority == mostUrgent && soon.Before(j.NotBefore) {
		j.NotBefore, j.Wait = soon, b.o.GroupWindow // no flood keeps it waiting
	}
	a.Job = j.id
	if o, known := b.w.opened[j.id]; known && len(o.alarms) < maxOpenedAlarms {
		set(b, b.w.opened, j.id, o.with(a.ID, told))
	} else if known {
		remove(b, b.w.opened, j.id)
	}
	return b.noteAlarm(&j, "joined", a)
}

// noteAlarm notes that an alarm came in. The timeline is the only place that says
// which alarms a job has.
func (b *batch) noteAlarm(j *job, what string, a *edgeagent.Alarm) error {
	line, ok := appendNoted(b.told[:0], b.now, what, a)
	b.told = line
	return b.enter(j, line, ok)
}

// appendNoted appends such a line, and reports whether JSON knows its time.
//
//	noted   at   event   the alarm's id in 16 bytes   its name   its text
func appendNoted(out []byte, at time.Time, what string, a *edgeagent.Alarm) ([]byte, bool) {
	id := rawOf(a.ID)
	q := quill{out: append(out, noted)}
	q.time(at)
	q.text(what)
	q.out = append(q.out, id[:]...)
	q.text(a.Name())
	q.text(a.Text)
	return q.out, !q.odd
}

// noted is the first byte of a line of the timeline that says which alarm came in:
// every raise has such a line. Others are JSON, packed if that is shorter.
const noted = 6

// readNoted returns the JSON of what appendNoted has written. Its only error is damage.
func readNoted(body []byte) ([]byte, error) {
	r := lens{in: body[1:]}
	at, what, id := r.time(), r.text(), rawID{}
	copy(id[:], r.take(uint64(len(id))))
	text := r.text() + ": " + r.text()
	s := scribe{}
	s.entry(&edgeagent.TimelineEntry{At: at, Event: what, Detail: edgeagent.NewNote("alarm", text, paramAlarm, string(id.id()))})
	if r.err != nil || len(r.in) > 0 || s.odd {
		return nil, fmt.Errorf("line of the timeline of %d bytes: %w", len(body), errDamaged)
	}
	return s.out, nil
}

const paramAlarm = "alarm"

// note adds a line to a job's timeline and stores the header.
func (b *batch) note(j *job, what string, detail *edgeagent.Note) error {
	line := edgeagent.TimelineEntry{At: b.now, Event: what, Detail: detail}
	body, ok := packWritten(func(s *scribe) { s.entry(&line) })
	return b.enter(j, body, ok)
}

// enter does so for a line as it is stored, if it could be written.
func (b *batch) enter(j *job, body []byte, ok bool) error {
	if !ok {
		return fmt.Errorf("write the timeline: %v is no time that JSON knows", b.now)
	}
	if err := b.put(bucketBodies, numbered(j.id, partTimeline, clampUint16(j.Entries)), 0, body); err != nil {
		return err
	}
	j.Entries++
	return b.putJob(j)
}

// putJob stores a header and brings memory in step with it.
func (b *batch) putJob(j *job) error {
	j.revision++
	if err := b.put(bucketJobs, string(j.id), j.revision, j.encode()); err != nil {
		return err
	}
	b.setJob(*j)
	j.was = j.State
	return nil
}

// setJob keeps memory in step: running jobs whole, pending ones as an entry.
func (b *batch) setJob(j job) {
	b.count(j)
	at, joined := b.w.joined[rawOf(j.id)]
	stays := joined && at.waitsLike(j.header)
	if j.was == edgeagent.JobPending && !stays {
		b.unschedule(j.id)
	}
	j.was = j.State
	switch {
	case j.Frozen || !unfinished(j.State):
		b.leaveGroup(j)
	case joined || len(b.w.joined) < maxJoined:
		now := j
		set(b, b.w.joined, rawOf(j.id), &now)
	}
	if j.State == edgeagent.JobRunning {
		set(b, b.w.running, j.id, j)
		return
	}
	if _, was := b.w.running[j.id]; was {
		remove(b, b.w.running, j.id)
	}
	if j.State == edgeagent.JobPending && !stays {
		b.schedule(j)
	}
}

// count brings the counts in step with what a job was and is.
func (b *batch) count(j job) {
	if j.was == j.State {
		return
	}
	if j.was != "" {
		set(b, b.w.counts, j.was, b.w.counts[j.was]-1)
	}
	set(b, b.w.counts, j.State, b.w.counts[j.State]+1)
}

// schedule makes a pending job findable.
func (b *batch) schedule(j job) {
	b.w.schedule(j, b.now)
	b.undoWith(func() { b.w.unschedule(rawOf(j.id)) })
	b.jobsWoken = true
}

func (b *batch) unschedule(id edgeagent.ID) {
	if e, found := b.w.unschedule(rawOf(id)); found {
		b.undoWith(func() { b.w.push(e, time.Now()) })
	}
}

// leaveGroup closes a job to further alarms.
func (b *batch) leaveGroup(j job) {
	key, id := j.Group.key(), rawOf(j.id)
	if b.w.groups[key] == id {
		remove(b, b.w.groups, key)
	}
	if _, joined := b.w.joined[id]; joined {
		remove(b, b.w.joined, id)
	}
	if _, known := b.w.opened[j.id]; known {
		remove(b, b.w.opened, j.id)
	}
}

func unfinished(s edgeagent.JobState) bool {
	return s == edgeagent.JobPending || s == edgeagent.JobRunning
}

// mostUrgent is the highest priority of an alarm.
const mostUrgent = 1

// groupFlood remembers the last raises of a group and when its last job was
// opened. More than floodAlarms in a flood window share one job per window: one
// cause is behind them, and no person reads fifty answers.
type groupFlood struct {
	raises []time.Time // the last floodAlarms+1
	opened time.Time
}

func (f groupFlood) raise(at time.Time) groupFlood {
	f.raises = slide(f.raises, at, floodAlarms+1)
	return f
}

func (f groupFlood) open(at time.Time) groupFlood {
	if at.After(f.opened) {
		f.opened = at
	}
	return f
}

// wait returns how long a new job has to wait: nothing, unless there is a flood
// and its last job is younger than the window.
func (f groupFlood) wait(now time.Time, window time.Duration) time.Duration {
	if len(f.raises) <= floodAlarms || now.Sub(f.raises[0]) >= window {
		return 0
	}
	return min(window, max(0, window-now.Sub(f.opened)))
}
