package modbus

import (
	"cmp"
	"errors"
	"slices"

	"edgeagent"
	"edgeagent/plc"
)

// habits are what is known of how a unit answers, so that it is confirmed by
// what it is known to answer.
type habits struct {
	met     bool               // it was asked for something
	tried   bool               // and for something to confirm it with
	refuses bool               // some of that: other areas are tried first
	answers map[signature]bool // to requests for these it has answered, be it by a refusal
	known   []plc.Request      // answered with values, of different signatures, the smallest first
}

// knownAtMost bounds the known requests: two sizes are enough in most cases.
const knownAtMost = 4

// learn takes note of what became of the confirmation c before r.
func (h *habits) learn(c, r plc.Request, err error) {
	refused := answeredBy(err) || errors.Is(err, errAmbiguous) && !errors.Is(err, errUnheard)
	h.met, h.tried = true, h.tried || expected(c) != expected(r)
	h.refuses = h.refuses || refused
	if err == nil {
		h.know(c)
	} else if refused {
		h.answer(expected(c))
	}
}

// know remembers a request that was answered with values.
func (h *habits) know(r plc.Request) {
	if len(h.known) == knownAtMost || slices.ContainsFunc(h.known, func(k plc.Request) bool { return expected(k) == expected(r) }) {
		return
	}
	h.answer(expected(r))
	h.known = append(h.known, r)
	slices.SortStableFunc(h.known, func(a, b plc.Request) int { return cmp.Compare(expected(a).size, expected(b).size) })
}

func (h *habits) answer(s signature) {
	if h.answers == nil {
		h.answers = map[signature]bool{}
	}
	h.answers[s] = true
}

// promising reports whether one of the candidates is likely to be answered.
func (h *habits) promising(candidates []plc.Request) bool {
	return len(candidates) > 0 && (!h.tried || len(h.proven(candidates)) > 0)
}

// proven are those of the candidates that the unit answers.
func (h *habits) proven(candidates []plc.Request) (out []plc.Request) {
	for _, c := range candidates {
		if h.answers[expected(c)] {
			out = append(out, c)
		}
	}
	return out
}

// candidates are what may confirm a unit before r, best first: less of the
// same, what it has answered before, a neighbour more, another area. All have
// another signature than r.
func (h *habits) candidates(r plc.Request, forbidden func(plc.Request) bool) []plc.Request {
	parts := [][]plc.Request{smaller(r), h.known, larger(r), others(r)}
	if h.refuses {
		parts = [][]plc.Request{h.known, others(r), smaller(r), larger(r)}
	}
	return slices.DeleteFunc(slices.Concat(parts...), func(c plc.Request) bool {
		return expected(c) == expected(r) || forbidden(c)
	})
}

// smaller asks for less at the same addresses: even numbers of registers first,
// because some devices refuse half of a value.
func smaller(r plc.Request) (out []plc.Request) {
	if r.Area.Bits() {
		for q := uint16(8); q < r.Quantity; q += 8 {
			out = append(out, plc.Request{Area: r.Area, Offset: r.Offset, Quantity: q})
		}
		return out
	}
	for _, first := range []uint16{2, 1} {
		for q := first; q < r.Quantity; q += 2 {
			out = append(out, plc.Request{Area: r.Area, Offset: r.Offset, Quantity: q})
		}
	}
	return out
}

// larger asks for a neighbour or two as well, where there is hardly less to ask.
func larger(r plc.Request) (out []plc.Request) {
	step := uint16(1)
	if r.Area.Bits() {
		step = 8
	}
	if r.Quantity > 2*step {
		return nil
	}
	for more := step; more <= 2*step; more += step {
		for _, before := range []uint16{0, more} {
			if r.Offset >= before && int(r.Offset-before)+int(r.Quantity+more) <= 1<<16 {
				out = append(out, plc.Request{Area: r.Area, Offset: r.Offset - before, Quantity: r.Quantity + more})
			}
		}
	}
	return out
}

// others asks for one value of another area: nearly every device answers, be it
// with a refusal that names its function.
func others(r plc.Request) (out []plc.Request) {
	for _, area := range []edgeagent.Area{edgeagent.AreaHolding, edgeagent.AreaInput, edgeagent.AreaCoil, edgeagent.AreaDiscrete} {
		if area != r.Area {
			out = append(out, plc.Request{Area: area, Offset: r.Offset, Quantity: 1})
		}
	}
	return out
}
