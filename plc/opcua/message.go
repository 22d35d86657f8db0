package opcua

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// responses are the answers that are understood: those to the allowed requests.
// Another is not decoded.
var responses = map[uint32]reflect.Type{
	id.ServiceFault_Encoding_DefaultBinary:                 reflect.TypeFor[ua.ServiceFault](),
	id.GetEndpointsResponse_Encoding_DefaultBinary:         reflect.TypeFor[ua.GetEndpointsResponse](),
	id.OpenSecureChannelResponse_Encoding_DefaultBinary:    reflect.TypeFor[ua.OpenSecureChannelResponse](),
	id.CreateSessionResponse_Encoding_DefaultBinary:        reflect.TypeFor[ua.CreateSessionResponse](),
	id.ActivateSessionResponse_Encoding_DefaultBinary:      reflect.TypeFor[ua.ActivateSessionResponse](),
	id.CloseSessionResponse_Encoding_DefaultBinary:         reflect.TypeFor[ua.CloseSessionResponse](),
	id.ReadResponse_Encoding_DefaultBinary:                 reflect.TypeFor[ua.ReadResponse](),
	id.BrowseResponse_Encoding_DefaultBinary:               reflect.TypeFor[ua.BrowseResponse](),
	id.BrowseNextResponse_Encoding_DefaultBinary:           reflect.TypeFor[ua.BrowseNextResponse](),
	id.CreateSubscriptionResponse_Encoding_DefaultBinary:   reflect.TypeFor[ua.CreateSubscriptionResponse](),
	id.CreateMonitoredItemsResponse_Encoding_DefaultBinary: reflect.TypeFor[ua.CreateMonitoredItemsResponse](),
	id.PublishResponse_Encoding_DefaultBinary:              reflect.TypeFor[ua.PublishResponse](),
	id.CallResponse_Encoding_DefaultBinary:                 reflect.TypeFor[ua.CallResponse](),
}

// encode writes a request with its header. A limit is told to the server, so
// that it does not work for nobody.
func encode(req ua.Request, number uint32, session *ua.NodeID, limit time.Duration) ([]byte, error) {
	if session == nil {
		session = ua.NewTwoByteNodeID(0)
	}
	req.SetHeader(&ua.RequestHeader{
		AuthenticationToken: session, Timestamp: time.Now(), RequestHandle: number,
		TimeoutHint: uint32(min(limit, time.Hour) / time.Millisecond),
	})
	buf := ua.NewBuffer(nil)
	buf.WriteStruct(ua.NewFourByteExpandedNodeID(0, ua.ServiceTypeID(req)))
	buf.WriteStruct(req)
	if err := buf.Error(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", requestName(req), err)
	}
	return buf.Bytes(), nil
}

// decodeResponse reads an answer, after its shape was checked. A bad result of
// the whole service is returned as its [ua.StatusCode].
func decodeResponse(body []byte) (ua.Response, error) {
	number, n, ok := encodingID(body)
	typ, known := responses[number]
	if !ok || !known || body[0] > 0x0f {
		return nil, fmt.Errorf("%w: an answer of an unknown kind (i=%d)", plc.ErrSilent, number)
	}
	body = body[n:]
	if err := wellFormed(body, typ); err != nil {
		return nil, fmt.Errorf("%w: malformed %s: %w", plc.ErrSilent, typ.Name(), err)
	}
	res, err := decodeAs(typ, body)
	if err != nil {
		return nil, fmt.Errorf("%w: decode %s: %w", plc.ErrSilent, typ.Name(), err)
	}
	if res == nil || res.Header() == nil {
		return nil, fmt.Errorf("%w: %s has no header", plc.ErrSilent, typ.Name())
	}
	if status := res.Header().ServiceResult; isBad(status) {
		return nil, status
	}
	if _, fault := res.(*ua.ServiceFault); fault {
		return nil, fmt.Errorf("%w: a fault without a reason", plc.ErrSilent)
	}
	return res, nil
}

func decodeAs(typ reflect.Type, body []byte) (ua.Response, error) {
	if typ == reflect.TypeFor[ua.PublishResponse]() {
		return decodePublish(body)
	}
	res, _ := reflect.TypeAssert[ua.Response](reflect.New(typ))
	_, err := ua.Decode(body, res)
	return res, err
}

// encodingID reads the node id in front of a message or an extension object if
// it is a numeric one of namespace 0, and says how long it is. Flags of an
// expanded node id are ignored, as the library ignores them when it looks up
// what to decode.
func encodingID(b []byte) (number uint32, n int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	switch kind := ua.NodeIDType(b[0] & 0x0f); {
	case len(b) >= 2 && kind == ua.NodeIDTypeTwoByte:
		return uint32(b[1]), 2, true
	case len(b) >= 4 && kind == ua.NodeIDTypeFourByte && b[1] == 0:
		return uint32(binary.LittleEndian.Uint16(b[2:])), 4, true
	case len(b) >= 7 && kind == ua.NodeIDTypeNumeric && b[1] == 0 && b[2] == 0:
		return binary.LittleEndian.Uint32(b[3:]), 7, true
	default:
		return 0, 0, false
	}
}
