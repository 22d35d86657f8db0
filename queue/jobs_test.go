package queue_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

var offline = edgeagent.NewNote("unreachable", "cloud: no route to host")

func TestAttemptsCountWhenTheyEndAndTheLastOneFailsTheJob(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		db := open(t, options(path)) // three attempts
		a := record(t, db, raise("L", "A1", 2))[0]
		for attempt := 1; attempt <= 3; attempt++ {
			l := lease(t, db)
			if l.Attempt != attempt {
				t.Errorf("attempt = %d, want %d", l.Attempt, attempt)
			}
			spent := edgeagent.Outcome{Calls: []edgeagent.Call{{Provider: "cloud", Outcome: edgeagent.CallUnreachable}}}
			if err := db.Retry(t.Context(), l, spent, offline, time.Minute); err != nil {
				t.Fatal(err)
			}
			if attempt < 3 {
				nothingReady(t, db)
				time.Sleep(time.Minute)
			}
		}
		time.Sleep(time.Hour)
		nothingReady(t, db)
		j := job(t, db, a.Job)
		if j.State != edgeagent.JobFailed || j.Attempts != 3 || len(j.Calls) != 3 || j.LastError.String() != offline.Text || j.FinishedAt == nil {
			t.Errorf("job = %+v, want failed after three attempts with their calls", j)
		}
		events := wholeStream(t, db, edgeagent.StreamDiagnosis)
		if len(events) != 1 || events[0].Type != edgeagent.EventJobFailed || jobOf(t, events[0]).Attempts != 3 {
			t.Errorf("events = %+v, want one job.failed", events)
		}
	})
}

func TestAPersonGivesAFailedJobAnotherSetOfAttempts(t *testing.T) {
	db := open(t, options(dataFile(t)))
	a := record(t, db, raise("L", "A1", 2))[0]
	failJob(t, db)
	if err := db.RetryJob(t.Context(), a.Job, "erika"); err != nil {
		t.Fatal(err)
	}
	if j := job(t, db, a.Job); j.Attempts != 0 || j.FinishedAt != nil || j.NextTryAt == nil {
		t.Errorf("job = %+v, want a fresh one", j)
	}
	failJob(t, db)
	if err := db.RetryJob(t.Context(), a.Job, "erika"); err != nil {
		t.Fatal(err)
	}
	if err := db.Complete(t.Context(), lease(t, db), answer("at last")); err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for _, e := range wholeStream(t, db, edgeagent.StreamDiagnosis) {
		ids[e.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d different events, want two failures and one diagnosis", len(ids))
	}
	if err := db.RetryJob(t.Context(), a.Job, "erika"); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("retry of a completed job = %v, want ErrConflict", err)
	}
	if c := db.JobCounts(); c != (edgeagent.JobCounts{Completed: 1}) {
		t.Errorf("counts = %+v, want one completed", c)
	}
}

