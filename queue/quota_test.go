package queue_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// tryRecord records one alarm of a line of its own.
func tryRecord(t *testing.T, db *queue.DB, n, priority int) (edgeagent.Alarm, error) {
	t.Helper()
	out, err := db.Record(t.Context(), []edgeagent.Transition{raise(fmt.Sprint("L", n), "A", priority)})
	if err != nil {
		return edgeagent.Alarm{}, err
	}
	return out[0], nil
}

// fillUntil records alarms of a priority until stop says so, and returns them.
func fillUntil(t *testing.T, db *queue.DB, priority int, stop func(edgeagent.Alarm, error) bool) (all []edgeagent.Alarm) {
	t.Helper()
	for n := range 5000 {
		a, err := tryRecord(t, db, priority*10_000+n, priority)
		if stop(a, err) {
			return all
		}
		if err != nil {
			t.Fatalf("alarm %d of priority %d: %v", n, priority, err)
		}
		all = append(all, a)
	}
	t.Fatalf("5000 alarms of priority %d and no end", priority)
	return nil
}

// Whoever reads that the file is full reads what to do, in numbers that mean
// something.
func TestAFullFileSaysWhatToDo(t *testing.T) {
	o := options(dataFile(t))
	o.MaxSize = 1 // as a disk without any room
	db := open(t, o)
	_, err := tryRecord(t, db, 1, 2)
	if !errors.Is(err, edgeagent.ErrFull) || strings.Contains(err.Error(), "of 1;") || !strings.Contains(err.Error(), "KiB in use; free the disk") {
		t.Errorf("record = %v, want what is in use and what to do", err)
	}
	if s := db.Storage(); !strings.Contains(s.Error, "free the disk") || strings.Contains(s.Error, "full") {
		t.Errorf("storage says %q, want what to do: the state says that it is full", s.Error)
	} else if strings.HasPrefix(s.Error, "they ") {
		t.Errorf("storage says %q: behind the state alone, as the command line and the system page have it, nobody knows who", s.Error)
	}
}

func refused(a edgeagent.Alarm, err error) bool { return err == nil && a.Job == "" }

func TestAFileThatFillsUpRefusesTheLeastUrgentFirst(t *testing.T) {
	o := options(dataFile(t))
	o.MaxSize = 2 << 20
	db := open(t, o)
	low := fillUntil(t, db, 4, refused)
	if s := db.Storage(); s.State != edgeagent.StorageOK || !strings.Contains(s.Refusing, "priority 3 and 4") || s.JobsRefused != 1 {
		t.Errorf("storage = %+v after %d alarms of priority 4, want that low priorities are refused", s, len(low))
	}
	if a, err := tryRecord(t, db, 1, 3); err != nil || a.Job != "" || a.Hint == nil {
		t.Errorf("priority 3 = %+v, %v, want the alarm with its hint and without a job", a, err)
	}
	middle := fillUntil(t, db, 2, refused)
	if s := db.Storage(); len(middle) == 0 || !strings.Contains(s.Refusing, "only alarms of priority 1") || s.JobsRefused != 3 {
		t.Errorf("storage = %+v after %d alarms of priority 2, want only priority 1 taken", s, len(middle))
	}
	bare := fillUntil(t, db, 3, func(_ edgeagent.Alarm, err error) bool { return errors.Is(err, edgeagent.ErrFull) })
	if s := db.Storage(); len(bare) == 0 || s.State != edgeagent.StorageFull {
		t.Errorf("storage = %+v after %d alarms without a job, want full", s, len(bare))
	}
	first, err := tryRecord(t, db, 2, 1)
	if err != nil || first.Job == "" {
		t.Fatalf("priority 1 = %+v, %v, want it taken by a full file", first, err)
	}
	if l := lease(t, db); l.Job != first.Job {
		t.Errorf("leased %s, want the alarm of priority 1 first", l.Job)
	}
	for _, a := range append(append(low, middle...), bare...) {
		if _, err := db.Alarm(a.ID); err != nil {
			t.Errorf("an alarm that was taken is gone: %v", err)
		}
	}
}

