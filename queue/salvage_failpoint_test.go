//go:build failpoints

package queue_test

import (
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// A card whose file is damaged fails again while what was saved is put in its place:
// that must not be left for an empty file, nor keep the agent from starting.
func TestOneErrorMoreDoesNotThrowASalvageAway(t *testing.T) {
	for _, points := range []string{
		"swap.rename=eio@1", "swap.folder=eio@1", "aside.link=eio@1,aside.rename=eio@1", "aside.link=eio@1,swap.rename=eio@1", "aside.link=eio@1,swap.folder=eio@1",
	} {
		t.Run(points, func(t *testing.T) {
			path := dataFile(t)
			alarms := damaged(t, path)
			disarm, err := queue.Arm(points)
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			db := open(t, options(path))
			if s := db.Storage(); s.State != edgeagent.StorageSalvaged || len(db.OpenAlarms()) < len(alarms)/2 {
				t.Errorf("%d of %d alarms are there, storage = %+v", len(db.OpenAlarms()), len(alarms), s)
			}
		})
	}
}
