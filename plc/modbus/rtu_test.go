package modbus

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pdu "github.com/goburrow/modbus"

	"edgeagent"
	"edgeagent/plc"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestChecksumOfTheBooks holds the checksum against frames printed in the
// Modbus specification and in makers' manuals.
func TestChecksumOfTheBooks(t *testing.T) {
	for _, frame := range []string{
		"010300000001840a", "01030000000ac5cd", "110300 6b00037687", "11010013 00250e84", "1104000800 01b298", "020741 12",
		"0103020 000b844", "0a8102 b053",
	} {
		b := unhex(t, string(bytes.ReplaceAll([]byte(frame), []byte(" "), nil)))
		if !summed(b) {
			t.Errorf("%x: checksum %04x, low byte first", b, checksum(b[:len(b)-checksumSize]))
		}
	}
	if got := checksum([]byte("123456789")); got != 0x4b37 {
		t.Errorf("check value = %#x, want 0x4b37", got)
	}
}

func TestSilenceBetweenFrames(t *testing.T) {
	for baud, want := range map[int]time.Duration{
		1200: 32083333, 9600: 4010416, 19200: 2005208, 38400: 1750 * time.Microsecond, 115200: 1750 * time.Microsecond, 0: 1750 * time.Microsecond,
	} {
		if got := silence(baud); got != want {
			t.Errorf("%d baud: %v, want %v", baud, got, want)
		}
	}
}

func TestNextFindsTheAnswerAmongAllElse(t *testing.T) {
	request := rtu(1, 3, 0, 100, 0, 2)
	answer := rtu(1, 3, 4, 1, 2, 3, 4)
	refusal := rtu(1, 0x83, 2)
	coils := rtu(1, 1, 3, 0x13, 0, 19) // its echo is the image of an answer with three bytes
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for name, tc := range map[string]struct {
		came    []byte
		request []byte
		kind    piece
		frame   []byte
		rest    int
	}{
		"an answer":                       {join(answer), request, pieceAnswer, answer, 0},
		"a refusal":                       {join(refusal), request, pieceAnswer, refusal, 0},
		"half an answer":                  {answer[:6], request, pieceNone, nil, 6},
		"a refusal without its last byte": {refusal[:4], request, pieceNone, nil, 4},
		"noise, then an answer":           {join([]byte{0, 0xff, 1, 3}, answer), request, pieceAnswer, answer, 0},
		"an answer, then noise":           {join(answer, []byte{0}), request, pieceAnswer, answer, 1},
		"a bad checksum":                  {append(answer[:8:8], 0), request, pieceNone, nil, 4},
		"an echo, then an answer":         {join(request, answer), request, pieceEcho, request, 9},
		"an echo like an answer":          {join(coils), coils, pieceEcho, coils, 0},
		"another unit, then an answer":    {join(rtu(2, 3, 2, 9, 9), answer), request, pieceForeign, rtu(2, 3, 2, 9, 9), 9},
		"another master's request":        {rtu(2, 3, 0, 1, 0, 1), request, pieceForeign, rtu(2, 3, 0, 1, 0, 1), 0},
		"another master asks our unit":    {rtu(1, 3, 0, 1, 0, 1), request, pieceRequest, rtu(1, 3, 0, 1, 0, 1), 0},
		"another master writes our unit":  {rtu(1, 6, 0, 1, 0, 1), request, pieceAnswer, rtu(1, 6, 0, 1, 0, 1), 0},
		"an answer of another size":       {rtu(1, 3, 2, 1, 2), request, pieceAnswer, rtu(1, 3, 2, 1, 2), 0},
		"half a register":                 {rtu(1, 3, 1, 1), request, pieceNone, nil, 4},
		"nothing":                         {nil, request, pieceNone, nil, 0},
	} {
		kind, frame, rest := next(tc.came, tc.request)
		if kind != tc.kind || !bytes.Equal(frame, tc.frame) || len(rest) != tc.rest {
			t.Errorf("%s: %d %x and %x, want %d %x and %d bytes", name, kind, frame, rest, tc.kind, tc.frame, tc.rest)
		}
	}
}

