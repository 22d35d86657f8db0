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

// Framing is how requests and answers are told apart on a connection.
type Framing uint8

const (
	// FramingTCP has a header with a transaction number (MBAP).
	FramingTCP Framing = iota
	// FramingRTU has a checksum and no number: see quarantine.go for what that takes.
	FramingRTU
)

// packager wraps PDUs into frames and lets nothing but reads pass. What it
// returns is overwritten by the next request.
type packager struct {
	framing     Framing
	unit        byte
	transaction uint16
	request     [headerSize + 5]byte
	answer      pdu.ProtocolDataUnit
}

// Encode refuses, before a byte is made, whatever is not a read.
func (p *packager) Encode(u *pdu.ProtocolDataUnit) ([]byte, error) {
	if u.FunctionCode < pdu.FuncCodeReadCoils || u.FunctionCode > pdu.FuncCodeReadInputRegisters {
		return nil, fmt.Errorf("function code %d %w", u.FunctionCode, ErrReadOnly)
	}
	if len(u.Data) != 4 {
		return nil, fmt.Errorf("function code %d with %d bytes, want 4: %w", u.FunctionCode, len(u.Data), ErrReadOnly)
	}
	frame := p.request[:0]
	if p.framing == FramingRTU {
		frame = append(append(frame, p.unit, u.FunctionCode), u.Data...)
		return binary.LittleEndian.AppendUint16(frame, checksum(frame)), nil
	}
	p.transaction++
	frame = binary.BigEndian.AppendUint16(frame, p.transaction)
	frame = append(frame, 0, 0, 0, byte(2+len(u.Data)), p.unit, u.FunctionCode)
	return append(frame, u.Data...), nil
}

// body splits a whole frame into its unit and its PDU.
func (p *packager) body(frame []byte) (unit byte, body []byte) {
	if p.framing == FramingRTU {
		return frame[0], frame[1 : len(frame)-checksumSize]
	}
	return frame[6], frame[headerSize:]
}

// Decode returns the PDU of a verified frame.
func (p *packager) Decode(frame []byte) (*pdu.ProtocolDataUnit, error) {
	_, body := p.body(frame)
	p.answer = pdu.ProtocolDataUnit{FunctionCode: body[0], Data: body[1:]}
	return &p.answer, nil
}

// Verify holds an answer of the right transaction against what was asked.
func (p *packager) Verify(request, answer []byte) error {
	unit, asked := p.body(request)
	from, body := p.body(answer)
	if from != unit {
		return frameErrorf("answer of unit %d to a request to unit %d", from, unit)
	}
	switch body[0] {
	case asked[0] | exception:
		if len(body) != 2 {
			return frameErrorf("exception of %d bytes, want 2", len(body))
		}
		return nil
	case asked[0]:
		return verifyCount(asked, body)
	default:
		return frameErrorf("answer to function %d for function %d", body[0], asked[0])
	}
}

// verifyCount takes as many values as were asked for, and no others: one too
// few and every later tag of the block would be another's.
func verifyCount(asked, body []byte) error {
	want := dataSize(asked[0], int(binary.BigEndian.Uint16(asked[3:])))
	if got := len(body) - 2; len(body) < 2 || got != want || int(body[1]) != want {
		return frameErrorf("%d bytes of data, %d told, want %d", max(got, 0), told(body), want)
	}
	return nil
}

// dataSize returns how many bytes the values of a request take.
func dataSize(function byte, quantity int) int {
	if function == pdu.FuncCodeReadCoils || function == pdu.FuncCodeReadDiscreteInputs {
		return (quantity + 7) / 8
	}
	return 2 * quantity
}

func told(body []byte) int {
	if len(body) < 2 {
		return 0
	}
	return int(body[1])
}

// header is the fixed start of a Modbus TCP frame.
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
