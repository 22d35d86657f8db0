package opcua

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// script is a server without security whose every word is chosen by the test.
type script struct {
	ack    []byte                     // instead of a sane one
	open   func(req []byte) []byte    // instead of a sane OPN
	answer func(ua.Request) any       // a response, raw bytes of a body, a frame, or nil: none
	chunk  func(body []byte) [][]byte // instead of one final chunk
}

// frame is a whole chunk as it is to be sent.
type frame []byte

func (s *script) serve(c net.Conn) {
	sequence := uint32(0)
	for {
		in, err := readFrame(c)
		if err != nil {
			return
		}
		sequence++
		var out [][]byte
		switch string(in[:3]) {
		case "HEL":
			out = [][]byte{s.ack}
			if s.ack == nil {
				out = [][]byte{ack(0, maxChunk, maxChunk, 0, 0)}
			}
		case "OPN":
			if s.open != nil {
				out = [][]byte{s.open(in)}
				break
			}
			out = [][]byte{openFrame(in, ua.SecurityPolicyURINone, nil, sequence)}
		case "MSG":
			out = s.reply(in, sequence)
		}
		for _, f := range out {
			if _, err := c.Write(f); err != nil {
				return
			}
		}
	}
}

func ack(fields ...uint32) []byte {
	f := []byte("ACKF\x00\x00\x00\x00")
	for _, v := range fields {
		f = binary.LittleEndian.AppendUint32(f, v)
	}
	return sized(f)
}

func sized(f []byte) []byte {
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)))
	return f
}

func body(v any) []byte {
	buf := ua.NewBuffer(nil)
	buf.WriteStruct(ua.NewFourByteExpandedNodeID(0, ua.ServiceTypeID(v)))
	buf.WriteStruct(v)
	if buf.Error() != nil {
		panic(buf.Error())
	}
	return buf.Bytes()
}

// openFrame is the answer to an OPN without security, under any name.
func openFrame(_ []byte, policy string, cert []byte, sequence uint32) []byte {
	buf := ua.NewBuffer([]byte("OPNF\x00\x00\x00\x00"))
	buf.WriteUint32(7)
	buf.WriteString(policy)
	buf.WriteByteString(cert)
	buf.WriteByteString(nil)
	buf.WriteUint32(sequence)
	buf.WriteUint32(1) // the first request of a channel
	buf.Write(body(&ua.OpenSecureChannelResponse{
		ResponseHeader: header(ua.StatusOK), SecurityToken: &ua.ChannelSecurityToken{ChannelID: 7, TokenID: 9, RevisedLifetime: 3_600_000}, ServerNonce: nil,
	}))
	return sized(buf.Bytes())
}

func header(status ua.StatusCode) *ua.ResponseHeader {
	return &ua.ResponseHeader{ServiceResult: status, ServiceDiagnostics: &ua.DiagnosticInfo{}, AdditionalHeader: ua.NewExtensionObject(nil)}
}

func msg(final byte, number, sequence uint32, part []byte) []byte {
	f := append([]byte("MSG"), final, 0, 0, 0, 0)
	for _, v := range []uint32{7, 9, sequence, number} {
		f = binary.LittleEndian.AppendUint32(f, v)
	}
	return sized(append(f, part...))
}

func (s *script) reply(in []byte, sequence uint32) [][]byte {
	number := binary.LittleEndian.Uint32(in[20:])
	_, v, err := ua.DecodeService(in[24:])
	if err != nil {
		return nil
	}
	var out []byte
	switch a := s.answerTo(v.(ua.Request)).(type) {
	case nil:
		return nil
	case frame:
		return [][]byte{a}
	case []byte:
		out = a
	default:
		out = body(a)
	}
	if s.chunk != nil {
		parts := s.chunk(out)
		for i, p := range parts {
			final := byte('C')
			if i == len(parts)-1 {
				final = 'F'
			}
			parts[i] = msg(final, number, sequence*1000+uint32(i), p)
		}
		return parts
	}
	return [][]byte{msg('F', number, sequence*1000, out)}
}

