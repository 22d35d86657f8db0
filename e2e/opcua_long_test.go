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
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var securedOPCUA = [][2]string{
	{"Basic256Sha256", "SignAndEncrypt"}, {"Aes128_Sha256_RsaOaep", "SignAndEncrypt"}, {"Aes256_Sha256_RsaPss", "SignAndEncrypt"},
	{"Basic256Sha256", "Sign"}, {"Aes128_Sha256_RsaOaep", "Sign"}, {"Aes256_Sha256_RsaPss", "Sign"},
}

// A channel's keys change every few seconds while values are read: nothing is
// lost, no connection ends. Every policy at the same time; in full, every mode
// of each. An answer may come late by half a token's life, not by more: with short
// ones a machine that stands still ends the channel, as it has to.
func TestOPCUATokensAreRenewedUnderLoad(t *testing.T) {
	mostlyWaits(t)
	p := ownOPCUA(t, fmt.Sprintf(`{"lifetime": %d}`, sized(10_000, 4_000)))
	secured := securedOPCUA[:3]
	if full() {
		secured = securedOPCUA
	}
	agents := make([]*agent, len(secured))
	for i, s := range secured {
		device := opcuaDevice(p.chaos.addr(), opcuaKeys(s[0], s[1], p.cert, ""), `timeout = "10s"`)
		agents[i] = newAgent(t, plan{devices: device}.toml(t))
		agents[i].start()
	}
	for _, a := range agents {
		allGood(a, opcuaTags)
	}
	renewals, counted := 0, make([]float64, len(agents))
	eventually(t, 2*patience, "every channel has had six tokens", func() bool {
		for i, a := range agents {
			counter := a.tags("line1")["counter"]
			now, _ := counter.Value.(float64)
			if counter.Quality != "good" || now < counted[i] {
				t.Fatalf("%v: the counter is %v (%s) after %v", securedOPCUA[i], counter.Value, counter.Quality, counted[i])
			}
			counted[i] = now
		}
		tokens := p.tokens()
		renewals = slices.Min(tokens) - 1
		return len(tokens) == len(agents) && renewals >= 5
	})
	for i, a := range agents {
		if d := a.device("line1"); d.State != "polling" || d.Gaps != 0 || d.Attempt != 0 {
			t.Errorf("%v: %s, %d gaps, attempt %d: want none", securedOPCUA[i], d.State, d.Gaps, d.Attempt)
		}
	}
	t.Logf("at least %d renewals of each of %d channels", renewals, len(agents))
}

// tokens returns how many tokens each channel of the server has had.
func (p *opcuaPeer) tokens() []int {
	p.t.Helper()
	var out []int
	for _, f := range strings.Fields(p.say("tokens"))[1:] {
		n, err := strconv.Atoi(f)
		if err != nil {
			p.t.Fatalf("tokens: %v", err)
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		return []int{0}
	}
	return out
}

// A server with one subscription of a hundred items, and a node that takes no
// deadband: every tag is read all the same, the rest of them by polling.
func TestOPCUAServerWithFewMeans(t *testing.T) {
	mostlyWaits(t)
	p := ownOPCUA(t, `{"subscriptions": 1, "items": 100}`)
	device := opcuaDevice(p.chaos.addr(), opcuaKeys("None", "None", "", "")+events, quickRetry) +
		"  [[device.tag]]\n  name = \"any\"\n  address = \"ns=1;s=Line1.Any\"\n  type = \"float64\"\n  deadband = 0.5\n  scan = \"1s\"\n"
	a := newAgent(t, plan{devices: device}.toml(t))
	a.start()
	allGood(a, opcuaTags+1)
	wantOPCUAValues(t, a)
	for name, tag := range map[string]string{"Any": "any", "V3": "v3", "V240": "v240", "Level": "level"} {
		p.say("set %s 77", name)
		a.eventually(10*time.Second, name+" is followed", func() bool { return a.tags("line1")[tag].Value == 77.0 })
	}
	if d := a.device("line1"); d.State != "polling" || d.Tags.Good != opcuaTags+1 {
		t.Errorf("%s with %d good tags", d.State, d.Tags.Good)
	}
}

// A server that shows its certificate with its authority's behind it is pinned
// by its own.
func TestOPCUAServerWithAChain(t *testing.T) {
	p := &opcuaPeer{t: t, dir: t.TempDir(), port: freePort(t), options: "{}"}
	needsNode(t)
	p.cert = writeChain(t, p.dir)
	p.up()
	t.Cleanup(p.kill)
	p.chaos = newChaos(t, "127.0.0.1:"+p.port)
	saved := filepath.Join(t.TempDir(), "saved.der")
	a := newAgent(t, "")
	if _, errOut, code := a.run("browse", "opc.tcp://"+p.chaos.addr(), "--save-cert", saved); code != 0 {
		t.Fatalf("browse --save-cert: %d %s", code, errOut)
	}
	a.writeConfig(plan{devices: opcuaDevice(p.chaos.addr(), opcuaKeys("Basic256Sha256", "SignAndEncrypt", saved, ""), quickRetry)}.toml(t))
	a.start()
	allGood(a, opcuaTags)
	wantOPCUAValues(t, a)
}

// writeChain makes an authority and a server's certificate that it signed, both
// in one file, the server's first.
func writeChain(t *testing.T, dir string) string {
	t.Helper()
	rootFile, rootKey := writeCertificate(t, dir, "root", "urn:e2e:root")
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		return block.Bytes
	}
	root, err1 := x509.ParseCertificate(read(rootFile))
	signer, err2 := x509.ParsePKCS8PrivateKey(read(rootKey))
	key, err3 := rsa.GenerateKey(rand.Reader, 2048)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	u, _ := url.Parse("urn:e2e:opcua")
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "leaf"}, URIs: []*url.URL{u}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	base := filepath.Join(dir, "chain")
	for path, data := range map[string][]byte{base + ".pem": chain, base + ".key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return base + ".pem"
}

