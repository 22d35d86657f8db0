package opcua

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// liveServer is the library's server with one value that changes, behind a
// proxy that can fail. The library's server leaves goroutines of its own; they
// end with its connections.
type liveServer struct {
	*proxy
	s     *server.Server
	node  *ua.NodeID
	count atomic.Int32
}

func startLive(t *testing.T) *liveServer {
	t.Helper()
	port := freePort(t)
	through := startProxy(t, fmt.Sprintf("localhost:%d", port))
	// It tells its endpoints only to who asks for one of them by name.
	front := server.EndPoint("127.0.0.1", through.listener.Addr().(*net.TCPAddr).Port)
	l := &liveServer{proxy: through, s: server.New(server.EndPoint("localhost", port), front,
		server.EnableSecurity("None", ua.MessageSecurityModeNone), server.EnableAuthMode(ua.UserTokenTypeAnonymous))}
	ns := server.NewNodeNameSpace(l.s, plantURI)
	n := ns.AddNewVariableStringNode("count", func() *ua.DataValue {
		dv := &ua.DataValue{Value: ua.MustVariant(l.count.Load()), SourceTimestamp: time.Now()}
		dv.UpdateMask()
		return dv
	})
	l.node = n.ID()
	ctx, cancel := context.WithCancel(context.Background())
	if err := l.s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.s.Close()
		l.forget()
		cancel()
	})
	return l
}

// forget ends the subscriptions of sessions that are gone: the library's server
// keeps them for their lifetime.
func (l *liveServer) forget() {
	l.s.SubscriptionService.Mu.Lock()
	ids := slices.Collect(maps.Keys(l.s.SubscriptionService.Subs))
	l.s.SubscriptionService.Mu.Unlock()
	for _, id := range ids {
		l.s.SubscriptionService.DeleteSubscription(id)
	}
}

func (l *liveServer) options() Options {
	return Options{
		Endpoint: "opc.tcp://" + l.listener.Addr().String(), Timeout: ample, Watchdog: 3 * time.Second,
		Tags: []plc.TagSpec{{
			Tag: edgeagent.Tag{Name: "count", Type: edgeagent.TypeInt32}, Node: "nsu=" + plantURI + ";s=count", Scan: 50 * time.Millisecond,
		}},
	}
}

// proxy passes bytes on, until it is told otherwise.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	hole     atomic.Bool // bytes vanish, connections stay
	passing  sync.WaitGroup
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.passing.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			p.passing.Go(func() { p.pass(in, out) })
			p.passing.Go(func() { p.pass(out, in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.passing.Wait()
	})
	return p
}

func (p *proxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if p.hole.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// until waits for what is told, half a minute at most: a test that hangs is a
// failure, one that is slow is not.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	over := time.After(30 * time.Second)
	for !is() {
		select {
		case <-look.C:
		case <-over:
			t.Fatalf("waited half a minute for %s", what)
		}
	}
}

func ended(t *testing.T, r *running) error {
	t.Helper()
	select {
	case err := <-r.end:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the episode has not ended after half a minute")
		return nil
	}
}

// up waits for the first values.
func (r *running) up(t *testing.T) {
	t.Helper()
	until(t, "the first values", func() bool {
		select {
		case err := <-r.end:
			t.Fatalf("ended before the first values: %v", err)
		default:
		}
		return r.count(func(h plc.Heard) bool { return h.Up }) > 0
	})
}

// begun starts one episode after the other until one has come far enough: a short
// watchdog ends one, rightly, when the machine stands still.
func (l *liveServer) begun(t *testing.T, c *Client, what string, enough func(*running) bool) *running {
	t.Helper()
	r := startClient(t, c)
	until(t, what, func() bool {
		select {
		case <-r.end:
			l.forget()
			r = startClient(t, c)
		default:
		}
		return enough(r)
	})
	return r
}

// TestOverAWire shares one server: it takes a while to read its address space.
func TestOverAWire(t *testing.T) {
	l := startLive(t)
	t.Run("values", func(t *testing.T) { valuesOverAWire(t, l) })
	t.Run("cut", func(t *testing.T) { lostWire(t, l, l.options(), l.cut, func() {}) })
	t.Run("black hole", func(t *testing.T) {
		o := l.options()
		o.Watchdog = 400 * time.Millisecond
		lostWire(t, l, o, func() { l.hole.Store(true) }, func() { l.hole.Store(false) })
	})
	t.Run("many episodes leave nothing", func(t *testing.T) { manyEpisodes(t, l) })
}

