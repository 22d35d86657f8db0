package opcua

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent"
)

// TestAnUnreadableValueCostsItsTagAlone: what the library cannot decode, but has
// an end, is not the end of the connection.
func TestAnUnreadableValueCostsItsTagAlone(t *testing.T) {
	le := binary.LittleEndian.AppendUint32
	const array, matrix = ua.VariantArrayValues, ua.VariantArrayValues | ua.VariantArrayDimensions
	for name, variant := range map[string][]byte{
		"65,536 bytes":           slices.Concat(le([]byte{3 | array}, 65536), make([]byte, 65536)),
		"70,000 floats":          slices.Concat(le([]byte{10 | array}, 70000), make([]byte, 4*70000)),
		"70,000 empty texts":     slices.Concat(le([]byte{12 | array}, 70000), make([]byte, 4*70000)),
		"a matrix of 70,000":     slices.Concat(le([]byte{3 | matrix}, 70000), make([]byte, 70000), le(le(le(nil, 2), 2), 35000)),
		"an empty matrix":        le(le(le(le([]byte{6 | matrix}, 0), 2), 0), 0),
		"a matrix of no rows":    le(le(le(le([]byte{6 | matrix}, 0), 2), 0), 3),
		"no matrix":              le(le(le(le([]byte{6 | matrix}, 0xffffffff), 2), 0), 0),
		"wrong dimensions":       le(le(le(le(le([]byte{6 | matrix}, 1), 7), 2), 3), 3),
		"a type of the future":   slices.Concat(le([]byte{26}, 3), []byte("abc")),
		"the last type":          slices.Concat(le([]byte{31}, 0), nil),
		"types of the future":    slices.Concat(le(le([]byte{29 | array}, 1), 2), []byte("ab")),
		"within another":         slices.Concat([]byte{24}, le(le(le(le([]byte{6 | matrix}, 0), 2), 0), 0)),
		"an array within arrays": slices.Concat(le([]byte{24 | array}, 1), le([]byte{3 | array}, 65536), make([]byte, 65536)),
	} {
		t.Run(name, func(t *testing.T) {
			values := slices.Concat([]byte{ua.DataValueValue}, variant, []byte{ua.DataValueValue, 4}, []byte{7, 0})
			body := slices.Concat([]byte{1, 0}, binary.LittleEndian.AppendUint16(nil, id.ReadResponse_Encoding_DefaultBinary),
				make([]byte, 8), le(nil, 1), le(nil, 0), []byte{0}, le(nil, 0xffffffff), []byte{0, 0, 0}, // header
				le(nil, 2), values, le(nil, 0xffffffff))
			res, err := decodeResponse(body)
			if err != nil {
				t.Fatal(err)
			}
			read := res.(*ua.ReadResponse)
			spec := node("a", edgeagent.TypeInt16)
			bad, good := sample(&spec, read.Results[0], noon), sample(&spec, read.Results[1], noon)
			if bad.Quality != edgeagent.QualityBad || good.Quality != edgeagent.QualityGood || !good.Value.Equal(edgeagent.Int(7)) {
				t.Errorf("%s %v, and its neighbour %s %v", bad.Quality, bad.Reason, good.Quality, good.Value)
			}
			for _, typ := range []edgeagent.DataType{edgeagent.TypeString, edgeagent.TypeBool} {
				spec := node("a", typ)
				if s := sample(&spec, read.Results[0], noon); s.Quality != edgeagent.QualityBad && variant[0]&0x3f < 26 {
					t.Errorf("as %s: %s %v", typ, s.Quality, s.Value)
				}
			}
		})
	}
	if err := wellFormed(le([]byte{3 | array}, 65536), reflect.TypeFor[ua.Variant]()); err == nil {
		t.Error("a large array without its elements is believed")
	}
}
