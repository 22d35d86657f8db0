package openai

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"edgeagent/llm"
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

	"edgeagent"
	"edgeagent/llm/llmtest"
)

// quietTLS starts a TLS server that does not write to the test's log.
func quietTLS(t *testing.T, conf *tls.Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(llmtest.Raw(200, "application/json", `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`)))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = conf
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTrust(t *testing.T) {
	s := quietTLS(t, nil)
	ca := writePEM(t, "CERTIFICATE", s.Certificate().Raw)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, url, ca string
		says          string
		unsent        bool
	}{
		{"pinned", s.URL, ca, "", false},
		{"unknown authority", s.URL, "", "ca_file", false},
		{"other name", strings.Replace(s.URL, "127.0.0.1", "localhost", 1), ca, "not trusted", false},
		{"no such file", s.URL, ca + "x", "read ca_file", true},
		{"no certificate in PEM", s.URL, empty, "no certificate in PEM", true},
		{"plain server", "https" + strings.TrimPrefix(llmtest.NewServer(t, llmtest.OpenAI).URL, "http"), ca, "TLS is refused", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client(t, Options{BaseURL: tt.url, Transport: llm.TransportOptions{CAFile: tt.ca}}).Ask(t.Context(), question)
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := failure(t, err)
			if e.Class != edgeagent.CallConfig || e.Hold == 0 || e.Retries != 0 || e.Unsent != tt.unsent || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("failure = %+v, want a held configuration error saying %q", e, tt.says)
			}
		})
	}
}

func selfSigned(t *testing.T, from time.Time) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// A box without a clock of its own starts in the past; the certificate is not
// at fault then, and the message says so.
func TestExpiredCertificateNamesTheClock(t *testing.T) {
	der, key := selfSigned(t, time.Now().Add(time.Hour))
	s := quietTLS(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	_, err := client(t, Options{BaseURL: s.URL, Transport: llm.TransportOptions{CAFile: writePEM(t, "CERTIFICATE", der)}}).Ask(t.Context(), question)
	if e := failure(t, err); e.Class != edgeagent.CallConfig || !strings.Contains(e.Error(), "the clock here says") {
		t.Errorf("failure = %+v", e)
	}
}

// A CA file that was mended is read without a restart.
func TestMendedCAFileIsRead(t *testing.T) {
	s := quietTLS(t, nil)
	other, _ := selfSigned(t, time.Now().Add(-time.Minute))
	path := writePEM(t, "CERTIFICATE", other)
	c := client(t, Options{BaseURL: s.URL, Transport: llm.TransportOptions{CAFile: path}})
	_, err := c.Ask(t.Context(), question)
	failure(t, err)
	good, err := os.ReadFile(writePEM(t, "CERTIFICATE", s.Certificate().Raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(t.Context(), question); err != nil {
		t.Errorf("after the file was mended: %v", err)
	}
}

// A server that wants to know its clients gets the certificate, read anew for
// each connection; a file that is not there is said, and nothing is sent.
func TestClientCertificate(t *testing.T) {
	der, key := selfSigned(t, time.Now().Add(-time.Minute))
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile := writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", pkcs8)
	s := quietTLS(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert})
	ca := writePEM(t, "CERTIFICATE", s.Certificate().Raw)
	if _, err := client(t, Options{BaseURL: s.URL, Transport: llm.TransportOptions{CAFile: ca, ClientCertFile: cert, ClientKeyFile: keyFile}}).Ask(t.Context(), question); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	for name, o := range map[string]Options{
		"none":         {BaseURL: s.URL, Transport: llm.TransportOptions{CAFile: ca}},
		"no such file": {BaseURL: s.URL, Transport: llm.TransportOptions{CAFile: ca, ClientCertFile: cert + "x", ClientKeyFile: keyFile}},
	} {
		_, err := client(t, o).Ask(t.Context(), question)
		if e := failure(t, err); e.Class != edgeagent.CallConfig || e.Hold == 0 || name != "none" && !strings.Contains(e.Error(), "client_cert_file") {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
