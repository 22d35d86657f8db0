package llm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
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
	ClientCertFile string // PEM, with ClientKeyFile
	ClientKeyFile  string // PEM
	Proxy          string // URL without a user; empty: none, "environment": HTTPS_PROXY and its like
	ProxyUser      string
	ProxyPassword  func() (string, error) // asked for before each request; nil: no user is sent
}

// Line is a provider's transport: made at the first request, because it reads
// files, and made anew when one of them, or the proxy's password, has changed, so
// that a renewed certificate needs no restart. It is safe for concurrent use.
type Line struct {
	o TransportOptions

	mu   sync.Mutex
	t    *http.Transport // nil until it is needed
	made basis
}

// basis is what a transport was made of.
type basis struct {
	files    [3]edition
	password string
}

// edition tells the contents of a file from earlier ones.
type edition struct {
	at   int64 // of the last change, in ns
	size int64
}

// NewLine returns a line that has not touched the network nor a file yet.
func NewLine(o TransportOptions) *Line { return &Line{o: o} }

// Transport returns the transport that notices a dead peer.
func (l *Line) Transport() (*http.Transport, error) {
	now, err := l.o.basis()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil && l.made == now {
		return l.t, nil
	}
	t, err := newTransport(l.o, now.password)
	if err != nil {
		return nil, err
	}
	if l.t != nil {
		l.t.CloseIdleConnections() // requests under way end as they began
	}
	l.t, l.made = t, now
	return t, nil
}

// basis looks at the files; one that is not there is said by who needs it.
func (o TransportOptions) basis() (basis, error) {
	var b basis
	for i, file := range []string{o.CAFile, o.ClientCertFile, o.ClientKeyFile} {
		if file == "" {
			continue
		}
		if info, err := os.Stat(file); err == nil {
			b.files[i] = edition{info.ModTime().UnixNano(), info.Size()}
		}
	}
	if o.ProxyPassword == nil {
		return b, nil
	}
	password, err := o.ProxyPassword()
	b.password = password
	return b, err
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

// newTransport reads the CA file, so that it is called at a request, not in a
// constructor.
func newTransport(o TransportOptions, proxyPassword string) (*http.Transport, error) {
	conf, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyFunc(o, proxyPassword)
	if err != nil {
		return nil, err
	}
	t := dial.Transport(conf)
	t.Proxy, t.OnProxyConnectResponse = proxy, judgeConnect
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

func proxyFunc(o TransportOptions, password string) (func(*http.Request) (*url.URL, error), error) {
	switch o.Proxy {
	case "":
		return nil, nil
	case "environment":
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(o.Proxy)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("proxy: want http://HOST:PORT")
	}
	if o.ProxyPassword != nil {
		u.User = url.UserPassword(o.ProxyUser, password)
	}
	return http.ProxyURL(u), nil
}

// proxyRefusal is a proxy's answer to CONNECT that opens no tunnel.
type proxyRefusal struct{ status int }

// Error returns what a person can do about it.
func (e *proxyRefusal) Error() string {
	switch {
	case e.status == http.StatusProxyAuthRequired:
		return "the proxy wants credentials, check proxy_user and its password"
	case e.status < 500:
		return fmt.Sprintf("the proxy does not let this host pass (its answer is %d), ask who runs it", e.status)
	default:
		return fmt.Sprintf("the proxy cannot reach the host (its answer is %d)", e.status)
	}
}

// failure classifies a refusal: only one of the proxy's way can pass by itself.
func (e *proxyRefusal) failure() *Error {
	if e.status >= 500 {
		return &Error{Class: edgeagent.CallUnreachable, Code: "proxy", Message: e.Error(), Policy: once, Err: e}
	}
	return &Error{Class: edgeagent.CallConfig, Code: "proxy", Message: e.Error(), Policy: Policy{Hold: HoldCertificate}, Err: e}
}

// judgeConnect keeps the status, which net/http would turn into words.
func judgeConnect(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyRefusal{resp.StatusCode}
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
