package sim

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"time"

	"edgeagent"
)

// link is one connection of a client, or the serial line.
type link struct {
	server *Server
	conn   io.ReadWriteCloser
	in     *bufio.Reader
	ended  chan struct{} // closed by cut
	once   sync.Once

	last []byte // the answer before, as it was sent

	mu     sync.Mutex // guards writing and what follows
	before []byte     // goes out with the next answer
	again  []byte     // an answer that is to be repeated
}

func newLink(s *Server, conn io.ReadWriteCloser) *link {
	return &link{server: s, conn: conn, in: bufio.NewReader(conn), ended: make(chan struct{})}
}

// cut ends the link, from any goroutine.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.ended)
		_ = l.conn.Close()
	})
}

// serve answers requests one at a time until the connection ends. Errors end
// it without a word: clients of a test hang up in every possible way.
func (l *link) serve() {
	defer l.cut()
	if l.waitThaw() != nil {
		return
	}
	for {
		if l.handOver(false) != nil {
			return
		}
		req, err := l.server.framing.read(l.in)
		if err != nil || l.waitThaw() != nil || l.handOver(true) != nil {
			return
		}
		l.meet()
		fault := l.server.record(req)
		pdu := l.server.reply(req)
		if pdu == nil {
			continue
		}
		deliver, known := deliveries[fault.Kind]
		if !known || deliver(l, fault, req, pdu) != nil {
			return
		}
		l.last = l.server.framing.answer(req, pdu)
	}
}

// reply returns the honest answer to a request, nil where there is none: a
// gateway of Modbus TCP tells of a unit that is not there, a line is silent.
func (s *Server) reply(req frame) []byte {
	function := req.pdu[0]
	device, known := s.units[req.unit]
	switch {
	case !known && s.transport.Serial():
		return nil
	case !known:
		return exception(function, exceptionTarget)
	case function < 1 || function > 4:
		return exception(function, exceptionFunction)
	case len(req.pdu) != 5:
		return exception(function, exceptionValue)
	}
	r := req.request()
	data, code := device.read(edgeagent.Area(function), r.Address, r.Quantity)
	if code != 0 {
		return exception(function, code)
	}
	return append([]byte{function, byte(len(data))}, data...)
}

func exception(function, code byte) []byte { return []byte{function | 0x80, code} }

// writes reports whether a function code changes something in a device.
func writes(function byte) bool {
	switch function {
	case 5, 6, 15, 16, 21, 22, 23:
		return true
	default:
		return false
	}
}

func (l *link) send(req frame, pdu []byte) error { return l.write(l.server.framing.answer(req, pdu)) }

func (l *link) write(raw []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(raw)
}

// put writes, with the lock held.
func (l *link) put(raw []byte) error {
	raw = append(l.before, raw...)
	l.before = nil
	if _, err := l.conn.Write(raw); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// meet takes note of a request: what is to be repeated waits for its answer.
func (l *link) meet() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before, l.again = append(l.before, l.again...), nil
}

// repeat sends what is to be repeated, unless a request came first.
func (l *link) repeat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	raw := l.again
	l.again = nil
	if raw != nil {
		_ = l.put(raw) // the client may be gone
	}
}

// wait returns after d, or at once with an error when the link has ended.
func (l *link) wait(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-l.ended:
		return errClosed
	case <-l.server.done:
		return errClosed
	}
}

// waitEnd returns when the link has ended.
func (l *link) waitEnd() error {
	select {
	case <-l.ended:
	case <-l.server.done:
	}
	return errClosed
}

func (l *link) waitThaw() error {
	l.server.mu.Lock()
	thawed := l.server.thawed
	l.server.mu.Unlock()
	if thawed == nil {
		return nil
	}
	select {
	case <-thawed:
		return nil
	case <-l.ended:
		return errClosed
	case <-l.server.done:
		return errClosed
	}
}

// handOver delivers the answer that a gateway still waits for, on whichever
// connection there is now, before anything that was asked later: the bus behind
// it does one thing at a time. What was asked on this very connection waits for
// the next request on it, own says that there is one, or for another connection.
func (l *link) handOver(own bool) error {
	l.server.mu.Lock()
	late := l.server.late
	if late == nil || late.from == l && !own {
		l.server.mu.Unlock()
		return nil
	}
	l.server.late = nil
	l.server.mu.Unlock()
	if err := l.wait(time.Until(late.due)); err != nil {
		return err
	}
	return l.write(late.raw)
}
