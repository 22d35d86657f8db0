package opcua

import (
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
	// audit is how often what is told is read, too: a server that forgot an item
	// says nothing, and its last value would look good for ever.
	audit = time.Minute
)

// round is something that is done again and again.
type round struct {
	every, since time.Duration // since: when it is next due, from the start
	do           func(context.Context) error
}

// polling does what is not told: the scans of tags that can be read only, the
// audit, and the questions for refused nodes. One goroutine, one request at a
// time; what is late is done once, not caught up with.
func (e *episode) polling(ctx context.Context) error {
	rounds := []*round{{every: audit, do: e.audit}, {every: askAgain, do: e.askAgain}}
	for _, scan := range scansOf(e.items) {
		rounds = append(rounds, &round{every: scan, do: func(ctx context.Context) error { return e.poll(ctx, scan) }})
	}
	start := time.Now()
	for _, r := range rounds {
		r.since = r.every
	}
	for {
		next := slices.MinFunc(rounds, func(a, b *round) int { return int(a.since - b.since) })
		if err := retry.Sleep(ctx, time.Until(start.Add(next.since))); err != nil {
			return err
		}
		if err := next.do(ctx); err != nil {
			return broken("poll", err)
		}
		late := time.Since(start) - next.since
		next.since += next.every * (1 + max(late, 0)/next.every)
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
	return e.readAndMail(ctx, e.in(polled, func(i *item) bool { return i.scan == scan }))
}

// audit reads what is subscribed to.
func (e *episode) audit(ctx context.Context) error {
	return e.readAndMail(ctx, e.in(subscribed, func(*item) bool { return true }))
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

func (e *episode) readAndMail(ctx context.Context, items []*item) error {
	e.collectLapsed()
	samples, err := readItems(ctx, e.conn, items)
	if err != nil {
		return err
	}
	for _, i := range items {
		if unknownNode(i.status) {
			i.state = refusedItem
		}
	}
	return e.mail(letter{at: time.Now(), samples: samples})
}

// collectLapsed takes over the items that were refused while they were told of.
func (e *episode) collectLapsed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range e.lapsed {
		i.state = refusedItem
	}
	e.lapsed = nil
}

// askAgain reads what was refused, and subscribes to what is there again.
func (e *episode) askAgain(ctx context.Context) error {
	e.collectLapsed()
	items := e.in(refusedItem, func(*item) bool { return true })
	samples, err := readItems(ctx, e.conn, items)
	if err != nil {
		return err
	}
	if err := e.mail(letter{at: time.Now(), samples: samples}); err != nil {
		return err
	}
	for _, s := range e.subs {
		again := slices.DeleteFunc(slices.Clone(items), func(i *item) bool { return i.sub != s || unknownNode(i.status) })
		if err := e.monitor(ctx, s, again); err != nil {
			return err
		}
	}
	for _, i := range items {
		if i.sub == nil && !unknownNode(i.status) {
			i.state = polled
		}
	}
	return nil
}

// readItems reads each item once, and returns a sample of each of its tags.
func readItems(ctx context.Context, conn *client, items []*item) ([]edgeagent.Sample, error) {
	if len(items) == 0 {
		return nil, nil
	}
	nodes := make([]*ua.ReadValueID, len(items))
	for i, it := range items {
		nodes[i] = &ua.ReadValueID{NodeID: it.node, AttributeID: ua.AttributeIDValue}
	}
	values, err := conn.read(ctx, nodes)
	if status, refused := itemRefusal(err); refused {
		return readHalves(ctx, conn, items, status)
	}
	if err != nil {
		return nil, err
	}
	if len(values) != len(items) {
		return nil, fmt.Errorf("%w: %d values for %d nodes", plc.ErrSilent, len(values), len(items))
	}
	now := time.Now()
	var samples []edgeagent.Sample
	for i, it := range items {
		it.status = ua.StatusBad
		if values[i] != nil {
			it.status = values[i].Status
		}
		samples = it.samples(samples, values[i], now)
	}
	return samples, nil
}

// readHalves finds what a server refused in one request: an answer too large,
// or a node it stumbles over. It costs that node, not its neighbours.
func readHalves(ctx context.Context, conn *client, items []*item, status ua.StatusCode) ([]edgeagent.Sample, error) {
	if half := len(items) / 2; half > 0 {
		first, err := readItems(ctx, conn, items[:half])
		if err != nil {
			return nil, err
		}
		second, err := readItems(ctx, conn, items[half:])
		return append(first, second...), err
	}
	items[0].status = status
	return items[0].samples(nil, &ua.DataValue{Status: status | ua.StatusBad}, time.Now()), nil
}
