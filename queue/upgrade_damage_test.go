package queue_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"edgeagent"
	"edgeagent/queue"
)

// olderImage is the file of version 0.1.0, with what it holds when it is whole.
func olderImage(t *testing.T) (img image) {
	t.Helper()
	path := olderFile(t)
	img.data = readFile(t, path)
	var err error
	if img.places, err = queue.Places(path); err != nil {
		t.Fatal(err)
	}
	if img.pages, err = queue.PagesOf(path); err != nil {
		t.Fatal(err)
	}
	db := open(t, forAges(options(path)))
	img.truth = ask(t, db)
	for id, j := range img.truth.jobs {
		if j.Interrupts > 0 { // it was running, and what is said of that now has a time of its own
			j.State = edgeagent.JobRunning
			img.truth.jobs[id] = j
		}
	}
	return img
}

// A gateway is updated, and its card has a bad page by then: what is whole of
// the older file is there all the same, and nothing else is.
func TestDamagedCopiesOfAnOlderFile(t *testing.T) {
	var img image
	synctest.Test(t, func(t *testing.T) { img = olderImage(t) })
	replaced, tried := 0, 0
	for i, w := range wounds {
		if strings.Contains(w.name, "branch") && len(img.pages.Branches) == 0 || strings.Contains(w.name, "of before") && len(img.pages.Free) == 0 {
			continue
		}
		tried++
		t.Run(fmt.Sprintf("%03d %s", i, w.name), func(t *testing.T) {
			random := rand.New(rand.NewPCG(damageSeed, uint64(9000+i)))
			synctest.Test(t, func(t *testing.T) {
				if treatOlder(t, img, w.deal(random, img, bytes.Clone(img.data))) {
					replaced++
				}
			})
		})
	}
	if replaced == 0 || replaced == tried {
		t.Errorf("%d of %d files were replaced: the damage does not hit both cases", replaced, tried)
	}
	t.Logf("%d copies of a file with %d records, %d replaced", tried, len(img.places), replaced)
}

// withoutHints leaves out the hints that were hit: in an older file they lie
// beside their alarms.
func withoutHints(alarms map[edgeagent.ID]edgeagent.Alarm, whole map[string]bool) map[edgeagent.ID]edgeagent.Alarm {
	out := maps.Clone(alarms)
	for id, a := range out {
		if !whole["b"+string(id)+"h"] {
			a.Hint = nil
			out[id] = a
		}
	}
	return out
}

func treatOlder(t *testing.T, img image, damaged []byte) (replaced bool) {
	t.Helper()
	path := dataFile(t)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	o := forAges(options(path))
	o.Check = checkInChild
	db := open(t, o)
	whole := wholeOf(img, damaged, nil)
	img.truth.alarms = withoutHints(img.truth.alarms, whole)
	replaced = db.Storage().State == edgeagent.StorageSalvaged
	said(t, db, path, damaged, replaced)
	sameAlarms(t, db, img, whole)
	sameJobs(t, db, img, whole)
	again := db.JobCounts()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := queue.CheckFile(path); err != nil {
		t.Errorf("what became of it is damaged: %v", err)
	}
	if got := open(t, o).JobCounts(); got != again {
		t.Errorf("jobs after another start: %+v, were %+v", got, again)
	}
	return replaced
}
