package commission

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"edgeagent"
	"edgeagent/plc"
)

// Plausibility says how well a value fits what a plant could say there.
type Plausibility string

// The grades. Only a plausible reading beside implausible ones decides
// anything; an open one (a zero, an integer without limits) decides nothing.
const (
	Plausible   Plausibility = "plausible"
	Open        Plausibility = "open"
	Implausible Plausibility = "implausible"
)

// Reading is the value that one order at one address gives.
type Reading struct {
	Address      string              `json:"address"`
	Shift        int                 `json:"shift"` // addresses from the configured one: -1, 0 or 1
	Order        edgeagent.ByteOrder `json:"order"`
	Configured   bool                `json:"configured"`
	Value        edgeagent.Value     `json:"value"`
	Text         string              `json:"text"` // the value for people
	Plausibility Plausibility        `json:"plausibility"`
	Why          string              `json:"why"`
}

// What a float without limits may be: magnitudes that measurements have.
const (
	smallest = 1e-6
	largest  = 1e9
)

var orders = []edgeagent.ByteOrder{edgeagent.OrderABCD, edgeagent.OrderCDAB, edgeagent.OrderBADC, edgeagent.OrderDCBA}

// ordersOf returns the orders that give different values: the words of one
// register, and of a text, cannot be swapped.
func ordersOf(t *plc.TagSpec) []edgeagent.ByteOrder {
	switch {
	case t.Addr.Area.Bits():
		return orders[:1]
	case t.Type == edgeagent.TypeString && t.Header != "logix", span(t) == 1:
		return []edgeagent.ByteOrder{edgeagent.OrderABCD, edgeagent.OrderBADC}
	default:
		return orders
	}
}

// span returns how many addresses the tag takes.
func span(t *plc.TagSpec) int {
	switch {
	case t.Addr.Area.Bits():
		return 1
	case t.Type == edgeagent.TypeString:
		return t.Length
	case t.Type == edgeagent.TypeBool && t.Addr.Bit > 15:
		return 2
	default:
		return t.Type.Registers()
	}
}

// same reports whether two orders read this tag alike.
func same(t *plc.TagSpec, a, b edgeagent.ByteOrder) bool {
	if a == "" {
		a = edgeagent.OrderABCD
	}
	if b == "" {
		b = edgeagent.OrderABCD
	}
	list := ordersOf(t)
	if slices.Contains(list, a) && slices.Contains(list, b) {
		return a == b
	}
	swaps := func(o edgeagent.ByteOrder) bool { return o == edgeagent.OrderBADC || o == edgeagent.OrderDCBA }
	return len(list) == 1 || swaps(a) == swaps(b)
}

// readAs decodes what was heard under one order, and judges it. again is the
// second answer, nil when there was none.
func readAs(t *plc.TagSpec, order edgeagent.ByteOrder, data, again []byte) Reading {
	spec := *t
	spec.Order = order
	s := plc.Decode(&spec, pick(&spec, data))
	out := Reading{Order: order, Value: s.Value, Text: s.Value.String()}
	out.Plausibility, out.Why = judge(&spec, s)
	if out.Plausibility == Implausible || again == nil {
		return out
	}
	second := plc.Decode(&spec, pick(&spec, again))
	if p, why := judgeChange(&spec, s, second); why != "" {
		out.Plausibility, out.Why = p, out.Why+"; "+why
	}
	return out
}

// pick returns the bytes as plc.Decode takes them: one byte for a bit.
func pick(t *plc.TagSpec, data []byte) []byte {
	if t.Addr.Area.Bits() && len(data) == 1 {
		return []byte{data[0] & 1}
	}
	return data
}

func judge(t *plc.TagSpec, s edgeagent.Sample) (Plausibility, string) {
	f, numeric := s.Value.Float64()
	outside := s.Reason.Is(edgeagent.ReasonOutOfRange)
	switch {
	case s.Quality != edgeagent.QualityGood && !outside:
		return Implausible, s.Reason.String()
	case s.Value.Kind() == edgeagent.KindString:
		return judgeText(s.Value.String())
	case s.Value.Kind() == edgeagent.KindBool || !numeric:
		return Open, "a bit is always 0 or 1"
	case f == 0:
		return Open, "a zero is a zero in every order"
	case outside && near(t, f):
		return Open, s.Reason.String() + ", but not far: it may be over-range"
	case outside:
		return Implausible, s.Reason.String()
	case isFloat(t):
		return judgeFloat(t, f)
	case t.Min != nil && t.Max != nil:
		return Plausible, "within min and max"
	case strings.HasPrefix(string(t.Type), "bcd"):
		return Plausible, "every digit is decimal"
	default:
		return Open, "an integer without min and max may be anything"
	}
}

