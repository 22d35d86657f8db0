package status

import (
	"errors"
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
		return nil, passing(err)
	}
	dropDeadPeers(conn)
	return &cappedConn{Conn: conn, release: func() { <-l.slots }}, nil
}

// passing makes every error of a listener that is still open one that the server
// waits out: a kernel that is short of memory for a moment, or a network that
// went down between, must not cost a gateway its page until somebody restarts it.
func passing(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return passingError{err}
}

type passingError struct{ error }

func (e passingError) Unwrap() error { return e.error }

// Timeout reports false: nobody waited for too long.
func (passingError) Timeout() bool { return false }

// Temporary reports true, which is what the server of net/http asks.
func (passingError) Temporary() bool { return true }

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
