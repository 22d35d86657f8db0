package plc

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"edgeagent"
)

func register1(typ edgeagent.DataType, order edgeagent.ByteOrder) TagSpec {
	return TagSpec{Tag: edgeagent.Tag{Name: "x", Type: typ}, Order: order, Addr: edgeagent.Address{Area: edgeagent.AreaHolding, Bit: -1}}
}

func TestDecodeTypesAndOrders(t *testing.T) {
	const big = math.MaxUint64 - 1
	for _, tc := range []struct {
		typ   edgeagent.DataType
		order edgeagent.ByteOrder
		raw   string
		want  edgeagent.Value
	}{
		{edgeagent.TypeUint16, "", "\x12\x34", edgeagent.Uint(0x1234)},
		{edgeagent.TypeUint16, "ABCD", "\x12\x34", edgeagent.Uint(0x1234)},
		{edgeagent.TypeUint16, "CDAB", "\x12\x34", edgeagent.Uint(0x1234)},
		{edgeagent.TypeUint16, "BADC", "\x34\x12", edgeagent.Uint(0x1234)},
		{edgeagent.TypeUint16, "DCBA", "\x34\x12", edgeagent.Uint(0x1234)},
		{edgeagent.TypeInt16, "ABCD", "\xff\xfe", edgeagent.Int(-2)},
		{edgeagent.TypeInt8H, "ABCD", "\xfe\x01", edgeagent.Int(-2)},
		{edgeagent.TypeInt8L, "ABCD", "\x01\xfe", edgeagent.Int(-2)},
		{edgeagent.TypeUint8H, "DCBA", "\x01\xfe", edgeagent.Uint(0xfe)},
		{edgeagent.TypeUint8L, "BADC", "\xfe\x01", edgeagent.Uint(0xfe)},
		{edgeagent.TypeUint32, "ABCD", "\x01\x02\x03\x04", edgeagent.Uint(0x01020304)},
		{edgeagent.TypeUint32, "CDAB", "\x03\x04\x01\x02", edgeagent.Uint(0x01020304)},
		{edgeagent.TypeUint32, "BADC", "\x02\x01\x04\x03", edgeagent.Uint(0x01020304)},
		{edgeagent.TypeUint32, "DCBA", "\x04\x03\x02\x01", edgeagent.Uint(0x01020304)},
		{edgeagent.TypeInt32, "CDAB", "\xff\xfe\xff\xff", edgeagent.Int(-2)},
		{edgeagent.TypeFloat32, "CDAB", "\x0f\xdb\x40\x49", edgeagent.Float(float64(float32(math.Pi)))},
		{edgeagent.TypeUint64, "ABCD", "\x01\x02\x03\x04\x05\x06\x07\x08", edgeagent.Uint(0x0102030405060708)},
		{edgeagent.TypeUint64, "CDAB", "\x07\x08\x05\x06\x03\x04\x01\x02", edgeagent.Uint(0x0102030405060708)},
		{edgeagent.TypeUint64, "BADC", "\x02\x01\x04\x03\x06\x05\x08\x07", edgeagent.Uint(0x0102030405060708)},
		{edgeagent.TypeUint64, "DCBA", "\x08\x07\x06\x05\x04\x03\x02\x01", edgeagent.Uint(0x0102030405060708)},
		{edgeagent.TypeUint64, "ABCD", "\xff\xff\xff\xff\xff\xff\xff\xfe", edgeagent.Uint(big)},
		{edgeagent.TypeInt64, "ABCD", "\x80\x00\x00\x00\x00\x00\x00\x01", edgeagent.Int(math.MinInt64 + 1)},
		{edgeagent.TypeFloat64, "DCBA", "\x18\x2d\x44\x54\xfb\x21\x09\x40", edgeagent.Float(math.Pi)},
		{edgeagent.TypeFloat16, "ABCD", "\x3c\x00", edgeagent.Float(1)},
		{edgeagent.TypeFloat16, "ABCD", "\xc0\x00", edgeagent.Float(-2)},
		{edgeagent.TypeFloat16, "ABCD", "\x7b\xff", edgeagent.Float(65504)},
		{edgeagent.TypeFloat16, "ABCD", "\x00\x01", edgeagent.Float(math.Ldexp(1, -24))},
		{edgeagent.TypeFloat16, "BADC", "\x00\x3c", edgeagent.Float(1)},
		{edgeagent.TypeBCD16, "ABCD", "\x12\x34", edgeagent.Uint(1234)},
		{edgeagent.TypeBCD16, "ABCD", "\x99\x99", edgeagent.Uint(9999)},
		{edgeagent.TypeBCD32, "CDAB", "\x56\x78\x12\x34", edgeagent.Uint(12345678)},
		{edgeagent.TypeBool, "ABCD", "\x00\x00", edgeagent.Bool(false)},
		{edgeagent.TypeBool, "ABCD", "\x01\x00", edgeagent.Bool(true)},
	} {
		tag := register1(tc.typ, tc.order)
		s := Decode(&tag, []byte(tc.raw))
		if !s.Value.Equal(tc.want) || s.Quality != edgeagent.QualityGood || s.Reason != nil {
			t.Errorf("%s %s %x = %v (%v %v), want %v", tc.typ, tc.order, tc.raw, s.Value.Any(), s.Quality, s.Reason, tc.want.Any())
		}
	}
}

