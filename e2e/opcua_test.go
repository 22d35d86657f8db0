package e2e

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// opcuaPeer is node-opcua's server in a process of its own.
type opcuaPeer struct {
	t         *testing.T
	dir, port string
	options   string // JSON
	cert      string // PEM
	cmd       *exec.Cmd
	in        *os.File
	out       *bufio.Scanner
	chaos     *chaos
}

// commonOPCUA serves the tests that leave a server as it was: it takes seconds
// to start. It ends with this process.
var commonOPCUA *opcuaPeer

// startOPCUA returns the common server, in its first state, behind a proxy of
// the test's own.
func startOPCUA(t *testing.T) *opcuaPeer {
	t.Helper()
	needsNode(t)
	if commonOPCUA == nil {
		dir := filepath.Join(root, "e2e", "out", "opcua")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		commonOPCUA = newOPCUA(t, dir, "{}")
	}
	p := commonOPCUA
	p.t, p.chaos = t, newChaos(t, "127.0.0.1:"+p.port)
	for _, c := range []string{"set Level 20.5", "set Word 0", "forget"} {
		p.say("%s", c)
	}
	return p
}

// ownOPCUA is a server of the test's own; options are those of opcua_server.js.
func ownOPCUA(t *testing.T, options string) *opcuaPeer {
	t.Helper()
	needsNode(t)
	p := newOPCUA(t, t.TempDir(), options)
	t.Cleanup(p.kill)
	p.chaos = newChaos(t, "127.0.0.1:"+p.port)
	return p
}

func newOPCUA(t *testing.T, dir, options string) *opcuaPeer {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := &opcuaPeer{t: t, dir: dir, port: freePort(t), options: options}
	p.cert, _ = writeCertificate(t, p.dir, "server", "urn:e2e:opcua")
	p.up()
	return p
}

func (p *opcuaPeer) up() {
	p.t.Helper()
	cmd := exec.Command("node", "peers/node/opcua_server.js", p.port,
		p.cert, strings.TrimSuffix(p.cert, ".pem")+".key", filepath.Join(p.dir, "pki"), p.options)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stdin = r
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(p.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start node-opcua: %v", err)
	}
	r.Close()
	log.Close()
	p.cmd, p.in, p.out = cmd, w, bufio.NewScanner(out)
	if !p.out.Scan() || p.out.Text() != "ready" {
		text, _ := os.ReadFile(filepath.Join(p.dir, "server.log"))
		p.t.Fatalf("node-opcua did not become ready:\n%s", tail(string(text), 2000))
	}
}

func (p *opcuaPeer) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.in.Close()
	p.cmd = nil
}

func (p *opcuaPeer) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// say gives the server a command and returns its answer.
func (p *opcuaPeer) say(format string, args ...any) string {
	p.t.Helper()
	line := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.t.Fatalf("node-opcua: %s: %v", line, err)
	}
	if !p.out.Scan() || strings.HasPrefix(p.out.Text(), "failed") {
		p.t.Fatalf("node-opcua: %s: %q", line, p.out.Text())
	}
	return p.out.Text()
}

// logins returns what users tried, USER:VERDICT each.
func (p *opcuaPeer) logins() []string { return strings.Fields(p.say("log"))[1:] }

func (p *opcuaPeer) sessions() int { return p.number("sessions") }

// number returns what the server answers a command that counts.
func (p *opcuaPeer) number(of string) int {
	p.t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(p.say("%s", of), of+" "))
	if err != nil {
		p.t.Fatalf("%s: %v", of, err)
	}
	return n
}

// writeCertificate makes a key and its own certificate: NAME.pem, NAME.key
// (PKCS#8) and NAME.pkcs1.key.
func writeCertificate(t *testing.T, dir, name, uri string) (cert, key string) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(uri)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"e2e"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), URIs: []*url.URL{u},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, name)
	write := func(path, kind string, der []byte) {
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(base+".pem", "CERTIFICATE", der)
	write(base+".key", "PRIVATE KEY", pkcs8)
	write(base+".pkcs1.key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k))
	return base + ".pem", base + ".key"
}

// opcuaDevice is the server as a device of the configuration. It is patient,
// unless more says otherwise: on a busy machine a handshake takes seconds.
func opcuaDevice(addr, keys, more string) string {
	if !strings.Contains(more, "timeout") {
		more += "\ntimeout = \"5s\""
	}
	return fmt.Sprintf(`
[[device]]
name = "line1"
line = "Line1"
url = "opc.tcp://%s"
scan = "1s"
%s
  [device.opcua]
%s
  [[device.tag]]
  name = "level"
  address = "nsu=urn:e2e:opcua;s=Line1.Level"
  type = "float64"
  eng_unit = "%%"
  [[device.tag]]
  name = "counter"
  address = "ns=1;s=Line1.Counter"
  type = "uint32"
  [[device.tag]]
  name = "big"
  address = "ns=1;s=Line1.Big"
  type = "int64"
  [[device.tag]]
  name = "running"
  address = "ns=1;s=Line1.Running"
  type = "bool"
  [[device.tag]]
  name = "recipe"
  address = "ns=1;s=Line1.Recipe"
  type = "string"
  [[device.tag]]
  name = "word"
  address = "ns=1;s=Line1.Word"
  type = "uint32"
  [[device.tag]]
  name = "second"
  address = "ns=1;s=Line1.Temperatures"
  type = "float32"
  index = 1
`, addr, more, keys) + manyNodes()
}

// manyNodes are more items than the server takes in one call.
func manyNodes() string {
	var b strings.Builder
	for i := range 250 {
		fmt.Fprintf(&b, "  [[device.tag]]\n  name = \"v%d\"\n  address = \"ns=1;s=Line1.V%d\"\n  type = \"int32\"\n", i, i)
	}
	return b.String()
}

// watchful is for tests of how soon a loss is noticed; the others put up with a
// machine that stands still for seconds.
func watchful(keys string) string {
	return strings.ReplaceAll(keys, `watchdog = "15s"`, `watchdog = "3s"`)
}

func opcuaKeys(policy, mode, serverCert, more string) string {
	keys := fmt.Sprintf("  security = %q\n  mode = %q\n  watchdog = \"15s\"\n", policy, mode)
	if policy != "None" {
		keys += fmt.Sprintf("  server_cert_file = %q\n", serverCert)
	}
	return keys + more
}

// allGood waits until every tag of the server is there.
func allGood(a *agent, tags int) {
	a.t.Helper()
	var d deviceDoc
	defer func() {
		if a.t.Failed() {
			a.t.Logf("the device at last: %+v", d)
		}
	}()
	a.eventually(50*time.Second, "every OPC UA tag is good", func() bool {
		d = a.device("line1")
		return d.State == "polling" && d.Link == "up" && d.Tags.Good == tags
	})
}

const opcuaTags = 257

func wantOPCUAValues(t *testing.T, a *agent) {
	t.Helper()
	tags := a.tags("line1")
	want := map[string]any{
		"level": 20.5, "running": true, "recipe": "Lager 0.5 l", "word": 0.0, "second": 2.5,
		"big": "1311768467463790321", "v0": 1.0, "v1": 8.0, "v249": 1744.0,
	}
	for name, v := range want {
		if got := tags[name]; got.Value != v || got.Quality != "good" {
			t.Errorf("%s = %v (%s), the server holds %v", name, got.Value, got.Quality, v)
		}
	}
}
