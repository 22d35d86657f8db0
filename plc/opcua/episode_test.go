package opcua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// settle lets the bubble's time pass until everybody waits.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestFirstValuesComeWithUpAndChangesFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=level", 1.5)
		r := start(t, p, Options{Tags: []plc.TagSpec{node("level", edgeagent.TypeFloat64)}})
		settle(time.Second)
		if len(r.heard) == 0 || !r.heard[0].Up || r.heard[0].Security != "None" || r.heard[0].Requests < 4 {
			t.Fatalf("first told: %+v", r.heard)
		}
		if s := r.heard[0].Samples; len(s) != 1 || !s[0].Value.Equal(edgeagent.Float(1.5)) || s[0].Quality != edgeagent.QualityGood {
			t.Errorf("first values: %+v", s)
		}
		for i := range 5 {
			p.set("ns=1;s=level", float64(i))
			settle(time.Second)
		}
		if got := r.last("level"); !got.Value.Equal(edgeagent.Float(4)) || got.SourceAt.IsZero() || got.ServerAt.IsZero() || got.At.IsZero() {
			t.Errorf("last value %+v", got)
		}
		if n := r.count(func(h plc.Heard) bool { return h.Up }); n != 1 {
			t.Errorf("up %d times", n)
		}
		if n := r.count(func(h plc.Heard) bool { return h.Gap }); n != 0 {
			t.Errorf("%d gaps without one", n)
		}
		r.finish(t)
	})
}

func TestKeepAlivesConfirmWhatStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", 1.5)
		p.set("ns=1;s=b", true)
		limit := 1.0
		over := node("a", edgeagent.TypeFloat64)
		over.Max = &limit // out of range, and standing
		r := start(t, p, Options{Tags: []plc.TagSpec{over, node("b", edgeagent.TypeBool), node("gone", edgeagent.TypeBool)}})
		settle(10 * time.Second)
		var last []string
		shared := 0
		for _, h := range r.heard {
			if len(h.Confirmed) == 0 {
				continue
			}
			if len(last) > 0 && &last[0] == &h.Confirmed[0] {
				shared++
			}
			last = h.Confirmed
		}
		slices.Sort(last)
		if !slices.Equal(last, []string{"a", "b"}) || shared < 3 {
			t.Errorf("confirmed %v, the same slice %d times", last, shared)
		}
		held := last
		p.tell("ns=1;s=b", &ua.DataValue{Status: ua.StatusBadNotConnected})
		settle(10 * time.Second)
		for _, h := range r.heard {
			last = append([]string{}, h.Confirmed...)
		}
		if slices.Contains(last, "b") || len(held) != 2 {
			t.Errorf("a bad value was confirmed: %v; before: %v", last, held)
		}
		r.finish(t)
	})
}

func TestARefusedNodeCostsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(1))
		p.tell("ns=1;s=secret", &ua.DataValue{Status: ua.StatusBadUserAccessDenied})
		tags := []plc.TagSpec{node("a", edgeagent.TypeInt16), node("gone", edgeagent.TypeInt16), node("secret", edgeagent.TypeInt16)}
		foreign := node("foreign", edgeagent.TypeInt16)
		foreign.Node = "nsu=urn:elsewhere;s=x"
		r := start(t, p, Options{Tags: append(tags, foreign)})
		settle(time.Minute / 2)
		for tag, code := range map[string]string{"gone": "BadNodeIdUnknown", "secret": "BadUserAccessDenied", "foreign": "BadNodeIdInvalid"} {
			if s := r.last(tag); s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonStatus) || s.Reason.Params["code"] != code {
				t.Errorf("%s: %s %+v", tag, s.Quality, s.Reason)
			}
		}
		if s := r.last("a"); s.Quality != edgeagent.QualityGood {
			t.Errorf("a: %s %v", s.Quality, s.Reason)
		}
		before := p.timesRead("ns=1;s=gone")
		settle(9 * time.Minute)
		if p.timesRead("ns=1;s=gone") != before {
			t.Error("asked again before ten minutes")
		}
		p.set("ns=1;s=gone", int16(7)) // nobody is told: it is not subscribed
		settle(time.Minute)
		if s := r.last("gone"); s.Quality != edgeagent.QualityGood || !s.Value.Equal(edgeagent.Int(7)) {
			t.Fatalf("back: %v %s %v", s.Value, s.Quality, s.Reason)
		}
		p.set("ns=1;s=gone", int16(8))
		settle(time.Second)
		if s := r.last("gone"); !s.Value.Equal(edgeagent.Int(8)) {
			t.Errorf("not subscribed after it came back: %v", s.Value)
		}
		r.finish(t)
	})
}

func TestANodeDeletedWhileItIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(1))
		p.set("ns=1;s=b", int16(1))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16), node("b", edgeagent.TypeInt16)}})
		settle(time.Second)
		p.tell("ns=1;s=a", &ua.DataValue{Status: ua.StatusBadNodeIDUnknown})
		// A server may as well say nothing of a node that is gone.
		p.do(func() { delete(p.values, "ns=1;s=b"); p.deaf["ns=1;s=b"] = true })
		settle(time.Second)
		if s := r.last("a"); s.Quality != edgeagent.QualityBad {
			t.Errorf("a is %s", s.Quality)
		}
		settle(2 * time.Minute)
		if s := r.last("b"); s.Quality != edgeagent.QualityBad || s.Reason.Params["code"] != "BadNodeIdUnknown" {
			t.Errorf("b looks %s two minutes after its node is gone", s.Quality)
		}
		p.do(func() { clear(p.deaf) })
		p.set("ns=1;s=a", int16(2))
		p.set("ns=1;s=b", int16(3))
		settle(11 * time.Minute)
		if a, b := r.last("a"), r.last("b"); !a.Value.Equal(edgeagent.Int(2)) || !b.Value.Equal(edgeagent.Int(3)) {
			t.Errorf("back: a %v, b %v", a.Value, b.Value)
		}
		r.finish(t)
	})
}

func TestDeadbandIsAskedInRawUnits(t *testing.T) {
	cases := []struct {
		name string
		spec func(*plc.TagSpec)
		want float64 // 0: no filter
	}{
		{"none", func(*plc.TagSpec) {}, 0},
		{"as it is", func(s *plc.TagSpec) { s.Deadband = 0.5 }, 0.5},
		{"scaled", func(s *plc.TagSpec) { s.Deadband, s.Scale = 0.5, -0.1 }, 5},
		{"ranges", func(s *plc.TagSpec) {
			s.Deadband, s.Scaling = 0.5, &plc.Scaling{Raw: [2]float64{0, 27648}, Eng: [2]float64{100, 0}}
		}, 138.24},
		{"ranges without a span", func(s *plc.TagSpec) { s.Deadband, s.Scaling = 0.5, &plc.Scaling{Raw: [2]float64{0, 1}} }, 0},
		{"of a bit", func(s *plc.TagSpec) { s.Deadband, s.Type = 0.5, edgeagent.TypeBool }, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := node("a", edgeagent.TypeFloat32)
			c.spec(&spec)
			if got := rawDeadband(&spec); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestAServerWithoutDeadbandIsSubscribedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.noFilter = true
		p.set("ns=1;s=a", 1.0)
		p.set("ns=1;s=b", 1.0)
		spec := node("a", edgeagent.TypeFloat64)
		spec.Deadband = 0.5
		r := start(t, p, Options{Tags: []plc.TagSpec{spec, node("b", edgeagent.TypeFloat64)}})
		settle(time.Second)
		p.set("ns=1;s=a", 2.0)
		p.set("ns=1;s=b", 3.0)
		settle(time.Second)
		if a, b := r.last("a"), r.last("b"); !a.Value.Equal(edgeagent.Float(2)) || !b.Value.Equal(edgeagent.Float(3)) {
			t.Errorf("a %v, b %v", a.Value, b.Value)
		}
		var filters []any
		for _, batch := range p.monitored {
			for _, i := range batch {
				if i.ItemToMonitor.NodeID.String() == "ns=1;s=a" {
					filters = append(filters, i.RequestedParameters.Filter.Value)
				}
			}
		}
		if len(filters) != 2 || filters[1] != nil || filters[0].(*ua.DataChangeFilter).DeadbandValue != 0.5 {
			t.Errorf("filters asked for: %+v", filters)
		}
		r.finish(t)
	})
}

