package queue_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// inBalance fails unless a file knows its balance, and has it.
func inBalance(t *testing.T, when, path string) {
	t.Helper()
	known, even, err := queue.BalanceOf(path)
	if err != nil || !known || !even {
		t.Errorf("%s: the balance is known = %t, holds = %t, %v", when, known, even, err)
	}
}

func TestAFileIsInBalanceAllItsLife(t *testing.T) {
	path := dataFile(t)
	db := open(t, agedOptions(path))
	history(t, db, rand.New(rand.NewPCG(damageSeed, 3)), 0)
	if _, _, err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	history(t, db, rand.New(rand.NewPCG(damageSeed, 5)), 16)
	closed := func(when string) {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		inBalance(t, when, path)
	}
	closed("after a life")
	if _, _, err := queue.CompactFile(t.Context(), path, checkInChild); err != nil {
		t.Fatal(err)
	}
	inBalance(t, "compacted", path)
	damaged := readFile(t, path)
	pages, err := queue.PagesOf(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(damaged[int64(pages.Root)*pages.Size:][:pages.Size])
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	db = open(t, agedOptions(path))
	if state := db.Storage().State; state != edgeagent.StorageSalvaged {
		t.Errorf("storage is %s", state)
	}
	history(t, db, rand.New(rand.NewPCG(damageSeed, 4)), 8)
	closed("salvaged")
}

// A card that gives back what a page was before leaves a tree that is whole.
func TestWhatACardNeverWroteIsMissed(t *testing.T) {
	path, id := fileWithAnAlarm(t)
	if err := queue.Lose(path, id); err != nil {
		t.Fatal(err)
	}
	if err := queue.CheckFile(path); err == nil {
		t.Error("the file is taken for whole")
	}
	if _, _, err := queue.CompactFile(t.Context(), path, checkInChild); err == nil {
		t.Error("it is compacted, and what is missed is forgotten")
	}
}

// An older version of the agent knows of no balance: what it has written is no damage.
func TestAnOlderVersionMayWriteBetween(t *testing.T) {
	path, id := fileWithAnAlarm(t)
	if err := queue.WriteAsBefore(path, id); err != nil {
		t.Fatal(err)
	}
	if err := queue.CheckFile(path); err != nil {
		t.Errorf("check = %v", err)
	}
	db := open(t, options(path))
	record(t, db, raise("line-1", "NEXT", 2))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := queue.CheckFile(path); err != nil {
		t.Errorf("check after more was written = %v", err)
	}
	if _, _, err := queue.CompactFile(t.Context(), path, checkInChild); err != nil {
		t.Fatal(err)
	}
	inBalance(t, "compacted", path)
}

func fileWithAnAlarm(t *testing.T) (path string, id edgeagent.ID) {
	t.Helper()
	path = dataFile(t)
	db := open(t, options(path))
	id = record(t, db, raise("line-1", "FIRST", 2))[0].ID
	record(t, db, raise("line-2", "SECOND", 2))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	inBalance(t, "new", path)
	return path, id
}
