package queue_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestCapCountsWhatIsReservedToo(t *testing.T) {
	o := options(dataFile(t))
	o.DailyCapUSD = 0.10
	db := open(t, o)
	if err := db.Reserve("a", 0.06); err != nil {
		t.Fatal(err)
	}
	if err := db.Reserve("b", 0.05); !errors.Is(err, queue.ErrCap) {
		t.Errorf("reserve beyond the cap = %v, want ErrCap", err)
	}
	db.Settle("a", 0.06, 0.01)
	if err := db.Reserve("b", 0.05); err != nil {
		t.Errorf("reserve after settling = %v", err)
	}
	if err := db.Reserve("c", 0); err != nil {
		t.Errorf("a free call = %v, want allowed whatever was spent", err)
	}
}

// What is spent never reaches the cap, for every call has to fit in at its worst:
// that the day's money is gone shows in what was refused.
func TestSpendSaysThatTheDayIsCapped(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.DailyCapUSD, o.Location = 0.10, time.UTC
		db := open(t, o)
		_ = db.Reserve("a", 0.06)
		_ = db.Reserve("b", 0.06) // only because of what a may cost
		db.Settle("a", 0.06, 0.01)
		if db.Spend().Capped {
			t.Error("capped, although the same call would be let through now")
		}
		_ = db.Reserve("b", 0.06)
		db.Settle("b", 0.06, 0.05)
		if err := db.Reserve("c", 0.06); !errors.Is(err, queue.ErrCap) || !db.Spend().Capped {
			t.Errorf("%v, %+v: the cloud is not asked any more, and it does not show", err, db.Spend())
		}
		time.Sleep(24 * time.Hour)
		if db.Spend().Capped {
			t.Error("still capped on the next day")
		}
	})
}

func TestSpendSurvivesARestartAndEndsWithTheLocalDay(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.Location = time.FixedZone("plant", 2*3600)
		db := open(t, o)
		record(t, db, raise("L", "A1", 2))
		l := lease(t, db)
		if err := db.Reserve(l.Job, 0.05); err != nil {
			t.Fatal(err)
		}
		db.Settle(l.Job, 0.05, 0.01)
		if err := db.Complete(t.Context(), l, answer("x")); err != nil { // its call cost the same 0.01
			t.Fatal(err)
		}
		if got := db.Spend().TodayUSD; !near(got, 0.01) {
			t.Errorf("spend = %v, want 0.01: settled and completed is one cost", got)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		if got := db.Spend().TodayUSD; !near(got, 0.01) {
			t.Errorf("spend after a restart = %v, want 0.01", got)
		}
		time.Sleep(21*time.Hour + 59*time.Minute) // a bubble begins at midnight UTC, two at the plant
		if got := db.Spend().TodayUSD; !near(got, 0.01) {
			t.Errorf("spend at 23:59 of the plant = %v, want 0.01", got)
		}
		time.Sleep(time.Minute)
		if got := db.Spend().TodayUSD; got != 0 {
			t.Errorf("spend of the new day = %v, want none", got)
		}
	})
}

func TestCallsThatNobodySettledAreBookedWithTheLease(t *testing.T) {
	db := open(t, options(dataFile(t)))
	record(t, db, raise("L", "A1", 2))
	l := lease(t, db)
	if err := db.Retry(t.Context(), l, edgeagent.Outcome{Calls: answer("").Calls}, offline, 0); err != nil {
		t.Fatal(err)
	}
	if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
		t.Fatal(err)
	}
	if got := db.Spend().TodayUSD; !near(got, 0.02) {
		t.Errorf("spend = %v, want both calls", got)
	}
}
