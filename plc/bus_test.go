package plc

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// TestOneDeadUnitOfTenCostsTheOthersOneTimeoutARetryStep: ten units of three
// requests each on one bus, scanned every second; unit 5 never answers.
func TestOneDeadUnitOfTenCostsTheOthersOneTimeoutARetryStep(t *testing.T) {
	const (
		timeout = time.Second
		answer  = 5 * time.Millisecond
		whole   = 10 * 3 * answer // a round of all units
	)
	synctest.Test(t, func(t *testing.T) {
		var units []DeviceSpec
		for unit := range uint8(10) {
			spec := filler().named(fmt.Sprint("unit", unit), unit)
			spec.Timeout = timeout
			spec.Tags = []TagSpec{word("a", 0), word("b", 1000), word("c", 2000)}
			units = append(units, spec)
		}
		f := &fakeDriver{took: answer}
		f.set(func(unit uint8, _ Request) error {
			if unit != 5 {
				return nil
			}
			<-time.After(timeout - answer)
			return errDead
		})
		r := run(t, f, nil, units...)
		r.until(10*time.Minute + 500*time.Millisecond)

		dead, longest, late := waits(f.takeCalls(), r.start, time.Second+whole)
		t.Logf("unit 5 was asked at %.3g s; the longest wait of another between two scans was %v", dead, longest)
		if len(dead) != 6 {
			t.Errorf("the dead unit was asked %d times, want once a step and one request a try: %v", len(dead), dead)
		}
		if longest > time.Second+timeout+whole {
			t.Errorf("longest wait between two scans was %v, want at most one timeout more than without the dead unit", longest)
		}
		for unit, n := range late {
			if n > len(dead) {
				t.Errorf("unit %d was late %d times in %d retry steps", unit, n, len(dead))
			}
		}
		for _, s := range r.conn.Status() {
			if want := edgeagent.DevicePolling; s.Unit != 5 && (s.State != want || s.Errors != 0 || s.Overruns > uint64(len(dead))) {
				t.Errorf("%s = %v with %d errors and %d overruns, want untouched", s.Name, s.State, s.Errors, s.Overruns)
			}
		}
	})
}

// waits returns when unit 5 was asked, in seconds, how long another waited at
// the longest between two scans, and how often each did for more than usual.
func waits(calls []call, start time.Time, usual time.Duration) (dead []float64, longest time.Duration, late map[uint8]int) {
	last := map[uint8]time.Time{}
	late = map[uint8]int{}
	for _, c := range calls {
		if c.unit == 5 {
			dead = append(dead, c.at.Sub(start).Seconds())
		}
		if c.unit == 5 || c.r.Offset != 0 {
			continue
		}
		before, again := last[c.unit]
		if !again {
			before = start.Add(-time.Second)
		}
		wait := c.at.Sub(before)
		longest = max(longest, wait)
		if wait > usual {
			late[c.unit]++
		}
		last[c.unit] = c.at
	}
	return dead, longest, late
}
