package plc

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestGapIsFromTheLastAnswerToTheNextWithItsFirstCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{}, nil, filler())
		r.until(5500 * time.Millisecond)
		r.driver.set(dead)
		r.until(7 * time.Second)
		r.driver.set(unreachable)
		r.until(19 * time.Second) // failed at 6, 8, 12; the next try is at 20
		if got := r.gaps("filler"); len(got) != 0 {
			t.Errorf("gaps = %v before it is over", got)
		}
		r.driver.set(nil)
		r.until(time.Minute)
		if got := r.gaps("filler"); !slices.Equal(got, []float64{5, 20}) {
			t.Errorf("gaps = %v, want one from 5 to 20 s", got)
		}
		for _, s := range r.takeScans() {
			for _, e := range s.Events {
				if e.Kind == edgeagent.DeviceEventGap && !strings.Contains(e.Reason.String(), errDead.Error()) {
					t.Errorf("reason = %v, want what began it", e.Reason)
				}
			}
		}
		if s := r.status("filler"); s.Gaps != 1 {
			t.Errorf("%d gaps, want 1", s.Gaps)
		}
	})
}

func TestDeviceThatNeverAnsweredHasNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &fakeDriver{answer: dead}, nil, filler())
		r.until(5 * time.Second)
		r.driver.set(nil)
		r.until(time.Minute)
		if got := r.gaps("filler"); len(got) != 0 || r.status("filler").Gaps != 0 {
			t.Errorf("gaps = %v: nothing was there before", got)
		}
	})
}