// answerTo says what a sane server would, unless the test has another idea.
func (s *script) answerTo(req ua.Request) any {
	if s.answer != nil {
		if a := s.answer(req); a != any(sanely) {
			return a
		}
	}
	switch r := req.(type) {
	case *ua.GetEndpointsRequest:
		return &ua.GetEndpointsResponse{ResponseHeader: header(0), Endpoints: []*ua.EndpointDescription{offer(ua.SecurityPolicyURINone, ua.MessageSecurityModeNone, nil)}}
	case *ua.CreateSessionRequest:
		return &ua.CreateSessionResponse{
			ResponseHeader: header(0), SessionID: ua.NewTwoByteNodeID(1), AuthenticationToken: ua.NewTwoByteNodeID(2), ServerSignature: &ua.SignatureData{},
		}
	case *ua.ActivateSessionRequest:
		return &ua.ActivateSessionResponse{ResponseHeader: header(0)}
	case *ua.CloseSessionRequest:
		return &ua.CloseSessionResponse{ResponseHeader: header(0)}
	case *ua.ReadRequest:
		values := make([]*ua.DataValue, len(r.NodesToRead))
		for i, n := range r.NodesToRead {
			values[i] = &ua.DataValue{EncodingMask: ua.DataValueStatusCode, Status: ua.StatusBadNodeIDUnknown}
			if n.NodeID.IntID() == id.Server_NamespaceArray {
				values[i] = valueOfAny([]string{namespaceZero, "urn:script"})
			}
		}
		return &ua.ReadResponse{ResponseHeader: header(0), Results: values}
	}
	return fault(ua.StatusBadServiceUnsupported)
}

// sanely leaves the answer to the script.
var sanely = new(int)

func fault(status ua.StatusCode) any { return &ua.ServiceFault{ResponseHeader: header(status)} }

func valueOfAny(v any) *ua.DataValue {
	return &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(v)}
}

func offer(policy string, mode ua.MessageSecurityMode, cert []byte, tokens ...*ua.UserTokenPolicy) *ua.EndpointDescription {
	if tokens == nil {
		tokens = []*ua.UserTokenPolicy{{PolicyID: "anonymous"}}
	}
	return &ua.EndpointDescription{
		SecurityPolicyURI: policy, SecurityMode: mode, ServerCertificate: cert, UserIdentityTokens: tokens, TransportProfileURI: transport,
		Server: &ua.ApplicationDescription{ApplicationName: &ua.LocalizedText{}},
	}
}

// ample is a timeout that a busy machine keeps to: what fails, fails for its
// own reason.
const ample = 30 * time.Second

// connectTo connects to a scripted server and returns how it went; it must not
// take longer than the timeouts allow.
func connectTo(t *testing.T, s *script, change func(*Options)) (*client, error) {
	t.Helper()
	o := Options{Timeout: ample}.at(listen(t, s.serve))
	if change != nil {
		change(&o)
	}
	begin := time.Now()
	c, err := connect(t.Context(), &o)
	if took := time.Since(begin); took > 2*o.timeout()+ample {
		t.Errorf("connect took %v", took)
	}
	if c != nil {
		t.Cleanup(func() {
			c.close()
			<-c.done()
		})
	}
	return c, err
}

