package opcua

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// rig is a server behind [caller]: it keeps subscriptions as a server does,
// and can do what no decent server does. It runs on the bubble's time.
type rig struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each change
	dead    chan struct{}

	values map[string]*ua.DataValue // by node
	state  int32
	frozen bool // nothing is answered

	mute        bool // no notification is sent
	hasty       bool // keep-alives are sent at once, without end
	noSubs      bool
	maxSubs     int
	keepAlive   uint32                   // revised; 0: as asked
	monitorFail map[string]ua.StatusCode // by node
	noFilter    bool
	noWhere     bool
	noEvents    ua.StatusCode
	refresh     func(p *rig) ua.StatusCode // ConditionRefresh; nil: unknown
	deaf        map[string]bool            // nodes whose changes are not told
	sampling    float64                    // revised, in milliseconds; 0: as asked
	publishing  float64                    // the same

	subs      map[uint32]*rigSub
	reads     map[string]int
	requests  []ua.Request
	monitored [][]*ua.MonitoredItemCreateRequest
}

type rigSub struct {
	id       uint32
	interval time.Duration
	alive    time.Duration
	sequence uint32
	last     time.Time
	items    map[uint32]string // node by handle
	pending  []*ua.ExtensionObject
	skip     uint32 // sequence numbers to leave out
}

func newRig() *rig {
	return &rig{
		changed: make(chan struct{}), dead: make(chan struct{}), values: make(map[string]*ua.DataValue),
		monitorFail: make(map[string]ua.StatusCode), deaf: make(map[string]bool),
		subs: make(map[uint32]*rigSub), reads: make(map[string]int),
	}
}

// client is a session on the plant.
func (p *rig) client(context.Context, *Options) (*client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subs = make(map[uint32]*rigSub)
	return &client{
		ch: p, timeout: time.Minute, ns: []string{"http://opcfoundation.org/UA/", "urn:plant"},
		caps: limits{read: 7, monitor: 5}, security: "None",
		end: func() {}, dead: p.dead, why: func() error { return nil },
	}, nil
}

// do changes the plant and wakes who waits for a notification.
func (p *rig) do(change func()) {
	p.mu.Lock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
}

// set gives a node a value and tells it.
func (p *rig) set(node string, v any) {
	p.tell(node, &ua.DataValue{Value: ua.MustVariant(v), SourceTimestamp: time.Now(), ServerTimestamp: time.Now()})
}

func (p *rig) tell(node string, dv *ua.DataValue) {
	p.do(func() {
		p.values[node] = dv
		for _, s := range p.subs {
			for handle, n := range s.items {
				if n == node && !p.deaf[node] {
					s.add(&ua.DataChangeNotification{MonitoredItems: []*ua.MonitoredItemNotification{{ClientHandle: toldAs(handle), Value: dv}}})
				}
			}
		}
	})
}

// toldAs is what node-opcua makes of a handle: it takes the highest for none.
func toldAs(handle uint32) uint32 {
	if handle == math.MaxUint32 {
		return 0
	}
	return handle
}

func (s *rigSub) add(v any) { s.pending = append(s.pending, ua.NewExtensionObject(v)) }

// timesRead returns how often a node was read.
func (p *rig) timesRead(node string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reads[node]
}

// event tells an event to whoever follows events. Called within do or refresh.
func (p *rig) event(values ...*ua.Variant) {
	for _, s := range p.subs {
		if _, follows := s.items[eventsHandle]; follows {
			s.add(&ua.EventNotificationList{Events: []*ua.EventFieldList{{ClientHandle: eventsHandle, EventFields: values}}})
		}
	}
}

