package queue_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

func TestNobodyHangsWithADiskThatHangs(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		record(t, db, raise("L", "A", 2))
		release := db.Hang()
		begun := time.Now()
		_, err := db.Lease(t.Context()) // waits for the commit that hangs
		if took := time.Since(begun); !errors.Is(err, queue.ErrStalled) || took < 30*time.Second || took > time.Minute {
			t.Errorf("lease = %v after %v, want that the disk does not answer after half a minute", err, took)
		}
		begun = time.Now()
		if _, err := db.Record(t.Context(), []edgeagent.Transition{raise("M", "A", 2)}); !errors.Is(err, queue.ErrStalled) || time.Since(begun) > 0 {
			t.Errorf("record = %v after %v, want it refused at once", err, time.Since(begun))
		}
		if s := db.Storage(); !strings.Contains(s.Error, "does not answer") {
			t.Errorf("storage = %+v, want that the disk does not answer", s)
		}
		release()
		synctest.Wait()
		if s := db.Storage(); s.Error != "" {
			t.Errorf("storage = %+v after the disk answered", s)
		}
		lease(t, db) // the one that nobody waited for was put back
	})
}

// A card that hangs while an operation reads what it needs is said like one that hangs
// in a commit: nothing is written any more either way.
func TestAReadThatHangsIsSaid(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		held, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() { done <- db.Hold(t.Context(), held, release) }()
		<-held
		time.Sleep(31 * time.Second)
		if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}); !errors.Is(err, queue.ErrStalled) || db.Stalled() == nil {
			t.Errorf("save = %v, stalled = %v; want that the disk does not answer", err, db.Stalled())
		}
		close(release)
		<-done
		if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}); err != nil || db.Stalled() != nil {
			t.Errorf("when it answers: %v, %v", err, db.Stalled())
		}
	})
}

// The second fault of a card comes while the page still tells of the first.
func TestADiskThatHangsAfterASalvageIsNotTakenForIt(t *testing.T) {
	path := dataFile(t)
	if err := os.WriteFile(path, bytes.Repeat([]byte("no data file "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		release := db.Hang()
		_, err := db.Record(t.Context(), []edgeagent.Transition{raise("L", "A", 2)})
		if s := db.Storage(); !errors.Is(err, queue.ErrStalled) || s.State == edgeagent.StorageSalvaged || !strings.Contains(s.Error, "does not answer") {
			t.Errorf("%v, storage = %+v, want the disk that does not answer", err, s)
		}
		release()
		synctest.Wait()
		if s := db.Storage(); s.State != edgeagent.StorageSalvaged {
			t.Errorf("storage = %+v after the disk answered, want that it was salvaged", s)
		}
	})
}

// What a hanging disk stored after all may meet a full file when it is put back:
// nobody else would ever end it.
func TestWhatNobodyWaitsForIsTriedUntilItIsStored(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		for _, last := range []error{nil, edgeagent.ErrLeaseLost} {
			tries, begun := 0, time.Now()
			db.Insist(func() error {
				if tries++; tries < 4 {
					return edgeagent.ErrFull
				}
				return last
			})
			if took := time.Since(begun); tries != 4 || took != 30*time.Second {
				t.Errorf("%d tries in %v, want 4 in 30s", tries, took)
			}
		}
		time.AfterFunc(time.Minute, func() { _ = db.Close() })
		begun := time.Now()
		db.Insist(func() error { return edgeagent.ErrFull })
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("it ended after %v, want with the file", took)
		}
	})
}

func TestAReviewThatAHangingDiskStoresLeavesNoLimit(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.DailyCapUSD = 1
		db := open(t, o)
		record(t, db, raise("L", "A", 2))
		l := lease(t, db)
		if err := db.Complete(t.Context(), l, answer("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := db.BeginReview(t.Context(), l.Job, "cloud", false); err != nil {
			t.Fatal(err)
		}
		if err := db.Reserve(l.Job, 0.5); !errors.Is(err, queue.ErrCap) {
			t.Fatalf("reserve = %v, want that a review may cost a tenth", err)
		}
		release := db.Hang()
		if err := db.Review(t.Context(), l.Job, answer("y")); !errors.Is(err, queue.ErrStalled) {
			t.Fatalf("review = %v, want that the disk does not answer", err)
		}
		release()
		synctest.Wait()
		if err := db.Review(t.Context(), l.Job, answer("y")); !errors.Is(err, edgeagent.ErrLeaseLost) {
			t.Errorf("review = %v, want it stored already", err)
		}
		if err := db.Reserve(l.Job, 0.5); err != nil {
			t.Errorf("reserve = %v, want no limit once the review is over", err)
		}
	})
}
