package upsync

import (
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// An upstream whose disk is full, or behind a way that swallows what is large,
// answers every heartbeat and stores nothing. It must not be shown as up, nor be
// asked as often as one that blinked.
func TestUpstreamThatTakesHeartbeatsAloneIsNotUp(t *testing.T) {
	tests := []struct {
		name  string
		class Class
		beat  error // what a heartbeat gets
		state edgeagent.UpstreamState
	}{
		{"busy", Busy, nil, edgeagent.UpstreamDown},
		{"no answer", NoAnswer, nil, edgeagent.UpstreamDown},
		{"denied", Denied, nil, edgeagent.UpstreamPaused},
		{"no receipt", NotReceipt, nil, edgeagent.UpstreamPaused},
		{"busy, and knows no heartbeats", Busy, &Error{Class: Unfit, Text: "type unknown"}, edgeagent.UpstreamDown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				r.before = func(_ int, batch []edgeagent.Outgoing) error {
					if batch[0].Stream == "" {
						return tt.beat
					}
					return &Error{Class: tt.class, Text: "disk full"}
				}
				s.add(edgeagent.StreamAlarm, 500)
				u := start(t, s, r, nil)
				pass(10 * time.Minute)
				for range 3600 { // at no time of the hour
					pass(time.Second)
					if st := u.Status(); st.State != tt.state || st.Error != "disk full" {
						t.Fatalf("status = %+v, want %s and why", st, tt.state)
					}
				}
				if n := len(r.history()); n > 160 { // two a minute, a heartbeat and a batch, and the beginning
					t.Errorf("%d requests in 70 minutes", n)
				}
				r.fails(nil)
				pass(10 * time.Minute)
				if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 || st.Error != "" {
					t.Errorf("status = %+v, want up and all confirmed", st)
				}
			})
		})
	}
}

func TestUpstreamIsUpWhenWhatFailedDoesNotWaitAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		r.before = func(_ int, batch []edgeagent.Outgoing) error {
			if batch[0].Stream == "" {
				return nil
			}
			return &Error{Class: Busy, Text: "disk full"}
		}
		s.add(edgeagent.StreamAlarm, 1)
		u := start(t, s, r, nil)
		pass(10 * time.Minute)
		s.mu.Lock()
		s.parked[slot{ours, edgeagent.StreamAlarm, 1}] = edgeagent.NewNote("damaged", "it was damaged on disk")
		s.mu.Unlock()
		pass(2 * time.Minute)
		if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Error != "" {
			t.Errorf("status = %+v, want up", st)
		}
	})
}
