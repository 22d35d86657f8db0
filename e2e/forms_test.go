package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A form is one way of speaking Modbus, to one independent implementation.
type form struct {
	name  string
	start func(t *testing.T) (p *peer, url string)
}

var forms = []form{
	{"libmodbus-tcp", func(t *testing.T) (*peer, string) {
		p := startLibmodbus(t)
		return p, "modbus-tcp://" + p.tap.addr()
	}},
	{"libmodbus-tls", func(t *testing.T) (*peer, string) {
		needsProgram(t, "/usr/bin/socat")
		p := startLibmodbus(t)
		return p, "modbus-tls://" + p.secure()
	}},
	{"libmodbus-rtu", func(t *testing.T) (*peer, string) {
		needsProgram(t, "out/libmodbus-server")
		return onSerial(t, "libmodbus", "out/libmodbus-server", "rtu")
	}},
	{"pymodbus-tcp", func(t *testing.T) (*peer, string) {
		p := startPymodbus(t)
		return p, "modbus-tcp://" + p.tap.addr()
	}},
	{"pymodbus-rtu-tcp", func(t *testing.T) (*peer, string) {
		needsPymodbus(t)
		p := &peer{t: t, name: "pymodbus", addr: "127.0.0.1:" + freePort(t)}
		p.argv = []string{"/usr/bin/python3", "peers/pymodbus_server.py", "rtutcp", strings.TrimPrefix(p.addr, "127.0.0.1:")}
		p.up()
		t.Cleanup(p.down)
		return p, "modbus-rtu-tcp://" + p.addr
	}},
	{"pymodbus-rtu", func(t *testing.T) (*peer, string) {
		needsPymodbus(t)
		return onSerial(t, "pymodbus", "/usr/bin/python3", "peers/pymodbus_server.py", "rtu")
	}},
	{"modbus-serial-tcp", func(t *testing.T) (*peer, string) {
		needsNode(t)
		port := freePort(t)
		p := startPeer(t, "modbus-serial", port, "node", "peers/node/modbus_server.js", port)
		return p, "modbus-tcp://" + p.tap.addr()
	}},
}

// tlsKeys are the keys of a device behind secure, beside the agent's files.
const tlsKeys = "ca_file = %q\nclient_cert_file = %q\nclient_key_file = %q\nserver_name = \"localhost\"\n"

// secure puts TLS with client certificates before a peer, in a process that
// knows nothing of Modbus.
func (p *peer) secure() string {
	p.t.Helper()
	p.pki = p.t.TempDir()
	cert, key := writeCertificate(p.t, p.pki, "server", "urn:e2e:modbus")
	client, _ := writeCertificate(p.t, p.pki, "client", "urn:e2e:agent")
	port := freePort(p.t)
	cmd := exec.Command("/usr/bin/socat", fmt.Sprintf("OPENSSL-LISTEN:%s,bind=127.0.0.1,reuseaddr,fork,cert=%s,key=%s,cafile=%s,verify=1", port, cert, key, client),
		"TCP:"+p.tap.addr())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return "127.0.0.1:" + port
}

// keys returns what the device needs beside its url.
func (p *peer) keys() string {
	if p.pki == "" {
		return ""
	}
	return fmt.Sprintf(tlsKeys, filepath.Join(p.pki, "server.pem"), filepath.Join(p.pki, "client.pem"), filepath.Join(p.pki, "client.key"))
}

func needsPymodbus(t *testing.T) {
	t.Helper()
	err := exec.Command("/usr/bin/python3", "-c", "import pymodbus, serial_asyncio").Run()
	needs(t, "pymodbus", err == nil)
}

func needsNode(t *testing.T) {
	t.Helper()
	needsProgram(t, "peers/node/node_modules/node-opcua/package.json")
}

// onSerial starts a peer at the other end of a serial cable.
func onSerial(t *testing.T, name string, argv ...string) (*peer, string) {
	t.Helper()
	line := newSerialLine(t)
	p := &peer{t: t, name: name, argv: append(argv, line.peer), line: line}
	p.up()
	t.Cleanup(p.down)
	return p, "modbus-rtu://" + line.agent + "?baud=115200&parity=none&stop=1"
}

// What every peer was filled with, by hand: nothing of it comes from a client.
var filled = map[string]any{
	"r0": 1.0, "r9": 64.0, "in3": 44.0, "c3": true, "c4": false, "d5": true,
	"f_abcd": 12.5, "f_cdab": -3.25, "f_badc": 1e6, "f_dcba": float64(float32(0.001)),
	"word": float64(0x80010004), "swapped": float64(0x80010004),
	"w2": true, "w3": false, "w16": true, "w31": true, "s2": true, "s16": true, "s30": false, "s31": true,
}

const wordTags = `
  [[device.tag]]
  name = "word"
  address = "holding:110"
  type = "uint32"
  [[device.tag]]
  name = "swapped"
  address = "holding:112"
  type = "uint32"
  order = "CDAB"
`

func bitTag(name string, address, bit int, order string) string {
	return fmt.Sprintf("  [[device.tag]]\n  name = %q\n  address = \"holding:%d.%d\"\n  type = \"uint32\"\n  order = %q\n", name, address, bit, order)
}

// Every form of Modbus, against servers that are not ours.
func TestModbusInEveryForm(t *testing.T) {
	mostlyWaits(t)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p, url := f.start(t)
			bits := ""
			for _, b := range []int{2, 3, 16, 31} {
				bits += bitTag(fmt.Sprintf("w%d", b), 110, b, "ABCD")
			}
			for _, b := range []int{2, 16, 30, 31} {
				bits += bitTag(fmt.Sprintf("s%d", b), 112, b, "CDAB")
			}
			device := strings.Replace(peerDevice("plc", "x", "line", p.keys()), "modbus-tcp://x", url, 1)
			head, alarms, _ := strings.Cut(device, "  [[device.alarm]]")
			a := newAgent(t, plan{devices: head + wordTags + bits + "  [[device.alarm]]" + alarms}.toml(t))
			a.start()
			a.eventually(20*time.Second, "all tags are good", func() bool {
				d := a.device("plc")
				return d.State == "polling" && d.Link == "up" && d.Tags.Bad == 0 && d.Tags.Good > len(filled)
			})
			tags := a.tags("plc")
			for name, want := range filled {
				if got := tags[name]; got.Value != want || got.Quality != "good" {
					t.Errorf("%s = %v (%s), the server holds %v", name, got.Value, got.Quality, want)
				}
			}
			p.set("holding", 500, 7)
			a.eventually(15*time.Second, "the alarm is active", func() bool { return len(a.alarms("active")) == 1 })
			p.down()
			a.eventually(20*time.Second, "the loss is seen", func() bool { return a.device("plc").State == "retrying" })
			if q := a.tags("plc")["r0"].Quality; q == "good" {
				t.Error("a value of a dead PLC is good")
			}
			if n := len(a.alarms("active")); n != 1 {
				t.Errorf("%d alarms are active after the loss, want the one", n)
			}
			p.up()
			a.eventually(30*time.Second, "it is read again", func() bool {
				d := a.device("plc")
				return d.State == "polling" && d.Tags.Bad == 0 && d.Tags.Uncertain == 0
			})
		})
	}
}
