package sim

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
	"edgeagent/plc/plctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a device as unit 1 with holding 10, 11 = 0x1234, 0x5678.
func start(t *testing.T) *Server {
	t.Helper()
	d := NewDevice()
	d.SetHolding(10, 0x1234, 0x5678)
	d.SetInput(0, 7)
	d.SetCoil(3, true)
	d.SetDiscrete(9, true)
	return serve(t, "127.0.0.1:0", d)
}

func serve(t *testing.T, addr string, d *Device) *Server {
	t.Helper()
	s, err := Listen(addr, map[uint8]*Device{1: d, 2: d})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.WithoutCancel(t.Context())) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return s
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func ask(t *testing.T, conn net.Conn, request string) {
	t.Helper()
	raw, err := hex.DecodeString(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
}

// answered fails unless exactly want comes.
func answered(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	raw, _ := hex.DecodeString(want)
	got := make([]byte, len(raw))
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("answer %x then %v, want %s", got[:n], err, want)
	}
	if !bytes.Equal(got, raw) {
		t.Fatalf("answer %x, want %s", got, want)
	}
}

func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	var one [1]byte
	if n, err := conn.Read(one[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes (%x), %v; want silence", n, one[:n], err)
	}
}

const (
	readTwo = "000100000006" + "0103000a0002"
	goodTwo = "000100000007" + "01030412345678"
)

func TestAnswers(t *testing.T) {
	s := start(t)
	conn := dial(t, s)
	tests := []struct{ name, request, answer string }{
		{"holding", readTwo, goodTwo},
		{"input", "000200000006" + "010400000001", "000200000005" + "0104020007"},
		{"coils", "000300000006" + "010100000008", "000300000004" + "01010108"},
		{"discretes over two bytes", "000400000006" + "01020000000a", "000400000005" + "0102020002"},
		{"last register", "000500000006" + "0103ffff0001", "000500000005" + "0103020000"},
		{"beyond the last register", "000600000006" + "0103ffff0002", "000600000003" + "018302"},
		{"no quantity", "000700000006" + "010300000000", "000700000003" + "018303"},
		{"126 registers", "000800000006" + "01030000007e", "000800000003" + "018303"},
		{"2001 bits", "000900000006" + "0101000007d1", "000900000003" + "018103"},
		{"no such unit", "000a00000006" + "630300000001", "000a00000003" + "63830b"},
		{"cut request", "000b00000004" + "01030000", "000b00000003" + "018303"},
		{"unknown function", "000c00000002" + "012b", "000c00000003" + "01ab01"},
		{"unit 2", "000d00000006" + "0203000a0001", "000d00000005" + "0203021234"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ask(t, conn, tt.request)
			answered(t, conn, tt.answer)
		})
	}
	if s.RequestCount() != len(tests) || len(s.Requests()) != len(tests) {
		t.Errorf("recorded %d requests of %d", s.RequestCount(), len(tests))
	}
	if got := s.Requests()[0]; got.Function != 3 || got.Address != 10 || got.Quantity != 2 || got.Unit != 1 {
		t.Errorf("first request recorded as %+v", got)
	}
}

func TestWritesAreRefusedAndCounted(t *testing.T) {
	s := start(t)
	conn := dial(t, s)
	for _, function := range []string{"05", "06", "0f", "10", "16", "17"} {
		ask(t, conn, "000100000006"+"01"+function+"000a0002")
		code, _ := hex.DecodeString(function)
		answered(t, conn, "000100000003"+"01"+hex.EncodeToString([]byte{code[0] | 0x80})+"01")
	}
	if s.Writes() != 6 {
		t.Errorf("Writes() = %d, want 6", s.Writes())
	}
	ask(t, conn, readTwo)
	answered(t, conn, goodTwo)
}

