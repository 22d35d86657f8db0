package queue_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

func TestTheStoredCaseIsTheOneThatWasLeased(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	a := record(t, db, raise("L", "A1", 2))[0]
	if _, err := db.Case(a.Job); !errors.Is(err, edgeagent.ErrNotFound) || !strings.Contains(err.Error(), "not begun") {
		t.Errorf("the case of a job that nobody began: %v", err)
	}
	if _, err := db.Case(edgeagent.NewID(time.Now())); !errors.Is(err, edgeagent.ErrNotFound) {
		t.Errorf("the case of no job: %v", err)
	}
	l := lease(t, db)
	if err := db.Complete(t.Context(), l, answer("foam")); err != nil {
		t.Fatal(err)
	}
	before := job(t, db, a.Job)
	c, err := db.Case(a.Job)
	if err != nil || c.Job != a.Job || !c.At.Equal(l.Case.At) || len(c.Alarms) != 1 || c.Alarms[0].Evidence == nil || c.Alarms[0].Evidence.WindowS != 600 {
		t.Errorf("case = %+v, %v", c, err)
	}
	if after := job(t, db, a.Job); len(after.Timeline) != len(before.Timeline) {
		t.Error("reading a case left a trace in its job")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := queue.OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if again, err := r.Case(a.Job); err != nil || again.First().Evidence == nil || again.First().Alarm.ID != a.ID {
		t.Errorf("without an agent: %+v, %v", again, err)
	}
	if open := r.OpenAlarms(); len(open) != 1 || open[0].ID != a.ID {
		t.Errorf("open alarms of the file: %+v", open)
	}
}

func TestAroundKnowsTheLineAndTheTimesBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := dataFile(t)
		db := open(t, options(path))
		old := record(t, db, raise("L", "OLD", 2))[0]
		time.Sleep(11 * time.Minute)
		near := record(t, db, raise("L", "NEAR", 2))[0]
		time.Sleep(time.Minute)
		other := record(t, db, raise("M", "OTHER", 2))[0]
		first := record(t, db, raise("L", "A1", 2))[0]
		time.Sleep(5 * time.Minute)
		later := record(t, db, raise("L", "LATER", 2))[0]
		time.Sleep(3 * time.Hour)
		late := record(t, db, raise("L", "LATE", 2))[0]
		c, err := db.Around(edgeagent.Case{Line: "L", Alarms: []edgeagent.CaseAlarm{{Alarm: first}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range c.Related {
			got = append(got, a.Code)
			if a.Hint != nil {
				t.Errorf("%s carries its hint", a.Code)
			}
		}
		if strings.Join(got, " ") != "NEAR LATER" {
			t.Errorf("related = %v of %v", got, []edgeagent.ID{old.ID, near.ID, other.ID, later.ID, late.ID})
		}
	})
}

func TestChargeOutlivesTheProcessAndIsTakenOnce(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	o.DailyCapUSD = 1
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	id := edgeagent.NewID(time.Now())
	if err := db.Reserve(id, 0.4); err != nil {
		t.Fatal(err)
	}
	db.Settle(id, 0.4, 0.3)
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Charge(cut, id, 0.3); err == nil {
		t.Error("a charge that nobody waits for was booked")
	}
	for range 2 { // the second finds nothing left to book beyond what it names
		if err := db.Charge(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Reserve(id, 0.8); !errors.Is(err, queue.ErrCap) {
		t.Errorf("the cap does not know of it: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := queue.OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if usd, err := r.SpentUSD(time.Now().UTC()); err != nil || math.Abs(usd-0.3) > 1e-9 {
		t.Errorf("the file says %v, %v", usd, err)
	}
	if usd, err := r.SpentUSD(time.Now().UTC().AddDate(0, 0, 2)); err != nil || usd != 0 {
		t.Errorf("another day: %v, %v", usd, err)
	}
	_ = r.Close()
	if got := open(t, o).Spend().TodayUSD; math.Abs(got-0.3) > 1e-9 {
		t.Errorf("after a restart %v USD are spent", got)
	}
}
