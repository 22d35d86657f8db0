package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// confirmAll has a destination confirm all that was written in this epoch.
func confirmAll(t *testing.T, db *queue.DB, dest string) {
	t.Helper()
	r := edgeagent.Receipt{Epoch: db.Epoch(), Contig: map[edgeagent.Stream]uint64{}}
	for s, next := range db.Backlog(dest).Next {
		r.Contig[s] = next - 1
	}
	if err := db.Confirm(t.Context(), dest, r); err != nil {
		t.Fatal(err)
	}
}

// starts writes so many events.
func starts(t *testing.T, db *queue.DB, n int) {
	t.Helper()
	for range n {
		if err := db.AgentStarted(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A box whose clock was wrong for a minute, years back or years ahead, has dated
// events by it. They must not keep all that comes behind them for ever: the file
// would fill up.
func TestEventsOfAWrongClockKeepNothingBehindThem(t *testing.T) {
	const now = 26 * year
	for name, wrong := range map[string]time.Duration{"years back": 10 * year, "years ahead": 36 * year} {
		t.Run(name, func(t *testing.T) {
			path := dataFile(t)
			at(t, now, func(t *testing.T) { starts(t, open(t, options(path)), 1) })
			at(t, wrong, func(t *testing.T) { starts(t, open(t, options(path)), 300) })
			at(t, now+time.Hour, func(t *testing.T) {
				db := open(t, options(path))
				starts(t, db, 20)
				confirmAll(t, db, "historian")
				time.Sleep(48 * time.Hour) // much longer than anything is kept
				for range 4 {
					time.Sleep(2 * time.Minute)
					starts(t, db, 1)
					confirmAll(t, db, "historian")
				}
				left, err := db.Range(db.Epoch(), edgeagent.Range{Stream: edgeagent.StreamEvent, From: 1, To: 1000})
				if err != nil || len(left) > 4 {
					t.Errorf("%d events are left, %v; want those of the last minutes", len(left), err)
				}
			})
		})
	}
}

// The same of jobs and alarms: of a box without a battery every start makes some. What
// they are told from then on is how long anybody could have looked at them.
func TestJobsAndAlarmsOfAWrongClockGoAfterTheirTime(t *testing.T) {
	const now = 26 * year
	for name, wrong := range map[string]time.Duration{"years back": 10 * year, "years ahead": 36 * year} {
		t.Run(name, func(t *testing.T) {
			path := dataFile(t)
			o := options(path)
			o.Retain = 72 * time.Hour
			var over, stands edgeagent.Alarm
			at(t, now, func(t *testing.T) { record(t, open(t, o), raise("Z", "TICK", 4)) })
			at(t, wrong, func(t *testing.T) {
				db := open(t, o)
				up := raise("L", "A", 1)
				over = record(t, db, up)[0]
				if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
					t.Fatal(err)
				}
				down := time.Now()
				up.Kind, up.At, up.Evidence = edgeagent.TransitionCleared, down, nil
				up.Alarm.State, up.Alarm.ClearedAt, up.Alarm.Revision = edgeagent.AlarmNormal, &down, 2
				record(t, db, up)
				stands = record(t, db, raise("M", "B", 2))[0]
			})
			at(t, now+time.Hour, func(t *testing.T) {
				db := open(t, o)
				left := func() (found [2]bool) {
					for range 8 { // whose turn it is to be looked at
						time.Sleep(2 * time.Minute)
						starts(t, db, 1)
					}
					_, jobErr := db.Job(over.Job)
					_, alarmErr := db.Alarm(over.ID)
					return [2]bool{jobErr == nil, alarmErr == nil}
				}
				left()
				time.Sleep(60 * time.Hour)
				if got := left(); got != [2]bool{true, true} {
					t.Errorf("job and alarm are there: %v; want both for as long as anything is kept", got)
				}
				time.Sleep(60 * time.Hour)
				if got := left(); got != [2]bool{false, false} {
					t.Errorf("job and alarm are there: %v; want neither", got)
				}
				if _, err := db.Alarm(stands.ID); err != nil {
					t.Errorf("an alarm that is open is gone: %v", err)
				}
			})
		})
	}
}

// The last events of an earlier epoch go before a destination that nobody waits for
// has them: it is told, as it is of those of this epoch.
func TestTheEndOfAnEarlierEpochIsToldToo(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.Destinations = append(o.Destinations, queue.Destination{Name: "mes", Keep: time.Hour})
		db := open(t, o)
		first := db.Epoch()
		record(t, db, raise("L", "A1", 2), raise("L", "A2", 2), raise("L", "A3", 2))
		confirmAll(t, db, "historian")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		o.Agent = "renamed"
		db = open(t, o)
		time.Sleep(3 * time.Hour)
		for range 2 {
			time.Sleep(2 * time.Minute)
			record(t, db, raise("L", "B", 2)) // housekeeping rides on a commit
		}
		if left, err := db.Range(first, edgeagent.Range{Stream: edgeagent.StreamAlarm, From: 1, To: 3}); err != nil || len(left) != 0 {
			t.Fatalf("%d events left, %v: this proves nothing", len(left), err)
		}
		gaps := wholeGaps(t, db)
		if len(gaps) != 1 || gaps[0].Epoch != first || gaps[0].Stream != edgeagent.StreamAlarm || gaps[0].From != 1 || gaps[0].To != 3 {
			t.Errorf("gaps = %+v, want alarms 1 to 3 of the first epoch", gaps)
		}
	})
}
