package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"edgeagent/internal/retry"
	"edgeagent/plc"
)

// reopenAfter is how many requests in a row nothing at all may be heard for
// before a serial port is opened anew: some adapters hang after a disturbance.
const reopenAfter = 3

// line is what a link knows of the line behind it, where frames are RTU.
type line struct {
	silence time.Duration // that parts two frames
	baud    int           // 0: not known
	last    time.Time     // the last byte heard or sent
	mute    int           // requests for which nothing came, in a row
	units   map[uint8]*unit
}

func newLine(s *Serial) line {
	l := line{silence: fastSilence, units: map[uint8]*unit{}}
	if s != nil {
		l.baud = s.Baud
		l.silence = silence(s.Baud)
	}
	return l
}

// readLine reads over a line without transaction numbers.
func (l *Link) readLine(ctx context.Context, id uint8, r plc.Request) ([]byte, error) {
	u := l.unit(id)
	u.follow(r, l.forbidding(id))
	if err := l.clear(ctx); err != nil {
		return nil, err
	}
	if !u.trusted {
		if err := l.confirm(ctx, id, u, r); err != nil {
			return nil, err
		}
		if err := l.clear(ctx); err != nil {
			return nil, err
		}
	}
	if !u.trusted { // what was drained just now was nobody's
		return nil, fmt.Errorf("%w: unit %d of %s answers what nobody asked", plc.ErrQuarantined, id, l.o.Addr)
	}
	fresh := u.fresh
	payload, err := l.exchange(ctx, id, u, r)
	if err == nil && !fresh && u.seen.elsewhere(r, payload) {
		payload, err = l.again(ctx, id, u, r)
	}
	if u.fresh = false; err == nil {
		u.seen.note(r, payload)
		u.habits.know(r)
	}
	return payload, err
}

// again asks once more for what came with the bytes of another answer. Where
// the unit cannot be confirmed by what is read anyway, the second answer may
// still be that to the first request: of the same addresses.
func (l *Link) again(ctx context.Context, id uint8, u *unit, r plc.Request) ([]byte, error) {
	l.stale.Add(1)
	if len(smaller(r)) > 0 {
		u.doubt(expected(r), time.Now(), 0)
		if err := l.confirm(ctx, id, u, r); err != nil {
			return nil, err
		}
	}
	if err := l.clear(ctx); err != nil {
		return nil, err
	}
	return l.exchange(ctx, id, u, r)
}

// exchange asks on a line that was cleared, and books what it leaves behind.
func (l *Link) exchange(ctx context.Context, id uint8, u *unit, r plc.Request) ([]byte, error) {
	payload, err := l.request(ctx, id, r)
	l.line.last = time.Now()
	switch {
	case err == nil, answeredBy(err):
		l.line.mute = 0
		return payload, err
	case errors.Is(err, ErrReadOnly):
		return nil, err // nothing was sent
	}
	u.doubt(expected(r), l.line.last, l.o.Timeout)
	if l.heard {
		l.line.mute = 0
	} else if l.line.mute++; l.line.mute >= reopenAfter {
		l.line.mute = 0
		l.drop()
	}
	return nil, err
}

// clear waits for the pause between requests, of which a confirmation is one,
// connects if need be, waits for the silence that parts frames and takes in
// what has come unasked. A gateway that has hung up meanwhile is found here,
// before anything is sent: sending twice would leave an answer too many.
func (l *Link) clear(ctx context.Context) error {
	if err := l.pause(ctx); err != nil {
		return fmt.Errorf("%w: %w", plc.ErrQuarantined, err) // nothing was asked
	}
	l.begin(ctx)
	for {
		reused, err := l.connect(ctx)
		if err != nil {
			return err
		}
		switch err := l.drain(ctx); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("read from %s: %w", l.o.Addr, ctx.Err())
		case errors.Is(err, errBabble):
			return fmt.Errorf("%w from %s: %w", plc.ErrSilent, l.o.Addr, err)
		case !reused:
			l.drop()
			return fmt.Errorf("connect to %s: %w: %w", l.o.Addr, plc.ErrUnreachable, err)
		}
		l.drop()
	}
}

// errBabble: a stuck adapter, a wrong baud rate or another master's traffic.
var errBabble = frameError("the line is never silent: is another master on it, or is the baud rate wrong?")

