package opcua

import (
	"sync"
	"time"

	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"
)

// publishResponse is [ua.PublishResponse] for the library's decoder, but for the
// notifications, which decode themselves. It reflects its way through a thousand
// changes a second otherwise, with four allocations each: most of what reading
// an OPC UA server costs.
type publishResponse struct {
	ResponseHeader           *ua.ResponseHeader
	SubscriptionID           uint32
	AvailableSequenceNumbers []uint32
	MoreNotifications        bool
	NotificationMessage      *notificationMessage
	Results                  []ua.StatusCode
	DiagnosticInfos          []*ua.DiagnosticInfo
}

type notificationMessage struct {
	SequenceNumber   uint32
	PublishTime      time.Time
	NotificationData []*notification
}

// notification is one part of a message, decoded as the library would.
type notification struct{ data ua.ExtensionObject }

// decodePublish reads the answer to a publish request, after its shape was
// checked.
func decodePublish(body []byte) (*ua.PublishResponse, error) {
	var r publishResponse
	if _, err := ua.Decode(body, &r); err != nil {
		return nil, err
	}
	res := &ua.PublishResponse{
		ResponseHeader: r.ResponseHeader, SubscriptionID: r.SubscriptionID, AvailableSequenceNumbers: r.AvailableSequenceNumbers,
		MoreNotifications: r.MoreNotifications, Results: r.Results, DiagnosticInfos: r.DiagnosticInfos,
	}
	if m := r.NotificationMessage; m != nil {
		res.NotificationMessage = &ua.NotificationMessage{SequenceNumber: m.SequenceNumber, PublishTime: m.PublishTime}
		if m.NotificationData != nil {
			res.NotificationMessage.NotificationData = make([]*ua.ExtensionObject, 0, len(m.NotificationData))
		}
		for _, n := range m.NotificationData {
			res.NotificationMessage.NotificationData = append(res.NotificationMessage.NotificationData, &n.data)
		}
	}
	return res, nil
}

// Decode implements [ua.BinaryDecoder]: changes of values by hand, all else by
// the library.
func (n *notification) Decode(b []byte) (int, error) {
	number, head, numeric := encodingID(b)
	if !numeric || number != id.DataChangeNotification_Encoding_DefaultBinary || b[0] > 0x0f {
		return n.data.Decode(b)
	}
	buf := ua.NewBuffer(b[head:])
	if buf.ReadByte() != ua.ExtensionObjectBinary {
		return n.data.Decode(b)
	}
	size := buf.ReadUint32()
	if size == 0 || size == null || buf.Error() != nil {
		return n.data.Decode(b)
	}
	body := ua.NewBuffer(buf.ReadN(int(min(size, maxMessage))))
	if buf.Error() != nil {
		return head + buf.Pos(), buf.Error()
	}
	v := new(dataChange)
	v.read(body)
	n.data = ua.ExtensionObject{TypeID: ua.NewFourByteExpandedNodeID(0, uint16(number)), EncodingMask: ua.ExtensionObjectBinary, Value: v}
	if n := elements(body); n >= 0 {
		v.DiagnosticInfos = make([]*ua.DiagnosticInfo, n)
	}
	for i := range v.DiagnosticInfos {
		v.DiagnosticInfos[i] = new(ua.DiagnosticInfo)
		body.ReadStruct(v.DiagnosticInfos[i])
	}
	return head + buf.Pos(), body.Error()
}

// elements reads the length of an array, at most one element a byte; -1 is that
// of none.
func elements(buf *ua.Buffer) int {
	n := buf.ReadUint32()
	if n == null || buf.Error() != nil {
		return -1
	}
	return min(int(min(n, maxMessage)), buf.Len())
}

// change is all that one change takes, in one piece.
type change struct {
	item    ua.MonitoredItemNotification
	value   ua.DataValue
	variant ua.Variant
}

// dataChange are the changes of a message. They serve the next one once they were
// taken over: fresh memory, a hundred kilobytes a second of it, costs more than
// what is decoded into it.
type dataChange struct {
	ua.DataChangeNotification
	room *seats
}

type seats struct {
	all   []change
	items []*ua.MonitoredItemNotification
}

var rooms = sync.Pool{New: func() any { return new(seats) }}

// maxKept is the largest room that is kept for the next message, in changes.
const maxKept = 4096

func (d *dataChange) read(buf *ua.Buffer) {
	n := elements(buf)
	if n < 0 {
		return
	}
	d.room = rooms.Get().(*seats)
	d.MonitoredItems = d.room.of(n)
	for i := range d.MonitoredItems {
		c := &d.room.all[i]
		c.item.ClientHandle, c.item.Value = buf.ReadUint32(), &c.value
		c.value.Value = &c.variant
		readDataValue(buf, &c.value)
		d.MonitoredItems[i] = &c.item
		if buf.Error() != nil {
			break
		}
	}
}

// of returns a place for each of n changes; nothing is left of earlier ones.
func (r *seats) of(n int) []*ua.MonitoredItemNotification {
	if cap(r.all) < n || r.items == nil {
		r.all, r.items = make([]change, n), make([]*ua.MonitoredItemNotification, n)
		return r.items
	}
	r.all, r.items = r.all[:n], r.items[:n]
	clear(r.all)
	clear(r.items)
	return r.items
}

// free lets the next message have the room. Nobody may look at the changes any more.
func (d *dataChange) free() {
	if d.room != nil && cap(d.room.all) <= maxKept {
		rooms.Put(d.room)
	}
	d.room, d.MonitoredItems = nil, nil
}

// readDataValue is the library's (*ua.DataValue).Decode without its detours.
func readDataValue(buf *ua.Buffer, d *ua.DataValue) {
	d.EncodingMask = buf.ReadByte()
	if d.Has(ua.DataValueValue) {
		readVariant(buf, d.Value)
	}
	if d.Has(ua.DataValueStatusCode) {
		d.Status = ua.StatusCode(buf.ReadUint32())
	}
	if d.Has(ua.DataValueSourceTimestamp) {
		d.SourceTimestamp = buf.ReadTime()
	}
	if d.Has(ua.DataValueSourcePicoseconds) {
		d.SourcePicoseconds = buf.ReadUint16()
	}
	if d.Has(ua.DataValueServerTimestamp) {
		d.ServerTimestamp = buf.ReadTime()
	}
	if d.Has(ua.DataValueServerPicoseconds) {
		d.ServerPicoseconds = buf.ReadUint16()
	}
}

func readVariant(buf *ua.Buffer, v *ua.Variant) {
	n, err := v.Decode(buf.Bytes())
	buf.ReadN(n)
	if err != nil {
		buf.ReadN(buf.Len() + 1) // its error is the buffer's: what follows cannot be read
	}
}
