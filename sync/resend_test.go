package upsync

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

var lostAlarms = []slot{{ours, edgeagent.StreamAlarm, 3}, {ours, edgeagent.StreamAlarm, 4}}

// asks makes a receiver ask for the alarms that it lost.
func asks(_ int, r edgeagent.Receipt) (edgeagent.Receipt, error) {
	if r.Contig[edgeagent.StreamAlarm] == 2 {
		r.Resend = []edgeagent.Range{{Stream: edgeagent.StreamAlarm, From: 3, To: 4}}
	}
	return r, nil
}

// forgetful starts an uploader, has five alarms stored and two of them lost.
func forgetful(t *testing.T, after func(int, edgeagent.Receipt) (edgeagent.Receipt, error)) (*store, *receiver, *Uploader) {
	t.Helper()
	s, r := newStore(t), newReceiver()
	r.after = after
	s.add(edgeagent.StreamAlarm, 5)
	u := start(t, s, r, nil)
	pass(time.Second)
	r.lose(lostAlarms...)
	return s, r, u
}

func TestWhatUpstreamLostAndAsksForComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, u := forgetful(t, asks)
		s.add(edgeagent.StreamAlarm, 2)
		pass(time.Second)
		equal(t, r.history(), "0s heartbeat", "0s alarm-1..alarm-5", "1s alarm-6..alarm-7", "1s alarm-3..alarm-4")
		if !r.has(edgeagent.StreamAlarm, 3) || !r.has(edgeagent.StreamAlarm, 4) || u.Status().Backlog != 0 {
			t.Errorf("still missing; status %+v", u.Status())
		}
	})
}

func TestHeartbeatsReceiptMayAskToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r, _ := forgetful(t, asks)
		pass(time.Minute)
		equal(t, r.history(), "0s heartbeat", "0s alarm-1..alarm-5", "1m0s heartbeat", "1m0s alarm-3..alarm-4")
	})
}

func TestLostAndNotAskedForIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, u := forgetful(t, nil)
		s.add(edgeagent.StreamAlarm, 2)
		pass(time.Second)
		if st := u.Status(); st.State != edgeagent.UpstreamPaused || st.Backlog != 2 || !strings.Contains(st.Error, "ends at alarm 2") {
			t.Errorf("status = %+v, want paused with 2 waiting", st)
		}
	})
}

func TestOneWhoAsksForEverIsServedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r, _ := forgetful(t, func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) {
			receipt.Resend = []edgeagent.Range{{Stream: edgeagent.StreamAlarm, From: 0, To: 1<<64 - 1}, {Stream: "nonsense", From: 9, To: 1}}
			return receipt, nil
		})
		pass(2 * time.Minute)
		if n := len(r.history()); n > 10 {
			t.Errorf("%d requests in two minutes: %q", n, r.history())
		}
	})
}

func TestWhatItAsksForAndThenRefusesIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, u := forgetful(t, asks)
		r.fails(refuses(Unfit, "alarm-3"))
		s.add(edgeagent.StreamAlarm, 1)
		pass(time.Second)
		if st := u.Status(); st.Backlog != 0 || st.Parked != 0 || !r.has(edgeagent.StreamAlarm, 4) || r.has(edgeagent.StreamAlarm, 3) {
			t.Errorf("status = %+v, alarm-4 stored %v", st, r.has(edgeagent.StreamAlarm, 4))
		}
	})
}

// A firewall that dislikes a word, or a receiver that falls over an event, must not
// stop what is new, because of something that was delivered long ago.
func TestWhatItAsksForAndDoesNotTakeStopsNothingThatIsNew(t *testing.T) {
	for _, class := range []Class{Denied, Busy, NoAnswer, Conflict} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r, u := forgetful(t, asks)
				r.fails(refuses(class, "alarm-3"))
				bad := 0
				for range 120 {
					s.add(edgeagent.StreamAlarm, 1)
					pass(15 * time.Second)
					if st := u.Status(); st.Backlog > 0 || st.State != edgeagent.UpstreamUp {
						bad++
					}
				}
				if bad > 6 {
					t.Errorf("%d times of 120 an alarm waited or the upstream was %+v", bad, u.Status())
				}
				if !r.has(edgeagent.StreamAlarm, 4) {
					t.Error("alarm-4 was held up")
				}
				if n := len(r.history()); n > 120+6*30 {
					t.Errorf("%d requests in half an hour", n)
				}
			})
		})
	}
}

// askedForMany starts an uploader and a receiver that has lost, and asks for, so many
// alarms that half of them fail several times before the one event is found.
func askedForMany(t *testing.T) (*store, *receiver, *Uploader) {
	t.Helper()
	s, r := newStore(t), newReceiver()
	r.after = func(_ int, c edgeagent.Receipt) (edgeagent.Receipt, error) {
		if c.Contig[edgeagent.StreamAlarm] == 2 {
			c.Resend = []edgeagent.Range{{Stream: edgeagent.StreamAlarm, From: 3, To: 66}}
		}
		return c, nil
	}
	s.add(edgeagent.StreamAlarm, 70)
	u := start(t, s, r, nil)
	pass(time.Second)
	for n := uint64(3); n <= 66; n++ {
		r.lose(slot{ours, edgeagent.StreamAlarm, n})
	}
	return s, r, u
}

// A receiver that answers 500 to a long range does so several times in a row. It takes
// all the rest: it is not down, and what is new waits no longer than after one of them.
func TestALongResendThatItFallsOverTakesNothingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, u := askedForMany(t)
		r.fails(refuses(Busy, "alarm-3"))
		waits := 0
		for n := range 20 * 60 {
			if n%15 == 0 {
				s.add(edgeagent.StreamAlarm, 1)
			}
			pass(time.Second)
			st := u.Status()
			if waits++; st.Backlog == 0 {
				waits = 0
			}
			if waits > 2 || st.State != edgeagent.UpstreamUp {
				t.Fatalf("status = %+v, want up and nothing waiting", st)
			}
		}
		if !r.has(edgeagent.StreamAlarm, 66) {
			t.Error("alarm-66 was held up")
		}
		if n := len(r.history()); n > 20*(4+25) {
			t.Errorf("%d requests in 20 minutes", n)
		}
	})
}

// One that has no time for anything, heartbeats included, is not asked on and on for the
// sake of what it wanted before.
func TestAnUpstreamThatIsBusyAmidAResendIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, u := askedForMany(t)
		r.fails(func(_ int, batch []edgeagent.Outgoing) error {
			if batch[0].Sequence > 66 {
				return nil
			}
			return &Error{Class: Busy, Text: "503"}
		})
		s.add(edgeagent.StreamAlarm, 1) // whose receipt asks
		pass(30 * time.Second)
		if st := u.Status(); st.State != edgeagent.UpstreamDown {
			t.Errorf("status = %+v, want down", st)
		}
		if n := len(r.history()); n > 10 {
			t.Errorf("%d requests: %q", n, r.history())
		}
	})
}