// drain takes in what came unasked until the line was silent for long enough.
func (l *Link) drain(ctx context.Context) error {
	for {
		if wait := l.line.silence - time.Since(l.line.last); wait > 0 {
			if err := retry.Sleep(ctx, wait); err != nil {
				return fmt.Errorf("wait for silence: %w", err)
			}
		}
		n, err := readNow(l.conn, l.buf[l.filled:])
		if err != nil {
			return fmt.Errorf("look for what came unasked: %w", err)
		}
		if n == 0 {
			break
		}
		l.filled += n
		l.line.last = time.Now()
		if l.filled == len(l.buf) {
			l.overheard()
		}
		if l.line.last.After(l.by) {
			l.overheard()
			return errBabble
		}
	}
	l.overheard()
	return nil
}

// overheard books what came unasked: an answer that is owed is owed no more;
// any other puts its unit in doubt, for there may be one more.
func (l *Link) overheard() {
	b := l.buf[:l.filled]
	l.filled = 0
	if len(b) > 0 {
		l.stale.Add(1)
	}
	for len(b) >= smallestRTU {
		frame := answerAt(b)
		if frame == nil {
			frame = requestAt(b)
		}
		l.line.unasked(frame)
		b = b[max(len(frame), 1):]
	}
}

// unasked books a frame that nobody waits for: an answer that is owed is owed
// no more, any other was not the last. Another master's request will be
// answered. One that asks for coils may have the very shape of an answer, so
// nothing is taken off for that.
func (l *line) unasked(frame []byte) {
	if frame == nil {
		return
	}
	u, known := l.units[frame[0]]
	if !known {
		return
	}
	answer, request := answerAt(frame), requestAt(frame)
	if answer != nil && request == nil && u.late(answer) {
		return
	}
	if request != nil {
		u.doubt(wanted(request), time.Now(), 0)
	}
	if answer != nil {
		u.doubt(signed(answer), time.Now(), 0)
	}
}

// receiveSummed waits for the answer to request, a whole frame, until the
// deadline. Noise, echoes and other units' frames are passed over.
func (l *Link) receiveSummed(request []byte) ([]byte, error) {
	u, want := l.line.units[request[0]], wanted(request)
	for {
		kind, frame, rest := next(l.buf[:l.filled], request)
		switch kind {
		case pieceNone:
			if err := l.fill(); err != nil {
				return nil, err
			}
			l.line.last = time.Now()
			continue
		case pieceRequest:
			l.line.unasked(frame)
			return nil, frameErrorf("another master asks unit %d", request[0])
		case pieceAnswer:
			mine, err := u.judge(frame, want)
			if mine {
				answer := bytes.Clone(frame)
				l.use(l.filled - len(rest))
				return answer, l.lastWord(u, request, answer)
			}
			if l.stale.Add(1); err != nil {
				return nil, err
			}
		case pieceForeign:
			l.line.unasked(frame)
			l.stale.Add(1)
		case pieceEcho:
			l.stale.Add(1)
		}
		l.use(l.filled - len(rest))
	}
}

// lastWord listens for the silence that the line needs anyway before the next
// request. A second answer means that one of the two is an old one, and nobody
// can say which.
func (l *Link) lastWord(u *unit, request, answer []byte) error {
	l.hush()
	for b := l.buf[:l.filled]; ; {
		kind, frame, rest := next(b, request)
		switch b = rest; kind {
		case pieceNone:
			if l.filled > 0 {
				l.stale.Add(1)
			}
			l.filled = 0
			return nil
		case pieceRequest:
			l.line.unasked(frame)
			return frameErrorf("another master asks unit %d", request[0])
		case pieceAnswer:
			if u.doubt(signed(answer), time.Now(), 0); !bytes.Equal(frame, answer) {
				return frameErrorf("two answers of unit %d", request[0])
			}
		case pieceForeign:
			l.line.unasked(frame)
		case pieceEcho:
		}
	}
}

// hush reads on until nothing has come for the silence between frames. That the
// line breaks meanwhile is found by the next request: the answer is whole.
func (l *Link) hush() {
	for l.filled < len(l.buf) {
		if l.conn.SetReadDeadline(time.Now().Add(l.line.silence)) != nil || l.fill() != nil {
			return
		}
		l.line.last = time.Now()
	}
}

// readSoon reads what has come, waiting as shortly as can be: for connections
// that cannot be looked into.
func readSoon(s stream, b []byte) (int, error) {
	if err := s.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return 0, err
	}
	n, err := s.Read(b)
	switch {
	case n > 0, errors.Is(err, os.ErrDeadlineExceeded):
		return n, nil
	case err == nil:
		return 0, io.ErrUnexpectedEOF
	default:
		return 0, err
	}
}
