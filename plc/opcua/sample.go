package opcua

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gopcua/opcua/ua"

	"edgeagent"
	"edgeagent/plc"
)

// overflowBits are InfoType DataValue and Overflow (Part 4, 7.39): the server's
// queue was too short, and values before this one are lost.
const overflowBits = 0x480

// maxText is how many bytes of a server's text are kept as a value.
const maxText = 4096

// sample judges one value that a server sent for t. A value of another type
// than the tag's is bad, never converted on trust; at is when it was received.
func sample(t *plc.TagSpec, dv *ua.DataValue, at time.Time) edgeagent.Sample {
	s := judged(t, dv)
	s.At = at
	if dv != nil {
		s.SourceAt, s.ServerAt = stamp(dv.SourceTimestamp), stamp(dv.ServerTimestamp)
	}
	return s
}

func judged(t *plc.TagSpec, dv *ua.DataValue) edgeagent.Sample {
	if dv == nil {
		return badSample(t, edgeagent.ReasonType, "the server sent no value")
	}
	if isBad(dv.Status) {
		return refused(t, dv.Status)
	}
	v, err := value(t, dv.Value)
	if err != nil {
		return badSample(t, edgeagent.ReasonType, err.Error())
	}
	return graded(plc.Judge(t, v), dv.Status)
}

// graded lowers a judged sample to what the server says of it. Out of range,
// as judged here or by the server, is still evaluated by alarms; what the server
// calls uncertain for another reason is not.
func graded(s edgeagent.Sample, status ua.StatusCode) edgeagent.Sample {
	switch {
	case s.Quality == edgeagent.QualityBad:
	case isUncertain(status):
		s.Quality, s.Reason = edgeagent.QualityUncertain, statusNote(status)
		if status&0xFFFF0000 == ua.StatusUncertainEngineeringUnitsExceeded {
			s.Reason.Code = edgeagent.ReasonOutOfRange // or a sensor that is driven over its range silences its own alarm
		}
	case overflowed(status) && s.Quality == edgeagent.QualityGood:
		s.Quality = edgeagent.QualityUncertain
		s.Reason = edgeagent.NewNote(edgeagent.ReasonOverflow, "the server's queue lost values before this one")
	}
	return s
}

// isBad takes the reserved grade 11 for bad, too.
func isBad(s ua.StatusCode) bool       { return s>>31 == 1 }
func isUncertain(s ua.StatusCode) bool { return s>>30 == 1 }

// overflowed reports whether values before this one are lost.
func overflowed(s ua.StatusCode) bool { return s&overflowBits == overflowBits }

// refused is the sample of a tag that the server has no value for.
func refused(t *plc.TagSpec, status ua.StatusCode) edgeagent.Sample {
	return edgeagent.Sample{Tag: t.Name, Quality: edgeagent.QualityBad, Reason: statusNote(status)}
}

func badSample(t *plc.TagSpec, code, text string) edgeagent.Sample {
	return edgeagent.Sample{Tag: t.Name, Quality: edgeagent.QualityBad, Reason: edgeagent.NewNote(code, text)}
}

// statusNote keeps the server's verdict by name and by number.
func statusNote(status ua.StatusCode) *edgeagent.Note {
	name := statusName(status)
	return edgeagent.NewNote(edgeagent.ReasonStatus, "the server says "+name,
		"code", name, "number", fmt.Sprintf("0x%08X", uint32(status)))
}

// standardNames turns the library's names of codes back into the standard's,
// which are what a person finds in a search.
var standardNames = strings.NewReplacer("Status", "", "ID", "Id", "URI", "Uri", "TCP", "Tcp")

// statusName returns BadNodeIdUnknown for that code with any info bits; an
// unknown code is its number.
func statusName(status ua.StatusCode) string {
	if d, known := ua.StatusCodes[status&0xFFFF0000]; known {
		return standardNames.Replace(d.Name)
	}
	return fmt.Sprintf("0x%08X", uint32(status))
}

// unset is the start of 1971: a clock that has lost its time is in 1970.
const unset = 365 * 24 * 60 * 60

// stamp drops the times that mean none: zero, and those of an unset clock.
func stamp(t time.Time) time.Time {
	if t.Unix() < unset {
		return time.Time{}
	}
	return t
}

