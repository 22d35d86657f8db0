package upsync

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// A firewall that dislikes a word, a receiver that falls over it, a portal in
// between: what is new goes on, the upstream stays up, and three tries are enough.
func TestWhatIsOldStopsNothingThatIsNew(t *testing.T) {
	for name, fault := range map[string]*Error{
		"403":             {Class: Denied, Status: 403, Text: "403"},
		"500":             {Class: Busy, Status: 500, Text: "500"},
		"a cut line":      {Class: NoAnswer, Text: "connection reset"},
		"a portal's page": {Class: NotReceipt, Status: 200, Text: "not a receipt"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r, u := refusedTwo(t)
				poison := refuses(fault.Class, "alarm-7")
				r.fails(func(call int, b []edgeagent.Outgoing) error {
					if poison(call, b) != nil {
						return fault
					}
					return nil
				})
				s.resend()
				for n := uint64(10); n < 40; n++ { // a new alarm a minute
					pass(time.Minute)
					s.add(edgeagent.StreamAlarm, 1)
					pass(time.Second)
					if st := u.Status(); !r.holds(edgeagent.StreamAlarm, n) || st.State != edgeagent.UpstreamUp {
						t.Fatalf("alarm %d is not there after a second: %+v", n, st)
					}
				}
				equal(t, s.parkedNames(), "alarm-7")
				if !r.holds(edgeagent.StreamAlarm, 3) {
					t.Error("alarm 3 went down with alarm 7")
				}
				tries := 0
				for _, line := range r.history() {
					if strings.HasSuffix(line, "alarm-7") {
						tries++
					}
				}
				if tries > 10 {
					t.Errorf("%d tries: %q", tries, r.history())
				}
				if len(s.asked) != 0 {
					t.Errorf("%v are sent for ever", s.asked)
				}
			})
		})
	}
}

// A retrial that failed rests for as long as a paused upstream does.
func TestWhatWasNotTakenIsTriedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, _ := refusedTwo(t)
		r.fails(refuses(Denied, "alarm-7"))
		n := len(r.history())
		s.resend()
		pass(4*time.Minute + 30*time.Second)
		r.fails(nil)
		pass(time.Minute)
		equal(t, since(r, n), "1s alarm-3..alarm-7", "1s heartbeat", "1m1s heartbeat", "2m1s heartbeat", "3m1s heartbeat", "4m1s heartbeat",
			"5m1s heartbeat", "5m1s alarm-3..alarm-7")
		equal(t, s.parkedNames())
	})
}

// A person's word ends the rest of a retrial, whether it or something new wakes
// the uploader.
func TestAPersonsWordEndsTheRest(t *testing.T) {
	for _, wordFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s, r, u := refusedTwo(t)
			r.fails(refuses(Denied, "alarm-7"))
			s.resend()
			pass(time.Minute)
			r.fails(nil)
			if wordFirst {
				u.ProbeNow()
			}
			s.add(edgeagent.StreamAlarm, 1)
			if !wordFirst {
				u.ProbeNow()
			}
			pass(time.Second)
			equal(t, s.parkedNames())
		})
	}
}

// A receipt that speaks of numbers which were never written says something of the
// upstream, or of our file, and nothing of the event: as before a person must look.
func TestAReceiptThatCannotBeTrueBlamesNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, u := refusedTwo(t)
		r.fails(nil)
		r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) {
			receipt.Contig[edgeagent.StreamAlarm] = 99
			return receipt, nil
		}
		n := len(r.history())
		s.resend()
		pass(10 * time.Second)
		equal(t, since(r, n), "1s alarm-3..alarm-7", "1s heartbeat")
		if st := u.Status(); st.State != edgeagent.UpstreamPaused || !strings.Contains(st.Error, "old data file") || len(s.asked) != 2 {
			t.Errorf("status = %+v, %d wait for their turn, want 2", st, len(s.asked))
		}
	})
}

// What an answer in hand says is booked while the agent stops; that the stop cut
// the line says nothing of the event.
func TestWhatIsKnownOfAResentEventOutlivesAStop(t *testing.T) {
	tests := []struct {
		name   string
		answer func(stop func()) error // to the resent event
		parked []string
		asked  int
	}{
		{"stored", func(stop func()) error { stop(); return nil }, nil, 0},
		{"refused", func(stop func()) error { stop(); return &Error{Class: Unfit, Status: 422, Text: "422: no"} }, []string{"alarm-1"}, 0},
		{"cut", func(stop func()) error { stop(); return context.Canceled }, []string{"alarm-1"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				s.has = r.has
				s.add(edgeagent.StreamAlarm, 1)
				s.cursor[edgeagent.StreamAlarm] = 1
				s.parked[slotOf(s.events[edgeagent.StreamAlarm][0])] = edgeagent.NewNote("refused_upstream", "422")
				s.resend()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				r.before = func(_ int, b []edgeagent.Outgoing) error {
					if b[0].ID == "alarm-1" {
						return tt.answer(stop)
					}
					return nil
				}
				u := New(Options{Name: "historian", Destination: r, Outbox: s, Book: s, Refusals: s, Source: "/plant-a/gw", Receipt: "body"})
				u.again.balks = giveUp - 1 // the next one would be too many
				if err := u.Run(ctx); err != nil {
					t.Errorf("Run = %v", err)
				}
				equal(t, s.parkedNames(), tt.parked...)
				if len(s.asked) != tt.asked {
					t.Errorf("%d wait for their turn, want %d", len(s.asked), tt.asked)
				}
			})
		})
	}
}

// Hundreds that are still refused do not storm the upstream; what is new goes
// between them, and what it takes goes as fast as it takes it.
func TestRefusalsInARowAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		var all []string
		for n := range 100 {
			all = append(all, fmt.Sprintf("alarm-%d", n+1))
		}
		r.before = refuses(Unfit, all...)
		s.add(edgeagent.StreamAlarm, 101)
		start(t, s, r, nil)
		pass(time.Minute)
		n := len(r.history())
		s.resend()
		pass(30 * time.Second)
		s.add(edgeagent.StreamAlarm, 1)
		pass(100 * time.Millisecond)
		if got := len(since(r, n)); !r.holds(edgeagent.StreamAlarm, 102) || got < 35 || got > 45 {
			t.Errorf("%d requests in half a minute, want some 40 and alarm 102 among them: %q", got, since(r, n))
		}
		pass(90 * time.Second)
		if len(s.asked) != 0 || len(s.parkedNames()) != 100 {
			t.Errorf("%d still go out, %d are parked; want all of them parked again", len(s.asked), len(s.parkedNames()))
		}
		s.resend()
		r.fails(nil)
		pass(5 * time.Second)
		equal(t, s.parkedNames())
	})
}
