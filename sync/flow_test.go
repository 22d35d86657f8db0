package upsync

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestBacklogAfterAnOutageIsSpreadAndPaced(t *testing.T) {
	tests := []struct {
		name   string
		outage time.Duration
		want   []string // relative to the first accepted heartbeat
	}{
		{"a blink", 5 * time.Second, []string{"0s heartbeat", "0s alarm-1..alarm-100"}},
		{"a minute", time.Minute, []string{"0s heartbeat", "5s alarm-1..alarm-10", "6s alarm-11..alarm-25", "7s alarm-26..alarm-45", "8s alarm-46..alarm-70", "9s alarm-71..alarm-100"}},
		{"an hour", time.Hour, []string{"0s heartbeat", "1m0s heartbeat", "1m0s alarm-1..alarm-10", "1m1s alarm-11..alarm-25", "1m2s alarm-26..alarm-45", "1m3s alarm-46..alarm-70", "1m4s alarm-71..alarm-100"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				start(t, s, r, nil)
				pass(time.Second)
				var cut atomic.Bool
				cut.Store(true)
				r.fails(func(int, []edgeagent.Outgoing) error {
					if cut.Load() {
						return errors.New("no route to host")
					}
					return nil
				})
				pass(59 * time.Second) // the heartbeat at 1m0s fails
				s.add(edgeagent.StreamAlarm, 100)
				pass(tt.outage - 100*time.Millisecond)
				cut.Store(false)
				r.mu.Lock()
				tried := len(r.log)
				r.mu.Unlock()
				pass(3 * time.Minute)
				equal(t, relative(t, r.history()[tried:])[:len(tt.want)], tt.want...)
			})
		})
	}
}

// relative rewrites a history to times since its first entry.
func relative(t *testing.T, log []string) []string {
	t.Helper()
	var zero time.Duration
	out := make([]string, len(log))
	for i, line := range log {
		at, what, _ := strings.Cut(line, " ")
		d, err := time.ParseDuration(at)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			zero = d
		}
		out[i] = (d - zero).String() + " " + what
	}
	return out
}
