package status

import (
	"net"
	"sync"
)

// cappedListener accepts no more than a number of connections at a time. The
// next ones wait in the kernel's queue, where they cost nothing.
type cappedListener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
}

func newCappedListener(l net.Listener, most int) *cappedListener {
	return &cappedListener{Listener: l, slots: make(chan struct{}, most), done: make(chan struct{})}
}

// Accept waits for a free slot, then for a connection.
func (l *cappedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	dropDeadPeers(conn)
	return &cappedConn{Conn: conn, release: func() { <-l.slots }}, nil
}

// Close closes the listener and wakes an Accept that waits for a slot.
func (l *cappedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type cappedConn struct {
	net.Conn
	release func()
	once    sync.Once
}

// Close closes the connection and frees its slot.
func (c *cappedConn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}