func TestWhatCannotBeSubscribedIsPolledAtItsScan(t *testing.T) {
	cases := []struct {
		name string
		plan func(*rig)
	}{
		{"one item", func(p *rig) { p.monitorFail["ns=1;s=a"] = ua.StatusBadTooManyMonitoredItems }},
		{"an item said not to be there that can be read", func(p *rig) { p.monitorFail["ns=1;s=a"] = ua.StatusBadNodeIDUnknown }},
		{"no subscription at all", func(p *rig) { p.noSubs = true }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newRig()
				c.plan(p)
				p.set("ns=1;s=a", int16(0))
				p.set("ns=1;s=b", int16(0))
				r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16), node("b", edgeagent.TypeInt16)}})
				settle(time.Second / 4)
				for i := range 20 {
					p.set("ns=1;s=a", int16(i))
					p.set("ns=1;s=b", int16(i))
					settle(time.Second)
					if a, b := r.last("a"), r.last("b"); !a.Value.Equal(edgeagent.Int(int64(i))) || !b.Value.Equal(edgeagent.Int(int64(i))) {
						t.Fatalf("%d: a %v, b %v", i, a.Value, b.Value)
					}
				}
				if n := p.timesRead("ns=1;s=a"); n < 38 || n > 43 {
					t.Errorf("%d reads in 20 s at a scan of 500 ms", n)
				}
				r.finish(t)
			})
		})
	}
}

func TestScansShareASubscriptionWhereThereIsOnlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.maxSubs = 1
		p.set("ns=1;s=a", int16(0))
		p.set("ns=1;s=b", int16(0))
		slow := node("b", edgeagent.TypeInt16)
		slow.Scan = 10 * time.Second
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16), slow}})
		settle(time.Second)
		p.set("ns=1;s=b", int16(5))
		settle(time.Second)
		if s := r.last("b"); !s.Value.Equal(edgeagent.Int(5)) || len(p.subs) != 1 {
			t.Errorf("b is %v, %d subscriptions", s.Value, len(p.subs))
		}
		r.finish(t)
	})
}

func TestAHundredTagsKeepToTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		var tags []plc.TagSpec
		for i := range 103 {
			name := fmt.Sprintf("t%d", i)
			p.set("ns=1;s="+name, int32(i))
			tags = append(tags, node(name, edgeagent.TypeInt32))
		}
		r := start(t, p, Options{Tags: tags})
		settle(2 * time.Second)
		for i := range 103 {
			if s := r.last(fmt.Sprintf("t%d", i)); !s.Value.Equal(edgeagent.Int(int64(i))) {
				t.Errorf("t%d is %v", i, s.Value)
			}
		}
		for _, batch := range p.monitored {
			if len(batch) > 5 {
				t.Errorf("%d items in one call, the server takes 5", len(batch))
			}
		}
		for _, req := range p.requests {
			if read, ok := req.(*ua.ReadRequest); ok && len(read.NodesToRead) > 7 {
				t.Errorf("%d nodes in one read, the server takes 7", len(read.NodesToRead))
			}
		}
		r.finish(t)
	})
}

func TestElementsOfAnArrayShareAnItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=list", []int16{4, 5, 6})
		var tags []plc.TagSpec
		for i := range 4 {
			spec := node("list", edgeagent.TypeInt16)
			spec.Name, spec.Index = fmt.Sprintf("e%d", i), new(i)
			tags = append(tags, spec)
		}
		r := start(t, p, Options{Tags: tags})
		settle(time.Second)
		p.set("ns=1;s=list", []int16{7, 8, 9})
		settle(time.Second)
		for i := range 3 {
			if s := r.last(fmt.Sprintf("e%d", i)); !s.Value.Equal(edgeagent.Int(int64(7 + i))) {
				t.Errorf("element %d is %v", i, s.Value)
			}
		}
		if s := r.last("e3"); s.Quality != edgeagent.QualityBad {
			t.Errorf("an element that is not there is %s", s.Quality)
		}
		if n := len(p.subs[1].items); n != 2 { // and the heartbeat
			t.Errorf("%d items for one node", n)
		}
		r.finish(t)
	})
}

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

