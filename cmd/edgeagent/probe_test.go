package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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
	"edgeagent/llm/llmtest"
	"edgeagent/plc/sim"
)

// probe runs check --probe --json and returns the results by name.
func (r *rig) probe() (byName map[string]probeResult, errOut string, code int) {
	r.t.Helper()
	out, errOut, code := r.run("check", "--probe", "--json")
	var a checkAnswer
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		r.t.Fatalf("%v\n%s%s", err, out, errOut)
	}
	byName = map[string]probeResult{}
	for _, p := range a.Probe {
		byName[p.Name] = p
	}
	return byName, errOut, code
}

// upstreamServer answers heartbeats with a receipt, or as answer says.
type upstreamServer struct {
	*httptest.Server
	mu     sync.Mutex
	got    []edgeagent.Event
	answer func(w http.ResponseWriter, ev edgeagent.Event)
}

func startUpstreamServer(t *testing.T, answer func(http.ResponseWriter, edgeagent.Event)) *upstreamServer {
	t.Helper()
	u := &upstreamServer{answer: answer}
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.Close)
	return u
}

func (u *upstreamServer) serve(w http.ResponseWriter, r *http.Request) {
	zip, err := gzip.NewReader(r.Body)
	var events []edgeagent.Event
	if err != nil || json.NewDecoder(zip).Decode(&events) != nil || len(events) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	u.got = append(u.got, events...)
	u.mu.Unlock()
	u.answer(w, events[len(events)-1])
}

func receipt(w http.ResponseWriter, ev edgeagent.Event) {
	fmt.Fprintf(w, `{"epoch":%q,"contig":{}}`, ev.Epoch)
}

func openaiProvider(url string) string {
	return fmt.Sprintf("[[llm.provider]]\nname = \"cloud\"\nkind = \"openai\"\nbase_url = %q\nmodel = \"cloud-1\"\n", url)
}

func syncTo(url string) string {
	return fmt.Sprintf("[[sync]]\nname = \"historian\"\nurl = %q\n", url)
}

func TestProbeEverythingIsThere(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	model := llmtest.NewServer(t, llmtest.OpenAI)
	up := startUpstreamServer(t, receipt)
	r := newRig(t, openaiProvider(model.BaseURL()), syncTo(up.URL), one.device("filler"), two.device("capper"),
		strings.Replace(startPanel(t).device("off"), "scan =", "enabled = false\nscan =", 1))
	out, errOut, code := r.run("check", "--probe")
	if code != exitOK || errOut != "" {
		t.Fatalf("exit %d: %s\n%s", code, errOut, out)
	}
	for _, want := range []string{": accepted (", "device filler: ok, ", "device capper: ok, ", "provider cloud: ok, ", "upstream historian: ok, ", " ms, 1 tags"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "device off:") {
		t.Error("a disabled device was probed")
	}
	if one.server.RequestCount() != 1 || one.server.Accepted() != 1 || model.Probes() != 1 || len(model.Asked()) != 0 || len(up.got) != 1 {
		t.Errorf("%d requests on %d connections, %d probes, %d questions, %d heartbeats; want one each and no question", one.server.RequestCount(),
			one.server.Accepted(), model.Probes(), len(model.Asked()), len(up.got))
	}
	if ev := up.got[0]; ev.Type != edgeagent.EventHeartbeat || ev.Source != "/plant-a/gw-1" || ev.Sequence != "" || ev.Stream != "" {
		t.Errorf("sent %+v", ev)
	}
}

func TestProbeNobodyIsThere(t *testing.T) {
	gone := closedPort(t)
	r := newRig(t, openaiProvider("http://"+gone), syncTo("http://"+gone), deviceAt("filler", gone))
	got, errOut, code := r.probe()
	if code != exitFailed || !strings.Contains(errOut, "3 of 4 did not answer") { // the runbook needs nobody
		t.Errorf("exit %d: %s", code, errOut)
	}
	for name, want := range map[string]string{"filler": "check that it is switched on", "cloud": "check that it runs", "historian": "check the network"} {
		if p := got[name]; p.OK || !strings.Contains(p.Error, want) {
			t.Errorf("%s: %+v, want %q", name, p, want)
		}
	}
	if !got["runbook"].OK {
		t.Errorf("runbook: %+v", got["runbook"])
	}
}

// closedPort is an address at which nobody listens. Its port is below those that
// systems hand out by themselves: nobody is given it by chance meanwhile.
func closedPort(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal(err)
	return ""
}

func deviceAt(name, addr string) string {
	return fmt.Sprintf("\n[[device]]\nname = %q\nurl = \"modbus-tcp://%s\"\ntimeout = \"2s\"\n"+
		"  [[device.tag]]\n  name = \"level\"\n  address = \"holding:0\"\n  type = \"uint16\"\n"+
		"  [[device.tag]]\n  name = \"flow\"\n  address = \"holding:200\"\n  type = \"uint16\"\n", name, addr)
}

func TestProbeOfADeviceThatAnswersBadly(t *testing.T) {
	silent, holes := startPanel(t), startPanel(t)
	silent.server.Fault(sim.Fault{Kind: sim.Silent, Count: -1})
	holes.Allow(edgeagent.AreaHolding, 0, 99)
	r := newRig(t, deviceAt("silent", silent.server.Addr()), deviceAt("holes", holes.server.Addr()))
	got, _, code := r.probe()
	if p := got["silent"]; code != exitFailed || p.OK || !strings.Contains(p.Error, "check unit") || p.TookMS < 1900 {
		t.Errorf("exit %d: %+v", code, p)
	}
	if p := got["holes"]; p.OK || !strings.Contains(p.Error, "1 of 2 tags not read, first flow: ") {
		t.Errorf("got %+v", p)
	}
}

