package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

func serveUA(t *testing.T, p *Plant) *OPCUAServer {
	t.Helper()
	s, err := ListenOPCUA("127.0.0.1:0", p)
	return running(t, s, err)
}

// uaClient is a client of the library, which knows nothing of this server.
func uaClient(t *testing.T, s *OPCUAServer) *opcua.Client {
	t.Helper()
	c, err := opcua.NewClient(s.URL(), opcua.AutoReconnect(false), opcua.RequestTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func readUA(t *testing.T, c *opcua.Client, attribute ua.AttributeID, nodes ...string) []*ua.DataValue {
	t.Helper()
	req := &ua.ReadRequest{TimestampsToReturn: ua.TimestampsToReturnBoth}
	for _, n := range nodes {
		req.NodesToRead = append(req.NodesToRead, &ua.ReadValueID{NodeID: ua.MustParseNodeID(n), AttributeID: attribute})
	}
	res, err := c.Read(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return res.Results
}

func TestOPCUAValuesAreThePlants(t *testing.T) {
	p := plant(t)
	p.Step(111)
	s := serveUA(t, p)
	got := readUA(t, uaClient(t, s), ua.AttributeIDValue,
		"ns=1;s=Filler.Level", "ns=1;s=Filler.Recipe", "ns=1;s=Filler.State", "ns=1;s=Filler.Running",
		"ns=1;s=Filler.Heartbeat", "ns=1;s=Packaging.MotorTemp", "i=2259", "ns=1;s=Filler.Nobody", "ns=7;s=Filler.Level")
	want := []any{
		float32(float(p.Device("filler"), 100, "CDAB")), "PILS 0.5L", uint16(stateExecute), true,
		word(p.Device("filler"), 1), float32(int16(word(p.Device("packaging"), 104))) / 10, int32(0),
	}
	for i, w := range want {
		if got[i].Status != ua.StatusOK || got[i].Value.Value() != w || got[i].SourceTimestamp.IsZero() || got[i].ServerTimestamp.IsZero() {
			t.Errorf("%d: %v, %v at %v; want %v", i, got[i].Value, got[i].Status, got[i].SourceTimestamp, w)
		}
	}
	for _, v := range got[len(want):] {
		if v.Status != ua.StatusBadNodeIDUnknown {
			t.Errorf("%v, want an unknown node", v.Status)
		}
	}
}

// TestOPCUAMirrorsEveryRegister: each value of the plant has a node, whose
// attributes say what it is, and which nobody can write.
func TestOPCUAMirrorsEveryRegister(t *testing.T) {
	s := serveUA(t, plant(t))
	c := uaClient(t, s)
	objects, err := c.Node(ua.NewNumericNodeID(0, id.ObjectsFolder)).ReferencedNodes(t.Context(), id.HierarchicalReferences, ua.BrowseDirectionForward, ua.NodeClassAll, true)
	if err != nil || len(objects) != 1+len(deviceNames) {
		t.Fatalf("objects %v, %v; want the server and %v", objects, err, deviceNames)
	}
	var found int
	for _, folder := range objects[1:] {
		nodes, err := folder.ReferencedNodes(t.Context(), id.HasComponent, ua.BrowseDirectionForward, ua.NodeClassVariable, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			found++
			name := n.ID.String()
			access := readUA(t, c, ua.AttributeIDUserAccessLevel, name)[0]
			value, typ := readUA(t, c, ua.AttributeIDValue, name)[0], readUA(t, c, ua.AttributeIDDataType, name)[0]
			if access.Value.Value() != byte(1) || typ.Value.NodeID().IntID() != uint32(value.Value.Type()) {
				t.Errorf("%s: access %v, type %v of %v", name, access.Value, typ.Value, value.Value)
			}
		}
	}
	if found != len(variables) {
		t.Errorf("%d variables found, want %d", found, len(variables))
	}
	status, err := c.Write(t.Context(), &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: ua.MustParseNodeID("ns=1;s=Filler.State"), AttributeID: ua.AttributeIDValue,
		Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(uint16(2))},
	}}})
	if err != nil || status.Results[0] != ua.StatusBadNotWritable || s.Writes() != 1 {
		t.Errorf("write = %v, %v, %d counted; want refused and counted", status, err, s.Writes())
	}
}

