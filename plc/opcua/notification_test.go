package opcua

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
)

// answerWith is an answer to a publish request with all that may stand in one.
func answerWith(tb testing.TB, data ...any) []byte {
	tb.Helper()
	res := &ua.PublishResponse{
		ResponseHeader: &ua.ResponseHeader{
			Timestamp: time.Unix(1700000000, 0), RequestHandle: 7, ServiceDiagnostics: &ua.DiagnosticInfo{},
			StringTable: []string{"a"}, AdditionalHeader: ua.NewExtensionObject(nil),
		},
		SubscriptionID: 3, AvailableSequenceNumbers: []uint32{8, 9}, MoreNotifications: true,
		NotificationMessage: &ua.NotificationMessage{SequenceNumber: 9, PublishTime: time.Unix(1700000000, 0)},
		Results:             []ua.StatusCode{ua.StatusOK, ua.StatusBadSequenceNumberUnknown},
		DiagnosticInfos:     []*ua.DiagnosticInfo{{EncodingMask: ua.DiagnosticInfoSymbolicID, SymbolicID: 5}},
	}
	for _, d := range data {
		res.NotificationMessage.NotificationData = append(res.NotificationMessage.NotificationData, ua.NewExtensionObject(d))
	}
	b, err := ua.Encode(res)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// everyValue are changes to values of every kind, with every field of a value.
func everyValue() *ua.DataChangeNotification {
	n := &ua.DataChangeNotification{DiagnosticInfos: []*ua.DiagnosticInfo{{EncodingMask: ua.DiagnosticInfoLocale, Locale: 1}}}
	values := []any{
		nil, true, int8(-1), byte(1), int16(-2), uint16(2), int32(-3), uint32(3), int64(-4), uint64(4), float32(1.5), 2.5, "text", "",
		time.Unix(1700000000, 100).UTC(), ua.NewGUID("72962B91-FA75-4AE6-8D28-B404DC7DAF63"), []byte{1, 2}, ua.XMLElement("<a/>"),
		ua.NewStringNodeID(1, "n"), ua.NewStringExpandedNodeID(1, "n"), ua.StatusBadNoData, &ua.QualifiedName{NamespaceIndex: 1, Name: "q"},
		ua.NewLocalizedText("l"), ua.NewExtensionObject(&ua.Range{High: 1}), ua.MustVariant(int32(1)),
		[]int32{1, 2, 3}, [][]float32{{1, 2}, {3, 4}}, []string{"a", "b"},
	}
	for i, v := range values {
		dv := &ua.DataValue{Value: ua.MustVariant(v), EncodingMask: byte(i*5) &^ ua.DataValueValue,
			Status: 0x40920000, SourceTimestamp: time.Unix(1, 0).UTC(), SourcePicoseconds: 1, ServerTimestamp: time.Unix(2, 0).UTC(), ServerPicoseconds: 2}
		if v != nil {
			dv.EncodingMask |= ua.DataValueValue
		}
		n.MonitoredItems = append(n.MonitoredItems, &ua.MonitoredItemNotification{ClientHandle: uint32(i), Value: dv})
	}
	return n
}

// alike compares what both decoders make of a body that passed the check.
func alike(t *testing.T, body []byte) *ua.PublishResponse {
	t.Helper()
	if wellFormed(body, reflect.TypeFor[ua.PublishResponse]()) != nil {
		return nil
	}
	want := new(ua.PublishResponse)
	_, wantErr := ua.Decode(body, want)
	got, err := decodePublish(body)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("decoded with %v, by the library with %v", err, wantErr)
	}
	if err != nil {
		return nil
	}
	if a, b := unlabelled(got), unlabelled(want); !reflect.DeepEqual(a, b) {
		t.Fatalf("decoded %+v\nby the library %+v", a, b)
	}
	got, _ = decodePublish(body)
	return got
}

// unlabelled leaves out how a server wrote the number of a type, which nobody
// reads, and writes out numbers that are not equal to themselves.
func unlabelled(res *ua.PublishResponse) *ua.PublishResponse {
	if res.NotificationMessage == nil {
		return res
	}
	for _, data := range res.NotificationMessage.NotificationData {
		if own, ok := data.Value.(*dataChange); ok {
			data.Value = &own.DataChangeNotification
		}
		v, changes := data.Value.(*ua.DataChangeNotification)
		if !changes {
			continue
		}
		data.TypeID = nil
		for _, c := range v.MonitoredItems {
			switch t := c.Value.Value.Type(); t {
			case ua.TypeIDFloat, ua.TypeIDDouble:
				c.Value.Value = ua.MustVariant(fmt.Sprint(t, c.Value.Value.Value()))
			default:
			}
		}
	}
	return res
}

func TestNotificationsAreDecodedAsTheLibraryDoes(t *testing.T) {
	every := everyValue()
	events := &ua.EventNotificationList{Events: []*ua.EventFieldList{{ClientHandle: 1, EventFields: []*ua.Variant{ua.MustVariant("e")}}}}
	status := &ua.StatusChangeNotification{Status: ua.StatusBadTimeout, DiagnosticInfo: &ua.DiagnosticInfo{}}
	body := answerWith(t, every, events, status, &ua.DataChangeNotification{}, every)
	res := alike(t, body)
	if res == nil || len(res.NotificationMessage.NotificationData) != 5 {
		t.Fatalf("decoded %+v", res)
	}
	changes := res.NotificationMessage.NotificationData[4].Value.(*dataChange)
	if len(changes.MonitoredItems) != len(every.MonitoredItems) || len(changes.DiagnosticInfos) != 1 {
		t.Fatalf("%d changes of %d", len(changes.MonitoredItems), len(every.MonitoredItems))
	}
	for i, c := range changes.MonitoredItems {
		if !reflect.DeepEqual(c.Value.Value.Value(), every.MonitoredItems[i].Value.Value.Value()) || c.ClientHandle != uint32(i) {
			t.Errorf("change %d: %v, sent was %v", i, c.Value.Value.Value(), every.MonitoredItems[i].Value.Value.Value())
		}
	}
	changes.free() // the next answer finds nothing of this one in its place
	shorter := answerWith(t, &ua.DataChangeNotification{MonitoredItems: []*ua.MonitoredItemNotification{{ClientHandle: 5, Value: &ua.DataValue{Value: ua.MustVariant(nil)}}}})
	alike(t, shorter)
	for cutAt := range body {
		alike(t, body[:cutAt])
	}
}

// FuzzNotification holds the hand-written decoder to the library's.
func FuzzNotification(f *testing.F) {
	f.Add(answerWith(f, everyValue()))
	f.Add(answerWith(f, &ua.DataChangeNotification{}, &ua.StatusChangeNotification{DiagnosticInfo: &ua.DiagnosticInfo{}}))
	f.Add(answerWith(f))
	f.Fuzz(func(t *testing.T, body []byte) { alike(t, body) })
}
