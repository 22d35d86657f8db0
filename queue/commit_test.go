package queue_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// held returns a function that lets the committer go on.
func held(t *testing.T, db *queue.DB) (release func()) {
	t.Helper()
	busy, free := make(chan struct{}), make(chan struct{})
	go func() {
		if err := db.Hold(t.Context(), busy, free); err != nil {
			t.Errorf("hold: %v", err)
		}
	}()
	<-busy
	return func() { close(free) }
}

func TestAHundredRecordsShareACommit(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		o := options(path)
		o.OnCommit = func(_ time.Duration, ops int) { sizes = append(sizes, ops) }
		db := open(t, o)
		sizes = nil // that of the open
		release := held(t, db)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { record(t, db, raise(fmt.Sprint("L", i), "A", 2)) })
		}
		synctest.Wait()
		release()
		all.Wait()
		if len(sizes) != 1 || sizes[0] != 101 {
			t.Errorf("commits of %v operations, want one of 100 and what held it", sizes)
		}
		if c := db.JobCounts(); c.Pending != 100 {
			t.Errorf("counts = %+v, want 100 pending", c)
		}
	})
}

func TestOneBadOperationNeverAbortsTheBatch(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		record(t, db, raise("L", "A0", 2))
		stale := lease(t, db)
		stale.Token = strings.Repeat("0", 32)
		release := held(t, db)
		var good, bad, half error
		var all sync.WaitGroup
		all.Go(func() { _, good = db.Record(t.Context(), []edgeagent.Transition{raise("L", "A1", 2)}) })
		all.Go(func() { bad = db.Complete(t.Context(), stale, answer("x")) })
		all.Go(func() { // its first transition is fine, its second is not: neither may be stored
			nameless := raise("L", "A3", 2)
			nameless.Alarm.ID = "no ulid"
			_, half = db.Record(t.Context(), []edgeagent.Transition{raise("M", "A2", 2), nameless})
		})
		synctest.Wait()
		release()
		all.Wait()
		if good != nil || !errors.Is(bad, edgeagent.ErrLeaseLost) || !errors.Is(half, edgeagent.ErrBadID) {
			t.Errorf("good %v, stale %v, half %v", good, bad, half)
		}
		if got := len(db.OpenAlarms()); got != 2 {
			t.Errorf("%d alarms, want the first and the good one", got)
		}
		if got := len(wholeStream(t, db, edgeagent.StreamAlarm)); got != 2 {
			t.Errorf("%d events, want 2", got)
		}
		if c := db.JobCounts(); c.Running != 1 || c.Pending != 1 {
			t.Errorf("counts = %+v, want one running and one pending", c)
		}
	})
}

func TestIdleWritesNothing(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		record(t, db, raise("L", "A1", 2))
		if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		commits := db.Storage().Commits
		for range 300 { // five minutes of everybody asking
			time.Sleep(time.Second)
			nothingReady(t, db)
			pending(t, db, "historian")
			db.Backlog("historian")
			db.Spend()
			jobs(t, db, "")
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := db.Storage().Commits; got != commits || string(before) != string(after) {
			t.Errorf("%d commits in five idle minutes, file changed: %v", got-commits, string(before) != string(after))
		}
	})
}

func TestFullFileRefusesLosesNothingAndGoesOn(t *testing.T) {
	db := open(t, options(dataFile(t)))
	accepted := []edgeagent.Alarm{record(t, db, raise("first", "A", 2))[0]}
	if err := db.Limit(t.Context(), int(db.Storage().FileBytes)); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		var out []edgeagent.Alarm
		up := raise(fmt.Sprint("L", i), "A", 2)
		up.Alarm.SourceText = strings.Repeat("x", 8<<10)
		if out, err = db.Record(t.Context(), []edgeagent.Transition{up}); err == nil {
			accepted = append(accepted, out...)
		}
	}
	if !errors.Is(err, edgeagent.ErrFull) {
		t.Fatalf("after %d alarms: %v, want ErrFull", len(accepted), err)
	}
	if s := db.Storage(); s.State != edgeagent.StorageFull {
		t.Errorf("storage = %+v, want full", s)
	}
	for _, a := range accepted {
		if _, err := db.Alarm(a.ID); err != nil {
			t.Errorf("an accepted alarm is gone: %v", err)
		}
	}
	if c := db.JobCounts(); c.Pending != len(accepted) {
		t.Errorf("counts = %+v, want %d pending: what was refused left a trace", c, len(accepted))
	}
	if err := db.Limit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for range accepted {
		if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
			t.Fatal(err)
		}
	}
	nothingReady(t, db)
	if s := db.Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("storage = %+v, want ok again", s)
	}
	wholeStream(t, db, edgeagent.StreamAlarm)
}

func TestJobThatCouldNotBeLeasedIsLeasedWhenSpaceIsBack(t *testing.T) {
	db := open(t, options(dataFile(t)))
	up := raise("L", "A", 2)
	up.Alarm.SourceText = huge // and so is its case
	a := record(t, db, up)[0]
	atLimit(t, db)
	if l, err := db.Lease(t.Context()); l != nil || !errors.Is(err, edgeagent.ErrFull) {
		t.Fatalf("lease = %v, %v, want ErrFull", l, err)
	}
	unlimited(t, db)
	if l := lease(t, db); l.Job != a.Job {
		t.Errorf("leased %s, want %s", l.Job, a.Job)
	}
}

