package opcua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
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

// TestANodeThatComesAndGoes is not added to the subscription for ever: the server
// keeps what it was given.
func TestANodeThatComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		r := start(t, p, Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		settle(time.Second)
		for n := range 40 {
			p.set("ns=1;s=a", int16(n))
			settle(11 * time.Minute)
			if s := r.last("a"); !s.Value.Equal(edgeagent.Int(int64(n))) {
				t.Fatalf("back for the %dth time: %v %s", n, s.Value, s.Quality)
			}
			p.set("ns=1;s=a", int16(-1))
			settle(time.Second)
			if s := r.last("a"); !s.Value.Equal(edgeagent.Int(-1)) {
				t.Fatalf("changed for the %dth time: %v %s", n, s.Value, s.Quality)
			}
			p.do(func() { delete(p.values, "ns=1;s=a"); p.deaf["ns=1;s=a"] = true })
			settle(2 * time.Minute)
			p.do(func() { clear(p.deaf) })
		}
		added := 0
		for _, batch := range p.monitored {
			for _, i := range batch {
				if i.ItemToMonitor.NodeID.String() == "ns=1;s=a" {
					added++
				}
			}
		}
		if added > 10 {
			t.Errorf("added %d times", added)
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

// TestABusyServerIsNotAskedMore: halves of a request are more requests.
func TestABusyServerIsNotAskedMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for fails, want := range map[int]edgeagent.Quality{2: edgeagent.QualityGood, 1000: edgeagent.QualityBad} {
			p, tags := newRig(), make([]plc.TagSpec, 0, 7)
			for i := range 7 {
				name := fmt.Sprintf("t%d", i)
				p.set("ns=1;s="+name, int16(1))
				tags = append(tags, node(name, edgeagent.TypeInt16))
			}
			conn, _ := p.client(t.Context(), nil)
			server := &tooBusy{rig: p, fails: fails}
			conn.ch = server
			c := New(Options{Tags: tags})
			c.connect = func(context.Context, *Options) (*client, error) { return conn, nil }
			samples, err := c.Fetch(t.Context())
			if err != nil || len(samples) != 7 || server.asked > 3 {
				t.Fatalf("%d samples after %d requests, %v", len(samples), server.asked, err)
			}
			for _, s := range samples {
				if s.Quality != want {
					t.Errorf("%s is %s: %v", s.Tag, s.Quality, s.Reason)
				}
			}
		}
	})
}

// TestAServerThatIsTooBusyToGoOnHasNotAnswered: what it ends the connection with is
// no refusal of what was asked last. Up would end the alarm of a stop.
func TestAServerThatIsTooBusyToGoOnHasNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		p.set("ns=1;s=a", int16(1))
		conn, _ := p.client(t.Context(), nil)
		conn.ch = &cutShort{rig: p, with: &wireError{status: ua.StatusBadTCPNotEnoughResources}}
		c := New(Options{Tags: []plc.TagSpec{node("a", edgeagent.TypeInt16)}})
		c.connect = func(context.Context, *Options) (*client, error) { return conn, nil }
		r := startClient(t, c)
		err := <-r.end
		if n := r.count(func(plc.Heard) bool { return true }); n > 0 || time.Since(r.began) > 0 {
			t.Errorf("told %d times in %v", n, time.Since(r.began))
		}
		wants(t, err, plc.ErrSilent, "BadTcpNotEnoughResources")
	})
}

// cutShort is a connection that the server ends with the first read of a tag.
type cutShort struct {
	*rig
	with error
	over atomic.Bool
}

func (s *cutShort) call(ctx context.Context, req ua.Request, token *ua.NodeID) (ua.Response, error) {
	r, reads := req.(*ua.ReadRequest)
	if s.over.Load() || reads && r.NodesToRead[0].NodeID.Namespace() > 0 {
		if !s.over.Swap(true) {
			close(s.dead)
		}
		return nil, s.with
	}
	return s.rig.call(ctx, req, token)
}

// tooBusy refuses so many reads.
type tooBusy struct {
	*rig
	asked, fails int
}

func (s *tooBusy) call(ctx context.Context, req ua.Request, token *ua.NodeID) (ua.Response, error) {
	if _, ok := req.(*ua.ReadRequest); ok {
		if s.asked++; s.asked <= s.fails {
			return nil, badServerTooBusy
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
