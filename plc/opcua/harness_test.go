package opcua

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopcua/opcua/server"
	"github.com/gopcua/opcua/ua"
	"go.uber.org/goleak"

	"edgeagent/plc/plctest"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // the library's server talks to the standard logger
	code := m.Run()
	plant.stop()
	// The library's server keeps a subscription that it was asked for after its end.
	theirs := goleak.IgnoreTopFunction("github.com/gopcua/opcua/server.(*Subscription).run")
	if err := goleak.Find(theirs); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// plantServer is one OPC UA server for all tests: the library's own takes half
// a second to read its address space.
type plantServer struct {
	once     sync.Once
	endpoint string
	dir      string // certificates
	cert     string // of the server
	der      []byte
	key      *rsa.PrivateKey
	own, pem string            // of the agent
	spare    chan net.Listener // whose addresses the server knows: it answers to no other name
	stop     func()
	err      error
}

var plant = plantServer{stop: func() {}}

const plantURI = "urn:test:plant"

// offered is what the library's server can do.
var offered = []struct {
	policy string
	mode   ua.MessageSecurityMode
}{
	{"None", ua.MessageSecurityModeNone},
	{"Basic256Sha256", ua.MessageSecurityModeSign}, {"Basic256Sha256", ua.MessageSecurityModeSignAndEncrypt},
	{"Aes128_Sha256_RsaOaep", ua.MessageSecurityModeSign}, {"Aes128_Sha256_RsaOaep", ua.MessageSecurityModeSignAndEncrypt},
	{"Aes256_Sha256_RsaPss", ua.MessageSecurityModeSign}, {"Aes256_Sha256_RsaPss", ua.MessageSecurityModeSignAndEncrypt},
}

func startPlant(t *testing.T) *plantServer {
	t.Helper()
	plant.once.Do(func() { plant.err = plant.start(freePort(t)) })
	if plant.err != nil {
		t.Fatal(plant.err)
	}
	return &plant
}

func (p *plantServer) start(port int) error {
	var err error
	if p.dir, err = os.MkdirTemp("", "opcua"); err != nil {
		return err
	}
	p.stop = func() { os.RemoveAll(p.dir) }
	p.cert, p.own, p.pem = filepath.Join(p.dir, "server.der"), filepath.Join(p.dir, "own.der"), filepath.Join(p.dir, "own.pem")
	serverKey := filepath.Join(p.dir, "server.pem")
	if err := EnsureCertificate(p.cert, serverKey, "urn:test:server", []string{"localhost", "127.0.0.1"}, time.Now()); err != nil {
		return err
	}
	if err := EnsureCertificate(p.own, p.pem, "urn:edgeagent:test:1", []string{"localhost"}, time.Now()); err != nil {
		return err
	}
	id, err := readIdentity(p.cert, serverKey)
	if err != nil {
		return err
	}
	p.der, p.key = id.leaf.Raw, id.privateKey
	opts := []server.Option{
		server.EndPoint("localhost", port), server.Certificate(p.der), server.PrivateKey(p.key),
		server.EnableAuthMode(ua.UserTokenTypeAnonymous), server.EnableAuthMode(ua.UserTokenTypeUserName), server.EnableAuthMode(ua.UserTokenTypeCertificate),
	}
	for _, o := range offered {
		opts = append(opts, server.EnableSecurity(o.policy, o.mode))
	}
	p.spare = make(chan net.Listener, 64)
	for range cap(p.spare) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		opts = append(opts, server.EndPoint("127.0.0.1", l.Addr().(*net.TCPAddr).Port))
		p.spare <- l
	}
	s := server.New(opts...)
	ns := server.NewNodeNameSpace(s, plantURI)
	objects, _ := s.Namespace(0)
	objects.Objects().AddRef(ns.Objects(), server.RefType(35), true)
	for name, v := range map[string]any{"level": 42.5, "count": int32(7), "run": true, "words": []uint16{1, 2, 3}, "name": "filler"} {
		n := ns.AddNewVariableStringNode(name, v)
		ns.Objects().AddRef(n, server.RefType(35), true)
	}
	typed := ns.AddNewVariableStringNode("typed", float32(1.5))
	for a, v := range map[ua.AttributeID]any{
		ua.AttributeIDDataType: ua.NewNumericNodeID(0, 10), ua.AttributeIDValueRank: int32(-1), ua.AttributeIDUserAccessLevel: uint8(5),
	} {
		if err := typed.SetAttribute(a, server.DataValueFromValue(v)); err != nil {
			return err
		}
	}
	ns.Objects().AddRef(typed, server.RefType(35), true)
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Start(ctx); err != nil {
		cancel()
		return err
	}
	p.endpoint = fmt.Sprintf("opc.tcp://localhost:%d", port)
	p.stop = func() {
		close(p.spare)
		for l := range p.spare {
			l.Close()
		}
		s.Close()
		cancel()
		os.RemoveAll(p.dir)
	}
	return nil
}

func freePort(t *testing.T) int {
	t.Helper()
	_, port, _ := net.SplitHostPort(plctest.Address(t))
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// options are those of a device at the plant's server, or at a proxy before it.
func (p *plantServer) options(security, mode string) Options {
	return Options{
		Endpoint: p.endpoint, Security: security, Mode: mode,
		ServerCertFile: p.cert, ClientCertFile: p.own, ClientKeyFile: p.pem,
		Timeout: ample, ApplicationName: "edgeagent/test",
	}
}

// opened connects, and closes at the end of the test.
func opened(t *testing.T, o Options) *client {
	t.Helper()
	c, err := connect(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.close()
		<-c.done()
	})
	return c
}

// at returns the options with another server address.
func (o Options) at(l net.Listener) Options {
	o.Endpoint = "opc.tcp://" + l.Addr().String()
	return o
}

// listen serves connections until the end of the test, which waits for them.
func listen(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l := <-startPlant(t).spare
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		stopped := l.(*net.TCPListener)
		_ = stopped.SetDeadline(time.Unix(1, 0))
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
		_ = stopped.SetDeadline(time.Time{})
		plant.spare <- l
	})
	return l
}

// newPair makes a certificate and key in a folder of their own and returns
// their files.
func newPair(t *testing.T, change func(*x509.Certificate), bits int) (cert, key string) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := selfSigned(k, "urn:test:other", []string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		template, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		change(template)
		if der, err = x509.CreateCertificate(rand.Reader, template, template, k.Public(), k); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.der"), filepath.Join(dir, "key.pem")
	write(t, cert, der)
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
	return cert, key
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wants fails unless err wraps kind and says each of the words.
func wants(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if err == nil || kind != nil && !errors.Is(err, kind) {
		t.Fatalf("error %v, want one that wraps %q", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
