package opcua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// TestAConnectionThatCannotBeTrustedEndsWithinNineSeconds is the promise of
// liveness, with the default watchdog, fault by fault.
func TestAConnectionThatCannotBeTrustedEndsWithinNineSeconds(t *testing.T) {
	cases := []struct {
		name  string
		fault func(*rig)
		is    error
	}{
		{"the server is stopped", func(p *rig) { p.frozen = true }, plc.ErrSilent},
		{"the connection is cut", func(p *rig) { close(p.dead) }, plc.ErrUnreachable},
		{"it answers, but tells nothing", func(p *rig) { p.mute = true }, plc.ErrSilent},
		{"it says that it shuts down", func(p *rig) { p.state = 4 }, errState},
		{"it says that it failed", func(p *rig) { p.state = 1 }, errState},
		{"it ends the subscription", func(p *rig) {
			p.subs[1].add(&ua.StatusChangeNotification{Status: ua.StatusBadTimeout})
		}, plc.ErrSilent},
	}
	for _, c := range cases {
		for _, phase := range []time.Duration{0, 700 * time.Millisecond, 1900 * time.Millisecond, 2999 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s/%v", c.name, phase), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newRig()
					p.set("ns=1;s=a", int16(0))
					r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
					settle(time.Minute + phase)
					select {
					case err := <-r.end:
						t.Fatalf("ended in health: %v", err)
					default:
					}
					fault := time.Now()
					p.do(func() { c.fault(p) })
					err := <-r.end
					if took := time.Since(fault); took > 9*time.Second || !errors.Is(err, c.is) {
						t.Errorf("noticed after %v: %v", took, err)
					}
				})
			})
		}
	}
}

// TestASessionThatIsForgottenSoonIsAskedOften: a server may keep a session that
// asks nothing for less than the watchdog that was configured.
func TestASessionThatIsForgottenSoonIsAskedOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.noSubs = true
		c := New(Options{Watchdog: time.Minute, Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		c.connect = func(ctx context.Context, o *Options) (*client, error) {
			conn, err := p.client(ctx, o)
			conn.forgets = 9 * time.Second
			return conn, err
		}
		r := startClient(t, c)
		settle(30 * time.Second)
		if n := p.timesRead("i=2259"); n < 10 {
			t.Errorf("asked %d times in 30 s, the server forgets a session after 9", n)
		}
		r.finish(t)
	})
}

// TestAServerThatSamplesSeldomIsRead: its keep-alives would confirm for a minute
// what has long changed.
func TestAServerThatSamplesSeldomIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.sampling = 60_000
		p.set("ns=1;s=a", int16(1))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(time.Second)
		p.do(func() { p.values["ns=1;s=a"] = &ua.DataValue{Value: ua.MustVariant(int16(2))} })
		settle(time.Second)
		if s := r.last("a"); !s.Value.Equal(edgeagent.Int(2)) {
			t.Errorf("a is %v, a second after it changed", s.Value)
		}
		p.do(func() { // what was sampled a minute ago is told now
			p.subs[1].add(&ua.DataChangeNotification{MonitoredItems: []*ua.MonitoredItemNotification{{ClientHandle: 1, Value: &ua.DataValue{Value: ua.MustVariant(int16(1))}}}})
		})
		settle(20 * time.Second)
		if s := r.last("a"); !s.Value.Equal(edgeagent.Int(2)) {
			t.Errorf("a is %v again", s.Value)
		}
		if n := r.count(func(h plc.Heard) bool { return slices.Contains(h.Confirmed, "a") }); n > 0 {
			t.Errorf("confirmed %d times without being looked at", n)
		}
		r.finish(t)
	})
}