func TestProbeOfProviders(t *testing.T) {
	refusing := llmtest.NewServer(t, llmtest.OpenAI)
	refusing.OnProbe(llmtest.OpenAI.Refuse(http.StatusUnauthorized, "bad key"))
	local := llmtest.NewServer(t, llmtest.Ollama)
	r := newRig(t, openaiProvider(refusing.BaseURL()),
		fmt.Sprintf("[[llm.provider]]\nname = \"local\"\nkind = \"ollama\"\nbase_url = %q\nmodel = \"m\"\n", local.BaseURL()))
	got, _, code := r.probe()
	if p := got["cloud"]; code != exitFailed || p.OK || !strings.Contains(p.Error, "401") || !strings.Contains(p.Error, "check the key") {
		t.Errorf("exit %d: %+v", code, p)
	}
	if p := got["local"]; !p.OK || p.Detail != "m" {
		t.Errorf("got %+v", p)
	}
}

func TestProbeOfUpstreams(t *testing.T) {
	for _, c := range []struct {
		name, want string
		answer     func(http.ResponseWriter, edgeagent.Event)
	}{
		{"refused", "check url, token", func(w http.ResponseWriter, _ edgeagent.Event) { w.WriteHeader(http.StatusForbidden) }},
		{"busy", "try again later", func(w http.ResponseWriter, _ edgeagent.Event) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"portal", "without a receipt", func(w http.ResponseWriter, _ edgeagent.Event) { fmt.Fprint(w, "<html>login</html>") }},
		{"another", "check that the url is the upstream's own", func(w http.ResponseWriter, _ edgeagent.Event) {
			fmt.Fprintf(w, `{"epoch":%q}`, edgeagent.NewID(time.Unix(1, 0)))
		}},
	} {
		r := newRig(t, syncTo(startUpstreamServer(t, c.answer).URL))
		got, _, code := r.probe()
		if p := got["historian"]; code != exitFailed || p.OK || !strings.Contains(p.Error, c.want) {
			t.Errorf("%s: exit %d, %+v", c.name, code, p)
		}
	}
	bare := startUpstreamServer(t, func(w http.ResponseWriter, _ edgeagent.Event) { w.WriteHeader(http.StatusAccepted) })
	r := newRig(t, syncTo(bare.URL)+"receipt = \"status\"\n")
	if got, _, code := r.probe(); code != exitOK {
		t.Errorf("a bare 2xx that is enough: %+v", got)
	}
}

// A second connection can push a panel off a PLC: with an agent running, what
// it knows is all that is said.
func TestProbeBesideARunningAgent(t *testing.T) {
	one, gone := startPanel(t), closedPort(t)
	up := startUpstreamServer(t, receipt)
	r := newRig(t, syncTo(up.URL), one.device("filler"), deviceAt("gone", gone)).start()
	got, errOut, code := r.probe()
	if code != exitFailed || !strings.Contains(errOut, "an agent runs on "+r.load().Agent.Socket) {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if p := got["filler"]; !p.OK || p.State != edgeagent.DevicePolling || p.Link != edgeagent.LinkUp || p.LastOKAt == nil {
		t.Errorf("filler: %+v", p)
	}
	if p := got["gone"]; p.OK || p.State != edgeagent.DeviceRetrying || p.Error == "" {
		t.Errorf("gone: %+v", p)
	}
	if n := one.server.Accepted(); n != 1 {
		t.Errorf("%d connections to the PLC, want the agent's alone", n)
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	for _, ev := range up.got {
		if ev.Epoch != r.a.db.Load().Epoch() {
			t.Errorf("%s of a foreign epoch: upstream would see a second agent", ev.Type)
		}
	}
}

// The file names a device and a socket that the running agent does not know
// yet: it is found all the same.
func TestProbeOfAnEditedFile(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	r := newRig(t, one.device("filler")).start()
	r.write(one.device("filler"), two.device("capper"))
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	r.file("config.toml", strings.Replace(string(text), "a.sock", "b.sock", 1))
	got, errOut, _ := r.probe()
	if !got["filler"].OK || !strings.Contains(errOut, "a.sock") {
		t.Errorf("%+v\n%s", got, errOut)
	}
	if p := got["capper"]; p.OK || !strings.Contains(p.Error, "edgeagent reload") {
		t.Errorf("capper: %+v", p)
	}
	if one.server.Accepted() != 1 || two.server.Accepted() != 0 {
		t.Error("a second connection was opened")
	}
}

// Somebody listens and does not answer: it may be the agent, busy. Doubt is no
// licence to connect.
func TestProbeInDoubtLeavesThePLCAlone(t *testing.T) {
	one := startPanel(t)
	r := newRig(t, one.device("filler"))
	l, err := net.Listen("unix", filepath.Join(r.dir, "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			_ = conn.Close()
		}
	}()
	defer l.Close()
	got, _, code := r.probe()
	if p := got["filler"]; code != exitFailed || p.OK || p.Error == "" || one.server.Accepted() != 0 {
		t.Errorf("exit %d, %d connections: %+v", code, one.server.Accepted(), p)
	}
}
