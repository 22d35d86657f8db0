package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pdu "github.com/goburrow/modbus"
	"go.uber.org/goleak"

	"edgeagent"
	"edgeagent/plc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the timeout of links under test: short enough to be waited for, on
// simulated time or where nobody answers.
const patience = 400 * time.Millisecond

// unhurried is that of links over real sockets whose peer answers: no machine
// stands still for as long.
const unhurried = 3 * time.Second

// oracle is what register a holds. No two registers hold the same.
func oracle(a int) uint16 { return uint16(a) ^ 0x5a5a }

// peer is a Modbus server on a real socket that answers as it is told to,
// byte by byte.
type peer struct {
	addr  string
	conns atomic.Int32
	asked atomic.Int32 // whole requests received

	mu   sync.Mutex
	lies []lie // one a request; without any the truth is told
}

// lie answers one request. It returns false to hang up.
type lie func(c net.Conn, request, truth []byte) bool

func listen(t *testing.T, lies ...lie) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: l.Addr().String(), lies: lies}
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Add(1)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			serving.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return p
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	for {
		request := make([]byte, 12)
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		p.asked.Add(1)
		if !p.next()(c, request, truth(request)) {
			return
		}
	}
}

func (p *peer) next() lie {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lies) == 0 {
		return honest
	}
	l := p.lies[0]
	p.lies = p.lies[1:]
	return l
}

// truth is the right answer to a request for registers or bits.
func truth(request []byte) []byte {
	offset, quantity := int(binary.BigEndian.Uint16(request[8:])), int(binary.BigEndian.Uint16(request[10:]))
	var data []byte
	if request[7] <= 2 {
		data = make([]byte, (quantity+7)/8)
		for i := range quantity {
			data[i/8] |= byte(oracle(offset+i)&1) << (i % 8)
		}
	} else {
		for i := range quantity {
			data = binary.BigEndian.AppendUint16(data, oracle(offset+i))
		}
	}
	return frame(request, append([]byte{request[7], byte(len(data))}, data...))
}

// frame answers a request with a PDU.
func frame(request, pdu []byte) []byte {
	out := append([]byte(nil), request[:7]...)
	binary.BigEndian.PutUint16(out[4:], uint16(1+len(pdu)))
	return append(out, pdu...)
}

func honest(c net.Conn, _, truth []byte) bool { return send(c, truth) }

