package sim

import (
	"math"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"
)

const (
	maxPublishes = 20  // that may wait on a session
	maxQueue     = 100 // values of one item
)

// overflow marks a value before which others were lost.
const overflow = ua.StatusCode(0x480)

// uaPublish is a publish request that waits.
type uaPublish struct {
	number uint32
	req    *ua.PublishRequest
}

// uaSubscription tells the changes of its items, an interval at a time.
type uaSubscription struct {
	id       uint32
	interval time.Duration
	next     time.Time
	sequence uint32
	keep     uint32 // intervals without news until a keep-alive
	quiet    uint32 // intervals since something was sent
	life     uint32 // intervals without a publish request until the end
	alone    uint32
	items    []*uaItem
	last     uint32 // number of an item
}

// uaItem is one monitored value.
type uaItem struct {
	id, handle uint32
	node       *uaNode
	attribute  ua.AttributeID
	deadband   float64
	queue      int
	oldest     bool // is discarded first
	told       *ua.DataValue
	pending    []*ua.DataValue
}

func (c *uaChannel) subscribe(req *ua.CreateSubscriptionRequest) ua.Response {
	interval := max(time.Duration(req.RequestedPublishingInterval*float64(time.Millisecond)), Tick)
	keep := max(req.RequestedMaxKeepAliveCount, 1)
	s := &uaSubscription{
		id: c.server.number(), interval: interval, next: time.Now().Add(interval),
		keep: keep, quiet: keep, life: max(req.RequestedLifetimeCount, 3*keep),
	}
	c.session.subscriptions = append(c.session.subscriptions, s)
	return &ua.CreateSubscriptionResponse{
		SubscriptionID: s.id, RevisedPublishingInterval: float64(s.interval) / float64(time.Millisecond),
		RevisedLifetimeCount: s.life, RevisedMaxKeepAliveCount: s.keep,
	}
}

func (s *uaSession) subscription(number uint32) *uaSubscription {
	i := slices.IndexFunc(s.subscriptions, func(u *uaSubscription) bool { return u.id == number })
	if i < 0 {
		return nil
	}
	return s.subscriptions[i]
}

func (c *uaChannel) monitor(req *ua.CreateMonitoredItemsRequest) ua.Response {
	s := c.session.subscription(req.SubscriptionID)
	if s == nil {
		return fault(ua.StatusBadSubscriptionIDInvalid)
	}
	if status := countOf(len(req.ItemsToCreate)); status != ua.StatusOK {
		return fault(status)
	}
	res := &ua.CreateMonitoredItemsResponse{}
	for _, r := range req.ItemsToCreate {
		res.Results = append(res.Results, c.server.space.monitor(s, r))
	}
	return res
}

