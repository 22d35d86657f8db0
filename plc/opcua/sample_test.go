package opcua

import (
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

func tag(typ edgeagent.DataType) *plc.TagSpec {
	return &plc.TagSpec{Tag: edgeagent.Tag{Name: "x", Type: typ}}
}

func TestValuesKeepTheirTypeAndEveryDigit(t *testing.T) {
	guid := ua.NewGUID("72962B91-FA75-4AE6-8D28-B404DC7DAF63")
	cases := []struct {
		name string
		typ  edgeagent.DataType
		in   any
		want edgeagent.Value
	}{
		{"bool", edgeagent.TypeBool, true, edgeagent.Bool(true)},
		{"int16", edgeagent.TypeInt16, int16(-7), edgeagent.Int(-7)},
		{"SByte in int8l", edgeagent.TypeInt8L, int8(-128), edgeagent.Int(-128)},
		{"Byte in uint8h", edgeagent.TypeUint8H, uint8(255), edgeagent.Uint(255)},
		{"Int16 in int32", edgeagent.TypeInt32, int16(-7), edgeagent.Int(-7)},
		{"Int32 in uint16 while it fits", edgeagent.TypeUint16, int32(65535), edgeagent.Uint(65535)},
		{"UInt16 in int16 while it fits", edgeagent.TypeInt16, uint16(32767), edgeagent.Int(32767)},
		{"largest UInt64", edgeagent.TypeUint64, uint64(math.MaxUint64), edgeagent.Uint(math.MaxUint64)},
		{"smallest Int64", edgeagent.TypeInt64, int64(math.MinInt64), edgeagent.Int(math.MinInt64)},
		{"Float", edgeagent.TypeFloat32, float32(0.1), edgeagent.Float(float64(float32(0.1)))},
		{"Double in float32 keeps its digits", edgeagent.TypeFloat32, 0.1, edgeagent.Float(0.1)},
		{"Int32 in float64", edgeagent.TypeFloat64, int32(-5), edgeagent.Float(-5)},
		{"text", edgeagent.TypeString, "Rezept 7", edgeagent.String("Rezept 7")},
		{"serial number keeps its zeros", edgeagent.TypeString, "000123", edgeagent.String("000123")},
		{"text that steers a terminal", edgeagent.TypeString, "a\x1b[2Jb", edgeagent.String("a\uFFFD[2Jb")},
		{"text that is no UTF-8", edgeagent.TypeString, "a\xffb", edgeagent.String("a\uFFFDb")},
		{"localized text", edgeagent.TypeString, ua.NewLocalizedText("Füller"), edgeagent.String("Füller")},
		{"name", edgeagent.TypeString, &ua.QualifiedName{Name: "n"}, edgeagent.String("n")},
		{"guid", edgeagent.TypeString, guid, edgeagent.String("72962B91-FA75-4AE6-8D28-B404DC7DAF63")},
		{"time", edgeagent.TypeString, time.Date(2026, 11, 22, 7, 0, 0, 5e6, time.UTC), edgeagent.String("2026-11-22T07:00:00.005Z")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := sample(tag(c.typ), &ua.DataValue{Value: ua.MustVariant(c.in)}, time.Now())
			if s.Quality != edgeagent.QualityGood || !s.Value.Equal(c.want) || s.Value.Kind() != c.want.Kind() {
				t.Errorf("got %v %s %v; want %v", s.Value, s.Quality, s.Reason, c.want)
			}
		})
	}
}

