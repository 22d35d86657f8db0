package modbus_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/plc/sim"
)

// identity is a certificate with its key, in memory and in files.
type identity struct {
	der       []byte
	key       crypto.Signer
	cert, pem string // files
}

// identify makes a certificate that signs itself, for a name and 127.0.0.1.
func identify(t *testing.T, name string, key crypto.Signer, change func(*x509.Certificate)) identity {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return identity{der: der, key: key, cert: file(t, "CERTIFICATE", der), pem: file(t, "PRIVATE KEY", pkcs8)}
}

// file writes a PEM file, or DER without a kind.
func file(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if kind != "" {
		der = pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	if err := os.WriteFile(path, der, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func curve(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (i identity) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{i.der}, PrivateKey: i.key}}}
}

// secured serves a device over TLS to clients that conf lets in.
func secured(t *testing.T, conf *tls.Config) string {
	t.Helper()
	server, err := sim.ListenTLS("127.0.0.1:0", conf, sim.OracleUnits(1))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(context.Background()) })
	t.Cleanup(func() { _ = server.Close(); running.Wait() })
	return server.Addr()
}

func readSecured(t *testing.T, addr string, files modbus.TLSFiles) error {
	t.Helper()
	l := modbus.New(modbus.Options{Addr: addr, TLSFiles: &files, Timeout: 10 * patience})
	defer l.Close()
	got, err := l.Read(t.Context(), 1, block)
	if err == nil && uint16(got[0])<<8|uint16(got[1]) != sim.OracleValue(1, block.Area, block.Offset) {
		t.Errorf("read %x", got)
	}
	return err
}

func TestWhomTheLinkTrusts(t *testing.T) {
	shift := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	good := identify(t, "press", curve(t), nil)
	other := identify(t, "press", curve(t), nil)
	elsewhere := identify(t, "press", curve(t), func(c *x509.Certificate) { c.IPAddresses = nil })
	old := identify(t, "press", curve(t), shift(-2*time.Hour, -time.Hour))
	young := identify(t, "press", curve(t), shift(time.Hour, 2*time.Hour))
	for name, tc := range map[string]struct {
		server identity
		files  modbus.TLSFiles
		want   error
		says   string
	}{
		"its authority":                          {good, modbus.TLSFiles{CA: good.cert}, nil, ""},
		"another authority":                      {other, modbus.TLSFiles{CA: good.cert}, plc.ErrRefused, "ca_file"},
		"the very certificate":                   {elsewhere, modbus.TLSFiles{ServerCert: elsewhere.cert}, nil, ""},
		"the very certificate, in DER":           {elsewhere, modbus.TLSFiles{ServerCert: file(t, "", elsewhere.der)}, nil, ""},
		"another than the very certificate":      {other, modbus.TLSFiles{ServerCert: good.cert}, plc.ErrRefused, "server_cert_file"},
		"another name":                           {elsewhere, modbus.TLSFiles{CA: elsewhere.cert}, plc.ErrRefused, "another name"},
		"the name it is told":                    {elsewhere, modbus.TLSFiles{CA: elsewhere.cert, ServerName: "press"}, nil, ""},
		"a certificate that is over":             {old, modbus.TLSFiles{CA: old.cert}, plc.ErrUnreachable, "renew"},
		"a certificate that is not yet, a clock": {young, modbus.TLSFiles{CA: young.cert}, plc.ErrUnreachable, "clock"},
		"a file that is not there":               {good, modbus.TLSFiles{CA: "absent.pem"}, plc.ErrUnreachable, "ca_file"},
	} {
		t.Run(name, func(t *testing.T) {
			err := readSecured(t, secured(t, tc.server.config()), tc.files)
			if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("read = %v, want %v and %q", err, tc.want, tc.says)
			}
			if errors.Is(tc.want, plc.ErrUnreachable) && errors.Is(err, plc.ErrRefused) {
				t.Errorf("read = %v: a clock or a file that is put right must be enough", err)
			}
		})
	}
}

