package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// vpn is two network namespaces with a link between them: the plant, where the
// agent, the PLC and the local model live, and the cloud with its name server,
// its model and the upstream.
type vpn struct {
	t            *testing.T
	plant, cloud string
}

const (
	cloudAddr = "10.77.0.1"
	plantAddr = "10.77.0.2"
	nextAddr  = "10.77.0.9" // that the VPN hands out after the drop
)

// vpns numbers those of this run.
var vpns atomic.Int64

func newVPN(t *testing.T) *vpn {
	t.Helper()
	needsRoot(t)
	needsProgram(t, "/usr/sbin/nft")
	id := fmt.Sprintf("%d-%d", os.Getpid(), vpns.Add(1))
	v := &vpn{t: t, plant: "ea-plant-" + id, cloud: "ea-cloud-" + id}
	v.remove() // of a run that was killed and had our number
	t.Cleanup(v.remove)
	v.ip("netns add " + v.plant)
	v.ip("netns add " + v.cloud)
	v.ip(fmt.Sprintf("link add vpn0 netns %s type veth peer name vpn1 netns %s", v.plant, v.cloud))
	for _, ns := range []string{v.plant, v.cloud} {
		v.ip("-n " + ns + " link set lo up")
	}
	v.ip("-n " + v.plant + " addr add " + plantAddr + "/24 dev vpn0")
	v.ip("-n " + v.cloud + " addr add " + cloudAddr + "/24 dev vpn1")
	v.ip("-n " + v.plant + " link set vpn0 up")
	v.ip("-n " + v.cloud + " link set vpn1 up")
	v.ip("-n " + v.plant + " route add default via " + cloudAddr)
	v.resolver()
	return v
}

func (v *vpn) remove() {
	_ = exec.Command("ip", "netns", "del", v.plant).Run()
	_ = exec.Command("ip", "netns", "del", v.cloud).Run()
	_ = os.RemoveAll("/etc/netns/" + v.plant)
}

func (v *vpn) ip(args string) {
	v.t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		v.t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// resolver makes the agent ask the name server behind the VPN.
func (v *vpn) resolver() {
	v.t.Helper()
	dir := "/etc/netns/" + v.plant
	if err := os.MkdirAll(dir, 0o755); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver "+cloudAddr+"\noptions timeout:3 attempts:1\n"), 0o644); err != nil {
		v.t.Fatal(err)
	}
}

// inside runs f on a thread that lives in the namespace; a socket that is made
// there stays there.
func (v *vpn) inside(ns string, f func() error) {
	v.t.Helper()
	failed := make(chan error, 1)
	go func() {
		// Never unlocked, and kept for the rest of the run: the end of a thread
		// would be the death signal of every process that it has started.
		runtime.LockOSThread()
		defer func() { select {} }()
		fd, err := os.Open("/run/netns/" + ns)
		if err != nil {
			failed <- err
			return
		}
		defer fd.Close()
		if err := unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		failed <- f()
	}()
	if err := <-failed; err != nil {
		v.t.Fatalf("in %s: %v", ns, err)
	}
}

