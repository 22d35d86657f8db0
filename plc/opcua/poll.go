package opcua

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/plc"
)

const (
	// askAgain is how long a node that was refused is left alone.
	askAgain = 10 * time.Minute
	// audit is how often what was not told of since the last audit is read: a
	// server that forgot an item, or its node, says nothing, and its last value
	// would look good for ever.
	audit = time.Minute
	// mostAdded is how often a node that comes and goes is added to a subscription:
	// the server may keep each, and none is taken away before the session ends.
	mostAdded = 10
)

// round is something that is done again and again, while there is something to do.
type round struct {
	every, since time.Duration // since: when it is next due, from the start
	do           func(context.Context) error
	idle         func() bool // nil: never
}

// soonest returns what is due first. What has nothing to do wakes nobody.
func soonest(rounds []*round) *round {
	busy := slices.DeleteFunc(slices.Clone(rounds), func(r *round) bool { return r.idle != nil && r.idle() })
	return slices.MinFunc(busy, func(a, b *round) int { return cmp.Compare(a.since, b.since) })
}

// polling does what is not told: the scans of tags that can be read only, the
// audit, and the questions for what is missing. One goroutine, one request at a
// time; what is late is done once, not caught up with.
func (e *episode) polling(ctx context.Context) error {
	rounds := []*round{
		{every: audit, do: e.audit}, {every: askAgain, do: e.askAgain},
		{every: audit, do: e.askMissing, idle: e.complete},
	}
	for _, scan := range scansOf(e.items) {
		rounds = append(rounds, &round{
			every: scan, do: func(ctx context.Context) error { return e.poll(ctx, scan) },
			idle: func() bool { return len(e.in(polled, func(i *item) bool { return i.scan == scan })) == 0 },
		})
	}
	start := time.Now()
	for _, r := range rounds {
		r.since = r.every
	}
	for {
		next := soonest(rounds)
		doubted, err := e.pause(ctx, time.Until(start.Add(next.since)))
		if err != nil {
			return err
		}
		if doubted {
			if err := e.compare(ctx, func(*item) bool { return true }); err != nil {
				return broken("read all after a gap", err)
			}
			continue
		}
		if err := next.do(ctx); err != nil {
			return broken("poll", err)
		}
		late := time.Since(start) - next.since
		next.since += next.every * (1 + max(late, 0)/next.every)
	}
}

// pause waits for the next round, or until what was told is doubted.
func (e *episode) pause(ctx context.Context, d time.Duration) (doubted bool, err error) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-e.doubt:
		return true, nil
	case <-t.C:
		return false, nil
	}
}

// scansOf returns the scans of items, the shortest first.
func scansOf(items []*item) []time.Duration {
	scans := make(map[time.Duration]bool)
	for _, i := range items {
		scans[i.scan] = true
	}
	return slices.Sorted(maps.Keys(scans))
}

// poll reads the items of one scan that cannot be subscribed to.
func (e *episode) poll(ctx context.Context, scan time.Duration) error {
	items := e.in(polled, func(i *item) bool { return i.scan == scan })
	values, err := readItems(ctx, e.conn, items)
	if err != nil {
		return err
	}
	refuse(items)
	e.mail(letter{at: time.Now(), samples: samplesOf(items, values, time.Now())})
	return nil
}

// audit reads what is subscribed to and was not told of since the last audit.
func (e *episode) audit(ctx context.Context) error {
	e.readSilent(time.Now())
	return e.compare(ctx, func(i *item) bool { return i.audited == i.told })
}

// readSilent has those items read at their scan from now on whose subscription
// does not tell what its heartbeat should, though its keep-alive is not due: a
// server that revises that to an hour may never publish.
func (e *episode) readSilent(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range e.items {
		if i.state != subscribed || i.sub.pause <= i.sub.tells || now.Sub(i.sub.heard) <= silences*max(i.sub.tells, i.scan, e.watchdog) {
			continue
		}
		i.readOnly()
		if e.c.first("silent") {
			e.c.o.log().Warn("the server accepts subscriptions and does not publish; such tags are read at their scan instead",
				"endpoint", e.c.o.Endpoint, "node", i.node.String(), "silent", now.Sub(i.sub.heard))
		}
	}
}

// compare reads items that are subscribed to. What is told meanwhile is newer
// than what was read, which is then dropped. What was read is as good as told:
// the server will not tell again what did not change, and its messages confirm
// that, or do not where it turned out bad.
func (e *episode) compare(ctx context.Context, which func(*item) bool) error {
	subscribed := e.in(subscribed, func(*item) bool { return true })
	e.mu.Lock()
	items := slices.DeleteFunc(slices.Clone(subscribed), func(i *item) bool { return !which(i) })
	for _, i := range subscribed {
		i.audited = i.told
	}
	e.mu.Unlock()
	if len(items) == 0 {
		return nil // nothing is asked, so nothing is heard
	}
	values, err := readItems(ctx, e.conn, items)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	l := letter{at: now}
	for n, i := range items {
		if i.told != i.audited {
			i.status = ua.StatusGood // told of just now: the node is there
			continue
		}
		before := len(l.samples)
		l.samples = i.samples(l.samples, values[n], now)
		if i.told > 0 { // what was never told, no message of the server confirms
			i.listed = i.sub.roster.toldAll(l.samples[before:], false)
		}
	}
	refuse(items)
	e.mail(l) // before anything newer can be
	return nil
}

