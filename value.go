package edgeagent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// ValueKind says what a [Value] holds.
type ValueKind uint8

// The kinds of values a tag can have. None is the absence of one.
const (
	KindNone ValueKind = iota
	KindBool
	KindInt
	KindUint
	KindFloat
	KindString
)

// Value is one value of a tag: a bool, a 64-bit integer, a float or a text.
// The zero Value is none. Values are comparable with [Value.Equal].
type Value struct {
	kind ValueKind
	bits uint64
	str  string
}

// Bool returns the value of a bit.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, bits: 1}
	}
	return Value{kind: KindBool}
}

// Int returns the value of a signed register.
func Int(i int64) Value { return Value{kind: KindInt, bits: uint64(i)} }

// Uint returns the value of an unsigned register.
func Uint(u uint64) Value { return Value{kind: KindUint, bits: u} }

// Float returns the value of a measurement. NaN and infinities are kept: they
// have bad quality, which is not this type's business. There is one NaN: a PLC
// has many, and going from one to the other is no change.
func Float(f float64) Value {
	if math.IsNaN(f) {
		f = math.NaN()
	}
	return Value{kind: KindFloat, bits: math.Float64bits(f)}
}

// String returns the value of a text.
func String(s string) Value { return Value{kind: KindString, str: s} }

// Kind says what v holds.
func (v Value) Kind() ValueKind { return v.kind }

// IsNone reports whether v holds nothing.
func (v Value) IsNone() bool { return v.kind == KindNone }

// Float64 returns v as a number; a bool is 0 or 1. It reports false for texts
// and for none.
func (v Value) Float64() (float64, bool) {
	switch v.kind {
	case KindBool, KindUint:
		return float64(v.bits), true
	case KindInt:
		return float64(int64(v.bits)), true
	case KindFloat:
		return math.Float64frombits(v.bits), true
	default:
		return 0, false
	}
}

// Any returns v as bool, int64, uint64, float64, string or nil.
func (v Value) Any() any {
	switch v.kind {
	case KindBool:
		return v.bits == 1
	case KindInt:
		return int64(v.bits)
	case KindUint:
		return v.bits
	case KindFloat:
		return math.Float64frombits(v.bits)
	case KindString:
		return v.str
	default:
		return nil
	}
}

// Finite reports whether v is anything but NaN or an infinity.
func (v Value) Finite() bool {
	if v.kind != KindFloat {
		return true
	}
	f := math.Float64frombits(v.bits)
	return !math.IsNaN(f) && !math.IsInf(f, 0)
}

// Equal reports whether both hold the same; two NaN are equal.
func (v Value) Equal(w Value) bool { return v == w }

// String writes v for people: floats with up to six significant digits, none
// as a dash.
func (v Value) String() string {
	switch v.kind {
	case KindBool:
		return strconv.FormatBool(v.bits == 1)
	case KindInt:
		return strconv.FormatInt(int64(v.bits), 10)
	case KindUint:
		return strconv.FormatUint(v.bits, 10)
	case KindFloat:
		return strconv.FormatFloat(math.Float64frombits(v.bits), 'g', 6, 64)
	case KindString:
		return v.str
	default:
		return "-"
	}
}

// maxExact is the largest integer that every JSON reader keeps exactly.
const maxExact = 1 << 53

// MarshalJSON writes a bool, number, string or null. Integers beyond ±2^53
// become strings, NaN and infinities null.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case KindInt:
		i := int64(v.bits)
		return quoteIf(i > maxExact || i < -maxExact, strconv.FormatInt(i, 10)), nil
	case KindUint:
		return quoteIf(v.bits > maxExact, strconv.FormatUint(v.bits, 10)), nil
	default:
		if !v.Finite() {
			return []byte("null"), nil
		}
		return json.Marshal(v.Any())
	}
}

func quoteIf(quote bool, s string) []byte {
	if quote {
		return []byte(`"` + s + `"`)
	}
	return []byte(s)
}

// UnmarshalJSON reads what MarshalJSON writes: a number without point or
// exponent becomes an integer, any other a float.
func (v *Value) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return fmt.Errorf("read value: %w", err)
	}
	switch x := x.(type) {
	case nil:
		*v = Value{}
	case bool:
		*v = Bool(x)
	case string:
		*v = String(x)
	case json.Number:
		return v.setNumber(x)
	default:
		return fmt.Errorf("read value: want a bool, number, string or null, got %s", data)
	}
	return nil
}

func (v *Value) setNumber(n json.Number) error {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		*v = Int(i)
		return nil
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		*v = Uint(u)
		return nil
	}
	f, err := n.Float64()
	if err != nil {
		return fmt.Errorf("read value: %w", err)
	}
	*v = Float(f)
	return nil
}
