package status

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// serve runs s on a real listener until the test ends, and returns a client
// for it.
func serve(t *testing.T, s *Server, network string) (*http.Client, string, context.CancelFunc) {
	t.Helper()
	address, run := "127.0.0.1:0", s.Serve
	if network == "unix" {
		address, run = filepath.Join(t.TempDir(), "s.sock"), s.ServeSocket
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, l) }()
	target := l.Addr().String()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		transport.CloseIdleConnections()
	})
	return &http.Client{Transport: transport}, "http://127.0.0.1", cancel
}

func post(t *testing.T, c *http.Client, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestSocketActions(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip("this machine has no name for the user")
	}
	alarm, job := "/api/v1/alarms/"+string(idPressure), "/api/v1/jobs/"
	tests := []struct {
		name, path, body string
		status           int
		did              string // what the agent was asked to do, empty for nothing
	}{
		{"ack", alarm + "/ack", "", 200, "ack " + string(idPressure)},
		{"ack with an empty object", alarm + "/ack", "{}", 200, "ack " + string(idPressure)},
		{"ack of nothing", "/api/v1/alarms/" + string(idNobody) + "/ack", "", 404, ""},
		{"ack of what is over", "/api/v1/alarms/" + string(idOld) + "/ack", "", 409, ""},
		{"ack of no id", "/api/v1/alarms/1/ack", "", 404, ""},
		{"unknown field", alarm + "/ack", `{"by":"mallory"}`, 400, ""},
		{"shelve", alarm + "/shelve", `{"for_s":3600,"reason":"probe is on order"}`, 200, "shelve by " + me.Username + " " + string(idPressure)},
		{"shelve without a reason", alarm + "/shelve", `{"for_s":3600,"reason":"  "}`, 400, ""},
		{"shelve for ever", alarm + "/shelve", `{"for_s":1e300,"reason":"x"}`, 400, ""},
		{"shelve backwards", alarm + "/shelve", `{"for_s":-1,"reason":"x"}`, 400, ""},
		{"shelve too long for the agent", alarm + "/shelve", `{"for_s":90000,"reason":"x"}`, 422, ""},
		{"unshelve", alarm + "/unshelve", "", 200, "unshelve by " + me.Username + " " + string(idPressure)},
		{"clear", alarm + "/clear", "", 200, "clear by " + me.Username + " " + string(idPressure)},
		{"resume", "/api/v1/devices/capper/resume", `{"reason":"cable fixed"}`, 200, "resume capper by " + me.Username + ": cable fixed"},
		{"maintenance", "/api/v1/devices/capper/maintenance", `{"for_s":14400,"reason":"new belt"}`, 200, "maintain capper for 4h0m0s by " + me.Username + ": new belt"},
		{"maintenance without an end", "/api/v1/devices/capper/maintenance", `{"reason":"new belt"}`, 400, ""},
		{"maintenance of 31 days", "/api/v1/devices/capper/maintenance", `{"for_s":2678400,"reason":"new belt"}`, 400, ""},
		{"maintenance without a reason", "/api/v1/devices/capper/maintenance", `{"for_s":60}`, 400, ""},
		{"maintenance of nothing", "/api/v1/devices/nobody/maintenance", `{"for_s":60,"reason":"x"}`, 404, ""},
		{"ask", "/api/v1/devices/capper/ask", `{"unit":3,"area":"input","offset":7,"quantity":1}`, 200, "ask capper unit 3 input:7 x 1"},
		{"ask nobody", "/api/v1/devices/nobody/ask", `{"unit":3,"area":"input","offset":7,"quantity":1}`, 404, ""},
		{"resume of nothing", "/api/v1/devices/nobody/resume", "", 404, ""},
		{"retry", job + string(idFailed) + "/retry", "", 200, "retry by " + me.Username + " " + string(idFailed)},
		{"retry of a completed job", job + string(idJob) + "/retry", "", 409, ""},
		{"discard", job + string(idFailed) + "/discard", `{"reason":"test"}`, 200, "discard by " + me.Username + ": test " + string(idFailed)},
		{"discard without a reason", job + string(idFailed) + "/discard", `{}`, 400, ""},
		{"feedback", job + string(idJob) + "/feedback", `{"verdict":"right","cause":"foam"}`, 200, "feedback right by " + me.Username + " " + string(idJob)},
		{"feedback without a verdict", job + string(idJob) + "/feedback", `{"cause":"foam"}`, 400, ""},
		{"feedback in another's name", job + string(idJob) + "/feedback", `{"verdict":"right","by":"mallory"}`, 400, ""},
		{"feedback of a novel", job + string(idJob) + "/feedback", `{"verdict":"wrong","cause":"` + strings.Repeat("ä", 501) + `"}`, 400, ""},
		{"feedback on one answer", job + string(idJob) + "/feedback", `{"verdict":"wrong","provider":"local","fixed_by":"` + strings.Repeat("ä", 500) + `"}`, 200, "feedback wrong by " + me.Username + " " + string(idJob)},
		{"confirm of nothing", job + string(idJob) + "/confirm", "", 409, ""},
		{"confirm with a body", job + string(idFailed) + "/confirm", `{"by":"mallory"}`, 400, ""},
		{"confirm of an unknown job", job + string(idNobody) + "/confirm", "", 404, ""},
		{"refused reload", "/api/v1/reload", "", 422, ""},
		{"cut body", alarm + "/shelve", `{"for_s":36`, 400, ""},
		{"two documents", alarm + "/ack", `{}{}`, 400, ""},
		{"a list", alarm + "/ack", `[]`, 400, ""},
		{"too large", alarm + "/shelve", `{"reason":"` + strings.Repeat("x", maxBody) + `"}`, 413, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(time.Now())
			client, base, _ := serve(t, newServer(p), "unix")
			status, body := post(t, client, base+tt.path, tt.body)
			if status != tt.status {
				t.Fatalf("%d, want %d: %s", status, tt.status, body)
			}
			if got := strings.Join(p.deeds(), "; "); got != tt.did {
				t.Errorf("did %q, want %q", got, tt.did)
			}
			if status >= 400 {
				wantKeys(t, fields(t, []byte(body), "error"), "code message")
			}
		})
	}
}

