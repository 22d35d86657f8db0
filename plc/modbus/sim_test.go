package modbus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/plc/plctest"
	"edgeagent/plc/sim"
)

// patience is the timeout of links under test.
const patience = 400 * time.Millisecond

// simulated is a simulated device as a peer of the suite.
type simulated struct {
	t      *testing.T
	addr   string
	device *sim.Device
	server *sim.Server
	wait   func()
}

func simulate(t *testing.T) *simulated {
	t.Helper()
	s := &simulated{t: t, addr: plctest.Address(t), device: image()}
	s.listen()
	t.Cleanup(s.close)
	return s
}

// holds is what every address of the image holds.
func holds(area edgeagent.Area, address uint16) uint16 {
	v := address*7 ^ uint16(area)<<12
	if area.Bits() {
		return (v>>3 ^ v) & 1
	}
	return v
}

// image holds every register and the first 2048 bits.
func image() *sim.Device {
	d := sim.NewDevice()
	for area, set := range map[edgeagent.Area]func(uint16, ...uint16){edgeagent.AreaHolding: d.SetHolding, edgeagent.AreaInput: d.SetInput} {
		words := make([]uint16, 1<<16)
		for a := range words {
			words[a] = holds(area, uint16(a))
		}
		set(0, words...)
	}
	for a := range uint16(2048) {
		d.SetCoil(a, holds(edgeagent.AreaCoil, a) == 1)
		d.SetDiscrete(a, holds(edgeagent.AreaDiscrete, a) == 1)
	}
	return d
}

func (s *simulated) Holds(area edgeagent.Area, address uint16) uint16 { return holds(area, address) }

func (s *simulated) listen() {
	s.t.Helper()
	server, err := sim.Listen(s.addr, map[uint8]*sim.Device{1: s.device})
	if err != nil {
		s.t.Fatal(err)
	}
	s.server, s.addr = server, server.Addr()
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
	s.wait = running.Wait
}

func (s *simulated) close() {
	if s.server == nil {
		return
	}
	if err := s.server.Close(); err != nil {
		s.t.Error(err)
	}
	s.wait()
	s.server = nil
}

var faults = map[plctest.Behaviour]sim.Fault{
	plctest.Refusing:  {Kind: sim.ExceptionReply, Code: 2, Count: -1},
	plctest.Busy:      {Kind: sim.ExceptionReply, Code: 6, Count: -1},
	plctest.Silent:    {Kind: sim.Silent, Count: -1},
	plctest.Lying:     {Kind: sim.Short, Count: -1},
	plctest.HangingUp: {Kind: sim.Close, Count: -1},
}

func (s *simulated) Behave(b plctest.Behaviour) bool {
	if b == plctest.Gone {
		s.close()
		return true
	}
	if s.server == nil {
		s.listen()
	}
	s.server.ClearFaults()
	if f, faulty := faults[b]; faulty {
		s.server.Fault(f)
	}
	return true
}

func TestConformance(t *testing.T) {
	plctest.Run(t, func(t *testing.T) (plc.Driver, plctest.Peer) {
		s := simulate(t)
		l := modbus.New(modbus.Options{Addr: s.addr, Timeout: patience})
		t.Cleanup(func() { _ = l.Close() })
		return l, s
	})
}

// line is a connection to a simulated device with its scans.
type line struct {
	*simulated
	inbox *plc.Inbox
	conn  *plc.Connection
}

// read starts a connection that scans 40 tags, in two requests, and retries
// after 10 ms first.
func read(t *testing.T, s *simulated) *line {
	t.Helper()
	spec := plc.DeviceSpec{
		Name: "filler", Unit: 1, Scan: 10 * time.Millisecond, Timeout: patience, Enabled: true, MaxGap: 16,
		Retry: retry.Backoff{First: 10 * time.Millisecond, Max: 160 * time.Millisecond},
	}
	for i := range 40 {
		a := uint16(100 + 10*i)
		if i >= 20 {
			a += 1000
		}
		spec.Tags = append(spec.Tags, word(a))
	}
	l := &line{simulated: s, inbox: plc.NewInbox()}
	link := modbus.New(modbus.Options{Addr: s.addr, Timeout: patience})
	l.conn = plc.NewConnection(link, []plc.DeviceSpec{spec}, plc.Options{Deliver: l.inbox.Put})
	runs(t, l.conn)
	return l
}

// runs runs a connection until the test ends.
func runs(t *testing.T, conn *plc.Connection) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := conn.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
}

