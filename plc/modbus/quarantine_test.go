package modbus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

func TestQuarantineEndsWithADifferentSizeOnly(t *testing.T) {
	neverRead := func(_ uint8, area edgeagent.Area, from, to uint16) bool {
		return area == edgeagent.AreaHolding && from <= 51 && 51 <= to
	}
	for name, tc := range map[string]struct {
		r         plc.Request
		owed      []signature
		refuses   bool
		known     []plc.Request
		forbidden func(uint8, edgeagent.Area, uint16, uint16) bool
		want      string
	}{
		"fewer registers, an even number":        {r: holding(100, 10), want: "FC3 holding:100-101 (2 registers)"},
		"not one that is owed":                   {r: holding(100, 10), owed: []signature{{3, 20}, {3, 4}}, want: "FC3 holding:100-103 (4 registers)"},
		"one register of two":                    {r: holding(100, 2), want: "FC3 holding:100 (1 register)"},
		"a neighbour of one register":            {r: holding(50, 1), want: "FC3 holding:50-51 (2 registers)"},
		"the neighbour that may be read":         {r: holding(50, 1), forbidden: neverRead, want: "FC3 holding:49-50 (2 registers)"},
		"the last register of all":               {r: holding(65535, 1), want: "FC3 holding:65534-65535 (2 registers)"},
		"another area where this one refuses":    {r: holding(50, 1), refuses: true, want: "FC4 input:50 (1 register)"},
		"fewer bits":                             {r: plc.Request{Area: edgeagent.AreaCoil, Offset: 8, Quantity: 100}, want: "FC1 coil:8-15 (8 bits)"},
		"more bits of few":                       {r: plc.Request{Area: edgeagent.AreaCoil, Offset: 8, Quantity: 3}, want: "FC1 coil:8-18 (11 bits)"},
		"another area when every size is owed":   {r: holding(65535, 1), owed: []signature{{3, 2}, {3, 4}, {3, 6}}, want: "FC4 input:65535 (1 register)"},
		"the one asked for last, of all owed":    {r: holding(65535, 1), owed: []signature{{3, 2}, {3, 4}, {2, 1}, {3, 6}, {4, 2}, {1, 1}, {3, 2}}, want: "FC1 coil:65535 (1 bit)"},
		"itself, if its answer is not owed":      {r: holding(65535, 1), owed: []signature{{3, 4}, {3, 6}, {4, 2}, {1, 1}, {2, 1}}, want: "FC3 holding:65535 (1 register)"},
		"what it has answered before":            {r: holding(50, 1), known: []plc.Request{holding(7, 1), holding(9, 5)}, want: "FC3 holding:9-13 (5 registers)"},
		"that first, where neighbours refuse":    {r: holding(50, 1), refuses: true, known: []plc.Request{holding(9, 5)}, want: "FC3 holding:9-13 (5 registers)"},
		"of all owed, one that it answers":       {r: holding(50, 1), known: []plc.Request{holding(9, 5)}, owed: []signature{{3, 2}, {3, 4}, {3, 10}, {3, 6}, {4, 2}, {1, 1}, {2, 1}}, want: "FC3 holding:9-13 (5 registers)"},
		"bits of the same size are not enough":   {r: plc.Request{Area: edgeagent.AreaDiscrete, Offset: 0, Quantity: 16}, want: "FC2 discrete:0-7 (8 bits)"},
		"a late answer of another function, too": {r: holding(50, 1), refuses: true, owed: []signature{{4, 2}}, want: "FC1 coil:50 (1 bit)"},
	} {
		u := unit{habits: habits{met: true, refuses: tc.refuses}}
		for _, k := range tc.known {
			u.habits.know(k)
		}
		for _, s := range tc.owed {
			u.doubt(s, time.Now(), 0)
		}
		got, ok := u.confirmation(tc.r, func(c plc.Request) bool {
			return tc.forbidden != nil && tc.forbidden(1, c.Area, c.Offset, c.Offset+c.Quantity-1)
		}, time.Now().Add(-time.Minute))
		if !ok || got.String() != tc.want {
			t.Errorf("%s: %v, %v; want %q", name, got, ok, tc.want)
		}
	}
}

// TestSilentSlipDoesNotLast is a gateway that has slipped by one answer without
// a sign: no master can see the first wrong values; they must not go on.
func TestSilentSlipDoesNotLast(t *testing.T) {
	for _, quantity := range []uint16{10, 1} {
		synctest.Test(t, func(t *testing.T) { slip(t, quantity) })
	}
}