func TestOPCUANamesAPathAndRefusesTooMuch(t *testing.T) {
	c := uaClient(t, serveUA(t, plant(t)))
	got, err := c.Node(ua.NewNumericNodeID(0, id.ObjectsFolder)).TranslateBrowsePathInNamespaceToNodeID(t.Context(), 1, "Capper.Torque")
	if err != nil || got.String() != "ns=1;s=Capper.Torque" {
		t.Errorf("Capper.Torque = %v, %v", got, err)
	}
	many := make([]*ua.ReadValueID, operationLimit+1)
	for i := range many {
		many[i] = &ua.ReadValueID{NodeID: ua.NewNumericNodeID(0, id.Server_ServerStatus_State), AttributeID: ua.AttributeIDValue}
	}
	if _, err := c.Read(t.Context(), &ua.ReadRequest{NodesToRead: many}); !errors.Is(err, ua.StatusBadTooManyOperations) {
		t.Errorf("%d nodes: %v, want too many", len(many), err)
	}
	if _, err := c.Call(t.Context(), &ua.CallMethodRequest{ObjectID: ua.NewNumericNodeID(0, 2253), MethodID: ua.NewNumericNodeID(0, 11492)}); !errors.Is(err, ua.StatusBadServiceUnsupported) {
		t.Errorf("call = %v, want unsupported", err)
	}
}

// uaAnswer sends one request and returns the server's answer. Subscriptions are asked
// for by it too: the library's own loop of publish requests never starts when
// the goroutine of it runs for the first time after Subscribe.
func uaAnswer[Answer ua.Response](t *testing.T, c *opcua.Client, req ua.Request) (res Answer) {
	t.Helper()
	err := c.Send(t.Context(), req, func(r ua.Response) error {
		var is bool
		if res, is = r.(Answer); !is {
			t.Errorf("%T was answered with %T", req, r)
		}
		return nil
	})
	if err == nil && res.Header().ServiceResult != ua.StatusOK {
		err = res.Header().ServiceResult
	}
	if err != nil {
		t.Fatalf("%T: %v", req, err)
	}
	return res
}

// heard collects what subscriptions tell, by handle.
func heard(t *testing.T, c *opcua.Client, until func(map[uint32][]*ua.DataValue) bool) map[uint32][]*ua.DataValue {
	t.Helper()
	got := map[uint32][]*ua.DataValue{}
	for deadline := time.Now().Add(2 * time.Minute); !until(got); { // only a test that hangs takes that long
		if time.Now().After(deadline) {
			t.Fatalf("heard %v", got)
		}
		res := uaAnswer[*ua.PublishResponse](t, c, &ua.PublishRequest{})
		for _, n := range res.NotificationMessage.NotificationData {
			change, is := n.Value.(*ua.DataChangeNotification)
			if !is {
				t.Fatalf("told %T", n.Value)
			}
			for _, i := range change.MonitoredItems {
				got[i.ClientHandle] = append(got[i.ClientHandle], i.Value)
			}
		}
	}
	return got
}

