package upsync

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// refuses makes a receiver that takes no batch with one of these events in it.
func refuses(class Class, ids ...string) func(int, []edgeagent.Outgoing) error {
	return func(_ int, batch []edgeagent.Outgoing) error {
		for _, ev := range batch {
			if slices.Contains(ids, ev.ID) {
				return &Error{Class: class, Status: 422, Text: "422: no"}
			}
		}
		return nil
	}
}

func TestPoisonIsParkedAndNothingElse(t *testing.T) {
	tests := []struct {
		name   string
		class  Class
		poison []string
	}{
		{"one of 200", Unfit, []string{"alarm-137"}},
		{"the first", Unfit, []string{"alarm-1"}},
		{"the last", Unfit, []string{"event-100"}},
		{"neighbours", Unfit, []string{"alarm-66", "alarm-67"}},
		{"in every stream", Unfit, []string{"alarm-100", "diagnosis-1", "event-50"}},
		{"too large alone", TooLarge, []string{"alarm-137"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				r.before = refuses(tt.class, tt.poison...)
				for _, stream := range edgeagent.Streams {
					s.add(stream, 200)
				}
				u := start(t, s, r, nil)
				pass(time.Second) // bisecting waits for nothing
				slices.Sort(tt.poison)
				equal(t, s.parkedNames(), tt.poison...)
				if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 || st.Parked != len(tt.poison) {
					t.Errorf("status = %+v", st)
				}
				if got, want := len(r.first), 600; got != want { // a gap for each parked one
					t.Errorf("%d different events stored, want %d", got, want)
				}
				if most := 10 + 22*len(tt.poison); tt.class == Unfit && r.calls > most {
					t.Errorf("%d requests to find %d of 600, want at most %d", r.calls, len(tt.poison), most)
				}
			})
		})
	}
}

func TestReceiverThatRefusesEverythingParksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		r.before = func(int, []edgeagent.Outgoing) error { return &Error{Class: Unfit, Status: 400, Text: "400"} }
		s.add(edgeagent.StreamAlarm, 50)
		u := start(t, s, r, nil)
		pass(time.Minute)
		if st := u.Status(); st.State != edgeagent.UpstreamPaused || st.Parked != 0 || st.Backlog != 50 || !strings.Contains(st.Error, "refuses everything") {
			t.Errorf("status = %+v, want paused with nothing parked", st)
		}
	})
}

func TestReceiverThatNeverTookHeartbeatsStillParksPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		r.before = func(_ int, batch []edgeagent.Outgoing) error {
			if batch[0].Type == edgeagent.EventHeartbeat || batch[len(batch)-1].ID == "alarm-8" {
				return &Error{Class: Unfit, Status: 400, Text: "400"}
			}
			return nil
		}
		s.add(edgeagent.StreamAlarm, 8)
		start(t, s, r, nil)
		pass(time.Minute)
		equal(t, s.parkedNames(), "alarm-8")
	})
}

func TestLargeBatchesShrinkAndNothingIsParked(t *testing.T) {
	tests := []struct {
		name string
		err  error
	}{
		{"413", &Error{Class: TooLarge, Status: 413, Text: "413"}},
		{"too slow", &Error{Class: NoAnswer, Timeout: true, Text: "no answer"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				r.before = func(_ int, batch []edgeagent.Outgoing) error {
					if len(batch) > 30 {
						return tt.err
					}
					return nil
				}
				s.add(edgeagent.StreamAlarm, 500)
				u := start(t, s, r, nil)
				pass(5 * time.Minute)
				if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 || st.Parked != 0 {
					t.Errorf("status = %+v, want up and drained", st)
				}
			})
		})
	}
}

func TestSlowReceiverGetsWhatItManages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 400)
		r.slow = func(n int) time.Duration { return time.Duration(n) * 200 * time.Millisecond } // 75 in 15 s
		u := start(t, s, r, nil)
		pass(10 * time.Minute)
		if st := u.Status(); st.Backlog != 0 || st.Parked != 0 {
			t.Errorf("status = %+v, want drained", st)
		}
	})
}

func TestVerdictDoesNotOutliveAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// alarm-1 is refused alone; then the receiver is gone, and mended when it
		// is back.
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 1)
		r.before = func(call int, _ []edgeagent.Outgoing) error {
			switch call {
			case 2:
				return &Error{Class: Unfit, Status: 422, Text: "422"}
			case 3:
				return errors.New("connection refused")
			}
			return nil
		}
		u := start(t, s, r, nil)
		pass(time.Minute)
		if st := u.Status(); st.Backlog != 0 || st.Parked != 0 {
			t.Errorf("status = %+v, want delivered, not parked", st)
		}
	})
}

func TestParkedInAnEarlierLifeIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The gap event of alarm-2 still waits behind the alarms.
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 4)
		why := edgeagent.NewNote("refused_upstream", "422")
		s.parked[slot{ours, edgeagent.StreamAlarm, 2}] = why
		s.append(edgeagent.StreamEvent, edgeagent.EventGap, edgeagent.Gap{Epoch: ours, Stream: edgeagent.StreamAlarm, From: 2, To: 2, Reason: why})
		u := start(t, s, r, func(u *Uploader) { u.o.Batch = 1 })
		pass(time.Second)
		equal(t, r.history(), "0s heartbeat", "0s alarm-1", "0s alarm-3", "0s alarm-4", "0s event-1")
		if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 {
			t.Errorf("status = %+v", st)
		}
	})
}

// One number was parked in an earlier life; that excuses this number, and none
// of those that the upstream has lost since.
func TestParkedInAnEarlierLifeExcusesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 4)
		s.parked[slot{ours, edgeagent.StreamAlarm, 2}] = edgeagent.NewNote("refused_upstream", "422")
		s.cursor[edgeagent.StreamAlarm] = 3 // the receiver had 1 and 3, and has nothing any more
		u := start(t, s, r, nil)
		pass(time.Second)
		if st := u.Status(); st.State != edgeagent.UpstreamPaused || !strings.Contains(st.Error, "lost events") {
			t.Errorf("status = %+v, want paused because the upstream lost events", st)
		}
	})
}
