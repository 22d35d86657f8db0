package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWingRestartsWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said syncBuffer
		var starts []time.Time
		w := startWing(t.Context(), slog.New(slog.NewTextHandler(&said, nil)), runner{"uploader", func(ctx context.Context) error {
			if starts = append(starts, time.Now()); len(starts) < 3 {
				return errors.New("boom")
			}
			<-ctx.Done()
			return nil
		}})
		time.Sleep(time.Minute)
		w.stop()
		if len(starts) != 3 {
			t.Fatalf("started %d times, want 3", len(starts))
		}
		if pause := starts[1].Sub(starts[0]); pause != 5*time.Second {
			t.Errorf("started again after %v", pause)
		}
		if n := strings.Count(said.String(), "part=uploader"); n != 2 {
			t.Errorf("two failures, %d lines:\n%s", n, &said)
		}
	})
}

func TestWingLeavesWhatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		w := startWing(t.Context(), slog.New(slog.DiscardHandler), runner{"once", func(context.Context) error { starts++; return nil }})
		time.Sleep(time.Hour)
		w.stop()
		if starts != 1 {
			t.Errorf("started %d times", starts)
		}
	})
}

func TestWingStopWaitsForEveryPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		part := func(ctx context.Context) error { <-ctx.Done(); time.Sleep(3 * time.Second); return nil }
		w := startWing(t.Context(), slog.New(slog.DiscardHandler), runner{"a", part}, runner{"b", part})
		synctest.Wait()
		began := time.Now()
		w.stop()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("stop returned after %v", took)
		}
		w.stop() // once more does nothing
		(*wing)(nil).stop()
	})
}

// A part that fails while it is being stopped is not started again, and the
// stop does not wait for the pause before a restart.
func TestWingStopDuringARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		w := startWing(t.Context(), slog.New(slog.DiscardHandler), runner{"a", func(context.Context) error { starts++; return errors.New("boom") }})
		time.Sleep(time.Second)
		began := time.Now()
		w.stop()
		if took := time.Since(began); took != 0 || starts != 1 {
			t.Errorf("stop took %v, started %d times", took, starts)
		}
	})
}