// TestBitsAreCountedAfterTheOrder sets one bit of 32 and looks for it in every
// order: bit 0 is the least significant of the value, wherever it travels.
func TestBitsAreCountedAfterTheOrder(t *testing.T) {
	for order, place := range map[edgeagent.ByteOrder][4]int{ // index in raw of the bytes A B C D
		"ABCD": {0, 1, 2, 3}, "CDAB": {2, 3, 0, 1}, "BADC": {1, 0, 3, 2}, "DCBA": {3, 2, 1, 0},
	} {
		for set := range 32 {
			raw := make([]byte, 4)
			raw[place[3-set/8]] = 1 << (set % 8)
			for bit := range 32 {
				for _, typ := range []edgeagent.DataType{edgeagent.TypeUint32, edgeagent.TypeInt32, edgeagent.TypeBool} {
					tag := register1(typ, order)
					tag.Addr.Bit = bit
					if typ == edgeagent.TypeBool && bit < 16 {
						continue // takes one register only
					}
					if s := Decode(&tag, raw); !s.Value.Equal(edgeagent.Bool(bit == set)) {
						t.Fatalf("%s %s %x bit %d = %v", typ, order, raw, bit, s.Value)
					}
				}
			}
		}
	}
}

func TestBitOfAByteSwappedRegister(t *testing.T) {
	tag := register1(edgeagent.TypeBool, "BADC")
	tag.Addr.Bit = 3
	if s := Decode(&tag, []byte{0x08, 0x00}); !s.Value.Equal(edgeagent.Bool(true)) {
		t.Errorf("bit 3 of 0800 swapped = %v, want true", s.Value)
	}
}

func TestBitAreas(t *testing.T) {
	tag := register1(edgeagent.TypeBool, "")
	tag.Addr.Area = edgeagent.AreaDiscrete
	for raw, want := range map[byte]bool{0: false, 1: true, 0xff: true} {
		s := Decode(&tag, []byte{raw})
		if !s.Value.Equal(edgeagent.Bool(want)) || len(s.Raw) != 1 {
			t.Errorf("%d = %+v, want %v", raw, s, want)
		}
	}
}

func TestWhatIsNoNumberIsBad(t *testing.T) {
	for name, tc := range map[string]struct {
		typ edgeagent.DataType
		raw string
	}{
		"float32 NaN":    {edgeagent.TypeFloat32, "\x7f\xc0\x00\x00"},
		"float32 -Inf":   {edgeagent.TypeFloat32, "\xff\x80\x00\x00"},
		"float64 Inf":    {edgeagent.TypeFloat64, "\x7f\xf0\x00\x00\x00\x00\x00\x00"},
		"float16 NaN":    {edgeagent.TypeFloat16, "\x7e\x00"},
		"float16 Inf":    {edgeagent.TypeFloat16, "\x7c\x00"},
		"BCD digit A":    {edgeagent.TypeBCD16, "\x12\x3A"},
		"BCD digit F up": {edgeagent.TypeBCD32, "\xF0\x00\x00\x00"},
	} {
		clamped := &Scaling{Raw: [2]float64{0, 27648}, Eng: [2]float64{0, 100}, Clamp: true}
		for _, scaling := range []*Scaling{nil, clamped} {
			tag := register1(tc.typ, "ABCD")
			tag.Scaling = scaling
			s := Decode(&tag, []byte(tc.raw))
			if s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonNotANumber) || !s.Value.IsNone() || len(s.Raw) != len(tc.raw)/2 {
				t.Errorf("%s, scaling %v = %+v, want bad with its raw registers and no value", name, scaling, s)
			}
		}
	}
}