func send(c net.Conn, b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

// altered tells the truth with one change.
func altered(change func(request, truth []byte) []byte) lie {
	return func(c net.Conn, request, truth []byte) bool { return send(c, change(request, truth)) }
}

// refused answers with an exception.
func refused(code byte) lie {
	return altered(func(request, _ []byte) []byte { return frame(request, []byte{request[7] | 0x80, code}) })
}

func silent(net.Conn, []byte, []byte) bool { return true }

func hangUp(net.Conn, []byte, []byte) bool { return false }

func holding(offset, quantity uint16) plc.Request {
	return plc.Request{Area: edgeagent.AreaHolding, Offset: offset, Quantity: quantity}
}

func link(t *testing.T, addr string) *Link {
	t.Helper()
	l := New(Options{Addr: addr, Timeout: unhurried})
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// wantRead fails unless the link reads the oracle's values.
func wantRead(t *testing.T, l *Link, r plc.Request) {
	t.Helper()
	got, err := l.Read(t.Context(), 1, r)
	if err != nil {
		t.Errorf("%v: %v", r, err)
		return
	}
	wantOracle(t, r, got)
}

func wantOracle(t *testing.T, r plc.Request, got []byte) {
	t.Helper()
	if len(got) != 2*int(r.Quantity) {
		t.Errorf("%v: got %d bytes", r, len(got))
		return
	}
	for i := range int(r.Quantity) {
		if v := binary.BigEndian.Uint16(got[2*i:]); v != oracle(int(r.Offset)+i) {
			t.Errorf("%v: register %d is %#x, want %#x: a wrong value that looks right", r, int(r.Offset)+i, v, oracle(int(r.Offset)+i))
		}
	}
}

// TestLyingPeer goes through everything a peer was seen to do wrong: never a
// wrong value, and after one error the next read is right again.
func TestLyingPeer(t *testing.T) {
	set := func(at int, to ...byte) lie {
		return altered(func(_, truth []byte) []byte { copy(truth[at:], to); return truth })
	}
	for name, tc := range map[string]struct {
		lie  lie
		want error // nil: any error
	}{
		"answers a transaction never sent": {altered(func(_, truth []byte) []byte { truth[0] ^= 0x40; return truth }), plc.ErrSilent},
		"answers the next transaction":     {altered(func(_, truth []byte) []byte { truth[1]++; return truth }), plc.ErrSilent},
		"speaks another protocol":          {set(2, 0x12, 0x34), plc.ErrSilent},
		"length 0":                         {set(4, 0, 0), plc.ErrSilent},
		"length 2":                         {set(4, 0, 2), plc.ErrSilent},
		"length 60000":                     {set(4, 0xea, 0x60), plc.ErrSilent},
		"another unit":                     {set(6, 9), plc.ErrSilent},
		"another function":                 {set(7, 4), plc.ErrSilent},
		"exception of another function":    {altered(func(r, _ []byte) []byte { return frame(r, []byte{0x84, 2}) }), plc.ErrSilent},
		"exception too long":               {altered(func(r, _ []byte) []byte { return frame(r, []byte{0x83, 2, 2}) }), plc.ErrSilent},
		"a register too few":               {altered(func(r, _ []byte) []byte { return frame(r, []byte{3, 2, 1, 1}) }), plc.ErrSilent},
		"a register too many":              {altered(func(r, _ []byte) []byte { return frame(r, []byte{3, 6, 1, 1, 1, 1, 1, 1}) }), plc.ErrSilent},
		"no registers":                     {altered(func(r, _ []byte) []byte { return frame(r, []byte{3, 0}) }), plc.ErrSilent},
		"count without data":               {altered(func(r, _ []byte) []byte { return frame(r, []byte{3, 4}) }), plc.ErrSilent},
		"count that is not the length":     {altered(func(r, _ []byte) []byte { return frame(r, []byte{3, 2, 1, 1, 1, 1}) }), plc.ErrSilent},
		"half a frame":                     {altered(func(_, truth []byte) []byte { return truth[:len(truth)-1] }), plc.ErrSilent},
		"half a header":                    {altered(func(_, truth []byte) []byte { return truth[:5] }), plc.ErrSilent},
		"half a frame, then hangs up":      {func(c net.Conn, _, truth []byte) bool { send(c, truth[:9]); return false }, nil},
		"half a frame, then another":       {altered(func(_, truth []byte) []byte { return append(truth[:11:11], truth...) }), plc.ErrSilent},
		"a frame, then noise":              {altered(func(_, truth []byte) []byte { return append(truth, 1, 2, 3) }), plc.ErrSilent},
		"hangs up":                         {hangUp, nil},
		"says nothing":                     {silent, plc.ErrSilent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := listen(t, tc.lie)
			l := link(t, p.addr)
			if got, err := l.Read(t.Context(), 1, holding(100, 2)); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("read %x, %v; want an error, %v", got, err, tc.want)
			}
			for a := range uint16(5) {
				wantRead(t, l, holding(a, 2))
			}
			if n := p.conns.Load(); n != 2 {
				t.Errorf("%d connections, want the one with the lie and one after it", n)
			}
		})
	}
}