// value returns the tag's part of v in the tag's type, or says by names why
// the two do not fit.
func value(t *plc.TagSpec, v *ua.Variant) (edgeagent.Value, error) {
	if v == nil || v.Value() == nil {
		return edgeagent.Value{}, fmt.Errorf("the server sent no value where %s is wanted", t.Type)
	}
	raw, err := element(t, v.Value())
	if err != nil {
		return edgeagent.Value{}, err
	}
	out, ok := convert(t.Type, raw)
	if !ok {
		return edgeagent.Value{}, fmt.Errorf("the server's %s does not fit the tag's type %s", describe(raw), t.Type)
	}
	return out, nil
}

// element takes the tag's element out of an array. Whole arrays are asked for
// and cut here: of a server that ignored an index range, the wrong element
// would look right.
func element(t *plc.TagSpec, raw any) (any, error) {
	if t.Index == nil && isScalar(raw) {
		return raw, nil
	}
	if isBlank(raw) {
		return nil, fmt.Errorf("the server's array cannot be read: it has over %d elements, or dimensions that are not those of its elements", ua.MaxVariantArrayLength)
	}
	r := reflect.ValueOf(raw)
	_, isBytes := raw.([]byte) // a ByteString is one value
	isArray := r.Kind() == reflect.Slice && !isBytes
	switch {
	case t.Index == nil && isArray:
		return nil, fmt.Errorf("the server's value is an array of %d %s; set index to choose an element", r.Len(), r.Type().Elem())
	case t.Index == nil:
		return raw, nil
	case !isArray:
		return nil, fmt.Errorf("index %d of the server's %s, which is no array", *t.Index, describe(raw))
	case *t.Index < 0 || *t.Index >= r.Len():
		return nil, fmt.Errorf("index %d is outside the server's array of %d", *t.Index, r.Len())
	}
	return r.Index(*t.Index).Interface(), nil
}

// isScalar reports whether a value is a plain one, as nearly all are.
func isScalar(raw any) bool {
	switch raw.(type) {
	case bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float32, float64, string:
		return true
	}
	return false
}

// describe names a value of the server in OPC UA's words; of a number also the
// value, since it may be the value that does not fit.
func describe(raw any) string {
	name, known := typeNames[reflect.TypeOf(raw)]
	if !known {
		return fmt.Sprintf("%T", raw)
	}
	if _, isInt, _ := integer(raw); isInt {
		return fmt.Sprintf("%s %v", name, raw)
	}
	return name
}

var typeNames = map[reflect.Type]string{
	reflect.TypeFor[bool]():                "Boolean",
	reflect.TypeFor[int8]():                "SByte",
	reflect.TypeFor[uint8]():               "Byte",
	reflect.TypeFor[int16]():               "Int16",
	reflect.TypeFor[uint16]():              "UInt16",
	reflect.TypeFor[int32]():               "Int32",
	reflect.TypeFor[uint32]():              "UInt32",
	reflect.TypeFor[int64]():               "Int64",
	reflect.TypeFor[uint64]():              "UInt64",
	reflect.TypeFor[float32]():             "Float",
	reflect.TypeFor[float64]():             "Double",
	reflect.TypeFor[string]():              "String",
	reflect.TypeFor[time.Time]():           "DateTime",
	reflect.TypeFor[*ua.GUID]():            "Guid",
	reflect.TypeFor[[]byte]():              "ByteString",
	reflect.TypeFor[ua.XMLElement]():       "XmlElement",
	reflect.TypeFor[*ua.NodeID]():          "NodeId",
	reflect.TypeFor[*ua.ExpandedNodeID]():  "ExpandedNodeId",
	reflect.TypeFor[ua.StatusCode]():       "StatusCode",
	reflect.TypeFor[*ua.QualifiedName]():   "QualifiedName",
	reflect.TypeFor[*ua.LocalizedText]():   "LocalizedText",
	reflect.TypeFor[*ua.ExtensionObject](): "structure",
	reflect.TypeFor[*ua.Variant]():         "Variant",
}

