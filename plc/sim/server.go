package sim

import (
	"context"
	"errors"
	"fmt"
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

// Server is a Modbus TCP server with one or several units behind it.
type Server struct {
	ln    net.Listener
	units map[uint8]*Device
	done  chan struct{} // closed by Close
	once  sync.Once
	wg    sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	faults   []Fault
	thawed   chan struct{} // nil unless frozen
	requests []Request     // ring, next to be overwritten at total % remembered
	total    int
	writes   int
	accepted int
}

var (
	errHangUp = errors.New("hang up")
	errClosed = errors.New("server closed")
)

// Listen opens addr (host:port, port 0 for any) for the given units. A request
// to a unit that is not there is answered with exception 11, as a gateway does.
// Nothing is accepted before Run.
func Listen(addr string, units map[uint8]*Device) (*Server, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr) // binding does not wait
	if err != nil {
		return nil, fmt.Errorf("open simulated PLC on %s: %w", addr, err)
	}
	return &Server{ln: ln, units: maps.Clone(units), done: make(chan struct{}), conns: map[net.Conn]bool{}}, nil
}

// Addr returns host:port as it was bound.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Run answers until ctx ends or Close is called, and returns nil then. No
// connection or goroutine outlives it.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	defer s.wg.Wait()
	for {
		conn, err := s.ln.Accept()
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

func (s *Server) add(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	s.conns[conn] = true
	s.wg.Go(func() {
		l := &link{server: s, conn: conn}
		l.serve()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	})
	select {
	case <-s.done: // Close came between Accept and here and has not seen this one
		_ = conn.Close()
	default:
	}
}

// Close stops listening and cuts every connection: the PLC is switched off.
// The port is free for another Listen then. It may be called more than once.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		close(s.done)
		err = s.ln.Close()
	})
	s.Disconnect()
	return err
}

// Disconnect cuts every connection and goes on listening.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
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

func (s *Server) waitThaw() error {
	s.mu.Lock()
	thawed := s.thawed
	s.mu.Unlock()
	if thawed == nil {
		return nil
	}
	select {
	case <-thawed:
		return nil
	case <-s.done:
		return errClosed
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

// Accepted returns how many connections have ever been accepted.
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