// TestAConfirmationKeepsItsTime: what comes later is no proof that the value
// still holds.
func TestAConfirmationKeepsItsTime(t *testing.T) {
	box, at := newMailbox(), time.Unix(1000, 0)
	box.put(letter{at: at, subscription: 1, confirmed: []string{"a"}})
	box.put(letter{at: at.Add(time.Second), subscription: 2, confirmed: []string{"b"}})
	box.put(letter{at: at.Add(time.Minute), samples: []edgeagent.Sample{{Tag: "c"}}})
	for _, h := range box.take() {
		for i, name := range []string{"a", "b"} {
			if want := at.Add(time.Duration(i) * time.Second); slices.Contains(h.Confirmed, name) && !h.At.Equal(want) {
				t.Errorf("%s is confirmed at %v, the server did at %v", name, h.At, want)
			}
		}
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

func TestASlowKeepAliveIsHeardByTheHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.keepAlive = 3000 // of 500 ms: 25 minutes
		p.set("i=2258", time.Now())
		p.set("ns=1;s=a", int16(0))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		for range 30 {
			settle(2 * time.Second)
			p.set("i=2258", time.Now())
		}
		if len(r.end) > 0 {
			t.Fatalf("ended in health: %v", <-r.end)
		}
		if n := r.count(func(h plc.Heard) bool { return len(h.Confirmed) > 0 }); n < 25 {
			t.Errorf("confirmed %d times in a minute", n)
		}
		fault := time.Now() // the clock stands still now
		if err := <-r.end; !errors.Is(err, plc.ErrSilent) || time.Since(fault) > 9*time.Second {
			t.Errorf("noticed after %v: %v", time.Since(fault), err)
		}
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

func TestALateReaderHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=level", 0.0)
		p.set("ns=1;s=bit", false)
		r := start(t, p, Options{Tags: []plc.TagSpec{node("level", edgeagent.TypeFloat64), node("bit", edgeagent.TypeBool)}})
		settle(time.Second)
		r.forget()
		r.mu.Lock()
		r.slow = 20 * time.Second
		r.mu.Unlock()
		for i := range 60 { // a minute
			p.set("ns=1;s=level", float64(i))
			settle(time.Second)
		}
		p.set("ns=1;s=bit", true)
		settle(time.Second)
		p.set("ns=1;s=bit", false)
		settle(3 * time.Minute)
		if len(r.end) > 0 {
			t.Fatalf("the episode ended: %v", <-r.end)
		}
		if got := r.values("level"); len(got) > 30 || !r.last("level").Value.Equal(edgeagent.Float(59)) {
			t.Errorf("%d values, the last %v", len(got), r.last("level").Value)
		}
		var bits []edgeagent.Value
		for _, s := range r.values("bit") {
			if len(bits) == 0 || !bits[len(bits)-1].Equal(s.Value) {
				bits = append(bits, s.Value)
			}
		}
		if n := len(bits); n < 2 || !bits[n-1].Equal(edgeagent.Bool(false)) || !bits[n-2].Equal(edgeagent.Bool(true)) {
			t.Errorf("the bit went and came back, told: %v", bits)
		}
		for _, h := range r.heard {
			seen := make(map[string]bool)
			for _, s := range h.Samples {
				if seen[s.Tag] {
					t.Errorf("%s twice in one message", s.Tag)
				}
				seen[s.Tag] = true
			}
		}
		r.mu.Lock()
		r.slow = 0
		r.mu.Unlock()
		r.finish(t)
	})
}

func TestAValueThatTheServerForgotIsReadWithinTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.deaf["ns=1;s=a"] = true
		p.set("ns=1;s=a", int16(1))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(time.Second)
		p.set("ns=1;s=a", int16(2))
		settle(2 * time.Minute)
		if s := r.last("a"); !s.Value.Equal(edgeagent.Int(2)) {
			t.Errorf("after two minutes it is %v", s.Value)
		}
		r.finish(t)
	})
}

func TestAfterAGapAllIsReadAndNothingConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(1))
		p.set("ns=1;s=b", int16(1))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16), node("b", edgeagent.TypeInt16)}})
		settle(20 * time.Second)
		p.do(func() { // the change of b is lost
			p.values["ns=1;s=b"] = &ua.DataValue{Value: ua.MustVariant(int16(2))}
			p.subs[1].skip = 1
		})
		p.set("ns=1;s=a", int16(2))
		settle(time.Millisecond)
		if s := r.last("b"); !s.Value.Equal(edgeagent.Int(2)) {
			t.Errorf("b is %v after the gap", s.Value)
		}
		for _, h := range r.heard {
			if h.Gap && len(h.Confirmed) > 0 {
				t.Errorf("confirmed with a gap: %v", h.Confirmed)
			}
		}
		r.finish(t)
	})
}

