//go:build linux

package modbus_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
)

// peersIn in the environment names the folder of libmodbus-server and
// libmodbus-client, as e2e/setup.sh builds them.
const peersIn = "MODBUS_BENCH_C_PEERS"

// benchReader in the environment is the port of the server that TestBenchReader
// shall read.
const benchReader = "MODBUS_BENCH_READ"

// TestBenchReader does what e2e/peers/libmodbus_client.c does, over the link and
// in a process of its own.
func TestBenchReader(t *testing.T) {
	port := os.Getenv(benchReader)
	if port == "" {
		return // nobody measures
	}
	l := modbus.New(modbus.Options{Addr: net.JoinHostPort("127.0.0.1", port), Timeout: 5 * time.Second})
	defer func() { _ = l.Close() }()
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		rounds, err := strconv.Atoi(input.Text())
		if err != nil {
			t.Fatal(err)
		}
		begin := cpuTime(t)
		for range rounds {
			readAll(t, l)
		}
		fmt.Println(int64(cpuTime(t) - begin))
	}
}

// readAll reads the 1,000 registers of the server, a function of their address.
func readAll(t *testing.T, l *modbus.Link) {
	for at := uint16(0); at < 1000; at += registers {
		got, err := l.Read(t.Context(), 1, plc.Request{Area: edgeagent.AreaHolding, Offset: at, Quantity: registers})
		if err != nil || len(got) != 2*registers {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if word := uint16(got[2])<<8 | uint16(got[3]); word != (at+1)*7+1 {
			t.Fatalf("register %d is %d", at+1, word)
		}
	}
}

// contender is a client in a process of its own that reads as it is told.
type contender struct {
	in   io.Writer
	out  *bufio.Reader
	cost []float64 // CPU of each turn, in nanoseconds
}

func (c *contender) turn(b *testing.B, rounds int) {
	b.Helper()
	fmt.Fprintln(c.in, rounds)
	line, err := c.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err != nil {
		b.Fatal(err)
	}
	c.cost = append(c.cost, ns)
}

// compete starts a process that ends with its standard input.
func compete(b *testing.B, env []string, argv ...string) *contender {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() })
	return &contender{in: in, out: bufio.NewReader(out)}
}

// freePort returns a port that nobody listens on.
func freePort(b *testing.B) string {
	b.Helper()
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	return port
}

// BenchmarkReadBesideC is the link against libmodbus' C client: CPU of 1,000
// registers at 125 a request, each a process of its own, turn and turn about on
// one libmodbus server.
func BenchmarkReadBesideC(b *testing.B) {
	peers := os.Getenv(peersIn)
	if _, err := os.Stat(filepath.Join(peers, "libmodbus-client")); err != nil || peers == "" {
		fmt.Printf("SKIPPED: %s: %s names no folder with libmodbus-client; e2e/setup.sh builds it\n", b.Name(), peersIn)
		b.SkipNow() // by itself silent without -v
	}
	port := freePort(b)
	server := compete(b, nil, filepath.Join(peers, "libmodbus-server"), port)
	if line, err := server.out.ReadString('\n'); err != nil || line != "ready\n" {
		b.Fatalf("the server says %q, %v", line, err)
	}
	c := compete(b, nil, filepath.Join(peers, "libmodbus-client"), port)
	link := compete(b, []string{benchReader + "=" + port}, os.Args[0], "-test.run=^TestBenchReader$")
	const rounds = 50 // the kernel counts CPU in ticks on some machines
	link.turn(b, rounds)
	link.cost = nil // it has dialled and filled its caches
	for b.Loop() {
		c.turn(b, rounds)
		link.turn(b, rounds)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(link.cost)/rounds/1e3, "us-CPU/1000-registers")
	b.ReportMetric(median(c.cost)/rounds/1e3, "us-CPU-libmodbus/1000-registers")
	b.ReportMetric(median(link.cost)/median(c.cost), "x-CPU-libmodbus")
}
