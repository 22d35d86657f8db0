package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
)

// wire is every request that any agent of this run sent to any PLC.
var wire struct {
	sync.Mutex
	functions map[byte]int
	malformed int
}

func record(frame []byte) {
	wire.Lock()
	defer wire.Unlock()
	if wire.functions == nil {
		wire.functions = map[byte]int{}
	}
	if len(frame) < 8 || binary.BigEndian.Uint16(frame[2:]) != 0 {
		wire.malformed++
		return
	}
	wire.functions[frame[7]]++
}

// wireVerdict fails the whole run when anything but a read was ever sent.
func wireVerdict() int {
	wire.Lock()
	defer wire.Unlock()
	code := 0
	for f := range wire.functions {
		if f < 1 || f > 4 {
			code = 1
		}
	}
	if wire.malformed > 0 {
		code = 1
	}
	if len(wire.functions) > 0 || code != 0 {
		fmt.Fprintf(os.Stderr, "e2e: requests on the wire by function code: %v, malformed: %d\n", wire.functions, wire.malformed)
	}
	return code
}

// tap stands between the agent and a PLC and records what is asked. It splits
// the stream into frames, so that a request hidden behind another is seen too.
type tap struct {
	listener net.Listener
	target   string

	mu       sync.Mutex
	requests int
	shut     bool // nobody gets through: the PLC is not what it will be yet
	conns    map[net.Conn]bool
}

func newTap(t *testing.T, l net.Listener, target string) *tap {
	t.Helper()
	p := &tap{listener: l, target: target, conns: map[net.Conn]bool{}}
	go p.accept()
	t.Cleanup(func() { p.listener.Close(); p.hangUp() })
	return p
}

func listenLoopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (p *tap) addr() string { return p.listener.Addr().String() }

// count returns how many requests have passed.
func (p *tap) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// hangUp ends every connection, as a PLC that loses its power does.
func (p *tap) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// let lets nobody through, or everybody again.
func (p *tap) let(through bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = !through
}

func (p *tap) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.requests++ // a connection is a packet too
		p.conns[in] = true
		shut := p.shut
		p.mu.Unlock()
		if shut {
			in.Close()
			continue
		}
		go p.pass(in)
	}
}

func (p *tap) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer out.Close()
	go func() { _, _ = io.Copy(in, out); in.Close() }()
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		record(frame)
		p.mu.Lock()
		p.requests++
		p.mu.Unlock()
		if _, err := out.Write(frame); err != nil {
			return
		}
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	head := make([]byte, 7)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[4:])) - 1
	if n < 1 || n > 254 {
		record(nil)
		return nil, fmt.Errorf("length %d", n)
	}
	frame := append(head, make([]byte, n)...)
	_, err := io.ReadFull(r, frame[7:])
	return frame, err
}