func TestQuotaRefusesAlarmsAndStillTakesAnswers(t *testing.T) {
	o := options(dataFile(t))
	o.MaxSize = 64 << 10
	db := open(t, o)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = db.Record(t.Context(), []edgeagent.Transition{raise(fmt.Sprint("L", i), "A", 2)})
	}
	if !errors.Is(err, edgeagent.ErrFull) || db.Storage().State != edgeagent.StorageFull {
		t.Fatalf("record = %v, storage %+v, want full", err, db.Storage())
	}
	for n := db.JobCounts().Pending; n > 0; n-- {
		if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
			t.Fatalf("an accepted job cannot be completed: %v", err)
		}
	}
}

func TestDeadDiskEndsAllWriting(t *testing.T) {
	db := open(t, options(dataFile(t)))
	if err := db.Unplug(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}); err == nil {
		t.Fatal("what a dead disk did not take was acknowledged")
	}
	if _, known := db.LoadDevice("filler"); known {
		t.Error("what was never written is shown")
	}
	select {
	case <-db.Failed():
	default:
		t.Error("Failed is not closed")
	}
	if _, err := db.Lease(t.Context()); err == nil || !strings.Contains(err.Error(), "failed before") {
		t.Errorf("lease = %v, want that the file failed before", err)
	}
	if s := db.Storage(); s.Error == "" {
		t.Errorf("storage = %+v, want the error", s)
	}
}

// What is in the journal is answered before it is put where it is read: when that
// fails, the file has failed and nothing is lost.
func TestAnsweredIsKeptWhenItCannotBePutAway(t *testing.T) {
	o := options(dataFile(t))
	db := open(t, o)
	if err := db.Break(t.Context(), 'm'); err != nil {
		t.Fatal(err)
	}
	if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}); err != nil {
		t.Fatal(err)
	}
	<-db.Failed()
	if _, err := db.Lease(t.Context()); err == nil || !strings.Contains(err.Error(), "failed before") {
		t.Errorf("lease = %v, want that the file failed before", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, known := open(t, o).LoadDevice("filler"); !known {
		t.Error("what was answered is gone")
	}
}

func TestAReloadSilencesNothing(t *testing.T) {
	o := options(dataFile(t))
	var said bytes.Buffer
	commits := 0
	o.Log, o.OnCommit = slog.New(slog.NewTextHandler(&said, nil)), func(time.Duration, int) { commits++ }
	db := open(t, o)
	reloaded := options("elsewhere")
	reloaded.Agent = "other-gw"
	db.Configure(reloaded)
	commits = 0
	record(t, db, raise("L", "A", 2))
	if commits != 1 {
		t.Errorf("%d commits were told after a reload, want 1", commits)
	}
	if got := eventOf(t, pending(t, db, "historian")[0]).Source; got != "/plant-a/gw" {
		t.Errorf("source %s after a reload: another numbers this epoch", got)
	}
	if err := db.Unplug(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}) // refused, see above
	if !strings.Contains(said.String(), "can no longer be written") {
		t.Errorf("a dead disk after a reload says %q", said.String())
	}
}

func TestDamagedJobFailsAndHoldsUpNobody(t *testing.T) {
	db := open(t, options(dataFile(t)))
	bad := record(t, db, raise("L", "A1", 1))[0]
	good := record(t, db, raise("M", "A2", 3))[0]
	if err := db.Damage(t.Context(), bad.Job); err != nil {
		t.Fatal(err)
	}
	if l := lease(t, db); l.Job != good.Job {
		t.Errorf("leased %s, want the job that can be read", l.Job)
	}
	if _, err := db.Job(bad.Job); err == nil || errors.Is(err, edgeagent.ErrNotFound) {
		t.Errorf("the damaged job reads %v, want damage", err)
	}
	if c := db.JobCounts(); c.Failed != 1 || c.Running != 1 {
		t.Errorf("counts = %+v, want one failed and one running", c)
	}
	if got := wholeStream(t, db, edgeagent.StreamDiagnosis); len(got) != 1 || got[0].Type != edgeagent.EventJobFailed {
		t.Errorf("events = %+v, want job.failed", got)
	}
	if got := jobs(t, db, ""); len(got) != 1 {
		t.Errorf("%d jobs are listed, want the one that can be read", len(got))
	}
}

func TestDamagedEvidenceIsLeftOutAndSaid(t *testing.T) {
	db := open(t, options(dataFile(t)))
	a := record(t, db, raise("L", "A1", 1))[0]
	if err := db.Damage(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if c := lease(t, db).Case.Alarms; len(c) != 1 || len(c[0].Evidence.Gaps) != 1 {
		t.Errorf("case = %+v, want the alarm and a word about its evidence", c)
	}
	if _, err := db.Evidence(a.ID); err == nil || errors.Is(err, edgeagent.ErrNotFound) {
		t.Errorf("evidence = %v, want damage", err)
	}
}
