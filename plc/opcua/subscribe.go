package opcua

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

const (
	// Queues of the server between two notifications. Of bits, counters and
	// codes each change may matter; of a measurement the last value.
	changesQueue, measurementQueue = 10, 1
	// eventsQueue must take the burst of a refresh.
	eventsQueue = 10_000
	// perNotification keeps notifications well below any message size.
	perNotification = 1000
	// lifetime is how long a server keeps a subscription that nobody asks after.
	lifetime = time.Minute
	// absolute is the deadband type of Part 8: a difference in raw units.
	absolute = 1
)

// Client handles of items that are no tags. Neither 0 nor the highest number is
// anybody's: a server that takes both for none (node-opcua) tells of such items
// under the other's number.
const (
	heartbeatHandle = math.MaxUint32 - 1 - iota
	eventsHandle
)

// itemState is how the value of an item is had.
type itemState uint8

const (
	polled      itemState = iota // read at its scan: the server does not tell it
	subscribed                   // told
	refusedItem                  // neither; asked for again every ten minutes
)

// item is one node at one scan. Tags of one node share it: elements of an
// array come in one value. After begin its state belongs to the polling
// goroutine.
type item struct {
	handle   uint32 // its place among the items, from 1
	node     *ua.NodeID
	tags     []*plc.TagSpec
	scan     time.Duration
	deadband float64       // in raw units; 0: every change
	status   ua.StatusCode // of the last read
	state    itemState
	sub      *subscription
	added    int // how often the server took it; of the polling goroutine

	told, audited uint64 // notifications, now and at the last audit; guarded by episode.mu
	letter        uint64 // the last that told it; of the publishing goroutine
	listed        bool   // all its tags are on the roster; guarded by episode.mu
	slow          bool   // sampled or told so seldom that it is read: what is told of it is too old; guarded by episode.mu
}

// samples appends one sample of each of the item's tags.
func (i *item) samples(to []edgeagent.Sample, dv *ua.DataValue, at time.Time) []edgeagent.Sample {
	for _, t := range i.tags {
		to = append(to, sample(t, dv, at))
	}
	return to
}

// itemsOf groups tags by node and scan. A tag whose address cannot be resolved,
// because its namespace is not on this server, is returned as a bad sample.
func itemsOf(tags []plc.TagSpec, resolve func(string) (*ua.NodeID, error)) (items []*item, unresolved []edgeagent.Sample) {
	type key struct {
		node string
		scan time.Duration
	}
	known := make(map[key]*item)
	for n := range tags {
		t := &tags[n]
		node, err := resolve(t.Node)
		if err != nil {
			unresolved = append(unresolved, unresolvable(t, err))
			continue
		}
		k := key{node.String(), scanOf(t)}
		it := known[k]
		if it == nil {
			it = &item{handle: uint32(len(items)) + 1, node: node, scan: k.scan, deadband: rawDeadband(t)}
			known[k] = it
			items = append(items, it)
		}
		it.tags = append(it.tags, t)
		it.deadband = min(it.deadband, rawDeadband(t))
	}
	return items, unresolved
}

func unresolvable(t *plc.TagSpec, err error) edgeagent.Sample {
	return edgeagent.Sample{
		Tag: t.Name, Quality: edgeagent.QualityBad, At: time.Now(),
		Reason: edgeagent.NewNote(edgeagent.ReasonStatus, err.Error(), "code", "BadNodeIdInvalid"),
	}
}

func scanOf(t *plc.TagSpec) time.Duration {
	if t.Scan > 0 {
		return t.Scan
	}
	return defaultScan
}

// rawDeadband turns the tag's deadband back into the server's units.
func rawDeadband(t *plc.TagSpec) float64 {
	d := t.Deadband
	if t.Type == edgeagent.TypeBool || t.Type == edgeagent.TypeString {
		return 0
	}
	if t.Scaling != nil {
		d *= (t.Scaling.Raw[1] - t.Scaling.Raw[0]) / (t.Scaling.Eng[1] - t.Scaling.Eng[0])
	} else if t.Scale != 0 {
		d /= t.Scale
	}
	if d = math.Abs(d); math.IsNaN(d) || math.IsInf(d, 0) {
		return 0
	}
	return d
}