// framed returns an answer of a signature.
func framed(s signature) []byte {
	if s.size == 0 {
		return rtu(1, s.function|exception, 2)
	}
	return rtu(append([]byte{1, s.function, byte(s.size)}, make([]byte, s.size)...)...)
}

func TestJudge(t *testing.T) {
	want := signature{3, 4}
	for name, tc := range map[string]struct {
		owed []signature
		came signature
		mine bool
		err  bool
		left int
	}{
		"the answer":                                  {nil, signature{3, 4}, true, false, 0},
		"the refusal":                                 {nil, signature{3, 0}, true, false, 0},
		"the refusal of another function":             {nil, signature{4, 0}, false, true, 0},
		"an answer of another size":                   {nil, signature{3, 6}, false, true, 0},
		"an owed answer":                              {[]signature{{3, 20}}, signature{3, 20}, false, false, 0},
		"the second owed answer: the first is lost":   {[]signature{{3, 20}, {3, 8}, {3, 10}}, signature{3, 8}, false, false, 1},
		"a refusal while an answer is owed":           {[]signature{{3, 20}}, signature{3, 0}, false, true, 0},
		"a refusal while one of another area is owed": {[]signature{{4, 20}}, signature{3, 0}, true, false, 1},
		"the answer while others are owed":            {[]signature{{3, 20}, {4, 4}}, signature{3, 4}, true, false, 2},
	} {
		var u unit
		for _, s := range tc.owed {
			u.doubt(s, time.Now(), 0)
		}
		mine, err := u.judge(framed(tc.came), want)
		if mine != tc.mine || tc.err != (err != nil) || len(u.owed) != tc.left {
			t.Errorf("%s: %v, %v, %d owed; want %v, an error %v, %d", name, mine, err, len(u.owed), tc.mine, tc.err, tc.left)
		}
	}
}

// rtuPeer answers as it is told: one script entry a request, nothing for no
// bytes, the truth when the script is over. It is for a bubble.
func rtuPeer(t *testing.T, script ...func(request []byte) []byte) *Link {
	t.Helper()
	l, end := onPipe(func(n int, request []byte, to io.Writer) {
		answer := rtuTruth(request)
		if n < len(script) {
			answer = script[n](request)
		}
		if len(answer) > 0 {
			_, _ = to.Write(answer)
		}
	})
	t.Cleanup(end)
	return l
}

func TestWhatComesWithAnAnswer(t *testing.T) {
	other := func(request []byte) []byte {
		moved := bytes.Clone(request[:6])
		moved[3] ^= 0x40
		return rtuTruth(moved)
	}
	for name, tc := range map[string]struct {
		answer  func(request []byte) []byte
		refused bool
	}{
		"an old answer of its size":       {func(r []byte) []byte { return slices.Concat(other(r), rtuTruth(r)) }, true},
		"an old answer after it":          {func(r []byte) []byte { return slices.Concat(rtuTruth(r), other(r)) }, true},
		"itself again":                    {func(r []byte) []byte { return slices.Concat(rtuTruth(r), rtuTruth(r)) }, false},
		"a glitch of the line before":     {func(r []byte) []byte { return slices.Concat([]byte{0}, rtuTruth(r)) }, false},
		"a glitch of the line behind":     {func(r []byte) []byte { return slices.Concat(rtuTruth(r), []byte{0xff}) }, false},
		"another master that asks":        {func(r []byte) []byte { return slices.Concat(rtuTruth(r), rtu(1, 3, 0, 7, 0, 10)) }, true},
		"another master that asked":       {func(r []byte) []byte { return slices.Concat(rtu(1, 3, 0, 7, 0, 10), rtuTruth(r)) }, true},
		"another unit's answer":           {func(r []byte) []byte { return slices.Concat(rtu(9, 3, 2, 0, 0), rtuTruth(r), rtu(9, 3, 2, 0, 0)) }, false},
		"a thousand bytes without a word": {func([]byte) []byte { return make([]byte, 2*bufferSize) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := rtuPeer(t, rtuTruth, rtuTruth, tc.answer)
				wantRead(t, l, holding(0, 10)) // confirmed, and read
				got, err := l.Read(t.Context(), 1, holding(100, 10))
				if tc.refused != (err != nil) {
					t.Errorf("read %x, %v; want an error: %v", got, err, tc.refused)
				}
				if err == nil {
					wantOracle(t, holding(100, 10), got)
				} else if !errors.Is(err, plc.ErrSilent) {
					t.Errorf("read = %v, want silence", err)
				}
				for a := range uint16(3) {
					wantRead(t, l, holding(a*20, 10))
				}
			})
		})
	}
}

