package queue_test

import (
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// A record that rotted in the open file must not keep alarms from being stored: what
// the file does not take is tried again for ever, and all others wait behind it.
func TestDamageInTheOpenFileHoldsUpNoAlarm(t *testing.T) {
	for name, hit := range map[string]struct {
		damage func(t *testing.T, db *queue.DB, a edgeagent.Alarm) error
		next   func(a edgeagent.Alarm) edgeagent.Transition
	}{
		"the job that it would join": {
			func(t *testing.T, db *queue.DB, a edgeagent.Alarm) error { return db.DamageJob(t.Context(), a.Job) },
			func(edgeagent.Alarm) edgeagent.Transition { return raise("L", "NEXT", 2) },
		},
		"the alarm of its key": {
			func(t *testing.T, db *queue.DB, a edgeagent.Alarm) error { return db.DamageAlarm(t.Context(), a.ID) },
			func(edgeagent.Alarm) edgeagent.Transition { return outside("NEXT") },
		},
		"the alarm itself": {
			func(t *testing.T, db *queue.DB, a edgeagent.Alarm) error { return db.DamageAlarm(t.Context(), a.ID) },
			func(a edgeagent.Alarm) edgeagent.Transition {
				now := time.Now()
				a.AckedAt, a.Revision = &now, a.Revision+1
				return edgeagent.Transition{Kind: edgeagent.TransitionAcked, At: now, Alarm: a}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := dataFile(t)
			up := outside("FIRST")
			up.Alarm.State = edgeagent.AlarmNormal // not in memory
			db := open(t, options(path))
			first := record(t, db, up)[0]
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, options(path))
			if err := hit.damage(t, db, first); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Record(t.Context(), []edgeagent.Transition{hit.next(first)}); err != nil {
				t.Errorf("record = %v, want it stored", err)
			}
		})
	}
}

// outside is an alarm from outside, with a key.
func outside(code string) edgeagent.Transition {
	up := raise("L", code, 2)
	up.Alarm.Origin, up.Key, up.KeyHash = edgeagent.OriginOutside, "key", "body"
	return up
}
