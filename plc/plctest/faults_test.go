package plctest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent/plc"
	"edgeagent/plc/plctest"
	"edgeagent/plc/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 25 * time.Millisecond

// mutant is a Modbus client with the care of its kind and no more: it checks
// what it is told to check. Every one of them has been shipped by somebody.
type mutant struct {
	addr        string
	header      bool // Modbus TCP, else RTU over TCP
	transaction bool // an answer must have the number of its request
	drain       bool // what lies about is read away before a request
	quiet       bool // a failed request is followed by a timeout of silence
	reconnect   bool // every failure ends the connection
	alone       bool // nothing may stand behind an answer: one that was cut and sent again looks whole

	conn   net.Conn
	number uint16
	failed bool
}

func (m *mutant) Close() error {
	if m.conn == nil {
		return nil
	}
	err := m.conn.Close()
	m.conn = nil
	return err
}

func (m *mutant) Read(_ context.Context, unit uint8, r plc.Request) ([]byte, error) {
	if m.failed && m.quiet {
		time.Sleep(patience) // real sockets: the silence is what is tried here
	}
	payload, err := m.ask(unit, r)
	_, refused := errors.AsType[*plc.Exception](err)
	m.failed = err != nil && !refused
	if end := errors.Is(err, io.EOF); m.failed && (m.reconnect || end) {
		_ = m.Close()
	}
	return payload, err
}

func (m *mutant) ask(unit uint8, r plc.Request) ([]byte, error) {
	if m.conn == nil {
		var err error
		if m.conn, err = net.Dial("tcp", m.addr); err != nil {
			return nil, err
		}
	}
	if m.drain {
		_ = m.conn.SetDeadline(time.Now().Add(time.Millisecond))
		_, _ = io.Copy(io.Discard, m.conn)
	}
	_ = m.conn.SetDeadline(time.Now().Add(patience))
	pdu := binary.BigEndian.AppendUint16([]byte{r.Area.Function()}, r.Offset)
	pdu = binary.BigEndian.AppendUint16(pdu, r.Quantity)
	if _, err := m.conn.Write(m.frame(unit, pdu)); err != nil {
		return nil, errors.Join(err, io.EOF)
	}
	return m.answer(unit, r)
}

func (m *mutant) frame(unit uint8, pdu []byte) []byte {
	if m.header {
		m.number++
		raw := binary.BigEndian.AppendUint16(nil, m.number)
		raw = append(raw, 0, 0, 0, byte(len(pdu)+1), unit)
		return append(raw, pdu...)
	}
	raw := append([]byte{unit}, pdu...)
	return binary.LittleEndian.AppendUint16(raw, checksum(raw))
}

func checksum(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc & 1
			crc = crc>>1 ^ 0xa001*odd
		}
	}
	return crc
}

// answer takes whatever has the right unit, function, count and checksum.
func (m *mutant) answer(unit uint8, r plc.Request) ([]byte, error) {
	var head []byte
	if m.header {
		head = make([]byte, 6)
		if _, err := io.ReadFull(m.conn, head); err != nil {
			return nil, err
		}
	}
	start := make([]byte, 3)
	if _, err := io.ReadFull(m.conn, start); err != nil {
		return nil, err
	}
	want := 2 * int(r.Quantity)
	if r.Area.Bits() {
		want = int(r.Quantity+7) / 8
	}
	switch {
	case start[0] != unit:
		return nil, errors.New("another unit")
	case start[1] == r.Area.Function()|0x80:
		return nil, &plc.Exception{Function: r.Area.Function(), Code: start[2]}
	case start[1] != r.Area.Function() || int(start[2]) != want&0xff:
		return nil, errors.New("another function or count")
	}
	rest := make([]byte, want, want+2)
	if !m.header {
		rest = rest[:want+2]
	}
	if _, err := io.ReadFull(m.conn, rest); err != nil {
		return nil, err
	}
	if m.header && m.transaction && binary.BigEndian.Uint16(head) != m.number {
		return nil, errors.New("another transaction")
	}
	if !m.header && binary.LittleEndian.Uint16(rest[want:]) != checksum(append(start, rest[:want]...)) {
		return nil, errors.New("checksum")
	}
	if m.alone {
		_ = m.conn.SetDeadline(time.Now().Add(time.Millisecond))
		if n, _ := m.conn.Read(make([]byte, 1)); n > 0 {
			return nil, errors.New("more than one answer")
		}
	}
	return rest[:want], nil
}

func serve(t *testing.T, header bool, units uint8) *sim.Server {
	t.Helper()
	listen := sim.ListenRTU
	if header {
		listen = sim.Listen
	}
	s, err := listen("127.0.0.1:0", sim.OracleUnits(units))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = s.Close(); running.Wait() })
	return s
}

