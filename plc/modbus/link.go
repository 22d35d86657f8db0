// Package modbus is the link to PLCs that speak Modbus: TCP, TLS, RTU over TCP
// and RTU on a serial line.
//
// It uses goburrow's PDU layer and none of its transports, which hand out
// answers of an earlier request after one late reply and never reconnect. The
// rules of this one: any error but an exception ends the connection (a serial
// port stays open: closing it would lose what is still to come), an answer is
// held against every field of its request, and a whole request has one
// deadline. Where frames have no number, what keeps an old answer from being
// taken for a new one stands in quarantine.go.
package modbus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	pdu "github.com/goburrow/modbus"

	"edgeagent"
	"edgeagent/internal/dial"
	"edgeagent/internal/retry"
	"edgeagent/plc"
)

const defaultTimeout = time.Second

// longAgo is the deadline that ends a read in progress.
var longAgo = time.Unix(1, 0)

// Options describe an endpoint.
type Options struct {
	Addr         string        // HOST:PORT, or the path of a serial port
	Framing      Framing       // of a network connection; a serial line is always RTU
	TLS          *tls.Config   // nil: plain, unless there are TLSFiles
	TLSFiles     *TLSFiles     // instead of TLS; read at every connect: a renewed certificate needs no restart
	Serial       *Serial       // nil: a network connection
	Timeout      time.Duration // of one request and its answer, dialling included; 0: one second
	Pause        time.Duration // between requests, for slow gateways
	ConnectDelay time.Duration // between connecting and the first request
	Log          *slog.Logger  // nil: silent

	// NeverRead reports whether a range, both ends included, holds an address
	// that must not be read. It is asked before the link reads what nobody has
	// asked for, to confirm a line after a timeout. nil: nothing is forbidden.
	NeverRead func(unit uint8, area edgeagent.Area, from, to uint16) bool

	// Dial replaces the dialler; nil: TCP with keep-alives.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Link is one connection or serial line, a plc.Driver. It is used by one
// goroutine at a time; StaleFrames alone may be called from any.
type Link struct {
	o        Options
	packager packager
	client   reader
	cut      func() // ends a read in progress, then tells cutDone
	cutDone  chan struct{}

	conn   stream
	usable time.Time // when ConnectDelay is over
	last   time.Time // end of the last request
	by     time.Time // deadline of the request in progress
	heard  bool      // something came for the request in progress
	issued int       // requests with a number so far, as far as that matters
	stale  atomic.Uint64
	buf    [bufferSize]byte // what came; buf[:filled] is not used up
	filled int
	line   line
}

// bufferSize holds the longest frame and a few others before it.
const bufferSize = 1024

// stream is a connection or a serial port.
type stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
}

// reader is the half of a Modbus client that the agent has a use for.
type reader interface {
	ReadCoils(address, quantity uint16) ([]byte, error)
	ReadDiscreteInputs(address, quantity uint16) ([]byte, error)
	ReadHoldingRegisters(address, quantity uint16) ([]byte, error)
	ReadInputRegisters(address, quantity uint16) ([]byte, error)
}

var _ plc.Driver = (*Link)(nil)

// New returns a link that dials with its first Read.
func New(o Options) *Link {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = dial.Dialer(10*time.Second, 5*time.Second, max(o.Timeout, 10*time.Second)).DialContext
	}
	if o.Serial != nil {
		s := o.Serial.standard()
		o.Serial, o.Framing = &s, FramingRTU
	}
	l := &Link{o: o, cutDone: make(chan struct{}, 1), line: newLine(o.Serial)}
	l.cut = func() {
		_ = l.conn.SetDeadline(longAgo)
		l.cutDone <- struct{}{}
	}
	l.packager.framing = o.Framing
	// A peer that kept answers of another life must not find their numbers again.
	l.packager.transaction = uint16(rand.Uint32())
	l.client = pdu.NewClient2(&l.packager, transporter{l})
	return l
}

// StaleFrames returns how many late answers, and pieces of other traffic, were
// dropped.
func (l *Link) StaleFrames() uint64 { return l.stale.Load() }

// Close ends the connection in an orderly way; it may be called at any state.
func (l *Link) Close() error {
	if l.conn == nil {
		return nil
	}
	err := l.conn.Close()
	l.conn = nil
	if err != nil {
		return fmt.Errorf("close %s: %w", l.o.Addr, err)
	}
	return nil
}

// Read implements plc.Driver. On a line without transaction numbers it asks a
// unit that is in doubt for something else first; while that is not answered
// the error wraps plc.ErrQuarantined.
func (l *Link) Read(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
	if l.o.Framing == FramingRTU {
		return l.readLine(ctx, unit, r)
	}
	return l.readNumbered(ctx, unit, r)
}

// readNumbered reads over a connection whose frames have numbers. A kept
// connection that turns out to have been closed by the PLC meanwhile costs
// nothing: the request, a read, is sent once more over a fresh one.
func (l *Link) readNumbered(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
	if err := l.pause(ctx); err != nil {
		return nil, err
	}
	l.begin(ctx)
	for {
		reused, err := l.connect(ctx)
		if err != nil {
			return nil, err
		}
		payload, err := l.request(ctx, unit, r)
		if reused && !l.heard && hungUp(err) {
			continue
		}
		return payload, err
	}
}

