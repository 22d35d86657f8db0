package opcua

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// TestOnlyReadsAreSent goes through every request that the library can encode.
func TestOnlyReadsAreSent(t *testing.T) {
	want := []string{
		"ActivateSession", "Browse", "BrowseNext", "CloseSecureChannel", "CloseSession", "CreateMonitoredItems", "CreateSession",
		"CreateSubscription", "GetEndpoints", "OpenSecureChannel", "Publish", "Read",
	}
	ch := &channel{}
	var got []string
	requests := 0
	for n := range 0x8000 {
		_, v, _ := ua.DecodeService([]byte{1, 0, byte(n), byte(n >> 8)})
		req, ok := v.(ua.Request)
		if !ok || !strings.HasSuffix(fmt.Sprintf("%T", v), "Request") {
			continue
		}
		requests++
		if call, ok := req.(*ua.CallRequest); ok {
			call.MethodsToCall = []*ua.CallMethodRequest{{ObjectID: ua.NewTwoByteNodeID(1), MethodID: ua.NewTwoByteNodeID(1)}}
		}
		if allowed(req) {
			got = append(got, requestName(req))
		} else if _, err := ch.call(t.Context(), req, nil); !errors.Is(err, errNotAllowed) {
			t.Errorf("%s: %v, want %v", requestName(req), err, errNotAllowed)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || requests < 35 {
		t.Errorf("of %d requests these can be sent: %v", requests, got)
	}
}

func TestOnlyConditionRefreshIsCalled(t *testing.T) {
	condition, refresh := ua.NewNumericNodeID(0, id.ConditionType), ua.NewNumericNodeID(0, id.ConditionType_ConditionRefresh)
	for name, c := range map[string]struct {
		object, method *ua.NodeID
		want           bool
	}{
		"refresh":                   {condition, refresh, true},
		"of two bytes":              {ua.NewFourByteNodeID(0, id.ConditionType), ua.NewFourByteNodeID(0, id.ConditionType_ConditionRefresh), true},
		"acknowledge":               {condition, ua.NewNumericNodeID(0, id.AcknowledgeableConditionType_Acknowledge), false},
		"disable":                   {condition, ua.NewNumericNodeID(0, id.ConditionType_Disable), false},
		"another namespace":         {condition, ua.NewNumericNodeID(2, id.ConditionType_ConditionRefresh), false},
		"another object":            {ua.NewStringNodeID(2, "Press"), refresh, false},
		"a text of the same number": {condition, ua.NewStringNodeID(0, "3875"), false},
		"nothing":                   {nil, nil, false},
		"second of two":             {condition, nil, false},
	} {
		methods := []*ua.CallMethodRequest{{ObjectID: c.object, MethodID: c.method}}
		if name == "second of two" {
			methods = []*ua.CallMethodRequest{{ObjectID: condition, MethodID: refresh}, {ObjectID: condition, MethodID: ua.NewNumericNodeID(0, id.ConditionType_Enable)}}
		}
		if got := allowed(&ua.CallRequest{MethodsToCall: methods}); got != c.want {
			t.Errorf("%s: allowed = %v", name, got)
		}
	}
}

// recorder is a proxy that writes down what the agent sends.
type recorder struct {
	mu   sync.Mutex
	sent []byte   // all of it
	kind []uint32 // encoding ids of the messages, where nothing is encrypted
}

func (r *recorder) frames() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kind)
}

func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

// record passes bytes on between the agent and a server.
func record(t *testing.T, endpoint string) (*recorder, net.Listener) {
	r := &recorder{}
	l := listen(t, func(agent net.Conn) {
		server, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "opc.tcp://"))
		if err != nil {
			return
		}
		defer server.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(agent, server)
			agent.Close()
		}()
		for {
			frame, err := readFrame(agent)
			if err != nil {
				break
			}
			r.note(frame)
			if _, err := server.Write(frame); err != nil {
				break
			}
		}
		server.Close()
		<-done
	})
	return r, l
}

func (r *recorder) note(frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, frame...)
	if string(frame[:3]) == "MSG" && len(frame) > 28 {
		number, _, _ := encodingID(frame[24:])
		r.kind = append(r.kind, number)
	}
	if string(frame[:3]) == "OPN" {
		r.kind = append(r.kind, binary.LittleEndian.Uint32(frame[8:])) // the channel: 0 for a new one
	}
}