func TestUnknownFieldIsNamed(t *testing.T) {
	client, base, _ := serve(t, newServer(newPlant(time.Now())), "unix")
	_, body := post(t, client, base+"/api/v1/alarms/"+string(idPressure)+"/shelve", `{"for":"8h"}`)
	if got := fields(t, []byte(body), "error")["message"]; got != `unknown field "for"` {
		t.Errorf("message %q", got)
	}
	_, body = post(t, client, base+"/api/v1/alarms/"+string(idPressure)+"/shelve", `{"for_s":"8h"}`)
	if got := fields(t, []byte(body), "error")["message"]; got != `field "for_s" does not take a string` {
		t.Errorf("message %q", got)
	}
}

func TestOutsideAlarmIsRaisedOnce(t *testing.T) {
	p := newPlant(time.Now())
	client, base, _ := serve(t, newServer(p), "unix")
	url := base + "/api/v1/alarms"
	body := `{"line":"Filler-2","code":"M17","text":"conveyor stops","values":{"speed":0}}`
	status, first := post(t, client, url, body, "Idempotency-Key", "k1")
	if status != 201 {
		t.Fatalf("%d: %s", status, first)
	}
	status, again := post(t, client, url, "  "+body+"\n", "Idempotency-Key", "k1")
	if status != 200 || again != first {
		t.Errorf("same body: %d\n%s\n%s", status, again, first)
	}
	if status, _ := post(t, client, url, strings.Replace(body, "stops", "halts", 1), "Idempotency-Key", "k1"); status != 409 {
		t.Errorf("other body: %d", status)
	}
	if status, _ := post(t, client, url, body); status != 201 {
		t.Errorf("without a key: %d", status)
	}
	if n := len(p.deeds()); n != 2 {
		t.Errorf("%d alarms raised, want 2", n)
	}
}