// bounds of the integer types: what of another integer type fits exactly.
var bounds = map[edgeagent.DataType]struct {
	low  int64
	high uint64
}{
	edgeagent.TypeInt8H:  {math.MinInt8, math.MaxInt8},
	edgeagent.TypeInt8L:  {math.MinInt8, math.MaxInt8},
	edgeagent.TypeUint8H: {0, math.MaxUint8},
	edgeagent.TypeUint8L: {0, math.MaxUint8},
	edgeagent.TypeInt16:  {math.MinInt16, math.MaxInt16},
	edgeagent.TypeUint16: {0, math.MaxUint16},
	edgeagent.TypeInt32:  {math.MinInt32, math.MaxInt32},
	edgeagent.TypeUint32: {0, math.MaxUint32},
	edgeagent.TypeInt64:  {math.MinInt64, math.MaxInt64},
	edgeagent.TypeUint64: {0, math.MaxUint64},
}

// convert returns raw in the tag's type, and false where that would lose or
// invent anything. An integer of another width fits while its value does.
func convert(typ edgeagent.DataType, raw any) (edgeagent.Value, bool) {
	switch typ {
	case edgeagent.TypeBool:
		b, ok := raw.(bool)
		return edgeagent.Bool(b), ok
	case edgeagent.TypeFloat16, edgeagent.TypeFloat32, edgeagent.TypeFloat64:
		return float(raw)
	case edgeagent.TypeString:
		s, ok := words(raw)
		return edgeagent.String(text(s, maxText)), ok
	default:
		return whole(typ, raw)
	}
}

// whole returns an integer in the tag's type.
func whole(typ edgeagent.DataType, raw any) (edgeagent.Value, bool) {
	v, isInt, negative := integer(raw)
	limit, known := bounds[typ]
	if !isInt || !known {
		return edgeagent.Value{}, false // BCD is a notation of registers; a server has decoded it
	}
	if negative {
		return edgeagent.Int(int64(v)), int64(v) >= limit.low
	}
	if limit.low < 0 {
		return edgeagent.Int(int64(v)), v <= limit.high
	}
	return edgeagent.Uint(v), v <= limit.high
}

// integer returns the bits of an integer, and whether it is one and negative.
func integer(raw any) (bits uint64, isInt, negative bool) {
	switch x := raw.(type) {
	case int8:
		return uint64(int64(x)), true, x < 0
	case int16:
		return uint64(int64(x)), true, x < 0
	case int32:
		return uint64(int64(x)), true, x < 0
	case int64:
		return uint64(x), true, x < 0
	case uint8:
		return uint64(x), true, false
	case uint16:
		return uint64(x), true, false
	case uint32:
		return uint64(x), true, false
	case uint64:
		return x, true, false
	}
	return 0, false, false
}

// maxExact is the largest integer that a float64 holds exactly.
const maxExact = 1 << 53

func float(raw any) (edgeagent.Value, bool) {
	switch x := raw.(type) {
	case float32:
		return edgeagent.Float(float64(x)), true
	case float64:
		return edgeagent.Float(x), true
	}
	bits, isInt, negative := integer(raw)
	switch {
	case !isInt:
		return edgeagent.Value{}, false
	case negative:
		return edgeagent.Float(float64(int64(bits))), int64(bits) >= -maxExact
	default:
		return edgeagent.Float(float64(bits)), bits <= maxExact
	}
}

// words returns what reads as a text: texts, names, identifiers and times,
// these in RFC 3339. A number is no text: a serial number loses its zeros on
// the way.
func words(raw any) (string, bool) {
	switch x := raw.(type) {
	case string:
		return x, true
	case ua.XMLElement:
		return string(x), true
	case *ua.LocalizedText:
		if x == nil {
			return "", false
		}
		return x.Text, true
	case *ua.QualifiedName:
		if x == nil {
			return "", false
		}
		return x.Name, true
	case *ua.GUID:
		if x == nil || len(x.Data4) != 8 {
			return "", false
		}
		return x.String(), true
	case time.Time:
		if x.IsZero() {
			return "", true
		}
		return x.UTC().Format(time.RFC3339Nano), true
	}
	return "", false
}

// text makes a server's text harmless: at most limit bytes of valid UTF-8, and
// no character that would steer a terminal.
func text(s string, limit int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// number writes an integer for a person; used where a code is a number.
func number(raw any) (string, bool) {
	bits, isInt, negative := integer(raw)
	if !isInt {
		return "", false
	}
	if negative {
		return strconv.FormatInt(int64(bits), 10), true
	}
	return strconv.FormatUint(bits, 10), true
}
