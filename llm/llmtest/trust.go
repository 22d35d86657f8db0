package llmtest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/llm"
)

// Reached makes a provider for a server's base URL, reached as o says.
type Reached func(baseURL string, o llm.TransportOptions) llm.Provider

// RunTrust holds a provider to what is configured of the way to it: whom it
// trusts, who it says it is, and the proxy, each changed while it runs.
func RunTrust(t *testing.T, wire Wire, newProvider Reached) {
	t.Run("client certificate", func(t *testing.T) { testClientCertificate(t, wire, newProvider) })
	t.Run("certificate renewed", func(t *testing.T) { testRenewed(t, wire, newProvider) })
	t.Run("authority replaced", func(t *testing.T) { testReplaced(t, wire, newProvider) })
	t.Run("proxy", func(t *testing.T) { testProxy(t, wire, newProvider) })
	t.Run("HTTP/2", func(t *testing.T) { testHTTP2(t, newProvider) })
	t.Run("proxy refuses", func(t *testing.T) { testProxyRefuses(t, newProvider) })
}

// Identity writes a self-signed certificate for name and 127.0.0.1, and its key,
// as PEM into two files.
func Identity(t *testing.T, name, certFile, keyFile string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", pkcs8)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Duration(big.NewInt(0).SetBytes(der[len(der)-4:]).Int64()) * time.Microsecond)
	if err := os.Chtimes(file, later, later); err != nil { // two writes within one tick of the clock
		t.Fatal(err)
	}
}

// NewTLSServer is [NewServer] behind TLS; it asks for client certificates when
// clients is not nil, and tells their names.
func NewTLSServer(t *testing.T, wire Wire, cert tls.Certificate, clients func(name string), steps ...Step) *Server {
	t.Helper()
	s := &Server{wire: wire, steps: steps}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if clients != nil {
		s.TLS.ClientAuth = tls.RequireAnyClientCert
		s.TLS.VerifyConnection = func(c tls.ConnectionState) error {
			clients(c.PeerCertificates[0].Subject.CommonName)
			return nil
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// files are those of one gateway.
type files struct{ serverCert, serverKey, cert, key string }

func newFiles(t *testing.T) files {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	return files{in("ca.pem"), in("ca.key"), in("gw.crt"), in("gw.key")}
}

func (f files) options() llm.TransportOptions {
	return llm.TransportOptions{CAFile: f.serverCert, ClientCertFile: f.cert, ClientKeyFile: f.key}
}

// names keeps who came.
type names struct {
	mu  sync.Mutex
	all []string
}

func (n *names) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, name)
}

func (n *names) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.all, " ")
}

func ask(ctx context.Context, p llm.Provider) error {
	_, err := p.Ask(ctx, question)
	return err
}

var fine = Reply{Text: "fine", TokensIn: 3, TokensOut: 1}

func testClientCertificate(t *testing.T, wire Wire, newProvider Reached) {
	f, came := newFiles(t), &names{}
	s := NewTLSServer(t, wire, Identity(t, "server", f.serverCert, f.serverKey), came.add, wire.Say(fine))
	Identity(t, "gateway-1", f.cert, f.key)
	if err := ask(t.Context(), newProvider(s.BaseURL(), f.options())); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if came.String() != "gateway-1" {
		t.Errorf("the server met %q", came)
	}
	for name, o := range map[string]llm.TransportOptions{
		"none":         {CAFile: f.serverCert},
		"no such file": {CAFile: f.serverCert, ClientCertFile: f.cert + "x", ClientKeyFile: f.key},
		"mixed up":     {CAFile: f.serverCert, ClientCertFile: f.serverCert, ClientKeyFile: f.key},
	} {
		e := failure(t, ask(t.Context(), newProvider(s.BaseURL(), o)))
		if name == "none" && e.Breaker == llm.Counted { // by TLS 1.3 the server says why after the handshake, and its last words can be lost
			continue
		}
		if e.Class != edgeagent.CallConfig || e.Hold == 0 || name != "none" && !strings.Contains(e.Error(), "client_cert_file") {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if n := len(s.Asked()); n != 1 {
		t.Errorf("the server answered %d requests, want the first alone", n)
	}
}

// A renewed certificate is shown from the next request on.
func testRenewed(t *testing.T, wire Wire, newProvider Reached) {
	f, came := newFiles(t), &names{}
	s := NewTLSServer(t, wire, Identity(t, "server", f.serverCert, f.serverKey), came.add, wire.Say(fine))
	p := newProvider(s.BaseURL(), f.options())
	for _, name := range []string{"gateway-old", "gateway-new"} {
		Identity(t, name, f.cert, f.key)
		for range 2 {
			if err := ask(t.Context(), p); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if came.String() != "gateway-old gateway-new" {
		t.Errorf("the server met %q, want each once: connections are kept as long as the files", came)
	}
}

// A server with a new authority is trusted as soon as the file names it, and
// the old one no longer.
func testReplaced(t *testing.T, wire Wire, newProvider Reached) {
	f := newFiles(t)
	first := NewTLSServer(t, wire, Identity(t, "first", f.serverCert, f.serverKey), nil, wire.Say(fine))
	p := newProvider(first.BaseURL(), llm.TransportOptions{CAFile: f.serverCert})
	if err := ask(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	Identity(t, "second", f.serverCert, f.serverKey)
	if e := failure(t, ask(t.Context(), p)); e.Class != edgeagent.CallConfig || !strings.Contains(e.Error(), "ca_file") {
		t.Errorf("the first authority is trusted still: %+v", e)
	}
	if n := len(first.Asked()); n != 1 {
		t.Errorf("the prompt went to a server that is not trusted any more, %d requests", n)
	}
}

// proxy is a real CONNECT proxy that wants a password.
type proxy struct {
	*httptest.Server
	mu       sync.Mutex
	password string
	status   int // what it answers instead; 0: it does its work
	hosts    []string
}

func newProxy(t *testing.T, password string) *proxy {
	t.Helper()
	p := &proxy{password: password}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) set(password string, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.password, p.status = password, status
}

func (p *proxy) verdict(r *http.Request) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("gw:"+p.password))
	switch {
	case p.status != 0:
		return p.status
	case r.Method != http.MethodConnect:
		return http.StatusBadRequest
	case r.Header.Get("Proxy-Authorization") != want:
		return http.StatusProxyAuthRequired
	}
	p.hosts = append(p.hosts, r.Host)
	return http.StatusOK
}

func (p *proxy) tunnels() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.hosts)
}

// ServeHTTP opens a tunnel.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := p.verdict(r); status != http.StatusOK {
		http.Error(w, "<html>no</html>", status)
		return
	}
	far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, "no way", http.StatusBadGateway)
		return
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	join(near, buffered.Reader, far)
}