func TestOutsideAlarmIsChecked(t *testing.T) {
	p := newPlant(time.Now())
	client, base, _ := serve(t, newServer(p), "unix")
	for _, body := range []string{
		`{}`, `{"line":"a","code":"b"}`, `{"line":"a","text":"b"}`, `{"code":"a","text":"b"}`, ``,
		`{"line":"a","code":"b","text":"c","priority":5}`, `{"line":"a","code":"b","text":"c","id":"1"}`,
		`{"line":"a","code":"device_stopped","text":"c"}`, `{"line":"a","code":"conditions_full","text":"c"}`, `{"line":"a","code":"b","text":"` + strings.Repeat("ä", 2001) + `"}`,
		`{"line":"a","code":"b","text":"c","values":{"x":[1]}}`,
		`{"line":"a","code":" ","text":"c"}`, `{"line":" a","code":"b","text":"c"}`, `{"line":"a","code":"b","text":" \n"}`,
		`{"line":"a\u001b[2J","code":"b","text":"c"}`, `{"line":"a","code":"b\u202e","text":"c"}`,
		`{"line":"` + strings.Repeat("L", 64) + `","code":"b","text":"c"}`,
	} {
		if status, answer := post(t, client, base+"/api/v1/alarms", body); status != 400 {
			t.Errorf("%.60s: %d %s", body, status, answer)
		}
	}
	if got := p.deeds(); len(got) > 0 {
		t.Errorf("raised %v", got)
	}
}

// The Unix socket answers under any name: whoever can open it is local.
func TestSocketHasNoHostCheck(t *testing.T) {
	client, _, _ := serve(t, newServer(newPlant(time.Now())), "unix")
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://edgeagent/api/v1/status", nil)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

// listener reads events until the connection ends.
type listener struct {
	resp *http.Response
	scan *bufio.Scanner
}

func listen(t *testing.T, c *http.Client, base string) *listener {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &listener{resp, bufio.NewScanner(resp.Body)}
}

// next returns the next event that is no heartbeat; false at the end.
func (s *listener) next(t *testing.T) (change, bool) {
	t.Helper()
	for s.scan.Scan() {
		data, found := strings.CutPrefix(s.scan.Text(), "data: ")
		if !found {
			continue
		}
		var c change
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatalf("event %q: %v", data, err)
		}
		if c.Type != "heartbeat" {
			return c, true
		}
	}
	return change{}, false
}

func TestEventsReachAStream(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	client, base, _ := serve(t, s, "tcp")
	events := listen(t, client, base)
	if kind := events.resp.Header.Get("Content-Type"); events.resp.StatusCode != 200 || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("%d %s", events.resp.StatusCode, kind)
	}
	s.Changed(KindAlarm, string(idPressure))
	if got, ok := events.next(t); !ok || got != (change{KindAlarm, string(idPressure)}) {
		t.Errorf("got %v %t", got, ok)
	}
}

func TestStreamsEndOnShutdown(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	client, base, stop := serve(t, s, "tcp")
	events := listen(t, client, base)
	stop()
	if got, ok := events.next(t); ok {
		t.Errorf("an event after the end: %v", got)
	}
}

func TestStreamsAreCapped(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	client, base, _ := serve(t, s, "tcp")
	first := listen(t, client, base)
	for range maxStreams - 1 {
		if next := listen(t, client, base).resp; next.StatusCode != 200 {
			t.Errorf("a stream within the limit: %d", next.StatusCode)
		}
	}
	if more := listen(t, client, base).resp; more.StatusCode != 503 || more.Header.Get("Retry-After") == "" {
		t.Errorf("one stream more: %d", more.StatusCode)
	}
	first.resp.Body.Close()
	// The server notices on its next write or read; the place is free then.
	for s.Changed(KindAgent, ""); ; s.Changed(KindAgent, "") {
		resp := listen(t, client, base).resp
		resp.Body.Close()
		if resp.StatusCode == 200 {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("the place of a closed stream never became free")
		}
	}
}