func TestKeysOfEveryForm(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := curve(t)
	sec1, err := x509.MarshalECPrivateKey(e)
	if err != nil {
		t.Fatal(err)
	}
	server := identify(t, "press", curve(t), nil)
	mine := map[crypto.Signer]identity{r: identify(t, "agent", r, nil), e: identify(t, "agent", e, nil)}
	pkcs8 := func(k crypto.Signer) []byte { der, _ := x509.MarshalPKCS8PrivateKey(k); return der }
	for name, tc := range map[string]struct {
		own identity
		key string
	}{
		"PKCS#1":             {mine[r], file(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r))},
		"PKCS#1 in DER":      {mine[r], file(t, "", x509.MarshalPKCS1PrivateKey(r))},
		"PKCS#8, RSA":        {mine[r], file(t, "PRIVATE KEY", pkcs8(r))},
		"PKCS#8, EC":         {mine[e], file(t, "PRIVATE KEY", pkcs8(e))},
		"PKCS#8, EC, in DER": {mine[e], file(t, "", pkcs8(e))},
		"EC":                 {mine[e], file(t, "EC PRIVATE KEY", sec1)},
		"EC in DER":          {mine[e], file(t, "", sec1)},
	} {
		conf := server.config()
		leaf, err := x509.ParseCertificate(tc.own.der)
		if err != nil {
			t.Fatal(err)
		}
		conf.ClientCAs, conf.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		conf.ClientCAs.AddCert(leaf)
		if err := readSecured(t, secured(t, conf), modbus.TLSFiles{ServerCert: server.cert, ClientCert: tc.own.cert, ClientKey: tc.key}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDeviceThatRefusesUs refuses after the handshake, as TLS 1.3 does, or in it.
func TestDeviceThatRefusesUs(t *testing.T) {
	server, stranger := identify(t, "press", curve(t), nil), identify(t, "agent", curve(t), nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := server.config()
		conf.MaxVersion, conf.ClientAuth, conf.ClientCAs = version, tls.RequireAndVerifyClientCert, x509.NewCertPool()
		addr := secured(t, conf)
		for name, files := range map[string]modbus.TLSFiles{
			"no certificate": {ServerCert: server.cert},
			"a stranger's":   {ServerCert: server.cert, ClientCert: stranger.cert, ClientKey: stranger.pem},
		} {
			err := readSecured(t, addr, files)
			want := plc.ErrRefused
			if version == tls.VersionTLS12 && files.ClientCert == "" {
				want = plc.ErrUnreachable // the alert may have other reasons, too
			}
			if !errors.Is(err, want) || !strings.Contains(err.Error(), "client_cert_file") {
				t.Errorf("%s, %s: %v, want a refusal that names client_cert_file", tls.VersionName(version), name, err)
			}
		}
	}
}

func TestFilesThatAreNone(t *testing.T) {
	own := identify(t, "agent", curve(t), nil)
	text := file(t, "", []byte("neither"))
	for name, tc := range map[string]struct {
		files modbus.TLSFiles
		says  string
	}{
		"no certificate":            {modbus.TLSFiles{ClientCert: text, ClientKey: own.pem}, "client_cert_file"},
		"no certificate to trust":   {modbus.TLSFiles{ServerCert: text}, "server_cert_file"},
		"no key":                    {modbus.TLSFiles{ClientCert: own.cert, ClientKey: text}, "client_key_file"},
		"a key without certificate": {modbus.TLSFiles{ClientKey: own.pem}, "client_cert_file"},
		"a certificate for a key":   {modbus.TLSFiles{ClientCert: own.cert, ClientKey: own.cert}, "no private key"},
		"a key with a passphrase":   {modbus.TLSFiles{ClientCert: own.cert, ClientKey: file(t, "ENCRYPTED PRIVATE KEY", []byte{1})}, "openssl pkey"},
		"somebody else's key":       {modbus.TLSFiles{ClientCert: own.cert, ClientKey: identify(t, "b", curve(t), nil).pem}, "does not match"},
	} {
		if _, err := tc.files.Load(); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}
