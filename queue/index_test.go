package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"edgeagent"
)

const indexJobs = 4000

// waitingJobs opens a data file with jobs that wait, each of a line of its own, of
// alarms that are over.
func waitingJobs(t *testing.T) (db *DB, jobs []edgeagent.ID) {
	t.Helper()
	db, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "agent.db"), BootID: "boot-1", Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	for n := 0; n < indexJobs; n += 500 {
		var ts []edgeagent.Transition
		for i := n; i < n+500; i++ {
			now := time.Now()
			a := edgeagent.Alarm{
				ID: edgeagent.NewID(now), Device: "filler", Line: fmt.Sprint("Line ", i), Code: "F212", Text: "Level sensor unstable",
				Origin: edgeagent.OriginTag, Priority: 2, State: edgeagent.AlarmNormal, RaisedAt: now.Add(-time.Hour), ClearedAt: &now,
				Diagnose: true, Revision: 1,
			}
			ts = append(ts, edgeagent.Transition{Kind: edgeagent.TransitionRaised, At: a.RaisedAt, Alarm: a})
		}
		stored, err := db.Record(t.Context(), ts)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range stored {
			jobs = append(jobs, a.Job)
		}
	}
	return db, jobs
}

// indexed returns what memory takes to know of the objects of the file, in bytes a job.
func indexed(t *testing.T, db *DB) (bytes int, w *working) {
	t.Helper()
	var before, after runtime.MemStats
	if err := db.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a sync.Pool gives up what it has with the second one
		runtime.GC()
	}
	runtime.ReadMemStats(&before)
	w = newWorking()
	if err := db.viewing("index", w.loadObjects); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / indexJobs, w
}

// A gateway of a small plant has to live with what a week without a network has
// left: a hundred thousand jobs within 20 MB. What is over is on disk alone, but
// for the name of the alarm.
func TestWhatWaitsTakesLittleMemoryAndWhatIsOverNone(t *testing.T) {
	db, jobs := waitingJobs(t)
	waiting, w := indexed(t, db)
	if n := len(w.ready.all) + len(w.delayed.all); n != indexJobs || len(w.groups) != indexJobs {
		t.Fatalf("%d jobs wait and %d lines have one, want %d", n, len(w.groups), indexJobs)
	}
	if waiting > 208 {
		t.Errorf("a job that waits takes %d bytes of memory, want at most 208", waiting)
	}
	discardAll(t, db, jobs)
	over, w := indexed(t, db)
	if n := len(w.ready.all) + len(w.delayed.all) + len(w.groups); n != 0 || w.counts[edgeagent.JobDiscarded] != indexJobs {
		t.Fatalf("%d jobs wait and %d are discarded, want none and all", n, w.counts[edgeagent.JobDiscarded])
	}
	if over > 96 { // 32 of a name and its last activation, in a map that is half full
		t.Errorf("a job that is over takes %d bytes of memory, its alarm's name included, want at most 96", over)
	}
	t.Logf("%d bytes for a job that waits, %d for one that is over", waiting, over)
}

func discardAll(t *testing.T, db *DB, jobs []edgeagent.ID) {
	t.Helper()
	const hands = 100
	errs := make([]error, hands)
	var all sync.WaitGroup
	for hand := range hands {
		all.Go(func() {
			for i := hand; i < len(jobs); i += hands {
				errs[hand] = errors.Join(errs[hand], db.Discard(context.WithoutCancel(t.Context()), jobs[i], "maria", "drill"))
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// What is loaded is what was in memory before, whatever order it came in.
func TestLoadingFindsWhatWasInMemory(t *testing.T) {
	db, jobs := waitingJobs(t)
	discardAll(t, db, jobs[:indexJobs/2])
	_, w := indexed(t, db)
	err := db.do(t.Context(), "compare", func(b *batch) error {
		if !maps.Equal(w.groups, b.w.groups) || !maps.Equal(w.raised, b.w.raised) || !maps.Equal(w.counts, trimmed(b.w.counts)) {
			t.Errorf("%d lines with a job, %d names, %v, want %d, %d, %v",
				len(w.groups), len(w.raised), w.counts, len(b.w.groups), len(b.w.raised), b.w.counts)
		}
		for now := time.Now(); ; {
			was, some := b.w.front(now)
			is, found := w.front(now)
			if some != found || was.id != is.id || was.priority != is.priority || was.notBefore != is.notBefore {
				t.Errorf("the next job is %v, want %v", is, was)
			}
			if !some || !found {
				return nil
			}
			b.unschedule(was.id.id())
			w.unschedule(is.id)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if cap(db.work.ready.all) > leastEntries {
		t.Errorf("memory for %d jobs is held when none waits, want for %d at most", cap(db.work.ready.all), leastEntries)
	}
}

// trimmed leaves out the states that no job is in.
func trimmed(counts map[edgeagent.JobState]int) map[edgeagent.JobState]int {
	counts = maps.Clone(counts)
	maps.DeleteFunc(counts, func(_ edgeagent.JobState, n int) bool { return n == 0 })
	return counts
}

// A batch that is taken back leaves a map as it was, also one that was made
// smaller meanwhile.
func TestSheddingIsTakenBackToo(t *testing.T) {
	db := newDB(Options{Path: filepath.Join(t.TempDir(), "agent.db")}.withDefaults(), nil)
	db.work = newWorking()
	b := &batch{db: db, w: db.work}
	w := b.w
	for n := range groupKey(3 * leastEntries) {
		w.groups[n] = rawID{1: byte(n)}
	}
	shed(b, &w.groups, &w.most.groups)
	was := maps.Clone(w.groups)
	for n := range groupKey(3*leastEntries - 5) {
		remove(b, w.groups, n)
	}
	shed(b, &w.groups, &w.most.groups)
	set(b, w.groups, 7, rawID{2: 7})
	if len(w.groups) != 6 || w.most.groups != 5 {
		t.Errorf("%d groups, %d at most, want 6 and 5", len(w.groups), w.most.groups)
	}
	b.rollback(0)
	if !maps.Equal(w.groups, was) {
		t.Errorf("%d groups after all was taken back, want the %d of before", len(w.groups), len(was))
	}
}

// Two lines whose keys in memory are the same do not share a job.
func TestLinesWithOneKeyDoNotShareAJob(t *testing.T) {
	db, jobs := waitingJobs(t)
	now := time.Now()
	a := edgeagent.Alarm{
		ID: edgeagent.NewID(now), Device: "filler", Line: "Another line", Code: "F212", Priority: 2,
		State: edgeagent.AlarmUnacked, RaisedAt: now, Diagnose: true, Revision: 1,
	}
	err := db.do(t.Context(), "let keys collide", func(b *batch) error {
		set(b, b.w.groups, groupOf(a).key(), rawOf(jobs[0]))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := db.Record(t.Context(), []edgeagent.Transition{{Kind: edgeagent.TransitionRaised, At: now, Alarm: a}})
	if err != nil {
		t.Fatal(err)
	}
	if stored[0].Job == "" || stored[0].Job == jobs[0] {
		t.Errorf("the alarm of another line has job %q, want one of its own", stored[0].Job)
	}
	j, err := db.Job(stored[0].Job)
	if err != nil || len(j.Alarms) != 1 || j.Line != a.Line {
		t.Errorf("job = %+v, %v, want one with its alarm alone", j, err)
	}
}