// queue is how many values the server shall keep between two notifications.
func (i *item) queue() uint32 {
	for _, t := range i.tags {
		switch t.Type {
		case edgeagent.TypeFloat16, edgeagent.TypeFloat32, edgeagent.TypeFloat64:
		default:
			return changesQueue
		}
	}
	return measurementQueue
}

func (i *item) request(filtered bool) *ua.MonitoredItemCreateRequest {
	req := &ua.MonitoredItemCreateRequest{
		ItemToMonitor: &ua.ReadValueID{
			NodeID: i.node, AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{},
		},
		MonitoringMode: ua.MonitoringModeReporting,
		RequestedParameters: &ua.MonitoringParameters{
			ClientHandle: i.handle, SamplingInterval: milliseconds(i.scan), QueueSize: i.queue(), DiscardOldest: true,
			Filter: ua.NewExtensionObject(nil),
		},
	}
	if filtered && i.deadband > 0 {
		req.RequestedParameters.Filter = ua.NewExtensionObject(&ua.DataChangeFilter{
			Trigger: ua.DataChangeTriggerStatusValue, DeadbandType: absolute, DeadbandValue: i.deadband,
		})
	}
	return req
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// unknownNode reports whether a status says that the node itself cannot be had,
// which neither reading nor subscribing will change soon.
func unknownNode(s ua.StatusCode) bool {
	switch s & 0xFFFF0000 {
	case ua.StatusBadNodeIDUnknown, ua.StatusBadNodeIDInvalid, ua.StatusBadUserAccessDenied, ua.StatusBadNotReadable,
		ua.StatusBadAttributeIDInvalid, ua.StatusBadNodeNotInView, ua.StatusBadSecurityModeInsufficient:
		return true
	}
	return false
}

// subscription is one at the server: of a scan, or of events.
type subscription struct {
	id    uint32
	pause time.Duration // the longest between two messages; guarded by episode.mu
	heard time.Time     // the last one; guarded by episode.mu
	beat  time.Duration // between two heartbeats, as they are asked for
	clock time.Duration // the same as the server gives them, if they come
	tells time.Duration // the longest between two messages, as the server promised

	roster roster // guarded by episode.mu

	// Of the publishing goroutine:
	next       uint32 // sequence number
	unnumbered bool   // its numbers mean nothing
	skips      int    // gaps in a row
	beats      int
}

// subscribe makes a subscription for each scan and adds what can be had. What
// cannot is read, or asked for again.
func (e *episode) subscribe(ctx context.Context) error {
	for _, i := range e.items {
		if unknownNode(i.status) {
			i.state = refusedItem
		}
	}
	for _, scan := range scansOf(e.items) {
		s, err := e.subscriptionFor(ctx, scan)
		if err != nil {
			return err
		}
		if s == nil {
			continue // all is polled
		}
		items := slices.DeleteFunc(slices.Clone(e.items), func(i *item) bool { return i.scan != scan })
		for _, i := range items {
			i.sub = s
		}
		if err := e.monitor(ctx, s, slices.DeleteFunc(items, func(i *item) bool { return i.state == refusedItem })); err != nil {
			return err
		}
	}
	return nil
}

// subscriptionFor makes a subscription. A server that gives no further one adds
// to the first: its items keep their own sampling. Without any it is polled.
func (e *episode) subscriptionFor(ctx context.Context, interval time.Duration) (*subscription, error) {
	s, err := e.create(ctx, interval)
	if err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.subs = append(e.subs, s); len(e.subs) == 1 {
			close(e.some)
		}
		return s, nil
	}
	status, refused := itemRefusal(err)
	if !refused {
		return nil, err
	}
	if len(e.subs) > 0 {
		return e.subs[0], nil
	}
	if e.c.first("subscription") {
		e.c.o.log().Warn("the server gives no subscription: tags are polled", "endpoint", e.c.o.Endpoint, "status", statusName(status))
	}
	return nil, nil
}