func TestATypeThatDoesNotFitIsBadAndNamesBoth(t *testing.T) {
	cases := []struct {
		name string
		typ  edgeagent.DataType
		in   any
		says []string
	}{
		{"number for a bool", edgeagent.TypeBool, uint16(1), []string{"UInt16", "bool"}},
		{"bool for a number", edgeagent.TypeInt16, true, []string{"Boolean", "int16"}},
		{"float for an integer", edgeagent.TypeInt32, 3.0, []string{"Double", "int32"}},
		{"text for a number", edgeagent.TypeFloat64, "3.5", []string{"String", "float64"}},
		{"number for a text", edgeagent.TypeString, int32(12), []string{"Int32", "string"}},
		{"one above uint16", edgeagent.TypeUint16, int32(65536), []string{"Int32 65536", "uint16"}},
		{"below uint8", edgeagent.TypeUint8L, int16(-1), []string{"Int16 -1", "uint8l"}},
		{"above int16", edgeagent.TypeInt16, uint16(32768), []string{"UInt16 32768", "int16"}},
		{"below int8", edgeagent.TypeInt8L, int16(-129), []string{"Int16 -129", "int8l"}},
		{"above int64", edgeagent.TypeInt64, uint64(1 << 63), []string{"UInt64", "int64"}},
		{"negative for uint64", edgeagent.TypeUint64, int64(-1), []string{"Int64 -1", "uint64"}},
		{"beyond a float's digits", edgeagent.TypeFloat64, int64(1<<53 + 1), []string{"Int64", "float64"}},
		{"beyond a float's digits below zero", edgeagent.TypeFloat64, int64(-1<<53 - 1), []string{"Int64", "float64"}},
		{"BCD is a notation of registers", edgeagent.TypeBCD16, uint16(0x12), []string{"UInt16", "bcd16"}},
		{"bytes for a text", edgeagent.TypeString, []byte("ab"), []string{"ByteString", "string"}},
		{"an array without index", edgeagent.TypeInt16, []int16{1, 2}, []string{"array of 2 int16", "index"}},
		{"a structure", edgeagent.TypeInt16, ua.NewExtensionObject(nil), []string{"structure", "int16"}},
		{"a status", edgeagent.TypeUint32, ua.StatusOK, []string{"StatusCode", "uint32"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := sample(tag(c.typ), &ua.DataValue{Value: ua.MustVariant(c.in)}, time.Now())
			if s.Quality != edgeagent.QualityBad || !s.Value.IsNone() || !s.Reason.Is(edgeagent.ReasonType) {
				t.Fatalf("got %v %s %v; want a bad type", s.Value, s.Quality, s.Reason)
			}
			for _, word := range c.says {
				if !strings.Contains(s.Reason.Text, word) {
					t.Errorf("%q does not say %q", s.Reason.Text, word)
				}
			}
		})
	}
}

func TestElementOfAnArray(t *testing.T) {
	cases := []struct {
		name  string
		index int
		in    any
		want  edgeagent.Value
	}{
		{"first", 0, []int16{4, 5, 6}, edgeagent.Int(4)},
		{"last", 2, []int16{4, 5, 6}, edgeagent.Int(6)},
		{"behind the end", 3, []int16{4, 5, 6}, edgeagent.Value{}},
		{"negative", -1, []int16{4, 5, 6}, edgeagent.Value{}},
		{"empty", 0, []int16{}, edgeagent.Value{}},
		{"no array", 0, int16(4), edgeagent.Value{}},
		{"bytes", 1, ua.ByteArray{1, 2}, edgeagent.Int(2)},
		{"a ByteString is no array", 1, []byte{1, 2}, edgeagent.Value{}},
		{"a row of a matrix", 0, [][]int16{{1}, {2}}, edgeagent.Value{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := tag(edgeagent.TypeInt16)
			spec.Index = new(c.index)
			s := sample(spec, &ua.DataValue{Value: ua.MustVariant(c.in)}, time.Now())
			if !s.Value.Equal(c.want) || (s.Quality == edgeagent.QualityGood) == c.want.IsNone() {
				t.Errorf("got %v %s %v, want %v", s.Value, s.Quality, s.Reason, c.want)
			}
		})
	}
}

