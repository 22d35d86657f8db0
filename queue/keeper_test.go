package queue_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// stormOn records so many raises on few lines, some at once.
func stormOn(t *testing.T, db *queue.DB, n int) (alarms []edgeagent.Alarm) {
	t.Helper()
	for i := range n {
		alarms = append(alarms, record(t, db, raise(fmt.Sprint("L", i%4), fmt.Sprint("A", i), 2))...)
	}
	return alarms
}

// amidACheckpoint is a data file whose keeper is at a checkpoint until release is
// closed, with commits from before it and from since.
func amidACheckpoint(t *testing.T, before, since int) (db *queue.DB, path string, alarms []edgeagent.Alarm, release chan struct{}) {
	t.Helper()
	path, release = dataFile(t), make(chan struct{})
	db = open(t, options(path))
	alarms = stormOn(t, db, before)
	if err := db.Occupy(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	return db, path, append(alarms, stormOn(t, db, since)...), release
}

func isThere(t *testing.T, db *queue.DB, alarms []edgeagent.Alarm) {
	t.Helper()
	for _, want := range alarms {
		if a, err := db.Alarm(want.ID); err != nil || a.Job != want.Job {
			t.Errorf("alarm %s: job %q, %v; want %q", want.ID, a.Job, err, want.Job)
		}
	}
	if got := len(wholeStream(t, db, edgeagent.StreamAlarm)); got != len(alarms) {
		t.Errorf("%d events of %d alarms", got, len(alarms))
	}
}

// A raise is answered while a checkpoint is under way, however long the disk takes
// for it; who reads waits, and then sees all that was answered.
func TestRaisesDoNotWaitForACheckpoint(t *testing.T) {
	db, _, alarms, release := amidACheckpoint(t, 8, 40)
	read := make(chan error)
	go func() {
		_, err := db.Alarm(alarms[len(alarms)-1].ID)
		read <- err
	}()
	close(release)
	if err := <-read; err != nil {
		t.Error(err)
	}
	isThere(t, db, alarms)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// The power goes during a checkpoint: what came before it and what came meanwhile
// lie in two parts of the journal, and none of it is lost.
func TestKilledAmidACheckpoint(t *testing.T) {
	db, path, alarms, release := amidACheckpoint(t, 8, 12)
	epoch, killed := db.Epoch(), asKilled(t, path)
	close(release)
	isThere(t, db, alarms)
	after := asKilled(t, path)
	for name, path := range map[string]string{"amid": killed, "amid, again": asKilled(t, killed), "after": after} {
		again := open(t, options(path))
		isThere(t, again, alarms)
		if s := again.Storage(); s.State != edgeagent.StorageOK || again.Epoch() != epoch {
			t.Errorf("%s: storage %+v, epoch %s; want ok and %s", name, s, again.Epoch(), epoch)
		}
		more := append(slices.Clip(alarms), stormOn(t, again, 3)...)
		isThere(t, open(t, options(asKilled(t, path))), more)
	}
}

// A commit from before the checkpoint is gone, those from since are there: that is
// damage, which is said, and what is whole is kept.
func TestAHoleBeforeACheckpointThatWasUnderWay(t *testing.T) {
	_, path, alarms, release := amidACheckpoint(t, 8, 12)
	defer close(release)
	killed := asKilled(t, path)
	journal := readFile(t, killed+".journal")
	clear(journal[framesOf(journal)[0]:][:4<<20]) // of the generation since; what is left is the one before
	before := framesOf(journal)
	journal = readFile(t, killed+".journal")
	clear(journal[before[3]:][:4096])
	if err := os.WriteFile(killed+".journal", journal, 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, options(killed))
	if s := db.Storage(); s.State != edgeagent.StorageSalvaged {
		t.Fatalf("storage = %+v, want salvaged", s)
	}
	there := 0
	for _, a := range alarms {
		if _, err := db.Alarm(a.ID); err == nil {
			there++
		}
	}
	if there != len(alarms)-1 {
		t.Errorf("%d of %d alarms are there, want all but one", there, len(alarms))
	}
}

// A checkpoint beside the committer finds no space: nothing that was answered is
// lost, over a kill neither, and all goes on when there is.
func TestNoSpaceForACheckpointBesideTheCommitter(t *testing.T) {
	path, release := dataFile(t), make(chan struct{})
	db := open(t, options(path))
	alarms := stormOn(t, db, 8)
	if err := db.LimitFile(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := db.Occupy(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	alarms = append(alarms, stormOn(t, db, 12)...)
	close(release)
	if err := db.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := db.Storage(); s.State != edgeagent.StorageFull {
		t.Errorf("storage = %+v, want full", s)
	}
	isThere(t, db, alarms)
	killed := asKilled(t, path)
	if err := db.LimitFile(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	more := stormOn(t, db, 2)
	if err := db.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := db.Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("storage = %+v, want ok", s)
	}
	isThere(t, db, append(slices.Clip(alarms), more...))
	isThere(t, open(t, options(killed)), alarms)
}

// The keeper puts a storm's batch while the disk syncs its frame. Nobody reads it
// before it is stored: a client that asks twice would be told that its alarm is there.
func TestNobodyReadsWhatIsNotStored(t *testing.T) {
	db := open(t, options(dataFile(t)))
	ups := make([]edgeagent.Transition, 40)
	for i := range ups {
		ups[i] = raise(fmt.Sprint("L", i%4), fmt.Sprint("A", i), 2)
	}
	begun, release := make(chan struct{}), make(chan struct{})
	if err := db.SlowSync(t.Context(), begun, release); err != nil {
		t.Fatal(err)
	}
	stored := make(chan error)
	go func() {
		_, err := db.Record(t.Context(), ups)
		stored <- err
	}()
	<-begun
	for range 100_000 { // for as long as it takes to put forty alarms, and much longer
		if runtime.Gosched(); db.Readable() {
			t.Error("the file can be read, and nobody knows yet whether the frame is stored")
			break
		}
	}
	close(release)
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	if _, err := db.Alarm(ups[39].Alarm.ID); err != nil {
		t.Error(err)
	}
}

// A journal that has no space for a storm's batch: what the keeper has put of it is
// taken out, and it goes straight into the data file.
func TestAStormThatTheJournalRefuses(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	alarms := stormOn(t, db, 4)
	if err := db.RefuseFrames(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	ups := make([]edgeagent.Transition, 40)
	for i := range ups {
		ups[i] = raise(fmt.Sprint("L", i%4), fmt.Sprint("B", i), 2)
	}
	more, err := db.Record(t.Context(), ups)
	if err != nil {
		t.Fatal(err)
	}
	alarms = append(alarms, more...)
	isThere(t, db, alarms)
	isThere(t, open(t, options(asKilled(t, path))), alarms)
	if err := errors.Join(db.RefuseFrames(t.Context(), true), db.LimitFile(t.Context(), 1)); err != nil {
		t.Fatal(err)
	}
	for i := range ups {
		ups[i] = raise(fmt.Sprint("L", i%4), fmt.Sprint("C", i), 2)
	}
	if _, err := db.Record(t.Context(), ups); !errors.Is(err, edgeagent.ErrFull) {
		t.Errorf("%v, want that it is full", err)
	}
	isThere(t, db, alarms)
	if err := errors.Join(db.LimitFile(t.Context(), 0), db.RefuseFrames(t.Context(), false)); err != nil {
		t.Fatal(err)
	}
	isThere(t, db, append(slices.Clip(alarms), stormOn(t, db, 3)...))
}

// After the file has failed in the keeper's hands nothing more is written to it: who
// waits for the keeper is refused.
func TestNothingIsWrittenAfterTheKeeperHasFailed(t *testing.T) {
	large := func(db *queue.DB) error {
		up := raise("L", "A", 2)
		up.Evidence.Gaps = []string{text(rand.New(rand.NewPCG(1, 2)), 1500<<10)} // more than the journal takes
		_, err := db.Record(t.Context(), []edgeagent.Transition{up})
		return err
	}
	backup := func(db *queue.DB) error { return db.Backup(func(int64) (io.Writer, error) { return io.Discard, nil }) }
	for name, write := range map[string]func(*queue.DB) error{"a large batch": large, "a backup": backup} {
		db, release := open(t, options(dataFile(t))), make(chan struct{})
		stormOn(t, db, 3)
		if err := db.FailBeside(t.Context(), release); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- write(db) }()
		close(release)
		if err := <-done; err == nil {
			t.Errorf("%s was written to a file that has failed", name)
		}
		<-db.Failed()
	}
}

// Where there is no journal, a full disk is a full disk.
func TestNoSpaceWithoutAJournal(t *testing.T) {
	path := dataFile(t)
	if err := os.MkdirAll(path+".journal/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	db := open(t, options(path))
	alarms := stormOn(t, db, 3)
	if err := db.LimitFile(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; err == nil && i < 2000; i++ {
		_, err = db.Record(t.Context(), []edgeagent.Transition{raise("M", fmt.Sprint("A", i), 2)})
	}
	if !errors.Is(err, edgeagent.ErrFull) {
		t.Errorf("%v, want that it is full", err)
	}
	if err := db.LimitFile(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	record(t, db, raise("N", "A", 2))
	if _, err := db.Alarm(alarms[0].ID); err != nil {
		t.Error(err)
	}
}

// The data file has lost a checkpoint with which a batch went straight into it: no
// frame has that batch, and it must not seem that nothing is missing.
func TestALostCheckpointShows(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	stormOn(t, db, 3)
	if err := db.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := readFile(t, path)
	up := raise("L", "large", 2)
	up.Evidence.Gaps = []string{text(rand.New(rand.NewPCG(1, 2)), 1500<<10)}
	record(t, db, up)
	record(t, db, raise("M", "A", 2))
	killed := asKilled(t, path)
	if err := os.WriteFile(killed, before, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := queue.CheckFile(killed); err == nil {
		t.Error("the check finds nothing wrong")
	}
	if s := open(t, options(killed)).Storage(); s.State != edgeagent.StorageSalvaged {
		t.Errorf("storage = %+v, want salvaged", s)
	}
}

// occupied opens a file whose disk hangs, after a storm, until it is released.
func occupied(t *testing.T, path string) (db *queue.DB, release chan struct{}) {
	t.Helper()
	db, release = open(t, options(path)), make(chan struct{})
	stormOn(t, db, 4)
	if err := db.Occupy(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	return db, release
}

// A disk that hangs in a checkpoint keeps nobody waiting for ever.
func TestACheckpointThatHangsIsSaid(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db, release := occupied(t, path)
		if err := db.Stalled(); err != nil {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(31 * time.Second)
		if _, _, err := db.Jobs(queue.JobFilter{}); !errors.Is(err, queue.ErrStalled) {
			t.Errorf("a list says %v", err)
		}
		close(release)
		synctest.Wait()
		if err := db.Rest(t.Context()); err != nil || db.Stalled() != nil {
			t.Errorf("when it answers: %v, %v", err, db.Stalled())
		}
	})
}

// The page is served a moment longer than the file is open.
func TestStorageOfAFileThatIsClosed(t *testing.T) {
	db := open(t, options(dataFile(t)))
	record(t, db, raise("L", "A", 2))
	before := db.Storage()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s := db.Storage(); s.FileBytes != before.FileBytes {
		t.Errorf("storage %+v, want the file as it is", s)
	}
}

// The sync of a storm's frame fails: until the agent has ended nobody is told that
// what was answered before is not there.
func TestNoAlarmVanishesWhenASyncFails(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	alarms := stormOn(t, db, 4)
	if err := db.FailSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	ups := make([]edgeagent.Transition, 40)
	for i := range ups {
		ups[i] = raise(fmt.Sprint("L", i%4), fmt.Sprint("B", i), 2)
	}
	if _, err := db.Record(t.Context(), ups); err == nil {
		t.Fatal("the storm was stored: this proves nothing")
	}
	<-db.Failed()
	for _, a := range alarms {
		if _, err := db.Alarm(a.ID); errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("alarm %s: %v", a.Code, err)
		}
	}
	again := open(t, options(asKilled(t, path)))
	for _, a := range alarms {
		if _, err := again.Alarm(a.ID); err != nil {
			t.Errorf("alarm %s after a restart: %v", a.Code, err)
		}
	}
}

// The file fails in the keeper's hands, and a raise that was answered meanwhile is
// not in what everybody reads: who asks for it is told that the file has failed.
func TestNoAlarmVanishesWhenTheKeeperFails(t *testing.T) {
	path, release := dataFile(t), make(chan struct{})
	db := open(t, options(path))
	if err := db.FailBeside(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	a := record(t, db, raise("L", "A", 2))[0]
	close(release)
	<-db.Failed()
	if _, err := db.Alarm(a.ID); err == nil || errors.Is(err, edgeagent.ErrNotFound) {
		t.Errorf("the alarm reads %v, want that the file has failed", err)
	}
	if _, err := open(t, options(asKilled(t, path))).Alarm(a.ID); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// Pages that are asked for while a disk hangs for hours leave nothing behind that waits.
func TestAPageOfADiskThatHangsLeavesNothingBehind(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db, release := occupied(t, path)
		time.Sleep(31 * time.Second)
		before := runtime.NumGoroutine()
		for range 100 {
			if _, _, err := db.Jobs(queue.JobFilter{}); !errors.Is(err, queue.ErrStalled) {
				t.Fatalf("a list says %v", err)
			}
		}
		if more := runtime.NumGoroutine() - before; more > 10 {
			t.Errorf("%d goroutines more after 100 pages", more)
		}
		close(release)
		synctest.Wait()
	})
}

// Nor a line in the log each: that is on the same card.
func TestAPageOfADiskThatHangsLogsNothing(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := options(path)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		db, release := open(t, o), make(chan struct{})
		stormOn(t, db, 4)
		if err := db.Occupy(t.Context(), release); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		log.Reset()
		for range 100 {
			if b := db.Backlog("historian"); b.Events == 0 || !b.Oldest.IsZero() {
				t.Fatalf("backlog = %+v: this proves nothing", b)
			}
		}
		if log.Len() > 0 {
			t.Errorf("logged %s…", log.String()[:min(log.Len(), 300)])
		}
		close(release)
		synctest.Wait()
	})
}
