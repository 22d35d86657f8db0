package queue_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// inBubble opens a data file with a group window of five virtual seconds.
func inBubble(t *testing.T, test func(t *testing.T, db *queue.DB)) {
	t.Helper()
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.GroupWindow = 5 * time.Second
		test(t, open(t, o))
	})
}

func nothingReady(t *testing.T, db *queue.DB) {
	t.Helper()
	if l, err := db.Lease(t.Context()); err != nil || l != nil {
		t.Fatalf("Lease = %+v, %v, want nothing ready", l, err)
	}
}

func TestAlarmsOfALineShareAJobUntilItIsLeased(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		first := record(t, db, raise("L1", "A1", 3))[0]
		time.Sleep(4 * time.Second)
		second := record(t, db, raise("L1", "A2", 1))[0]
		other := record(t, db, raise("L2", "A3", 2))[0]
		nothingReady(t, db)
		time.Sleep(time.Second) // the window is fixed by the first alarm
		late := record(t, db, raise("L1", "A4", 4))[0]
		l := lease(t, db)
		if l.Job != first.Job || second.Job != first.Job || late.Job != first.Job || other.Job == first.Job {
			t.Fatalf("jobs %s %s %s, other line %s; leased %s", first.Job, second.Job, late.Job, other.Job, l.Job)
		}
		if got := len(l.Case.Alarms); got != 3 {
			t.Errorf("case has %d alarms, want 3", got)
		}
		if p := job(t, db, l.Job).Priority; p != 1 {
			t.Errorf("priority = %d, want that of the highest alarm", p)
		}
		if next := record(t, db, raise("L1", "A5", 3))[0]; next.Job == l.Job {
			t.Error("an alarm joined a job that was leased: its case is frozen")
		}
	})
}

func TestWindowSurvivesARestart(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.GroupWindow = 5 * time.Second
		db := open(t, o)
		a := record(t, db, raise("L", "A1", 2))[0]
		time.Sleep(3 * time.Second)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		nothingReady(t, db)
		if b := record(t, db, raise("L", "A2", 2))[0]; b.Job != a.Job {
			t.Error("an alarm did not find the job that waits for it")
		}
		if at, ok := db.NextReady(); !ok || time.Until(at) != 2*time.Second {
			t.Errorf("next ready in %v, %v, want the 2 s that are left", time.Until(at), ok)
		}
		time.Sleep(2 * time.Second)
		lease(t, db)
	})
}

func TestAlarmsOfTheAgentGroupAmongThemselves(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		plant := record(t, db, raise("L", "A1", 2))[0]
		stop := func(device string) edgeagent.Transition {
			up := raise("L", edgeagent.CodeDeviceStopped, 2)
			up.Alarm.Device, up.Alarm.Origin = device, edgeagent.OriginAgent
			return up
		}
		one, two := record(t, db, stop("filler"))[0], record(t, db, stop("capper"))[0]
		if one.Job == plant.Job || one.Job != two.Job {
			t.Errorf("jobs: plant %s, stops %s and %s", plant.Job, one.Job, two.Job)
		}
	})
}

func TestAlarmsThatWantNoDiagnosisHaveNoJob(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		up := raise("L", "A1", 2)
		up.Alarm.Diagnose = false
		if a := record(t, db, up)[0]; a.Job != "" {
			t.Errorf("job = %s, want none", a.Job)
		}
	})
}

func TestClearedAlarmIsStillDiagnosed(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		up := raise("L", "A1", 2)
		a := record(t, db, up)[0]
		now := time.Now()
		down := edgeagent.Transition{Kind: edgeagent.TransitionCleared, At: now, From: a.State, Alarm: up.Alarm}
		down.Alarm.State, down.Alarm.ClearedAt, down.Alarm.Revision, down.Alarm.Hint = edgeagent.AlarmNormal, &now, 2, nil
		cleared := record(t, db, down)[0]
		if cleared.Job != a.Job || cleared.Hint == nil {
			t.Errorf("cleared alarm = %+v: it lost its job or its hint", cleared)
		}
		if len(db.OpenAlarms()) != 0 {
			t.Error("a normal alarm is still open")
		}
		time.Sleep(5 * time.Second)
		if l := lease(t, db); l.Case.Alarms[0].Alarm.State != edgeagent.AlarmNormal {
			t.Errorf("case = %+v, want the alarm as it is now", l.Case.Alarms[0].Alarm)
		}
	})
}

