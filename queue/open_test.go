package queue_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
	"edgeagent/queue"
)

func TestSecondProcessIsToldWhoHasTheFile(t *testing.T) {
	path := dataFile(t)
	cmd, _ := child(t, roleHolder, path, "b")
	_, err := queue.Open(t.Context(), options(path))
	if err == nil || !strings.Contains(err.Error(), "in use by another process, process ") {
		t.Errorf("second open = %v, want who has the file", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	open(t, options(path)) // the lock dies with its process
}

func TestDamagedFileNeverKeepsTheAgentFromStarting(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty file":           func([]byte) []byte { return nil },
		"cut in the first kB":  func(b []byte) []byte { return b[:1000] },
		"cut behind the metas": func(b []byte) []byte { return b[:3*newPage] },
		"both metas zeroed":    func(b []byte) []byte { clear(b[:8192]); return b },
		"all zero":             func(b []byte) []byte { clear(b); return b },
		"text":                 func([]byte) []byte { return []byte(strings.Repeat("not a data file\n", 1000)) },
		"flipped alarm":        func(b []byte) []byte { return flipRecords(b, 'a') },
		"flipped event":        func(b []byte) []byte { return flip(b, "plant-a/gw") },
	} {
		t.Run(name, func(t *testing.T) {
			path := dataFile(t)
			before := damagedFile(t, path, damage)
			db := open(t, options(path))
			if s := db.Storage(); s.State != edgeagent.StorageSalvaged || s.Error == "" {
				t.Errorf("storage = %+v, want salvaged and why", s)
			}
			if db.Epoch() == before {
				t.Error("the epoch is the old one: numbers would be used twice")
			}
			if kept, err := filepath.Glob(path + ".corrupt-*Z"); err != nil || len(kept) != 1 {
				t.Errorf("kept %v, %v, want the damaged file", kept, err)
			}
			record(t, db, raise("L", "A1", 1))
			if l := lease(t, db); len(l.Case.Alarms) == 0 {
				t.Errorf("the new file does not work: %+v", l)
			}
		})
	}
}

// damagedFile makes a data file with an alarm, ends without a mark, and breaks it.
func damagedFile(t *testing.T, path string, damage func([]byte) []byte) edgeagent.ID {
	t.Helper()
	db := open(t, options(path))
	record(t, db, raise("L", "A1", 1))
	epoch := db.Epoch()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + ".clean"); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, damage(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	return epoch
}

// flip damages one byte of every copy of text: pages of before may hold others.
func flip(b []byte, text string) []byte {
	return []byte(strings.ReplaceAll(string(b), text, "?"+text[1:]))
}

// flipRecords damages one byte of the body of every record of a kind.
func flipRecords(b []byte, kind byte) []byte {
	magic := []byte{'E', 'A', 1, kind}
	for at := 0; ; at += len(magic) {
		next := bytes.Index(b[at:], magic)
		if next < 0 {
			return b
		}
		at += next
		b[at+100] ^= 1
	}
}

func TestTornCreationIsBegunAgain(t *testing.T) {
	path := dataFile(t)
	if err := os.WriteFile(path+".new", []byte("half a page"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, options(path))
	if s := db.Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("storage = %+v: a file that never got its name is no damage", s)
	}
}

func TestFileOfANewerVersionIsSetAsideUntouched(t *testing.T) {
	path := dataFile(t)
	b, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Update(queue.FutureSchema), b.Close()); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := options(path)
	o.Check = checkInChild
	db := open(t, o)
	if s := db.Storage(); !strings.Contains(s.Error, "newer version") {
		t.Errorf("storage = %+v, want that the file is newer", s)
	}
	kept, err := filepath.Glob(path + ".newer-*Z")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %v, %v", kept, err)
	}
	if got, err := os.ReadFile(kept[0]); err != nil || string(got) != string(want) {
		t.Errorf("the newer file was changed, or %v", err)
	}
}

func TestUnreadableFileIsNotSetAside(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Check = func(context.Context, string) error { return os.ErrPermission }
	if _, err := queue.Open(t.Context(), o); !errors.Is(err, os.ErrPermission) {
		t.Errorf("open = %v, want the permission error", err)
	}
	if kept, _ := filepath.Glob(path + ".corrupt-*Z"); len(kept) != 0 {
		t.Errorf("a file that may not be read was set aside: %v", kept)
	}
}

func TestFolderInPlaceOfTheFileIsNotSetAside(t *testing.T) {
	path := dataFile(t)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	o := options(path)
	o.Check = func(context.Context, string) error { return errors.New("exit status 1") }
	if db, err := queue.Open(t.Context(), o); err == nil {
		t.Errorf("opened a folder: %v", db.Close())
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("the folder is gone: %v", err)
	}
}

func TestCheckRunsUnlessTheFileWasClosedCleanly(t *testing.T) {
	path := dataFile(t)
	checks := 0
	o := options(path)
	o.Check = func(context.Context, string) error { checks++; return queue.CheckFile(path) }
	reopen := func(prepare func()) int {
		t.Helper()
		db := open(t, o)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		prepare()
		checks = 0
		open(t, o).Close()
		return checks
	}
	if got := reopen(func() {}); got != 0 {
		t.Errorf("after a clean shutdown: %d checks, want none", got)
	}
	if got := reopen(func() { _ = os.Remove(path + ".clean") }); got != 1 {
		t.Errorf("without the mark: %d checks, want 1", got)
	}
	if got := reopen(func() { o.BootID = "boot-2" }); got != 1 {
		t.Errorf("after another boot: %d checks, want 1", got)
	}
	if got := reopen(func() {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}); got != 1 {
		t.Errorf("after the file changed: %d checks, want 1", got)
	}
}

func TestAnotherAgentsFileBeginsANewEpoch(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	record(t, db, raise("L", "A1", 1))
	first := db.Epoch()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o := options(path)
	o.Agent = "other-gw"
	db = open(t, o)
	if db.Epoch() == first {
		t.Fatal("a cloned card keeps the epoch: two agents would number one stream")
	}
	record(t, db, raise("L", "A2", 1))
	old := pending(t, db, "historian")
	if len(old) != 1 || old[0].Epoch != first {
		t.Fatalf("pending = %+v, want the event of the first epoch alone", old)
	}
	if err := db.Confirm(t.Context(), "historian", edgeagent.Receipt{Epoch: first, Contig: map[edgeagent.Stream]uint64{"alarm": 1}}); err != nil {
		t.Fatal(err)
	}
	if now := pending(t, db, "historian"); len(now) != 1 || now[0].Epoch != db.Epoch() || now[0].Sequence != 1 {
		t.Errorf("pending = %+v, want number 1 of the new epoch", now)
	}
}

func TestEverythingAfterCloseIsRefused(t *testing.T) {
	db := open(t, options(dataFile(t)))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := db.Record(ctx, []edgeagent.Transition{raise("L", "A", 1)}); err == nil || ctx.Err() != nil {
		t.Errorf("record after close = %v, want an error at once", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second close = %v", err)
	}
}