// TestAServerThatTellsSeldomIsRead: however often it looks, what it says once a
// minute is stale for most of it.
func TestAServerThatTellsSeldomIsRead(t *testing.T) {
	for name, seldom := range map[string]func(*rig){
		"publishes": func(p *rig) { p.publishing = 60_000 },
		"keeps alive, and tells no time": func(p *rig) {
			p.keepAlive = 120
			p.monitorFail["i=2258"] = ua.StatusBadUserAccessDenied
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newRig()
				seldom(p)
				p.set("ns=1;s=a", int16(1))
				r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
				settle(30 * time.Second)
				r.forget()
				settle(5 * time.Second)
				confirmed := r.count(func(h plc.Heard) bool { return slices.Contains(h.Confirmed, "a") })
				if len(r.values("a")) == 0 && confirmed == 0 {
					t.Error("nothing was heard of a for ten scans")
				}
				r.finish(t)
			})
		})
	}
}

// TestWaitingForInitialDataIsNoNews: servers say so of each new item, of which
// the value was read a moment before.
func TestWaitingForInitialDataIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(1))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(time.Second)
		p.tell("ns=1;s=a", &ua.DataValue{Status: ua.StatusBadWaitingForInitialData})
		settle(time.Second)
		if s := r.last("a"); s.Quality != edgeagent.QualityGood {
			t.Errorf("a is %s: %v", s.Quality, s.Reason)
		}
		r.finish(t)
	})
}

// TestTheServerIsToldOfTheEnd before the episode returns: the process may end
// right after, and servers keep few sessions.
func TestTheServerIsToldOfTheEnd(t *testing.T) {
	p := startPlant(t)
	record, l := record(t, p.endpoint)
	r := startClient(t, New(p.options("", "").at(l)))
	r.up(t)
	r.finish(t)
	if !slices.Contains(record.frames(), id.CloseSessionRequest_Encoding_DefaultBinary) {
		t.Error("no CloseSession was sent")
	}
}

func TestAServerThatIsPolledIsWatchedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.noSubs = true
		p.set("ns=1;s=a", int16(0))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(time.Minute + time.Second)
		fault := time.Now()
		p.do(func() { p.frozen = true })
		if err := <-r.end; time.Since(fault) > 9*time.Second || !errors.Is(err, plc.ErrSilent) {
			t.Errorf("noticed after %v: %v", time.Since(fault), err)
		}
	})
}

func TestAServerThatAnswersAtOnceWithNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.hasty = true
		p.set("ns=1;s=a", int16(0))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(10 * time.Second)
		p.set("ns=1;s=a", int16(1))
		settle(time.Second)
		if s := r.last("a"); !s.Value.Equal(edgeagent.Int(1)) {
			t.Errorf("a is %v", s.Value)
		}
		asked := 0
		for _, req := range p.requests {
			if _, ok := req.(*ua.PublishRequest); ok {
				asked++
			}
		}
		if asked > 150 {
			t.Errorf("asked %d times in 11 s", asked)
		}
		r.finish(t)
	})
}

// TestTheHeartbeatIsNoTagsValue on a server that takes the highest handle for none,
// and tells of it under 0.
func TestTheHeartbeatIsNoTagsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", "Lager")
		p.set("i=2258", time.Now())
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeString)}})
		settle(time.Second)
		p.set("i=2258", time.Now())
		settle(time.Second)
		if s := r.last("a"); s.Value != edgeagent.String("Lager") {
			t.Errorf("a is %+v: it took the server's clock", s)
		}
		r.finish(t)
	})
}

func TestASlowKeepAliveIsHeardByTheHeartbeat(t *testing.T) {
	for _, beats := range []int{5, 30} {
		t.Run(fmt.Sprint(beats, " beats"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stopsAfter(t, beats) })
		})
	}
}

// stopsAfter has a server's clock stand still after so many beats.
func stopsAfter(t *testing.T, beats int) {
	p := newRig()
	p.keepAlive = 3000 // of 500 ms: 25 minutes
	p.set("i=2258", time.Now())
	p.set("ns=1;s=a", int16(0))
	r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
	for range beats {
		settle(2 * time.Second)
		p.set("i=2258", time.Now())
	}
	if len(r.end) > 0 {
		t.Fatalf("ended in health: %v", <-r.end)
	}
	if n := r.count(func(h plc.Heard) bool { return len(h.Confirmed) > 0 }); n < beats*5/6 {
		t.Errorf("confirmed %d times in %d beats", n, beats)
	}
	fault := time.Now() // the clock stands still now
	if err := <-r.end; !errors.Is(err, plc.ErrSilent) || time.Since(fault) > 9*time.Second {
		t.Errorf("noticed after %v: %v", time.Since(fault), err)
	}
}

