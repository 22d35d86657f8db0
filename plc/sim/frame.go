package sim

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

const (
	headerSize = 7   // of Modbus TCP: transaction, protocol, length, unit
	maxLength  = 254 // unit and PDU
)

// frame is one message, whatever carries it.
type frame struct {
	transaction uint16 // Modbus TCP alone
	unit        uint8
	pdu         []byte // at least the function code
}

func (f frame) request() Request {
	r := Request{At: time.Now(), Unit: f.unit, Function: f.pdu[0]}
	if len(f.pdu) >= 5 {
		r.Address, r.Quantity = binary.BigEndian.Uint16(f.pdu[1:]), binary.BigEndian.Uint16(f.pdu[3:])
	}
	return r
}

// framing is how messages are told apart on a connection.
type framing interface {
	// read returns the next request; an error ends the connection.
	read(r *bufio.Reader) (frame, error)
	// answer returns the bytes that carry pdu back to whoever sent f.
	answer(f frame, pdu []byte) []byte
}

// mbap is the framing of Modbus TCP: a header with a transaction number and a
// length.
type mbap struct{}

func (mbap) read(r *bufio.Reader) (frame, error) {
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

func (mbap) answer(f frame, pdu []byte) []byte {
	raw := binary.BigEndian.AppendUint16(nil, f.transaction)
	raw = binary.BigEndian.AppendUint16(raw, 0)
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(pdu)+1))
	return append(append(raw, f.unit), pdu...)
}

// rtu is the framing of serial lines: nothing but a checksum. Where a frame
// ends follows from its function; the silence between frames, which a line has
// and a stream has not, is not needed for that.
type rtu struct{}

// read skips, byte by byte, what is not the beginning of a request.
func (rtu) read(r *bufio.Reader) (frame, error) {
	for {
		size, err := requestSize(r)
		if err != nil {
			return frame{}, err
		}
		if size > 0 {
			raw, err := r.Peek(size)
			if err != nil {
				return frame{}, fmt.Errorf("read request: %w", err)
			}
			if binary.LittleEndian.Uint16(raw[size-2:]) == crc16(raw[:size-2]) {
				f := frame{unit: raw[0], pdu: append([]byte(nil), raw[1:size-2]...)}
				_, err = r.Discard(size)
				return f, err
			}
		}
		if _, err := r.Discard(1); err != nil {
			return frame{}, fmt.Errorf("skip noise: %w", err)
		}
	}
}

func (rtu) answer(f frame, pdu []byte) []byte {
	raw := append([]byte{f.unit}, pdu...)
	return binary.LittleEndian.AppendUint16(raw, crc16(raw))
}

// sizes of requests by function, address and checksum included.
var sizes = map[byte]int{1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6, 43: 7}

// counts says where requests of a variable size have the count of their bytes;
// the checksum follows on them.
var counts = map[byte]int{15: 6, 16: 6, 20: 2, 21: 2, 23: 10}

// requestSize looks at what comes next and returns how long that request is; 0
// for what cannot begin one.
func requestSize(r *bufio.Reader) (int, error) {
	head, err := r.Peek(2)
	if err != nil {
		return 0, fmt.Errorf("read address and function: %w", err)
	}
	function := head[1]
	at, variable := counts[function]
	if !variable {
		return sizes[function], nil
	}
	if head, err = r.Peek(at + 1); err != nil {
		return 0, fmt.Errorf("read count: %w", err)
	}
	return at + 1 + int(head[at]) + 2, nil
}

// crc16 is the checksum of the serial line protocol: polynomial 0xA001, begun
// with ones.
func crc16(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc & 1
			crc >>= 1
			crc ^= 0xa001 * odd
		}
	}
	return crc
}
