package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"

	pdu "github.com/goburrow/modbus"
)

const (
	headerSize = 7 // transaction, protocol, length, unit
	maxPDU     = 253
	exception  = 0x80 // set in the function of an answer that refuses
)

// ErrReadOnly is returned for every function code but 1 to 4. The agent
// advises; it never writes to a PLC, whoever asks it to.
var ErrReadOnly = errors.New("refused: the agent reads only, function codes 1 to 4")

// frameError says why an answer cannot be the one to the request.
type frameError string

func (e frameError) Error() string { return "bad frame: " + string(e) }

func frameErrorf(format string, args ...any) error { return frameError(fmt.Sprintf(format, args...)) }

// packager wraps PDUs into Modbus TCP frames and lets nothing but reads pass.
type packager struct {
	unit        byte
	transaction uint16
}

// Encode refuses, before a byte is made, whatever is not a read.
func (p *packager) Encode(u *pdu.ProtocolDataUnit) ([]byte, error) {
	if u.FunctionCode < pdu.FuncCodeReadCoils || u.FunctionCode > pdu.FuncCodeReadInputRegisters {
		return nil, fmt.Errorf("function code %d %w", u.FunctionCode, ErrReadOnly)
	}
	p.transaction++
	frame := make([]byte, headerSize, headerSize+1+len(u.Data))
	binary.BigEndian.PutUint16(frame, p.transaction)
	binary.BigEndian.PutUint16(frame[4:], uint16(2+len(u.Data)))
	frame[6] = p.unit
	frame = append(frame, u.FunctionCode)
	return append(frame, u.Data...), nil
}

// Decode returns the PDU of a verified frame.
func (p *packager) Decode(frame []byte) (*pdu.ProtocolDataUnit, error) {
	return &pdu.ProtocolDataUnit{FunctionCode: frame[headerSize], Data: frame[headerSize+1:]}, nil
}

// Verify holds an answer of the right transaction against what was asked.
func (p *packager) Verify(request, answer []byte) error {
	if answer[6] != request[6] {
		return frameErrorf("answer of unit %d to a request to unit %d", answer[6], request[6])
	}
	asked, body := request[headerSize], answer[headerSize:]
	switch body[0] {
	case asked | exception:
		if len(body) != 2 {
			return frameErrorf("exception of %d bytes, want 2", len(body))
		}
		return nil
	case asked:
		return verifyCount(request[headerSize:], body)
	default:
		return frameErrorf("answer to function %d for function %d", body[0], asked)
	}
}

// verifyCount takes as many values as were asked for, and no others: one too
// few and every later tag of the block would be another's.
func verifyCount(asked, body []byte) error {
	quantity := int(binary.BigEndian.Uint16(asked[3:]))
	want := 2 * quantity
	if asked[0] == pdu.FuncCodeReadCoils || asked[0] == pdu.FuncCodeReadDiscreteInputs {
		want = (quantity + 7) / 8
	}
	if got := len(body) - 2; len(body) < 2 || got != want || int(body[1]) != want {
		return frameErrorf("%d bytes of data, %d told, want %d", max(got, 0), told(body), want)
	}
	return nil
}

func told(body []byte) int {
	if len(body) < 2 {
		return 0
	}
	return int(body[1])
}

// header is the fixed start of a frame.
type header struct {
	transaction uint16
	size        int // of unit and PDU
}

func parseHeader(b []byte) (header, error) {
	h := header{transaction: binary.BigEndian.Uint16(b), size: int(binary.BigEndian.Uint16(b[4:]))}
	if protocol := binary.BigEndian.Uint16(b[2:]); protocol != 0 {
		return h, frameErrorf("protocol %d, want 0: does Modbus TCP listen there?", protocol)
	}
	if h.size < 3 || h.size > 1+maxPDU {
		return h, frameErrorf("length %d, want 3 to %d", h.size, 1+maxPDU)
	}
	return h, nil
}
