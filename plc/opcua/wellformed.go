package opcua

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"
)

const (
	maxDepth      = 32
	maxDecoded    = 48 << 20 // what a message may take in memory when it is decoded
	maxDimensions = 8
)

var (
	errCut     = errors.New("it ends too soon")
	errTooDeep = fmt.Errorf("nested deeper than %d", maxDepth)
	errTooBig  = fmt.Errorf("it would take over %d MiB", maxDecoded>>20)
)

// wellFormed walks a message along its type without decoding it. The library's
// decoder believes lengths: a variant of -2 elements, or nested a million deep,
// ends the process; dimensions whose product overflows keep it busy for ever.
// Such a message does not get that far. Of one that does, times that the decoder
// would take for others are blanked, and arrays that it would refuse.
func wellFormed(body []byte, typ reflect.Type) error {
	w := &walker{b: body, left: maxDecoded}
	return w.walk(typ, 0)
}

// walker is a position in a message and what may still be spent on it.
type walker struct {
	b    []byte
	left int
}

// special are the types that the library decodes by hand.
var special map[reflect.Type]func(*walker, int) error

// init, because the functions mention the map through walk.
func init() {
	special = map[reflect.Type]func(*walker, int) error{
		notifiedItem:                          (*walker).notifiedItem,
		reflect.TypeFor[ua.Variant]():         (*walker).variant,
		reflect.TypeFor[ua.DataValue]():       (*walker).dataValue,
		reflect.TypeFor[ua.ExtensionObject](): (*walker).extension,
		reflect.TypeFor[ua.NodeID]():          func(w *walker, _ int) error { _, err := w.nodeID(); return err },
		reflect.TypeFor[ua.ExpandedNodeID]():  func(w *walker, _ int) error { return w.expandedNodeID() },
		reflect.TypeFor[ua.LocalizedText]():   func(w *walker, _ int) error { return w.localizedText() },
		reflect.TypeFor[ua.DiagnosticInfo]():  (*walker).diagnostic,
		reflect.TypeFor[ua.GUID]():            func(w *walker, _ int) error { return w.skip(16) },
		reflect.TypeFor[time.Time]():          func(w *walker, _ int) error { return w.time() },
	}
}

