package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// chaos is a TCP proxy with a switch: it passes, cuts, refuses, or swallows
// what comes, as a black hole does.
type chaos struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	mode  chaosMode
	conns map[net.Conn]bool
}

type chaosMode int

const (
	chaosPass chaosMode = iota
	chaosCut            // ends every connection, accepts and ends new ones
	chaosHole           // connections stand, nothing passes either way
)

func newChaos(t *testing.T, target string) *chaos {
	t.Helper()
	c := &chaos{listener: listenLoopback(t), target: target, conns: map[net.Conn]bool{}}
	go c.accept()
	t.Cleanup(func() { c.listener.Close(); c.set(chaosCut) })
	return c
}

func (c *chaos) addr() string { return c.listener.Addr().String() }

// set turns the switch. Nothing of what was swallowed is sent later: a hole
// that ends finds connections that do not recover, so they are ended.
func (c *chaos) set(m chaosMode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.mode
	c.mode = m
	if m == chaosCut || was == chaosHole {
		for conn := range c.conns {
			conn.Close()
		}
	}
}

func (c *chaos) now() chaosMode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mode
}

func (c *chaos) accept() {
	for {
		in, err := c.listener.Accept()
		if err != nil {
			return
		}
		if c.now() == chaosCut {
			in.Close()
			continue
		}
		go c.pass(in)
	}
}

func (c *chaos) pass(in net.Conn) {
	out, err := net.Dial("tcp", c.target)
	if err != nil {
		in.Close()
		return
	}
	c.mu.Lock()
	if c.mode == chaosCut { // meanwhile: who cuts must not miss one that is being made
		in.Close()
		out.Close()
	}
	c.conns[in], c.conns[out] = true, true
	c.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.copy(out, in); out.Close() })
	both.Go(func() { c.copy(in, out); in.Close() })
	both.Wait()
	c.mu.Lock()
	delete(c.conns, in)
	delete(c.conns, out)
	c.mu.Unlock()
}

func (c *chaos) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if c.now() == chaosHole {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
