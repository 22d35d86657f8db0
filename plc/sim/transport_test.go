package sim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// running runs a server until the test ends.
func running[S interface {
	Run(context.Context) error
	Close() error
}](t *testing.T, s S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	return s
}

// panel is unit 1 with holding 10, 11 = 0x1234, 0x5678, and unit 2 the same.
func panel() map[uint8]*Device {
	d := NewDevice()
	d.SetHolding(10, 0x1234, 0x5678)
	return map[uint8]*Device{1: d, 2: d}
}

// framed appends the checksum to a frame in hexadecimal.
func framed(t *testing.T, frame string) string {
	t.Helper()
	raw, err := hex.DecodeString(frame)
	if err != nil {
		t.Fatal(err)
	}
	sum := crc16(raw)
	return frame + hex.EncodeToString([]byte{byte(sum), byte(sum >> 8)})
}

// openLine opens a serial line as a client does.
func openLine(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := openTTY(path)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

type deadliner interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

// exchange sends a request and wants exactly the answer within its time.
func exchange(t *testing.T, conn deadliner, request, want string) {
	t.Helper()
	raw, _ := hex.DecodeString(request)
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, want)
}

func expect(t *testing.T, conn deadliner, want string) {
	t.Helper()
	wanted, _ := hex.DecodeString(want)
	got := make([]byte, len(wanted))
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, wanted) {
		t.Fatalf("answer %x, %v; want %s", got[:n], err, want)
	}
}

func hush(t *testing.T, conn deadliner) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	var one [1]byte
	if n, err := conn.Read(one[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes (%x), %v; want silence", n, one[:n], err)
	}
}

func TestChecksumIsThatOfTheSpecification(t *testing.T) {
	for frame, want := range map[string]uint16{
		"010300000002": 0x0bc4, // sent as c4 0b
		"0103000a0001": 0x08a4,
		"":             0xffff,
	} {
		raw, _ := hex.DecodeString(frame)
		if got := crc16(raw); got != want {
			t.Errorf("%s: %04x, want %04x", frame, got, want)
		}
	}
	if raw, _ := hex.DecodeString("1101001300250e84"); crc16(raw[:6]) != 0x840e { // the specification's example
		t.Errorf("%04x, want 840e", crc16(raw[:6]))
	}
}

func dialRTU(t *testing.T) (*Server, net.Conn) {
	t.Helper()
	s, err := ListenRTU("127.0.0.1:0", panel())
	s = running(t, s, err)
	return s, dial(t, s)
}

func TestRTUAnswers(t *testing.T) {
	s, conn := dialRTU(t)
	tests := []struct{ name, request, answer string }{
		{"holding", "0103000a0002", "01030412345678"},
		{"unit 2", "0203000a0001", "0203021234"},
		{"beyond the last", "0103ffff0002", "018302"},
		{"write", "0106000a0002", "018601"},
		{"write of several", "0110000a000204aaaabbbb", "019001"},
		{"mask", "0116000a00020004", "019601"},
		{"read and write", "0117000a0001000b0001021111", "019701"},
		{"file record", "01140706000400010002", "019401"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { exchange(t, conn, framed(t, tt.request), framed(t, tt.answer)) })
	}
	if s.Writes() != 4 || s.RequestCount() != len(tests) {
		t.Errorf("%d writes of %d requests, want 4 of %d", s.Writes(), s.RequestCount(), len(tests))
	}
}

// TestRTUUnitThatIsNotThereIsSilent: no gateway answers in its place.
func TestRTUUnitThatIsNotThereIsSilent(t *testing.T) {
	s, conn := dialRTU(t)
	raw, _ := hex.DecodeString(framed(t, "0903000a0001"))
	_, _ = conn.Write(raw)
	hush(t, conn)
	exchange(t, conn, framed(t, "0103000a0001"), framed(t, "0103021234"))
	if s.RequestCount() != 2 {
		t.Errorf("%d requests, want 2", s.RequestCount())
	}
}

func TestRTUFindsItsFeetAfterGarbage(t *testing.T) {
	good, answer := framed(t, "0103000a0001"), framed(t, "0103021234")
	for name, garbage := range map[string]string{
		"half a request":   good[:8],
		"a wrong checksum": framed(t, "0103000a0001")[:12] + "0000",
		"noise":            "00ff55aa",
		"text":             hex.EncodeToString([]byte("GET / HTTP/1.1\r\n\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			_, conn := dialRTU(t)
			exchange(t, conn, garbage+good, answer)
		})
	}
}

// FuzzRTURequest: what is taken for a request has a right checksum and is in
// the bytes as it was sent.
func FuzzRTURequest(f *testing.F) {
	f.Add([]byte{1, 3, 0, 10, 0, 1, 0xa4, 8})
	f.Add([]byte{0, 0xff, 1, 16, 0, 10, 0, 2, 4, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := bufio.NewReader(bytes.NewReader(raw))
		for {
			req, err := rtu{}.read(in)
			if err != nil {
				return
			}
			if len(req.pdu) == 0 || !bytes.Contains(raw, rtu{}.answer(req, req.pdu)) {
				t.Fatalf("%x was read as unit %d, %x", raw, req.unit, req.pdu)
			}
		}
	})
}

