package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// OPCUANamespace is the namespace of the plant's nodes, index 1 of the server.
const OPCUANamespace = "urn:edgeagent:sim"

// OPCUAServer is a small OPC UA server with the machines of a plant: their
// values as variables that can be read, browsed and subscribed to, and never
// written. Policy None and anonymous users alone; no methods, no events.
//
// It stands on the codec of the library and nothing else of it: the library's
// own server brings four megabytes of standard nodes into the binary, forgets
// queue sizes and times of the source, and blocks on a client that does not read.
type OPCUAServer struct {
	ln    net.Listener
	space *uaSpace
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu       sync.Mutex
	channels map[*uaChannel]bool
	next     uint32 // of channels, sessions and subscriptions: unique is enough
	writes   int
	requests map[string]int // by service
	fault    OPCUAFault
	turned   chan struct{} // closed, and made anew, with each change of fault
}

// ListenOPCUA opens addr (host:port, port 0 for any) for the devices of a
// plant: Objects/Filler/Level is ns=1;s=Filler.Level. Nothing is accepted
// before Run.
func ListenOPCUA(addr string, plant *Plant) (*OPCUAServer, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr) // binding does not wait
	if err != nil {
		return nil, fmt.Errorf("open simulated OPC UA server on %s: %w", addr, err)
	}
	s := &OPCUAServer{
		ln: ln, space: newSpace(plant), done: make(chan struct{}), turned: make(chan struct{}),
		channels: map[*uaChannel]bool{}, requests: map[string]int{},
	}
	s.space.sample(time.Now())
	return s, nil
}

// Addr returns host:port as it was bound.
func (s *OPCUAServer) Addr() string { return s.ln.Addr().String() }

// URL returns the endpoint.
func (s *OPCUAServer) URL() string { return "opc.tcp://" + s.Addr() }

// Run serves until ctx ends or Close is called, and returns nil then. It looks
// at the plant every [Tick]. No connection or goroutine outlives it.
func (s *OPCUAServer) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	defer s.wg.Wait()
	s.wg.Go(s.publish)
	for {
		conn, err := s.ln.Accept()
		if err == nil {
			s.add(conn)
			continue
		}
		select {
		case <-s.done:
			return nil
		default:
			return errors.Join(fmt.Errorf("accept on simulated OPC UA server %s: %w", s.Addr(), err), s.Close())
		}
	}
}

func (s *OPCUAServer) add(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newUAChannel(s, conn)
	s.channels[c] = true
	s.wg.Go(func() {
		c.serve()
		s.mu.Lock()
		delete(s.channels, c)
		s.mu.Unlock()
	})
	select {
	case <-s.done: // Close came between Accept and here and has not seen this one
		_ = conn.Close()
	default:
	}
}

// publish samples the plant and tells subscribers, tick by tick.
func (s *OPCUAServer) publish() {
	t := time.NewTicker(Tick)
	defer t.Stop()
	for {
		select {
		case <-s.done:
			return
		case now := <-t.C:
			s.space.sample(now)
			for _, c := range s.all() {
				c.tick(now)
			}
		}
	}
}

// Close stops listening and cuts every connection. It may be called more than
// once.
func (s *OPCUAServer) Close() error {
	var err error
	s.once.Do(func() {
		close(s.done)
		err = s.ln.Close()
	})
	s.Disconnect()
	return err
}

// Disconnect cuts every connection and goes on listening; sessions and
// subscriptions end with their connection.
func (s *OPCUAServer) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.channels {
		_ = c.conn.Close()
	}
}

// Writes returns how many values clients have tried to write. They were refused
// and changed nothing.
func (s *OPCUAServer) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// number returns one that no other channel, session or subscription has.
func (s *OPCUAServer) number() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next
}