func (v *vpn) listen(ns, addr string) net.Listener {
	v.t.Helper()
	var l net.Listener
	v.inside(ns, func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l
}

// drop throws every packet away, both ways and without a word; link and route
// stay.
func (v *vpn) drop() {
	v.t.Helper()
	v.nft("add table inet gone",
		"add chain inet gone in { type filter hook input priority 0 ; }",
		"add chain inet gone out { type filter hook output priority 0 ; }",
		"add rule inet gone in iifname vpn1 drop",
		"add rule inet gone out oifname vpn1 drop")
}

// restore lets packets flow again, to another address of the client.
func (v *vpn) restore() {
	v.t.Helper()
	v.ip("-n " + v.plant + " addr del " + plantAddr + "/24 dev vpn0")
	v.ip("-n " + v.plant + " addr add " + nextAddr + "/24 dev vpn0")
	v.ip("-n " + v.plant + " route replace default via " + cloudAddr)
	v.nft("delete table inet gone")
}

func (v *vpn) nft(rules ...string) {
	v.t.Helper()
	for _, r := range rules {
		out, err := exec.Command("ip", "netns", "exec", v.cloud, "nft", r).CombinedOutput()
		if err != nil {
			v.t.Fatalf("nft %s: %v\n%s", r, err, out)
		}
	}
}

// nameServer answers every question for an address with the cloud's.
func (v *vpn) nameServer() {
	v.t.Helper()
	var conn net.PacketConn
	v.inside(v.cloud, func() (err error) {
		conn, err = net.ListenPacket("udp", cloudAddr+":53")
		return err
	})
	v.t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := dnsAnswer(buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
}

// dnsAnswer echoes the question and adds one A record; AAAA gets none. There is
// no nowhere, and of broken it knows nothing.
func dnsAnswer(q []byte) []byte {
	if len(q) < 17 {
		return nil
	}
	end := 12
	for end < len(q) && q[end] != 0 {
		end += int(q[end]) + 1
	}
	if end+5 > len(q) {
		return nil
	}
	question := q[12 : end+5]
	isA := binary.BigEndian.Uint16(q[end+1:]) == 1
	answer := append([]byte{}, q[:2]...)
	answer = append(answer, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	answer = append(answer, question...)
	switch {
	case bytes.Contains(question, []byte("nowhere")):
		answer[3] |= 3 // NXDOMAIN
	case bytes.Contains(question, []byte("broken")):
		answer[3] |= 2 // SERVFAIL
	case isA:
		answer[7] = 1
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4)
		answer = append(answer, net.ParseIP(cloudAddr).To4()...)
	}
	return answer
}

// secure serves h over TLS with HTTP/2, as every cloud does, and returns the
// file with the authority to trust.
func (v *vpn) secure(l net.Listener, name string, h http.Handler) (caFile string) {
	v.t.Helper()
	cert, ca := certificate(v.t, name)
	server := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	go server.ServeTLS(l, "", "")
	v.t.Cleanup(func() { server.Close() })
	caFile = filepath.Join(v.t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		v.t.Fatal(err)
	}
	return caFile
}

func certificate(t *testing.T, name string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// The VPN drops at 03:00 without a word, and comes back with another address.
func TestVPNDrop(t *testing.T) {
	mostlyWaits(t)
	v := newVPN(t)
	v.nameServer()
	cloud := &model{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", cloud.ask(openAIAnswer))
	mux.HandleFunc("GET /v1/models", cloud.probe)
	ca := v.secure(v.listen(v.cloud, cloudAddr+":443"), "models.example", mux)
	local := newOllama(t, v.listen(v.plant, "127.0.0.1:11434"))
	up := newReceiverOn(t, v.listen(v.cloud, cloudAddr+":8080"))

	a := newAgent(t, plan{
		cloud: "https://models.example/v1", cloudKeys: fmt.Sprintf("ca_file = %q", ca), local: local.url,
		upstreams: []string{"http://ingest.example:8080/events"},
	}.toml(t))
	a.prefix = []string{"ip", "netns", "exec", v.plant}
	a.start()
	watch := watchHeadline(t, a)

	// Before: the cloud answers, over a connection that stays pooled.
	j := a.diagnosed("line-1", "N1", "before the drop", 30*time.Second)
	answeredBy(t, j, "cloud")
	a.eventually(20*time.Second, "the upstream has it", func() bool { return len(up.diagnoses()) == 1 })

	v.drop()
	watch.from()
	first := a.diagnosed("line-1", "N2", "the VPN has just dropped", 60*time.Second)
	answeredBy(t, first, "local")
	inBudget(t, first)
	a.eventually(40*time.Second, "the breaker is open", func() bool { return a.status().Provider[0].Breaker == "open" })
	for i := range 5 {
		j := a.diagnosed("line-1", "N3", fmt.Sprintf("later alarm %d", i), 10*time.Second)
		answeredBy(t, j, "local")
		if took := j.FinishedAt.Sub(j.CreatedAt); took > 10*time.Second { // less than any way to find the cloud gone
			t.Errorf("later alarm %d: answered after %v, want at once", i, took)
		}
	}
	if level := a.status().Headline.Level; level != "degraded" {
		t.Errorf("headline %q during the drop, want degraded", level)
	}
	watch.until()

	v.restore()
	backInTime(t, a)
	a.eventually(90*time.Second, "the backlog is drained", func() bool { return a.status().Upstream[0].Backlog == 0 })
	inOrder(t, up)
	if n := len(up.diagnoses()); n != 8 {
		t.Errorf("%d alarms diagnosed upstream, want 8", n)
	}
}

func answeredBy(t *testing.T, j jobDoc, provider string) {
	t.Helper()
	if j.Diagnosis == nil || j.Diagnosis.By.Provider != provider {
		t.Fatalf("job %s answered by %+v, want %s", j.State, j.Diagnosis, provider)
	}
}

// inOrder holds that every stream arrived as 1, 2, 3, …
func inOrder(t *testing.T, up *receiver) {
	t.Helper()
	for _, stream := range []string{"alarm", "diagnosis", "event"} {
		var wrong int
		err := up.db.QueryRowContext(context.Background(), `SELECT count(*) FROM (
			SELECT sequence, row_number() OVER (ORDER BY arrival) AS place FROM event WHERE stream = $1) s WHERE sequence <> place`, stream).Scan(&wrong)
		if err != nil {
			t.Fatal(err)
		}
		if wrong != 0 {
			t.Errorf("%d events of stream %s arrived out of order", wrong, stream)
		}
	}
	if bad := up.gaps(); len(bad) > 0 {
		t.Errorf("gaps: %v", bad)
	}
}

// headlineWatch looks at the headline all along: a drop of the VPN is designed
// behaviour and must never look like an alarm.
type headlineWatch struct {
	stop chan struct{}
	done chan struct{}
	t    *testing.T
	seen map[string]int
	on   chan bool
}

func watchHeadline(t *testing.T, a *agent) *headlineWatch {
	t.Helper()
	w := &headlineWatch{t: t, stop: make(chan struct{}), done: make(chan struct{}), seen: map[string]int{}, on: make(chan bool)}
	go func() {
		defer close(w.done)
		watching := false
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case watching = <-w.on:
			case <-tick.C:
				var s statusDoc
				if watching && a.get("/api/v1/status", &s) == nil {
					w.seen[s.Headline.Level]++
				}
			}
		}
	}()
	return w
}

func (w *headlineWatch) from() { w.on <- true }

func (w *headlineWatch) until() {
	w.t.Helper()
	w.on <- false
	close(w.stop)
	<-w.done
	w.t.Logf("headline during the drop: %v", w.seen)
	if w.seen["attention"]+w.seen["fault"] > 0 || w.seen["degraded"] == 0 {
		w.t.Errorf("headline during the drop: %v, want degraded", w.seen)
	}
}
