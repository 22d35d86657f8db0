package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/commission"
	"edgeagent/config"
	"edgeagent/plc"
	"edgeagent/plc/sim"
)

// startLine is a simulated PLC whose float is sent least significant register
// first, though the configuration says otherwise.
func startLine(t *testing.T) (panel, string) {
	t.Helper()
	p := startPanel(t)
	p.Allow(edgeagent.AreaHolding, 0, 49)
	p.SetFloat32(10, 21.5, edgeagent.OrderCDAB)
	return p, strings.Replace(p.device("filler"), "[[device.alarm]]", `[[device.tag]]
  name = "temperature"
  address = "holding:10"
  type = "float32"
  min = 0.0
  max = 100.0

  [[device.alarm]]`, 1)
}

// The doctor finds the byte order, through the agent where one runs and on its
// own where none does; the agent's connection stays the only one.
func TestDoctor(t *testing.T) {
	p, device := startLine(t)
	r := newRig(t, device)
	alone, errOut, code := r.run("doctor", "filler", "--json")
	wantOrder(t, alone, errOut, code)
	r.start()
	before := p.server.Accepted()
	through, errOut, code := r.run("doctor", "filler", "--json")
	wantOrder(t, through, errOut, code)
	if !strings.Contains(errOut, "through the running agent") {
		t.Errorf("standard error: %s", errOut)
	}
	if n := p.server.Accepted() - before; n != 0 {
		t.Errorf("%d connections beside the agent's", n)
	}
	if n := p.server.Writes(); n != 0 {
		t.Errorf("%d writes", n)
	}
}

func wantOrder(t *testing.T, out, errOut string, code int) {
	t.Helper()
	var report commission.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK {
		t.Fatalf("exit %d: %v\n%s\n%s", code, err, out, errOut)
	}
	if said := strings.Join(report.Conclusions, "; "); !strings.Contains(said, "order CDAB at the configured addresses") {
		t.Errorf("concluded: %s", said)
	}
}

