package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent"
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

// A file that is full for a night is asked every minute: the alarm that waits for
// it waits once, or the answers of a patient client eat the memory.
func TestOutsideAlarmWithAKeyWaitsOnce(t *testing.T) {
	r, _ := outsideRig(t)
	b := newBench(t)
	b.desk.paper.fail = func([]edgeagent.Transition) error { return edgeagent.ErrFull }
	b.start()
	full := &agent{table: b.table, rec: b.desk.recorder, raising: make(chan struct{}, 1)}
	full.cfg.Store(r.load())
	full.db.Store(r.a.db.Load())
	full.loop.Store(b.loop)
	full.conns.Store(&[]connection{})
	o := status.OutsideAlarm{Line: "Filler-2", Code: "SCADA-7", Text: "Air pressure low", By: "scada"}
	for range 3 {
		if _, _, err := (actions{full}).Raise(t.Context(), o, "key-1", "hash-1"); !errors.Is(err, edgeagent.ErrFull) {
			t.Errorf("got %v, want that the file is full", err)
		}
	}
	if n, _ := full.rec.Waiting(); n != 1 {
		t.Errorf("%d alarms wait for one key", n)
	}
	if _, _, err := (actions{full}).Raise(t.Context(), o, "key-1", "hash-2"); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("the key with another body: %v", err)
	}
	b.desk.paper.mend()
	b.stop()
	if n := len(b.desk.paper.ids()); n != 1 {
		t.Errorf("%d alarms were stored of one key", n)
	}
}

// A disk that is slow is not full: who asks again gets the alarm that it asked for.
func TestOutsideAlarmWithAKeyThatIsOnItsWay(t *testing.T) {
	r, act := outsideRig(t)
	o := status.OutsideAlarm{Line: "Filler-2", Code: "SCADA-7", Text: "Air pressure low", By: "scada"}
	var first edgeagent.ID
	err := r.a.loop.Load().do(t.Context(), func(l *loop) {
		tr := l.engine.Outside(edgeagent.Alarm{Line: o.Line, Code: o.Code, Origin: edgeagent.OriginOutside, Priority: 3}, nil, time.Now())
		tr.Key, tr.KeyHash, first = "key-1", "hash-1", tr.Alarm.ID
		l.recorder.mu.Lock()
		defer l.recorder.mu.Unlock()
		l.recorder.waiting = append(l.recorder.waiting, entry{transition: tr})
	})
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, _, err := act.Raise(gone, o, "key-1", "hash-1"); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone: %v", err)
	}
	again := make(chan error, 1)
	go func() {
		a, created, err := act.Raise(t.Context(), o, "key-1", "hash-1")
		if err == nil && (created || a.ID != first) {
			err = fmt.Errorf("%s is another than %s", a.ID, first)
		}
		again <- err
	}()
	eventually(t, "it is asked for again", func() bool { return len(r.a.raising) == 1 || len(again) == 1 })
	r.a.rec.wake <- struct{}{}
	if err := <-again; err != nil {
		t.Error(err)
	}
}

// Whoever has gone does not wait behind the one whose alarm the disk holds up.
func TestOutsideAlarmOfWhoHasGone(t *testing.T) {
	r := newRig(t, startPanel(t).device("filler"))
	a := newAgent(r.load(), newLog(r.load().Log, r.log))
	b := newBench(t)
	held := make(chan struct{})
	b.desk.paper.fail = func([]edgeagent.Transition) error { <-held; return edgeagent.ErrFull }
	a.conns.Store(&[]connection{})
	a.loop.Store(b.loop)
	a.table = b.table
	b.start()
	act, o := actions{a}, status.OutsideAlarm{Line: "Filler-2", Code: "SCADA-7", Text: "Air pressure low"}
	first := make(chan error, 1)
	go func() {
		_, _, err := act.Raise(t.Context(), o, "", "")
		first <- err
	}()
	eventually(t, "the first is on its way", func() bool { return len(a.raising) == 1 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	second := make(chan error, 1)
	go func() {
		_, _, err := act.Raise(gone, o, "", "")
		second <- err
	}()
	select {
	case err := <-second:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("who has gone still waits")
	}
	close(held)
	if err := <-first; !errors.Is(err, edgeagent.ErrFull) {
		t.Errorf("the first: %v", err)
	}
	b.desk.paper.mend()
	b.stop()
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