func TestAFloodSharesOneJobPerTenMinutes(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		o := options("")
		o.FloodWindow = 10 * time.Minute
		db.Configure(o)
		jobs := make(map[edgeagent.ID]int)
		for i := range 60 { // an alarm every ten seconds, for ten minutes
			jobs[record(t, db, raise("L", fmt.Sprint("A", i), 2))[0].Job]++
			time.Sleep(5 * time.Second)
			if l, err := db.Lease(t.Context()); err != nil {
				t.Fatal(err)
			} else if l != nil {
				if err := db.Complete(t.Context(), *l, answer("x")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(5 * time.Second)
		}
		if len(jobs) > 12 {
			t.Errorf("%d jobs for 60 alarms in ten minutes, want ten before the flood and one in it", len(jobs))
		}
		if !db.AlarmCounts().Flood {
			t.Error("the flood is not said")
		}
		time.Sleep(10 * time.Minute)
		if db.AlarmCounts().Flood {
			t.Error("the flood is over and still said")
		}
		lease(t, db) // the flood's job was not forgotten
	})
}

func TestAFloodKeepsNoAlarmOfPriorityOneWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		o := options("")
		o.FloodWindow, o.GroupWindow = 10*time.Minute, 5*time.Second
		db.Configure(o)
		for i := range 12 {
			record(t, db, raise("L", fmt.Sprint("A", i), 2))
		}
		time.Sleep(5 * time.Second)
		lease(t, db)
		waits := record(t, db, raise("L", "B", 2))[0]
		time.Sleep(10 * time.Second)
		nothingReady(t, db)
		record(t, db, raise("L", "C", 1))
		nothingReady(t, db)
		time.Sleep(5 * time.Second)
		if l := lease(t, db); l.Job != waits.Job || len(l.Case.Alarms) != 2 {
			t.Errorf("leased %s with %d alarms, want the flood's job with both", l.Job, len(l.Case.Alarms))
		}
		urgent := record(t, db, raise("L", "D", 1))[0]
		time.Sleep(5 * time.Second)
		if l := lease(t, db); l.Job != urgent.Job {
			t.Errorf("leased %s, want the job of priority 1", l.Job)
		}
	})
}

func TestOrderIsPriorityThenAgeThenID(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		var want []edgeagent.ID
		for i, priority := range []int{3, 1, 2, 1} {
			want = append(want, record(t, db, raise(fmt.Sprint("L", i), "A", priority))[0].Job)
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		got := []edgeagent.ID{lease(t, db).Job, lease(t, db).Job, lease(t, db).Job, lease(t, db).Job}
		want = []edgeagent.ID{want[1], want[3], want[2], want[0]}
		if !slices.Equal(got, want) {
			t.Errorf("leased %v, want %v", got, want)
		}
		nothingReady(t, db)
	})
}

func TestCaseHoldsWhatTheLineDidBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, db *queue.DB) {
		old := record(t, db, raise("L", "OLD", 2))[0]
		time.Sleep(11 * time.Minute)
		quiet := raise("L", "RECENT", 4)
		quiet.Alarm.Diagnose = false
		recent := record(t, db, quiet)[0]
		record(t, db, raise("elsewhere", "OTHER", 4))
		time.Sleep(time.Minute)
		if l := lease(t, db); l.Job != old.Job {
			t.Fatal("the old alarm's job comes first")
		}
		second, first := raise("L", "SECOND", 1), raise("L", "FIRST", 1)
		first.Alarm.FirstOut = true
		record(t, db, second, first)
		time.Sleep(5 * time.Second)
		c := lease(t, db).Case
		if len(c.Alarms) != 2 || c.Alarms[0].Alarm.Code != "FIRST" {
			t.Errorf("alarms = %+v, want the first-out first", c.Alarms)
		}
		if len(c.Related) != 1 || c.Related[0].ID != recent.ID || c.Related[0].Hint != nil {
			t.Errorf("related = %+v, want the one of the last ten minutes, without its hint", c.Related)
		}
	})
}