// create makes a subscription that says something at least every two thirds of
// a watchdog: three silences are then two watchdogs.
func (e *episode) create(ctx context.Context, interval time.Duration) (*subscription, error) {
	beat := e.watchdog * 2 / 3
	interval = max(min(interval, beat), time.Millisecond)
	keepAlives := uint32(max(beat/interval, 1))
	res, err := e.conn.createSubscription(ctx, &ua.CreateSubscriptionRequest{
		RequestedPublishingInterval: milliseconds(interval),
		RequestedMaxKeepAliveCount:  keepAlives,
		RequestedLifetimeCount:      max(3*keepAlives, uint32(lifetime/interval)),
		MaxNotificationsPerPublish:  perNotification,
		PublishingEnabled:           true,
	})
	if err != nil {
		return nil, err
	}
	published := revised(res.RevisedPublishingInterval, interval)
	s := &subscription{
		id: res.SubscriptionID, next: 1, heard: time.Now(), beat: max(beat, published),
		pause: published * time.Duration(min(max(res.RevisedMaxKeepAliveCount, 1), 100_000)),
	}
	s.clock, s.tells = s.beat, s.pause
	return s, e.heartbeat(ctx, s)
}

// revised reads an interval that a server answered with.
func revised(ms float64, wanted time.Duration) time.Duration {
	if !(ms >= 1 && ms <= milliseconds(time.Hour)) {
		return wanted
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// heartbeat subscribes to the server's clock, which never stands still: some
// servers revise a keep-alive to minutes. One without a clock is heard by its
// keep-alives alone.
func (e *episode) heartbeat(ctx context.Context, s *subscription) error {
	clock := &item{handle: heartbeatHandle, node: ua.NewNumericNodeID(0, id.Server_ServerStatus_CurrentTime), scan: s.beat}
	results, err := e.conn.createMonitoredItems(ctx, s.id, []*ua.MonitoredItemCreateRequest{clock.request(false)})
	if _, refused := itemRefusal(err); refused {
		return nil
	}
	if err == nil && results[0] != nil && !isBad(results[0].StatusCode) {
		s.clock = max(s.beat, revised(results[0].RevisedSamplingInterval, s.beat))
		s.tells = min(s.tells, s.clock)
	}
	return err
}

// monitor adds items to a subscription: with their deadbands, without them
// where the server has none, and else they are polled.
func (e *episode) monitor(ctx context.Context, s *subscription, items []*item) error {
	unfiltered, err := e.createItems(ctx, s, items, true)
	if err != nil || len(unfiltered) == 0 {
		return err
	}
	_, err = e.createItems(ctx, s, unfiltered, false)
	return err
}

// subscribedTo takes an item for told, unless the server looks at it so seldom
// that its keep-alives would confirm what nobody has looked at, or says anything
// so seldom that its values would be stale in between: then it is read.
func (e *episode) subscribedTo(i *item, s *subscription, sampling float64) {
	most := max(silences*i.scan, e.watchdog)
	slow := sampling > milliseconds(most) || s.tells > most
	i.state = subscribed
	i.added++
	if slow {
		i.state = polled
		if e.c.first("slow") {
			e.c.o.log().Warn("the server samples or tells more slowly than is asked for; such tags are read at their scan instead",
				"endpoint", e.c.o.Endpoint, "node", i.node.String(), "scan", i.scan, "sampling_ms", sampling, "tells", s.tells)
		}
	}
	e.mu.Lock()
	i.slow = slow
	e.mu.Unlock()
}

// createItems returns the items whose filter was refused.
func (e *episode) createItems(ctx context.Context, s *subscription, items []*item, filtered bool) (unfiltered []*item, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	requests := make([]*ua.MonitoredItemCreateRequest, len(items))
	for n, i := range items {
		requests[n] = i.request(filtered)
	}
	results, err := e.conn.createMonitoredItems(ctx, s.id, requests)
	if status, refused := itemRefusal(err); refused {
		e.c.o.log().Warn("the server refuses to monitor; these tags are polled", "items", len(items)-len(results), "status", statusName(status))
	} else if err != nil {
		return nil, err
	}
	for n, i := range items {
		status := ua.StatusBadTooManyMonitoredItems
		if n < len(results) && results[n] != nil {
			status = results[n].StatusCode
		}
		switch {
		case !isBad(status):
			e.subscribedTo(i, s, results[n].RevisedSamplingInterval)
		case filtered && i.deadband > 0:
			unfiltered = append(unfiltered, i)
		case unknownNode(status) && isBad(i.status):
			i.state = refusedItem
		default:
			i.state = polled
		}
	}
	return unfiltered, nil
}
