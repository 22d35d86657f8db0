package upsync

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// refusedTwo starts an uploader, has nine alarms stored and two of them refused.
func refusedTwo(t *testing.T) (*store, *receiver, *Uploader) {
	t.Helper()
	s, r := newStore(t), newReceiver()
	r.before = refuses(Unfit, "alarm-3", "alarm-7")
	s.add(edgeagent.StreamAlarm, 9)
	u := start(t, s, r, nil)
	pass(time.Second)
	equal(t, s.parkedNames(), "alarm-3", "alarm-7")
	return s, r, u
}

func since(r *receiver, n int) []string { return r.history()[n:] }

func TestWhatWasRefusedIsSentAgainOnAPersonsWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, u := refusedTwo(t)
		r.fails(nil) // the receiver is mended
		n := len(r.history())
		pass(10 * time.Second)
		if got := since(r, n); len(got) != 0 {
			t.Errorf("sent again, and nobody has asked: %q", got)
		}
		s.resend()
		pass(time.Second)
		equal(t, since(r, n), "11s alarm-3..alarm-7")
		if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Parked != 0 || st.Backlog != 0 || !r.holds(edgeagent.StreamAlarm, 3) || !r.holds(edgeagent.StreamAlarm, 7) {
			t.Errorf("status = %+v", st)
		}
	})
}

// What is refused again is parked again, alone: the others get through, the
// upstream stays up, and nothing is sent for ever.
func TestWhatIsRefusedAgainIsParkedAgain(t *testing.T) {
	for name, class := range map[string]Class{"unfit": Unfit, "too large": TooLarge, "its number was taken by the gap": Conflict} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r, u := refusedTwo(t)
				r.fails(refuses(class, "alarm-7"))
				n, events := len(r.history()), len(s.events[edgeagent.StreamEvent])
				s.resend()
				pass(10 * time.Second)
				equal(t, since(r, n), "1s alarm-3..alarm-7", "1s alarm-3", "1s alarm-7")
				equal(t, s.parkedNames(), "alarm-7")
				if st := u.Status(); st.State != edgeagent.UpstreamUp || !r.holds(edgeagent.StreamAlarm, 3) || len(s.events[edgeagent.StreamEvent]) != events {
					t.Errorf("status = %+v, %d gaps after %d", st, len(s.events[edgeagent.StreamEvent]), events)
				}
			})
		})
	}
}

// An upstream that says 200 and does not count the event does not have it.
func TestAcceptedAndNotCountedIsParkedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, u := refusedTwo(t)
		r.fails(nil)
		r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) {
			receipt.Contig[edgeagent.StreamAlarm] = 6
			return receipt, nil
		}
		n := len(r.history())
		s.resend()
		pass(10 * time.Second)
		equal(t, since(r, n), "1s alarm-3..alarm-7")
		equal(t, s.parkedNames(), "alarm-7")
		if st := u.Status(); st.State != edgeagent.UpstreamUp {
			t.Errorf("status = %+v", st)
		}
	})
}

// Neither an outage nor a disk that takes nothing loses the person's word.
func TestAPersonsWordOutlivesFaults(t *testing.T) {
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r, u := refusedTwo(t)
			r.fails(func(int, []edgeagent.Outgoing) error { return &Error{Class: NoAnswer, Text: "no answer"} })
			s.resend()
			pass(time.Minute)
			r.fails(nil)
			pass(5 * time.Minute)
			if st := u.Status(); st.Parked != 0 || !r.holds(edgeagent.StreamAlarm, 7) {
				t.Errorf("status = %+v, %q", st, r.history())
			}
		})
	})
	t.Run("a full disk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r, u := refusedTwo(t)
			r.fails(nil)
			s.mu.Lock()
			s.fail = []error{nil, nil, errors.New("no space left on device")} // Pending, Asked, Unpark
			s.mu.Unlock()
			s.resend()
			pass(time.Minute)
			if st := u.Status(); st.Parked != 0 || r.twice != 2 {
				t.Errorf("status = %+v, %d came twice", st, r.twice)
			}
		})
	})
}

func TestWhatIsNewGoesBeforeWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, _ := refusedTwo(t)
		r.fails(nil)
		n := len(r.history())
		s.mu.Lock()
		for p := range s.parked {
			s.asked[p] = true
		}
		s.mu.Unlock()
		s.add(edgeagent.StreamAlarm, 2)
		pass(time.Second)
		equal(t, since(r, n), "1s alarm-10..alarm-11", "1s alarm-3..alarm-7")
	})
}