func TestRTUWritesPutNothingOnTheWire(t *testing.T) { synctest.Test(t, rtuWrites) }

func rtuWrites(t *testing.T) {
	asked := 0
	count := func(r []byte) []byte { asked++; return rtuTruth(r) }
	l := rtuPeer(t, count, count, count, count)
	wantRead(t, l, holding(0, 10))
	wantNoWrites(t, l)
	wantRead(t, l, holding(0, 10))
	if asked != 3 {
		t.Errorf("the peer got %d requests, want a confirmation and two reads", asked)
	}
	p := packager{framing: FramingRTU}
	for code := range 256 {
		frame, err := p.Encode(&pdu.ProtocolDataUnit{FunctionCode: byte(code), Data: []byte{0, 0, 0, 1}})
		if isRead := code >= 1 && code <= 4; isRead != (err == nil) || !isRead && (frame != nil || !errors.Is(err, ErrReadOnly)) {
			t.Errorf("function %d: %x, %v", code, frame, err)
		}
	}
}

// TestRefusedConfirmationIsAskedElsewhere is a device that wants its block
// whole, after a timeout: its refusal may be the late one of the block.
func TestRefusedConfirmationIsAskedElsewhere(t *testing.T) { synctest.Test(t, refusedConfirmation) }

func refusedConfirmation(t *testing.T) {
	var asked []plc.Request
	whole := func(r []byte) []byte {
		got := plc.Request{Area: edgeagent.Area(r[1]), Offset: uint16(r[2])<<8 | uint16(r[3]), Quantity: uint16(r[4])<<8 | uint16(r[5])}
		asked = append(asked, got)
		if got.Area != edgeagent.AreaHolding {
			return rtu(r[0], r[1]|exception, 1)
		}
		if got.Quantity != 10 {
			return rtu(r[0], r[1]|exception, 3)
		}
		return rtuTruth(r)
	}
	lost := func([]byte) []byte { return nil }
	l := rtuPeer(t, whole, whole, lost, whole, whole, whole, whole)
	wantRead(t, l, holding(0, 10))
	if _, err := l.Read(t.Context(), 1, holding(20, 10)); !errors.Is(err, plc.ErrSilent) {
		t.Errorf("read = %v, want silence", err)
	}
	wantRead(t, l, holding(40, 10))
	if last := asked[len(asked)-2]; last.Area == edgeagent.AreaHolding {
		t.Errorf("asked %v: the last before the values must be of another area", asked)
	}
}

func FuzzLine(f *testing.F) {
	request := rtu(1, 3, 0, 100, 0, 2)
	f.Add(rtu(1, 3, 4, 1, 2, 3, 4), request[:6])
	f.Add(slices.Concat(request, rtu(1, 0x83, 2)), request[:6])
	f.Add(slices.Concat([]byte{1, 3, 0, 0xff}, rtu(1, 3, 4, 1, 2, 3, 4), []byte{0, 0xff}), request[:6])
	f.Fuzz(func(t *testing.T, came, asked []byte) {
		if len(asked) != 6 || asked[1] < 1 || asked[1] > 4 {
			return
		}
		request := rtu(bytes.Clone(asked)...)
		for b := came; ; {
			kind, frame, rest := next(b, request)
			if len(rest) > len(b) || kind != pieceNone && len(rest) >= len(b) {
				t.Fatalf("no progress in %x", b)
			}
			if kind == pieceNone {
				return
			}
			if !summed(frame) || kind == pieceAnswer && frame[0] != request[0] {
				t.Fatalf("%d %x in %x", kind, frame, b)
			}
			p := packager{framing: FramingRTU}
			if kind == pieceAnswer && signed(frame) == wanted(request) && p.Verify(request, frame) != nil {
				t.Fatalf("%x is the answer to %x and does not verify", frame, request)
			}
			b = rest
		}
	})
}