// monitor adds an item; its first value is told with the next notification.
func (s *uaSpace) monitor(sub *uaSubscription, r *ua.MonitoredItemCreateRequest) *ua.MonitoredItemCreateResult {
	refuse := func(status ua.StatusCode) *ua.MonitoredItemCreateResult {
		return &ua.MonitoredItemCreateResult{StatusCode: status, FilterResult: ua.NewExtensionObject(nil)}
	}
	if r.ItemToMonitor == nil || r.RequestedParameters == nil {
		return refuse(ua.StatusBadNodeIDInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, p := s.node(r.ItemToMonitor.NodeID), r.RequestedParameters
	if n == nil {
		return refuse(ua.StatusBadNodeIDUnknown)
	}
	if r.ItemToMonitor.AttributeID != ua.AttributeIDValue || n.read == nil {
		return refuse(ua.StatusBadAttributeIDInvalid)
	}
	deadband, status := deadbandOf(p.Filter)
	if status != ua.StatusOK {
		return refuse(status)
	}
	sub.last++
	item := &uaItem{
		id: sub.last, handle: p.ClientHandle, node: n, attribute: r.ItemToMonitor.AttributeID,
		deadband: deadband, queue: int(min(max(p.QueueSize, 1), maxQueue)), oldest: p.DiscardOldest,
	}
	sub.items = append(sub.items, item)
	return &ua.MonitoredItemCreateResult{
		MonitoredItemID: item.id, RevisedSamplingInterval: float64(Tick / time.Millisecond), RevisedQueueSize: uint32(item.queue),
		FilterResult: ua.NewExtensionObject(nil),
	}
}

// deadbandOf takes an absolute deadband or none; other filters are refused.
func deadbandOf(filter *ua.ExtensionObject) (float64, ua.StatusCode) {
	if filter == nil || filter.Value == nil {
		return 0, ua.StatusOK
	}
	f, ok := filter.Value.(*ua.DataChangeFilter)
	switch {
	case !ok:
		return 0, ua.StatusBadMonitoredItemFilterUnsupported
	case f.DeadbandType == uint32(ua.DeadbandTypeNone):
		return 0, ua.StatusOK
	case f.DeadbandType == uint32(ua.DeadbandTypeAbsolute) && f.DeadbandValue >= 0:
		return f.DeadbandValue, ua.StatusOK
	default:
		return 0, ua.StatusBadDeadbandFilterInvalid
	}
}

func (c *uaChannel) unmonitor(req *ua.DeleteMonitoredItemsRequest) ua.Response {
	s := c.session.subscription(req.SubscriptionID)
	if s == nil {
		return fault(ua.StatusBadSubscriptionIDInvalid)
	}
	res := &ua.DeleteMonitoredItemsResponse{}
	for _, number := range req.MonitoredItemIDs {
		before := len(s.items)
		s.items = slices.DeleteFunc(s.items, func(i *uaItem) bool { return i.id == number })
		res.Results = append(res.Results, gone(before > len(s.items), ua.StatusBadMonitoredItemIDInvalid))
	}
	return res
}

func (c *uaChannel) unsubscribe(req *ua.DeleteSubscriptionsRequest) ua.Response {
	res := &ua.DeleteSubscriptionsResponse{}
	for _, number := range req.SubscriptionIDs {
		before := len(c.session.subscriptions)
		c.session.subscriptions = slices.DeleteFunc(c.session.subscriptions, func(s *uaSubscription) bool { return s.id == number })
		res.Results = append(res.Results, gone(before > len(c.session.subscriptions), ua.StatusBadSubscriptionIDInvalid))
	}
	return res
}

func gone(done bool, otherwise ua.StatusCode) ua.StatusCode {
	if done {
		return ua.StatusOK
	}
	return otherwise
}

// enqueue keeps a publish request until there is something to tell.
func (c *uaChannel) enqueue(number uint32, req *ua.PublishRequest) ua.Response {
	if len(c.session.subscriptions) == 0 {
		return fault(ua.StatusBadNoSubscription)
	}
	if len(c.session.publishes) == maxPublishes {
		return fault(ua.StatusBadTooManyPublishRequests)
	}
	c.session.publishes = append(c.session.publishes, uaPublish{number, req})
	return nil
}

// tick samples what is subscribed to and tells it where its time has come.
func (c *uaChannel) tick(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, stuck := c.server.stuck(c); stuck || c.session == nil || c.server.has(OPCUAMute) {
		return
	}
	for _, s := range slices.Clone(c.session.subscriptions) {
		c.server.space.collect(s)
		if now.Before(s.next) {
			continue
		}
		s.next = s.next.Add(s.interval)
		if s.next.Before(now) { // the machine slept
			s.next = now.Add(s.interval)
		}
		c.notify(s)
	}
}

// collect puts changed values into the queues of their items.
func (s *uaSpace) collect(sub *uaSubscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range sub.items {
		if v := i.node.now(); i.changed(v) {
			i.told = v
			i.push(v)
		}
	}
}

func (i *uaItem) changed(v *ua.DataValue) bool {
	if i.told == nil || i.told.Status != v.Status {
		return true
	}
	if v.Value == nil {
		return false
	}
	was, is := i.told.Value.Value(), v.Value.Value()
	if a, numeric := number(was); numeric {
		b, _ := number(is)
		return a != b && math.Abs(a-b) > i.deadband
	}
	if i.node.fixed {
		return i.told.SourceTimestamp.Unix() != v.SourceTimestamp.Unix() && i.node.ticks()
	}
	return was != is
}

// ticks reports whether a fixed node is the clock: the others never change.
func (n *uaNode) ticks() bool {
	_, clock := n.value.(time.Time)
	return clock
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case uint16:
		return float64(v), true
	case uint32:
		return float64(v), true
	case int32:
		return float64(v), true
	case float32:
		return float64(v), true
	default:
		return 0, false
	}
}

// push queues a value; where one is lost the next in the queue says so.
func (i *uaItem) push(v *ua.DataValue) {
	if len(i.pending) < i.queue {
		i.pending = append(i.pending, v)
		return
	}
	if i.oldest {
		i.pending = append(i.pending[1:], v)
	} else {
		i.pending[len(i.pending)-1] = v
	}
	if i.queue > 1 { // a queue of one is the last value, and no loss
		at := 0
		if !i.oldest {
			at = len(i.pending) - 1
		}
		lost := *i.pending[at]
		lost.EncodingMask |= ua.DataValueStatusCode
		lost.Status |= overflow
		i.pending[at] = &lost
	}
}

// notify answers a publish request with news or, when it is time, without.
func (c *uaChannel) notify(s *uaSubscription) {
	news := s.news()
	if len(news) == 0 {
		if s.quiet++; s.quiet < s.keep {
			return
		}
	}
	if len(c.session.publishes) == 0 {
		if s.alone++; s.alone >= s.life {
			c.session.subscriptions = slices.DeleteFunc(c.session.subscriptions, func(o *uaSubscription) bool { return o == s })
		}
		return
	}
	if len(news) > 0 && c.server.spend(OPCUALose) {
		s.sequence++
		s.forget()
		return
	}
	p := c.session.publishes[0]
	c.session.publishes = c.session.publishes[1:]
	s.quiet, s.alone = 0, 0
	message := &ua.NotificationMessage{SequenceNumber: s.sequence + 1, PublishTime: time.Now()}
	if len(news) > 0 {
		s.sequence++
		message.NotificationData = []*ua.ExtensionObject{ua.NewExtensionObject(&ua.DataChangeNotification{MonitoredItems: news})}
		s.forget()
	}
	if c.server.spend(OPCUAEnd) {
		message.NotificationData = []*ua.ExtensionObject{ua.NewExtensionObject(&ua.StatusChangeNotification{Status: ua.StatusBadTimeout, DiagnosticInfo: &ua.DiagnosticInfo{}})}
		c.session.subscriptions = slices.DeleteFunc(c.session.subscriptions, func(o *uaSubscription) bool { return o == s })
	}
	_ = c.send("MSG", p.number, p.req, &ua.PublishResponse{ // an error has closed the connection
		SubscriptionID: s.id, NotificationMessage: message,
		Results: slices.Repeat([]ua.StatusCode{ua.StatusOK}, len(p.req.SubscriptionAcknowledgements)),
	})
	if c.server.has(OPCUAFlap) {
		_ = c.conn.Close()
	}
}

// forget empties the queues: what was in them is told, or lost.
func (s *uaSubscription) forget() {
	for _, i := range s.items {
		i.pending = nil
	}
}

// news lists what the items have queued.
func (s *uaSubscription) news() []*ua.MonitoredItemNotification {
	var out []*ua.MonitoredItemNotification
	for _, i := range s.items {
		for _, v := range i.pending {
			out = append(out, &ua.MonitoredItemNotification{ClientHandle: i.handle, Value: v})
		}
	}
	return out
}