// refuse leaves those alone that turned out not to be there.
func refuse(items []*item) {
	for _, i := range items {
		if unknownNode(i.status) {
			i.state = refusedItem
		}
	}
}

func (e *episode) in(s itemState, also func(*item) bool) []*item {
	var out []*item
	for _, i := range e.items {
		if i.state == s && also(i) {
			out = append(out, i)
		}
	}
	return out
}

// askAgain reads what was refused, and subscribes to what is there again.
func (e *episode) askAgain(ctx context.Context) error {
	items := e.in(refusedItem, func(*item) bool { return true })
	if len(items) == 0 {
		return nil
	}
	values, err := readItems(ctx, e.conn, items)
	if err != nil {
		return err
	}
	e.mail(letter{at: time.Now(), samples: samplesOf(items, values, time.Now())})
	back := slices.DeleteFunc(items, func(i *item) bool { return unknownNode(i.status) })
	for _, s := range e.subs {
		again := slices.DeleteFunc(slices.Clone(back), func(i *item) bool { return i.sub != s || i.added >= mostAdded })
		if err := e.monitor(ctx, s, again); err != nil {
			return err
		}
	}
	for _, i := range back {
		if i.sub == nil || i.added >= mostAdded {
			e.mu.Lock()
			i.readOnly()
			e.mu.Unlock()
		}
	}
	return nil
}

// readOnly has an item read at its scan from now on, whatever is told of it: so
// no message of its subscription confirms what was read. The caller holds mu.
func (i *item) readOnly() {
	i.state, i.slow, i.listed = polled, true, false
	for _, t := range i.tags {
		if i.sub != nil {
			i.sub.roster.told(edgeagent.Sample{Tag: t.Name, Quality: edgeagent.QualityBad})
		}
	}
}

// samplesOf returns a sample of each tag of items that were read.
func samplesOf(items []*item, values []*ua.DataValue, at time.Time) []edgeagent.Sample {
	samples := make([]edgeagent.Sample, 0, len(items))
	for n, i := range items {
		samples = i.samples(samples, values[n], at)
	}
	return samples
}

// busy are the refusals of a whole request that say nothing of it: to ask for
// half of it is but one request more.
var busy = map[ua.StatusCode]bool{badServerTooBusy: true, ua.StatusBadTCPServerTooBusy: true, ua.StatusBadTCPNotEnoughResources: true}

const (
	badServerTooBusy ua.StatusCode = 0x80EE0000 // the library does not know it

	busyTries = 3
	busyPause = time.Second
)

// readPatiently reads nodes, and once more after a while from a server that has
// no time.
func readPatiently(ctx context.Context, conn *client, nodes []*ua.ReadValueID) ([]*ua.DataValue, error) {
	for try := 1; ; try++ {
		values, err := conn.read(ctx, nodes)
		status, refused := itemRefusal(err)
		switch {
		case !refused || !busy[status&0xFFFF0000]:
			return values, err
		case try < busyTries:
			if err := retry.Sleep(ctx, busyPause); err != nil {
				return nil, err
			}
			continue
		}
		values = make([]*ua.DataValue, len(nodes))
		for n := range values {
			values[n] = &ua.DataValue{Status: status}
		}
		return values, nil
	}
}

// readItems reads each item once.
func readItems(ctx context.Context, conn *client, items []*item) ([]*ua.DataValue, error) {
	if len(items) == 0 {
		return nil, nil
	}
	nodes := make([]*ua.ReadValueID, len(items))
	for n, i := range items {
		nodes[n] = &ua.ReadValueID{NodeID: i.node, AttributeID: ua.AttributeIDValue}
	}
	values, err := readPatiently(ctx, conn, nodes)
	if status, refused := itemRefusal(err); refused {
		return readHalves(ctx, conn, items, status)
	}
	if err != nil {
		return nil, err
	}
	if len(values) != len(items) {
		return nil, fmt.Errorf("%w: %d values for %d nodes", plc.ErrSilent, len(values), len(items))
	}
	for n, i := range items {
		i.status = ua.StatusBad
		if values[n] != nil {
			i.status = values[n].Status
		}
	}
	return values, nil
}

// readHalves finds what a server refused in one request: an answer too large,
// or a node it stumbles over. It costs that node, not its neighbours.
func readHalves(ctx context.Context, conn *client, items []*item, status ua.StatusCode) ([]*ua.DataValue, error) {
	half := len(items) / 2
	if half == 0 {
		items[0].status = status | ua.StatusBad
		return []*ua.DataValue{{Status: items[0].status}}, nil
	}
	first, err := readItems(ctx, conn, items[:half])
	if err != nil {
		return nil, err
	}
	second, err := readItems(ctx, conn, items[half:])
	return append(first, second...), err
}