func TestScriptedServerIsSane(t *testing.T) {
	c, err := connectTo(t, &script{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.resolve("nsu=urn:script;s=x"); err != nil || n.Namespace() != 1 || c.limits() != ownLimits {
		t.Errorf("%v %v, limits %+v", n, err, c.limits())
	}
}

// readAnswer makes every Read be answered with raw bytes behind a sane header.
func readAnswer(results string) *script {
	return &script{answer: func(req ua.Request) any {
		if _, ok := req.(*ua.ReadRequest); !ok {
			return sanely
		}
		full := body(&ua.ReadResponse{ResponseHeader: header(0)})
		return append(full[:len(full)-8:len(full)-8], results...)
	}}
}

const one = "\x01\x00\x00\x00" // a count

// TestHostileServersDoNoHarm: each of these ends the process, takes gigabytes or
// never returns with the library's own client.
func TestHostileServersDoNoHarm(t *testing.T) {
	deep := strings.Repeat("\x18", 1_000_000)
	for name, c := range map[string]struct {
		script *script
		says   string
	}{
		"no bytes are received in a chunk": {&script{ack: ack(0, 4, 4, 0, 0)}, "chunks of 4 bytes"},
		"4 GiB of buffer":                  {&script{ack: ack(0, 0xffffffff, 0xffffffff, 0, 0), answer: func(ua.Request) any { return nil }}, "in time"},
		"an ACK that is cut":               {&script{ack: sized([]byte("ACKF\x00\x00\x00\x00\x00"))}, "no OPC UA server"},
		"HTTP":                             {&script{ack: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, "chunk of"},
		"a chunk of 4 GiB":                 {&script{ack: []byte("ACKF\xff\xff\xff\xff")}, "chunk of 4294967295 bytes"},
		"a chunk of 0 bytes":               {&script{ack: []byte("ACKF\x00\x00\x00\x00")}, "chunk of 0 bytes"},
		"an ERR":                           {&script{ack: sized([]byte("ERRF\x00\x00\x00\x00\x00\x00\x7d\x80\xff\xff\xff\x7f"))}, "BadTcpServerTooBusy"},
		"a message of 9 bytes":             {&script{answer: func(ua.Request) any { return frame("MSGF\x09\x00\x00\x00x") }}, "a chunk of 9 bytes"},
		"a message of another channel":     {&script{answer: func(ua.Request) any { return frame(sized([]byte("MSGF....\x01\x00\x00\x00\x09\x00\x00\x00........"))) }}, "channel 1, this is 7"},
		"a token never given":              {&script{answer: func(ua.Request) any { return frame(sized([]byte("MSGF....\x07\x00\x00\x00\x08\x00\x00\x00........"))) }}, "never given"},
		"an OPN without end":               {&script{open: func([]byte) []byte { return sized([]byte("OPNF....\x07\x00\x00\x00\xff\xff\xff\x7f")) }}, "cut"},
		"a message of no known kind":       {&script{answer: func(ua.Request) any { return []byte("\x01\x00\xff\xff") }}, "unknown kind"},
		"an empty message":                 {&script{answer: func(ua.Request) any { return []byte{} }}, "unknown kind"},
		"a request for an answer":          {&script{answer: func(r ua.Request) any { return body(r) }}, "unknown kind"},
		"another service's answer": {&script{answer: func(ua.Request) any {
			return &ua.PublishResponse{ResponseHeader: header(0), NotificationMessage: &ua.NotificationMessage{}}
		}}, "PublishResponse"},
		"nothing at all":              {&script{answer: func(ua.Request) any { return nil }}, "in time"},
		"an array of -2":              {readAnswer(one + "\x01\x86\xfe\xff\xff\xff"), "a length of -2"},
		"an array of 2^31":            {readAnswer(one + "\x01\x86\xff\xff\xff\x7f"), "a length of"},
		"2^31 dimensions":             {readAnswer(one + "\x01\xc6\x00\x00\x00\x00\xff\xff\xff\x7f"), "a length of"},
		"dimensions that overflow":    {readAnswer(one + "\x01\xc6\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\xff\xff\xff\xff"), "not texts"},
		"dimensions of more elements": {readAnswer(one + "\x01\xc3\x01\x00\x00\x00A\x02\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff"), "not texts"},
		"variants a million deep":     {deeply(deep), "deeper"},
		"diagnostics a million deep":  {deeply(strings.Repeat("\x40", 1_000_000)), "deeper"},
		"a text of 2 GiB":             {readAnswer(one + "\x01\x0c\xff\xff\xff\x7f"), "a length of"},
		"a text of -5":                {readAnswer(one + "\x01\x0c\xfb\xff\xff\xff"), "a length of -5"},
		"a variant of type 60":        {readAnswer(one + "\x01\x3c"), "variant of type 60"},
		"a node id of type 9":         {readAnswer(one + "\x01\x11\x09"), "node id of type 9"},
		"results that are cut":        {readAnswer("\x05\x00\x00\x00\x01\x06"), "malformed"},
		"namespaces that are numbers": {readAnswer(one + "\x01\x06\x01\x00\x00\x00\xff\xff\xff\xff"), "int32, not texts"},
		"namespaces that are nothing": {readAnswer(one + "\x00\xff\xff\xff\xff"), "not texts"},
		"no namespaces":               {readAnswer("\x00\x00\x00\x00\xff\xff\xff\xff"), "0 results for 1 items"},
		"a million namespaces":        {manyNamespaces(60_000), "60000 of them"},
		"a fault without a reason":    {&script{answer: func(ua.Request) any { return fault(0) }}, "fault without a reason"},
		"a fault":                     {&script{answer: func(ua.Request) any { return fault(ua.StatusBadTooManySessions) }}, "BadTooManySessions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := connectTo(t, c.script, func(o *Options) {
				if c.says == "in time" {
					o.Timeout = 2 * time.Second
				}
			})
			wants(t, err, plc.ErrSilent, c.says)
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// deeply sends a nested value in many chunks: behind a DataValue's mask, or as
// the diagnostics of the header.
func deeply(nested string) *script {
	s := readAnswer(one + "\x01" + nested)
	if nested[0] == 0x40 {
		s = readAnswer(one + "\x01\x19" + nested)
	}
	s.chunk = func(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 60_000)) }
	return s
}

func manyNamespaces(n int) *script {
	s := readAnswer(one + "\x01\x8c" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) + strings.Repeat("\x00\x00\x00\x00", n) + "\xff\xff\xff\xff")
	s.chunk = func(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 60_000)) }
	return s
}