// only is a peer that knows one fault.
type only struct {
	plctest.Faulty
	kind sim.FaultKind
}

func (o only) Kinds() []string { return []string{string(o.kind)} }

// TestOracleCatchesCarelessDrivers is why its silence means anything: each of
// these drivers hands out wrong values, and each is found out by the fault that
// its carelessness is about.
func TestOracleCatchesCarelessDrivers(t *testing.T) {
	tests := []struct {
		name   string
		driver mutant
		kind   sim.FaultKind
	}{
		{"serial, no care at all", mutant{}, sim.Late},
		{"serial, drains", mutant{drain: true}, sim.Late},
		{"serial, drains and reconnects", mutant{drain: true, reconnect: true}, sim.LateOnNewConn},
		{"serial, drains and is quiet", mutant{drain: true, quiet: true}, sim.AlwaysPrevious},
		{"serial, drains and is quiet, later", mutant{drain: true, quiet: true}, sim.Late},
		{"serial, takes the first of two", mutant{drain: true, quiet: true}, sim.StaleThenFresh},
		{"serial, does not drain", mutant{quiet: true}, sim.Duplicate},
		{"TCP, no transactions", mutant{header: true, drain: true}, sim.Late},
		{"TCP, takes half and half", mutant{header: true, transaction: true, reconnect: true}, sim.CutAndAgain},
		{"TCP, no transactions, reconnects", mutant{header: true, drain: true, reconnect: true}, sim.LateOnNewConn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.driver.header, 1)
			m := tt.driver
			m.addr = s.Addr()
			defer m.Close()
			p := only{sim.NewOracle(s, patience, 3), tt.kind}
			count, err := plctest.Hunt(t.Context(), &m, p, plctest.FaultOptions{Values: 20000, Quantity: 10, Timeout: patience})
			if wrong, found := errors.AsType[*plctest.WrongValueError](err); !found || wrong.Got == wrong.Want || count.Wrong != 1 {
				t.Errorf("%v, with %d wrong; want a wrong value found\n%v", err, count.Wrong, count)
			}
		})
	}
}

// TestOracleCatchesAnEcho has a driver take its own request for an answer: three
// bytes of coils from address 0x0310 look like that.
func TestOracleCatchesAnEcho(t *testing.T) {
	s := serve(t, false, 1)
	m := mutant{addr: s.Addr(), drain: true, quiet: true, reconnect: true}
	defer m.Close()
	p := only{sim.NewOracle(s, patience, 1), sim.Echo}
	_, err := plctest.Hunt(t.Context(), &m, p, plctest.FaultOptions{Values: 20000, Timeout: patience})
	if wrong, found := errors.AsType[*plctest.WrongValueError](err); !found || !wrong.Request.Area.Bits() {
		t.Errorf("%v, want a wrong value of a coil", err)
	}
}

// once never comes back once a fault was played.
type once struct {
	plc.Driver
	spoilt bool
}

func (o *once) Read(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
	if o.spoilt {
		return nil, plc.ErrSilent
	}
	payload, err := o.Driver.Read(ctx, unit, r)
	o.spoilt = err != nil
	return payload, err
}

func TestOracleCatchesADriverThatDoesNotComeBack(t *testing.T) {
	s := serve(t, true, 1)
	m := mutant{addr: s.Addr(), header: true, transaction: true, reconnect: true}
	defer m.Close()
	p := only{sim.NewOracle(s, patience, 1), sim.Close}
	count, err := plctest.Hunt(t.Context(), &once{Driver: &m}, p, plctest.FaultOptions{Timeout: patience})
	if err == nil || count.Wrong > 0 {
		t.Errorf("%v, %d wrong; want an error that nothing comes any more", err, count.Wrong)
	}
}

// TestCarefulDriverPasses: what catches everybody would prove as little.
func TestCarefulDriverPasses(t *testing.T) {
	s := serve(t, true, 2)
	count := plctest.Faults(t, func(*testing.T) (plc.Driver, plctest.Faulty) {
		m := &mutant{addr: s.Addr(), header: true, transaction: true, reconnect: true, alone: true}
		t.Cleanup(func() { _ = m.Close() })
		return m, sim.NewOracle(s, patience, 1)
	}, plctest.FaultOptions{Values: 10000, Units: 2, Timeout: patience})
	if count.Values < 10000 || count.Wrong != 0 || len(count.ByKind) != len(sim.FaultKinds(sim.TCP)) {
		t.Error(fmt.Sprint(count))
	}
}
