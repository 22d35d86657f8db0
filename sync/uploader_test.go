package upsync

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func TestHeartbeatFirstThenAlarmsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamEvent, 1)
		s.add(edgeagent.StreamAlarm, 3)
		u := start(t, s, r, nil)
		pass(30 * time.Second)
		s.add(edgeagent.StreamDiagnosis, 2)
		pass(100 * time.Second)
		equal(t, r.history(), "0s heartbeat", "0s alarm-1..event-1", "30s diagnosis-1..diagnosis-2", "1m0s heartbeat", "2m0s heartbeat")
		if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 || st.Confirmed != 6 || st.Error != "" || st.NextTryAt != nil {
			t.Errorf("status = %+v", st)
		}
		if s.confirms != 2 {
			t.Errorf("%d commits for 2 batches: a heartbeat must not write", s.confirms)
		}
	})
}

func TestNothingMovesWithoutProof(t *testing.T) {
	tests := []struct {
		name  string
		after func(edgeagent.Receipt) edgeagent.Receipt
		state edgeagent.UpstreamState
	}{
		{"no receipt at all", func(edgeagent.Receipt) edgeagent.Receipt { return edgeagent.Receipt{} }, edgeagent.UpstreamPaused},
		{"another epoch", func(r edgeagent.Receipt) edgeagent.Receipt { r.Epoch = others; return r }, edgeagent.UpstreamPaused},
		{"more than was ever written", func(r edgeagent.Receipt) edgeagent.Receipt {
			r.Contig[edgeagent.StreamAlarm] = 99
			return r
		}, edgeagent.UpstreamPaused},
		{"stores nothing", func(r edgeagent.Receipt) edgeagent.Receipt { r.Contig = nil; return r }, edgeagent.UpstreamPaused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				s.add(edgeagent.StreamAlarm, 3)
				var honest atomic.Bool
				r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) {
					if honest.Load() {
						return receipt, nil
					}
					return tt.after(receipt), nil
				}
				u := start(t, s, r, nil)
				pass(4 * time.Minute)
				if st := u.Status(); st.State != tt.state || st.Backlog != 3 || st.Confirmed != 0 || st.Error == "" {
					t.Errorf("status = %+v, want %s with a reason and 3 waiting", st, tt.state)
				}
				honest.Store(true)
				pass(10 * time.Minute)
				if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 {
					t.Errorf("status = %+v, want up and all confirmed", st)
				}
			})
		})
	}
}

func TestBackOffGrowsToTheMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		r.before = func(int, []edgeagent.Outgoing) error { return errors.New("network is unreachable") }
		u := start(t, s, r, nil)
		pass(1500 * time.Millisecond)
		if st := u.Status(); st.State != edgeagent.UpstreamProbing {
			t.Errorf("after two failures: %s, want probing", st.State)
		}
		pass(200 * time.Second)
		equal(t, r.history(), "0s heartbeat", "1s heartbeat", "3s heartbeat", "7s heartbeat", "15s heartbeat", "31s heartbeat",
			"1m3s heartbeat", "2m3s heartbeat", "3m3s heartbeat")
		if st := u.Status(); st.State != edgeagent.UpstreamDown || st.NextTryAt == nil {
			t.Errorf("status = %+v, want down with its next try", st)
		}
		if r.idle < 9 {
			t.Errorf("connections were dropped %d times in 9 failures", r.idle)
		}
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	tests := []struct {
		asked, waits time.Duration
	}{{20 * time.Second, 30 * time.Second}, {48 * time.Hour, 90 * time.Minute}}
	for _, tt := range tests {
		t.Run(tt.asked.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				s.add(edgeagent.StreamAlarm, 2)
				r.before = func(call int, _ []edgeagent.Outgoing) error {
					if call == 2 {
						return &Error{Class: Busy, Status: 429, RetryAfter: tt.asked, Text: "429"}
					}
					return nil
				}
				poke := make(chan struct{}, 1)
				u := start(t, s, r, func(u *Uploader) { u.o.Poke = poke; u.o.Heartbeat = 24 * time.Hour })
				pass(time.Second)
				if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Error != "429" || st.NextTryAt == nil {
					t.Errorf("status = %+v", st)
				}
				poke <- struct{}{} // a new route is no reason to disobey
				pass(tt.waits - time.Second - time.Millisecond)
				equal(t, r.history(), "0s heartbeat", "0s alarm-1..alarm-2")
				pass(time.Second)
				if got := r.history(); got[len(got)-1] != fmt.Sprintf("%v alarm-1..alarm-2", tt.waits) && got[len(got)-2] != fmt.Sprintf("%v alarm-1..alarm-2", tt.waits) {
					t.Errorf("history = %q, want the same batch at %v", got, tt.waits)
				}
			})
		})
	}
}
