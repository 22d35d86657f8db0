package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitDoublesUpToMax(t *testing.T) {
	b := Backoff{First: 2 * time.Second, Max: 30 * time.Second}
	want := []time.Duration{2, 4, 8, 16, 30, 30}
	for i, w := range want {
		if got := b.Wait(i + 1); got != w*time.Second {
			t.Errorf("Wait(%d) = %v, want %v", i+1, got, w*time.Second)
		}
	}
	if got := b.Steps(); got != 5 {
		t.Errorf("Steps() = %d, want 5", got)
	}
}

func TestJitterOnlyAdds(t *testing.T) {
	b := Backoff{First: time.Second, Max: 8 * time.Second, Jitter: 0.25}
	for range 1000 {
		if d := b.Jittered(3); d < 4*time.Second || d > 5*time.Second {
			t.Fatalf("Jittered(3) = %v, want 4s to 5s", d)
		}
	}
}

func TestZeroBackoffNeverWaits(t *testing.T) {
	if d := (Backoff{}).Jittered(9); d != 0 {
		t.Errorf("Jittered(9) = %v, want 0", d)
	}
}

func TestSleepEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep = %v, want deadline exceeded", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("slept %v, want 1s", d)
		}
		if err := Sleep(t.Context(), time.Second); err != nil {
			t.Errorf("Sleep = %v, want nil", err)
		}
	})
}