func TestExceptionIsTypedAndKeepsTheConnection(t *testing.T) {
	for _, code := range []byte{1, 2, 6, 11, 99} {
		p := listen(t, refused(code))
		l := link(t, p.addr)
		_, err := l.Read(t.Context(), 1, holding(100, 2))
		if e, ok := errors.AsType[*plc.Exception](err); !ok || e.Code != code || e.Function != 3 {
			t.Errorf("read = %v, want exception %d of function 3", err, code)
		}
		wantRead(t, l, holding(100, 2))
		if n := p.conns.Load(); n != 1 {
			t.Errorf("exception %d: %d connections, want the one kept", code, n)
		}
	}
}

func TestLateAnswerIsNeverTakenForALaterOne(t *testing.T) {
	release := make(chan struct{})
	p := listen(t, func(c net.Conn, _, truth []byte) bool { <-release; return send(c, truth) })
	l := link(t, p.addr)
	if _, err := l.Read(t.Context(), 1, holding(100, 2)); !errors.Is(err, plc.ErrSilent) {
		t.Errorf("read = %v, want silence", err)
	}
	close(release)
	for a := range uint16(20) {
		wantRead(t, l, holding(a, 2))
	}
}

func TestDuplicateAnswersAreSkippedAndCounted(t *testing.T) {
	twice := altered(func(_, truth []byte) []byte { return append(truth, truth...) })
	p := listen(t, twice, twice, honest, twice)
	l := link(t, p.addr)
	for a := range uint16(10) {
		wantRead(t, l, holding(a, 2))
	}
	if n := l.StaleFrames(); n != 3 {
		t.Errorf("%d stale frames, want 3", n)
	}
	if n := p.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1: a duplicate is no reason to hang up", n)
	}
}

