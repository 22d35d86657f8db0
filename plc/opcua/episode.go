package opcua

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// defaultScan is the scan of a tag that has none, defaultWatchdog the watchdog
// of a device that has none.
const (
	defaultScan     = time.Second
	defaultWatchdog = 3 * time.Second
)

// Client reads one OPC UA server; it is a [plc.Subscriber].
type Client struct {
	o       Options
	connect func(context.Context, *Options) (*client, error)

	mu   sync.Mutex
	live *client         // of the running episode
	said map[string]bool // what was logged once
	// conditions outlive an episode: what was active before a cut and is after
	// it may be one activation.
	conditions *conditions
}

// New returns the client of one device. It does nothing before [Client.Episode].
func New(o Options) *Client {
	c := &Client{o: o, connect: connect, said: make(map[string]bool)}
	if o.Events != nil {
		c.conditions = newConditions(o.Events, c.watchdog())
	}
	return c
}

func (c *Client) watchdog() time.Duration {
	if c.o.Watchdog > 0 {
		return c.o.Watchdog
	}
	return defaultWatchdog
}

// Episode connects, reads all tags once, subscribes and tells what it hears,
// until the connection cannot be trusted any more. See [plc.Subscriber].
func (c *Client) Episode(ctx context.Context, tell func(plc.Heard)) error {
	conn, err := c.connect(ctx, &c.o)
	if err != nil {
		return err
	}
	e := newEpisode(c, conn)
	c.setLive(conn)
	err = e.run(ctx, tell)
	c.setLive(nil)
	if errors.Is(err, plc.ErrSilent) {
		conn.close()
	} else {
		conn.leave()
	}
	return err
}

// Fetch reads all tags once: over the episode's connection if one runs, else
// over one of its own. Errors wrap those of [plc.Subscriber].
func (c *Client) Fetch(ctx context.Context) ([]edgeagent.Sample, error) {
	conn := c.getLive()
	if conn == nil {
		own, err := c.connect(ctx, &c.o)
		if err != nil {
			return nil, err
		}
		defer own.leave()
		conn = own
	}
	items, unresolved := itemsOf(c.o.Tags, conn.resolve)
	values, err := readItems(ctx, conn, items)
	if err != nil {
		return nil, broken("read all tags", err)
	}
	return append(samplesOf(items, values, time.Now()), unresolved...), nil
}

func (c *Client) setLive(conn *client) {
	c.mu.Lock()
	c.live = conn
	c.mu.Unlock()
}

func (c *Client) getLive() *client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// first reports whether something about the server is to be said: once, not at
// each reconnect.
func (c *Client) first(about string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.said[about]
	c.said[about] = true
	return !known
}

// episode is one connection from its first read to its end.
type episode struct {
	c    *Client
	conn *client
	sent *counter

	items      []*item // by client handle
	unresolved []edgeagent.Sample
	forEvents  *subscription // made for events, whether or not the server tells them
	letters    uint64        // of the publishing goroutine
	// events is the subscription that tells conditions; nil: none does, or none
	// does yet.
	events atomic.Pointer[subscription]
	some   chan struct{} // closed with the first subscription; none is added to subs after it but in begin

	order   sync.Mutex // held from what is understood of conditions until it is told; taken before mu
	telling sync.Mutex // held while something is told; never waits for mu
	tell    func(plc.Heard)

	mu       sync.Mutex // guards what the workers share
	subs     []*subscription
	refresh  chan struct{} // asks for a ConditionRefresh
	doubt    chan struct{} // asks to read what is told: something was lost
	sooner   chan struct{} // a subscription can be silent sooner than was thought
	watchdog time.Duration
}

func newEpisode(c *Client, conn *client) *episode {
	e := &episode{
		c: c, conn: conn, sent: &counter{caller: conn.ch}, some: make(chan struct{}),
		refresh: make(chan struct{}, 1), doubt: make(chan struct{}, 1),
		sooner: make(chan struct{}, 1), watchdog: c.watchdog(),
	}
	if conn.forgets > 0 { // a session that is asked too seldom would end again and again
		e.watchdog = max(min(e.watchdog, conn.forgets/perSession), 100*time.Millisecond)
	}
	conn.ch = e.sent
	return e
}

