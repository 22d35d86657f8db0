package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"edgeagent"
)

func openNow(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Options{
		Path: path, BootID: "boot-1", Location: time.UTC, Destinations: []Destination{{Name: "historian", Required: true, Keep: time.Hour}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the second time it is closed says nothing
	return db
}

// raisesOf returns so many raises of an alarm on each of a few lines, with rising ids.
func raisesOf(lines, each int) []edgeagent.Transition {
	ts := make([]edgeagent.Transition, 0, lines*each)
	for i := range lines * each {
		now := time.Now()
		ts = append(ts, edgeagent.Transition{
			Kind: edgeagent.TransitionRaised, At: now, Evidence: &edgeagent.Evidence{At: now, WindowS: 600},
			Alarm: edgeagent.Alarm{
				ID: edgeagent.NewID(now), Device: "filler", Line: fmt.Sprint("L", i%lines), Code: fmt.Sprint("F", i%(3*lines)), Text: "Level sensor unstable",
				Origin: edgeagent.OriginTag, Priority: 2, State: edgeagent.AlarmUnacked, RaisedAt: now, Diagnose: true, Revision: 1,
			},
		})
	}
	return ts
}

// reads records raises and returns how often the data file was looked into for it.
func reads(t *testing.T, db *DB, ts []edgeagent.Transition) (n int64) {
	t.Helper()
	frozen := db.freezeAll(ts)
	err := db.do(t.Context(), "record", func(b *batch) error {
		b.db.keeper.join()
		before := b.db.tx.Stats().CursorCount // bbolt finds nothing without one
		for i := range ts {
			if _, err := b.record(&ts[i], frozen[i]); err != nil {
				return err
			}
		}
		n = b.db.tx.Stats().CursorCount - before
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A checkpoint takes long on a slow card. A storm does not wait for it, for there
// is nothing that the committer has to look up.
func TestAStormReadsNothing(t *testing.T) {
	const lines = 5
	path := filepath.Join(t.TempDir(), "agent.db")
	db := openNow(t, path)
	reads(t, db, raisesOf(lines, 3))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openNow(t, path)
	if n := reads(t, db, raisesOf(lines, 1)); n == 0 {
		t.Error("nothing was read for the first alarm of each line after a start: what is counted?")
	}
	for part := range 4 { // more than maxYoung
		ts := raisesOf(lines, 100)
		for some := range slices.Chunk(ts, 40) { // they overtake each other
			slices.Reverse(some)
		}
		if n := reads(t, db, ts); n != 0 {
			t.Errorf("part %d of the storm: the file was looked into %d times for %d raises", part, n, len(ts))
		}
	}
	l, err := db.Lease(t.Context())
	if err != nil || l == nil || len(l.Case.Alarms) == 0 {
		t.Fatalf("Lease = %v, %v", l, err)
	}
	if n := reads(t, db, raisesOf(lines, 3)); n != 0 {
		t.Errorf("one job is being worked on: the file was looked into %d times", n)
	}
}

// What is found without the file is what the file says.
func TestTheLastTimeOfAnOpenAlarmIsThatOfTheFile(t *testing.T) {
	db := openNow(t, filepath.Join(t.TempDir(), "agent.db"))
	if _, err := db.Record(t.Context(), raisesOf(2, 10)); err != nil {
		t.Fatal(err)
	}
	err := db.do(t.Context(), "compare", func(b *batch) error {
		for id := range b.w.alarms {
			known, _ := b.precedent(id)
			found, kept := precedentIn(b.getJSON, id)
			if !kept || !known.At.Equal(found.At) || known.Alarm != found.Alarm || known.Cause+known.FixedBy != found.Cause+found.FixedBy {
				t.Errorf("the last time of %s is %+v, in the file %+v", id, known, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An alarm that is over is not at hand: whether it came before the file alone knows.
func TestAnAlarmThatIsThereIsNeverTakenForNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	db := openNow(t, path)
	ts := raisesOf(3, 20)
	for i := range ts {
		ts[i].Alarm.State, ts[i].Alarm.ClearedAt, ts[i].Alarm.AckedAt = edgeagent.AlarmNormal, &ts[i].At, &ts[i].At
	}
	slices.Reverse(ts)
	twice := append(slices.Clone(ts), ts...) // in one batch
	record := func(when string) {
		t.Helper()
		if _, err := db.Record(t.Context(), twice); err != nil {
			t.Fatal(err)
		}
		if n := db.view.Load().last[streamKey{db.Epoch(), edgeagent.StreamAlarm}]; n != uint64(len(ts)) {
			t.Fatalf("%s: %d events of %d alarms", when, n, len(ts))
		}
	}
	record("at first")
	record("again")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openNow(t, path)
	record("after a start")
	if err := db.do(t.Context(), "age", func(b *batch) error {
		for range 3 * maxYoung {
			b.w.known.add(rawOf(edgeagent.NewID(time.Now())))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	record("after many others")
}

func TestRecordedSaysNewOfWhatIsNewAlone(t *testing.T) {
	now := time.Now()
	ids := make([]rawID, 5*maxYoung)
	for i := range ids {
		ids[i] = rawOf(edgeagent.NewID(now))
	}
	var r recorded
	r.raise(ids[0])
	for n, some := range slices.Collect(slices.Chunk(ids[1:], 60)) {
		slices.Reverse(some)
		for _, id := range some {
			if r.mayBe(id) {
				t.Errorf("of %d: %x may have been recorded, and is new", n, id)
			}
			r.add(id)
		}
	}
	for _, id := range ids {
		if !r.mayBe(id) {
			t.Errorf("%x was recorded, and is taken for new", id)
		}
	}
	if back := rawOf(edgeagent.NewID(now.Add(-time.Hour))); !r.mayBe(back) {
		t.Error("under a clock that was set back an alarm is taken for new without a look")
	}
	if len(r.young) > maxYoung || len(r.older) > maxYoung {
		t.Errorf("%d and %d alarms are kept, want at most %d", len(r.young), len(r.older), maxYoung)
	}
}

// A batch that was taken back leaves its alarms new: they are recorded when they
// come again.
func TestAnAlarmThatWasTakenBackIsRecordedWhenItComesAgain(t *testing.T) {
	db := openNow(t, filepath.Join(t.TempDir(), "agent.db"))
	ts := raisesOf(2, 3)
	refused := errors.New("refused")
	err := db.do(t.Context(), "record", func(b *batch) error {
		for i, f := range db.freezeAll(ts) {
			if _, err := b.record(&ts[i], f); err != nil {
				return err
			}
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	got, err := db.Record(context.WithoutCancel(t.Context()), ts)
	if err != nil || len(db.OpenAlarms()) != len(ts) || got[0].Job == "" {
		t.Errorf("%d alarms of %d are open after they came again, %v", len(db.OpenAlarms()), len(ts), err)
	}
}
