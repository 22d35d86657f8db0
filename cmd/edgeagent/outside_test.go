package main

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"edgeagent"
	"edgeagent/queue"
	"edgeagent/status"
)

func outsideRig(t *testing.T) (*rig, actions) {
	t.Helper()
	r := newRig(t, "[[line]]\nname = \"Filler-2\"\narea = \"Filling\"\n", startPanel(t).device("filler")).start()
	return r, actions{r.a}
}

// A client that got no answer asks again: one key is one alarm, however often
// and however fast.
func TestOutsideAlarmWithAKey(t *testing.T) {
	r, act := outsideRig(t)
	o := status.OutsideAlarm{Line: "Filler-2", Code: "SCADA-7", Text: "Air pressure low", By: "scada"}
	var all sync.WaitGroup
	var mu sync.Mutex
	ids, first := map[edgeagent.ID]int{}, 0
	for range 8 {
		all.Go(func() {
			a, created, err := act.Raise(t.Context(), o, "key-1", "hash-1")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if ids[a.ID]++; created {
				first++
			}
		})
	}
	all.Wait()
	if len(ids) != 1 || first != 1 || len(r.alarms("active")) != 1 {
		t.Errorf("%d alarms, made %d times", len(ids), first)
	}
	if _, _, err := act.Raise(t.Context(), o, "key-1", "hash-2"); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("the key with another body: %v", err)
	}
}

// Nor does it become many while the file takes nothing: who asks again every ten
// seconds would fill the memory with them.
func TestOutsideAlarmWithAKeyThatWaitsForTheFile(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler"))
	cfg := r.load()
	if err := os.MkdirAll(cfg.Agent.DataDir, 0o750); err != nil {
		t.Fatal(err)
	}
	db, err := queue.Open(t.Context(), queueOptions(cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a := newAgent(cfg, newLog(cfg.Log, r.log))
	b := newBench(t)
	b.desk.paper.fail = func([]edgeagent.Transition) error { return edgeagent.ErrFull }
	a.db.Store(db)
	a.conns.Store(&[]connection{})
	a.loop.Store(b.loop)
	a.table = b.table
	b.start()
	act, o := actions{a}, status.OutsideAlarm{Line: "Filler-2", Code: "SCADA-7", Text: "Air pressure low", By: "scada"}
	for range 5 {
		if _, _, err := act.Raise(t.Context(), o, "key-1", "hash-1"); !errors.Is(err, edgeagent.ErrFull) {
			t.Errorf("got %v, want that the file is full", err)
		}
	}
	if _, _, err := act.Raise(t.Context(), o, "key-1", "hash-2"); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("the key with another body: %v", err)
	}
	if n, _ := b.desk.Waiting(); n != 1 {
		t.Errorf("%d alarms wait, want one", n)
	}
	if _, _, err := act.Raise(t.Context(), o, "key-2", "hash-1"); !errors.Is(err, edgeagent.ErrFull) {
		t.Errorf("got %v, want that the file is full", err)
	}
	b.desk.paper.mend()
	b.stop()
	stored, err := db.Record(t.Context(), b.desk.paper.stored)
	if err != nil || len(stored) != 2 {
		t.Fatalf("stored %v, %v", stored, err)
	}
	if again, created, err := act.Raise(t.Context(), o, "key-1", "hash-1"); err != nil || created || again.ID != stored[0].ID || len(a.unstored) != 0 {
		t.Errorf("asked again: %s, made %v, %v; %d keys are left", again.ID, created, err, len(a.unstored))
	}
}

func TestOutsideAlarmIsFilledIn(t *testing.T) {
	r, act := outsideRig(t)
	a, _, err := act.Raise(t.Context(), status.OutsideAlarm{Device: "filler", Code: "X1", Text: "x"}, "", "")
	if err != nil || a.Line != "Filler-2" || a.Area != "Filling" || a.Priority != 3 || a.Origin != edgeagent.OriginOutside || a.Hint == nil {
		t.Errorf("got %+v, %v", a, err)
	}
	for _, o := range []status.OutsideAlarm{{Device: "nobody", Code: "X1"}, {Line: "Filler-2", Code: edgeagent.CodeDeviceStopped}, {Line: "Filler-2", Code: edgeagent.CodeConditionsFull}, {Device: "filler", Line: "Packer", Code: "X1"}} {
		if _, _, err := act.Raise(t.Context(), o, "", ""); !errors.Is(err, status.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if a, err := act.Clear(t.Context(), a.ID, "scada"); err != nil || a.State.Active() {
		t.Errorf("cleared: %+v, %v", a, err)
	}
	if n := len(r.alarms("active")); n != 0 {
		t.Errorf("%d alarms are left", n)
	}
}

// Before the data file is open nothing can be promised.
func TestActionsWhileTheFileIsChecked(t *testing.T) {
	r := newRig(t)
	act := actions{newAgent(r.load(), newLog(r.load().Log, r.log))}
	_, _, raised := act.Raise(t.Context(), status.OutsideAlarm{}, "", "")
	_, acked := act.Acknowledge(t.Context(), "x", "eve")
	_, reloaded := act.Reload(t.Context())
	for _, err := range []error{raised, acked, reloaded, act.ResumeDevice(t.Context(), "x", "eve", ""), act.RetryJob(t.Context(), "x", "eve")} {
		if !errors.Is(err, errChecking) {
			t.Errorf("got %v", err)
		}
	}
	if s := source(act).Status(); s.Storage.State != edgeagent.StorageChecking || len(s.Devices) != 0 {
		t.Errorf("got %+v", s.Storage)
	}
}

func TestJobOnTheCommandLine(t *testing.T) {
	r, act := outsideRig(t)
	a, _, err := act.Raise(t.Context(), status.OutsideAlarm{Line: "Filler-2", Code: "X1", Text: "Air pressure low", By: "scada"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var id edgeagent.ID
	eventually(t, "its job is done", func() bool {
		for _, j := range get[jobsAnswer](r, "/api/v1/jobs?state=completed").Jobs {
			id = j.ID
		}
		return id != ""
	})
	out, errOut, code := r.run("jobs", "show", string(id))
	if code != exitOK || !strings.Contains(out, "completed") || !strings.Contains(out, "by runbook") || !strings.Contains(out, "advisory only") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if out, _, code := r.run("jobs", "list"); code != exitOK || !strings.Contains(out, string(id)) {
		t.Errorf("exit %d\n%s", code, out)
	}
	if _, errOut, code := r.run("jobs", "retry", string(id)); code != exitFailed || errOut == "" {
		t.Errorf("a completed job was taken back: exit %d: %s", code, errOut)
	}
	if j, err := act.Feedback(t.Context(), id, edgeagent.Feedback{Verdict: "right", By: "eve"}); err != nil || j.Feedback == nil {
		t.Errorf("got %+v, %v", j.Feedback, err)
	}
	if got := get[edgeagent.Alarm](r, "/api/v1/alarms/"+string(a.ID)); got.Job != id {
		t.Errorf("the alarm names job %q, not %q", got.Job, id)
	}
}

// The watchdog's question: a loop that turns, and a file that is trusted.
func TestProgressing(t *testing.T) {
	r, _ := outsideRig(t)
	if !r.a.progressing() || r.a.healthy() != nil {
		t.Error("a running agent makes no progress")
	}
	r.a.mu.Lock()
	r.a.plant.stop() // it could beat again
	r.a.loop.Load().beat.Store(1)
	progressing := r.a.progressing()
	r.a.mu.Unlock()
	if progressing {
		t.Error("a loop that stands still makes progress")
	}
}
