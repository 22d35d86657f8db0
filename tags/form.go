package tags

import (
	"encoding/binary"
	"math"
)

// form is how the numbers of one tag's history are written: the narrowest that
// gives every one of them back exactly. A number that does not fit widens it.
type form uint8

// The forms, from narrow to wide. PLCs hold words, which are scaled by tenths
// or hundredths at most, or float32; all else is rare.
const (
	constant form = iota // one number, kept beside
	word16
	short16
	tenths      // a word times 0.1
	tenthParts  // a word divided by 10
	cents       // a word times 0.01
	centParts   // a word divided by 100
	shortTenths // the same with a sign
	shortTenthParts
	shortCents
	shortCentParts
	single
	long32
	double
)

// shape describes a form: bytes a number, and how a whole one becomes the value.
type shape struct {
	width   int
	signed  bool
	times   float64
	divided float64
}

var shapes = [...]shape{
	constant: {},
	word16:   {width: 2, times: 1, divided: 1}, short16: {width: 2, signed: true, times: 1, divided: 1},
	tenths: {width: 2, times: 0.1, divided: 1}, tenthParts: {width: 2, times: 1, divided: 10},
	cents: {width: 2, times: 0.01, divided: 1}, centParts: {width: 2, times: 1, divided: 100},
	shortTenths: {width: 2, signed: true, times: 0.1, divided: 1}, shortTenthParts: {width: 2, signed: true, times: 1, divided: 10},
	shortCents: {width: 2, signed: true, times: 0.01, divided: 1}, shortCentParts: {width: 2, signed: true, times: 1, divided: 100},
	single: {width: 4}, long32: {width: 4, signed: true, times: 1, divided: 1}, double: {width: 8},
}

// whole returns the number that is stored for v, and whether it gives v back.
func (s *shape) whole(v float64) (int64, bool) {
	n := v
	if s.times != 1 || s.divided != 1 {
		n = math.Round(v * s.divided / s.times)
	}
	low, high := 0.0, float64(uint64(1)<<(8*s.width)-1)
	if s.signed {
		low, high = -(high+1)/2, (high-1)/2
	}
	if n < low || n > high {
		return 0, false
	}
	return int64(n), float64(int64(n))*s.times/s.divided == v
}

// holds reports whether the form, which is not constant, gives v back exactly.
func (f form) holds(v float64) bool {
	switch f {
	case double:
		return true
	case single:
		return float64(float32(v)) == v
	default:
		_, exact := shapes[f].whole(v)
		return exact
	}
}

// put writes a number that the form holds.
func (f form) put(b []byte, v float64) {
	switch s := &shapes[f]; f {
	case constant:
	case double:
		binary.LittleEndian.PutUint64(b, math.Float64bits(v))
	case single:
		binary.LittleEndian.PutUint32(b, math.Float32bits(float32(v)))
	case long32:
		binary.LittleEndian.PutUint32(b, uint32(int64(v)))
	default:
		n, _ := s.whole(v)
		binary.LittleEndian.PutUint16(b, uint16(n))
	}
}

// get reads what put wrote; not of a constant.
func (f form) get(b []byte) float64 {
	s := &shapes[f]
	switch {
	case f == double:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case f == single:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case f == long32:
		return float64(int32(binary.LittleEndian.Uint32(b)))
	case s.signed:
		return float64(int16(binary.LittleEndian.Uint16(b))) * s.times / s.divided
	default:
		return float64(binary.LittleEndian.Uint16(b)) * s.times / s.divided
	}
}
