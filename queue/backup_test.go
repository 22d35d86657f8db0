package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// busy records and completes alarms until stop is called, which returns those
// that were acknowledged.
func busy(t *testing.T, db *queue.DB) (stop func() map[edgeagent.ID]bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	taken := make(map[edgeagent.ID]bool)
	for w := range 3 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				out, err := db.Record(context.Background(), []edgeagent.Transition{raise(fmt.Sprint("W", w, "L", n), "A", 2)})
				if err != nil {
					t.Errorf("record while the file is copied: %v", err)
					return
				}
				mu.Lock()
				taken[out[0].ID] = true
				mu.Unlock()
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			if err := workOne(db, func(string, ...any) {}); err != nil {
				t.Errorf("work while the file is copied: %v", err)
				return
			}
		}
	})
	return func() map[edgeagent.ID]bool { cancel(); all.Wait(); return taken }
}

// into returns what Backup writes to a file with.
func into(f *os.File) func(int64) (io.Writer, error) {
	return func(int64) (io.Writer, error) { return f, nil }
}

func TestBackupIsOneMomentOfABusyFile(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	before := record(t, db, raise("first", "A", 1))[0]
	stop := busy(t, db)
	for n := range 5 {
		f, err := os.Create(filepath.Join(t.TempDir(), "copy"))
		if err != nil {
			t.Fatal(err)
		}
		var size int64
		err = db.Backup(func(n int64) (io.Writer, error) { size = n; return f, nil })
		info, statErr := f.Stat()
		if err := errors.Join(err, statErr, f.Close()); err != nil || info.Size() != size {
			t.Fatalf("backup %d: %v, %d bytes of %d", n, err, info.Size(), size)
		}
		if err := queue.CheckFile(f.Name()); err != nil {
			t.Errorf("backup %d: %v", n, err)
		}
		o := options(f.Name())
		o.Agent, o.Destinations = "gw", upstream
		copied, err := queue.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := copied.Alarm(before.ID); err != nil {
			t.Errorf("backup %d: %v", n, err)
		}
		wholeStream(t, copied, edgeagent.StreamAlarm)
		if err := copied.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
}

func TestBackupWithoutAnAgentNeedsTheFileToItself(t *testing.T) {
	path := dataFile(t)
	db, err := queue.Open(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	record(t, db, raise("L", "A", 1))
	target := filepath.Join(t.TempDir(), "copy")
	if err := queue.BackupFile(t.Context(), path, target); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("backup beside an open file = %v, want that it is in use", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := queue.BackupFile(t.Context(), path, target); err != nil {
		t.Fatal(err)
	}
	if err := queue.CheckFile(target); err != nil {
		t.Error(err)
	}
}

func TestCompactionLosesNothingOfABusyFile(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 { // 40 large answers, and then nobody needs their pages any more
		record(t, db, raise(fmt.Sprint("big", n), "A", 1))
		out := answer("x")
		out.Raw = noise(n, 100<<10)
		if err := db.Retry(t.Context(), lease(t, db), out, offline, 0); err != nil {
			t.Fatal(err)
		}
	}
	stop := busy(t, db)
	for range 3 {
		before, after, err := db.Compact(t.Context())
		if err != nil || before == 0 || after == 0 {
			t.Errorf("compact = %d, %d, %v", before, after, err)
		}
	}
	taken := stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{".compact", ".new"} {
		if _, err := os.Stat(path + left); err == nil {
			t.Errorf("%s is left behind", left)
		}
	}
	db = open(t, o)
	for id := range taken {
		if _, err := db.Alarm(id); err != nil {
			t.Errorf("an alarm that was taken during the compaction: %v", err)
		}
	}
	wholeStream(t, db, edgeagent.StreamAlarm)
	wholeStream(t, db, edgeagent.StreamDiagnosis)
	if err := queue.CheckFile(path); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("check of an open file = %v, want that it is locked: the lock went with the old file", err)
	}
	if len(taken) == 0 {
		t.Error("nothing was recorded meanwhile: this proved nothing")
	}
}

func TestCompactionWaitsForABackup(t *testing.T) {
	db := open(t, options(dataFile(t)))
	record(t, db, raise("L", "A", 1))
	err := db.Backup(func(int64) (io.Writer, error) {
		if _, _, err := db.Compact(t.Context()); !errors.Is(err, edgeagent.ErrConflict) {
			t.Errorf("compact during a backup = %v, want a conflict", err)
		}
		return io.Discard, nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, _, err := db.Compact(t.Context()); err != nil {
		t.Errorf("compact after the backup: %v", err)
	}
}

func TestACopyThatIsFoundDamagedIsNotTaken(t *testing.T) {
	o := options(dataFile(t))
	o.Check = func(_ context.Context, path string) error {
		if strings.HasSuffix(path, ".compact") {
			return errors.New("damaged")
		}
		return nil
	}
	db := open(t, o)
	a := record(t, db, raise("L", "A", 1))[0]
	if _, _, err := db.Compact(t.Context()); err == nil {
		t.Error("a damaged copy was taken")
	}
	if _, err := db.Alarm(a.ID); err != nil {
		t.Error(err)
	}
	record(t, db, raise("M", "A", 1))
}

// sudo edgeagent db compact on a gateway whose agent has never run: a lock of root's
// would keep the agent, which is not root, from starting.
func TestCompactFileOfNothingLeavesNothing(t *testing.T) {
	path := dataFile(t)
	if _, _, err := queue.CompactFile(t.Context(), path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

func TestCompactFileMakesADrainedFileSmall(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	a := record(t, db, raise("L", "A", 1))[0]
	for n := range 20 {
		if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler", Key: noise(n, 200<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}), db.Close()); err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	before, after, err := queue.CompactFile(t.Context(), path, nil)
	if err != nil || before != was.Size() || after >= before || after > 512<<10 {
		t.Errorf("compact = %d to %d, %v, want it small, of a file of %d", before, after, err, was.Size())
	}
	db = open(t, o)
	if _, err := db.Alarm(a.ID); err != nil || db.Storage().State != edgeagent.StorageOK {
		t.Errorf("alarm = %v, storage %+v", err, db.Storage())
	}
}

func TestRestoreBeginsANewEpochAndNamesWhatIsLost(t *testing.T) {
	path := dataFile(t)
	backup := filepath.Join(t.TempDir(), "backup")
	o := options(path)
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	kept := record(t, db, raise("L", "KEPT", 1), raise("L", "KEPT2", 1))[0]
	f, err := os.Create(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Backup(into(f)), f.Close()); err != nil {
		t.Fatal(err)
	}
	lost := record(t, db, raise("M", "LOST", 1), raise("M", "LOST2", 1), raise("M", "LOST3", 1))[0]
	if err := db.Confirm(t.Context(), "historian", receipt(db, 3, 0)); err != nil {
		t.Fatal(err)
	}
	old := db.Epoch()
	if _, err := queue.Restore(t.Context(), backup, path, nil); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("restore under a running agent = %v, want it refused", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := queue.Restore(t.Context(), backup, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Lost) != 1 || r.Lost[0].Epoch != old || r.Lost[0].Stream != edgeagent.StreamAlarm || r.Lost[0].From != 4 || r.Lost[0].To != 5 {
		t.Errorf("lost = %+v, want alarms 4 and 5: the third is confirmed", r.Lost)
	}
	if err := queue.CheckFile(r.Kept); err != nil {
		t.Errorf("the file that was replaced: %v", err)
	}
	db = open(t, o)
	if db.Epoch() == old || db.Epoch() != r.Epoch || db.Storage().State != edgeagent.StorageOK {
		t.Errorf("epoch %s after %s, storage %+v; want a new one and all well", db.Epoch(), old, db.Storage())
	}
	if _, err := db.Alarm(kept.ID); err != nil {
		t.Error(err)
	}
	if _, err := db.Alarm(lost.ID); !errors.Is(err, edgeagent.ErrNotFound) {
		t.Errorf("an alarm of after the backup reads %v", err)
	}
	record(t, db, raise("N", "NEW", 1))
	afterRestore(t, db, old)
}

// afterRestore reads what a receiver gets: the old epoch as far as it is there,
// and the new one with its gap. A receipt for more of the old epoch than is left
// is no conflict.
func afterRestore(t *testing.T, db *queue.DB, old edgeagent.ID) {
	t.Helper()
	first := pending(t, db, "historian")
	if len(first) != 2 || first[0].Epoch != old || first[1].Sequence != 2 {
		t.Errorf("pending = %+v, want two alarms of the old epoch", first)
	}
	if err := db.Confirm(t.Context(), "historian", edgeagent.Receipt{Epoch: old, Contig: map[edgeagent.Stream]uint64{"alarm": 5}}); err != nil {
		t.Errorf("receipt of the old epoch: %v", err)
	}
	var alarms, gaps int
	for _, e := range pending(t, db, "historian") {
		switch {
		case e.Epoch == old:
			t.Errorf("%s %d of the old epoch again", e.Stream, e.Sequence)
		case e.Stream == edgeagent.StreamAlarm && e.Sequence == 1:
			alarms++
		case e.Type == edgeagent.EventGap:
			gaps++
		}
	}
	if alarms != 1 || gaps != 1 {
		t.Errorf("%d alarms and %d gaps in the new epoch, want one each", alarms, gaps)
	}
}

// A backup is put back while the clock stands years back: what comes first is still
// sent first.
func TestARestoreUnderAClockThatWasNotSet(t *testing.T) {
	path := dataFile(t)
	backup := filepath.Join(t.TempDir(), "backup.db")
	var old edgeagent.ID
	at(t, 26*year, func(t *testing.T) {
		db, err := queue.Open(t.Context(), options(path))
		if err != nil {
			t.Fatal(err)
		}
		old = db.Epoch()
		record(t, db, raise("L", "BEFORE", 1))
		if err := errors.Join(db.Close(), queue.BackupFile(t.Context(), path, backup)); err != nil {
			t.Fatal(err)
		}
	})
	at(t, 0, func(t *testing.T) {
		r, err := queue.Restore(t.Context(), backup, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		db := open(t, options(path))
		record(t, db, raise("L", "AFTER", 1))
		if got := pending(t, db, "historian"); r.Epoch <= old || len(got) != 1 || got[0].Epoch != old {
			t.Errorf("epoch %s, pending %+v; want one behind %s, and the event of that first", r.Epoch, got, old)
		}
	})
}

func TestRestoreRefusesADamagedBackup(t *testing.T) {
	path := dataFile(t)
	db, err := queue.Open(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	a := record(t, db, raise("L", "A", 1))[0]
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(bad, []byte(strings.Repeat("no data file ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := queue.Restore(t.Context(), bad, path, nil); err == nil {
		t.Error("garbage was restored")
	}
	db = open(t, options(path))
	if _, err := db.Alarm(a.ID); err != nil {
		t.Error(err)
	}
}

func TestReaderSharesAndDescribes(t *testing.T) {
	path := dataFile(t)
	db, err := queue.Open(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	record(t, db, raise("L", "A", 1), raise("M", "B", 1))
	if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := queue.OpenReader(t.Context(), path); err == nil {
		t.Error("a reader got in beside the agent")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var readers []*queue.Reader
	for range 2 {
		r, err := queue.OpenReader(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	d, err := readers[1].Describe()
	if err != nil || d.Alarms != 2 || d.Jobs.Completed != 1 || d.Jobs.Pending != 1 || d.Events != 3 {
		t.Errorf("description = %+v, %v", d, err)
	}
	if list, _, err := readers[0].Jobs(queue.JobFilter{}); err != nil || len(list) != 2 {
		t.Errorf("%d jobs, %v, want two", len(list), err)
	}
	for _, r := range readers {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Where there was no file, none is kept: the log names none.
func TestRestoreWithoutAFileKeepsNone(t *testing.T) {
	o := options(dataFile(t))
	db := open(t, o)
	f, err := os.Create(filepath.Join(t.TempDir(), "backup"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Backup(into(f)), f.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o.Path, o.Log = dataFile(t), slog.New(slog.NewTextHandler(&log, nil))
	if r, err := queue.Restore(t.Context(), f.Name(), o.Path, nil); err != nil || r.Kept != "" {
		t.Fatalf("restore = %+v, %v, want nothing kept", r, err)
	}
	open(t, o)
	if !strings.Contains(log.String(), "restored from a backup") || !strings.Contains(log.String(), `kept=""`) {
		t.Errorf("the log says %s, want that nothing was kept", log.String())
	}
}