func TestRTUFaults(t *testing.T) {
	good := framed(t, "01030412345678")
	turned, _ := hex.DecodeString(good)
	turned[6] ^= 0x10
	others := framed(t, "0203000a0002") + framed(t, "02030412345678")
	tests := []struct {
		answer string
		fault  Fault
	}{
		{good + good, Fault{Kind: Duplicate}},
		{good + good, Fault{Kind: LateDuplicate, Delay: 20 * time.Millisecond}},
		{framed(t, "0103021234"), Fault{Kind: Short}},
		{framed(t, "010306123456780000"), Fault{Kind: Long}},
		{framed(t, "01030612345678"), Fault{Kind: WrongByteCount}},
		{framed(t, "02030412345678"), Fault{Kind: WrongUnit}},
		{framed(t, "01040412345678"), Fault{Kind: WrongFunction}},
		{hex.EncodeToString(turned), Fault{Kind: WrongCRC}},
		{good[:len(good)-2], Fault{Kind: TruncatedCRC}},
		{framed(t, "018306"), Fault{Kind: SplitException, Code: 6}},
		{framed(t, "01830b"), Fault{Kind: LateException, Code: 11, Delay: time.Millisecond}},
		{"010300ff" + good + "00ff55", Fault{Kind: Noise}},
		{others + good, Fault{Kind: OtherUnitTraffic}},
		{framed(t, "0103000a0002") + good, Fault{Kind: Echo}},
		{good[:10] + good, Fault{Kind: CutAndAgain}},
		{"", Fault{Kind: AlwaysPrevious}},
		{good, Fault{Kind: StaleThenFresh}}, // there is no answer before the first
	}
	for _, tt := range tests {
		t.Run(string(tt.fault.Kind), func(t *testing.T) {
			s, conn := dialRTU(t)
			s.Fault(tt.fault)
			exchange(t, conn, framed(t, "0103000a0002"), tt.answer)
			hush(t, conn)
			exchange(t, conn, framed(t, "0103000a0002"), good) // one request is affected, no more
		})
	}
}

func TestAnswersSlipByOne(t *testing.T) {
	s, conn := dialRTU(t)
	for range 2 { // a second time it begins anew
		s.Fault(Fault{Kind: AlwaysPrevious, Count: 3})
		exchange(t, conn, framed(t, "0103000a0001"), "")
		hush(t, conn)
		exchange(t, conn, framed(t, "0103000b0001"), framed(t, "0103021234"))
		exchange(t, conn, framed(t, "0103000c0001"), framed(t, "0103025678"))
		exchange(t, conn, framed(t, "0103000b0001"), framed(t, "0103025678"))
	}
	s.Fault(Fault{Kind: StaleThenFresh})
	exchange(t, conn, framed(t, "0103000a0001"), framed(t, "0103025678")+framed(t, "0103021234"))
}

// TestRepetitionOnALineGoesOutWithTheNextAnswer: never while that is awaited.
func TestRepetitionOnALineGoesOutWithTheNextAnswer(t *testing.T) {
	s, conn := dialRTU(t)
	s.Fault(Fault{Kind: LateDuplicate, Delay: time.Hour})
	exchange(t, conn, framed(t, "0103000a0001"), framed(t, "0103021234"))
	s.Fault(Fault{Kind: Silent})
	exchange(t, conn, framed(t, "0103000b0001"), "")
	hush(t, conn)
	exchange(t, conn, framed(t, "0103000b0001"), framed(t, "0103021234")+framed(t, "0103025678"))
	hush(t, conn)
}

func TestLateAnswerGoesToTheNextConnection(t *testing.T) {
	s, first := dialRTU(t)
	s.Fault(Fault{Kind: LateOnNewConn, Delay: 50 * time.Millisecond})
	exchange(t, first, framed(t, "0103000a0001"), "")
	hush(t, first)
	_ = first.Close()
	second := dial(t, s)
	exchange(t, second, framed(t, "0103000b0001"), framed(t, "0103021234")+framed(t, "0103025678"))
}

func TestLateAnswerStaysWithAConnectionThatStays(t *testing.T) {
	s, conn := dialRTU(t)
	s.Fault(Fault{Kind: LateOnNewConn, Delay: time.Millisecond})
	exchange(t, conn, framed(t, "0103000a0001"), "")
	exchange(t, conn, framed(t, "0103000b0001"), framed(t, "0103021234")+framed(t, "0103025678"))
}

func TestFlapAnswersAndHangsUpInTurn(t *testing.T) {
	s, _ := dialRTU(t)
	s.Fault(Fault{Kind: Flap, Count: 8, Run: 2})
	var got string
	for range 8 {
		conn := dial(t, s)
		raw, _ := hex.DecodeString(framed(t, "0103000a0001"))
		_, _ = conn.Write(raw)
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Read(make([]byte, 16)); err == nil {
			got += "+"
		} else {
			got += "-"
		}
	}
	if got != "++--++--" {
		t.Errorf("%s, want two answered, two hung up", got)
	}
}

