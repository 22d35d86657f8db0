package queue

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"edgeagent"
)

func TestRawIDsAreIDs(t *testing.T) {
	for _, id := range []edgeagent.ID{
		"00000000000000000000000000", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "00000000000000000000000001",
		edgeagent.NewID(time.Now()), edgeagent.NewID(time.UnixMilli(0)),
	} {
		if got := rawOf(id).id(); got != id {
			t.Errorf("%s came back as %s", id, got)
		}
	}
	_, _, _ = rawOf(""), rawOf("short"), rawOf("a text that is much longer than any id ever is")
}

func pendingJob(at time.Time, priority int, notBefore time.Time) job {
	j := job{id: edgeagent.NewID(at)}
	j.State, j.Priority, j.NotBefore, j.Wait = edgeagent.JobPending, priority, notBefore, time.Hour
	return j
}

// Whatever was taken out in between, jobs come by priority, then age, then id.
func TestJobsComeInTheirOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	w, now := newWorking(), time.Now()
	var want []job
	for range 300 {
		j := pendingJob(now, 1+r.IntN(4), now.Add(-time.Duration(r.IntN(20))*time.Second))
		w.schedule(j, now)
		if r.IntN(3) == 0 {
			w.unschedule(rawOf(j.id))
			continue
		}
		want = append(want, j)
	}
	slices.SortFunc(want, func(x, y job) int { return first(w.entryOf(x, now), w.entryOf(y, now)) })
	for i, j := range want {
		e, ok := w.front(now)
		if !ok || e.id.id() != j.id {
			t.Fatalf("job %d is %s, want %s", i, e.id.id(), j.id)
		}
		w.unschedule(e.id)
	}
	if _, ok := w.upcoming(now); ok {
		t.Error("a job is left over")
	}
}

func TestDelayedJobsBecomeReadyByTheClockThatDoesNotJump(t *testing.T) {
	w, now := newWorking(), time.Now()
	late, soon := pendingJob(now, 1, now.Add(time.Minute)), pendingJob(now, 4, now.Add(time.Second))
	w.schedule(late, now)
	w.schedule(soon, now)
	if at, ok := w.upcoming(now); !ok || !at.Equal(now.Add(time.Second)) {
		t.Errorf("next at %v, %v, want in a second", at, ok)
	}
	if e, ok := w.front(now.Add(2 * time.Second)); !ok || e.id.id() != soon.id {
		t.Errorf("front = %v, %v, want the one of a second", e, ok)
	}
	if e, ok := w.front(now.Add(2 * time.Minute)); !ok || e.id.id() != late.id {
		t.Errorf("front = %v, %v, want the more urgent one", e, ok)
	}
	for _, j := range []job{late, soon} {
		if _, found := w.unschedule(rawOf(j.id)); !found {
			t.Errorf("%s is not there", j.id)
		}
	}
	if _, found := w.unschedule(rawOf(late.id)); found {
		t.Error("a job was taken out twice")
	}
}