func slip(t *testing.T, quantity uint16) {
	var before []byte
	l, end := onPipe(func(n int, request []byte, to io.Writer) {
		answer := moved(rtuTruth(request), n)
		switch {
		case n == 57: // asked twice by the gateway, which is its secret
			answer, before = moved(before, n), answer
		case n > 57:
			answer, before = before, answer
		default:
			before = answer
		}
		_, _ = to.Write(answer)
	})
	defer end()
	wrong, refused := 0, 0
	for a := range uint16(200) {
		r := holding(a*256, quantity)
		got, err := l.Read(t.Context(), 1, r)
		switch {
		case err != nil:
			refused++
		case got[0] != byte(oracle(int(r.Offset))>>8):
			wrong++
		}
	}
	if wrong == 0 || wrong > 16 || refused < 100 {
		t.Errorf("%d wrong values and %d errors: a slip must be found within 16 requests, and stay found", wrong, refused)
	}
}

// lines is a peer that answers what asks returns for a request, after it came.
func lines(t *testing.T, asks func(n int, request []byte) [][]byte) (*Link, func()) {
	t.Helper()
	return onPipe(func(n int, request []byte, to io.Writer) {
		for _, answer := range asks(n, request) {
			_, _ = to.Write(answer)
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// TestLastAskedOfAllOwed: of single registers all that can be asked for is owed,
// and then the device answers again. However many of the old answers still come
// first, in their order, none becomes a value; and reading goes on within two
// answers where none of them comes.
func TestLastAskedOfAllOwed(t *testing.T) {
	const away = 30 // requests
	for kept := range away + 1 {
		synctest.Test(t, func(t *testing.T) {
			var old [][]byte
			l, end := onPipe(func(n int, request []byte, to io.Writer) {
				switch answer := rtuTruth(request); {
				case n > 20 && n <= 20+away:
					old = append(old, answer)
				case n > 20+away && len(old) > 0: // one for one: out of step for as long as can be
					old = append(old[max(0, len(old)-kept):], answer)
					_, _ = to.Write(old[0])
					old = old[1:]
				default:
					_, _ = to.Write(answer)
				}
			})
			defer end()
			failed := 0
			for a := range uint16(200) {
				r := holding(a*16, 1)
				if got, err := l.Read(t.Context(), 1, r); err == nil {
					wantOracle(t, r, got)
				} else if failed++; kept == 0 && failed > away+4 {
					t.Fatalf("read %d: %v: %d reads have failed since it was away for %d requests", a, err, failed, away)
				}
			}
		})
	}
}

// TestUnitThatAnswersNothingElse is a device with one register that is silent,
// not even refusing, where anything else is asked for. It loses an answer.
func TestUnitThatAnswersNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := 0
		l, end := lines(t, func(n int, request []byte) [][]byte {
			if !bytes.Equal(request[:6], []byte{1, 3, 0, 7, 0, 1}) || n == 50 {
				lost++
				return nil
			}
			return [][]byte{rtuTruth(request)}
		})
		defer end()
		var since time.Time
		for range 400 {
			got, err := l.Read(t.Context(), 1, holding(7, 1))
			switch {
			case err == nil && lost > 0 && !since.IsZero():
				if took := time.Since(since); took > 2*forgetAfter*patience {
					t.Errorf("read again after %v", took)
				}
				since = time.Time{}
			case err == nil:
				wantOracle(t, holding(7, 1), got)
			case since.IsZero():
				since = time.Now()
			}
		}
		if lost < 2 || !since.IsZero() {
			t.Errorf("%d requests were not answered; not read since %v", lost, since)
		}
	})
}

// TestSingleRegistersOfASilentNeighbourhood: nothing is lost, and what confirms
// is not answered. It costs one search for something else, once.
func TestSingleRegistersOfASilentNeighbourhood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := lines(t, func(_ int, request []byte) [][]byte {
			if request[1] != 3 || request[5] != 1 {
				return nil
			}
			return [][]byte{rtuTruth(request)}
		})
		defer end()
		failed := 0
		for a := range uint16(500) {
			if _, err := l.Read(t.Context(), 1, holding(a*10, 1)); err != nil {
				failed++
			}
		}
		if failed == 0 || failed > 40 {
			t.Errorf("%d of 500 reads failed, want those of one search", failed)
		}
	})
}

// TestAnswerToWhoeverAskedBefore comes to an agent that has just started.
func TestAnswerToWhoeverAskedBefore(t *testing.T) {
	for _, quantity := range []uint16{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			late := rtuTruth(rtu(1, 3, 0x70, 0, 0, byte(quantity)))
			l, end := lines(t, func(n int, request []byte) [][]byte {
				if n == 0 {
					return [][]byte{late, rtuTruth(request)}
				}
				return [][]byte{rtuTruth(request)}
			})
			defer end()
			good := 0
			for range 5 {
				if got, err := l.Read(t.Context(), 1, holding(7, quantity)); err == nil {
					wantOracle(t, holding(7, quantity), got)
					good++
				}
			}
			if good < 3 {
				t.Errorf("%d of 5 reads", good)
			}
		})
	}
}