func TestDoctorOfNobody(t *testing.T) {
	_, device := startLine(t)
	if _, errOut, code := newRig(t, device).run("doctor", "nobody"); code != exitFailed || !strings.Contains(errOut, "edgeagent devices list") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

// A scan finds units and ranges, and asks through the agent that reads there.
func TestScan(t *testing.T) {
	p, device := startLine(t)
	r := newRig(t, device)
	args := []string{"scan", "modbus-tcp://" + p.server.Addr(), "--to-unit", "2", "--to", "99", "--json"}
	for _, running := range []bool{false, true} {
		if running {
			r.start()
			eventually(t, "the agent reads", func() bool { return r.device("filler").State == edgeagent.DevicePolling })
		}
		before := p.server.Accepted()
		out, errOut, code := r.run(args...)
		var answer struct{ Findings []commission.Finding }
		if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitOK {
			t.Fatalf("exit %d: %v\n%s\n%s", code, err, out, errOut)
		}
		found := false
		for _, f := range answer.Findings {
			found = found || f.Unit == 1 && f.Area == "holding" && f.From == 0 && f.To == 49
		}
		if !found {
			t.Errorf("holding:0-49 of unit 1 not found: %s", out)
		}
		if n := p.server.Accepted() - before; running && n != 0 {
			t.Errorf("%d connections beside the agent's", n)
		}
	}
	for _, bad := range [][]string{{"scan", "modbus-tcp://"}, {"scan", "opc.tcp://127.0.0.1"}, {"scan", "modbus-tcp://x", "--to", "70000"}} {
		if _, errOut, code := runCommand(t, bad...); code != exitUsage {
			t.Errorf("%v: exit %d: %s", bad, code, errOut)
		}
	}
}

// Unit 0 and address 0 are asked for when they are named: zero is no default.
func TestScanOfUnitAndAddressZero(t *testing.T) {
	options, err := scanFlags{first: 0, last: 0, to: 0}.options()
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	err = commission.Scan(t.Context(), func(_ context.Context, unit uint8, r plc.Request) ([]byte, error) {
		asked = append(asked, fmt.Sprintf("unit %d %v", unit, r))
		if r.Area.Bits() {
			return []byte{0}, nil
		}
		return []byte{0, 0}, nil
	}, options, func(commission.Finding) {})
	if err != nil || len(asked) == 0 {
		t.Fatalf("%d requests: %v", len(asked), err)
	}
	for _, a := range asked {
		if !strings.HasPrefix(a, "unit 0 ") || !strings.Contains(a, ":0 (1 ") {
			t.Errorf("asked %s", a)
		}
	}
}

// A file with an error in it still says what must never be read, and who may be
// reading there: a scan that passed over it would clear registers.
func TestScanAsksNothingBesideARefusedConfiguration(t *testing.T) {
	p, device := startLine(t)
	r := newRig(t, strings.Replace(device, "[[device.tag]]", "never_read = [\"holding:0-9\"]\ntypo = 1\n[[device.tag]]", 1))
	before := p.server.Accepted()
	_, errOut, code := r.run("scan", "modbus-tcp://"+p.server.Addr(), "--to-unit", "1", "--to", "49")
	if code != exitConfig || !strings.Contains(errOut, "typo") || !strings.Contains(errOut, "never_read") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if n := p.server.Accepted() - before; n != 0 {
		t.Errorf("%d connections", n)
	}
}

// So does one that is named and not there: by the flag, and by the environment.
func TestScanAsksNothingWhereTheNamedConfigurationIsMissing(t *testing.T) {
	p, _ := startLine(t)
	missing := filepath.Join(t.TempDir(), "config.toml")
	scan := []string{"scan", "modbus-tcp://" + p.server.Addr(), "--to-unit", "1", "--to", "9"}
	_, byFlag, code := runCommand(t, append(scan, "-c", missing)...)
	t.Setenv("EDGEAGENT_CONFIG", missing)
	_, byEnv, codeToo := runCommand(t, scan...)
	if code != exitFailed || codeToo != exitFailed || !strings.Contains(byFlag, missing) || !strings.Contains(byEnv, missing) {
		t.Errorf("exit %d: %s\nexit %d: %s", code, byFlag, codeToo, byEnv)
	}
	if n := p.server.Accepted(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A line on which somebody else asks is left alone.
func TestForeignTrafficIsLeftAlone(t *testing.T) {
	server, path, err := sim.ServePTY(map[uint8]*sim.Device{1: sim.NewDevice()})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Run(context.Background()) })
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	master, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0) // or its hangup ends a test that leads its session
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	serving.Go(func() {
		for ctx.Err() == nil {
			_, _ = master.Write([]byte{1, 3, 0, 0, 0, 1, 0x84, 0x0a})
			wait, done := context.WithTimeout(ctx, 50*time.Millisecond)
			<-wait.Done()
			done()
		}
		_ = master.Close()
	})
	_, errOut, code := runCommand(t, "scan", "modbus-rtu://"+path+"?baud=115200&parity=none&stop=1", "--to-unit", "1")
	cancel()
	if code != exitFailed || !strings.Contains(errOut, "another master") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

// Without an agent tags read asks the PLC itself, and says so.
func TestTagsReadWithoutAgent(t *testing.T) {
	p, device := startLine(t)
	p.SetHolding(0, 42)
	out, errOut, code := newRig(t, device).run("tags", "read", "filler", "level")
	if code != exitOK || !strings.Contains(out, "42") || !strings.Contains(out, "good") || !strings.Contains(errOut, "no agent runs") {
		t.Errorf("exit %d:\n%s\n%s", code, out, errOut)
	}
}

// An agent that listens and does not answer, for it is late, reads the PLC all the
// same: a second connection could push a panel off it.
func TestTagsReadBesideAnAgentThatDoesNotAnswer(t *testing.T) {
	p, device := startLine(t)
	r := newRig(t, device)
	if err := config.Accept(r.load()); err != nil { // its folder, for the socket
		t.Fatal(err)
	}
	r.fakeAgent(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	out, errOut, code := r.run("tags", "read", "filler", "level")
	if code != exitUnreachable || out != "" || strings.Contains(errOut, "no agent runs") || p.server.Accepted() != 0 {
		t.Errorf("exit %d, %d connections:\n%s\n%s", code, p.server.Accepted(), out, errOut)
	}
}

// A device is left alone for a while, over a restart, and resumed by a person.
func TestMaintenance(t *testing.T) {
	p := startPanel(t)
	r := newRig(t, p.device("filler"))
	r.start()
	if _, errOut, code := r.run("devices", "maintenance", "filler", "--for", "1h"); code != exitUsage {
		t.Errorf("without a reason: exit %d: %s", code, errOut)
	}
	out, errOut, code := r.run("devices", "maintenance", "filler", "--for", "1h", "--reason", "new belt")
	if code != exitOK || !strings.Contains(out, "left alone until") {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	state := func() edgeagent.DeviceState { return r.device("filler").State }
	eventually(t, "nothing is asked", func() bool { return state() == edgeagent.DeviceMaintenance })
	if _, _, code := r.run("doctor", "filler"); code != exitFailed {
		t.Errorf("doctor on a device in maintenance: exit %d", code)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if got := state(); got != edgeagent.DeviceMaintenance {
		t.Errorf("after a restart it is %s", got)
	}
	if _, errOut, code := r.run("devices", "resume", "filler"); code != exitOK {
		t.Errorf("resume: exit %d: %s", code, errOut)
	}
	eventually(t, "it is read again", func() bool { return state() == edgeagent.DevicePolling })
}

// Browsing shows the ways in, takes what can be read and keeps the certificate.
func TestBrowse(t *testing.T) {
	out, errOut, code := runCommand(t, "browse", "opc.tcp://"+closedPort(t))
	if code != exitFailed || !strings.Contains(errOut, "connection refused") {
		t.Errorf("exit %d:\n%s\n%s", code, out, errOut)
	}
	plant, err := sim.NewPlant("filler")
	if err != nil {
		t.Fatal(err)
	}
	server, err := sim.ListenOPCUA("127.0.0.1:0", plant)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); serving.Wait() })
	url := "opc.tcp://" + server.Addr()
	if out, errOut, code = runCommand(t, "browse", url); code != exitOK || !strings.Contains(out, "None") {
		t.Errorf("endpoints: exit %d:\n%s\n%s", code, out, errOut)
	}
	out, errOut, code = runCommand(t, "browse", url, "--security", "None", "--mode", "None", "--csv")
	if code != exitOK || !strings.HasPrefix(out, "name,address,type") || !strings.Contains(out, "nsu=urn:edgeagent:sim") {
		t.Fatalf("nodes: exit %d:\n%s\n%s", code, out, errOut)
	}
	r := newRig(t, "\n[[device]]\nname = \"found\"\nurl = \""+url+"\"\ntags_file = \"found.csv\"\n"+
		"  [device.opcua]\n  security = \"None\"\n  mode = \"None\"\n")
	r.file("found.csv", out)
	r.start()
	eventually(t, "what was browsed is read", func() bool {
		d := r.device("found")
		return d.State == edgeagent.DevicePolling && d.Tags.Good > 3 && d.Tags.Bad == 0
	})
	if _, errOut, code := runCommand(t, "browse", url, "--save-cert", filepath.Join(t.TempDir(), "s.der")); code == exitOK && errOut != "" {
		t.Errorf("save: %s", errOut)
	}
}