// join copies both ways until one end closes.
func join(near net.Conn, begun *bufio.Reader, far net.Conn) {
	var wg sync.WaitGroup
	pass := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from)
		_ = near.Close()
		_ = far.Close()
	}
	wg.Go(func() { pass(far, begun) })
	wg.Go(func() { pass(near, far) })
	wg.Wait()
}

func testProxy(t *testing.T, wire Wire, newProvider Reached) {
	f := newFiles(t)
	s := NewTLSServer(t, wire, Identity(t, "server", f.serverCert, f.serverKey), nil, wire.Say(fine))
	way := newProxy(t, "hunter2")
	password := "hunter2"
	p := newProvider(s.BaseURL(), llm.TransportOptions{CAFile: f.serverCert, Proxy: way.URL, ProxyUser: "gw",
		ProxyPassword: func() (string, error) { return password, nil }})
	for range 2 {
		if err := ask(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if way.tunnels() != 1 || len(s.Asked()) != 2 {
		t.Errorf("%d tunnels for %d requests, want 1 for 2", way.tunnels(), len(s.Asked()))
	}
	way.set("tr0ub4dor", 0)
	password = "hunter2-stale"
	e := failure(t, ask(t.Context(), p))
	if e.Class != edgeagent.CallConfig || e.Hold == 0 || !strings.Contains(e.Error(), "proxy_user") || strings.Contains(e.Error(), "hunter2") || e.Billable {
		t.Errorf("with a stale password: %+v", e)
	}
	password = "tr0ub4dor"
	if err := ask(t.Context(), p); err != nil {
		t.Errorf("with the new password: %v", err)
	}
}

func testProxyRefuses(t *testing.T, newProvider Reached) {
	way := newProxy(t, "")
	tests := []struct {
		status  int
		class   edgeagent.CallOutcome
		breaker llm.Counting
	}{
		{403, edgeagent.CallConfig, llm.Excluded},
		{407, edgeagent.CallConfig, llm.Excluded},
		{502, edgeagent.CallUnreachable, llm.Counted},
		{504, edgeagent.CallUnreachable, llm.Counted},
	}
	for _, tt := range tests {
		way.set("", tt.status)
		p := newProvider("https://model.invalid", llm.TransportOptions{Proxy: way.URL})
		if e := failure(t, ask(t.Context(), p)); e.Class != tt.class || e.Breaker != tt.breaker || !strings.Contains(e.Error(), "proxy") || e.Billable {
			t.Errorf("%d: %+v", tt.status, e)
		}
	}
	way.Close()
	p := newProvider("https://model.invalid", llm.TransportOptions{Proxy: way.URL})
	if e := failure(t, ask(t.Context(), p)); e.Class != edgeagent.CallUnreachable || e.Retries != 1 {
		t.Errorf("a proxy that is gone: %+v", e)
	}
}
