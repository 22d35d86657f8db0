package https

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
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
	"testing"
	"time"

	upsync "edgeagent/sync"
)

// secure starts a TLS server and returns its URL and the PEM of its authority.
func secure(t *testing.T, change func(*httptest.Server)) (string, []byte) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		_, _ = io.WriteString(w, receipt)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	if change != nil {
		change(srv)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}

func TestCertificateIsCheckedAndItsFileReadAgain(t *testing.T) {
	addr, good := secure(t, nil)
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := dest(t, Options{URL: addr, CAFile: file})
	write([]byte("no certificate"))
	if _, err := d.Send(t.Context(), twoAlarms); classOf(err) != upsync.Denied || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("Send = %v", err)
	}
	write(selfSigned(t, time.Now().Add(-time.Hour)).pem)
	if _, err := d.Send(t.Context(), twoAlarms); classOf(err) != upsync.Denied || !strings.Contains(err.Error(), "not trusted") {
		t.Errorf("Send = %v, want not trusted", err)
	}
	write(good)
	if r, err := d.Send(t.Context(), twoAlarms); err != nil || r.Epoch != epoch {
		t.Errorf("Send = %+v, %v: the right file was not read", r, err)
	}
	if _, err := dest(t, Options{URL: addr}).Send(t.Context(), twoAlarms); classOf(err) != upsync.Denied {
		t.Errorf("Send = %v: an unknown authority is trusted", err)
	}
}

func TestCertificateOfTomorrowIsAMatterOfTheClock(t *testing.T) {
	cert := selfSigned(t, time.Now().Add(time.Hour))
	addr, _ := secure(t, func(s *httptest.Server) { s.TLS = &tls.Config{Certificates: []tls.Certificate{cert.pair}} })
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, cert.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := dest(t, Options{URL: addr, CAFile: file}).Send(t.Context(), twoAlarms)
	if classOf(err) != upsync.NoAnswer || !strings.Contains(err.Error(), "not yet valid") {
		t.Errorf("Send = %v (%s), want no answer: the same again", err, classOf(err))
	}
}

func TestTLSThatIsRefused(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer plain.Close()
	wants, authority := secure(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.EnableHTTP2 = false // over HTTP/2 the alert is lost, and the agent tries again
	})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, url, text string }{
		{"no TLS there", strings.Replace(plain.URL, "http:", "https:", 1), "does not speak TLS"},
		{"wants our certificate", wants, "refused the TLS connection"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dest(t, Options{URL: tt.url, CAFile: file}).Send(t.Context(), twoAlarms)
			if classOf(err) != upsync.Denied || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Send = %v (%s), want denied: %s", err, classOf(err), tt.text)
			}
		})
	}
}

type certificate struct {
	pair tls.Certificate
	pem  []byte
}

func selfSigned(t *testing.T, from time.Time) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func TestRequestsThatCannotBeMade(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		text string
	}{
		{"no url", Options{}, "want https://HOST/PATH"},
		{"no scheme", Options{URL: "ingest.example"}, "want https://HOST/PATH"},
		{"other scheme", Options{URL: "ftp://user:pa55@ingest.example"}, "want https://HOST/PATH"},
		{"token file gone", Options{URL: "http://127.0.0.1:1", Token: func() (string, error) { return "", os.ErrNotExist }}, "read the token"},
		{"token with a line break", Options{URL: "http://127.0.0.1:1", Token: func() (string, error) { return "pa55\nx", nil }}, "line break"},
		{"no ca file", Options{URL: "http://127.0.0.1:1", CAFile: filepath.Join(t.TempDir(), "none.pem")}, "read ca_file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dest(t, tt.o).Send(t.Context(), twoAlarms)
			if classOf(err) != upsync.Denied || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "pa55") {
				t.Errorf("Send = %v (%s), want denied with %q", err, classOf(err), tt.text)
			}
		})
	}
}
