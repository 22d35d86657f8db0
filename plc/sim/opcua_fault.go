package sim

import (
	"fmt"
	"maps"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// OPCUAFault is one way in which an OPC UA server, or what lies between, goes wrong.
type OPCUAFault string

// The faults. All but the two that are over at once last until the next call of
// [OPCUAServer.Behave].
const (
	OPCUAHealthy  OPCUAFault = ""
	OPCUAFreeze   OPCUAFault = "freeze"    // a stopped process: accepts, and neither reads nor writes
	OPCUAHalfOpen OPCUAFault = "half_open" // the connections that stand carry nothing any more; new ones are served
	OPCUAFlap     OPCUAFault = "flap"      // hangs up on whoever was just told something
	OPCUAMute     OPCUAFault = "mute"      // answers every question, tells nothing
	OPCUASlow     OPCUAFault = "slow"      // answers every question late, by 50 ms
	OPCUAHalt     OPCUAFault = "halt"      // says that it shuts down, and goes on
	OPCUALose     OPCUAFault = "lose"      // once: the next notification never arrives
	OPCUAEnd      OPCUAFault = "end"       // once: the next notification ends its subscription
)

// uaSlow is well below what a client waits for, and above what it is used to.
const uaSlow = 50 * time.Millisecond

// Behave makes the server have a fault from now on, in place of the one before. A
// connection that was half-open is cut when it is not any more.
func (s *OPCUAServer) Behave(f OPCUAFault) {
	s.space.halt(f == OPCUAHalt)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	for c := range s.channels {
		if c.cold {
			_ = c.conn.Close()
		}
		c.cold = f == OPCUAHalfOpen
	}
	close(s.turned)
	s.turned = make(chan struct{})
}

// spend reports whether a fault that is over at once is to be played now.
func (s *OPCUAServer) spend(f OPCUAFault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != f {
		return false
	}
	s.fault = OPCUAHealthy
	return true
}

// stuck reports whether a connection carries nothing now, and until when.
func (s *OPCUAServer) stuck(c *uaChannel) (until <-chan struct{}, stuck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turned, s.fault == OPCUAFreeze || c.cold
}

func (s *OPCUAServer) has(f OPCUAFault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault == f
}

// hold keeps a request as long as the server's fault does. It returns false if the
// server was closed meanwhile.
func (s *OPCUAServer) hold(c *uaChannel) bool {
	if s.has(OPCUASlow) {
		late := time.NewTimer(uaSlow)
		defer late.Stop()
		select {
		case <-late.C:
		case <-s.done:
			return false
		}
	}
	for {
		until, stuck := s.stuck(c)
		if !stuck {
			return true
		}
		select {
		case <-until:
		case <-s.done:
			return false
		}
	}
}

// Show gives a variable a value of its own in place of what the machine has, or no
// value but a bad status; one that is not there yet is made, under Objects. Whoever
// is subscribed to it is told of each value, however soon the next one comes. The
// node is "ns=1;s=…"; the value is a plain one, as a Variant takes it.
func (s *OPCUAServer) Show(node string, value any, status ua.StatusCode) error {
	nodeID, err := ua.ParseNodeID(node)
	if err != nil {
		return fmt.Errorf("show a value at %q: %w", node, err)
	}
	s.space.show(nodeID, value, status, time.Now())
	s.look()
	return nil
}

// Delete takes a node away, as a download to the PLC does. Whoever is subscribed
// to it is told so.
func (s *OPCUAServer) Delete(node string) error {
	nodeID, err := ua.ParseNodeID(node)
	if err != nil {
		return fmt.Errorf("delete %q: %w", node, err)
	}
	s.space.remove(nodeID, time.Now())
	s.look()
	return nil
}

// look puts what has changed into the queues of all subscriptions.
func (s *OPCUAServer) look() {
	for _, c := range s.all() {
		c.mu.Lock()
		if c.session != nil {
			for _, sub := range c.session.subscriptions {
				s.space.collect(sub)
			}
		}
		c.mu.Unlock()
	}
}

func (s *OPCUAServer) all() []*uaChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	channels := make([]*uaChannel, 0, len(s.channels))
	for c := range s.channels {
		channels = append(channels, c)
	}
	return channels
}

// Requests returns how many requests of each service have come, by the name of
// their message: "ReadRequest".
func (s *OPCUAServer) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

func (s *OPCUAServer) count(req ua.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[serviceName(req)]++
}

func (s *uaSpace) halt(halted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = int32(ua.ServerStateRunning)
	if halted {
		s.state = int32(ua.ServerStateShutdown)
	}
}

func (s *uaSpace) show(nodeID *ua.NodeID, value any, status ua.StatusCode, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(nodeID)
	if n == nil {
		objects := s.nodes[ua.NewNumericNodeID(0, id.ObjectsFolder).String()]
		n = s.add(objects, nodeID, nodeID.StringID(), id.BaseDataVariableType, func() any { return value })
		s.sampled = append(s.sampled, n)
	}
	n.read, n.value, n.status, n.source = func() any { return value }, value, status, now
}

func (s *uaSpace) remove(nodeID *ua.NodeID, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.node(nodeID); n != nil {
		delete(s.nodes, nodeID.String())
		n.status, n.source = ua.StatusBadNodeIDUnknown, now
	}
}
