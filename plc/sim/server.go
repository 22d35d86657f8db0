package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"time"
)

// remembered is how many requests the server can tell about.
const remembered = 4096

// Request is one request as it arrived, whether it was answered or not.
type Request struct {
	At       time.Time
	Unit     uint8
	Function byte   // 1 to 4 read; anything else was refused
	Address  uint16 // zero-based
	Quantity uint16 // of registers or bits
}

// Transport is how a server is reached.
type Transport string

// The transports of Modbus.
const (
	TCP        Transport = "tcp"
	TLS        Transport = "tls"     // Modbus/TCP Security
	RTUOverTCP Transport = "rtu-tcp" // a gateway that passes the frames of its line through
	Serial     Transport = "serial"
)

// Serial reports whether the frames are those of a serial line, which have no
// transaction number.
func (t Transport) Serial() bool { return t == RTUOverTCP || t == Serial }

// source is where connections come from.
type source interface {
	accept() (io.ReadWriteCloser, error)
	address() string
	close() error
}

// network is a listening socket, with or without TLS.
type network struct{ net.Listener }

func (n network) accept() (io.ReadWriteCloser, error) { return n.Accept() }
func (n network) address() string                     { return n.Addr().String() }
func (n network) close() error                        { return n.Close() }

// Server answers Modbus requests to one or several units behind it.
type Server struct {
	source    source
	transport Transport
	framing   framing
	units     map[uint8]*Device
	done      chan struct{} // closed by Close
	once      sync.Once
	wg        sync.WaitGroup

	mu       sync.Mutex
	links    map[*link]bool
	faults   []Fault
	thawed   chan struct{} // nil unless frozen
	late     *parcel       // an answer that goes to the next connection
	held     []byte        // of AlwaysPrevious: the answer to the request before
	requests []Request     // ring, next to be overwritten at total % remembered
	total    int
	writes   int
	accepted int
}

// parcel is an answer that is not due yet.
type parcel struct {
	from *link
	raw  []byte
	due  time.Time
}

var (
	errHangUp = errors.New("hang up")
	errClosed = errors.New("server closed")
)

// Listen opens addr (host:port, port 0 for any) for the given units, in Modbus
// TCP. A request to a unit that is not there is answered with exception 11, as
// a gateway does. Nothing is accepted before Run.
func Listen(addr string, units map[uint8]*Device) (*Server, error) {
	return listen(addr, TCP, units)
}

// ListenTLS is [Listen] with Modbus/TCP Security: conf has the server's
// certificate and says whether clients must have one.
func ListenTLS(addr string, conf *tls.Config, units map[uint8]*Device) (*Server, error) {
	s, err := listen(addr, TLS, units)
	if err != nil {
		return nil, err
	}
	s.source = network{tls.NewListener(s.source.(network).Listener, conf)}
	return s, nil
}

// ListenRTU is [Listen] with the frames of a serial line, as a transparent
// gateway has them. A unit that is not there stays silent.
func ListenRTU(addr string, units map[uint8]*Device) (*Server, error) {
	return listen(addr, RTUOverTCP, units)
}

func listen(addr string, t Transport, units map[uint8]*Device) (*Server, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr) // binding does not wait
	if err != nil {
		return nil, fmt.Errorf("open simulated PLC on %s: %w", addr, err)
	}
	return newServer(network{ln}, t, units), nil
}

func newServer(from source, t Transport, units map[uint8]*Device) *Server {
	var f framing = mbap{}
	if t.Serial() {
		f = rtu{}
	}
	return &Server{
		source: from, transport: t, framing: f, units: maps.Clone(units),
		done: make(chan struct{}), links: map[*link]bool{},
	}
}

// Addr returns host:port as it was bound, or the path of the serial line.
func (s *Server) Addr() string { return s.source.address() }

// Transport returns how the server is reached.
func (s *Server) Transport() Transport { return s.transport }

// Run answers until ctx ends or Close is called, and returns nil then; an error
// when the serial line is gone. No connection or goroutine outlives it.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	defer s.wg.Wait()
	for {
		conn, err := s.source.accept()
		if err != nil {
			return s.ended(err)
		}
		s.add(conn)
	}
}

func (s *Server) ended(err error) error {
	select {
	case <-s.done:
		return nil
	default:
		_ = s.Close()
		return fmt.Errorf("accept on simulated PLC %s: %w", s.Addr(), err)
	}
}

func (s *Server) add(conn io.ReadWriteCloser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	l := newLink(s, conn)
	s.links[l] = true
	s.wg.Go(func() {
		l.serve()
		s.mu.Lock()
		delete(s.links, l)
		s.mu.Unlock()
	})
	select {
	case <-s.done: // Close came between accept and here and has not seen this one
		l.cut()
	default:
	}
}

// Close stops listening and cuts every connection: the PLC is switched off, or
// its adapter pulled. The port is free for another Listen then. It may be called more than once.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		close(s.done)
		err = s.source.close()
	})
	s.Disconnect()
	return err
}

// Disconnect cuts every connection and goes on listening; behind a pty the
// adapter is pulled and plugged in again.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		l.cut()
	}
}

// Freeze stops the server as SIGSTOP would: the kernel still accepts
// connections and takes bytes, nothing is read or answered.
func (s *Server) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.thawed == nil {
		s.thawed = make(chan struct{})
	}
}

// Resume lets a frozen server go on; it first answers all that has waited.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.thawed != nil {
		close(s.thawed)
		s.thawed = nil
	}
}

// Requests returns the requests of all units, oldest first, 4096 at most.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total <= remembered {
		return append([]Request(nil), s.requests...)
	}
	at := s.total % remembered
	return append(append([]Request(nil), s.requests[at:]...), s.requests[:at]...)
}

// RequestCount returns how many requests have ever arrived.
func (s *Server) RequestCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Writes returns how many requests tried to write. They were refused with
// exception 1 and changed nothing.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Accepted returns how many connections have ever been accepted; of a serial
// line, how often it was opened at this end.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// record books a request and returns the fault that it meets.
func (s *Server) record(req frame) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := req.request()
	if len(s.requests) < remembered {
		s.requests = append(s.requests, r)
	} else {
		s.requests[s.total%remembered] = r
	}
	s.total++
	if writes(r.Function) {
		s.writes++
	}
	return s.nextFault(req.unit)
}