func TestTheServersVerdictIsKept(t *testing.T) {
	limit := 10.0
	cases := []struct {
		name    string
		status  ua.StatusCode
		in      any
		quality edgeagent.Quality
		reason  string
		code    string
	}{
		{"good", ua.StatusOK, int16(5), edgeagent.QualityGood, "", ""},
		{"good, overridden by hand", ua.StatusGoodLocalOverride, int16(5), edgeagent.QualityGood, "", ""},
		{"192 of the old OPC", 0xC0, int16(5), edgeagent.QualityGood, "", ""},
		{"uncertain", ua.StatusUncertainLastUsableValue, int16(5), edgeagent.QualityUncertain, edgeagent.ReasonStatus, "UncertainLastUsableValue"},
		{"bad", ua.StatusBadNodeIDUnknown, int16(5), edgeagent.QualityBad, edgeagent.ReasonStatus, "BadNodeIdUnknown"},
		{"bad with info bits", ua.StatusBadNotConnected | 0x400, int16(5), edgeagent.QualityBad, edgeagent.ReasonStatus, "BadNotConnected"},
		{"reserved grade", 0xC0000000, int16(5), edgeagent.QualityBad, edgeagent.ReasonStatus, "0xC0000000"},
		{"overflow", 0x480, int16(5), edgeagent.QualityUncertain, edgeagent.ReasonOverflow, ""},
		{"overflow out of range is still evaluated", 0x480, int16(11), edgeagent.QualityUncertain, edgeagent.ReasonOutOfRange, ""},
		{"uncertain out of range is not", ua.StatusUncertain, int16(11), edgeagent.QualityUncertain, edgeagent.ReasonStatus, "Uncertain"},
		{"out of the sensor's range", ua.StatusUncertainEngineeringUnitsExceeded, int16(5), edgeagent.QualityUncertain, edgeagent.ReasonOutOfRange, "UncertainEngineeringUnitsExceeded"},
		{"out of range", ua.StatusOK, int16(11), edgeagent.QualityUncertain, edgeagent.ReasonOutOfRange, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := tag(edgeagent.TypeInt16)
			spec.Max = &limit
			s := sample(spec, &ua.DataValue{Value: ua.MustVariant(c.in), Status: c.status}, time.Now())
			if s.Quality != c.quality || s.Quality != edgeagent.QualityGood && !s.Reason.Is(c.reason) {
				t.Fatalf("got %s %v, want %s %s", s.Quality, s.Reason, c.quality, c.reason)
			}
			if (s.Quality == edgeagent.QualityBad) != s.Value.IsNone() {
				t.Errorf("value %v with quality %s", s.Value, s.Quality)
			}
			if c.code != "" && s.Reason.Params["code"] != c.code {
				t.Errorf("code %q, want %q", s.Reason.Params["code"], c.code)
			}
		})
	}
}

func TestNoValueIsBad(t *testing.T) {
	for name, dv := range map[string]*ua.DataValue{
		"nil": nil, "nil variant": {}, "null variant": {Value: &ua.Variant{}},
		"nil text": {Value: ua.MustVariant((*ua.LocalizedText)(nil))}, "guid cut short": {Value: ua.MustVariant(&ua.GUID{})},
	} {
		if s := sample(tag(edgeagent.TypeString), dv, time.Now()); s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonType) {
			t.Errorf("%s: %v %s %v", name, s.Value, s.Quality, s.Reason)
		}
	}
}

func TestNaNIsBad(t *testing.T) {
	s := sample(tag(edgeagent.TypeFloat64), &ua.DataValue{Value: ua.MustVariant(math.NaN()), Status: ua.StatusUncertain}, time.Now())
	if s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonNotANumber) {
		t.Errorf("%s %v", s.Quality, s.Reason)
	}
}