// begin sets the deadline of a request.
func (l *Link) begin(ctx context.Context) {
	l.by = time.Now().Add(l.o.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(l.by) {
		l.by = d
	}
}

// pause leaves the peer alone for as long as it wants after the last request.
func (l *Link) pause(ctx context.Context) error {
	wait := l.o.Pause - time.Since(l.last)
	if l.o.Pause <= 0 || l.last.IsZero() || wait <= 0 {
		return nil
	}
	if err := retry.Sleep(ctx, wait); err != nil {
		return fmt.Errorf("pause between requests to %s: %w", l.o.Addr, err)
	}
	return nil
}

// request sends r and takes its answer. ctx's end cuts a read in progress.
func (l *Link) request(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
	l.packager.unit, l.heard = unit, false
	if err := l.conn.SetDeadline(l.by); err != nil {
		l.drop()
		return nil, fmt.Errorf("set the deadline of a request to %s: %w", l.o.Addr, err)
	}
	stop := context.AfterFunc(ctx, l.cut)
	payload, err := l.call(r)
	if !stop() {
		<-l.cutDone // or it would cut the next request, which set its deadline before
	}
	l.last = time.Now()
	if err == nil {
		return payload, nil
	}
	return nil, l.explain(ctx, err)
}

func (l *Link) call(r plc.Request) ([]byte, error) {
	switch r.Area {
	case edgeagent.AreaCoil:
		return l.client.ReadCoils(r.Offset, r.Quantity)
	case edgeagent.AreaDiscrete:
		return l.client.ReadDiscreteInputs(r.Offset, r.Quantity)
	case edgeagent.AreaHolding:
		return l.client.ReadHoldingRegisters(r.Offset, r.Quantity)
	case edgeagent.AreaInput:
		return l.client.ReadInputRegisters(r.Offset, r.Quantity)
	default:
		return nil, fmt.Errorf("area %d: %w", r.Area, ErrReadOnly)
	}
}

// explain types an error and, unless the device has answered with it, ends the
// connection: a late answer must find nobody.
func (l *Link) explain(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*pdu.ModbusError](err); ok {
		return &plc.Exception{Function: e.FunctionCode &^ exception, Code: e.ExceptionCode}
	}
	frame, isFrame := errors.AsType[frameError](err)
	late := errors.Is(err, os.ErrDeadlineExceeded)
	if kept := l.o.Serial != nil && (late || isFrame); !kept && !errors.Is(err, errAmbiguous) {
		l.drop()
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("read from %s: %w", l.o.Addr, ctx.Err())
	case isFrame:
		return fmt.Errorf("%w from %s: %w", plc.ErrSilent, l.o.Addr, frame)
	case late:
		return fmt.Errorf("%w from %s within %v: %w", plc.ErrSilent, l.o.Addr, l.o.Timeout, err)
	case l.conn == nil && l.o.Serial != nil:
		return fmt.Errorf("serial port %s is gone: %w: %w", l.o.Addr, plc.ErrUnreachable, err)
	default:
		return fmt.Errorf("read from %s: %w", l.o.Addr, explainTLS(err))
	}
}

// hungUp reports whether the peer had ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// transporter lets goburrow's client send over the link.
type transporter struct{ l *Link }

// Send writes a request and returns its answer, a frame of its own.
func (t transporter) Send(request []byte) ([]byte, error) {
	if _, err := t.l.conn.Write(request); err != nil {
		return nil, err
	}
	if t.l.o.Framing == FramingRTU {
		return t.l.receiveSummed(request)
	}
	return t.l.receiveNumbered()
}

// fill reads once, what there is. No bytes without an error are the end: so
// says a port that was unplugged, for ever.
func (l *Link) fill() error {
	if l.filled == len(l.buf) {
		return frameErrorf("%d bytes without sense", l.filled)
	}
	n, err := l.conn.Read(l.buf[l.filled:])
	l.filled += max(n, 0)
	l.heard = l.heard || n > 0
	if n <= 0 && err == nil {
		return io.ErrUnexpectedEOF
	}
	if n > 0 {
		return nil // an error with it comes again
	}
	return err
}

// use takes n bytes off what came.
func (l *Link) use(n int) { l.filled = copy(l.buf[:], l.buf[n:l.filled]) }

// memory is how many requests back a late answer is known for one: numbers
// come again after 65536.
const memory = 1024

// receiveNumbered returns the answer to the last transaction and drops those to
// the ones before, even of another connection: gateways deliver them there.
func (l *Link) receiveNumbered() ([]byte, error) {
	l.issued = min(l.issued+1, memory)
	for {
		frame, h, err := l.receive()
		if err != nil {
			return nil, err
		}
		age := int(l.packager.transaction - h.transaction)
		if age >= l.issued {
			return nil, frameErrorf("answer to transaction %d, which was never sent", h.transaction)
		}
		if age == 0 {
			return frame, l.framed()
		}
		l.stale.Add(1)
	}
}

// framed reports whether what came with an answer are answers, too. Anything
// else is the rest of one that was cut by another, and so was this one: nothing
// in a frame of TCP tells.
func (l *Link) framed() error {
	for b := l.buf[:l.filled]; len(b) > 0; {
		if len(b) < headerSize {
			return frameErrorf("%d bytes behind the answer", len(b))
		}
		h, err := parseHeader(b)
		size := headerSize - 1 + h.size
		if err != nil || size > len(b) || int(l.packager.transaction-h.transaction) >= l.issued {
			return frameErrorf("%d bytes behind the answer that are none", len(b))
		}
		b = b[size:]
	}
	return nil
}

// receive reads one whole frame with a header, mostly with a single read.
func (l *Link) receive() ([]byte, header, error) {
	for l.filled < headerSize {
		if err := l.fill(); err != nil {
			return nil, header{}, err
		}
	}
	h, err := parseHeader(l.buf[:])
	if err != nil {
		return nil, h, err
	}
	size := headerSize - 1 + h.size
	for l.filled < size {
		if err := l.fill(); err != nil {
			return nil, h, err
		}
	}
	frame := append([]byte(nil), l.buf[:size]...)
	l.use(size)
	return frame, h, nil
}
