package queue

import (
	"path/filepath"
	"testing"
	"time"

	"edgeagent"
)

// A compacted file takes its name between the operations of a batch. A power
// cut right then finds a whole file, which knows nothing of that batch.
func TestCompactedAmidABatch(t *testing.T) {
	db, err := Open(t.Context(), Options{
		Path: filepath.Join(t.TempDir(), "agent.db"), Site: "plant-a", Agent: "gw", BootID: "boot-1",
		Destinations: []Destination{{Name: "historian", Required: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	up := edgeagent.Transition{Kind: edgeagent.TransitionRaised, At: time.Now(), Alarm: edgeagent.Alarm{
		ID: edgeagent.NewID(time.Now()), Line: "line-1", Code: "A1", State: edgeagent.AlarmUnacked, Diagnose: true, Revision: 1,
	}}
	frozen := db.freezeAll([]edgeagent.Transition{up})
	var found error
	err = db.do(t.Context(), "record and compact", func(b *batch) error {
		if _, err := b.record(&up, frozen[0]); err != nil {
			return err
		}
		db.compacting.changed = make(map[string][]byte)
		err := db.exchange(b, db.copyOut(db.bolt, b.o))
		found = walkFile(db.path) // what the power cut leaves
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != nil {
		t.Errorf("before the batch was committed: %v", found)
	}
	if err := walkFile(db.path); err != nil {
		t.Errorf("after it was: %v", err)
	}
}
