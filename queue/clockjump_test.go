package queue_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

const year = 365 * 24 * time.Hour

// Where the clock of a box without a battery may be before a restart and after
// it. A bubble begins in the year 2000.
var clockJumps = []struct {
	name          string
	before, after time.Duration
}{
	{"from 1970 to now", 0, 56 * year},
	{"back to 1970", 56 * year, 0},
	{"an hour back", 2 * time.Hour, time.Hour},
	{"an hour back over midnight", 24*time.Hour + 10*time.Minute, 23*time.Hour + 10*time.Minute},
	{"ten years on", year, 11 * year},
	{"ten years back", 11 * year, year},
}

// at runs in a time of its own.
func at(t *testing.T, since2000 time.Duration, do func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(since2000)
		do(t)
	})
}

// jumped are the jobs of a plant before its clock jumps.
type jumped struct {
	done, running, delayed, waiting edgeagent.ID
	over                            edgeagent.ID   // the alarm of the job that is done
	flooded                         []edgeagent.ID // alarms of the line that raises much
}

func (j jumped) open() []edgeagent.ID {
	return []edgeagent.ID{j.running, j.delayed, j.waiting}
}

func jumpOptions(path string) queue.Options {
	o := options(path)
	o.GroupWindow, o.FloodWindow, o.DailyCapUSD = 20*time.Second, 10*time.Minute, 0.10
	return o
}

// beforeJump leaves a job in every state, and today's cap spent.
func beforeJump(t *testing.T, path string) (j jumped) {
	o := jumpOptions(path)
	o.BootID = "boot-before"
	db := open(t, o)
	next := func(line string) (edgeagent.Alarm, edgeagent.Lease) {
		a := record(t, db, raise(line, "A1", 2))[0]
		time.Sleep(o.GroupWindow)
		return a, lease(t, db)
	}
	a, l := next("Done")
	if err := db.Reserve(l.Job, 0.10); err != nil {
		t.Fatal(err)
	}
	db.Settle(l.Job, 0.10, 0.10)
	if err := db.Complete(t.Context(), l, answer("dirty lens")); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a.State, a.ClearedAt, a.Revision = edgeagent.AlarmNormal, &now, 2
	record(t, db, edgeagent.Transition{Kind: edgeagent.TransitionCleared, At: now, Alarm: a})
	j.done, j.over = a.Job, a.ID
	a, l = next("Delayed")
	if err := db.Retry(t.Context(), l, edgeagent.Outcome{}, edgeagent.NewNote("busy", "busy"), 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	j.delayed = a.Job
	a, _ = next("Running")
	j.running = a.Job
	j.waiting = record(t, db, raise("Flood", "W0", 2))[0].Job
	for i := range 15 {
		j.flooded = append(j.flooded, record(t, db, raise("Flood", fmt.Sprint("W", i+1), 2))[0].ID)
	}
	return j
}

// Whatever the clock says after a restart, every job comes, once, and no later
// than it had to wait; nothing that was kept is deleted.
func TestNoJumpOfTheClockLosesHidesOrRepeatsAJob(t *testing.T) {
	for _, c := range clockJumps {
		t.Run(c.name, func(t *testing.T) {
			path := dataFile(t)
			var j jumped
			at(t, c.before, func(t *testing.T) { j = beforeJump(t, path) })
			at(t, c.after, func(t *testing.T) { afterJump(t, path, j) })
		})
	}
}

func afterJump(t *testing.T, path string, j jumped) {
	db := open(t, jumpOptions(path))
	begin := time.Now()
	if err := db.AgentStarted(t.Context(), nil); err != nil { // a commit, on which tidying rides
		t.Fatal(err)
	}
	if counts := db.JobCounts(); counts.Pending != 3 || counts.Completed != 1 {
		t.Fatalf("jobs after the jump: %+v, want three that wait and one that is completed", counts)
	}
	var came []edgeagent.ID
	for len(came) < 3 {
		ready, some := db.NextReady()
		if !some {
			t.Fatalf("%d of 3 jobs came, and none is to come", len(came))
		}
		time.Sleep(time.Until(ready))
		if waited := time.Since(begin); waited > 10*time.Minute {
			t.Fatalf("the next job comes after %v, want all within the ten minutes that the longest had to wait", waited)
		}
		l, err := db.Lease(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if l == nil {
			continue
		}
		came = append(came, l.Job)
		if err := db.Complete(t.Context(), *l, answer("found")); err != nil {
			t.Fatal(err)
		}
	}
	if want := j.open(); !sameIDs(came, want) {
		t.Errorf("%v came, want %v, each once", came, want)
	}
	if got := job(t, db, j.done); got.State != edgeagent.JobCompleted || got.Diagnosis == nil {
		t.Errorf("the job that was completed is %+v", got)
	}
	for _, id := range append(j.flooded, j.over) {
		if _, err := db.Alarm(id); err != nil {
			t.Errorf("alarm %s: %v", id, err)
		}
	}
	lateAlarm(t, db)
}

// lateAlarm raises on the line of the flood, whose memory must not hide the job
// for longer than the flood's window.
func lateAlarm(t *testing.T, db *queue.DB) {
	begin := time.Now()
	a := record(t, db, raise("Flood", "LATE", 1))[0]
	ready, some := db.NextReady()
	if wait := ready.Sub(begin); a.Job == "" || !some || wait > 10*time.Minute {
		t.Errorf("the job of the next alarm waits %v (%v), want at most the flood's window", wait, some)
	}
}

func sameIDs(x, y []edgeagent.ID) bool {
	x, y = slices.Clone(x), slices.Clone(y)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// The day that money is counted by does not come back: its cap was unspent.
func TestNoJumpOfTheClockGivesTheCapAgain(t *testing.T) {
	path := dataFile(t)
	const spent = 24*time.Hour + 10*time.Minute // ten past midnight
	at(t, spent, func(t *testing.T) { beforeJump(t, path) })
	at(t, spent-time.Hour, func(t *testing.T) {
		db := open(t, jumpOptions(path))
		if err := db.Reserve("next", 0.05); err == nil {
			t.Errorf("an hour back, %+v, and the cap is there again", db.Spend())
		}
		time.Sleep(2 * time.Hour)
		if err := db.Reserve("next", 0.05); err == nil {
			t.Error("the clock is past midnight again, and so is the cap")
		}
		time.Sleep(24 * time.Hour)
		if err := db.Reserve("next", 0.05); err != nil {
			t.Errorf("the day after: %v, want a cap of its own", err)
		}
	})
}