// TestAnswerWithoutEnd: chunks that never end a message are not kept for ever.
func TestAnswerWithoutEnd(t *testing.T) {
	s := &script{answer: func(ua.Request) any { return make([]byte, 8<<20) }}
	s.chunk = func(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 60_000)) }
	_, err := connectTo(t, s, nil)
	wants(t, err, plc.ErrSilent, "more than 4194304 bytes")
}

// TestChunksOutOfOrderEndTheConnection: a repeated chunk would make another
// value of a message.
func TestChunksOutOfOrderEndTheConnection(t *testing.T) {
	_, err := connectTo(t, &script{answer: func(ua.Request) any { return frame(msg('F', 2, 0, nil)) }}, nil)
	wants(t, err, plc.ErrSilent, "out of order")
}

// browsed answers browse requests with references, and everything else sanely.
func browsed(refs func(r *ua.BrowseDescription) ([]*ua.ReferenceDescription, []byte)) *script {
	return &script{answer: func(req ua.Request) any {
		switch r := req.(type) {
		case *ua.BrowseRequest:
			list, point := refs(r.NodesToBrowse[0])
			return &ua.BrowseResponse{ResponseHeader: header(0), Results: []*ua.BrowseResult{{References: list, ContinuationPoint: point}}}
		case *ua.BrowseNextRequest:
			list, point := refs(nil)
			return &ua.BrowseNextResponse{ResponseHeader: header(0), Results: []*ua.BrowseResult{{References: list, ContinuationPoint: point}}}
		default:
			return sanely
		}
	}}
}

func reference(n *ua.NodeID, name string) *ua.ReferenceDescription {
	return &ua.ReferenceDescription{
		ReferenceTypeID: ua.NewTwoByteNodeID(35), IsForward: true, NodeID: &ua.ExpandedNodeID{NodeID: n}, BrowseName: &ua.QualifiedName{Name: name},
		DisplayName: &ua.LocalizedText{}, NodeClass: ua.NodeClassObject, TypeDefinition: ua.NewTwoByteExpandedNodeID(0),
	}
}

// TestAHandleThatNobodyGave is nobody's, also where int has 32 bits.
func TestAHandleThatNobodyGave(t *testing.T) {
	e := newEpisode(New(Options{}), &client{})
	e.items = []*item{{}}
	for _, handle := range []uint32{0, 2, 1 << 31, eventsHandle, eventsHandle - 1, math.MaxUint32} {
		l := letter{}
		e.changed(&subscription{}, &ua.MonitoredItemNotification{ClientHandle: handle, Value: &ua.DataValue{}}, &l)
		if len(l.samples) > 0 {
			t.Errorf("handle %d: told %+v", handle, l.samples)
		}
	}
}

func TestBrowsingEnds(t *testing.T) {
	next := uint32(1000)
	rounds := 0
	for name, c := range map[string]struct {
		refs func(*ua.BrowseDescription) ([]*ua.ReferenceDescription, []byte)
		err  error
	}{
		"a cycle": {func(*ua.BrowseDescription) ([]*ua.ReferenceDescription, []byte) {
			return []*ua.ReferenceDescription{reference(ua.NewTwoByteNodeID(85), "up"), reference(ua.NewStringNodeID(1, "a"), "a"), reference(ua.NewStringNodeID(1, "b"), "b")}, nil
		}, nil},
		"endlessly deep": {func(*ua.BrowseDescription) ([]*ua.ReferenceDescription, []byte) {
			next++
			return []*ua.ReferenceDescription{reference(ua.NewNumericNodeID(1, next), "down")}, nil
		}, nil},
		"continuation without end": {func(*ua.BrowseDescription) ([]*ua.ReferenceDescription, []byte) {
			rounds++
			return nil, []byte("again")
		}, errEnough},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Timeout: ample}.at(listen(t, browsed(c.refs).serve))
			if err := Browse(t.Context(), o, "", func(Node) error { return nil }); !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
		})
	}
	if next > 1000+maxLevels+1 || rounds > maxRounds+10 {
		t.Errorf("went %d deep, continued %d times", next-1000, rounds)
	}
}