func TestFaultsThatAnswer(t *testing.T) {
	tests := []struct {
		name, answer string
		fault        Fault
	}{
		{"late", goodTwo, Fault{Kind: Late, Delay: 20 * time.Millisecond}},
		{"duplicate", goodTwo + goodTwo, Fault{Kind: Duplicate}},
		{"short", "0001000000050103021234", Fault{Kind: Short}},
		{"long", "000100000009010306123456780000", Fault{Kind: Long}},
		{"zero count", "000100000003010300", Fault{Kind: ZeroCount}},
		{"wrong transaction", "01010000000701030412345678", Fault{Kind: WrongTransaction}},
		{"wrong unit", "00010000000702030412345678", Fault{Kind: WrongUnit}},
		{"wrong function", "00010000000701040412345678", Fault{Kind: WrongFunction}},
		{"exception", "000100000003018306", Fault{Kind: ExceptionReply, Code: 6}},
		{"exception without a code", "000100000003018304", Fault{Kind: ExceptionReply}},
		{"half frame", "00010000000701", Fault{Kind: HalfFrame}},
		{"trickle", goodTwo, Fault{Kind: Trickle, Delay: time.Millisecond}},
		{"trickle that ends", goodTwo, Fault{Kind: Trickle, Delay: time.Second, Most: time.Millisecond}},
		{"bad length", "00010000ea6001030412345678", Fault{Kind: BadLength}},
		{"zero length", "00010000000001030412345678", Fault{Kind: ZeroLength}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			s.Fault(tt.fault)
			conn := dial(t, s)
			ask(t, conn, readTwo)
			answered(t, conn, tt.answer)
			silent(t, conn)
			ask(t, conn, readTwo) // one request is affected, no more
			answered(t, conn, goodTwo)
		})
	}
}

func TestFaultOfBitsLosesAByte(t *testing.T) {
	s := start(t)
	conn := dial(t, s)
	s.Fault(Fault{Kind: Short})
	ask(t, conn, "000100000006"+"01020000000a")
	answered(t, conn, "000100000004"+"01020100")
}

func TestSilentTakesRequestsAndAnswersNothing(t *testing.T) {
	s := start(t)
	s.Fault(Fault{Kind: Silent, Count: 2})
	conn := dial(t, s)
	ask(t, conn, readTwo)
	ask(t, conn, readTwo)
	silent(t, conn)
	ask(t, conn, readTwo)
	answered(t, conn, goodTwo)
	if s.RequestCount() != 3 {
		t.Errorf("RequestCount() = %d, want 3", s.RequestCount())
	}
}

func TestCloseHangsUp(t *testing.T) {
	s := start(t)
	s.Fault(Fault{Kind: Close})
	conn := dial(t, s)
	ask(t, conn, readTwo)
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("read = %v, want EOF", err)
	}
	again := dial(t, s)
	ask(t, again, readTwo)
	answered(t, again, goodTwo)
	if s.Accepted() != 2 {
		t.Errorf("Accepted() = %d, want 2", s.Accepted())
	}
}

func TestFaultOfOneUnitSparesTheOther(t *testing.T) {
	s := start(t)
	s.Fault(Fault{Kind: Silent, Count: -1, Unit: 2})
	s.Fault(Fault{Kind: ExceptionReply, Code: 5, Unit: 1})
	conn := dial(t, s)
	ask(t, conn, "000100000006"+"0203000a0001")
	silent(t, conn)
	ask(t, conn, readTwo)
	answered(t, conn, "000100000003018305")
	ask(t, conn, readTwo)
	answered(t, conn, goodTwo)
	ask(t, conn, "000100000006"+"0203000a0001")
	silent(t, conn)
	s.ClearFaults()
	ask(t, conn, "000100000006"+"0203000a0001")
	answered(t, conn, "000100000005"+"0203021234")
}

