//go:build linux

package modbus_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pdu "github.com/goburrow/modbus"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/plc/sim"
)

// peerRole in the environment makes TestBenchPeer the PLC of a benchmark.
const peerRole = "MODBUS_BENCH_PEER"

// TestBenchPeer is the simulated device in a process of its own, so that the
// CPU time of a benchmark's process is the client's alone. It ends with its
// standard input.
func TestBenchPeer(t *testing.T) {
	if os.Getenv(peerRole) == "" {
		return // nobody measures
	}
	server, err := sim.Listen("127.0.0.1:0", map[uint8]*sim.Device{1: image()})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening", server.Addr())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); _ = server.Close() }()
	if err := server.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// startPeer returns the address of a simulated device that lives as long as the
// benchmark.
func startPeer(b *testing.B) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestBenchPeer$")
	cmd.Env = append(os.Environ(), peerRole+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = stdin.Close(); _, _ = io.Copy(io.Discard, stdout); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(line), "listening ")
}

// A scan is 40 requests of 125 registers: one request is too short to time.
const (
	requests  = 40
	registers = 125
)

// scanner reads the registers of one scan.
type scanner struct {
	name string
	read func(offset uint16) ([]byte, error)
	cost []float64 // CPU of each scan, in nanoseconds
	took []float64
}

func (s *scanner) scan(b *testing.B) {
	cpu, begin := cpuTime(b), time.Now()
	for i := range uint16(requests) {
		if got, err := s.read(i * registers); err != nil || len(got) != 2*registers {
			b.Fatalf("%s: %d bytes, %v", s.name, len(got), err)
		}
	}
	s.cost = append(s.cost, float64(cpuTime(b)-cpu))
	s.took = append(s.took, float64(time.Since(begin)))
}

// cpuTime is what this process has used so far, in user and kernel mode.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

// linkScanner reads as the agent does.
func linkScanner(b *testing.B, addr string) *scanner {
	l := modbus.New(modbus.Options{Addr: addr, Timeout: 5 * time.Second})
	b.Cleanup(func() { _ = l.Close() })
	return &scanner{name: "link", read: func(offset uint16) ([]byte, error) {
		return l.Read(b.Context(), 1, plc.Request{Area: edgeagent.AreaHolding, Offset: offset, Quantity: registers})
	}}
}

// libraryScanner reads with goburrow's own transport, which checks little and
// never resynchronises: what the link's care costs is the difference.
func libraryScanner(b *testing.B, addr string) *scanner {
	h := pdu.NewTCPClientHandler(addr)
	h.Timeout, h.SlaveId = 5*time.Second, 1
	b.Cleanup(func() { _ = h.Close() })
	c := pdu.NewClient(h)
	return &scanner{name: "goburrow", read: func(offset uint16) ([]byte, error) {
		return c.ReadHoldingRegisters(offset, registers)
	}}
}

// floorScanner is the least that can be done: one write and one read a request.
func floorScanner(b *testing.B, addr string) *scanner {
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	request := []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, registers}
	answer := make([]byte, 9+2*registers)
	return &scanner{name: "floor", read: func(offset uint16) ([]byte, error) {
		binary.BigEndian.PutUint16(request[8:], offset)
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		_, err := io.ReadFull(conn, answer)
		return answer[9:], err
	}}
}

// BenchmarkRead is the link against goburrow's client and against bare socket
// calls, turn and turn about on one simulated device.
func BenchmarkRead(b *testing.B) {
	addr := startPeer(b)
	link, library, floor := linkScanner(b, addr), libraryScanner(b, addr), floorScanner(b, addr)
	for b.Loop() {
		for _, s := range []*scanner{link, library, floor} {
			s.scan(b)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(link.cost)/1e3/(requests*registers/1000), "us-CPU/1000-registers")
	b.ReportMetric(median(link.cost)/median(library.cost), "x-CPU-goburrow")
	b.ReportMetric(median(link.cost)/median(floor.cost), "x-CPU-bare-sockets")
	b.ReportMetric(median(link.took)/median(library.took), "x-time-goburrow")
}