// word is a register that is named after its address.
func word(a uint16) plc.TagSpec {
	return plc.TagSpec{
		Tag:  edgeagent.Tag{Name: fmt.Sprint("t", a), Type: edgeagent.TypeUint16},
		Addr: edgeagent.Address{Area: edgeagent.AreaHolding, Offset: a, Bit: -1},
	}
}

// next returns the next scan, after it has held every good sample against the
// oracle.
func (l *line) next(t *testing.T) edgeagent.Scan {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := l.inbox.Next(ctx)
	if err != nil {
		t.Fatalf("no scan: %v", err)
	}
	for _, sample := range s.Samples {
		var a uint16
		if _, err := fmt.Sscanf(sample.Tag, "t%d", &a); err != nil {
			t.Fatal(err)
		}
		if want := edgeagent.Uint(uint64(holds(edgeagent.AreaHolding, a))); sample.Quality == edgeagent.QualityGood && !sample.Value.Equal(want) {
			t.Fatalf("%s = %v with quality good, want %v", sample.Tag, sample.Value, want)
		}
	}
	return s
}

// healthy waits for a scan in which every tag is good.
func (l *line) healthy(t *testing.T) {
	t.Helper()
	for range 1000 {
		s := l.next(t)
		good := func(s edgeagent.Sample) bool { return s.Quality == edgeagent.QualityGood }
		if s.Err == nil && len(s.Samples) == 40 && !slices.ContainsFunc(s.Samples, func(s edgeagent.Sample) bool { return !good(s) }) {
			return
		}
	}
	t.Fatalf("not healthy again after 1000 scans: %+v", l.conn.Status())
}

// TestEveryFaultIsGotOver plays each fault three times to a line that reads:
// no wrong value ever looks good, and reading goes on without a stop.
func TestEveryFaultIsGotOver(t *testing.T) {
	for _, f := range []sim.Fault{
		{Kind: sim.Late, Delay: patience + 50*time.Millisecond}, {Kind: sim.Duplicate}, {Kind: sim.Short}, {Kind: sim.Long}, {Kind: sim.ZeroCount},
		{Kind: sim.WrongTransaction}, {Kind: sim.WrongUnit}, {Kind: sim.WrongFunction},
		{Kind: sim.Close}, {Kind: sim.HalfFrame}, {Kind: sim.Silent}, {Kind: sim.Trickle, Delay: 50 * time.Millisecond},
		{Kind: sim.BadLength}, {Kind: sim.ZeroLength},
		{Kind: sim.ExceptionReply, Code: 4}, {Kind: sim.ExceptionReply, Code: 6}, {Kind: sim.ExceptionReply, Code: 11},
	} {
		t.Run(fmt.Sprint(f.Kind, f.Code), func(t *testing.T) {
			t.Parallel()
			l := read(t, simulate(t))
			for range 3 {
				l.healthy(t)
				asked := l.server.RequestCount()
				l.server.Fault(f)
				for l.server.RequestCount() <= asked {
					l.next(t)
				}
				l.healthy(t)
			}
			if s := l.conn.Status()[0]; s.State != edgeagent.DevicePolling || l.server.Writes() != 0 {
				t.Errorf("status = %+v, %d writes; want polling and no writes", s, l.server.Writes())
			}
		})
	}
}

// TestSwitchedOffAndOn takes the PLC away until the device stops, and gives it
// back to a person who resumes it.
func TestSwitchedOffAndOn(t *testing.T) {
	l := read(t, simulate(t))
	l.healthy(t)
	l.Behave(plctest.Gone)
	for s := l.next(t); len(s.Events) == 0; s = l.next(t) {
	}
	if s := l.conn.Status()[0]; s.State != edgeagent.DeviceStopped || s.Link != edgeagent.LinkDown {
		t.Errorf("status = %+v, want stopped and down", s)
	}
	l.Behave(plctest.Healthy)
	if err := l.conn.Resume("filler", "ann", "power is back"); err != nil {
		t.Fatal(err)
	}
	l.healthy(t)
}

// TestForeignServer is a listener that speaks anything but Modbus.
func TestForeignServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer ln.Close()
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(append([]byte("SSH-2.0-OpenSSH_9.6\r\n"), make([]byte, 300)...))
			_ = c.Close()
		}
	})
	l := modbus.New(modbus.Options{Addr: ln.Addr().String(), Timeout: patience})
	defer l.Close()
	for range 3 {
		got, err := l.Read(t.Context(), 1, plc.Request{Area: edgeagent.AreaHolding, Offset: 0, Quantity: 2})
		if err == nil {
			t.Errorf("read %x from an SSH server: %d", got, binary.BigEndian.Uint16(got))
		}
	}
}
