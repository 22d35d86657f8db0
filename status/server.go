package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// Options is what a [Server] needs.
type Options struct {
	Source   Source
	Actions  Actions
	Storage  Storage
	Cases    CaseAsker
	Refusals Refusals
	// Hosts are further names that a request's Host header may carry, besides
	// localhost, IP addresses and the machine's own name.
	Hosts []string
	// Location is the zone in which times are shown; nil is the machine's.
	Location *time.Location
	Log      *slog.Logger
	// Ready and Healthy answer /readyz and /healthz: nil is yes, an error says
	// why not. A nil function always says yes.
	Ready, Healthy func() error
	Metrics        *Metrics
}

// Limits of a listener. A person's browser needs six connections; a scraper
// and a few phones need no more than this. Nobody may hold one for nothing.
const (
	maxConnections    = 128
	maxStreams        = 16 // of events, on all listeners
	maxHeaderBytes    = 16 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 30 * time.Second
	drainTimeout      = 3 * time.Second
)

// Server answers on any number of listeners.
type Server struct {
	opt     Options
	hub     *hub
	handler http.Handler
	guard   *hostGuard
}

// New returns a server that does nothing until it serves.
func New(o Options) *Server {
	if o.Location == nil {
		o.Location = time.Local
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	s := &Server{opt: o, hub: newHub(maxStreams), guard: newHostGuard(o.Hosts)}
	s.handler = s.routes()
	return s
}

// Changed says that something changed: an object of one of the kinds, by its id
// or name, or all of them with an empty id. Open pages hear of it within a
// second. It never blocks.
func (s *Server) Changed(kind, id string) { s.hub.publish(change{Type: kind, ID: id}) }

// Serve answers on a TCP listener until ctx ends, and closes it. There is
// viewing only: nobody can sign in, so nobody can act.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, newCappedListener(l, maxConnections), &http.Server{
		Handler: s.guard.wrap(s.handler),
	})
}

// ServeSocket answers on a Unix socket until ctx ends, and closes it. Whoever
// may open the socket may act; the kernel says who it is.
func (s *Server) ServeSocket(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, newCappedListener(l, maxConnections), &http.Server{
		Handler:     s.handler,
		ConnContext: withPeer,
	})
}

// Local answers whoever runs this process, as over the Unix socket.
func (s *Server) Local() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by := userName(uint32(os.Getuid()))
		s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, by)))
	})
}

func (s *Server) serve(ctx context.Context, l net.Listener, srv *http.Server) error {
	// Requests outlive ctx by the drain: an action whose commit is under way
	// must still hear how it ended. Streams end at once.
	base, cancel := context.WithCancel(withStop(context.WithoutCancel(ctx), ctx.Done()))
	defer cancel()
	srv.BaseContext = func(net.Listener) context.Context { return base }
	srv.ReadHeaderTimeout, srv.ReadTimeout = readHeaderTimeout, readTimeout
	srv.WriteTimeout, srv.IdleTimeout = writeTimeout, idleTimeout
	srv.MaxHeaderBytes = maxHeaderBytes
	srv.ErrorLog = slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelDebug)

	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		drain(srv, cancel)
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	drain(srv, cancel)
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// drain lets running requests finish for a moment, then ends them.
func drain(srv *http.Server, cancel context.CancelFunc) {
	patience, done := context.WithTimeout(context.Background(), drainTimeout)
	defer done()
	if srv.Shutdown(patience) != nil {
		cancel()
		// The connections are being dropped: there is nobody to tell.
		_ = srv.Close()
	}
}

type stopKey struct{}

// withStop lets a stream see the end of its listener's life.
func withStop(ctx context.Context, stop <-chan struct{}) context.Context {
	return context.WithValue(ctx, stopKey{}, stop)
}

func stopOf(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return stop
}