// TestOPCUATellsChanges subscribes to what changes, what stays and what is not
// there, with a queue that holds every sample.
func TestOPCUATellsChanges(t *testing.T) {
	p := plant(t)
	c := uaClient(t, serveUA(t, p))
	sub := uaAnswer[*ua.CreateSubscriptionResponse](t, c, &ua.CreateSubscriptionRequest{
		RequestedPublishingInterval: 250, RequestedLifetimeCount: 3000, RequestedMaxKeepAliveCount: 100, PublishingEnabled: true,
	})
	item := func(node string, handle uint32, queue uint32, filter any) *ua.MonitoredItemCreateRequest {
		r := opcua.NewMonitoredItemCreateRequestWithDefaults(ua.MustParseNodeID(node), ua.AttributeIDValue, handle)
		r.RequestedParameters.QueueSize = queue
		if filter != nil {
			r.RequestedParameters.Filter = ua.NewExtensionObject(filter)
		}
		return r
	}
	res := uaAnswer[*ua.CreateMonitoredItemsResponse](t, c, &ua.CreateMonitoredItemsRequest{SubscriptionID: sub.SubscriptionID,
		TimestampsToReturn: ua.TimestampsToReturnBoth, ItemsToCreate: []*ua.MonitoredItemCreateRequest{
			item("ns=1;s=Filler.Heartbeat", 1, 100, nil), item("ns=1;s=Filler.Recipe", 2, 1, nil), item("ns=1;s=Filler.Nobody", 3, 1, nil),
			item("ns=1;s=Filler.Produced", 4, 1, &ua.DataChangeFilter{DeadbandType: uint32(ua.DeadbandTypeAbsolute), DeadbandValue: 1e6}),
			item("i=2258", 5, 1, nil), item("ns=1;s=Filler.Level", 6, 1, &ua.EventFilter{WhereClause: &ua.ContentFilter{}}),
		}})
	for i, want := range []ua.StatusCode{0, 0, ua.StatusBadNodeIDUnknown, 0, 0, ua.StatusBadMonitoredItemFilterUnsupported} {
		if res.Results[i].StatusCode != want {
			t.Errorf("item %d: %v, want %v", i+1, res.Results[i].StatusCode, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	running := make(chan error)
	go func() { running <- p.Run(ctx) }()
	defer func() { cancel(); <-running }()
	got := heard(t, c, func(got map[uint32][]*ua.DataValue) bool { return len(got[1]) > 10 && len(got[5]) > 1 })
	if len(got[2]) != 1 || got[2][0].Value.Value() != "PILS 0.5L" || len(got[4]) != 1 {
		t.Errorf("the recipe was told %d times, the count within its deadband %d times; want once", len(got[2]), len(got[4]))
	}
	for i, v := range got[1][1:] {
		if before := got[1][i]; v.Status != ua.StatusOK || v.Value.Value().(uint16) <= before.Value.Value().(uint16) || !v.SourceTimestamp.After(before.SourceTimestamp) {
			t.Errorf("heartbeat %v at %v after %v at %v", v.Value, v.SourceTimestamp, before.Value, before.SourceTimestamp)
		}
	}
	gone := uaAnswer[*ua.DeleteSubscriptionsResponse](t, c, &ua.DeleteSubscriptionsRequest{SubscriptionIDs: []uint32{sub.SubscriptionID}})
	if gone.Results[0] != ua.StatusOK {
		t.Errorf("cancel = %v", gone.Results[0])
	}
}

func TestOverflowIsMarked(t *testing.T) {
	value := func(n int) *ua.DataValue {
		return &ua.DataValue{EncodingMask: ua.DataValueValue, Value: ua.MustVariant(int32(n))}
	}
	for _, tt := range []struct {
		name   string
		item   uaItem
		values []int32
		marked int // index, -1 none
	}{
		{"all held", uaItem{queue: 4, oldest: true}, []int32{1, 2, 3, 4}, -1},
		{"oldest goes", uaItem{queue: 2, oldest: true}, []int32{3, 4}, 0},
		{"newest goes", uaItem{queue: 2}, []int32{1, 4}, 1},
		{"queue of one", uaItem{queue: 1, oldest: true}, []int32{4}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for n := range 4 {
				tt.item.push(value(n + 1))
			}
			for i, v := range tt.item.pending {
				if v.Value.Value() != tt.values[i] || (v.Status == overflow) != (i == tt.marked) {
					t.Errorf("%d: %v, %v", i, v.Value, v.Status)
				}
			}
			if len(tt.item.pending) != len(tt.values) {
				t.Errorf("%d values, want %d", len(tt.item.pending), len(tt.values))
			}
		})
	}
}

func TestOPCUAConnectionsEndWithoutALeak(t *testing.T) {
	s := serveUA(t, plant(t))
	for range 20 {
		c, err := opcua.NewClient(s.URL(), opcua.AutoReconnect(false))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Subscribe(t.Context(), &opcua.SubscriptionParameters{}, make(chan *opcua.PublishNotificationData, 9)); err != nil {
			t.Fatal(err)
		}
		s.Disconnect()
		_ = c.Close(context.Background())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.channels) > 1 { // the last may still be on its way out
		t.Errorf("%d connections are left", len(s.channels))
	}
}

// TestOPCUAHangsUpOnWhatItDoesNotSpeak sends hostile bytes: each ends its own
// connection with an error, and no other.
func TestOPCUAHangsUpOnWhatItDoesNotSpeak(t *testing.T) {
	s := serveUA(t, plant(t))
	hello := append([]byte("HELF\x20\x00\x00\x00"), make([]byte, 24)...)
	policy := "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
	open := binary.LittleEndian.AppendUint32([]byte("OPNF\x00\x00\x00\x00\x00\x00\x00\x00"), uint32(len(policy)))
	open = append(append(open, policy...), make([]byte, 16)...)
	binary.LittleEndian.PutUint32(open[4:], uint32(len(open)))
	garbage := append([]byte("MSGF\x20\x00\x00\x00"), make([]byte, 24)...)
	for i := range garbage[24:] {
		garbage[24+i] = 0xff
	}
	for name, raw := range map[string][]byte{
		"HTTP":           []byte("GET / HTTP/1.1\r\n\r\n"),
		"no hello":       garbage,
		"a huge frame":   []byte("HELF\xff\xff\xff\xff"),
		"a tiny frame":   []byte("HELF\x00\x00\x00\x00"),
		"another policy": append(hello[:32:32], open...),
		"garbage":        append(hello[:32:32], garbage...),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(raw)
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) {
				t.Error("the connection stays")
			}
		})
	}
	readUA(t, uaClient(t, s), ua.AttributeIDValue, "i=2258")
}