// counter counts the requests of an episode.
type counter struct {
	caller
	n atomic.Int64
}

func (c *counter) call(ctx context.Context, req ua.Request, token *ua.NodeID) (ua.Response, error) {
	c.n.Add(1)
	return c.caller.call(ctx, req, token)
}

// since returns how many requests were sent since it was last asked.
func (c *counter) since() int { return int(c.n.Swap(0)) }

func (e *episode) run(ctx context.Context, tell func(plc.Heard)) error {
	first, err := e.begin(ctx)
	if err != nil {
		return err
	}
	tell(plc.Heard{Up: true, Security: e.conn.security, At: time.Now(), Samples: first, Requests: e.sent.since()})
	e.tell = tell
	return e.follow(ctx)
}

// begin reads every tag before anything is subscribed: a value that is told
// afterwards is newer than one that was read, never the other way round.
func (e *episode) begin(ctx context.Context) ([]edgeagent.Sample, error) {
	if err := e.check(ctx); err != nil {
		return nil, broken("ask the server for its state", err)
	}
	e.items, e.unresolved = itemsOf(e.c.o.Tags, e.conn.resolve)
	values, err := readItems(ctx, e.conn, e.items)
	if err != nil {
		return nil, broken("read all tags", err)
	}
	first := samplesOf(e.items, values, time.Now())
	if err := e.subscribe(ctx); err != nil {
		return nil, broken("subscribe", err)
	}
	if err := e.subscribeEvents(ctx); err != nil {
		return nil, broken("subscribe to events", err)
	}
	return append(first, e.unresolved...), nil
}

// follow listens until one of the workers cannot go on. Each of them tells what
// it heard: to hand it over to another goroutine costs as much as to decode it.
func (e *episode) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.restart(time.Now()) // before anybody looks: nobody has asked until now, however long subscribing took
	var workers sync.WaitGroup
	for _, work := range []func(context.Context) error{e.publishing, e.refreshing, e.polling, e.watching, e.listening} {
		workers.Go(func() {
			if err := work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	e.tellHeld() // what came before the end is true, and told
	return context.Cause(ctx)
}

// mail tells what was heard.
func (e *episode) mail(l letter) {
	e.telling.Lock()
	defer e.telling.Unlock()
	for _, h := range l.messages() {
		h.Requests = e.sent.since()
		e.tell(h)
	}
}

// broken says what failed, and makes of a server's refusal what it means for
// the connection: nothing valid comes over it.
func broken(what string, err error) error {
	for _, known := range []error{plc.ErrUnreachable, plc.ErrSilent, plc.ErrRefused, context.Canceled} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if status, ok := errors.AsType[ua.StatusCode](err); ok {
		return fmt.Errorf("%s: %w: the server says %s", what, plc.ErrSilent, statusName(status))
	}
	return fmt.Errorf("%s: %w: %w", what, plc.ErrSilent, err)
}

// itemRefusal returns the status by which a server refused a request that it
// understood. Any other error is the connection's.
func itemRefusal(err error) (ua.StatusCode, bool) {
	status, ok := errors.AsType[ua.StatusCode](err)
	return status, ok && !errors.Is(err, plc.ErrSilent) && !connectionLost[status&0xFFFF0000]
}

// connectionLost are the answers after which no other can be expected.
var connectionLost = map[ua.StatusCode]bool{
	ua.StatusBadSessionIDInvalid: true, ua.StatusBadSessionClosed: true, ua.StatusBadSessionNotActivated: true,
	ua.StatusBadSecureChannelIDInvalid: true, ua.StatusBadSecureChannelClosed: true, ua.StatusBadSecureChannelTokenUnknown: true,
	ua.StatusBadConnectionClosed: true, ua.StatusBadServerHalted: true, ua.StatusBadShutdown: true, ua.StatusBadTimeout: true,
	ua.StatusBadSubscriptionIDInvalid: true, ua.StatusBadNoSubscription: true, ua.StatusBadCommunicationError: true,
	ua.StatusBadServerNotConnected: true, ua.StatusBadTCPInternalError: true, ua.StatusBadSecurityChecksFailed: true,
}
