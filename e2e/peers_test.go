package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peer is a Modbus TCP server of another implementation, behind a tap.
type peer struct {
	t    *testing.T
	name string
	argv []string
	addr string // of the server itself
	tap  *tap
	line *serialLine // instead of addr and tap
	pki  string      // folder of the certificates, when TLS stands before it
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

func startLibmodbus(t *testing.T) *peer {
	t.Helper()
	needsProgram(t, "out/libmodbus-server")
	port := freePort(t)
	return startPeer(t, "libmodbus", port, "out/libmodbus-server", port)
}

func startPymodbus(t *testing.T) *peer {
	t.Helper()
	needsPymodbus(t)
	port := freePort(t)
	return startPeer(t, "pymodbus", port, "/usr/bin/python3", "peers/pymodbus_server.py", port)
}

func startPeer(t *testing.T, name, port string, argv ...string) *peer {
	t.Helper()
	p := &peer{t: t, name: name, argv: argv, addr: "127.0.0.1:" + port}
	p.up()
	p.tap = newTap(t, listenLoopback(t), p.addr)
	t.Cleanup(p.down)
	return p
}

// up starts the server's process and waits until it accepts.
func (p *peer) up() {
	p.t.Helper()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	p.cmd, p.in, p.out = cmd, in, bufio.NewScanner(out)
	if !p.out.Scan() || p.out.Text() != "ready" {
		p.t.Fatalf("%s did not become ready", p.name)
	}
	if p.addr == "" { // on a serial line
		return
	}
	eventually(p.t, 15*time.Second, p.name+" accepts", func() bool {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// down ends the server's process: the PLC loses its power.
func (p *peer) down() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
	if p.tap != nil {
		p.tap.hangUp()
	}
}

// set writes into the server's image from the server's own side.
func (p *peer) set(area string, address, value int) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, "%s %d %d\n", area, address, value); err != nil {
		p.t.Fatalf("set %s: %v", p.name, err)
	}
	if !p.out.Scan() || p.out.Text() != "ok" {
		p.t.Fatalf("%s did not take %s %d", p.name, area, address)
	}
}

// mbpoll reads registers with a client of another implementation.
func (p *peer) mbpoll(kind string, address, count int) []int {
	p.t.Helper()
	needsProgram(p.t, "/usr/bin/mbpoll")
	host, port, _ := net.SplitHostPort(p.addr)
	out, err := exec.Command("/usr/bin/mbpoll", "-m", "tcp", "-p", port, "-0", "-1", "-q",
		"-t", kind, "-r", strconv.Itoa(address), "-c", strconv.Itoa(count), host).Output()
	if err != nil {
		p.t.Fatalf("mbpoll %s: %v\n%s", p.name, err, out)
	}
	var values []int
	for _, line := range strings.Split(string(out), "\n") {
		_, text, found := strings.Cut(line, "]:")
		if !found {
			continue
		}
		v, err := strconv.Atoi(strings.Fields(text)[0])
		if err != nil {
			p.t.Fatalf("mbpoll %s: %q", p.name, line)
		}
		values = append(values, v)
	}
	if len(values) != count {
		p.t.Fatalf("mbpoll %s: %d values, want %d\n%s", p.name, len(values), count, out)
	}
	return values
}
