package queue_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// huge is more than a file at its limit can take in one piece, and cannot be
// packed.
var huge = func() string {
	text := make([]byte, 3<<18)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(text) // never fails
	return base64.StdEncoding.EncodeToString(text)
}()

// atLimit lets the file grow no further.
func atLimit(t *testing.T, db *queue.DB) {
	t.Helper()
	if err := db.Limit(t.Context(), int(db.Storage().FileBytes)); err != nil {
		t.Fatal(err)
	}
}

func unlimited(t *testing.T, db *queue.DB) {
	t.Helper()
	if err := db.Limit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerThatDidNotFitIsPaidOnceWhenItDoes(t *testing.T) {
	db := open(t, options(dataFile(t)))
	record(t, db, raise("L", "A", 2))
	l, o := lease(t, db), answer("x")
	o.Raw = huge
	atLimit(t, db)
	if err := db.Complete(t.Context(), l, o); !errors.Is(err, edgeagent.ErrFull) {
		t.Fatalf("complete = %v, want ErrFull", err)
	}
	if got := db.Spend().TodayUSD; !near(got, 0) {
		t.Errorf("spend = %v for an answer that is not stored", got)
	}
	unlimited(t, db)
	if err := db.Complete(t.Context(), l, o); err != nil {
		t.Errorf("the lease did not outlive the full file: %v", err)
	}
	if got := db.Spend().TodayUSD; !near(got, 0.01) {
		t.Errorf("spend = %v, want one call", got)
	}
	if got := wholeStream(t, db, edgeagent.StreamDiagnosis); len(got) != 1 {
		t.Errorf("%d diagnoses, want 1", len(got))
	}
}

func TestWhatWasTakenBackNeverMakesAJobReady(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		record(t, db, raise("L", "A", 2))
		l := lease(t, db)
		atLimit(t, db)
		if err := db.Release(t.Context(), l, edgeagent.Outcome{Prompt: huge}); !errors.Is(err, edgeagent.ErrFull) {
			t.Fatalf("release = %v, want ErrFull", err)
		}
		unlimited(t, db)
		if err := db.Retry(t.Context(), l, edgeagent.Outcome{}, offline, time.Hour); err != nil {
			t.Fatal(err)
		}
		nothingReady(t, db)
		time.Sleep(time.Hour)
		lease(t, db)
	})
}

func TestWhatIsSmallStillFitsBesideWhatIsNot(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		record(t, db, raise("L", "A", 2))
		atLimit(t, db)
		release := held(t, db)
		var big, small error
		var all sync.WaitGroup
		all.Go(func() {
			up := raise("M", "A", 2)
			up.Alarm.SourceText = huge
			_, big = db.Record(t.Context(), []edgeagent.Transition{up})
		})
		all.Go(func() { small = db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}) })
		synctest.Wait()
		release()
		all.Wait()
		if !errors.Is(big, edgeagent.ErrFull) || small != nil {
			t.Errorf("big %v, small %v; want the big one refused alone", big, small)
		}
	})
}

func TestARefusedAlarmMakesRoom(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.MaxSize, o.Retain, o.Destinations = 128<<10, time.Hour, nil
		db := open(t, o)
		fill := func() (n int) {
			for ; n < 1000; n++ {
				up := raise(fmt.Sprint("L", n), "A", 2)
				up.Alarm.State, up.Alarm.Diagnose = edgeagent.AlarmNormal, false
				if _, err := db.Record(t.Context(), []edgeagent.Transition{up}); err != nil {
					return n
				}
			}
			return n
		}
		first := fill()
		time.Sleep(2 * time.Hour)
		fill() // refused, and its alarms have had their time
		for range first {
			if fill() > 0 {
				return
			}
		}
		t.Errorf("after %d alarms the file is full for ever", first)
	})
}

func TestTheNewestEventRemembersTheNumber(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		db := open(t, o)
		record(t, db, raise("L", "A1", 2), raise("L", "A2", 2))
		if err := db.Confirm(t.Context(), "historian", receipt(db, 2, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if err := db.AgentStarted(t.Context(), nil); err != nil { // housekeeping rides on it
			t.Fatal(err)
		}
		if got, err := db.Range(db.Epoch(), edgeagent.Range{Stream: "alarm", From: 1, To: 2}); err != nil || len(got) != 1 {
			t.Errorf("%d events left, %v, want the newest alone", len(got), err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		if got := db.Backlog("historian"); got.Next["alarm"] != 3 || got.Confirmed != 2 {
			t.Errorf("backlog = %+v, want number 3 next and 2 confirmed", got)
		}
	})
}

func TestARefusedGapMakesNoGap(t *testing.T) {
	db := open(t, options(dataFile(t)))
	record(t, db, raise("L", "A", 2))
	if err := db.Park(t.Context(), "historian", pending(t, db, "historian")[0], nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Park(t.Context(), "historian", pending(t, db, "historian")[0], nil); err != nil {
		t.Fatal(err)
	}
	if b := db.Backlog("historian"); b.Events != 0 || b.Parked != 2 {
		t.Errorf("backlog = %+v, want nothing but two parked events", b)
	}
}

func TestAFrozenCaseStaysHereOnceThatIsForbidden(t *testing.T) {
	o := options(dataFile(t))
	o.Outside = func(string) bool { return true }
	db := open(t, o)
	record(t, db, raise("L", "A", 2))
	l := lease(t, db)
	if !l.Case.Outside {
		t.Fatal("the case may not leave, though its line allows it")
	}
	if err := db.Release(t.Context(), l, edgeagent.Outcome{}); err != nil {
		t.Fatal(err)
	}
	o.Outside = nil
	db.Configure(o)
	if lease(t, db).Case.Outside {
		t.Error("the case may leave the site, though the line forbids it now")
	}
}

func TestWhatDidNotFitAtOpenIsTakenBackWhenThereIsSpace(t *testing.T) {
	o := options(dataFile(t))
	o.CrashCostUSD = 0.25
	const jobs = 150 // more than the free pages of the file can take back
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range jobs {
		up := raise(fmt.Sprint("L", i), "A", 2)
		up.Alarm.Text = huge[:3000]
		record(t, db, up)
		lease(t, db)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = queue.OpenFull(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if s := db.Storage(); s.State != edgeagent.StorageFull || db.JobCounts().Running != jobs {
		t.Fatalf("storage %s with %d jobs running, want a full file with all of them", s.State, db.JobCounts().Running)
	}
	if l, err := db.Lease(t.Context()); l != nil || !errors.Is(err, edgeagent.ErrFull) {
		t.Errorf("Lease = %v, %v on a full file, want ErrFull", l, err)
	}
	if got := db.Spend().TodayUSD; !near(got, 0) {
		t.Errorf("spend = %v for interrupts that are not stored", got)
	}
	db.Grow()
	lease(t, db)
	if got := db.JobCounts(); got.Running != 1 || got.Pending != jobs-1 {
		t.Errorf("counts = %+v, want all but the leased one pending", got)
	}
	if got := db.Spend().TodayUSD; !near(got, jobs*0.25) {
		t.Errorf("spend = %v, want each crash booked once", got)
	}
}
