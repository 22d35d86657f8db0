package diagnose

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// kept runs a backlog until the test has come to its end.
func kept(t *testing.T) (b *Backlog, stop func()) {
	t.Helper()
	b = &Backlog{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	return b, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// A reload stops the workers, and the data file goes on: a job whose result was
// refused then must not run until somebody starts the agent anew.
func TestAResultThatWasRefusedAtAReloadIsWrittenLater(t *testing.T) {
	for _, tt := range []struct {
		name    string
		brain   brain
		refused string
		history []string
		outcome string
	}{
		{"an answer", takes(0), "complete", []string{"15m0s complete A"}, OutcomeCompleted},
		{"a job to be put back", takes(time.Hour), "release", []string{"15m0s release A"}, OutcomeReleased},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, stop := kept(t)
				s := newShelf("A")
				s.fail[tt.refused] = slices.Repeat([]error{edgeagent.ErrFull}, 1000)
				time.AfterFunc(15*time.Minute-time.Second, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.fail[tt.refused] = nil // somebody made room
				})
				var outcomes []string
				o := Options{Jobs: s, Ready: s, Diagnoser: tt.brain, Backlog: b, Grace: 10 * time.Second, OnJob: func(outcome string, _ time.Duration) { outcomes = append(outcomes, outcome) }}
				if took, err := rig(t, o, 10*time.Minute); err != nil || took > 10*time.Second {
					t.Errorf("Run returned %v after %v, want that a stop does not wait for the disk", err, took)
				}
				stop()
				equal(t, s.history(), tt.history...)
				equal(t, outcomes, tt.outcome)
			})
		})
	}
}

func TestABacklogHoldsNothingUpAndKeepsNothingOverTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := kept(t)
		var told []error
		add := func(job edgeagent.ID, err error) bool {
			return b.take(unwritten{job, func(context.Context) error { return err }, func(err error) { told = append(told, err) }})
		}
		add("huge", edgeagent.ErrFull)
		add("gone", edgeagent.ErrLeaseLost)
		add("small", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(told) != 2 || !errors.Is(told[0], edgeagent.ErrLeaseLost) || told[1] != nil {
			t.Errorf("told %v, want those behind the first", told)
		}
		stop()
		if len(told) != 3 || !errors.Is(told[2], edgeagent.ErrFull) || add("late", nil) {
			t.Errorf("told %v at the end, want that the first is lost, and nothing taken any more", told)
		}
	})
}

func TestAReviewThatWasRefusedAtAReloadIsWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := kept(t)
		a := newArchive(makeshift("A"))
		a.fail["review"] = slices.Repeat([]error{edgeagent.ErrFull}, 60)
		var told atomic.Int32
		r := NewReviewer(ReviewOptions{Jobs: a, Book: a, Asker: &oracle{ready: true, brain: takes(time.Second)}, Provider: "cloud",
			Backlog: b, OnReview: func(edgeagent.ID) { told.Add(1) }})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		stop()
		if got := a.verbs(); got != "begin A, review A" || a.under != "" || told.Load() != 2 {
			t.Errorf("done: %s, %q under way, told %d times", got, a.under, told.Load())
		}
	})
}
