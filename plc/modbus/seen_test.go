package modbus

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent/plc"
)

func TestAnswersAreKnownAgain(t *testing.T) {
	zero, one := make([]byte, 20), append(make([]byte, 19), 1)
	for name, tc := range map[string]struct {
		noted   []plc.Request // each answered with zeros
		r       plc.Request
		payload []byte
		want    bool
	}{
		"nothing was asked yet":         {nil, holding(0, 10), zero, false},
		"another's":                     {[]plc.Request{holding(50, 10)}, holding(0, 10), zero, true},
		"another's, of other bytes":     {[]plc.Request{holding(50, 10)}, holding(0, 10), one, false},
		"its own":                       {[]plc.Request{holding(0, 10)}, holding(0, 10), zero, false},
		"its own and another's":         {[]plc.Request{holding(0, 10), holding(50, 10)}, holding(0, 10), zero, false},
		"another's, of another size":    {[]plc.Request{holding(50, 11)}, holding(0, 10), zero, false},
		"another's, a long time before": {append([]plc.Request{holding(50, 10)}, many(remembered)...), holding(0, 10), zero, false},
	} {
		var a answers
		for _, r := range tc.noted {
			a.note(r, zero)
		}
		if got := a.elsewhere(tc.r, tc.payload); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	var a answers
	a.note(holding(50, 10), zero)
	a.note(holding(0, 10), zero)
	a.note(holding(0, 10), one)
	if !a.elsewhere(holding(0, 10), zero) {
		t.Error("a block that was zero once is not so for ever: its last answer counts")
	}
}

func many(n int) (out []plc.Request) {
	for i := range n {
		out = append(out, holding(uint16(i), 3))
	}
	return out
}

// TestDuplicateWhileTheDeviceIsSilent repeats an old answer, of the size that
// is waited for, into a request that is not answered at all.
func TestDuplicateWhileTheDeviceIsSilent(t *testing.T) {
	for _, quantity := range []uint16{10, 1} {
		synctest.Test(t, func(t *testing.T) {
			var old []byte
			l, end := onPipe(func(n int, request []byte, to io.Writer) {
				answer := rtuTruth(request)
				if n == 5 {
					old = answer
				}
				if n == 8 {
					time.Sleep(patience / 2)
					answer = old
				}
				_, _ = to.Write(answer)
			})
			defer end()
			for a := range uint16(30) {
				r := holding(a*10, quantity)
				if got, err := l.Read(t.Context(), 1, r); err == nil {
					wantOracle(t, r, got)
				} else if a > 12 {
					t.Errorf("read %d: %v", a, err)
				}
			}
		})
	}
}

// TestBlocksThatHoldTheSame costs a question more when they become equal, and
// nothing from then on.
func TestBlocksThatHoldTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		l, end := onPipe(func(_ int, request []byte, to io.Writer) {
			asked++
			_, _ = to.Write(rtu(append([]byte{request[0], request[1], 2 * request[5]}, make([]byte, 2*request[5])...)...))
		})
		defer end()
		var before int
		for scan := range 10 {
			for a := range uint16(8) {
				if _, err := l.Read(t.Context(), 1, holding(a*10, 10)); err != nil {
					t.Errorf("scan %d: %v", scan, err)
				}
			}
			if scan == 1 {
				before = asked
			}
		}
		if steady := asked - before; steady > 8*8+8 { // and a confirmation now and then
			t.Errorf("%d requests for 64 reads of equal blocks", steady)
		}
	})
}
