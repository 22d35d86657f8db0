package opcua

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent/internal/dial"
	"edgeagent/plc"
)

// What is offered to a server, and the most that is ever taken from one,
// whatever it says (OPC UA Part 6, 7.1.2).
const (
	maxChunk   = 0xffff
	minChunk   = 8192
	maxMessage = 4 << 20
	maxChunks  = 512

	frameHeader  = 8  // type, chunk type, size
	secureHeader = 12 // and channel
	maxErrText   = 256
)

// peer is what the server takes.
type peer struct {
	chunk   int // bytes of a chunk
	message int // bytes of a request; 0: no limit
	chunks  int // of a request; 0: no limit
}

// dialServer opens the TCP connection. Its keep-alives notice a peer that is
// gone; one that hangs is noticed by timeouts.
func dialServer(ctx context.Context, address string) (net.Conn, error) {
	conn, err := dial.Dialer(10*time.Second, 5*time.Second, 10*time.Second).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", plc.ErrUnreachable, err)
	}
	return conn, nil
}

// hello exchanges HEL and ACK and returns what the server takes.
func hello(conn net.Conn, endpoint string) (peer, error) {
	buf := ua.NewBuffer([]byte("HELF\x00\x00\x00\x00"))
	for _, v := range []uint32{0, maxChunk, maxChunk, maxMessage, maxChunks} {
		buf.WriteUint32(v)
	}
	buf.WriteString(endpoint)
	frame := buf.Bytes()
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(frame)))
	if _, err := conn.Write(frame); err != nil {
		return peer{}, fmt.Errorf("hello: %w: %w", plc.ErrSilent, err)
	}
	ack, err := readFrame(conn)
	if err != nil {
		return peer{}, fmt.Errorf("hello: %w", err)
	}
	return parseAck(ack)
}

// parseAck reads the server's buffer sizes and holds them within sane bounds.
func parseAck(frame []byte) (peer, error) {
	if string(frame[:4]) != "ACKF" || len(frame) < frameHeader+20 {
		return peer{}, fmt.Errorf("hello: %w: this is no OPC UA server, it answered %q", plc.ErrSilent, frame[:4])
	}
	field := func(i int) uint32 { return binary.LittleEndian.Uint32(frame[frameHeader+4*i:]) }
	receive := field(1)
	if receive < minChunk {
		return peer{}, fmt.Errorf("hello: %w: the server takes chunks of %d bytes, less than the standard's %d", plc.ErrSilent, receive, minChunk)
	}
	return peer{
		chunk:   int(min(receive, maxChunk)),
		message: int(min(field(3), 1<<30)),
		chunks:  int(min(field(4), 1<<20)),
	}, nil
}

// readFrame reads one chunk, at most maxChunk bytes. An ERR chunk is returned
// as a [*wireError].
func readFrame(r io.Reader) ([]byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, lost(err)
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if size < frameHeader || size > maxChunk {
		return nil, fmt.Errorf("%w: a chunk of %d bytes, type %q", plc.ErrSilent, size, head[:3])
	}
	frame := make([]byte, size)
	copy(frame, head[:])
	if _, err := io.ReadFull(r, frame[frameHeader:]); err != nil {
		return nil, lost(err)
	}
	if string(frame[:3]) == "ERR" {
		return nil, parseErr(frame)
	}
	return frame, nil
}

// lost names the end of a connection.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the server closed the connection", plc.ErrSilent)
	}
	return fmt.Errorf("%w: %w", plc.ErrSilent, err)
}

// wireError is the server's last word on a connection.
type wireError struct {
	status ua.StatusCode
	reason string // untrusted, cut
}

func (e *wireError) Error() string {
	if e.reason == "" {
		return "the server ended the connection: " + statusName(e.status)
	}
	return fmt.Sprintf("the server ended the connection: %s: %q", statusName(e.status), e.reason)
}

// Unwrap makes the status findable, and the error one of a silent server.
func (e *wireError) Unwrap() []error { return []error{e.status, plc.ErrSilent} }

func parseErr(frame []byte) error {
	buf := ua.NewBuffer(frame[frameHeader:])
	e := &wireError{status: ua.StatusCode(buf.ReadUint32())}
	if n := buf.ReadUint32(); buf.Error() == nil && n != null {
		e.reason = string(buf.ReadN(int(min(n, maxErrText, uint32(buf.Len())))))
	} else if e.status == 0 {
		e.status = ua.StatusBadTCPInternalError
	}
	return e
}

// null is the length of what is not there.
const null = 0xffffffff
