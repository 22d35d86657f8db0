package upsync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.idle != 4 {
			t.Errorf("old connections were dropped %d times on 4 pokes", r.idle)
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
		equal(t, r.history(), "0s heartbeat", "0s alarm-1..alarm-3", "24s alarm-1..alarm-3")
		if st := u.Status(); st.State != edgeagent.UpstreamUp || st.Backlog != 0 || r.twice != 3 {
			t.Errorf("status = %+v, %d came twice; want up, drained, 3", st, r.twice)
		}
	})
}

// full is a data file on a disk without room: it reads, and books nothing.
type full struct{ *store }

func (full) Confirm(context.Context, string, edgeagent.Receipt) error { return edgeagent.ErrFull }

func TestFullDiskIsSaidOnceAndSpellsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 3)
		var said bytes.Buffer
		start(t, s, r, func(u *Uploader) {
			u.o.Outbox, u.o.Log = full{s}, slog.New(slog.NewTextHandler(&said, nil))
		})
		pass(time.Hour)
		sent := len(slices.DeleteFunc(r.history(), func(line string) bool { return strings.HasSuffix(line, "heartbeat") }))
		if sent > 65 {
			t.Errorf("the same three alarms went out %d times in an hour, want about once a minute", sent)
		}
		if n := strings.Count(said.String(), "does not serve"); n != 1 {
			t.Errorf("said %d times, want once:\n%s", n, said.String())
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

func TestHeartbeatSaysWhatComesNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		s.add(edgeagent.StreamAlarm, 3)
		var bodies [][]byte
		r.before = func(_ int, batch []edgeagent.Outgoing) error {
			if batch[0].Type == edgeagent.EventHeartbeat {
				bodies = append(bodies, batch[0].Body)
			}
			return nil
		}
		start(t, s, r, func(u *Uploader) { u.o.HeartbeatData = func() any { return map[string]int{"alarms": 1} } })
		pass(90 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		var ids []string
		for i, body := range bodies {
			var all map[string]json.RawMessage
			var ev edgeagent.Event
			if err := errors.Join(json.Unmarshal(body, &all), json.Unmarshal(body, &ev)); err != nil {
				t.Fatal(err)
			}
			if all["sequence"] != nil || all["eastream"] != nil || ev.Source != "/plant-a/gw" || ev.Type != edgeagent.EventHeartbeat || ev.Epoch != ours || ev.SpecVersion != "1.0" {
				t.Errorf("heartbeat = %s", body)
			}
			want := fmt.Sprintf(`{"next":{"alarm":4,"diagnosis":1,"event":1},"backlog":%d,"oldest_s":0,"parked":0,"agent":{"alarms":1}}`, 3-3*i)
			if string(ev.Data) != want {
				t.Errorf("data = %s, want %s", ev.Data, want)
			}
			ids = append(ids, ev.ID)
		}
		if len(ids) != 2 || ids[0] == ids[1] {
			t.Errorf("ids = %q, want two different ones", ids)
		}
	})
}

func TestPersonOverridesRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		r.before = func(int, []edgeagent.Outgoing) error {
			return &Error{Class: Busy, Status: 503, RetryAfter: time.Hour, Text: "503"}
		}
		u := start(t, s, r, nil)
		pass(10 * time.Minute)
		u.ProbeNow()
		pass(time.Minute)
		equal(t, r.history(), "0s heartbeat", "10m0s heartbeat")
	})
}

// A word that was given before a request is no answer to what its answer orders.
func TestAnEarlierWordLiftsNoRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		r.before = func(int, []edgeagent.Outgoing) error {
			return &Error{Class: Busy, Status: 429, RetryAfter: time.Hour, Text: "429"}
		}
		start(t, s, r, (*Uploader).ProbeNow)
		pass(time.Minute)
		equal(t, r.history(), "0s heartbeat")
	})
}

func TestReceiptInHandIsBookedWhileStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newStore(t), newReceiver()
		s.has = r.has
		s.add(edgeagent.StreamAlarm, 3)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r.after = func(call int, receipt edgeagent.Receipt) (edgeagent.Receipt, error) {
			if call == 2 {
				cancel()
			}
			return receipt, nil
		}
		u := New(Options{Name: "historian", Destination: r, Outbox: s, Book: s, Source: "/plant-a/gw", Receipt: "body"})
		if err := u.Run(ctx); err != nil || u.Status().Backlog != 0 {
			t.Errorf("Run = %v with %d waiting", err, u.Status().Backlog)
		}
	})
}

func TestHeartbeatSaysWhereInItsBootItIs(t *testing.T) {
	o := Options{Name: "up", Book: newStore(t), Source: "/plant-a/gw", Stamp: func() (string, string) { return "boot-1", "42" }}
	hb, err := New(o).heartbeat(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var e edgeagent.Event
	if err := json.Unmarshal(hb.Body, &e); err != nil {
		t.Fatal(err)
	}
	if e.Boot != "boot-1" || e.Mono != "42" || e.Sequence != "" || e.Stream != "" {
		t.Errorf("heartbeat %+v, want it stamped and without a number", e)
	}
}