func TestOPCUAPortInUse(t *testing.T) {
	s := serveUA(t, plant(t))
	if _, err := ListenOPCUA(s.Addr(), plant(t)); err == nil {
		t.Error("the same port was opened twice")
	}
}

// FuzzOPCUARequest: whatever is in a message, the connection survives or ends,
// and the server goes on.
func FuzzOPCUARequest(f *testing.F) {
	p, err := NewPlant("filler")
	if err != nil {
		f.Fatal(err)
	}
	for _, req := range []ua.Request{
		&ua.ReadRequest{NodesToRead: []*ua.ReadValueID{{NodeID: ua.NewNumericNodeID(0, 2258), AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{}}}},
		&ua.BrowseRequest{
			View:          &ua.ViewDescription{ViewID: ua.NewTwoByteNodeID(0)},
			NodesToBrowse: []*ua.BrowseDescription{{NodeID: ua.NewNumericNodeID(0, 85), ReferenceTypeID: ua.NewTwoByteNodeID(0)}},
		},
		&ua.CreateSubscriptionRequest{},
	} {
		req.SetHeader(&ua.RequestHeader{AuthenticationToken: ua.NewTwoByteNodeID(1)})
		buf := ua.NewBuffer(nil)
		buf.WriteStruct(ua.NewFourByteExpandedNodeID(0, ua.ServiceTypeID(req)))
		buf.WriteStruct(req)
		f.Add(buf.Bytes())
	}
	f.Fuzz(func(_ *testing.T, message []byte) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		c := &uaChannel{server: &OPCUAServer{space: newSpace(p), ln: nowhere{}, requests: map[string]int{}}, conn: near}
		c.session = &uaSession{token: ua.NewTwoByteNodeID(1), active: true}
		_ = c.handle("MSG", 1, message)
		_ = near.Close()
	})
}

// nowhere is a listener with an address.
type nowhere struct{ net.Listener }

func (nowhere) Addr() net.Addr { return &net.TCPAddr{} }