// Connections come and go, and leave nothing in the agent: neither goroutines
// nor memory.
func TestOPCUAReconnectsLeaveNothing(t *testing.T) {
	episodes := 20
	if full() {
		episodes = 200
	}
	p := startOPCUA(t)
	device := opcuaDevice(p.chaos.addr(), opcuaKeys("Basic256Sha256", "SignAndEncrypt", p.cert, ""), quickRetry)
	a := newAgent(t, plan{devices: device}.toml(t))
	before := p.sessions()
	a.start()
	allGood(a, opcuaTags)
	episode := func(i int) {
		if i%2 == 1 {
			p.chaos.set(chaosCut)
			a.eventually(15*time.Second, "the loss is noticed", func() bool { return a.device("line1").State != "polling" })
			p.chaos.set(chaosPass)
		}
		a.anew("line1") // so many losses would stop it, as they should
		allGood(a, opcuaTags)
	}
	for i := range 5 {
		episode(i)
	}
	goroutines, rss := a.metric("edgeagent_goroutines"), rssKiB(t, a.pid())
	for i := range episodes {
		episode(i)
	}
	a.eventually(20*time.Second, "the goroutines are as many as before", func() bool { return a.metric("edgeagent_goroutines") <= goroutines+2 })
	if now := rssKiB(t, a.pid()); now > rss+16<<10 {
		t.Errorf("resident memory grew from %d to %d MB", rss>>10, now>>10)
	}
	// A session that was cut stays with the server for a minute; one that was ended does not.
	if n := p.sessions(); n > before+1+(5+episodes)/2 {
		t.Errorf("the server holds %d sessions", n)
	}
	t.Logf("%d episodes: goroutines %v before, %v after; RSS %d and %d MB", episodes, goroutines, a.metric("edgeagent_goroutines"), rss>>10, rssKiB(t, a.pid())>>10)
}

// anew takes a device out of service and back, as a person does: it connects
// anew, and no failure is counted any more.
func (a *agent) anew(device string) {
	a.t.Helper()
	for _, verb := range []string{"maintenance", "resume"} {
		body := map[string]any{"reason": "e2e"}
		if verb == "maintenance" {
			body["for_s"] = 60
		}
		if err := a.do(http.MethodPost, "/api/v1/devices/"+device+"/"+verb, nil, body, nil); err != nil {
			a.t.Fatal(err)
		}
	}
}

// metric returns a figure of /metrics without labels.
func (a *agent) metric(name string) float64 {
	a.t.Helper()
	resp, err := a.http.Get("http://localhost/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	var value float64
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), name+" %g", &value); err == nil {
			return value
		}
	}
	a.t.Fatalf("no %s in /metrics", name)
	return 0
}
