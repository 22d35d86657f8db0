package queue_test

import (
	"encoding/json"
	"errors"
	"testing"

	"edgeagent"
)

func TestOneAlarmFromRaiseToReceipt(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	a := record(t, db, raise("Filler-2", "F212", 2))[0]
	if a.Job == "" {
		t.Fatal("the alarm has no job")
	}
	l := lease(t, db)
	if l.Job != a.Job || len(l.Case.Alarms) != 1 || l.Case.Alarms[0].Evidence == nil || l.Case.Alarms[0].Alarm.Hint == nil {
		t.Fatalf("case = %+v, want the alarm with evidence and hint", l.Case)
	}
	if err := db.Complete(t.Context(), l, answer("dirty lens")); err != nil {
		t.Fatal(err)
	}
	events := pending(t, db, "historian")
	if len(events) != 2 || events[0].Type != edgeagent.EventAlarmRaised || events[1].Type != edgeagent.EventDiagnosisCompleted {
		t.Fatalf("events = %+v, want a raise and a diagnosis", events)
	}
	var e edgeagent.Event
	if err := json.Unmarshal(events[1].Body, &e); err != nil {
		t.Fatal(err)
	}
	var j edgeagent.Job
	if err := json.Unmarshal(e.Data, &j); err != nil {
		t.Fatal(err)
	}
	if j.State != edgeagent.JobCompleted || j.Diagnosis.Summary != "dirty lens" || len(j.Calls) != 1 || j.Alarms[0] != a.ID {
		t.Errorf("diagnosis.completed holds %+v", j)
	}
	receipt := edgeagent.Receipt{Epoch: db.Epoch(), Contig: map[edgeagent.Stream]uint64{"alarm": 1, "diagnosis": 1}}
	if err := db.Confirm(t.Context(), "historian", receipt); err != nil {
		t.Fatal(err)
	}
	if b := db.Backlog("historian"); b.Events != 0 || b.Confirmed != 2 {
		t.Errorf("backlog = %+v, want none and 2 confirmed", b)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = open(t, options(path))
	if got := job(t, db, a.Job); got.Diagnosis == nil || len(got.Timeline) != 3 || got.Timeline[2].Event != "completed" {
		t.Errorf("job after a restart = %+v", got)
	}
	if got := pending(t, db, "historian"); len(got) != 0 {
		t.Errorf("%d confirmed events are pending again", len(got))
	}
	if l, err := db.Lease(t.Context()); l != nil || err != nil {
		t.Errorf("Lease = %v, %v; a completed job is never leased again", l, err)
	}
}

func TestStaleTokenIsRefused(t *testing.T) {
	db := open(t, options(dataFile(t)))
	record(t, db, raise("L", "A1", 2))
	first := lease(t, db)
	if err := db.Release(t.Context(), first, edgeagent.Outcome{}); err != nil {
		t.Fatal(err)
	}
	second := lease(t, db)
	for name, err := range map[string]error{
		"complete": db.Complete(t.Context(), first, answer("late")),
		"retry":    db.Retry(t.Context(), first, edgeagent.Outcome{}, nil, 0),
		"release":  db.Release(t.Context(), first, edgeagent.Outcome{}),
	} {
		if !errors.Is(err, edgeagent.ErrLeaseLost) {
			t.Errorf("%s with a stale token = %v, want ErrLeaseLost", name, err)
		}
	}
	if err := db.Complete(t.Context(), second, answer("in time")); err != nil {
		t.Error(err)
	}
	if got := job(t, db, second.Job).Diagnosis.Summary; got != "in time" {
		t.Errorf("diagnosis = %q, want that of the valid lease", got)
	}
}