func (p *rig) call(ctx context.Context, req ua.Request, _ *ua.NodeID) (ua.Response, error) {
	if !allowed(req) {
		return nil, errNotAllowed
	}
	p.mu.Lock()
	p.requests = append(p.requests, req)
	for p.frozen {
		p.mu.Unlock()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if publish, ok := req.(*ua.PublishRequest); ok {
		p.mu.Unlock()
		return p.publish(ctx, publish)
	}
	defer p.mu.Unlock()
	switch r := req.(type) {
	case *ua.ReadRequest:
		return p.read(r), nil
	case *ua.CreateSubscriptionRequest:
		return p.subscribe(r)
	case *ua.CreateMonitoredItemsRequest:
		return p.monitor(r), nil
	case *ua.CallRequest:
		status := ua.StatusBadMethodInvalid
		if p.refresh != nil {
			status = p.refresh(p)
			close(p.changed)
			p.changed = make(chan struct{})
		}
		return &ua.CallResponse{Results: []*ua.CallMethodResult{{StatusCode: status}}}, nil
	}
	return nil, ua.StatusBadServiceUnsupported
}

func (p *rig) read(r *ua.ReadRequest) *ua.ReadResponse {
	res := &ua.ReadResponse{}
	for _, n := range r.NodesToRead {
		node := n.NodeID.String()
		p.reads[node]++
		dv := p.values[node]
		switch {
		case n.NodeID.IntID() == id.Server_ServerStatus_State && n.NodeID.Namespace() == 0:
			dv = &ua.DataValue{Value: ua.MustVariant(p.state)}
		case dv == nil:
			dv = &ua.DataValue{Status: ua.StatusBadNodeIDUnknown}
		}
		res.Results = append(res.Results, dv)
	}
	return res
}

func (p *rig) subscribe(r *ua.CreateSubscriptionRequest) (ua.Response, error) {
	if p.noSubs {
		return nil, ua.StatusBadServiceUnsupported
	}
	if p.maxSubs > 0 && len(p.subs) >= p.maxSubs {
		return nil, ua.StatusBadTooManySubscriptions
	}
	keepAlive := r.RequestedMaxKeepAliveCount
	if p.keepAlive > 0 {
		keepAlive = p.keepAlive
	}
	revised := max(p.publishing, r.RequestedPublishingInterval)
	interval := time.Duration(revised * float64(time.Millisecond))
	s := &rigSub{
		id: uint32(len(p.subs)) + 1, interval: interval, alive: interval * time.Duration(keepAlive),
		last: time.Now(), items: make(map[uint32]string),
	}
	p.subs[s.id] = s
	return &ua.CreateSubscriptionResponse{
		SubscriptionID: s.id, RevisedPublishingInterval: revised,
		RevisedMaxKeepAliveCount: keepAlive, RevisedLifetimeCount: r.RequestedLifetimeCount,
	}, nil
}

func (p *rig) monitor(r *ua.CreateMonitoredItemsRequest) ua.Response {
	p.monitored = append(p.monitored, r.ItemsToCreate)
	res, s := &ua.CreateMonitoredItemsResponse{}, p.subs[r.SubscriptionID]
	for _, i := range r.ItemsToCreate {
		node, status := i.ItemToMonitor.NodeID.String(), ua.StatusOK
		filter := i.RequestedParameters.Filter.Value
		switch events, isEvents := filter.(*ua.EventFilter); {
		case isEvents && p.noEvents != 0:
			status = p.noEvents
		case isEvents && p.noWhere && len(events.WhereClause.Elements) > 0:
			status = ua.StatusBadContentFilterInvalid
		case !isEvents && filter != nil && p.noFilter:
			status = ua.StatusBadMonitoredItemFilterUnsupported
		case p.monitorFail[node] != 0:
			status = p.monitorFail[node]
		}
		if status == ua.StatusOK {
			handle := i.RequestedParameters.ClientHandle
			s.items[handle] = node
			if dv := p.values[node]; dv != nil {
				s.add(&ua.DataChangeNotification{MonitoredItems: []*ua.MonitoredItemNotification{{ClientHandle: toldAs(handle), Value: dv}}})
			}
		}
		res.Results = append(res.Results, &ua.MonitoredItemCreateResult{
			StatusCode: status, RevisedSamplingInterval: max(p.sampling, i.RequestedParameters.SamplingInterval),
		})
	}
	return res
}

// publish answers when a subscription has something to tell, or must be heard.
func (p *rig) publish(ctx context.Context, _ *ua.PublishRequest) (ua.Response, error) {
	for {
		p.mu.Lock()
		res, wait := p.due(time.Now())
		changed := p.changed
		p.mu.Unlock()
		if res != nil {
			return res, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		timer.Stop()
	}
}

func (p *rig) due(now time.Time) (*ua.PublishResponse, time.Duration) {
	wait := time.Hour
	if p.mute || p.frozen {
		return nil, wait
	}
	for _, number := range slices.Sorted(maps.Keys(p.subs)) {
		s := p.subs[number]
		if left := s.last.Add(s.alive).Sub(now); len(s.pending) == 0 && left > 0 && !p.hasty {
			wait = min(wait, left)
			continue
		}
		message := &ua.NotificationMessage{SequenceNumber: s.sequence + 1}
		if len(s.pending) > 0 {
			s.sequence += 1 + s.skip
			message.SequenceNumber, message.NotificationData = s.sequence, s.pending
		}
		s.pending, s.skip, s.last = nil, 0, now
		return &ua.PublishResponse{SubscriptionID: s.id, NotificationMessage: message}, 0
	}
	return nil, wait
}

// ear keeps what an episode told.
type ear struct {
	mu    sync.Mutex
	heard []plc.Heard
	slow  time.Duration
	over  bool
	late  bool // told after the end
}

func (e *ear) tell(h plc.Heard) {
	e.mu.Lock()
	e.late = e.late || e.over
	e.heard = append(e.heard, h)
	slow := e.slow
	e.mu.Unlock()
	time.Sleep(slow)
}

// values returns the samples of a tag, in order.
func (e *ear) values(tag string) []edgeagent.Sample {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []edgeagent.Sample
	for _, h := range e.heard {
		for _, s := range h.Samples {
			if s.Tag == tag {
				out = append(out, s)
			}
		}
	}
	return out
}

func (e *ear) last(tag string) edgeagent.Sample {
	all := e.values(tag)
	if len(all) == 0 {
		return edgeagent.Sample{}
	}
	return all[len(all)-1]
}

func (e *ear) count(is func(plc.Heard) bool) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.heard {
		if is(h) {
			n++
		}
	}
	return n
}

func (e *ear) sets() []edgeagent.ConditionSet {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []edgeagent.ConditionSet
	for _, h := range e.heard {
		out = append(out, h.Conditions...)
	}
	return out
}

func (e *ear) forget() {
	e.mu.Lock()
	e.heard = nil
	e.mu.Unlock()
}

// node is a tag of the plant.
func node(name string, typ edgeagent.DataType) plc.TagSpec {
	return plc.TagSpec{Tag: edgeagent.Tag{Name: name, Type: typ}, Node: "ns=1;s=" + name, Scan: 500 * time.Millisecond}
}

// running is an episode in its own goroutine.
type running struct {
	*ear
	client *Client
	began  time.Time
	end    chan error
	stop   context.CancelFunc
}

func start(t *testing.T, p *rig, o Options) *running {
	t.Helper()
	c := New(o)
	c.connect = p.client
	return startClient(t, c)
}

func startClient(t *testing.T, c *Client) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{ear: &ear{}, client: c, began: time.Now(), end: make(chan error, 1), stop: cancel}
	go func() {
		err := c.Episode(ctx, r.tell)
		r.mu.Lock()
		r.over = true
		r.mu.Unlock()
		r.end <- err
	}()
	t.Cleanup(cancel)
	return r
}

// finish stops the episode and checks that nothing is told afterwards.
func (r *running) finish(t *testing.T) {
	t.Helper()
	r.stop()
	<-r.end
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.late {
		t.Error("told after the episode returned")
	}
}

// forget drops what the rig noted.
func (p *rig) forget() {
	p.mu.Lock()
	p.requests, p.monitored = nil, nil
	p.mu.Unlock()
}
