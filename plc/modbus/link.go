// Package modbus is the link to PLCs that speak Modbus TCP.
//
// It uses goburrow's PDU layer and none of its transports, which hand out
// answers of an earlier request after one late reply and never reconnect. The
// rules of this one: any error but an exception ends the connection, an answer
// is held against every field of its request, and a whole request has one
// deadline.
package modbus

import (
	"context"
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
	Addr    string        // HOST:PORT
	Timeout time.Duration // of one Read, dialling included; 0: one second
	Pause   time.Duration // between requests, for slow gateways
	Log     *slog.Logger  // nil: silent

	// Dial replaces the dialler; nil: TCP with keep-alives.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Link is one Modbus TCP connection, a plc.Driver. It is used by one goroutine
// at a time; StaleFrames alone may be called from any.
type Link struct {
	o        Options
	packager packager
	client   reader

	conn  net.Conn
	first uint16    // the transaction before the first of this connection
	last  time.Time // end of the last request
	by    time.Time // deadline of the request in progress
	heard bool      // something came for the request in progress
	stale atomic.Uint64
	buf   [headerSize + maxPDU]byte
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
	l := &Link{o: o}
	// A peer that kept answers of another life must not find their numbers again.
	l.packager.transaction = uint16(rand.Uint32())
	l.client = pdu.NewClient2(&l.packager, transporter{l})
	return l
}

// StaleFrames returns how many late answers to earlier requests were dropped.
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

// Read implements plc.Driver. A kept connection that turns out to have been
// closed by the PLC meanwhile costs nothing: the request, a read, is sent once
// more over a fresh one.
func (l *Link) Read(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
	if err := l.pause(ctx); err != nil {
		return nil, err
	}
	defer func() { l.last = time.Now() }()
	l.by = time.Now().Add(l.o.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(l.by) {
		l.by = d
	}
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

func (l *Link) pause(ctx context.Context) error {
	wait := l.o.Pause - time.Since(l.last)
	if l.o.Pause <= 0 || l.last.IsZero() || wait <= 0 {
		return nil
	}
	if err := retry.Sleep(ctx, wait); err != nil {
		l.drop()
		return fmt.Errorf("pause between requests to %s: %w", l.o.Addr, err)
	}
	return nil
}

// connect dials if there is no connection; reused says that there was one.
func (l *Link) connect(ctx context.Context) (reused bool, err error) {
	if l.conn != nil {
		return true, nil
	}
	dialing, cancel := context.WithDeadline(ctx, l.by)
	defer cancel()
	conn, err := l.o.Dial(dialing, "tcp", l.o.Addr)
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w: %w", l.o.Addr, plc.ErrUnreachable, err)
	}
	l.conn, l.first = conn, l.packager.transaction
	l.o.Log.Debug("connected", "addr", l.o.Addr)
	return false, nil
}

// request sends r and takes its answer. ctx's end cuts a read in progress.
func (l *Link) request(ctx context.Context, unit uint8, r plc.Request) ([]byte, error) {
	conn := l.conn
	if err := conn.SetDeadline(l.by); err != nil {
		l.drop()
		return nil, fmt.Errorf("set the deadline of a request to %s: %w", l.o.Addr, err)
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(longAgo)
		close(cut)
	})
	defer func() {
		if !stop() {
			<-cut // or it would cut the next request, which set its deadline before
		}
	}()
	l.packager.unit, l.heard = unit, false
	payload, err := l.call(r)
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
	l.drop()
	frame, isFrame := errors.AsType[frameError](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("read from %s: %w", l.o.Addr, ctx.Err())
	case isFrame:
		return fmt.Errorf("%w from %s: %w", plc.ErrSilent, l.o.Addr, frame)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w from %s within %v: %w", plc.ErrSilent, l.o.Addr, l.o.Timeout, err)
	default:
		return fmt.Errorf("read from %s: %w", l.o.Addr, err)
	}
}

// drop ends a connection that cannot be trusted any more, by a reset: a half
// open one would keep one of the few connections that a PLC allows.
func (l *Link) drop() {
	if l.conn == nil {
		return
	}
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.conn.Close()
	l.conn = nil
}

// hungUp reports whether the peer had ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// transporter lets goburrow's client send over the link.
type transporter struct{ l *Link }

// Send writes a request and returns the answer of the same transaction.
func (t transporter) Send(request []byte) ([]byte, error) {
	l := t.l
	if _, err := l.conn.Write(request); err != nil {
		return nil, err
	}
	for {
		frame, h, err := l.receive()
		if err != nil {
			return nil, err
		}
		age := l.packager.transaction - h.transaction
		if age == 0 {
			return frame, nil
		}
		if sent := l.packager.transaction - l.first; age >= sent {
			return nil, frameErrorf("answer to transaction %d, which was never sent", h.transaction)
		}
		l.stale.Add(1)
	}
}

// receive reads one whole frame.
func (l *Link) receive() ([]byte, header, error) {
	n, err := io.ReadFull(l.conn, l.buf[:headerSize])
	l.heard = l.heard || n > 0
	if err != nil {
		return nil, header{}, err
	}
	h, err := parseHeader(l.buf[:headerSize])
	if err != nil {
		return nil, h, err
	}
	frame := make([]byte, headerSize-1+h.size)
	copy(frame, l.buf[:headerSize])
	_, err = io.ReadFull(l.conn, frame[headerSize:])
	return frame, h, err
}
