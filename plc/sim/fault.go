package sim

import (
	"encoding/binary"
	"time"
)

// FaultKind is one way in which a Modbus server goes wrong.
type FaultKind string

// The faults, each seen in the field or in a library's bug list.
const (
	Late             FaultKind = "late"              // answers after Delay, when the client has long given up
	Duplicate        FaultKind = "duplicate"         // answers twice
	Short            FaultKind = "short"             // a consistent frame with one register (or byte of bits) too few
	Long             FaultKind = "long"              // one too many
	ZeroCount        FaultKind = "zero_count"        // an answer that holds nothing
	WrongTransaction FaultKind = "wrong_transaction" // an id that was not asked yet
	WrongUnit        FaultKind = "wrong_unit"
	WrongFunction    FaultKind = "wrong_function"  // input registers for holding, discretes for coils, and back
	ExceptionReply   FaultKind = "exception_reply" // exception Code, 4 if zero
	Close            FaultKind = "close"           // hangs up instead of answering
	HalfFrame        FaultKind = "half_frame"      // sends half of the answer, the rest never
	Silent           FaultKind = "silent"          // takes the request, answers nothing, takes the next
	Trickle          FaultKind = "trickle"         // sends a byte every Delay, 50 ms if zero
	BadLength        FaultKind = "bad_length"      // a header that announces 60000 bytes
	ZeroLength       FaultKind = "zero_length"     // a header that announces none
	Freeze           FaultKind = "freeze"          // a stopped process: accepts and never reads again, until Resume
)

// Fault is a fault to be played to the next requests.
type Fault struct {
	Kind  FaultKind
	Count int           // requests that are affected: 0 is one, -1 all until ClearFaults
	Delay time.Duration // of Late and Trickle
	Code  byte          // of ExceptionReply
	Unit  uint8         // only requests to this unit; 0 any
}

// Fault queues f. Faults act one after the other: one with Count -1 keeps those
// behind it waiting, except where it is for another unit.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Count == 0 {
		f.Count = 1
	}
	s.faults = append(s.faults, f)
}

// ClearFaults drops every fault that has not acted yet, and every lasting one.
// A frozen server stays frozen: see [Server.Resume].
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// nextFault takes one use of the first fault that is meant for the unit. The
// caller holds the lock.
func (s *Server) nextFault(unit uint8) Fault {
	for i, f := range s.faults {
		if f.Unit != 0 && f.Unit != unit {
			continue
		}
		if f.Count > 0 {
			s.faults[i].Count--
		}
		if s.faults[i].Count == 0 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return f
	}
	return Fault{}
}

// deliveries says how each fault sends (or does not send) the answer pdu to
// the request req. Without a fault it is sent as it is.
var deliveries = map[FaultKind]func(l *link, f Fault, req frame, pdu []byte) error{
	"":   func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, pdu) },
	Late: sendLate,
	Duplicate: func(l *link, _ Fault, req frame, pdu []byte) error {
		return l.write(append(req.answer(pdu), req.answer(pdu)...))
	},
	Short:     func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, resize(pdu, -1)) },
	Long:      func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, resize(pdu, +1)) },
	ZeroCount: func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, []byte{pdu[0], 0}) },
	WrongTransaction: func(l *link, _ Fault, req frame, pdu []byte) error {
		req.transaction += 0x100
		return l.send(req, pdu)
	},
	WrongUnit: func(l *link, _ Fault, req frame, pdu []byte) error {
		req.unit++
		return l.send(req, pdu)
	},
	WrongFunction: func(l *link, _ Fault, req frame, pdu []byte) error {
		return l.send(req, append([]byte{twin(pdu[0])}, pdu[1:]...))
	},
	ExceptionReply: sendException,
	Close:          func(*link, Fault, frame, []byte) error { return errHangUp },
	HalfFrame: func(l *link, _ Fault, req frame, pdu []byte) error {
		raw := req.answer(pdu)
		return l.write(raw[:(len(raw)+1)/2])
	},
	Silent:     func(*link, Fault, frame, []byte) error { return nil },
	Trickle:    sendTrickle,
	BadLength:  func(l *link, _ Fault, req frame, pdu []byte) error { return l.sendLength(req, pdu, 60000) },
	ZeroLength: func(l *link, _ Fault, req frame, pdu []byte) error { return l.sendLength(req, pdu, 0) },
	Freeze:     sendAfterThaw,
}

// twin returns the function that reads the other area of the same width.
func twin(function byte) byte {
	return map[byte]byte{1: 2, 2: 1, 3: 4, 4: 3}[function&0x7f] | function&0x80
}

func sendLate(l *link, f Fault, req frame, pdu []byte) error {
	if err := l.wait(f.Delay); err != nil {
		return err
	}
	return l.send(req, pdu)
}

func sendException(l *link, f Fault, req frame, _ []byte) error {
	code := f.Code
	if code == 0 {
		code = exceptionFailure
	}
	return l.send(req, exception(req.pdu[0], code))
}

func sendTrickle(l *link, f Fault, req frame, pdu []byte) error {
	step := f.Delay
	if step == 0 {
		step = 50 * time.Millisecond
	}
	for _, b := range req.answer(pdu) {
		if err := l.wait(step); err != nil {
			return err
		}
		if err := l.write([]byte{b}); err != nil {
			return err
		}
	}
	return nil
}

func sendAfterThaw(l *link, _ Fault, req frame, pdu []byte) error {
	l.server.Freeze()
	if err := l.server.waitThaw(); err != nil {
		return err
	}
	return l.send(req, pdu)
}

// resize adds or removes one register, or one byte of bits, and keeps the byte
// count true to what is sent: only the request says that it is wrong.
func resize(pdu []byte, by int) []byte {
	if pdu[0]&0x80 != 0 {
		return pdu
	}
	size := 2
	if pdu[0] <= 2 {
		size = 1
	}
	out := append([]byte(nil), pdu...)
	if by < 0 {
		out = out[:max(len(out)-size, 2)]
	} else {
		out = append(out, make([]byte, size)...)
	}
	out[1] = byte(len(out) - 2)
	return out
}

// sendLength sends the answer under a header that lies about its length.
func (l *link) sendLength(req frame, pdu []byte, length uint16) error {
	raw := req.answer(pdu)
	binary.BigEndian.PutUint16(raw[4:], length)
	return l.write(raw)
}
