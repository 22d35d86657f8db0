package llmtest

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
)

// InMemory serves h to a client's transport over pipes instead of sockets, so
// that inside a synctest bubble virtual time passes while both wait.
func InMemory(t *testing.T, transport func() (*http.Transport, error), h http.HandlerFunc) {
	t.Helper()
	tr, err := transport()
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn)
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		conns <- far
		return near, nil
	}
	read := func(w http.ResponseWriter, r *http.Request) { // else the server does not notice that the client has left
		_, _ = io.Copy(io.Discard, r.Body)
		h(w, r)
	}
	srv := &http.Server{Handler: http.HandlerFunc(read), ErrorLog: log.New(io.Discard, "", 0)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(Listener(conns)) })
	t.Cleanup(func() { tr.CloseIdleConnections(); _ = srv.Close(); wg.Wait() })
}

// Listener accepts what comes out of conns until it is closed.
func Listener(conns <-chan net.Conn) net.Listener {
	return &pipeListener{conns: conns, done: make(chan struct{})}
}

type pipeListener struct {
	conns <-chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
