package queue_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestFinishedJobsAndClosedAlarmsGoAfterTheirTime(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.Retain = 24 * time.Hour
		db := open(t, o)
		down := func(up edgeagent.Transition) edgeagent.Transition {
			now := time.Now()
			up.Kind, up.At, up.Evidence = edgeagent.TransitionCleared, now, nil
			up.Alarm.State, up.Alarm.ClearedAt, up.Alarm.Revision = edgeagent.AlarmNormal, &now, 2
			return up
		}
		done, open, waiting := raise("L", "DONE", 1), raise("M", "OPEN", 2), raise("N", "WAITING", 3)
		answered := record(t, db, done)[0]
		if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
			t.Fatal(err)
		}
		kept := record(t, db, open, waiting)
		record(t, db, down(done), down(waiting))

		time.Sleep(23 * time.Hour)
		record(t, db, raise("Z", "TICK", 4))
		if _, err := db.Job(answered.Job); err != nil {
			t.Errorf("job = %v before its time is over", err)
		}
		time.Sleep(2 * time.Hour)
		record(t, db, raise("Z", "TICK", 4))
		_, jobErr := db.Job(answered.Job)
		_, alarmErr := db.Alarm(answered.ID)
		_, evidenceErr := db.Evidence(answered.ID)
		for name, err := range map[string]error{"job": jobErr, "alarm": alarmErr, "evidence": evidenceErr} {
			if !errors.Is(err, edgeagent.ErrNotFound) {
				t.Errorf("%s = %v, want it gone", name, err)
			}
		}
		for _, a := range kept {
			if _, err := db.Alarm(a.ID); err != nil {
				t.Errorf("alarm %s is open or waits for its diagnosis, and reads %v", a.Code, err)
			}
			if j, err := db.Job(a.Job); err != nil || j.State != edgeagent.JobPending {
				t.Errorf("job of %s reads %s, %v", a.Code, j.State, err)
			}
		}
		if c := db.JobCounts(); c.Completed != 0 {
			t.Errorf("counts = %+v, want no completed one left", c)
		}
		if next := record(t, db, raise("L", "DONE", 1))[0]; next.LastTime != nil {
			t.Errorf("last time = %+v, want none: it is gone", next.LastTime)
		}
	})
}

// gone is a transition of an alarm that is over.
func gone(code string) edgeagent.Transition {
	up := raise("L-"+code, code, 2)
	up.Alarm.State, up.Alarm.Diagnose = edgeagent.AlarmNormal, false
	return up
}

func TestWhatStaysKeepsNothingBehindIt(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.Retain = time.Hour
		db := open(t, o)
		var all []edgeagent.Transition
		for i := range 300 { // more than one look at the file
			up := raise("L", fmt.Sprint("FOR-EVER", i), 2)
			up.Alarm.Diagnose = false
			all = append(all, up)
		}
		over := gone("OVER")
		record(t, db, append(all, over)...)
		time.Sleep(2 * time.Hour)
		for range 10 {
			time.Sleep(time.Minute)
			if err := db.AgentStarted(t.Context(), nil); err != nil { // housekeeping rides on it
				t.Fatal(err)
			}
		}
		if _, err := db.Alarm(over.Alarm.ID); !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("the alarm behind those that stay reads %v, want it gone", err)
		}
		if got := len(db.OpenAlarms()); got != 300 {
			t.Errorf("%d open alarms, want 300", got)
		}
	})
}

func TestDamageThatOnlyHousekeepingMeetsEndsNothing(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path))
		if err := db.Break(t.Context(), 'd'); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler"}); err != nil {
			t.Errorf("save = %v, want it stored in a file that is merely not tidied", err)
		}
	})
}

func TestKeysAndNamesGoWithTheirAlarms(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.Retain = time.Hour
		db := open(t, o)
		keyed := func() edgeagent.Transition {
			up := gone("OUTSIDE")
			up.Alarm.Origin, up.Key, up.KeyHash = edgeagent.OriginOutside, "key", "body"
			return up
		}
		first := record(t, db, keyed(), raise("L", "DIAGNOSED", 2))[0]
		if again := record(t, db, keyed())[0]; again.ID != first.ID {
			t.Fatalf("the same key made alarm %s beside %s", again.ID, first.ID)
		}
		time.Sleep(2 * time.Hour)
		if err := db.AgentStarted(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if _, _, known := db.ByKey("key"); known {
			t.Error("the key outlives its alarm")
		}
		if names, groups := db.Names(t.Context()); names != 1 || groups != 0 {
			t.Errorf("%d names and %d groups are remembered, want the open alarm's name alone", names, groups)
		}
		if again := record(t, db, keyed())[0]; again.ID == first.ID {
			t.Error("a key whose alarm is gone makes no new one")
		}
	})
}

func TestALeaseWakesTheNextWorker(t *testing.T) {
	db := open(t, options(dataFile(t)))
	record(t, db, raise("L", "A", 1), raise("M", "A", 1))
	<-db.JobsReady()
	lease(t, db)
	select {
	case <-db.JobsReady():
	default:
		t.Error("a second job is ready and nobody was woken")
	}
	lease(t, db)
	select {
	case <-db.JobsReady():
		t.Error("woken for nothing")
	default:
	}
}