func isFloat(t *plc.TagSpec) bool { return strings.HasPrefix(string(t.Type), "float") }

// near reports whether a value outside min and max is of their size: a sensor
// over its range must not speak for another order. In 16 bits every value is.
func near(t *plc.TagSpec, f float64) bool {
	if span(t) == 1 {
		return true
	}
	if t.Min == nil || t.Max == nil {
		return false
	}
	width := *t.Max - *t.Min
	return width > 0 && f >= *t.Min-width && f <= *t.Max+width && (!isFloat(t) || math.Abs(f) >= smallest)
}

// judgeFloat weighs the size before min and max, because what two words in the
// wrong order give is often next to zero, and that is within most limits.
func judgeFloat(t *plc.TagSpec, f float64) (Plausibility, string) {
	limited := t.Min != nil && t.Max != nil
	tiny := limited && max(math.Abs(*t.Min), math.Abs(*t.Max)) < 1000*smallest
	switch m := math.Abs(f); {
	case m < smallest && !tiny:
		return Implausible, fmt.Sprintf("smaller than any measurement (%g)", smallest)
	case limited:
		return Plausible, "within min and max"
	case m > largest:
		return Implausible, fmt.Sprintf("larger than any measurement (%g)", largest)
	default:
		return Plausible, "a size that measurements have"
	}
}

func judgeText(s string) (Plausibility, string) {
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return Implausible, "it holds characters that cannot be printed"
		}
	}
	switch {
	case strings.TrimSpace(s) == "":
		return Open, "an empty text"
	case swapped(s):
		return Open, "printable, but its letters look swapped in pairs"
	default:
		return Plausible, "printable"
	}
}

// swapped reports whether a text reads like one whose bytes are swapped: a
// space or a small letter before a capital in one pair after the other.
func swapped(s string) bool {
	odd, even := 0, 0
	runes := []rune(s)
	for i := 1; i < len(runes); i++ {
		if unicode.IsUpper(runes[i]) && unicode.IsLower(runes[i-1]) {
			if i%2 == 1 {
				odd++
			} else {
				even++
			}
		}
	}
	return odd > even
}

// judgeChange weighs how the value moved between two reads. In the right order
// a counter counts and a measurement drifts; with its words swapped the
// integer leaps by a multiple of 65536 and the float into another magnitude.
func judgeChange(t *plc.TagSpec, a, b edgeagent.Sample) (Plausibility, string) {
	was, ok := a.Value.Float64()
	is, okToo := b.Value.Float64()
	if !ok || !okToo || a.Value.Kind() == edgeagent.KindBool || was == is {
		return "", ""
	}
	outside := b.Reason.Is(edgeagent.ReasonOutOfRange)
	switch {
	case b.Quality != edgeagent.QualityGood && !outside:
		return Implausible, fmt.Sprintf("the second read is no good value: %v", b.Reason)
	case outside && !near(t, is): // the limits may be too narrow; of the neighbours, read once, nobody knows
		return Open, fmt.Sprintf("but the second read is %v", b.Reason)
	}
	step := math.Abs(is - was)
	if isFloat(t) {
		if step > max(math.Abs(was), math.Abs(is)) {
			return Open, fmt.Sprintf("but it leapt to %v", b.Value)
		}
		return "", ""
	}
	if span(t) == 1 || t.Scaling != nil || t.Scale != 0 && t.Scale != 1 {
		return "", ""
	}
	switch {
	case step >= 1<<16:
		return Implausible, fmt.Sprintf("it leapt by %.0f between two reads", step)
	case math.Mod(step, 1<<8) == 0:
		return Open, fmt.Sprintf("it moved by %.0f between two reads, as if its bytes were swapped", step)
	}
	return Plausible, fmt.Sprintf("it moved by %.0f between two reads", step)
}
