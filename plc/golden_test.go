package plc

import (
	"encoding/binary"
	"math"
	"testing"

	"edgeagent"
)

// golden are registers as libmodbus 3.1.6 writes them. What it calls badc is
// the ABCD of everybody else, most significant byte first: its dcba, abcd and
// cdab are CDAB, BADC and DCBA.
var golden = []struct {
	value       uint32
	order       edgeagent.ByteOrder
	first, then uint16
}{
	{0x00000001, "ABCD", 0x0000, 0x0001},
	{0x00000001, "CDAB", 0x0001, 0x0000},
	{0x00000001, "BADC", 0x0000, 0x0100},
	{0x00000001, "DCBA", 0x0100, 0x0000},
	{0x00008000, "ABCD", 0x0000, 0x8000},
	{0x00008000, "CDAB", 0x8000, 0x0000},
	{0x00008000, "BADC", 0x0000, 0x0080},
	{0x00008000, "DCBA", 0x0080, 0x0000},
	{0x00010000, "ABCD", 0x0001, 0x0000},
	{0x00010000, "CDAB", 0x0000, 0x0001},
	{0x00010000, "BADC", 0x0100, 0x0000},
	{0x00010000, "DCBA", 0x0000, 0x0100},
	{0x80000000, "ABCD", 0x8000, 0x0000},
	{0x80000000, "CDAB", 0x0000, 0x8000},
	{0x80000000, "BADC", 0x0080, 0x0000},
	{0x80000000, "DCBA", 0x0000, 0x0080},
	{0x40490fdb, "ABCD", 0x4049, 0x0fdb},
	{0x40490fdb, "CDAB", 0x0fdb, 0x4049},
	{0x40490fdb, "BADC", 0x4940, 0xdb0f},
	{0x40490fdb, "DCBA", 0xdb0f, 0x4940},
	{0xc2f6e979, "ABCD", 0xc2f6, 0xe979},
	{0xc2f6e979, "CDAB", 0xe979, 0xc2f6},
	{0xc2f6e979, "BADC", 0xf6c2, 0x79e9},
	{0xc2f6e979, "DCBA", 0x79e9, 0xf6c2},
	{0x12345678, "ABCD", 0x1234, 0x5678},
	{0x12345678, "CDAB", 0x5678, 0x1234},
	{0x12345678, "BADC", 0x3412, 0x7856},
	{0x12345678, "DCBA", 0x7856, 0x3412},
}

// TestGoldenWordsAndTheirBits: every number of 32 bits, and each of the
// bits on its own.
func TestGoldenWordsAndTheirBits(t *testing.T) {
	for _, g := range golden {
		raw := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, g.first), g.then)
		for typ, want := range map[edgeagent.DataType]edgeagent.Value{
			edgeagent.TypeUint32:  edgeagent.Uint(uint64(g.value)),
			edgeagent.TypeInt32:   edgeagent.Int(int64(int32(g.value))),
			edgeagent.TypeFloat32: edgeagent.Float(float64(math.Float32frombits(g.value))),
		} {
			tag := register1(typ, g.order)
			if s := Decode(&tag, raw); !s.Value.Equal(want) || s.Quality != edgeagent.QualityGood {
				t.Errorf("%s %s of %04x %04x = %v %v, want %v", typ, g.order, g.first, g.then, s.Value, s.Quality, want)
			}
		}
		for bit := range 32 {
			tag := register1(edgeagent.TypeUint32, g.order)
			tag.Addr.Bit = bit
			want := edgeagent.Bool(g.value&(1<<bit) != 0)
			if s := Decode(&tag, raw); !s.Value.Equal(want) || s.Quality != edgeagent.QualityGood {
				t.Errorf("bit %d %s of %04x %04x = %v, want %v", bit, g.order, g.first, g.then, s.Value, want)
			}
		}
	}
}

// TestBitsOfOneWordAreOneRequest: 32 alarms in two registers, in the middle of
// others.
func TestBitsOfOneWordAreOneRequest(t *testing.T) {
	var tags []TagSpec
	for bit := range 32 {
		tag := word("b", 100)
		tag.Type, tag.Addr.Bit, tag.Order = edgeagent.TypeUint32, bit, edgeagent.OrderCDAB
		tags = append(tags, tag)
	}
	plan := Plan(append(tags, word("next", 102)), 0, 0, 0, nil)
	if len(plan) != 1 || plan[0].Quantity != 3 || len(plan[0].Tags) != 33 {
		t.Fatalf("plan = %v, want one request of three registers", plan)
	}
	a := newAnswer(plan[0], []byte{0x80, 0x01, 0x00, 0x02, 0x12, 0x34})
	for bit := range tags {
		if s := a.sample(&tags[bit]); !s.Value.Equal(edgeagent.Bool(bit == 0 || bit == 15 || bit == 17)) || len(s.Raw) != 2 {
			t.Errorf("bit %d = %v", bit, s.Value)
		}
	}
}
