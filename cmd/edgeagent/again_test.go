package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestRestartInPlaceDoesNotSpin(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) string { return fmt.Sprint(now.Add(-d).Unix()) }
	for _, c := range []struct {
		name, before string
		ok           bool
	}{
		{"first", "", true},
		{"third", ago(time.Minute) + "," + ago(2*time.Minute), true},
		{"fourth", ago(time.Minute) + "," + ago(2*time.Minute) + "," + ago(3*time.Minute), false},
		{"old ones do not count", ago(time.Hour) + "," + ago(2*time.Hour) + "," + ago(3*time.Hour), true},
		{"a clock that was set back", ago(-time.Minute) + "," + ago(-2*time.Minute) + "," + ago(-3*time.Minute), false},
		{"nonsense", "x,,99999999999999999999,-", true},
	} {
		times, ok := restartAgain(c.before, now)
		if ok != c.ok {
			t.Errorf("%s: again = %v, want %v", c.name, ok, c.ok)
		}
		if ok && len(times) > 64 {
			t.Errorf("%s: %q grows with each restart", c.name, times)
		}
	}
}

// The way out of a run whose file has failed takes the grace and the flush; a
// SIGTERM that comes meanwhile must not be answered by a new process.
func TestNoRestartForWhoWasAskedToEnd(t *testing.T) {
	failed := fmt.Errorf("edgeagent.db: %w", errUntrusted)
	asked, ask := context.WithCancel(t.Context())
	ask()
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want bool
	}{
		{"the file failed", t.Context(), failed, true},
		{"and a stop was asked for", asked, failed, false},
		{"another error", t.Context(), errors.New("no page"), false},
		{"a stop", asked, nil, false},
	} {
		if got := restarts(c.ctx, c.err); got != c.want {
			t.Errorf("%s: restarts = %v, want %v", c.name, got, c.want)
		}
	}
}