// TestAServerThatNeverPublishes, and promised to be heard in an hour, is read:
// it would be connected, and nothing of it known.
func TestAServerThatNeverPublishes(t *testing.T) {
	for name, mute := range map[string]time.Duration{"nothing at all": 0, "after the first values": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newRig()
				p.keepAlive, p.mute = 7200, mute == 0
				p.set("i=2258", time.Now())
				p.set("ns=1;s=a", int16(1))
				r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
				settle(mute)
				p.do(func() { p.mute = true })
				settle(70 * time.Second)
				r.forget()
				p.set("ns=1;s=a", int16(2))
				settle(5 * time.Second)
				if got := r.values("a"); len(r.end) > 0 || len(got) < 9 || !got[0].Value.Equal(edgeagent.Int(2)) {
					t.Errorf("ended %d, told %d values", len(r.end), len(got))
				}
				r.finish(t)
			})
		})
	}
}

// TestWhatIsReadIsNotConfirmed by a server that publishes again after all: changes
// that it tells then are passed over, and the value of the last scan is no news.
func TestWhatIsReadIsNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.keepAlive = 7200
		p.set("i=2258", time.Now())
		p.set("ns=1;s=a", int16(1))
		tag := node("a", edgeagent.TypeInt16)
		tag.Scan = 20 * time.Second
		r := start(t, p, Options{Tags: []plc.TagSpec{tag}})
		settle(3 * time.Second)
		p.do(func() { p.mute = true })
		settle(122 * time.Second)
		r.forget()
		p.do(func() { p.mute = false })
		p.set("ns=1;s=a", int16(2))
		for range 5 {
			p.set("i=2258", time.Now())
			settle(time.Second)
		}
		if got := r.values("a"); len(got) > 0 || r.confirmedLately("a") {
			t.Errorf("told %v, confirmed: %v", got, r.confirmedLately("a"))
		}
		for range 20 {
			p.set("i=2258", time.Now())
			settle(time.Second)
		}
		if s := r.last("a"); len(r.end) > 0 || !s.Value.Equal(edgeagent.Int(2)) {
			t.Errorf("ended %d, a is %v %s", len(r.end), s.Value, s.Quality)
		}
		r.finish(t)
	})
}

// TestAHeartbeatThatIsSampledSlowly beats as often as the server said, not as it
// was asked.
func TestAHeartbeatThatIsSampledSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.keepAlive, p.sampling = 1000, 10_000
		p.set("ns=1;s=a", int16(1))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		for range 30 {
			p.set("i=2258", time.Now())
			settle(10 * time.Second)
		}
		if len(r.end) > 0 {
			t.Fatalf("ended in health: %v", <-r.end)
		}
		p.do(func() { p.mute = true })
		settle(time.Minute)
		if len(r.end) == 0 {
			t.Error("a server that is silent for a minute is believed")
			r.stop()
		}
		<-r.end
	})
}

// TestASlowClockKeepsNobodyFromConfirming what keep-alives say in time.
func TestASlowClockKeepsNobodyFromConfirming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.sampling = 60_000
		p.set("ns=1;s=a", int16(1))
		slow := node("a", edgeagent.TypeInt16)
		slow.Scan = time.Minute
		r := start(t, p, Options{Tags: []plc.TagSpec{slow}})
		settle(20 * time.Second)
		if n := r.count(func(h plc.Heard) bool { return len(h.Confirmed) > 0 }); n < 8 {
			t.Errorf("confirmed %d times in 20 s", n)
		}
		r.finish(t)
	})
}

func TestAServerThatDoesNotRunIsNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.state = 2
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		if err := <-r.end; !errors.Is(err, errState) || len(r.heard) > 0 {
			t.Errorf("%v, told %d times", err, len(r.heard))
		}
	})
}

func TestLostNotificationsAreAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(0))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(20 * time.Second)
		p.do(func() { p.subs[1].skip = 3 })
		p.set("ns=1;s=a", int16(9))
		settle(20 * time.Second)
		if n := r.count(func(h plc.Heard) bool { return h.Gap }); n != 1 {
			t.Errorf("%d gaps, want one", n)
		}
		p.tell("ns=1;s=a", &ua.DataValue{Value: ua.MustVariant(int16(10)), Status: overflowBits})
		settle(time.Second)
		if s := r.last("a"); !s.Reason.Is(edgeagent.ReasonOverflow) || r.count(func(h plc.Heard) bool { return h.Gap }) != 2 {
			t.Errorf("after an overflow: %s %v", s.Quality, s.Reason)
		}
		r.finish(t)
	})
}

// TestAMessageAfterTooLongASilenceIsAGap: of a process that was stopped, whoever
// reads may be first to run again, and not who looks for silence.
func TestAMessageAfterTooLongASilenceIsAGap(t *testing.T) {
	for _, c := range []struct {
		silent time.Duration
		gap    bool
	}{{6 * time.Second, false}, {6*time.Second + 1, true}} {
		var heard []plc.Heard
		e := newEpisode(New(Options{}), &client{})
		e.tell = func(h plc.Heard) { heard = append(heard, h) }
		s := &subscription{id: 1, next: 1, pause: 2 * time.Second, heard: time.Now()}
		e.subs = []*subscription{s}
		res := &ua.PublishResponse{SubscriptionID: 1, NotificationMessage: &ua.NotificationMessage{SequenceNumber: 1}}
		if _, err := e.take(res, s.heard.Add(c.silent)); err != nil {
			t.Fatal(err)
		}
		if len(heard) != 1 || heard[0].Gap != c.gap || len(e.doubt) > 0 != c.gap {
			t.Errorf("after %v: %+v, %d doubts", c.silent, heard, len(e.doubt))
		}
	}
}

func TestSequenceNumbers(t *testing.T) {
	type message struct {
		number    uint32
		keepAlive bool
		gap       bool
	}
	cases := []struct {
		name string
		next uint32
		in   []message
	}{
		{"in order", 1, []message{{1, false, false}, {2, true, false}, {2, false, false}, {3, false, false}}},
		{"one lost", 1, []message{{1, false, false}, {3, false, true}, {4, false, false}}},
		{"lost before a keep-alive", 1, []message{{1, false, false}, {3, true, true}, {3, false, false}}},
		{"a keep-alive with the last number", 1, []message{{1, false, false}, {1, true, false}, {2, false, false}}},
		{"around the end, which has no 0", 0xFFFFFFFF, []message{{0xFFFFFFFF, false, false}, {1, false, false}, {2, false, false}}},
		{"a server that does not count", 1, []message{{1, false, false}, {1, false, false}, {1, false, false}, {7, false, false}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &subscription{next: c.next}
			for i, m := range c.in {
				if got := s.missed(m.number, m.keepAlive); got != m.gap {
					t.Errorf("message %d, number %d: gap %v", i, m.number, got)
				}
			}
		})
	}
}

// TestACounterOfAllSubscriptions leaves a number out with each message; a gap
// each time would be a read of all each time.
func TestACounterOfAllSubscriptions(t *testing.T) {
	gaps := func(s *subscription, numbers ...uint32) (n int) {
		for _, number := range numbers {
			if s.missed(number, false) {
				n++
			}
		}
		return n
	}
	var shared, lossy []uint32
	for i := range uint32(100) {
		shared, lossy = append(shared, 1+2*i), append(lossy, 1+i+i/2)
	}
	if n := gaps(&subscription{next: 1}, shared...); n > 10 {
		t.Errorf("%d gaps of a shared counter", n)
	}
	if n := gaps(&subscription{next: 1}, lossy...); n != 49 {
		t.Errorf("%d gaps of a server that loses every third message, want 49", n)
	}
}
