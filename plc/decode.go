package plc

import (
	"encoding/binary"
	"fmt"
	"math"

	"edgeagent"
)

// Decode turns the bytes of one tag into a judged sample. raw holds its
// registers as the device sent them or, in a bit area, one byte that is zero
// or not. Bytes that do not fit the tag make a bad sample, never a wrong one.
// Sample.At is left to the caller.
func Decode(t *TagSpec, raw []byte) edgeagent.Sample {
	if t.Addr.Area.Bits() {
		if len(raw) != 1 {
			return wrongSize(t, len(raw))
		}
		return decodeBit(t, []uint16{min(uint16(raw[0]), 1)})
	}
	return decode(t, raw, registers(raw))
}

// decode is Decode with the registers made already: of the many tags that one
// answer serves each takes its part of one slice, which nobody writes to again.
func decode(t *TagSpec, raw []byte, regs []uint16) edgeagent.Sample {
	if len(raw) == 0 || len(raw) != 2*t.span() {
		return wrongSize(t, len(raw))
	}
	s := edgeagent.Sample{Tag: t.Name, Quality: edgeagent.QualityGood, Raw: regs}
	if t.Type == edgeagent.TypeString {
		return decodeText(s, t, raw)
	}
	return decodeNumber(s, t, arrange(raw, t.Order))
}

// decodeBit takes the one element that is the bit.
func decodeBit(t *TagSpec, bit []uint16) edgeagent.Sample {
	return edgeagent.Sample{Tag: t.Name, Quality: edgeagent.QualityGood, Value: edgeagent.Bool(bit[0] != 0), Raw: bit}
}

func wrongSize(t *TagSpec, n int) edgeagent.Sample {
	text := fmt.Sprintf("got %d bytes for %d registers", n, t.span())
	if t.Addr.Area.Bits() {
		text = fmt.Sprintf("got %d bytes for one bit", n)
	}
	return bad(edgeagent.Sample{Tag: t.Name}, edgeagent.ReasonMalformed, text)
}

// decodeNumber takes the tag's bits, most significant byte first.
func decodeNumber(s edgeagent.Sample, t *TagSpec, bits uint64) edgeagent.Sample {
	if t.Addr.Bit >= 0 {
		s.Value = edgeagent.Bool(bits>>t.Addr.Bit&1 == 1)
		return s
	}
	v, ok := number(t.Type, bits)
	if !ok {
		return bad(s, edgeagent.ReasonNotANumber, fmt.Sprintf("0x%0*X is no BCD number: a digit is above 9", 4*t.span(), bits))
	}
	return judgeValue(s, t, v)
}

// Judge makes a sample of a value that came decoded: scaled, bad where it is
// no number, uncertain where it is out of the tag's range. Sample.At is left to
// the caller.
func Judge(t *TagSpec, v edgeagent.Value) edgeagent.Sample {
	return judgeValue(edgeagent.Sample{Tag: t.Name, Quality: edgeagent.QualityGood}, t, v)
}

func judgeValue(s edgeagent.Sample, t *TagSpec, v edgeagent.Value) edgeagent.Sample {
	scaled := scale(t, v)
	if !v.Finite() || !scaled.Finite() { // before scaling, too: a clamp would make a fine number of an infinity
		return bad(s, edgeagent.ReasonNotANumber, "the value is not a number")
	}
	s.Value = scaled
	return judgeRange(s, t)
}

// number returns the value of a type; false for a BCD digit above 9. Integers
// stay integers: a 64-bit counter does not fit a float.
func number(typ edgeagent.DataType, bits uint64) (edgeagent.Value, bool) {
	switch typ {
	case edgeagent.TypeBool:
		return edgeagent.Bool(bits != 0), true
	case edgeagent.TypeInt8H:
		return edgeagent.Int(int64(int8(bits >> 8))), true
	case edgeagent.TypeInt8L:
		return edgeagent.Int(int64(int8(bits))), true
	case edgeagent.TypeUint8H:
		return edgeagent.Uint(bits >> 8 & 0xff), true
	case edgeagent.TypeUint8L:
		return edgeagent.Uint(bits & 0xff), true
	case edgeagent.TypeInt16:
		return edgeagent.Int(int64(int16(bits))), true
	case edgeagent.TypeInt32:
		return edgeagent.Int(int64(int32(bits))), true
	case edgeagent.TypeInt64:
		return edgeagent.Int(int64(bits)), true
	case edgeagent.TypeFloat16:
		return edgeagent.Float(half(uint16(bits))), true
	case edgeagent.TypeFloat32:
		return edgeagent.Float(float64(math.Float32frombits(uint32(bits)))), true
	case edgeagent.TypeFloat64:
		return edgeagent.Float(math.Float64frombits(bits)), true
	case edgeagent.TypeBCD16, edgeagent.TypeBCD32:
		return bcd(bits)
	default:
		return edgeagent.Uint(bits), true
	}
}