// TestAnotherMasterAsksAUnitMeanwhile: its request to unit 2 is heard while
// unit 1 is waited for; unit 2 answers it when we have asked it, too.
func TestAnotherMasterAsksAUnitMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := rtu(2, 3, 0x70, 0, 0, 10)
		disturbed := false
		l, end := lines(t, func(_ int, request []byte) [][]byte {
			answers := [][]byte{rtuTruth(request)}
			switch {
			case request[0] == 1 && request[2] == 9:
				disturbed = true
				answers = [][]byte{append(slices.Clone(theirs), answers[0]...)}
			case request[0] == 2 && disturbed:
				disturbed = false
				answers = [][]byte{rtuTruth(theirs), answers[0]}
			}
			return answers
		})
		defer end()
		good := 0
		for a := range uint16(20) {
			for unit := uint8(1); unit <= 2; unit++ {
				r := holding(a*256, 10)
				if got, err := l.Read(t.Context(), unit, r); err == nil {
					wantOracle(t, r, got)
					good++
				}
			}
		}
		if disturbed || good < 36 {
			t.Errorf("%d of 40 reads", good)
		}
	})
}

// TestRequestOfAnotherMasterSettlesNothing: what we are owed still comes.
func TestRequestOfAnotherMasterSettlesNothing(t *testing.T) {
	theirs, s := rtu(1, 3, 0x70, 0, 0, 10), signature{3, 20}
	l := New(Options{Framing: FramingRTU})
	u := l.unit(1)
	u.doubt(s, time.Now(), 0)
	l.filled = copy(l.buf[:], theirs)
	l.overheard()
	if len(u.owed) != 1 || u.owed[0].times != 2 {
		t.Errorf("owed %+v, want two answers of 20 bytes", u.owed)
	}
	if !u.settle(s) || !u.owes(s) || !u.settle(s) || u.owes(s) {
		t.Errorf("owed %+v after two answers, want none", u.owed)
	}
	coils := rtu(1, 1, 3, 0x10, 0, 0x18) // a request, and the image of an answer of three bytes
	u.doubt(signature{1, 3}, time.Now(), 0)
	l.filled = copy(l.buf[:], coils)
	if l.overheard(); !u.owes(signature{1, 3}) {
		t.Error("another master's request was taken for the answer that is owed")
	}
}

// TestNeverReadConfirmsNothing asks for nothing that is forbidden, and reads on.
func TestNeverReadConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := lines(t, func(n int, request []byte) [][]byte {
			if !bytes.Equal(request[1:6], []byte{3, 0, 7, 0, 1}) {
				t.Errorf("asked for % x", request)
			}
			if n == 5 {
				return nil
			}
			return [][]byte{rtuTruth(request)}
		})
		defer end()
		l.o.NeverRead = func(_ uint8, area edgeagent.Area, from, to uint16) bool {
			return area != edgeagent.AreaHolding || from != to || from != 7
		}
		failed := 0
		for range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if _, err := l.Read(ctx, 1, holding(7, 1)); err != nil {
				failed++
				if failed > 1 && !errors.Is(err, plc.ErrQuarantined) {
					t.Error(err)
				}
				time.Sleep(2 * patience)
			}
			cancel()
		}
		if failed == 0 || failed > forgetAfter {
			t.Errorf("%d of 40 reads failed", failed)
		}
	})
}

// TestGatewayThatGaveUp answers for a unit that was too slow, and gives what the
// unit says in the end to the next request.
func TestGatewayThatGaveUp(t *testing.T) {
	for _, quantity := range []uint16{10, 1} {
		synctest.Test(t, func(t *testing.T) {
			var late []byte
			l, end := lines(t, func(n int, request []byte) [][]byte {
				answer := rtuTruth(request)
				if n%9 == 8 {
					late = answer
					return [][]byte{rtu(request[0], request[1]|exception, 11)}
				}
				answers := [][]byte{late, answer}
				if late == nil {
					answers = answers[1:]
				}
				late = nil
				return answers
			})
			defer end()
			good, exceptions := 0, 0
			for a := range uint16(100) {
				r := holding(a*16, quantity)
				got, err := l.Read(t.Context(), 1, r)
				if err == nil {
					wantOracle(t, r, got)
					good++
				} else if _, refused := errors.AsType[*plc.Exception](err); refused {
					exceptions++
				}
			}
			if good < 50 || exceptions < 5 {
				t.Errorf("%d of 100 reads and %d exceptions", good, exceptions)
			}
		})
	}
}
