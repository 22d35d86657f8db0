package queue_test

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// olderFile unpacks a data file that version 0.1.0 has written.
func olderFile(t *testing.T) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "schema-1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := dataFile(t)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOlderFileIsUpgraded(t *testing.T) {
	path := olderFile(t)
	if err := queue.CheckFile(path); err != nil {
		t.Fatalf("an older file counts as damaged: %v", err)
	}
	db := open(t, forAges(options(path)))
	if s := db.Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("storage = %+v, want nothing said: nothing is lost", s)
	}
	if got := db.JobCounts(); got.Completed != 1 || got.Pending != 2 {
		t.Errorf("jobs = %+v, want 1 completed, 2 pending: one of them was running", got)
	}
	open := db.OpenAlarms()
	if len(open) != 3 || open[0].Hint == nil || open[0].Hint.Summary != "check P1" || open[2].AckedBy != "erika" {
		t.Errorf("open alarms = %+v", open)
	}
	done := jobs(t, db, edgeagent.JobCompleted)[0]
	if done.Line != "Filler-2" || done.Diagnosis.Summary != "dirty lens" || done.Feedback.FixedBy != "wiped" || len(done.Timeline) != 4 {
		t.Errorf("completed job = %+v", done)
	}
	if id, hash, ok := db.ByKey("key"); !ok || id != open[1].ID || hash != "body" {
		t.Errorf("ByKey = %s, %s, %v", id, hash, ok)
	}
	if b := db.Backlog("historian"); b.Confirmed != 1 || b.Parked != 1 {
		t.Errorf("backlog = %+v, want 1 confirmed and 1 parked", b)
	}
	l := lease(t, db) // the one that was running, or the one that had to wait an hour: the file is older by now
	if l.Case.First().Alarm.Code != "P1" {
		l = lease(t, db)
	}
	if l.Case.First().Alarm.Code != "P1" || l.Case.First().Alarm.Hint == nil || l.Case.First().Evidence == nil || l.Case.Line != "Packer-1" {
		t.Errorf("case = %+v, want the frozen one with hint and evidence", l.Case)
	}
	if err := db.Complete(t.Context(), l, answer("loose belt")); err != nil {
		t.Error(err)
	}
}

func TestUpgradedFileStaysUpgraded(t *testing.T) {
	path := olderFile(t)
	for range 2 {
		db := open(t, forAges(options(path)))
		if got := len(jobs(t, db, "")); got != 3 {
			t.Errorf("%d jobs, want 3", got)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := queue.CheckFile(path); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(path + ".new"); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestDamagedOlderFileIsSetAside(t *testing.T) {
	path := olderFile(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, flip(whole, "Level sensor"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, forAges(options(path)))
	if s := db.Storage(); s.State != edgeagent.StorageSalvaged {
		t.Errorf("storage = %+v, want salvaged", s)
	}
}

// A file without a journal gets one with its first commit, and from then on says
// so: what is in the journal does not exist for an older version.
func TestFileWithoutAJournalIsMarkedWithTheFirstFrame(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	record(t, db, raise("L", "A1", 2))
	if err := errors.Join(db.Close(), queue.MakeUnjournaled(path), os.Remove(path+".journal")); err != nil {
		t.Fatal(err)
	}
	db = open(t, options(path))
	record(t, db, raise("M", "A2", 2))
	record(t, db, raise("N", "A3", 2))
	killed := copyOf(t, path)
	if v, err := queue.Schema(killed); err != nil || v != 4 {
		t.Errorf("schema %d, %v, want 4 as soon as there are frames", v, err)
	}
	if got := len(open(t, options(killed)).OpenAlarms()); got != 3 {
		t.Errorf("%d alarms, want 3", got)
	}
}

// One that has a journal already, with nothing in it, gets no frame before it says
// so either; and commands that only read need no agent to have been started.
func TestFileOfAnOlderPackingIsMarkedBeforeItsNextFrame(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	record(t, db, raise("L", "A1", 2))
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	older := copyOf(t, path)
	if err := queue.MakeOlder(older); err != nil {
		t.Fatal(err)
	}
	r, err := queue.OpenReader(t.Context(), older)
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		t.Errorf("read without an agent: %v", err)
	}
	db = open(t, options(older))
	record(t, db, raise("M", "A2", 2))
	killed := copyOf(t, older)
	if v, err := queue.Schema(killed); err != nil || v != 4 {
		t.Errorf("schema %d, %v, want 4 before there are frames", v, err)
	}
	if got := len(open(t, options(killed)).OpenAlarms()); got != 2 {
		t.Errorf("%d alarms, want 2", got)
	}
}

// copyOf is a file with its journal as a kill leaves them.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	to := dataFile(t)
	for _, suffix := range []string{"", ".journal"} {
		whole, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, whole, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}