func TestWrongNumberOfBytesIsBad(t *testing.T) {
	for _, typ := range edgeagent.DataTypes {
		for _, n := range []int{0, 1, 3, 5, 7, 9, 250} {
			tag := register1(typ, "ABCD")
			tag.Length = 2
			if s := Decode(&tag, make([]byte, n)); s.Quality != edgeagent.QualityBad || !s.Value.IsNone() {
				t.Errorf("%s of %d bytes = %+v, want bad", typ, n, s)
			}
		}
	}
}

func TestScaling(t *testing.T) {
	s4to20 := &Scaling{Raw: [2]float64{0, 27648}, Eng: [2]float64{0, 100}}
	clamped := &Scaling{Raw: [2]float64{0, 27648}, Eng: [2]float64{100, -100}, Clamp: true}
	for name, tc := range map[string]struct {
		raw     int16
		scale   float64
		offset  float64
		scaling *Scaling
		want    float64
	}{
		"tenths":                  {13, 0.1, 0, nil, 1.3},
		"tenths that do not fit":  {3, 0.1, 0, nil, 0.3},
		"thousandths, negative":   {-1234, 0.001, 0, nil, -1.234},
		"a negative scale":        {7, -0.1, 0, nil, -0.7},
		"times and plus":          {10, 2.5, -40, nil, -15},
		"plus alone":              {10, 0, 0.5, nil, 10.5},
		"a third":                 {3, 1.0 / 3, 0, nil, 1},
		"range":                   {13824, 0, 0, s4to20, 50},
		"over the range":          {32767, 0, 0, s4to20, 32767.0 / 27648 * 100},
		"over the range, clamped": {32767, 0, 0, clamped, -100},
		"falling range":           {6912, 0, 0, clamped, 50},
	} {
		tag := register1(edgeagent.TypeInt16, "ABCD")
		tag.Scale, tag.Offset, tag.Scaling = tc.scale, tc.offset, tc.scaling
		s := Decode(&tag, []byte{byte(uint16(tc.raw) >> 8), byte(tc.raw)})
		if got, _ := s.Value.Float64(); s.Value.Kind() != edgeagent.KindFloat || math.Abs(got-tc.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, s.Value.Any(), tc.want)
		}
	}
}

func TestTenthsEqualWhatPeopleWrite(t *testing.T) {
	tag := register1(edgeagent.TypeUint16, "ABCD")
	tag.Scale = 0.1
	for n := range 1000 {
		var want float64
		if _, err := fmt.Sscan(fmt.Sprintf("%d.%d", n/10, n%10), &want); err != nil {
			t.Fatal(err)
		}
		if s := Decode(&tag, []byte{byte(n >> 8), byte(n)}); !s.Value.Equal(edgeagent.Float(want)) {
			t.Errorf("%d tenths = %v, want %v", n, s.Value.Any(), want)
		}
	}
}

func TestScaleOfOneKeepsIntegersExact(t *testing.T) {
	tag := register1(edgeagent.TypeUint64, "ABCD")
	tag.Scale = 1
	if s := Decode(&tag, []byte("\xff\xff\xff\xff\xff\xff\xff\xff")); !s.Value.Equal(edgeagent.Uint(math.MaxUint64)) {
		t.Errorf("%v, want all 64 bits", s.Value)
	}
}

func TestOutOfRangeIsUncertainAndKeepsItsValue(t *testing.T) {
	low, high := -5.0, 80.0
	for raw, want := range map[int16]edgeagent.Quality{-6: edgeagent.QualityUncertain, -5: edgeagent.QualityGood, 80: edgeagent.QualityGood, 81: edgeagent.QualityUncertain} {
		tag := register1(edgeagent.TypeInt16, "ABCD")
		tag.Min, tag.Max = &low, &high
		s := Decode(&tag, []byte{byte(uint16(raw) >> 8), byte(raw)})
		if s.Quality != want || !s.Value.Equal(edgeagent.Int(int64(raw))) || want != edgeagent.QualityGood && !s.Reason.Is(edgeagent.ReasonOutOfRange) {
			t.Errorf("%d = %+v, want %v", raw, s, want)
		}
	}
}