// failJob uses up the attempts of the only job.
func failJob(t *testing.T, db *queue.DB) {
	t.Helper()
	for db.JobCounts().Failed == 0 {
		if err := db.Retry(t.Context(), lease(t, db), edgeagent.Outcome{}, offline, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestShutdownCostsNoAttemptAndKeepsTheCalls(t *testing.T) {
	db := open(t, options(dataFile(t)))
	a := record(t, db, raise("L", "A1", 2))[0]
	l := lease(t, db)
	if err := db.Release(t.Context(), l, edgeagent.Outcome{Calls: answer("").Calls}); err != nil {
		t.Fatal(err)
	}
	j := job(t, db, a.Job)
	if j.State != edgeagent.JobPending || j.Attempts != 0 || len(j.Calls) != 1 || db.Spend().TodayUSD != 0.01 {
		t.Errorf("job = %+v, spend %+v; want no attempt, the call and its cost", j, db.Spend())
	}
	again := lease(t, db)
	if again.Attempt != 1 || !again.Case.At.Equal(l.Case.At) {
		t.Errorf("lease = %+v, want attempt 1 of the same frozen case", again)
	}
}

func TestRunningJobsAtOpenAreInterruptsAndTheThirdOfABootFails(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	o.CrashCostUSD = 0.02
	db := open(t, o)
	id := record(t, db, raise("L", "A1", 2))[0].Job
	boots := []string{"boot-1", "boot-2", "boot-2", "boot-2", "boot-2"}
	for i, want := range []edgeagent.JobState{"pending", "pending", "pending", "pending", "failed"} {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		o.BootID = boots[i]
		db = open(t, o)
		j := job(t, db, id)
		if j.State != want {
			t.Fatalf("open %d under %s: %s after %d interrupts, want %s", i, o.BootID, j.State, j.Interrupts, want)
		}
		if want == edgeagent.JobFailed {
			if !j.LastError.Is("crash") || j.Interrupts != 4 || j.Attempts != 0 {
				t.Errorf("job = %+v, want failed by a crash, without an attempt counted", j)
			}
			if got := db.Spend().TodayUSD; got < 0.0799 || got > 0.0801 {
				t.Errorf("spend = %v, want the worst case of four crashes", got)
			}
			return
		}
		lease(t, db) // and the process ends
	}
}

func TestDiscardedJobLosesItsLease(t *testing.T) {
	db := open(t, options(dataFile(t)))
	a := record(t, db, raise("L", "A1", 2))[0]
	l := lease(t, db)
	if err := db.Discard(t.Context(), a.Job, "erika", "known"); err != nil {
		t.Fatal(err)
	}
	if err := db.Complete(t.Context(), l, answer("late")); !errors.Is(err, edgeagent.ErrLeaseLost) {
		t.Errorf("complete = %v, want ErrLeaseLost", err)
	}
	if err := db.Discard(t.Context(), a.Job, "erika", "again"); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("second discard = %v, want ErrConflict", err)
	}
	j := job(t, db, a.Job)
	if j.State != edgeagent.JobDiscarded || !strings.Contains(j.Timeline[2].Detail.Text, "known") {
		t.Errorf("job = %+v, want discarded with the reason", j)
	}
}

func TestFeedbackIsTheNextLastTime(t *testing.T) {
	db := open(t, options(dataFile(t)))
	first := record(t, db, raise("L", "A1", 2))[0]
	if err := db.Feedback(t.Context(), first.Job, edgeagent.Feedback{Verdict: edgeagent.VerdictRight}); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("feedback without a diagnosis = %v, want ErrConflict", err)
	}
	if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
		t.Fatal(err)
	}
	second := record(t, db, raise("L", "A1", 2))[0]
	if o := second.LastTime; o == nil || o.ID != first.ID || o.Cause != "dirty lens" || o.FixedBy != "" {
		t.Errorf("last time = %+v, want the first one and the model's cause", o)
	}
	f := edgeagent.Feedback{Verdict: edgeagent.VerdictPartly, Cause: "loose cable", FixedBy: "new plug", By: "erika"}
	if err := db.Feedback(t.Context(), first.Job, f); err != nil {
		t.Fatal(err)
	}
	if o := db.LastTime("filler", "L", "A1", second.ID); o == nil || o.Cause != "loose cable" || o.FixedBy != "new plug" {
		t.Errorf("last time = %+v, want what the person found", o)
	}
	if o := db.LastTime("filler", "L", "A1", first.ID); o != nil {
		t.Errorf("last time of the first = %+v, want none", o)
	}
	if got := job(t, db, first.Job).Feedback; got == nil || got.FixedBy != "new plug" {
		t.Errorf("feedback = %+v", got)
	}
	events := wholeStream(t, db, edgeagent.StreamDiagnosis)
	if last := events[len(events)-1]; last.Type != edgeagent.EventFeedbackGiven {
		t.Errorf("last event = %s, want feedback.given", last.Type)
	}
}

func TestUnknownJobsAreNotFound(t *testing.T) {
	db := open(t, options(dataFile(t)))
	id := edgeagent.NewID(time.Now())
	_, readErr := db.Job(id)
	_, alarmErr := db.Alarm(id)
	_, evidenceErr := db.Evidence(id)
	for name, err := range map[string]error{
		"job": readErr, "alarm": alarmErr, "evidence": evidenceErr,
		"retry":    db.RetryJob(t.Context(), id, "x"),
		"discard":  db.Discard(t.Context(), id, "x", "y"),
		"feedback": db.Feedback(t.Context(), id, edgeagent.Feedback{}),
	} {
		if !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("%s = %v, want ErrNotFound", name, err)
		}
	}
}

func TestMachineNamesOnlyStatesOfAJob(t *testing.T) {
	states := map[string]bool{}
	for _, s := range edgeagent.JobStates {
		states[string(s)] = true
	}
	for _, s := range queue.Machine() {
		if !states[s.From] || !states[s.To] || s.Event == "" {
			t.Errorf("row %+v names what does not exist", s)
		}
	}
}

func TestTheAttemptThatAnswersCountsToo(t *testing.T) {
	db := open(t, options(dataFile(t)))
	a := record(t, db, raise("L", "A1", 2))[0]
	if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
		t.Fatal(err)
	}
	if j := job(t, db, a.Job); j.State != edgeagent.JobCompleted || j.Attempts != 1 {
		t.Errorf("job %s after %d attempts, want completed after 1", j.State, j.Attempts)
	}
}