// arrange undoes the device's byte order and returns up to eight bytes as one
// number. BADC and DCBA swap the bytes of each register, CDAB and DCBA send
// the least significant register first.
func arrange(raw []byte, order edgeagent.ByteOrder) uint64 {
	var bits uint64
	n := len(raw) / 2
	for i := range n {
		at := i
		if order == edgeagent.OrderCDAB || order == edgeagent.OrderDCBA {
			at = n - 1 - i
		}
		bits = bits<<16 | uint64(register(raw[2*at:], order))
	}
	return bits
}

func register(raw []byte, order edgeagent.ByteOrder) uint16 {
	if order == edgeagent.OrderBADC || order == edgeagent.OrderDCBA {
		return binary.LittleEndian.Uint16(raw)
	}
	return binary.BigEndian.Uint16(raw)
}

func registers(raw []byte) []uint16 {
	out := make([]uint16, len(raw)/2)
	for i := range out {
		out[i] = binary.BigEndian.Uint16(raw[2*i:])
	}
	return out
}

// half widens an IEEE 754 half: 1 sign, 5 exponent and 10 fraction bits.
func half(h uint16) float64 {
	sign, exp, frac := 1.0, int(h>>10&0x1f), float64(h&0x3ff)
	if h&0x8000 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 0x1f:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	default:
		return sign * math.Ldexp(1024+frac, exp-25)
	}
}

func bcd(bits uint64) (edgeagent.Value, bool) {
	var n, unit uint64 = 0, 1
	for ; bits > 0; bits >>= 4 {
		digit := bits & 0xf
		if digit > 9 {
			return edgeagent.Value{}, false
		}
		n += digit * unit
		unit *= 10
	}
	return edgeagent.Uint(n), true
}

// scale returns v in engineering units. Without scaling it is v itself, so
// that integers stay exact.
func scale(t *TagSpec, v edgeagent.Value) edgeagent.Value {
	f, ok := v.Float64()
	switch {
	case !ok || v.Kind() == edgeagent.KindBool:
		return v
	case t.Scaling != nil:
		return edgeagent.Float(t.Scaling.apply(f))
	case (t.Scale == 0 || t.Scale == 1) && t.Offset == 0:
		return v
	case t.Scale == 0:
		return edgeagent.Float(f + t.Offset)
	default:
		return edgeagent.Float(multiply(f, t.Scale) + t.Offset)
	}
}

// multiply divides by ten instead of multiplying by 0.1, which is not a tenth:
// 3 × 0.1 would be 0.30000000000000004, and never equal to the 0.3 of an alarm.
func multiply(f, scale float64) float64 {
	if inverse := math.Round(1 / scale); math.Abs(scale) < 1 && inverse*scale == 1 {
		return f / inverse
	}
	return f * scale
}

func (s *Scaling) apply(raw float64) float64 {
	share := (raw - s.Raw[0]) / (s.Raw[1] - s.Raw[0])
	eng := s.Eng[0] + share*(s.Eng[1]-s.Eng[0])
	if s.Clamp && !math.IsNaN(eng) {
		low, high := min(s.Eng[0], s.Eng[1]), max(s.Eng[0], s.Eng[1])
		eng = min(max(eng, low), high)
	}
	return eng
}

// judgeRange marks a number outside min and max uncertain and keeps it: an
// over-range sensor must not silence its own alarm.
func judgeRange(s edgeagent.Sample, t *TagSpec) edgeagent.Sample {
	f, ok := s.Value.Float64()
	if !ok || s.Value.Kind() == edgeagent.KindBool {
		return s
	}
	low, high := t.Min != nil && f < *t.Min, t.Max != nil && f > *t.Max
	if !low && !high {
		return s
	}
	side, limit := "below the minimum", t.Min
	if high {
		side, limit = "above the maximum", t.Max
	}
	s.Quality = edgeagent.QualityUncertain
	s.Reason = edgeagent.NewNote(edgeagent.ReasonOutOfRange, fmt.Sprintf("%v is %s of %v", s.Value, side, *limit),
		"limit", fmt.Sprint(*limit))
	return s
}

func bad(s edgeagent.Sample, code, text string) edgeagent.Sample {
	s.Quality, s.Reason = edgeagent.QualityBad, edgeagent.NewNote(code, text)
	return s
}