func TestTimesOfAnUnsetClockAreNone(t *testing.T) {
	now := time.Now()
	dv := &ua.DataValue{Value: ua.MustVariant(int16(1)), SourceTimestamp: time.Unix(0, 0), ServerTimestamp: now}
	s := sample(tag(edgeagent.TypeInt16), dv, now)
	if !s.SourceAt.IsZero() || !s.ServerAt.Equal(now) || !s.At.Equal(now) {
		t.Errorf("source %v server %v at %v", s.SourceAt, s.ServerAt, s.At)
	}
}

// TestATimeThatCannotBeHeldIsNone: many servers write "never" as the year 9999,
// which the library's nanoseconds would make another year of.
func TestATimeThatCannotBeHeldIsNone(t *testing.T) {
	const epoch = 116444736000000000 // of Unix, in 100 ns since 1601
	for name, c := range map[string]struct {
		ticks uint64
		want  string
	}{
		"the largest number":          {math.MaxInt64, ""},
		"the end of 9999":             {2650467743990000000, ""},
		"negative":                    {math.MaxUint64, ""},
		"1601":                        {1, ""},
		"before the first nanosecond": {epoch - math.MaxInt64/100 - 1, ""},
		"the first":                   {epoch - math.MaxInt64/100, "1677-09-21T00:12:43.1452242Z"},
		"now":                         {epoch + 17_000_000_000_000_000, "2023-11-14T22:13:20Z"},
		"the last":                    {epoch + math.MaxInt64/100, "2262-04-11T23:47:16.8547758Z"},
		"after the last nanosecond":   {epoch + math.MaxInt64/100 + 1, ""},
	} {
		data := binary.LittleEndian.AppendUint64([]byte{ua.DataValueValue | ua.DataValueSourceTimestamp, byte(ua.TypeIDDateTime)}, c.ticks)
		data = binary.LittleEndian.AppendUint64(data, c.ticks)
		if err := wellFormed(data, reflect.TypeFor[ua.DataValue]()); err != nil {
			t.Fatal(err)
		}
		dv := new(ua.DataValue)
		if _, err := dv.Decode(data); err != nil {
			t.Fatal(err)
		}
		s := sample(tag(edgeagent.TypeString), dv, time.Now())
		if got := s.Value.String(); s.Quality != edgeagent.QualityGood || got != c.want {
			t.Errorf("%s: %q (%s), want %q", name, got, s.Quality, c.want)
		}
		if year := s.SourceAt.Year(); c.want == "" && !s.SourceAt.IsZero() {
			t.Errorf("%s: measured in %d", name, year)
		}
	}
}

func TestALongTextIsCutAtACharacter(t *testing.T) {
	if got := text(strings.Repeat("ä", 10), 5); got != "ää" {
		t.Errorf("got %q", got)
	}
	if got := text(strings.Repeat("\x80", 10), 5); len(got) > 5*3 {
		t.Errorf("got %d bytes", len(got))
	}
}

// FuzzSample decodes what a server may send in a notification: whatever the
// bytes are, a value is none or of the tag's kind.
func FuzzSample(f *testing.F) {
	for _, v := range []any{true, int16(1), uint64(math.MaxUint64), 1.5, "text", []int32{1, 2}, ua.NewLocalizedText("t")} {
		dv := &ua.DataValue{Value: ua.MustVariant(v)}
		dv.UpdateMask()
		b, err := dv.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(2))
	}
	f.Fuzz(func(t *testing.T, data []byte, typ uint8) {
		if wellFormed(data, reflect.TypeFor[ua.DataValue]()) != nil {
			return // not decoded at all
		}
		dv := new(ua.DataValue)
		if _, err := dv.Decode(data); err != nil {
			return
		}
		spec := tag(edgeagent.DataTypes[int(typ)%len(edgeagent.DataTypes)])
		s := sample(spec, dv, time.Now())
		if (s.Quality == edgeagent.QualityBad) != s.Value.IsNone() {
			t.Errorf("%s with value %v", s.Quality, s.Value)
		}
		if s.Quality != edgeagent.QualityGood && s.Reason == nil {
			t.Error("not good without a reason")
		}
	})
}