func TestFrozenServerAnswersAllAfterResume(t *testing.T) {
	for _, how := range []string{"method", "fault"} {
		t.Run(how, func(t *testing.T) {
			s := start(t)
			conn := dial(t, s)
			if how == "method" {
				s.Freeze()
			} else {
				s.Fault(Fault{Kind: Freeze})
			}
			ask(t, conn, readTwo)
			silent(t, conn)
			other := dial(t, s)
			ask(t, other, readTwo)
			silent(t, other)
			s.Resume()
			answered(t, conn, goodTwo)
			answered(t, other, goodTwo)
		})
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	for name, prepare := range map[string]func(*Server){
		"frozen": (*Server).Freeze,
		"late":   func(s *Server) { s.Fault(Fault{Kind: Late, Delay: time.Hour}) },
		"slow":   func(s *Server) { s.Fault(Fault{Kind: Trickle, Delay: time.Hour}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			prepare(s)
			conn := dial(t, s)
			ask(t, conn, readTwo)
			silent(t, conn)
			if err := s.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			if _, err := net.Dial("tcp", s.Addr()); err == nil {
				t.Error("a closed server accepts")
			}
		})
	}
}

func TestContextEndsRunAndFreesThePort(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(plctest.Address(t), map[uint8]*Device{1: NewDevice()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	conn := dial(t, s)
	ask(t, conn, readTwo)
	answered(t, conn, "000100000007"+"01030400000000")
	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("Run = %v, want nil", err)
	}
	d := NewDevice()
	d.SetHolding(10, 0x1234, 0x5678)
	again := serve(t, s.Addr(), d) // the PLC is switched on again
	conn = dial(t, again)
	ask(t, conn, readTwo)
	answered(t, conn, goodTwo)
}

func TestDisconnectKeepsListening(t *testing.T) {
	s := start(t)
	conn := dial(t, s)
	ask(t, conn, readTwo)
	answered(t, conn, goodTwo)
	s.Disconnect()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection survived")
	}
	conn = dial(t, s)
	ask(t, conn, readTwo)
	answered(t, conn, goodTwo)
}

func TestGarbageEndsTheConnection(t *testing.T) {
	s := start(t)
	for _, garbage := range []string{"474554202f20485454502f312e310d0a", "00010000000001", "00010000ffff01"} {
		conn := dial(t, s)
		ask(t, conn, garbage)
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read = %v, want the end", garbage, err)
		}
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t)
	if _, err := Listen(s.Addr(), nil); err == nil {
		t.Error("the same port was opened twice")
	}
}

func TestRequestsForgetsTheOldest(t *testing.T) {
	s := &Server{}
	for i := range remembered + 3 {
		s.record(frame{unit: 1, pdu: []byte{3, byte(i >> 8), byte(i), 0, 1}})
	}
	got := s.Requests()
	if len(got) != remembered || got[0].Address != 3 || got[remembered-1].Address != remembered+2 {
		t.Errorf("%d requests from %d to %d", len(got), got[0].Address, got[len(got)-1].Address)
	}
	if s.RequestCount() != remembered+3 {
		t.Errorf("RequestCount() = %d", s.RequestCount())
	}
}

func TestAllowClosesTheRest(t *testing.T) {
	d := NewDevice()
	d.Allow(edgeagent.AreaHolding, 10, 19)
	d.Allow(edgeagent.AreaHolding, 20, 29)
	d.Allow(edgeagent.AreaHolding, 15, 17)
	tests := []struct {
		name        string
		area        edgeagent.Area
		addr, count uint16
		code        byte
	}{
		{"inside", edgeagent.AreaHolding, 10, 10, 0},
		{"over two ranges that touch", edgeagent.AreaHolding, 12, 18, 0},
		{"one before", edgeagent.AreaHolding, 9, 2, 2},
		{"one after", edgeagent.AreaHolding, 29, 2, 2},
		{"another area stays open", edgeagent.AreaInput, 0, 100, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, code := d.read(tt.area, tt.addr, tt.count); code != tt.code {
				t.Errorf("exception %d, want %d", code, tt.code)
			}
		})
	}
}

func TestSetWritesEveryOrder(t *testing.T) {
	tests := []struct {
		order edgeagent.ByteOrder
		f32   string // of 0x41424344
		f64   string // of 0x4142434445464748
	}{
		{edgeagent.OrderABCD, "41424344", "4142434445464748"},
		{edgeagent.OrderCDAB, "43444142", "4748454643444142"},
		{edgeagent.OrderBADC, "42414443", "4241444346454847"},
		{edgeagent.OrderDCBA, "44434241", "4847464544434241"},
		{"", "41424344", "4142434445464748"},
	}
	for _, tt := range tests {
		d := NewDevice()
		d.SetFloat32(0, 12.141422271728516, tt.order)
		d.SetFloat64(2, 2393736.541207228, tt.order)
		got, _ := d.read(edgeagent.AreaHolding, 0, 6)
		if hex.EncodeToString(got) != tt.f32+tt.f64 {
			t.Errorf("%s: %x, want %s %s", tt.order, got, tt.f32, tt.f64)
		}
	}
}

func TestSetKeepsWithinTheArea(t *testing.T) {
	d := NewDevice()
	d.SetHolding(65535, 1, 2)
	d.SetString(0, 2, "ABCDE")
	if got, _ := d.read(edgeagent.AreaHolding, 65535, 1); !bytes.Equal(got, []byte{0, 1}) {
		t.Errorf("last register %x", got)
	}
	if got, _ := d.read(edgeagent.AreaHolding, 0, 3); string(got) != "ABCD\x00\x00" {
		t.Errorf("text %q", got)
	}
}