func TestAFullFileFinishesWhatItTookAndLetsPeopleAct(t *testing.T) {
	o := options(dataFile(t))
	o.MaxSize = 1 << 20
	db := open(t, o)
	full := func(_ edgeagent.Alarm, err error) bool { return errors.Is(err, edgeagent.ErrFull) }
	taken := fillUntil(t, db, 2, full)
	seen := edgeagent.Transition{Kind: edgeagent.TransitionAcked, At: time.Now(), Alarm: taken[0]}
	seen.Alarm.State, seen.Alarm.AckedBy, seen.Alarm.Revision = edgeagent.AlarmAcked, "kim", 2
	if _, err := db.Record(t.Context(), []edgeagent.Transition{seen}); err != nil {
		t.Errorf("acknowledge on a full file: %v", err)
	}
	if err := db.Discard(t.Context(), taken[1].Job, "kim", "known"); err != nil {
		t.Errorf("discard on a full file: %v", err)
	}
	for n := db.JobCounts().Pending; n > 0; n-- {
		o := answer("x")
		o.Raw = huge[:6<<10]
		if err := db.Complete(t.Context(), lease(t, db), o); err != nil {
			t.Fatalf("%d jobs from the end, one that was taken cannot be completed: %v", n, err)
		}
	}
	wholeStream(t, db, edgeagent.StreamDiagnosis)
}

func TestBulkyBodiesOfFinishedJobsMakeRoom(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.MaxSize, o.Destinations = 2<<20, nil
		db := open(t, o)
		var first edgeagent.Alarm
		for n := range 250 { // of 16 KiB each: twice what the file takes
			a, err := tryRecord(t, db, n, 3)
			if err != nil || a.Job == "" {
				t.Fatalf("alarm %d = %+v, %v, storage %+v: finished jobs made no room", n, a.Job, err, db.Storage())
			}
			if first.ID == "" {
				first = a
			}
			out := answer("x")
			out.Raw = noise(n, 16<<10)
			if err := db.Complete(t.Context(), lease(t, db), out); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if j := job(t, db, first.Job); j.Diagnosis == nil || len(j.Calls) != 1 || len(j.Alarms) != 1 {
			t.Errorf("the first job has lost more than its bulk: %+v", j)
		}
		if e, err := db.Evidence(first.ID); e != nil || err != nil {
			t.Errorf("evidence of the first alarm = %v, %v, want it gone", e, err)
		}
	})
}

// noise is text that nothing can make shorter.
func noise(seed, n int) string {
	var s strings.Builder
	x := uint32(seed)*2654435761 + 1
	for s.Len() < n {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		fmt.Fprintf(&s, "%08x", x)
	}
	return s.String()
}

func TestTheReserveFollowsTheOpenJobs(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	reserve := func() int64 {
		t.Helper()
		info, err := os.Stat(path + ".reserve")
		if err != nil || info.Size() != db.Storage().ReserveBytes {
			t.Fatalf("the reserve is %v, %v, and is said to be %d bytes", info, err, db.Storage().ReserveBytes)
		}
		return info.Size()
	}
	if got := reserve(); got != 1<<20 {
		t.Errorf("%d bytes are held back without a job, want 1 MiB", got)
	}
	const lines = 800
	ups := make([]edgeagent.Transition, lines)
	for n := range ups {
		ups[n] = raise(fmt.Sprint("L", n), "A", 2)
	}
	record(t, db, ups...)
	if got := reserve(); got < lines*8<<10 {
		t.Errorf("%d bytes are held back for %d jobs, want 8 KiB each", got, lines)
	}
	for range lines {
		if err := db.Discard(t.Context(), lease(t, db).Job, "kim", "test"); err != nil {
			t.Fatal(err)
		}
	}
	if got := reserve(); got > 6<<20 {
		t.Errorf("%d bytes are held back though all jobs are over", got)
	}
}

func TestAnUnsetClockDeletesNothing(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	o.Retain = 24 * time.Hour
	var a edgeagent.Alarm
	synctest.Test(t, func(t *testing.T) { // in the year 2000
		db := open(t, o)
		a = record(t, db, raise("L", "A", 2))[0]
		if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
			t.Fatal(err)
		}
		over := edgeagent.Transition{Kind: edgeagent.TransitionCleared, At: time.Now(), Alarm: a}
		over.Alarm.State, over.Alarm.ClearedAt, over.Alarm.Revision = edgeagent.AlarmNormal, &over.At, 2
		record(t, db, over)
	})
	db := open(t, o) // and a quarter of a century later
	for n := range 5 {
		record(t, db, raise("Z", fmt.Sprint("TICK", n), 4))
	}
	if _, err := db.Job(a.Job); err != nil {
		t.Errorf("a job of before the jump: %v", err)
	}
	if _, err := db.Alarm(a.ID); err != nil {
		t.Errorf("an alarm of before the jump: %v", err)
	}
}
