//go:build failpoints

package queue_test

import (
	"context"
	"errors"
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

// Damage that our own reading misses bbolt panics over: the file that a process of its
// own has found damaged is not taken for what was saved of it.
func TestOneErrorMoreDoesNotTakeTheDamagedFile(t *testing.T) {
	for _, points := range []string{"swap.rename=eio@1", "swap.folder=eio@1", "aside.link=eio@1,aside.rename=eio@1", "aside.link=eio@1,swap.rename=eio@1"} {
		t.Run(points, func(t *testing.T) {
			o := options(dataFile(t))
			db := open(t, o)
			record(t, db, raise("L", "A1", 1))
			epoch := db.Epoch()
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			disarm, err := queue.Arm(points)
			if err != nil {
				t.Fatal(err)
			}
			defer disarm()
			o.BootID = "another boot" // else there is no check
			o.Check = func(context.Context, string) error { return errors.New("panic: page 7 already freed") }
			db = open(t, o)
			if s := db.Storage(); s.State != edgeagent.StorageSalvaged || db.Epoch() == epoch || len(db.OpenAlarms()) != 1 {
				t.Errorf("epoch %s after %s with %d alarms, storage = %+v, want what was salvaged", db.Epoch(), epoch, len(db.OpenAlarms()), s)
			}
		})
	}
}
