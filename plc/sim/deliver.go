package sim

import (
	"encoding/binary"
	"slices"
	"time"
)

// deliveries says how each fault sends (or does not send) the answer pdu to
// the request req. Without a fault it is sent as it is.
var deliveries = map[FaultKind]func(l *link, f Fault, req frame, pdu []byte) error{
	passing:       func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, pdu) },
	Late:          sendLate,
	LateOnNewConn: sendByGateway,
	LateDuplicate: sendAgainLater,
	LateException: func(l *link, f Fault, req frame, _ []byte) error {
		return sendLate(l, f, req, exception(req.pdu[0], f.code()))
	},
	Duplicate: func(l *link, _ Fault, req frame, pdu []byte) error {
		raw := l.server.framing.answer(req, pdu)
		return l.write(append(raw, raw...))
	},
	StaleThenFresh: func(l *link, _ Fault, req frame, pdu []byte) error {
		return l.write(append(slices.Clip(l.last), l.server.framing.answer(req, pdu)...))
	},
	AlwaysPrevious: sendPrevious,
	Short:          func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, resize(pdu, -1)) },
	Long:           func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, resize(pdu, +1)) },
	ZeroCount:      func(l *link, _ Fault, req frame, pdu []byte) error { return l.send(req, []byte{pdu[0], 0}) },
	WrongByteCount: func(l *link, _ Fault, req frame, pdu []byte) error {
		return l.send(req, append([]byte{pdu[0], pdu[1] + 2}, pdu[2:]...))
	},
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
	WrongCRC: func(l *link, _ Fault, req frame, pdu []byte) error {
		raw := l.server.framing.answer(req, pdu)
		raw[len(raw)-3] ^= 0x10 // the last byte of the data: length and count stay right
		return l.write(raw)
	},
	TruncatedCRC: func(l *link, _ Fault, req frame, pdu []byte) error {
		raw := l.server.framing.answer(req, pdu)
		return l.write(raw[:len(raw)-1])
	},
	ExceptionReply: func(l *link, f Fault, req frame, _ []byte) error {
		return l.send(req, exception(req.pdu[0], f.code()))
	},
	SplitException: sendExceptionInTwo,
	Close:          func(*link, Fault, frame, []byte) error { return errHangUp },
	Flap:           sendOrHangUp,
	HalfFrame: func(l *link, _ Fault, req frame, pdu []byte) error {
		raw := l.server.framing.answer(req, pdu)
		return l.write(raw[:(len(raw)+1)/2])
	},
	CutAndAgain: func(l *link, _ Fault, req frame, pdu []byte) error {
		raw := l.server.framing.answer(req, pdu)
		return l.write(append(raw[:(len(raw)+1)/2:(len(raw)+1)/2], raw...))
	},
	HalfOpen:         func(l *link, _ Fault, _ frame, _ []byte) error { return l.waitEnd() },
	Silent:           func(*link, Fault, frame, []byte) error { return nil },
	Freeze:           sendAfterThaw,
	Trickle:          sendTrickle,
	BadLength:        func(l *link, _ Fault, req frame, pdu []byte) error { return l.sendLength(req, pdu, 60000) },
	ZeroLength:       func(l *link, _ Fault, req frame, pdu []byte) error { return l.sendLength(req, pdu, 0) },
	Noise:            sendInNoise,
	OtherUnitTraffic: sendAfterOthers,
	Echo: func(l *link, _ Fault, req frame, pdu []byte) error {
		return l.write(append(l.server.framing.answer(req, req.pdu), l.server.framing.answer(req, pdu)...))
	},
}

// code is the exception that is answered.
func (f Fault) code() byte {
	if f.Code == 0 {
		return exceptionFailure
	}
	return f.Code
}

// delay is the fault's, or what it is without one.
func (f Fault) delay(otherwise time.Duration) time.Duration {
	if f.Delay == 0 {
		return otherwise
	}
	return f.Delay
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

// sendByGateway leaves the answer to whichever connection comes next.
func sendByGateway(l *link, f Fault, req frame, pdu []byte) error {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.server.late = &parcel{from: l, raw: l.server.framing.answer(req, pdu), due: time.Now().Add(f.Delay)}
	return nil
}

// sendAgainLater repeats the answer whatever goes on then. On a line, which does
// one thing at a time, a repetition that meets a request goes out with its
// answer: alone it would be, for any master, the answer that it waits for.
func sendAgainLater(l *link, f Fault, req frame, pdu []byte) error {
	raw := l.server.framing.answer(req, pdu)
	if err := l.write(raw); err != nil {
		return err
	}
	repeat := func() { _ = l.write(raw) } // the client may be gone
	if l.server.transport.Serial() {
		l.mu.Lock()
		l.again = raw
		l.mu.Unlock()
		repeat = l.repeat
	}
	l.server.wg.Go(func() {
		if l.wait(f.Delay) == nil {
			repeat()
		}
	})
	return nil
}

// sendPrevious is a device whose answers have slipped by one and stay so.
func sendPrevious(l *link, f Fault, req frame, pdu []byte) error {
	l.server.mu.Lock()
	before := l.server.held
	l.server.held = l.server.framing.answer(req, pdu)
	l.server.mu.Unlock()
	if f.used == 0 { // what is held is of an earlier fault
		return nil
	}
	return l.write(before)
}

func sendExceptionInTwo(l *link, f Fault, req frame, _ []byte) error {
	raw := l.server.framing.answer(req, exception(req.pdu[0], f.code()))
	if err := l.write(raw[:len(raw)-1]); err != nil {
		return err
	}
	if err := l.wait(f.delay(30 * time.Millisecond)); err != nil {
		return err
	}
	return l.write(raw[len(raw)-1:])
}

func sendOrHangUp(l *link, f Fault, req frame, pdu []byte) error {
	if f.used/max(f.Run, 1)%2 == 1 {
		return errHangUp
	}
	return l.send(req, pdu)
}

func sendAfterThaw(l *link, _ Fault, req frame, pdu []byte) error {
	l.server.Freeze()
	if err := l.waitThaw(); err != nil {
		return err
	}
	return l.send(req, pdu)
}

func sendTrickle(l *link, f Fault, req frame, pdu []byte) error {
	began, raw := time.Now(), l.server.framing.answer(req, pdu)
	for i, b := range raw {
		if f.Most > 0 && time.Since(began) > f.Most {
			return l.write(raw[i:])
		}
		if err := l.wait(f.delay(50 * time.Millisecond)); err != nil {
			return err
		}
		if err := l.write([]byte{b}); err != nil {
			return err
		}
	}
	return nil
}

// sendInNoise puts garbage around the answer that begins like one.
func sendInNoise(l *link, _ Fault, req frame, pdu []byte) error {
	garbage := []byte{req.unit, pdu[0], 0x00, 0xff, 0x55}
	raw := append(garbage[:4:4], l.server.framing.answer(req, pdu)...)
	return l.write(append(raw, garbage[2:]...))
}

// sendAfterOthers shows the client a talk between another master and the next
// unit: a request and an answer that are right in themselves.
func sendAfterOthers(l *link, _ Fault, req frame, pdu []byte) error {
	other := frame{unit: req.unit + 1, pdu: req.pdu}
	talk := l.server.framing.answer(other, req.pdu)
	if answer := l.server.reply(other); answer != nil {
		talk = append(talk, l.server.framing.answer(other, answer)...)
	}
	return l.write(append(talk, l.server.framing.answer(req, pdu)...))
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
	raw := l.server.framing.answer(req, pdu)
	binary.BigEndian.PutUint16(raw[4:], length)
	return l.write(raw)
}