func TestHalfOpenConnectionIsDeadAndStays(t *testing.T) {
	s, conn := dialRTU(t)
	s.Fault(Fault{Kind: HalfOpen})
	for range 3 {
		exchange(t, conn, framed(t, "0103000a0001"), "")
	}
	hush(t, conn)
	exchange(t, dial(t, s), framed(t, "0103000a0001"), framed(t, "0103021234"))
	if s.RequestCount() != 2 {
		t.Errorf("%d requests were read, want one on each connection", s.RequestCount())
	}
}

func TestEveryFaultHasItsLineAndItsDelivery(t *testing.T) {
	seen := map[FaultKind]bool{passing: true}
	for _, f := range FaultTable {
		if seen[f.Kind] || f.Does == "" || len(f.On) == 0 || deliveries[f.Kind] == nil {
			t.Errorf("%s: twice, without words, transport or delivery: %+v", f.Kind, f)
		}
		seen[f.Kind] = true
	}
	if len(deliveries) != len(seen) {
		t.Errorf("%d deliveries for %d faults", len(deliveries), len(seen))
	}
	for _, transport := range everywhere {
		if n := len(FaultKinds(transport)); n < 20 {
			t.Errorf("%s has %d faults, want 20 at least", transport, n)
		}
	}
}

func TestFaultThatATransportCannotHaveHangsUp(t *testing.T) {
	s := start(t)
	s.Fault(Fault{Kind: Echo})
	conn := dial(t, s)
	ask(t, conn, readTwo)
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read = %v, want EOF", err)
	}
}

func servePanel(t *testing.T) *Server {
	t.Helper()
	s, path, err := ServePTY(panel())
	s = running(t, s, err)
	if path != s.Addr() || s.Transport() != Serial {
		t.Errorf("path %q of %q over %s", path, s.Addr(), s.Transport())
	}
	return s
}

func TestSerialLineIsHungUpAndComesBack(t *testing.T) {
	s := servePanel(t)
	for _, how := range []string{"fault", "disconnect"} {
		line := openLine(t, s.Addr())
		exchange(t, line, framed(t, "0103000a0002"), framed(t, "01030412345678"))
		if how == "fault" {
			s.Fault(Fault{Kind: Close})
			exchange(t, line, framed(t, "0103000a0002"), "")
		} else {
			s.Disconnect()
		}
		_ = line.SetReadDeadline(time.Now().Add(30 * time.Second))
		if n, err := line.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read after a %s: %d bytes, %v; want a hang-up", how, n, err)
		}
	}
	exchange(t, openLine(t, s.Addr()), framed(t, "0103000a0002"), framed(t, "01030412345678"))
	if s.Accepted() != 3 {
		t.Errorf("opened %d times, want 3", s.Accepted())
	}
}

// TestSerialLineKeepsWhatNobodyRead: an answer that came while the line was
// closed is there for whoever opens it.
func TestSerialLineKeepsWhatNobodyRead(t *testing.T) {
	s := servePanel(t)
	line := openLine(t, s.Addr())
	s.Fault(Fault{Kind: Late, Delay: 20 * time.Millisecond})
	exchange(t, line, framed(t, "0103000a0002"), "")
	_ = line.Close()
	expect(t, openLine(t, s.Addr()), framed(t, "01030412345678"))
}

func TestSerialPathGoesWithTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tty")
	for range 2 { // and can be taken again
		s, err := ServePTYAt(path, panel())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(context.Background()) }()
		line := openLine(t, path)
		exchange(t, line, framed(t, "0103000a0002"), framed(t, "01030412345678"))
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v, want no path after Close", err)
		}
	}
	if _, err := ServePTYAt(t.TempDir(), panel()); err == nil {
		t.Error("a folder was taken for a free path")
	}
}

// TestOpenSerial has the server at the far end of a pty, as one of two adapters
// on one bus, and pulls the other.
func TestOpenSerial(t *testing.T) {
	master, path, err := OpenPTY()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	s, err := OpenSerial(path, panel())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	exchange(t, master, framed(t, "0103000a0002"), framed(t, "01030412345678"))
	_ = master.Close()
	if err := <-ended; !errors.Is(err, errLineGone) {
		t.Errorf("Run = %v, want that the line is gone", err)
	}
	if _, err := OpenSerial(filepath.Join(t.TempDir(), "ttyUSB0"), nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("missing adapter: %v, want no such file", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSerial(file, nil); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a file: %v, want no terminal", err)
	}
}

func TestTLSWantsAClientCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"plc"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	s, err := ListenTLS("127.0.0.1:0", &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, panel())
	s = running(t, s, err)
	known := tls.Client(dial(t, s), &tls.Config{RootCAs: pool, ServerName: "plc", Certificates: own})
	exchange(t, known, readTwo, goodTwo)
	stranger := tls.Client(dial(t, s), &tls.Config{RootCAs: pool, ServerName: "plc"})
	raw, _ := hex.DecodeString(readTwo)
	_, _ = stranger.Write(raw)
	_ = stranger.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := stranger.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("a client without a certificate was answered")
	}
	if s.RequestCount() != 1 {
		t.Errorf("%d requests, want 1", s.RequestCount())
	}
}
