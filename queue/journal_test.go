package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// asKilled copies a data file and its journal as a kill would leave them.
func asKilled(t *testing.T, path string) string {
	t.Helper()
	copied := dataFile(t)
	for _, suffix := range []string{"", ".journal"} {
		if err := os.WriteFile(copied+suffix, readFile(t, path+suffix), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

// unsettled is a data file some of which is in its journal alone.
func unsettled(t *testing.T) (db *queue.DB, path string, alarms []edgeagent.Alarm) {
	t.Helper()
	path = dataFile(t)
	db = open(t, options(path))
	for i := range 12 {
		alarms = append(alarms, record(t, db, raise(fmt.Sprint("L", i), "A", 2))...)
	}
	if err := db.Complete(t.Context(), lease(t, db), answer("dirty lens")); err != nil {
		t.Fatal(err)
	}
	return db, path, alarms
}

// sees checks that a file has all alarms and the answer of [unsettled].
func sees(t *testing.T, db *queue.DB, alarms []edgeagent.Alarm) {
	t.Helper()
	for _, a := range alarms {
		if _, err := db.Alarm(a.ID); err != nil {
			t.Errorf("%v", err)
		}
	}
	if c := db.JobCounts(); c.Completed != 1 || c.Pending != len(alarms)-1 {
		t.Errorf("counts = %+v, want one completed and %d pending", c, len(alarms)-1)
	}
	if got := len(wholeStream(t, db, edgeagent.StreamAlarm)); got != len(alarms) {
		t.Errorf("%d events of %d alarms", got, len(alarms))
	}
}

func TestWhatIsInTheJournalOutlivesAKill(t *testing.T) {
	db, path, alarms := unsettled(t)
	epoch := db.Epoch()
	for range 3 { // killed again and again, without a word between
		path = asKilled(t, path)
		again := open(t, options(path))
		sees(t, again, alarms)
		if s := again.Storage(); s.State != edgeagent.StorageOK || again.Epoch() != epoch {
			t.Errorf("storage %+v, epoch %s; want ok and %s", s, again.Epoch(), epoch)
		}
	}
}

// The last frame was being written: nobody was told of it, and it is no damage.
func TestATornLastFrameIsNoDamage(t *testing.T) {
	db, path, alarms := unsettled(t)
	before := readFile(t, path+".journal")
	record(t, db, raise("torn", "A", 2))
	copied := asKilled(t, path)
	torn := readFile(t, copied+".journal")
	first := 0
	for torn[first] == before[first] {
		first++
	}
	for at := first + 512; at < first+1024; at++ {
		torn[at] ^= 0x55
	}
	if err := os.WriteFile(copied+".journal", torn, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, options(copied))
	sees(t, again, alarms)
	if s := again.Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("storage = %+v, want ok", s)
	}
	record(t, again, raise("next", "A", 2)) // goes where the torn one was
	sees(t, open(t, options(asKilled(t, copied))), append(alarms, again.OpenAlarms()[0]))
}

// What was acknowledged is gone, and frames behind it are there: this is damage,
// which is said, and what is whole is kept.
func TestAHoleInTheJournalIsDamage(t *testing.T) {
	for name, wound := range map[string]func(journal []byte){
		"a bit":           func(j []byte) { j[framesOf(j)[3]+100] ^= 1 },
		"a block":         func(j []byte) { clear(j[framesOf(j)[4]:][:4096]) },
		"the first block": func(j []byte) { clear(j[framesOf(j)[0]:][:4096]) },
	} {
		t.Run(name, func(t *testing.T) {
			db, path, alarms := unsettled(t)
			copied := asKilled(t, path)
			journal := readFile(t, copied+".journal")
			wound(journal)
			if err := os.WriteFile(copied+".journal", journal, 0o600); err != nil {
				t.Fatal(err)
			}
			again := open(t, options(copied))
			if s := again.Storage(); s.State != edgeagent.StorageSalvaged || again.Epoch() <= db.Epoch() {
				t.Fatalf("storage %+v, epoch %s after %s; want salvaged and a newer one", s, again.Epoch(), db.Epoch())
			}
			there, lost := 0, make(map[string]bool)
			for _, a := range alarms {
				if _, err := again.Alarm(a.ID); err == nil {
					there++
				}
			}
			if there != len(alarms)-1 {
				t.Errorf("%d of %d alarms are there, want all but one", there, len(alarms))
			}
			for _, e := range drained(t, again) {
				if e.Type == edgeagent.EventGap {
					gapOf(t, e, lost)
				}
			}
			if len(lost) != 1 {
				t.Errorf("a gap names %v, want the one event", lost)
			}
			kept, err := filepath.Glob(copied + ".corrupt-*Z.journal")
			if err != nil || len(kept) != 1 || !bytes.Equal(readFile(t, kept[0]), journal) {
				t.Errorf("kept %v, %v; want the journal as it was", kept, err)
			}
		})
	}
}

// framesOf returns where the frames of the newest generation begin.
func framesOf(journal []byte) (at []int) {
	begins := func(i int) bool { return string(journal[i:i+4]) == "EAJ1" }
	newest := uint64(0)
	for i := 0; i < len(journal); i += 4096 {
		if begins(i) {
			newest = max(newest, generation(journal[i:]))
		}
	}
	for i := 0; i < len(journal); i += 4096 {
		if begins(i) && generation(journal[i:]) == newest {
			at = append(at, i)
		}
	}
	return at
}

func generation(frame []byte) (n uint64) {
	for _, b := range frame[24:32] {
		n = n<<8 | uint64(b)
	}
	return n
}

// A data file whose journal is gone lacks what was acknowledged last. It cannot
// know what that was, and says so.
func TestAMissingJournalIsSaid(t *testing.T) {
	_, path, _ := unsettled(t)
	for name, damage := range map[string]func(journal string) error{
		"missing":   os.Remove,
		"cut off":   func(journal string) error { return os.Truncate(journal, 0) },
		"another's": func(journal string) error { return os.WriteFile(journal, othersJournal(t), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			copied := asKilled(t, path)
			if err := damage(copied + ".journal"); err != nil {
				t.Fatal(err)
			}
			db := open(t, options(copied))
			if s := db.Storage(); s.State != edgeagent.StorageSalvaged || !strings.Contains(s.Error, "journal") {
				t.Errorf("storage = %+v, want a word about the journal", s)
			}
			record(t, db, raise("L", "A", 1))
		})
	}
}

func othersJournal(t *testing.T) []byte {
	t.Helper()
	_, path, _ := unsettled(t)
	return readFile(t, path+".journal")
}

// A journal that does not belong to the data file is somebody's: it is neither
// read nor written over.
func TestAForeignJournalIsKept(t *testing.T) {
	db, path, alarms := unsettled(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	foreign := othersJournal(t)
	if err := os.WriteFile(path+".journal", foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, options(path))
	sees(t, again, alarms)
	if s := again.Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("storage = %+v, want ok", s)
	}
	kept, err := filepath.Glob(path + ".journal.foreign-*")
	if err != nil || len(kept) != 1 || !bytes.Equal(readFile(t, kept[0]), foreign) {
		t.Errorf("kept %v, %v; want the other's journal as it was", kept, err)
	}
}

// Every copy that is handed out is one file and whole.
func TestACopyNeedsNoJournal(t *testing.T) {
	for name, copyTo := range map[string]func(t *testing.T, db *queue.DB, path, target string) error{
		"backup beside work": func(_ *testing.T, db *queue.DB, _, target string) error {
			f, err := os.Create(target)
			if err != nil {
				return err
			}
			return errors.Join(db.Backup(func(int64) (io.Writer, error) { return f, nil }), f.Close())
		},
		"backup of a killed file": func(t *testing.T, _ *queue.DB, path, target string) error {
			return queue.BackupFile(t.Context(), asKilled(t, path), target)
		},
		"compacted after a kill": func(t *testing.T, _ *queue.DB, path, target string) error {
			killed := asKilled(t, path)
			if _, _, err := queue.CompactFile(t.Context(), killed, queueCheck); err != nil {
				return err
			}
			return os.Rename(killed, target)
		},
		"restored from a killed file": func(t *testing.T, _ *queue.DB, path, target string) error {
			r, err := queue.Restore(t.Context(), asKilled(t, path), target, queueCheck)
			if err == nil && len(r.Lost) > 0 {
				err = fmt.Errorf("%v is said to be lost", r.Lost)
			}
			return err
		},
		"closed": func(_ *testing.T, db *queue.DB, path, target string) error {
			return errors.Join(db.Close(), os.Rename(path, target))
		},
	} {
		t.Run(name, func(t *testing.T) {
			db, path, alarms := unsettled(t)
			target := dataFile(t)
			if err := copyTo(t, db, path, target); err != nil {
				t.Fatal(err)
			}
			if err := queue.CheckFile(target); err != nil {
				t.Fatal(err)
			}
			again := open(t, options(target))
			for _, a := range alarms {
				if _, err := again.Alarm(a.ID); err != nil {
					t.Error(err)
				}
			}
			if s := again.Storage(); s.State != edgeagent.StorageOK {
				t.Errorf("storage = %+v, want ok", s)
			}
			if name != "closed" {
				record(t, db, raise("goes on", "A", 2))
			}
		})
	}
}

func queueCheck(_ context.Context, path string) error { return queue.CheckFile(path) }

// A file that is replaced keeps what is in its journal, and what is told of it
// counts that too.
func TestARestoreKeepsTheJournalOfWhatItReplaces(t *testing.T) {
	db, path, alarms := unsettled(t)
	backup := dataFile(t)
	if err := queue.BackupFile(t.Context(), asKilled(t, path), backup); err != nil {
		t.Fatal(err)
	}
	later := record(t, db, raise("later", "A", 2))[0]
	killed := asKilled(t, path)
	r, err := queue.Restore(t.Context(), backup, killed, queueCheck)
	if err != nil || len(r.Lost) != 1 || r.Lost[0].From != uint64(len(alarms))+1 {
		t.Fatalf("restored %+v, %v; want the event of the later alarm lost", r, err)
	}
	restored := open(t, options(killed))
	for _, a := range alarms {
		if _, err := restored.Alarm(a.ID); err != nil {
			t.Error(err)
		}
	}
	kept := open(t, options(r.Kept))
	if _, err := kept.Alarm(later.ID); err != nil {
		t.Errorf("the file that was replaced: %v", err)
	}
}

func TestAReaderSeesWhatIsInTheJournal(t *testing.T) {
	_, path, alarms := unsettled(t)
	killed := asKilled(t, path)
	before := readFile(t, killed)
	r, err := queue.OpenReader(t.Context(), killed)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Describe()
	if err != nil || d.Alarms != len(alarms) || d.Jobs.Completed != 1 {
		t.Errorf("description = %+v, %v; want %d alarms", d, err, len(alarms))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, readFile(t, killed)) {
		t.Error("a reader has written")
	}
}

// Commits of the journal are laid over the file by one reader at a time: the
// next one is told who has it, and gets in when that one has ended.
func TestASecondReaderOfAJournalIsToldWhoHasTheFile(t *testing.T) {
	_, path, _ := unsettled(t)
	killed := asKilled(t, path)
	first, err := queue.OpenReader(t.Context(), killed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = queue.OpenReader(t.Context(), killed)
	if err == nil {
		t.Fatal("two lay the journal over one file")
	}
	for _, want := range []string{killed, "another command", "to itself", "wait for that command to end"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if who := fmt.Sprintf("(process %d)", os.Getpid()); locksAreListed(t) && !strings.Contains(err.Error(), who) {
		t.Errorf("%q does not say %q", err, who)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := queue.OpenReader(t.Context(), killed)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// locksAreListed reports whether the kernel names the locks of this process.
func locksAreListed(t *testing.T) bool {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	list, _ := os.ReadFile("/proc/locks")
	return strings.Contains(string(list), fmt.Sprintf(" %d ", os.Getpid()))
}

// The file takes nothing more: what is in the journal stays there, over a kill
// too, until there is space.
func TestWhatTheFileDoesNotTakeStaysInTheJournal(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	accepted := record(t, db, raise("first", "A", 2))
	if err := db.LimitFile(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; ; i++ {
		up := raise(fmt.Sprint("L", i), "A", 2)
		up.Alarm.SourceText = text(random, 8<<10)
		out, err := db.Record(t.Context(), []edgeagent.Transition{up})
		if errors.Is(err, edgeagent.ErrFull) {
			break
		}
		if err != nil || i > 5000 {
			t.Fatalf("alarm %d: %v, want ErrFull at last", i, err)
		}
		accepted = append(accepted, out...)
	}
	if s := db.Storage(); s.State != edgeagent.StorageFull {
		t.Errorf("storage = %+v, want full", s)
	}
	killed := asKilled(t, path)
	if err := db.LimitFile(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	record(t, db, raise("space is back", "A", 2))
	for _, again := range []*queue.DB{db, open(t, options(killed))} {
		for _, a := range accepted {
			if _, err := again.Alarm(a.ID); err != nil {
				t.Fatal(err)
			}
		}
		if s := again.Storage(); s.State != edgeagent.StorageOK {
			t.Errorf("storage = %+v, want ok", s)
		}
	}
}

// Where there can be no journal every commit goes into the data file.
func TestWithoutAJournal(t *testing.T) {
	path := dataFile(t)
	if err := os.MkdirAll(path+".journal/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	o := options(path)
	o.Log = slog.New(slog.NewTextHandler(&said, nil))
	db := open(t, o)
	a := record(t, db, raise("L", "A", 2))[0]
	killed := dataFile(t)
	if err := os.WriteFile(killed, readFile(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, options(killed)).Alarm(a.ID); err != nil {
		t.Errorf("%v", err)
	}
	if !strings.Contains(said.String(), "there is no journal") {
		t.Errorf("nobody was told: %s", &said)
	}
}

// Everybody reads the transaction that is held while it grows, empties and is
// committed: lists go on behind pages from which all was deleted.
func TestReadersBesideTheCommitter(t *testing.T) {
	db := open(t, options(dataFile(t)))
	first := record(t, db, raise("first", "A", 2))[0]
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, _, err := db.Alarms(queue.AlarmFilter{State: "history", Limit: 5}); err != nil {
					t.Error(err)
				}
				if _, err := db.Job(first.Job); err != nil {
					t.Error(err)
				}
				if _, err := db.Pending("historian", 100, 1<<20); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var writers sync.WaitGroup
	writers.Go(func() {
		if err := db.FillAndDrain(t.Context(), 3000); err != nil { // checkpoints, and pages that empty
			t.Error(err)
		}
	})
	for i := range 4 {
		writers.Go(func() {
			for n := range 30 {
				record(t, db, raise(fmt.Sprintf("L%d-%d", i, n), "A", 2))
			}
		})
	}
	writers.Wait()
	stop()
	all.Wait()
	if got := len(allAlarms(t, db, "history", 7)); got != 121 {
		t.Errorf("%d alarms are listed, want 121", got)
	}
}
