package queue

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edgeagent"
)

func openPlain(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Options{Path: path, Site: "p", Agent: "g", BootID: "b"})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// closesInTime fails when Close waits for a transaction that nobody ends.
func closesInTime(t *testing.T, db *DB) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case <-closed: // a file that failed says so
	case <-time.After(20 * time.Second):
		t.Error("Close hangs")
	}
}

// backupBeside has the seal of a backup share a batch with an operation that
// comes after it.
func backupBeside(t *testing.T, db *DB, other func(*batch) error) error {
	t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	go func() { _ = db.Hold(t.Context(), held, free) }()
	<-held
	sealed, done := make(chan error, 1), make(chan error, 1)
	go func() {
		tx, err := db.hold()
		if err == nil {
			db.letGo(tx)
		}
		sealed <- err
	}()
	db.Await(1)
	go func() { done <- db.do(t.Context(), "other", other) }()
	db.Await(2)
	close(free)
	<-sealed
	return <-done
}

func TestABackupBesideWhatFailsHoldsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		full  bool
		other func(db *DB) func(*batch) error
	}{
		"no space": {true, func(*DB) func(*batch) error {
			return func(b *batch) error {
				return b.put(bucketBodies, string(edgeagent.NewID(time.Now()))+"e", 0, bytes.Repeat([]byte{1}, 1<<20))
			}
		}},
		"a broken file": {false, func(db *DB) func(*batch) error {
			return func(b *batch) error {
				db.turn.Lock()
				defer db.turn.Unlock()
				return errors.Join(db.tx.DeleteBucket([]byte{bucketData}), b.put(bucketBodies, "01ARZ3NDEKTSV4RRFFQ69G5FAVe", 0, nil))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			db := openPlain(t, filepath.Join(t.TempDir(), "agent.db"))
			if tt.full {
				if err := db.Limit(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			}
			if err := backupBeside(t, db, tt.other(db)); err == nil {
				t.Error("nothing failed: this proves nothing")
			}
			db.compacting.mu.Lock()
			held := db.compacting.held
			db.compacting.mu.Unlock()
			if held != 0 {
				t.Errorf("%d backups are said to run, none does", held)
			}
			closesInTime(t, db)
		})
	}
}

// An offline copy of a killed file is sealed as the generation that the next
// start begins: put back by hand later, it must not take that one's frames for
// its own.
func TestTheJournalOfALaterLifeIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "agent.db"), filepath.Join(dir, "copy.db")
	killed := func(db *DB) { // puts back what a kill would have left
		var left [2][]byte
		for i, s := range []string{"", ".journal"} {
			left[i], _ = os.ReadFile(path + s)
		}
		closesInTime(t, db)
		for i, s := range []string{"", ".journal"} {
			if err := os.WriteFile(path+s, left[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_ = os.Remove(path + ".clean")
	}
	write := func(db *DB) {
		if err := db.do(t.Context(), "write", func(b *batch) error {
			return b.put(bucketBodies, string(edgeagent.NewID(time.Now()))+"e", 0, []byte("x"))
		}); err != nil {
			t.Fatal(err)
		}
	}
	db := openPlain(t, path)
	write(db)
	killed(db)
	if err := BackupFile(t.Context(), path, copied); err != nil {
		t.Fatal(err)
	}
	db = openPlain(t, path)
	write(db)
	killed(db)
	if err := os.Rename(copied, path); err != nil {
		t.Fatal(err)
	}
	closesInTime(t, openPlain(t, path))
	if kept, err := filepath.Glob(path + ".journal.foreign-*"); err != nil || len(kept) != 1 {
		t.Errorf("kept %v, %v; want the journal of the later life", kept, err)
	}
}
