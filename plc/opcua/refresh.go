package opcua

import (
	"context"
	"errors"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
)

const (
	// eventsInterval is how often events are published.
	eventsInterval = 500 * time.Millisecond
	// refreshEvery is how often a server may be asked to tell all its conditions
	// again, however often it wants to be.
	refreshEvery = 10 * time.Second
)

// subscribeEvents follows the server's conditions, if that is configured. A
// server without them is said so once, and its tags are read all the same.
func (e *episode) subscribeEvents(ctx context.Context) error {
	if e.c.o.Events == nil {
		return nil
	}
	e.c.conditions.reconnected(e.conn.ns)
	return e.seekEvents(ctx)
}

// seekEvents tries to have the conditions told. What was made for them in vain
// is kept for the next time.
func (e *episode) seekEvents(ctx context.Context) error {
	events := e.c.o.Events
	if events == nil || e.events.Load() != nil {
		return nil
	}
	source, err := e.conn.resolve(events.source())
	if err != nil {
		if e.c.first("source") {
			e.c.o.log().Warn("alarms and conditions are not followed: the source cannot be resolved",
				"endpoint", e.c.o.Endpoint, "source", events.Source, "err", err)
		}
		return nil
	}
	if e.forEvents == nil {
		if e.forEvents, err = e.subscriptionFor(ctx, eventsInterval); err != nil || e.forEvents == nil {
			return err
		}
	}
	follows, err := e.followEvents(ctx, e.forEvents, source)
	if follows {
		e.events.Store(e.forEvents)
		e.askRefresh()
	}
	return err
}

// followEvents adds the source's events to a subscription by the narrowest
// filter that the server takes, and reports whether it takes one.
func (e *episode) followEvents(ctx context.Context, s *subscription, source *ua.NodeID) (bool, error) {
	for _, filter := range e.c.o.Events.filters() {
		status, err := e.monitorEvents(ctx, s, source, filter)
		if err != nil {
			return false, err
		}
		if !isBad(status) {
			return true, nil
		}
		if refused := filterName(filter); e.c.first(refused) {
			e.c.o.log().Warn("alarms and conditions: the server refuses a filter", "refused", refused,
				"endpoint", e.c.o.Endpoint, "source", e.c.o.Events.Source, "status", statusName(status))
		}
	}
	return false, nil
}

// filterName says what a refused filter means.
func filterName(f *ua.EventFilter) string {
	switch {
	case len(f.WhereClause.Elements) > 0:
		return "by type: all events of the source are asked for"
	case len(f.SelectClauses) > int(fieldCode):
		return "with the field of code_from: the code is the condition's name"
	default:
		return "any: no event of the source is told, only tags are read"
	}
}

func (e *episode) monitorEvents(ctx context.Context, s *subscription, source *ua.NodeID, filter *ua.EventFilter) (ua.StatusCode, error) {
	results, err := e.conn.createMonitoredItems(ctx, s.id, []*ua.MonitoredItemCreateRequest{{
		ItemToMonitor: &ua.ReadValueID{
			NodeID: source, AttributeID: ua.AttributeIDEventNotifier, DataEncoding: &ua.QualifiedName{},
		},
		MonitoringMode: ua.MonitoringModeReporting,
		RequestedParameters: &ua.MonitoringParameters{
			ClientHandle: eventsHandle, QueueSize: eventsQueue, DiscardOldest: true, Filter: ua.NewExtensionObject(filter),
		},
	}})
	if status, refused := itemRefusal(err); refused {
		return status, nil
	}
	if err != nil {
		return 0, err
	}
	return results[0].StatusCode, nil
}

// happened takes one event.
func (e *episode) happened(event *ua.EventFieldList, l *letter) {
	if event == nil || e.events.Load() == nil || event.ClientHandle != eventsHandle {
		return
	}
	e.mu.Lock()
	sets, again := e.c.conditions.told(event.EventFields, l.at)
	e.mu.Unlock()
	l.tell(sets)
	if again {
		e.askRefresh()
	}
}

// eventsLost tells that notifications are missing: all conditions are asked for
// again.
func (e *episode) eventsLost() {
	e.mu.Lock()
	e.c.conditions.lost()
	e.mu.Unlock()
	e.askRefresh()
}

// askRefresh never waits; several wishes are one.
func (e *episode) askRefresh() {
	select {
	case e.refresh <- struct{}{}:
	default:
	}
}

// refreshing makes the server tell its conditions after each connect and
// whenever it wants to, and gives up a refresh that does not end.
func (e *episode) refreshing(ctx context.Context) error {
	if e.c.o.Events == nil {
		return nil
	}
	look := time.NewTicker(e.watchdog)
	defer look.Stop()
	var last time.Time
	wish := e.refresh
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wish:
			wish, last = nil, time.Now() // the next one has to wait
			if err := e.refreshNow(ctx); err != nil {
				return err
			}
		case now := <-look.C:
			e.giveUp(now)
			if now.Sub(last) >= refreshEvery && !e.refreshRuns() {
				wish = e.refresh
			}
		}
	}
}

func (e *episode) refreshRuns() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.c.conditions.refreshing()
}

// refreshNow calls ConditionRefresh. Everything told meanwhile is held, from
// before the call: its events may overtake its answer.
func (e *episode) refreshNow(ctx context.Context) error {
	e.tellHeld() // of a late one, which runs by now
	e.mu.Lock()
	e.c.conditions.begin(time.Now())
	e.mu.Unlock()
	err := e.conn.conditionRefresh(ctx, e.events.Load().id)
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		return nil // a server may take its time; whether it lives is not judged here
	}
	status, refused := itemRefusal(err)
	if !refused {
		return broken("refresh conditions", err)
	}
	if e.c.first("refresh") {
		e.c.o.log().Warn("alarms and conditions: the server cannot tell what is active already; only changes are followed",
			"endpoint", e.c.o.Endpoint, "status", statusName(status))
	}
	if status == ua.StatusBadRefreshInProgress {
		e.askRefresh()
	}
	e.tellHeld()
	return nil
}

// tellHeld ends a refresh that is not to be completed: what it told holds.
func (e *episode) tellHeld() {
	if e.c.conditions == nil {
		return
	}
	e.order.Lock()
	defer e.order.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mailConditions(e.c.conditions.fail()) // before anything newer can be
}

func (e *episode) giveUp(now time.Time) {
	e.order.Lock()
	e.mu.Lock()
	sets, err := e.c.conditions.overdue(now)
	dropped := e.c.conditions.dropped
	e.mailConditions(sets) // before anything newer can be
	e.mu.Unlock()
	e.order.Unlock()
	if err != nil && e.c.first("overdue") {
		e.c.o.log().Warn("alarms and conditions: what ended while nobody listened stays open",
			"endpoint", e.c.o.Endpoint, "err", err)
	}
	if dropped > 0 && e.c.first("dropped") {
		e.c.o.log().Warn("alarms and conditions: more conditions than are followed",
			"endpoint", e.c.o.Endpoint, "limit", maxConditions)
	}
}

func (e *episode) mailConditions(sets []edgeagent.ConditionSet) {
	if len(sets) > 0 {
		e.mail(letter{at: time.Now(), sets: sets})
	}
}
