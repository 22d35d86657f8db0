package upsync

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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

func TestResend(t *testing.T) {
	alarm := edgeagent.StreamAlarm
	lost := []slot{{ours, alarm, 3}, {ours, alarm, 4}}
	ask := func(r edgeagent.Receipt) edgeagent.Receipt {
		if r.Contig[alarm] == 2 {
			r.Resend = []edgeagent.Range{{Stream: alarm, From: 3, To: 4}}
		}
		return r
	}
	t.Run("what upstream lost and asks for comes again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStore(t), newReceiver()
			r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) { return ask(receipt), nil }
			s.add(alarm, 5)
			u := start(t, s, r, nil)
			pass(time.Second)
			r.lose(lost...)
			s.add(alarm, 2)
			pass(time.Second)
			equal(t, r.history(), "0s heartbeat", "0s alarm-1..alarm-5", "1s alarm-6..alarm-7", "1s alarm-3..alarm-4")
			if !r.has(alarm, 3) || !r.has(alarm, 4) || u.Status().Backlog != 0 {
				t.Errorf("still missing; status %+v", u.Status())
			}
		})
	})
	t.Run("asked for by a heartbeat's receipt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStore(t), newReceiver()
			r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) { return ask(receipt), nil }
			s.add(alarm, 5)
			start(t, s, r, nil)
			pass(time.Second)
			r.lose(lost...)
			pass(time.Minute)
			equal(t, r.history(), "0s heartbeat", "0s alarm-1..alarm-5", "1m0s heartbeat", "1m0s alarm-3..alarm-4")
		})
	})
	t.Run("lost and not asked for is a fault", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStore(t), newReceiver()
			s.add(alarm, 5)
			u := start(t, s, r, nil)
			pass(time.Second)
			r.lose(lost...)
			s.add(alarm, 2)
			pass(time.Second)
			if st := u.Status(); st.State != edgeagent.UpstreamPaused || st.Backlog != 2 || !strings.Contains(st.Error, "ends at alarm 2") {
				t.Errorf("status = %+v, want paused with 2 waiting", st)
			}
		})
	})
	t.Run("one who asks for ever is served once a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStore(t), newReceiver()
			r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) {
				receipt.Resend = []edgeagent.Range{{Stream: alarm, From: 0, To: 1<<64 - 1}, {Stream: "nonsense", From: 9, To: 1}}
				return receipt, nil
			}
			s.add(alarm, 5)
			start(t, s, r, nil)
			pass(2*time.Minute + time.Second)
			if r.calls > 10 {
				t.Errorf("%d requests in two minutes: %q", r.calls, r.history())
			}
		})
	})
	t.Run("what it asks for and then refuses is left out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := newStore(t), newReceiver()
			r.after = func(_ int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) { return ask(receipt), nil }
			s.add(alarm, 5)
			u := start(t, s, r, nil)
			pass(time.Second)
			r.lose(lost...)
			r.fails(refuses(Unfit, "alarm-3"))
			s.add(alarm, 1)
			pass(time.Second)
			if st := u.Status(); st.Backlog != 0 || st.Parked != 0 || !r.has(alarm, 4) || r.has(alarm, 3) {
				t.Errorf("status = %+v, alarm-4 stored %v", st, r.has(alarm, 4))
			}
		})
	})
}

func TestNumbersThatNobodyHasDoNotStopTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Salvage lost alarms 1 to 3; the gap event that says so waits behind
		// the alarms, in another stream.
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 5)
		s.events[edgeagent.StreamAlarm] = slices.Clone(s.events[edgeagent.StreamAlarm])
		for n := range 3 {
			s.events[edgeagent.StreamAlarm][n].Epoch = ""
			s.parked[slot{"", edgeagent.StreamAlarm, uint64(n + 1)}] = edgeagent.NewNote("lost", "lost")
		}
		s.append(edgeagent.StreamEvent, edgeagent.EventGap, edgeagent.Gap{Epoch: ours, Stream: edgeagent.StreamAlarm, From: 1, To: 3})
		s.has = func(stream edgeagent.Stream, n uint64) bool {
			return stream == edgeagent.StreamAlarm && n <= 3 || r.has(stream, n)
		}
		u := start(t, s, r, func(u *Uploader) { u.o.Batch = 1 })
		pass(time.Second)
		equal(t, r.history(), "0s heartbeat", "0s alarm-4", "0s alarm-5", "0s event-1")
		if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 {
			t.Errorf("status = %+v", st)
		}
	})
}

func TestEpochsDoNotMeetInABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		for n := uint64(1); n <= 2; n++ {
			s.old = append(s.old, edgeagent.Outgoing{Epoch: before, Stream: edgeagent.StreamAlarm, Sequence: n, ID: fmt.Sprintf("old-%d", n), At: time.Now(), Body: []byte(`{}`)})
		}
		s.add(edgeagent.StreamAlarm, 2)
		start(t, s, r, nil)
		pass(time.Second)
		equal(t, r.history(), "0s heartbeat", "0s old-1..old-2", "0s alarm-1..alarm-2")
	})
}

func TestPokeAndProbeNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		r.before = func(int, []edgeagent.Outgoing) error { return &Error{Class: Denied, Status: 401, Text: "401"} }
		poke := make(chan struct{}, 1)
		u := start(t, s, r, func(u *Uploader) { u.o.Poke = poke })
		pass(time.Minute)
		poke <- struct{}{}
		pass(30 * time.Second)
		u.ProbeNow()
		pass(10 * time.Second)
		poke <- struct{}{} // 10 s after the last try: 2 s from now
		poke <- struct{}{}
		pass(9 * time.Second)
		poke <- struct{}{} // 7 s after the last try: not before its 10th second
		pass(6 * time.Minute)
		equal(t, r.history(), "0s heartbeat", "1m2s heartbeat", "1m30s heartbeat", "1m42s heartbeat", "1m52s heartbeat", "6m52s heartbeat")
		if st := u.Status(); st.State != edgeagent.UpstreamPaused || st.Error != "401" || st.NextTryAt == nil {
			t.Errorf("status = %+v", st)
		}
	})
}

func TestDataFileThatDoesNotAnswerIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 3)
		s.fail = []error{nil, errors.New("i/o error"), errors.New("i/o error")} // Pending well, Confirm not, Pending not
		u := start(t, s, r, nil)
		pass(30 * time.Second)
		equal(t, r.history(), "0s heartbeat", "0s alarm-1..alarm-3", "16s alarm-1..alarm-3")
		if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 || r.twice != 3 {
			t.Errorf("status = %+v, %d came twice; want up, drained, 3", st, r.twice)
		}
	})
}

func TestBareStatusIsEnoughWhereConfigured(t *testing.T) {
	for _, mode := range []string{"status", "body"} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := newStore(t), newReceiver()
				r.after = func(int, edgeagent.Receipt) (edgeagent.Receipt, error) { return edgeagent.Receipt{}, nil }
				s.add(edgeagent.StreamAlarm, 3)
				s.add(edgeagent.StreamEvent, 1)
				u := start(t, s, r, func(u *Uploader) { u.o.Receipt = mode })
				pass(time.Second)
				if st, want := u.Status(), map[string]int{"status": 0, "body": 4}[mode]; st.Backlog != want {
					t.Errorf("status = %+v, want %d waiting", st, want)
				}
			})
		})
	}
}