func TestTexts(t *testing.T) {
	for name, tc := range map[string]struct {
		order                 edgeagent.ByteOrder
		encoding, header, pad string
		raw, want             string
	}{
		"padded with zeros":         {"ABCD", "", "", "", "Pump 1\x00\x00", "Pump 1"},
		"ends at the first zero":    {"ABCD", "", "none", "zero", "Pump\x00old", "Pump"},
		"padded with spaces":        {"ABCD", "", "", "space", " Pump   ", " Pump"},
		"spaces are kept":           {"ABCD", "", "", "zero", "Pump  ", "Pump  "},
		"bytes swapped":             {"BADC", "", "", "", "uPpm1 ", "Pump 1"},
		"registers in own order":    {"CDAB", "", "", "", "Pump 1", "Pump 1"},
		"latin1":                    {"ABCD", "latin1", "", "", "F\xfcller", "Füller"},
		"utf8":                      {"ABCD", "utf8", "", "", "F\xc3\xbcll", "Füll"},
		"utf8, broken":              {"ABCD", "utf8", "", "", "F\xfcll", "F\ufffdll"},
		"ascii, beyond":             {"ABCD", "ascii", "", "", "F\xfcll", "F\ufffdll"},
		"utf16":                     {"ABCD", "utf16", "", "", "\x00F\x00\xfc\x00\x00", "Fü"},
		"s7":                        {"ABCD", "", "s7", "", "\x0a\x04Pump????", "Pump"},
		"s7, never written":         {"ABCD", "", "s7", "", "\x00\x00????", ""},
		"s7, swapped":               {"BADC", "", "s7", "", "\x04\x0auPpm", "Pump"},
		"logix":                     {"ABCD", "", "logix", "", "\x00\x00\x00\x04Pump??", "Pump"},
		"logix, low word first":     {"CDAB", "", "logix", "", "\x00\x04\x00\x00Pump??", "Pump"},
		"escapes steer nothing":     {"ABCD", "", "", "", "\x1b[2JPump\a", "\ufffd[2JPump\ufffd"},
		"line breaks steer nothing": {"ABCD", "", "", "", "a\r\nbcd", "a\ufffd\ufffdbcd"},
	} {
		tag := register1(edgeagent.TypeString, tc.order)
		tag.Encoding, tag.Header, tag.Pad = tc.encoding, tc.header, tc.pad
		raw := tc.raw
		if len(raw)%2 == 1 {
			raw += "\x00"
		}
		tag.Length = len(raw) / 2
		s := Decode(&tag, []byte(raw))
		if !s.Value.Equal(edgeagent.String(tc.want)) || s.Quality != edgeagent.QualityGood {
			t.Errorf("%s: %q (%v %v), want %q", name, s.Value, s.Quality, s.Reason, tc.want)
		}
	}
}

func TestLyingTextHeaderIsBad(t *testing.T) {
	for _, tc := range []struct{ header, raw string }{
		{"s7", "\x0a\x05Pump"}, {"s7", "\x02\x04Pump"}, {"s7", "\xff\xff"},
		{"logix", "\x00\x00\x00\x05Pump"}, {"logix", "\xff\xff\xff\xffPump"}, {"logix", "ab"}, {"cobol", "abcd"},
	} {
		tag := register1(edgeagent.TypeString, "ABCD")
		tag.Header, tag.Length = tc.header, len(tc.raw)/2
		if s := Decode(&tag, []byte(tc.raw)); s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonMalformed) {
			t.Errorf("%s %q = %+v, want bad", tc.header, tc.raw, s)
		}
	}
}

// vector is a case of the golden vectors: register bytes and what other
// implementations make of them.
type vector struct {
	ID        string              `json:"id"`
	ByteOrder edgeagent.ByteOrder `json:"byteOrder"`
	Type      string              `json:"type"`
	Wire      []int               `json:"wire"`
	Want      any                 `json:"want"`
	Bit       *int                `json:"bit"`
	Scale     float64             `json:"scale"`
}