// TestSilenceIsBounded: who asks a server that says nothing is back in time, and
// so is who closes.
func TestSilenceIsBounded(t *testing.T) {
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	o := Options{Timeout: time.Second}.at(silent)
	begin := time.Now()
	_, err := connect(t.Context(), &o)
	wants(t, err, plc.ErrSilent)
	if took := time.Since(begin); took > ample {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := connect(ctx, &o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	o.Endpoint = "opc.tcp://127.0.0.1:1"
	_, err = connect(t.Context(), &o)
	wants(t, err, plc.ErrUnreachable)

	frozen := false
	c, err := connectTo(t, &script{answer: func(ua.Request) any {
		if frozen {
			return nil
		}
		return sanely
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	frozen = true
	c.timeout = 200 * time.Millisecond
	if _, err := c.read(t.Context(), []*ua.ReadValueID{valueOf(2259)}); !errors.Is(err, plc.ErrSilent) {
		t.Errorf("frozen: %v", err)
	}
	c.timeout = ample
	begin = time.Now()
	c.close()
	c.close()
	if took := time.Since(begin); took >= closeTimeout {
		t.Errorf("close took %v: it waited for the server", took)
	}
	<-c.done()
	if c.err() == nil {
		t.Error("closed without a reason")
	}
	if _, err := c.read(t.Context(), []*ua.ReadValueID{valueOf(2259)}); err == nil {
		t.Error("read over a closed connection")
	}
}

// FuzzWellFormed holds the checker to the decoder: what it lets pass must decode
// without a panic and in bounded memory, what the decoder makes of bytes the
// checker accepts must have the length that the checker saw.
func FuzzWellFormed(f *testing.F) {
	for _, v := range []any{
		&ua.ReadResponse{ResponseHeader: header(0), Results: []*ua.DataValue{valueOfAny(1.5), valueOfAny([]string{"a", ""}), valueOfAny([][]int32{{1, 2}, {3, 4}})}},
		&ua.BrowseResponse{ResponseHeader: header(0), Results: []*ua.BrowseResult{{References: []*ua.ReferenceDescription{reference(ua.NewStringNodeID(1, "x"), "x")}}}},
		&ua.PublishResponse{ResponseHeader: header(0), NotificationMessage: &ua.NotificationMessage{NotificationData: []*ua.ExtensionObject{
			ua.NewExtensionObject(&ua.DataChangeNotification{MonitoredItems: []*ua.MonitoredItemNotification{{ClientHandle: 1, Value: valueOfAny(int16(3))}}}),
			ua.NewExtensionObject(&ua.EventNotificationList{Events: []*ua.EventFieldList{{EventFields: []*ua.Variant{ua.MustVariant("x"), ua.MustVariant(ua.NewLocalizedText("y"))}}}}),
		}}},
		&ua.GetEndpointsResponse{ResponseHeader: header(0), Endpoints: []*ua.EndpointDescription{offer("a", 1, []byte{1})}},
	} {
		f.Add(body(v))
	}
	for _, tail := range []string{"\x01\x86\xfe\xff\xff\xff", "\x01\x18\x18\x18", "\x01\xc6\x00\x00\x00\x00\x00\x00\x00\x00", "\x01\x16\x42\x00\x00\x29\x03\x00\x00\x01\x01\x00\x00\x00\x86"} {
		full := body(&ua.ReadResponse{ResponseHeader: header(0)})
		f.Add(append(full[:len(full)-8:len(full)-8], one+tail...))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if res, err := decodeResponse(b); err == nil && res == nil {
			panic(fmt.Sprintf("no answer and no error for %x", b))
		}
	})
}
