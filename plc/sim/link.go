package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"edgeagent"
)

const (
	headerSize = 7   // transaction, protocol, length, unit
	maxLength  = 254 // unit and PDU
)

// frame is one Modbus TCP message.
type frame struct {
	transaction uint16
	unit        uint8
	pdu         []byte // at least the function code
}

// link is one connection of a client.
type link struct {
	server *Server
	conn   net.Conn
}

// serve answers requests one at a time until the connection ends. Errors end
// it without a word: clients of a test hang up in every possible way.
func (l *link) serve() {
	defer func() { _ = l.conn.Close() }()
	for {
		req, err := readFrame(l.conn)
		if err != nil || l.server.waitThaw() != nil {
			return
		}
		fault := l.server.record(req)
		deliver, known := deliveries[fault.Kind]
		if !known || deliver(l, fault, req, l.server.reply(req)) != nil {
			return
		}
	}
}

// readFrame reads one message; a header that is not Modbus TCP is an error.
func readFrame(r io.Reader) (frame, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, fmt.Errorf("read header: %w", err)
	}
	protocol, length := binary.BigEndian.Uint16(head[2:]), binary.BigEndian.Uint16(head[4:])
	if protocol != 0 || length < 2 || length > maxLength {
		return frame{}, fmt.Errorf("read header: protocol %d length %d is not Modbus TCP", protocol, length)
	}
	f := frame{transaction: binary.BigEndian.Uint16(head[:]), unit: head[6], pdu: make([]byte, length-1)}
	if _, err := io.ReadFull(r, f.pdu); err != nil {
		return frame{}, fmt.Errorf("read request: %w", err)
	}
	return f, nil
}

// answer returns the bytes that carry pdu back to whoever sent f.
func (f frame) answer(pdu []byte) []byte {
	raw := binary.BigEndian.AppendUint16(nil, f.transaction)
	raw = binary.BigEndian.AppendUint16(raw, 0)
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(pdu)+1))
	return append(append(raw, f.unit), pdu...)
}

func (f frame) request() Request {
	r := Request{At: time.Now(), Unit: f.unit, Function: f.pdu[0]}
	if len(f.pdu) >= 5 {
		r.Address, r.Quantity = binary.BigEndian.Uint16(f.pdu[1:]), binary.BigEndian.Uint16(f.pdu[3:])
	}
	return r
}

// reply returns the honest answer to a request.
func (s *Server) reply(req frame) []byte {
	function := req.pdu[0]
	device, known := s.units[req.unit]
	switch {
	case !known:
		return exception(function, exceptionTarget)
	case function < 1 || function > 4:
		return exception(function, exceptionFunction)
	case len(req.pdu) != 5:
		return exception(function, exceptionValue)
	}
	r := req.request()
	data, code := device.read(edgeagent.Area(function), r.Address, r.Quantity)
	if code != 0 {
		return exception(function, code)
	}
	return append([]byte{function, byte(len(data))}, data...)
}

func exception(function, code byte) []byte { return []byte{function | 0x80, code} }

// writes reports whether a function code changes something in a device.
func writes(function byte) bool {
	switch function {
	case 5, 6, 15, 16, 21, 22, 23:
		return true
	default:
		return false
	}
}

func (l *link) send(req frame, pdu []byte) error { return l.write(req.answer(pdu)) }

func (l *link) write(raw []byte) error {
	if _, err := l.conn.Write(raw); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// wait returns after d, or at once with an error when the server is closed.
func (l *link) wait(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-l.server.done:
		return errClosed
	}
}