// TestTrickleIsCutAtTheDeadline sends a byte whenever the last was read: a
// deadline of each read would never end.
func TestTrickleIsCutAtTheDeadline(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_, _ = io.ReadFull(server, make([]byte, 12))
		for _, b := range []byte{0, 1, 0, 0, 0} {
			if _, err := server.Write([]byte{b}); err != nil {
				return
			}
		}
	}()
	l := New(Options{Addr: "trickle", Timeout: patience, Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
	if _, err := l.Read(t.Context(), 1, holding(0, 1)); !errors.Is(err, plc.ErrSilent) {
		t.Errorf("read = %v, want silence", err)
	}
}

func TestClosedWhileIdleCostsNothing(t *testing.T) {
	then := func(c net.Conn, _, truth []byte) bool { send(c, truth); return false }
	p := listen(t, then, then, then)
	l := link(t, p.addr)
	for a := range uint16(5) {
		wantRead(t, l, holding(a, 2))
	}
	if n := p.conns.Load(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

func TestContextCutsAReadInProgress(t *testing.T) {
	asked := make(chan struct{})
	p := listen(t, func(net.Conn, []byte, []byte) bool { close(asked); return true })
	l := New(Options{Addr: p.addr, Timeout: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := l.Read(ctx, 1, holding(0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("read = %v, want cancelled long before its hour", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// lateCut is a connection whose last read ends a context, and that takes its
// time over the deadline that comes of it.
type lateCut struct {
	net.Conn
	end     context.CancelFunc
	cutting chan struct{}
	cut     atomic.Bool
}

func (c *lateCut) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.end()
	<-c.cutting
	return n, err
}

func (c *lateCut) SetDeadline(at time.Time) error {
	if at.Equal(longAgo) {
		close(c.cutting)
		time.Sleep(20 * time.Millisecond) // real sockets: holds the race's window open, no result depends on the length
		defer c.cut.Store(true)
	}
	return c.Conn.SetDeadline(at)
}

func TestContextThatEndsWithAnAnswerDoesNotCutTheNextRead(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	conn := &lateCut{end: cancel, cutting: make(chan struct{})}
	l := New(Options{Addr: listen(t).addr, Timeout: unhurried, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		conn.Conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return conn, err
	}})
	got, err := l.Read(ctx, 1, holding(100, 2))
	if err != nil || !conn.cut.Load() {
		t.Errorf("read = %v with the cut done: %v; want an answer, and nothing left behind that cuts a later one", err, conn.cut.Load())
	}
	wantOracle(t, holding(100, 2), got)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestBitsOfBothAreas(t *testing.T) {
	p := listen(t)
	l := link(t, p.addr)
	for _, area := range []edgeagent.Area{edgeagent.AreaCoil, edgeagent.AreaDiscrete} {
		got, err := l.Read(t.Context(), 1, plc.Request{Area: area, Offset: 3, Quantity: 11})
		if err != nil || len(got) != 2 {
			t.Fatalf("%v: %x, %v; want two bytes", area, got, err)
		}
		for i := range 11 {
			if bit := got[i/8] >> (i % 8) & 1; uint16(bit) != oracle(3+i)&1 {
				t.Errorf("%v %d = %d", area, 3+i, bit)
			}
		}
	}
}

func TestTransactionsWrapAround(t *testing.T) {
	p := listen(t)
	l := link(t, p.addr)
	l.packager.transaction = 0xfffd
	for a := range uint16(8) {
		wantRead(t, l, holding(a, 1))
	}
}

// wantNoWrites calls every writing function of the library underneath: whoever
// gets hold of it still cannot write.
func wantNoWrites(t *testing.T, l *Link) {
	t.Helper()
	c := pdu.NewClient2(&l.packager, transporter{l})
	for name, write := range map[string]func() ([]byte, error){
		"single coil":        func() ([]byte, error) { return c.WriteSingleCoil(1, 0xff00) },
		"multiple coils":     func() ([]byte, error) { return c.WriteMultipleCoils(1, 8, []byte{1}) },
		"single register":    func() ([]byte, error) { return c.WriteSingleRegister(1, 1) },
		"multiple registers": func() ([]byte, error) { return c.WriteMultipleRegisters(1, 1, []byte{0, 1}) },
		"read and write":     func() ([]byte, error) { return c.ReadWriteMultipleRegisters(1, 1, 1, 1, []byte{0, 1}) },
		"mask":               func() ([]byte, error) { return c.MaskWriteRegister(1, 1, 1) },
		"FIFO":               func() ([]byte, error) { return c.ReadFIFOQueue(1) },
	} {
		if _, err := write(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s = %v, want ErrReadOnly", name, err)
		}
	}
}

func TestWritesPutNothingOnTheWire(t *testing.T) {
	p := listen(t)
	l := link(t, p.addr)
	wantRead(t, l, holding(0, 1)) // the connection is there and would carry a write
	wantNoWrites(t, l)
	wantRead(t, l, holding(0, 1))
	if n := p.asked.Load(); n != 2 {
		t.Errorf("the peer got %d requests, want the two reads", n)
	}
}

func TestGuardLetsReadsPassAndNothingElse(t *testing.T) {
	var p packager
	for code := range 256 {
		frame, err := p.Encode(&pdu.ProtocolDataUnit{FunctionCode: byte(code), Data: []byte{0, 0, 0, 1}})
		if isRead := code >= 1 && code <= 4; isRead != (err == nil) || !isRead && (frame != nil || !errors.Is(err, ErrReadOnly)) {
			t.Errorf("function %d: %x, %v", code, frame, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	request := []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 100, 0, 2}
	f.Add(truth(request))
	f.Add(frame(request, []byte{0x83, 2}))
	f.Add([]byte{0, 1, 0, 0, 0, 3, 1, 3, 0})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if len(answer) < headerSize {
			return
		}
		h, err := parseHeader(answer)
		if err != nil || len(answer) != headerSize-1+h.size {
			return
		}
		var p packager
		if p.Verify(request, answer) != nil {
			return
		}
		u, err := p.Decode(answer)
		if err != nil || u.FunctionCode == 3 && len(u.Data) != 5 {
			t.Errorf("verified %x: decoded %+v, %v", answer, u, err)
		}
	})
}
