package https

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	upsync "edgeagent/sync"
)

// raw serves one connection after the other by f, over plain TCP.
func raw(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func readRequest(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)) }

func TestPeersThatMisbehaveAreTheNetworksFault(t *testing.T) {
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, text) }
	}
	tests := []struct {
		name    string
		serve   func(net.Conn)
		timeout bool
	}{
		{"closes at once", func(net.Conn) {}, false},
		{"resets after the request", func(c net.Conn) { readRequest(c); _ = c.(*net.TCPConn).SetLinger(0) }, false},
		{"speaks something else", say("SSH-2.0-OpenSSH_9.2\r\n"), false},
		{"cuts the header", say("HTTP/1.1 200 OK\r\nContent-Le"), false},
		{"cuts the receipt", say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + receipt), false},
		{"cuts a chunk", say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"), false},
		{"header without end", say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), false},
		{"says nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, true},
		{"hangs in the receipt", func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"+receipt[:20])
			_, _ = io.Copy(io.Discard, c)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			limit := 10 * time.Second
			if tt.timeout {
				limit = 200 * time.Millisecond
			}
			d := dest(t, Options{URL: raw(t, tt.serve), Timeout: limit})
			_, err := d.Send(t.Context(), twoAlarms)
			e, ok := errors.AsType[*upsync.Error](err)
			if !ok || e.Class != upsync.NoAnswer || e.Timeout != tt.timeout {
				t.Errorf("Send = %v (%+v), want no answer with timeout %v", err, e, tt.timeout)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	d := dest(t, Options{URL: "http://user:pa55@127.0.0.1:1"})
	_, err := d.Send(t.Context(), twoAlarms)
	if classOf(err) != upsync.NoAnswer || strings.Contains(err.Error(), "pa55") {
		t.Errorf("Send = %v, want no answer and no password", err)
	}
}

func TestWhatTheNetworkSays(t *testing.T) {
	for _, errno := range []error{syscall.EINVAL, syscall.EACCES, syscall.EPERM, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ECONNRESET, syscall.ETIMEDOUT} {
		err := New(Options{}).failed(&url.Error{Op: "Post", URL: "https://user:pa55@x", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}})
		if err.Class != upsync.NoAnswer || strings.Contains(err.Error(), "pa55") {
			t.Errorf("%v: %v (%s)", errno, err, err.Class)
		}
	}
}

// TestConnections counts what the server sees: one connection while all is
// well, a new one after a failure and after the network may have changed.
func TestConnections(t *testing.T) {
	var fail atomic.Bool
	var opened atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fail.Load() {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, receipt)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	d := dest(t, Options{URL: srv.URL})
	send := func(what string, class upsync.Class, connections int32) {
		if _, err := d.Send(t.Context(), twoAlarms); classOf(err) != class || opened.Load() != connections {
			t.Errorf("%s: %v on connection %d, want class %q on %d", what, err, opened.Load(), class, connections)
		}
	}
	send("first", "", 1)
	send("second", "", 1)
	d.CloseIdleConnections()
	send("after the network changed", "", 2)
	fail.Store(true)
	send("cut", upsync.NoAnswer, 2)
	fail.Store(false)
	send("after the cut", "", 3)
}

func TestCallerThatGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := dest(t, Options{URL: raw(t, func(c net.Conn) { readRequest(c); cancel(); _, _ = io.Copy(io.Discard, c) })})
	if _, err := d.Send(ctx, twoAlarms); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v, want canceled", err)
	}
}
