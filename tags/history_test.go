package tags

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// play puts f(seconds since the first) every step, for d.
func play(tb *Table, device, name string, d, step time.Duration, f func(s float64) float64) {
	for at := time.Duration(0); at < d; at += step {
		put(tb, device, name, edgeagent.Float(f(at.Seconds())))
		time.Sleep(step)
	}
}

func TestHistoryIsFineForAMinuteAndReachesTenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		play(tb, "filler", "level", 15*time.Minute, 500*time.Millisecond, func(s float64) float64 { return s })
		ps := tb.History("filler", "level", time.Time{})
		if age := time.Since(ps[0].At); age < 9*time.Minute || age > 10*time.Minute+bucketSize {
			t.Errorf("the oldest point is %v old, want 9 to 10 min", age)
		}
		fine := 0
		for i, p := range ps {
			if i > 0 && !ps[i-1].At.Before(p.At) {
				t.Fatalf("point %d at %v is not after %v", i, p.At, ps[i-1].At)
			}
			if p.Min > p.Last || p.Last > p.Max {
				t.Fatalf("point %+v: last is outside", p)
			}
			if time.Since(p.At) <= 59*time.Second && p.Min == p.Max {
				fine++
			}
		}
		if fine < 117 || fine > 120 {
			t.Errorf("%d fine points in the last minute, want about 118", fine)
		}
		if since := tb.History("filler", "level", time.Now().Add(-10*time.Second)); len(since) != 20 {
			t.Errorf("%d points in the last ten seconds, want 20", len(since))
		}
	})
}

func TestFastScanKeepsExtremesAndTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		play(tb, "filler", "level", 2*time.Minute, 20*time.Millisecond, func(s float64) float64 {
			if math.Abs(s-100) < 0.001 {
				return 99 // one sample of six thousand
			}
			return 1
		})
		ev := tb.Evidence("filler", []string{"level"}, time.Now())
		if f := ev.Tags[0]; *f.Max != 99 || *f.Min != 1 {
			t.Errorf("extremes %v to %v, want 1 to 99", *f.Min, *f.Max)
		}
		ps := tb.History("filler", "level", time.Now().Add(-45*time.Second))
		if len(ps) < 100 || time.Since(ps[0].At) < 44*time.Second {
			t.Errorf("%d points from %v ago, want the better part of a minute", len(ps), time.Since(ps[0].At))
		}
	})
}

func TestHistoryForgetsOverAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		play(tb, "filler", "level", time.Minute, time.Second, func(float64) float64 { return 1 })
		time.Sleep(100 * 24 * time.Hour)
		if ps := tb.History("filler", "level", time.Time{}); len(ps) != 0 {
			t.Errorf("%d points of a hundred days ago", len(ps))
		}
		play(tb, "filler", "level", 2*time.Second, time.Second, func(float64) float64 { return 5 })
		ps := tb.History("filler", "level", time.Time{})
		if len(ps) != 2 || ps[0].Min != 5 {
			t.Errorf("history %+v, want the two new points", ps)
		}
	})
}

func TestPauseWithinTheWindowLeavesAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		play(tb, "filler", "level", 2*time.Minute, time.Second, func(float64) float64 { return 1 })
		time.Sleep(3 * time.Minute)
		play(tb, "filler", "level", 2*time.Minute, time.Second, func(float64) float64 { return 1 })
		var widest time.Duration
		ps := tb.History("filler", "level", time.Time{})
		for i := 1; i < len(ps); i++ {
			widest = max(widest, ps[i].At.Sub(ps[i-1].At))
		}
		if widest < 3*time.Minute-bucketSize || widest > 3*time.Minute+bucketSize {
			t.Errorf("widest hole %v, want about 3 min", widest)
		}
		ev := tb.Evidence("filler", nil, time.Now())
		if len(ev.Gaps) != 2 { // the pause, and capper which was never read
			t.Errorf("gaps %q, want the pause and the capper", ev.Gaps)
		}
	})
}