func (w *walker) walk(t reflect.Type, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if w.left -= int(t.Size()); w.left < 0 {
		return errTooBig
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Uint8, reflect.Int16, reflect.Uint16, reflect.Int32, reflect.Uint32,
		reflect.Int64, reflect.Uint64, reflect.Float32, reflect.Float64:
		return w.skip(int(t.Size()))
	default:
	}
	if check, ok := special[t]; ok {
		return check(w, depth+1)
	}
	switch t.Kind() {
	case reflect.String:
		return w.text()
	case reflect.Slice:
		return w.slice(t, depth)
	case reflect.Struct:
		for f := range t.Fields() {
			if err := w.walk(f.Type, depth+1); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("it holds a %v", t)
	}
}

func (w *walker) skip(n int) error {
	if n < 0 || n > len(w.b) {
		return errCut
	}
	w.b = w.b[n:]
	return nil
}

func (w *walker) byte() (byte, error) {
	if len(w.b) == 0 {
		return 0, errCut
	}
	b := w.b[0]
	w.b = w.b[1:]
	return b, nil
}

// count reads a length; -1 is that of what is not there.
func (w *walker) count() (int, error) {
	if len(w.b) < 4 {
		return 0, errCut
	}
	n := int32(binary.LittleEndian.Uint32(w.b))
	w.b = w.b[4:]
	if n < -1 || int(n) > len(w.b) {
		return 0, fmt.Errorf("a length of %d with %d bytes left", n, len(w.b))
	}
	return int(n), nil
}

func (w *walker) text() error {
	n, err := w.count()
	if err != nil {
		return err
	}
	if w.left -= max(n, 0); w.left < 0 {
		return errTooBig
	}
	return w.skip(max(n, 0))
}

func (w *walker) slice(t reflect.Type, depth int) error {
	if t.Elem().Kind() == reflect.Uint8 {
		return w.text()
	}
	n, err := w.count()
	for i := 0; i < n && err == nil; i++ {
		w.left -= int(t.Elem().Size()) // the pointer, or the element once more in the slice
		err = w.walk(t.Elem(), depth+1)
	}
	return err
}

// variantTypes are the built-in types by number (OPC UA Part 6, 5.1.2).
var variantTypes = map[byte]reflect.Type{
	1: reflect.TypeFor[bool](), 2: reflect.TypeFor[int8](), 3: reflect.TypeFor[uint8](),
	4: reflect.TypeFor[int16](), 5: reflect.TypeFor[uint16](), 6: reflect.TypeFor[int32](), 7: reflect.TypeFor[uint32](),
	8: reflect.TypeFor[int64](), 9: reflect.TypeFor[uint64](), 10: reflect.TypeFor[float32](), 11: reflect.TypeFor[float64](),
	12: reflect.TypeFor[string](), 13: reflect.TypeFor[time.Time](), 14: reflect.TypeFor[ua.GUID](), 15: reflect.TypeFor[[]byte](),
	16: reflect.TypeFor[string](), 17: reflect.TypeFor[ua.NodeID](), 18: reflect.TypeFor[ua.ExpandedNodeID](),
	19: reflect.TypeFor[uint32](), 20: reflect.TypeFor[ua.QualifiedName](), 21: reflect.TypeFor[ua.LocalizedText](),
	22: reflect.TypeFor[ua.ExtensionObject](), 23: reflect.TypeFor[ua.DataValue](), 24: reflect.TypeFor[ua.Variant](),
	25: reflect.TypeFor[ua.DiagnosticInfo](),
}

// value is a walk to a variant that takes the short way to a number.
func (w *walker) value(depth int) error {
	if len(w.b) == 0 || scalars[w.b[0]&0x3f] == 0 || w.b[0]&^0x3f != 0 {
		return w.walk(reflect.TypeFor[ua.Variant](), depth)
	}
	size := scalars[w.b[0]]
	if w.left -= int(reflect.TypeFor[ua.Variant]().Size()) + size; w.left < 0 {
		return errTooBig
	}
	return w.skip(1 + size)
}

func (w *walker) variant(depth int) error {
	begin := w.b
	mask, err := w.byte()
	if err != nil || mask&0x3f == 0 {
		return err
	}
	if number := mask & 0x3f; number > 25 && number < 32 { // to be taken for a ByteString (Part 6, 5.2.2.16)
		mask = mask&^0x3f | byte(ua.TypeIDByteString)
		begin[0] = mask
	}
	t, known := variantTypes[mask&0x3f]
	if !known {
		return fmt.Errorf("a variant of type %d", mask&0x3f)
	}
	if mask&ua.VariantArrayValues == 0 {
		return w.walk(t, depth)
	}
	left := w.left
	readable, err := w.array(mask, t, depth)
	if err == nil && !readable {
		w.left = left - blankSize
		blank(begin[:len(begin)-len(w.b)])
	}
	return err
}

// array walks the elements and dimensions of a variant, and reports whether the
// library can decode them. Of one that it cannot only the end is looked for.
func (w *walker) array(mask byte, t reflect.Type, depth int) (readable bool, err error) {
	n, err := w.count()
	if err != nil {
		return false, err
	}
	readable = n <= ua.MaxVariantArrayLength
	if !readable {
		w.left = maxDecoded
	}
	if size := scalars[mask&0x3f]; size > 0 {
		w.left -= max(n, 0) * (16 + size) // the interface it passes through
		err = w.skip(max(n, 0) * size)
	}
	for i := 0; i < n && scalars[mask&0x3f] == 0 && err == nil; i++ {
		w.left -= 16
		err = w.walk(t, depth)
	}
	if err == nil && readable && w.left < 0 {
		err = errTooBig
	}
	if err != nil || mask&ua.VariantArrayDimensions == 0 {
		return readable, err
	}
	fit, err := w.dimensions(n)
	return readable && fit, err
}

// dimensions reports whether they multiply to the number of elements.
func (w *walker) dimensions(elements int) (fit bool, err error) {
	n, err := w.count()
	if err != nil || len(w.b) < 4*n {
		return false, cmp.Or(err, errCut)
	}
	fit = n >= 0 && n <= maxDimensions
	product := int64(1)
	for i := 0; i < n && fit; i++ {
		d := int64(int32(binary.LittleEndian.Uint32(w.b[4*i:])))
		product *= d
		fit = d >= 1 && product <= int64(ua.MaxVariantArrayLength)
	}
	return fit && (n == 0 || product == int64(elements)), w.skip(4 * max(n, 0))
}

// blankType is the number of no structure. An array that the library cannot
// decode is made one of it: that costs its tag, and not the whole answer.
const blankType, blankSize = 255, 256

func blank(b []byte) {
	copy(b, []byte{byte(ua.TypeIDExtensionObject), byte(ua.NodeIDTypeTwoByte), blankType, ua.ExtensionObjectBinary})
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
}

// isBlank reports whether a value is what is left of such an array.
func isBlank(raw any) bool {
	x, ok := raw.(*ua.ExtensionObject)
	return ok && x != nil && x.TypeID != nil && x.TypeID.NodeID != nil && isStandard(x.TypeID.NodeID, blankType)
}

var notifiedItem = reflect.TypeFor[ua.MonitoredItemNotification]()

// notifiedItem spares the thousand changes of a busy second the way through
// their type.
func (w *walker) notifiedItem(depth int) error {
	if err := w.skip(4); err != nil {
		return err
	}
	if w.left -= 4 + int(reflect.TypeFor[ua.DataValue]().Size()); w.left < 0 {
		return errTooBig
	}
	return w.dataValue(depth)
}

// scalars are the sizes of the built-in types that are plain numbers.
var scalars = [64]int{1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8}

func (w *walker) dataValue(depth int) error {
	mask, err := w.byte()
	if err == nil && mask&ua.DataValueValue != 0 {
		err = w.value(depth)
	}
	return w.optional(err, mask, []flagged{
		{ua.DataValueStatusCode, 4}, {ua.DataValueSourceTimestamp, timeSize}, {ua.DataValueSourcePicoseconds, 2},
		{ua.DataValueServerTimestamp, timeSize}, {ua.DataValueServerPicoseconds, 2},
	})
}

// time makes none of a time that the library cannot hold: "never", which servers
// write as the year 9999 or the largest number, would be read as one of 1816 or
// 2185.
func (w *walker) time() error {
	const unixEpoch, most = 116444736000000000, math.MaxInt64 / 100 // in 100 ns, since 1601 and from 1970
	if len(w.b) < timeSize {
		return errCut
	}
	if since := int64(binary.LittleEndian.Uint64(w.b) - unixEpoch); since > most || since < -most {
		clear(w.b[:timeSize])
	}
	return w.skip(timeSize)
}

const timeSize = 8

// flagged is a field that is there if its bit is set.
type flagged struct {
	bit  byte
	size int
}

func (w *walker) optional(err error, mask byte, fields []flagged) error {
	for _, f := range fields {
		switch {
		case err != nil || mask&f.bit == 0:
		case f.size == timeSize: // nothing else of that size is optional
			err = w.time()
		default:
			err = w.skip(f.size)
		}
	}
	return err
}

func (w *walker) nodeID() (mask byte, err error) {
	if mask, err = w.byte(); err != nil {
		return 0, err
	}
	switch ua.NodeIDType(mask & 0x0f) {
	case ua.NodeIDTypeTwoByte:
		return mask, w.skip(1)
	case ua.NodeIDTypeFourByte:
		return mask, w.skip(3)
	case ua.NodeIDTypeNumeric:
		return mask, w.skip(6)
	case ua.NodeIDTypeGUID:
		return mask, w.skip(18)
	case ua.NodeIDTypeString, ua.NodeIDTypeByteString:
		if err := w.skip(2); err != nil {
			return mask, err
		}
		return mask, w.text()
	default:
		return mask, fmt.Errorf("a node id of type %d", mask&0x0f)
	}
}

func (w *walker) expandedNodeID() error {
	mask, err := w.nodeID()
	if err == nil && mask&0x80 != 0 {
		err = w.text()
	}
	if err == nil && mask&0x40 != 0 {
		err = w.skip(4)
	}
	return err
}

func (w *walker) localizedText() error {
	mask, err := w.byte()
	if err == nil && mask&ua.LocalizedTextLocale != 0 {
		err = w.text()
	}
	if err == nil && mask&ua.LocalizedTextText != 0 {
		err = w.text()
	}
	return err
}

func (w *walker) diagnostic(depth int) error {
	mask, err := w.byte()
	err = w.optional(err, mask, []flagged{
		{ua.DiagnosticInfoSymbolicID, 4}, {ua.DiagnosticInfoNamespaceURI, 4},
		{ua.DiagnosticInfoLocale, 4}, {ua.DiagnosticInfoLocalizedText, 4},
	})
	if err == nil && mask&ua.DiagnosticInfoAdditionalInfo != 0 {
		err = w.text()
	}
	err = w.optional(err, mask, []flagged{{ua.DiagnosticInfoInnerStatusCode, 4}})
	if err == nil && mask&ua.DiagnosticInfoInnerDiagnosticInfo != 0 {
		err = w.walk(reflect.TypeFor[ua.DiagnosticInfo](), depth)
	}
	return err
}

// extension walks the body of a structure if the library would decode it; it
// skips the others, as the library does.
func (w *walker) extension(depth int) error {
	number, _, numeric := encodingID(w.b)
	if err := w.expandedNodeID(); err != nil {
		return err
	}
	mask, err := w.byte()
	if err != nil || mask == ua.ExtensionObjectEmpty {
		return err
	}
	n, err := w.count()
	if err != nil || n <= 0 {
		return err
	}
	body := w.b[:n]
	w.b = w.b[n:]
	inner := &walker{b: body, left: w.left}
	switch t := structure(number); {
	case mask == ua.ExtensionObjectXML:
		err = inner.text()
	case numeric && t != nil:
		err = inner.walk(t, depth)
	}
	w.left = inner.left
	return err
}

var structures sync.Map // number of an encoding: reflect.Type, or nil

// structure returns what the library decodes an extension object to, nil for
// one that it does not know. It keeps its registry to itself, but makes the
// value before it finds a body of one byte too short.
func structure(number uint32) reflect.Type {
	if t, known := structures.Load(number); known {
		typ, _ := t.(reflect.Type)
		return typ
	}
	var e ua.ExtensionObject
	probe := binary.LittleEndian.AppendUint32([]byte{byte(ua.NodeIDTypeNumeric), 0, 0}, number)
	_, _ = e.Decode(append(probe, ua.ExtensionObjectBinary, 1, 0, 0, 0, 0))
	if e.Value == nil {
		return nil // not kept: a peer could fill the memory with numbers
	}
	t := reflect.TypeOf(e.Value)
	structures.Store(number, t)
	return t
}