// TestWireCarriesNothingButReads watches all that this package can do.
func TestWireCarriesNothingButReads(t *testing.T) {
	p := startPlant(t)
	r, l := record(t, p.endpoint)
	o := p.options("", "").at(l)
	if err := Browse(t.Context(), o, "", func(Node) error { return nil }); err != nil {
		t.Fatal(err)
	}
	c := opened(t, o)
	sub, err := c.createSubscription(t.Context(), &ua.CreateSubscriptionRequest{RequestedPublishingInterval: 50, RequestedMaxKeepAliveCount: 2, RequestedLifetimeCount: 60, PublishingEnabled: true})
	if err != nil {
		t.Fatal(err)
	}
	item := &ua.MonitoredItemCreateRequest{
		ItemToMonitor:  &ua.ReadValueID{NodeID: ua.NewNumericNodeID(0, id.Server_ServerStatus_CurrentTime), AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{}},
		MonitoringMode: ua.MonitoringModeReporting, RequestedParameters: &ua.MonitoringParameters{ClientHandle: 1, SamplingInterval: 50, QueueSize: 1},
	}
	items, err := c.createMonitoredItems(t.Context(), sub.SubscriptionID, []*ua.MonitoredItemCreateRequest{item})
	if err != nil || items[0].StatusCode != ua.StatusOK {
		t.Fatal(err, items)
	}
	if _, err := c.publish(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.conditionRefresh(t.Context(), sub.SubscriptionID); err == nil {
		t.Error("the library's server knows no methods, and says that it refreshed")
	}
	c.close()
	<-c.done()
	seen := map[uint32]int{}
	for _, k := range r.frames() {
		seen[k]++
	}
	for _, k := range []uint32{
		0, id.GetEndpointsRequest_Encoding_DefaultBinary, id.CreateSessionRequest_Encoding_DefaultBinary, id.ActivateSessionRequest_Encoding_DefaultBinary,
		id.ReadRequest_Encoding_DefaultBinary, id.BrowseRequest_Encoding_DefaultBinary, id.CreateSubscriptionRequest_Encoding_DefaultBinary,
		id.CreateMonitoredItemsRequest_Encoding_DefaultBinary, id.PublishRequest_Encoding_DefaultBinary, id.CallRequest_Encoding_DefaultBinary,
		id.CloseSessionRequest_Encoding_DefaultBinary,
	} {
		if seen[k] == 0 {
			t.Errorf("request i=%d was not seen: the recorder is blind", k)
		}
		delete(seen, k)
	}
	if len(seen) > 0 {
		t.Errorf("besides reads there were %v", seen)
	}
}

// fakeServer answers calls in memory.
type fakeServer func(ua.Request) (ua.Response, error)

func (f fakeServer) call(_ context.Context, req ua.Request, _ *ua.NodeID) (ua.Response, error) {
	return f(req)
}

// TestRequestsStayWithinTheLimits: all items are asked for, in batches, and a
// server that answers with fewer or others is not believed.
func TestRequestsStayWithinTheLimits(t *testing.T) {
	var sizes []int
	lie := 0
	c := &client{timeout: defaultTimeout, caps: limits{read: 30}, ch: fakeServer(func(req ua.Request) (ua.Response, error) {
		n := len(req.(*ua.ReadRequest).NodesToRead)
		sizes = append(sizes, n)
		return &ua.ReadResponse{Results: make([]*ua.DataValue, n+lie)}, nil
	})}
	nodes := make([]*ua.ReadValueID, 100)
	for i := range nodes {
		nodes[i] = valueOf(uint32(i))
	}
	values, err := c.read(t.Context(), nodes)
	if err != nil || len(values) != 100 || !slices.Equal(sizes, []int{30, 30, 30, 10}) {
		t.Errorf("%d values in requests of %v, %v", len(values), sizes, err)
	}
	for _, lie = range []int{-1, 1} {
		_, err := c.read(t.Context(), nodes)
		wants(t, err, plc.ErrSilent, "results for 30 items")
	}
	c.ch = fakeServer(func(ua.Request) (ua.Response, error) { return &ua.BrowseResponse{}, nil })
	_, err = c.read(t.Context(), nodes)
	wants(t, err, plc.ErrSilent, "BrowseResponse")
	if values, err := c.read(t.Context(), nil); err != nil || len(values) != 0 {
		t.Errorf("nothing: %v, %v", values, err)
	}
}
