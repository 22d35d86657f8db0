package llm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/internal/dial"
)

// errClientCert is wrapped by a handshake that failed on our own files.
var errClientCert = errors.New("read client_cert_file and client_key_file")

// MaxBody is how much of an answer is read, in bytes.
const MaxBody = 1 << 20

// TransportOptions configure a [Line]. Empty files are not used.
type TransportOptions struct {
	CAFile         string // PEM; trusted instead of the system's
	ClientCertFile string // PEM, with ClientKeyFile; read anew for each connection
	ClientKeyFile  string // PEM
	Proxy          string // URL; empty: none, "environment": HTTPS_PROXY and its like
}

// Line is a provider's transport: made at the first request, because it reads
// the CA file, and made anew after a failure of trust, so that a mended file is
// read without a restart. It is safe for concurrent use.
type Line struct {
	o TransportOptions

	mu sync.Mutex
	t  *http.Transport // nil until it is needed
}

// NewLine returns a line that has not touched the network nor a file yet.
func NewLine(o TransportOptions) *Line { return &Line{o: o} }

// Transport returns the transport that notices a dead peer.
func (l *Line) Transport() (*http.Transport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		return l.t, nil
	}
	t, err := newTransport(l.o)
	if err != nil {
		return nil, err
	}
	l.t = t
	return t, nil
}

// CloseIdleConnections makes the next request dial: a pooled connection that
// died with the way to the server would fail every request to come.
func (l *Line) CloseIdleConnections() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.CloseIdleConnections()
	}
}

// Failed lets go of what a failed request may have left broken.
func (l *Line) Failed(fail *Error) {
	trust := fail.Class == edgeagent.CallConfig
	if !trust && fail.Class != edgeagent.CallUnreachable && fail.Class != edgeagent.CallTransient {
		return
	}
	l.CloseIdleConnections()
	if trust {
		l.mu.Lock()
		l.t = nil
		l.mu.Unlock()
	}
}

// Unsent is the failure of a request that our own settings did not let out.
func Unsent(what string, err error) *Error {
	return &Error{Class: edgeagent.CallConfig, Code: "config", Message: what + ": " + OneLine(err.Error()),
		Unsent: true, Policy: Policy{Hold: HoldKey}, Err: err}
}

// newTransport reads the CA file, so that it is called at the first request, not
// in a constructor.
func newTransport(o TransportOptions) (*http.Transport, error) {
	conf, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyFunc(o.Proxy)
	if err != nil {
		return nil, err
	}
	t := dial.Transport(conf)
	t.Proxy = proxy
	return t, nil
}

func tlsConfig(o TransportOptions) (*tls.Config, error) {
	conf, err := dial.TLS(o.CAFile)
	if err != nil {
		return nil, err
	}
	if o.ClientCertFile != "" {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(o.ClientCertFile, o.ClientKeyFile)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errClientCert, err)
			}
			return &cert, nil
		}
	}
	return conf, nil
}

func proxyFunc(proxy string) (func(*http.Request) (*url.URL, error), error) {
	switch proxy {
	case "":
		return nil, nil
	case "environment":
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("proxy %q: want http://HOST:PORT", proxy)
	}
	return http.ProxyURL(u), nil
}

// KeepRedirect is a CheckRedirect that follows none: whatever redirects a
// completion call is a portal, and would get the prompt and the key.
func KeepRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Causes with which a [Watch] ends a request.
var (
	ErrFirstToken = errors.New("no answer within the first token's time")
	ErrStall      = errors.New("the answer stalled")
)

// Watch ends a request by cancelling its context when nothing arrives in time:
// a stream has no deadline of its own that tells a slow model from a dead one.
type Watch struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
	stall  time.Duration
	begun  bool
}

// NewWatch returns a context that ends with ErrFirstToken when first passes
// without [Watch.Alive], and then with ErrStall when stall passes between two
// of them. A zero first does not watch until the first Alive.
func NewWatch(ctx context.Context, first, stall time.Duration) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Watch{cancel: cancel, stall: stall}
	if first > 0 {
		w.timer = time.AfterFunc(first, func() { cancel(ErrFirstToken) })
	}
	return ctx, w
}

// Alive says that something arrived. It is called by one goroutine only.
func (w *Watch) Alive() {
	if w.begun {
		w.timer.Reset(w.stall)
		return
	}
	w.begun = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = time.AfterFunc(w.stall, func() { w.cancel(ErrStall) })
}

// Stop ends the watch and releases its context.
func (w *Watch) Stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(context.Canceled)
}