// A client that sends its request a byte at a time, or none at all, holds one
// connection for a few seconds and nobody else's.
func TestSlowClientsHurtNobody(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	defer func() { cancel(); <-done }()
	for range maxConnections - 8 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/healthz", nil)
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	client, base, _ := serve(t, newServer(newPlant(time.Now())), "tcp")
	r, _ := http.NewRequestWithContext(t.Context(), "GET", base+"/healthz", nil)
	r.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	resp, err := client.Do(r)
	if err != nil {
		return // cut off while it was still sending
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestCappedListenerWakesOnClose(t *testing.T) {
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newCappedListener(inner, 1)
	dial := func() net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	defer dial().Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() { _, err := l.Accept(); accepted <- err }()
	l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	conn.Close()
	conn.Close() // a second close must not free a second place
	if n := len(l.slots); n != 0 {
		t.Errorf("%d places taken, want none", n)
	}
}

// An action that waits for its commit is answered although the agent stops.
func TestRunningActionIsAnsweredOnShutdown(t *testing.T) {
	p := &slowPlant{plant: newPlant(time.Now()), entered: make(chan struct{}), leave: make(chan struct{})}
	client, base, stop := serve(t, New(Options{Source: p.plant, Actions: p}), "unix")
	var wg sync.WaitGroup
	wg.Go(func() {
		if status, body := post(t, client, base+"/api/v1/alarms/"+string(idPressure)+"/ack", ""); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	})
	<-p.entered
	stop()
	close(p.leave)
	wg.Wait()
}

type slowPlant struct {
	*plant
	entered, leave chan struct{}
}

func (p *slowPlant) Acknowledge(ctx context.Context, id edgeagent.ID, by string) (edgeagent.Alarm, error) {
	close(p.entered)
	<-p.leave
	if ctx.Err() != nil {
		return edgeagent.Alarm{}, fmt.Errorf("the request was cancelled: %w", ctx.Err())
	}
	return p.plant.Acknowledge(ctx, id, by)
}

// pipes listens on pipes: real connections with deadlines, under virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours, nil
}

// An action waits for its commit however long a worn card takes: the limits
// for slow readers must neither cancel it half-way nor swallow its answer.
func TestSlowActionIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPlant{plant: newPlant(time.Now()), entered: make(chan struct{}), leave: make(chan struct{})}
		l := newPipes()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- New(Options{Source: p.plant, Actions: p}).ServeSocket(ctx, l) }()
		time.AfterFunc(2*writeTimeout, func() { close(p.leave) })
		transport := &http.Transport{DialContext: l.dial}
		url := "http://localhost/api/v1/alarms/" + string(idPressure) + "/ack"
		if status, body := post(t, &http.Client{Transport: transport}, url, ""); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// faltering is a listener that fails once, as one does when the kernel is short of
// memory for a socket.
type faltering struct {
	net.Listener
	failed sync.Once
}

func (l *faltering) Accept() (conn net.Conn, err error) {
	l.failed.Do(func() { err = &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ENOBUFS)} })
	if err != nil {
		return nil, err
	}
	return l.Listener.Accept()
}

func TestAListenerThatFailsForAMomentGoesOn(t *testing.T) {
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(Options{Source: &plant{}}).Serve(ctx, &faltering{Listener: inner}) }()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	if resp, err := c.Get("http://" + inner.Addr().String() + "/healthz"); err != nil {
		t.Errorf("the page is gone: %v", err)
	} else {
		resp.Body.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A watchdog that asks every path with HEAD over one connection must not take the
// streams of those who look.
func TestHeadOfTheEventsHoldsNoStream(t *testing.T) {
	s := New(Options{Source: newPlant(time.Now())})
	client, base, _ := serve(t, s, "tcp")
	client.Timeout = 5 * time.Second
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, base+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if n := len(s.hub.streams); n != 0 {
		t.Errorf("%d streams are held", n)
	}
}