func valuesOverAWire(t *testing.T, l *liveServer) {
	r := startClient(t, New(l.options()))
	r.up(t)
	for i := range int32(5) {
		l.count.Store(i)
		l.s.ChangeNotification(l.node)
		until(t, fmt.Sprint("count ", i), func() bool { return r.last("count").Value.Equal(edgeagent.Int(int64(i))) })
	}
	until(t, "a confirmation", func() bool { return r.count(func(h plc.Heard) bool { return len(h.Confirmed) == 1 }) > 0 })
	if n := r.count(func(h plc.Heard) bool { return h.Gap }); n > 0 {
		t.Errorf("%d gaps", n)
	}
	r.finish(t)
	l.forget()
}

// lostWire: the fault ends the episode, and the next one is whole.
func lostWire(t *testing.T, l *liveServer, o Options, fault, heal func()) {
	client := New(o)
	r := l.begun(t, client, "the first values", func(r *running) bool { return r.count(func(h plc.Heard) bool { return h.Up }) > 0 })
	fault()
	if err := ended(t, r); !errors.Is(err, plc.ErrSilent) && !errors.Is(err, plc.ErrUnreachable) {
		t.Errorf("ended with %v", err)
	}
	if l.hole.Load() {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := client.Fetch(ctx); err == nil {
			t.Error("a black hole was read")
		}
	}
	heal()
	l.forget()
	value := l.count.Add(70)
	again := l.begun(t, client, "the value after it", func(r *running) bool { return r.last("count").Value.Equal(edgeagent.Int(int64(value))) })
	again.finish(t)
	l.forget()
}

func TestAServerThatIsNotThere(t *testing.T) {
	c := New(Options{Endpoint: "opc.tcp://127.0.0.1:1"})
	if err := c.Episode(t.Context(), func(plc.Heard) { t.Error("told") }); !errors.Is(err, plc.ErrUnreachable) {
		t.Errorf("episode: %v", err)
	}
	if _, err := c.Fetch(t.Context()); !errors.Is(err, plc.ErrUnreachable) {
		t.Errorf("fetch: %v", err)
	}
}

func TestAServerThatSaysNothing(t *testing.T) {
	l := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	c := New(Options{Timeout: time.Second}.at(l))
	if err := c.Episode(t.Context(), func(plc.Heard) { t.Error("told") }); !errors.Is(err, plc.ErrSilent) {
		t.Errorf("episode: %v", err)
	}
}

// ours counts the goroutines of this package's product code.
func ours() int {
	buf := make([]byte, 4<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "edgeagent/plc/opcua.(*episode)") || strings.Contains(stack, "edgeagent/plc/opcua.(*client)") ||
			strings.Contains(stack, "edgeagent/plc/opcua.(*channel)") {
			n++
		}
	}
	return n
}

// episodes is how many a test of their traces goes through: EDGEAGENT_EPISODES,
// or few.
func episodes(t *testing.T) int {
	t.Helper()
	s := os.Getenv("EDGEAGENT_EPISODES")
	if s == "" {
		return 20
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("EDGEAGENT_EPISODES is %q: want a number", s)
	}
	return n
}

func manyEpisodes(t *testing.T, l *liveServer) {
	client := New(l.options())
	before := ours()
	for i := range episodes(t) {
		r := startClient(t, client)
		r.up(t)
		if i%2 == 0 {
			r.finish(t)
		} else {
			l.cut()
			_ = ended(t, r)
		}
		l.forget() // or it gives two subscriptions one number
	}
	until(t, "all goroutines to end", func() bool { return ours() <= before })
}

func TestEpisodesKeepTheHeapFlat(t *testing.T) {
	n, warm := episodes(t)+10, 10
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	synctest.Test(t, func(t *testing.T) {
		p := newRig()
		o := Options{Events: testEvents()}
		for i := range 100 {
			name := fmt.Sprintf("t%d", i)
			p.set("ns=1;s="+name, int32(i))
			o.Tags = append(o.Tags, node(name, edgeagent.TypeInt32))
		}
		p.refresh = retained(true)
		client := New(o)
		client.connect = p.client
		var early uint64
		for i := range n {
			if i == warm {
				early = heap()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			heard := 0
			if err := client.Episode(ctx, func(plc.Heard) { heard++ }); !errors.Is(err, context.DeadlineExceeded) || heard == 0 {
				t.Fatalf("episode %d: %v, heard %d", i, err, heard)
			}
			cancel()
			p.forget()
		}
		if late := heap(); late > early+1<<20 {
			t.Errorf("heap grew from %d to %d bytes in %d episodes", early, late, n-warm)
		}
	})
}