// TestWhatIsToldDuringAnAuditIsNewer: the answer of a read that was under way
// must not replace what was told meanwhile.
func TestWhatIsToldDuringAnAuditIsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(1))
		c := New(Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		c.connect = func(ctx context.Context, o *Options) (*client, error) {
			conn, err := p.client(ctx, o)
			conn.ch = lateReads{p}
			return conn, err
		}
		r := startClient(t, c)
		settle(119 * time.Second)
		r.forget()
		settle(3500 * time.Millisecond) // the second audit has been answered, and its answer is on the way
		p.set("ns=1;s=a", int16(2))
		settle(10 * time.Second)
		if got := r.values("a"); len(got) != 1 || !got[0].Value.Equal(edgeagent.Int(2)) {
			t.Errorf("told %+v", got)
		}
		r.finish(t)
	})
}

// lateReads delivers what was read a second later.
type lateReads struct{ *rig }

func (l lateReads) call(ctx context.Context, req ua.Request, token *ua.NodeID) (ua.Response, error) {
	res, err := l.rig.call(ctx, req, token)
	if _, ok := req.(*ua.ReadRequest); ok {
		time.Sleep(time.Second)
	}
	return res, err
}

func TestAServerWithoutAGoodTagIsHeardAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", "text")
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(time.Minute)
		if n := r.count(func(h plc.Heard) bool { return !h.At.IsZero() }); n < 25 {
			t.Errorf("heard %d times in a minute", n)
		}
		r.finish(t)
	})
}

func TestOneNodeThatAServerStumblesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		var tags []plc.TagSpec
		for i := range 6 {
			name := fmt.Sprintf("t%d", i)
			p.set("ns=1;s="+name, int32(i))
			tags = append(tags, node(name, edgeagent.TypeInt32))
		}
		conn, _ := p.client(t.Context(), nil)
		conn.ch = stumbling{p, "ns=1;s=t4"}
		c := New(Options{Tags: tags})
		c.connect = func(context.Context, *Options) (*client, error) { return conn, nil }
		samples, err := c.Fetch(t.Context())
		if err != nil || len(samples) != 6 {
			t.Fatalf("%d samples, %v", len(samples), err)
		}
		for i, s := range samples {
			if bad := s.Quality == edgeagent.QualityBad; bad != (i == 4) {
				t.Errorf("t%d is %s: %v", i, s.Quality, s.Reason)
			}
		}
	})
}

// stumbling refuses every read that has one node among others.
type stumbling struct {
	*rig
	node string
}

func (s stumbling) call(ctx context.Context, req ua.Request, token *ua.NodeID) (ua.Response, error) {
	if r, ok := req.(*ua.ReadRequest); ok {
		if slices.ContainsFunc(r.NodesToRead, func(n *ua.ReadValueID) bool { return n.NodeID.String() == s.node }) {
			return nil, ua.StatusBadResponseTooLarge
		}
	}
	return s.rig.call(ctx, req, token)
}

func TestTheEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(0))
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(time.Second)
		r.stop()
		if err := <-r.end; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if r.client.getLive() != nil {
			t.Error("the connection is still lent out")
		}
	})
}

func TestFetchUsesTheEpisodesConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(3))
		c, connects := New(Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}}), 0
		c.connect = func(ctx context.Context, o *Options) (*client, error) {
			connects++
			return p.client(ctx, o)
		}
		for i := range 2 {
			samples, err := c.Fetch(t.Context())
			if err != nil || len(samples) != 1 || !samples[0].Value.Equal(edgeagent.Int(3)) || connects != i+1 {
				t.Fatalf("%+v, %v after %d connects", samples, err, connects)
			}
		}
		r := startClient(t, c)
		settle(time.Second)
		if _, err := c.Fetch(t.Context()); err != nil || connects != 3 {
			t.Errorf("%v after %d connects", err, connects)
		}
		p.do(func() { p.frozen = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Fetch(ctx); err == nil {
			t.Error("a frozen server was read")
		}
		r.finish(t)
	})
}

func TestEveryConnectionErrorIsOneOfTheSubscribers(t *testing.T) {
	for _, err := range []error{ua.StatusBadSessionIDInvalid, context.DeadlineExceeded, errors.New("x"), fmt.Errorf("y: %w", plc.ErrUnreachable)} {
		got := broken("read", err)
		if !errors.Is(got, plc.ErrSilent) && !errors.Is(got, plc.ErrUnreachable) {
			t.Errorf("%v is none of them", got)
		}
	}
}