// TestGoldenVectors reads modbus_decode_cases.json in the folder that
// EDGEAGENT_VECTORS names.
func TestGoldenVectors(t *testing.T) {
	folder := os.Getenv("EDGEAGENT_VECTORS")
	if folder == "" {
		if os.Getenv("REQUIRE_RIGS") == "1" {
			t.Fatal("EDGEAGENT_VECTORS is not set, and REQUIRE_RIGS=1 wants the vectors read")
		}
		t.Skip("SKIPPED: EDGEAGENT_VECTORS names no folder with modbus_decode_cases.json")
	}
	data, err := os.ReadFile(filepath.Join(folder, "modbus_decode_cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []vector }
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 184 {
		t.Fatalf("%d vectors, want 184 at least", len(file.Cases))
	}
	for _, v := range file.Cases {
		v.check(t)
	}
}

func (v vector) tag() TagSpec {
	tag := register1(edgeagent.DataType(strings.ToLower(v.Type)), v.ByteOrder)
	tag.Scale, tag.Length = v.Scale, len(v.Wire)/2
	switch bits := 8 * len(v.Wire); v.Type {
	case "BIT":
		tag.Type, tag.Addr.Bit = edgeagent.TypeBool, *v.Bit
	case "FIXED":
		tag.Type = edgeagent.DataType(fmt.Sprint("int", bits))
	case "UFIXED":
		tag.Type = edgeagent.DataType(fmt.Sprint("uint", bits))
	}
	return tag
}

func (v vector) check(t *testing.T) {
	t.Helper()
	raw := make([]byte, len(v.Wire))
	for i, b := range v.Wire {
		raw[i] = byte(b)
	}
	tag := v.tag()
	s := Decode(&tag, raw)
	switch want := v.Want.(type) {
	case string:
		if !s.Value.Equal(edgeagent.String(want)) {
			t.Errorf("%s: %q, want %q", v.ID, s.Value, want)
		}
	case json.Number:
		if !v.same(s.Value, want) {
			t.Errorf("%s: %v, want %v", v.ID, s.Value.Any(), want)
		}
	default:
		t.Errorf("%s: cannot compare with a %T", v.ID, v.Want)
	}
}

// same compares integers digit by digit, as far as the file has them: beyond
// 2^53 some of its cases went through a float. Floats are compared relatively.
func (v vector) same(got edgeagent.Value, want json.Number) bool {
	f, err := want.Float64()
	if err != nil {
		return false
	}
	if got.Kind() == edgeagent.KindFloat {
		return closeTo(got, f, 1e-6)
	}
	if got.Kind() == edgeagent.KindBool {
		return closeTo(got, f, 0)
	}
	throughFloat := strings.ContainsAny(want.String(), ".e") || math.Abs(f) > 1<<53
	return got.String() == want.String() || throughFloat && closeTo(got, f, 0)
}

func closeTo(got edgeagent.Value, want, tolerance float64) bool {
	f, ok := got.Float64()
	return ok && math.Abs(f-want) <= tolerance*math.Abs(want)
}

func FuzzDecode(f *testing.F) {
	f.Add(0, 0, -1, "", "", []byte{0x12, 0x34})
	f.Add(13, 1, 17, "", "", []byte("\x7f\xc0\x00\x00"))
	f.Add(16, 3, -1, "s7", "utf8", []byte("\x0a\x04Pump"))
	f.Add(16, 2, -1, "logix", "utf16", []byte("\x00\x00\x00\x04Pump"))
	orders := []edgeagent.ByteOrder{"ABCD", "CDAB", "BADC", "DCBA"}
	f.Fuzz(func(t *testing.T, typ, order, bit int, header, encoding string, raw []byte) {
		tag := register1(edgeagent.DataTypes[uint(typ)%uint(len(edgeagent.DataTypes))], orders[uint(order)%4])
		tag.Header, tag.Encoding, tag.Length = header, encoding, len(raw)/2
		tag.Addr.Bit = max(bit, -1) % 32
		s := Decode(&tag, raw)
		if s.Quality != edgeagent.QualityBad && (!s.Value.Finite() || s.Value.IsNone()) {
			t.Errorf("%+v of %x = %+v: no value, and not bad", tag, raw, s)
		}
		if (s.Quality == edgeagent.QualityGood) != (s.Reason == nil) {
			t.Errorf("%+v of %x = %+v: reason and quality disagree", tag, raw, s)
		}
		text := s.Value.String()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%x = %q: not fit to be printed", raw, text)
		}
	})
}
