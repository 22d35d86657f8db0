// Package retry is the one back-off of the agent, used by plc, llm and sync.
//
// It decides how long to wait and knows nothing of what is retried: which
// errors are worth another try is decided by the one classifier of each
// boundary.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff doubles a wait from First up to Max. The zero value never waits.
type Backoff struct {
	First, Max time.Duration
	Jitter     float64 // adds up to this share of the wait, never takes any away
}

// Wait returns the wait after the k-th failure in a row, k from 1, without
// jitter: First, 2·First, 4·First, … Max.
func (b Backoff) Wait(k int) time.Duration {
	d := b.First
	for i := 1; i < k && d < b.Max; i++ {
		d *= 2
	}
	return min(d, b.Max)
}

// Jittered returns Wait(k) plus a random share of it.
func (b Backoff) Jittered(k int) time.Duration {
	d := b.Wait(k)
	return d + time.Duration(float64(d)*b.Jitter*rand.Float64())
}

// Steps returns how many failures it takes until the wait is Max: the length
// of a retry window that ends with one try after the longest wait.
func (b Backoff) Steps() int {
	k := 1
	for b.First > 0 && b.Wait(k) < b.Max {
		k++
	}
	return k
}

// Sleep waits for d or for ctx, and returns ctx's error if that came first.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
