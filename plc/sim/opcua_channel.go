package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"
)

const (
	uaHeader     = 8       // kind, chunk, size
	uaMaxMessage = 1 << 20 // of one request, all chunks
	uaChunk      = 8192    // what every client must take
	uaPatience   = 2 * time.Second
)

var errUAProtocol = errors.New("not OPC UA")

// uaChannel is one connection: a secure channel without security, with one
// session at most.
type uaChannel struct {
	server *OPCUAServer
	conn   net.Conn
	id     uint32
	token  uint32 // of the channel; changes with each renewal
	cold   bool   // half-open; guarded by the server

	mu       sync.Mutex // guards all below, and writing
	sequence uint32
	session  *uaSession
}

func newUAChannel(s *OPCUAServer, conn net.Conn) *uaChannel {
	s.next++ // the caller holds the lock
	return &uaChannel{server: s, conn: conn, id: s.next}
}

// serve answers until the connection ends.
func (c *uaChannel) serve() {
	defer c.conn.Close()
	if c.hello() != nil {
		return
	}
	var message []byte
	for {
		kind, body, err := readUAFrame(c.conn)
		if err != nil || kind[:3] == "CLO" || !c.server.hold(c) {
			return
		}
		part, number, err := chunkOf(kind, body)
		if err != nil {
			c.refuse(err)
			return
		}
		if message = append(message, part...); len(message) > uaMaxMessage {
			c.refuse(ua.StatusBadTCPMessageTooLarge)
			return
		}
		switch kind[3] {
		case 'C':
			continue
		case 'A':
			message = nil
			continue
		}
		if err := c.handle(kind[:3], number, message); err != nil {
			c.refuse(err)
			return
		}
		message = nil
	}
}

// readUAFrame reads one frame and returns its kind with the chunk's letter,
// "MSGF", and what follows the header.
func readUAFrame(r io.Reader) (string, []byte, error) {
	var head [uaHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", nil, fmt.Errorf("read header: %w", err)
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if size < uaHeader || size > 1<<16 {
		return "", nil, fmt.Errorf("%w: a frame of %d bytes", errUAProtocol, size)
	}
	body := make([]byte, size-uaHeader)
	if _, err := io.ReadFull(r, body); err != nil {
		return "", nil, fmt.Errorf("read frame: %w", err)
	}
	return string(head[:4]), body, nil
}

// hello agrees on sizes: whatever the client says, it takes chunks of 8 KiB.
func (c *uaChannel) hello() error {
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * uaPatience))
	kind, body, err := readUAFrame(c.conn)
	if err != nil {
		return err
	}
	if kind != "HELF" || len(body) < 20 {
		c.refuse(ua.StatusBadTCPMessageTypeInvalid)
		return errUAProtocol
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	ack := []byte("ACKF\x1c\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []uint32{1 << 16, 1 << 16, uaMaxMessage, 0} {
		ack = binary.LittleEndian.AppendUint32(ack, v)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(ack)
}

// refuse sends the error with which the connection ends.
func (c *uaChannel) refuse(err error) {
	status, known := errors.AsType[ua.StatusCode](err)
	if !known {
		status = ua.StatusBadTCPInternalError
	}
	raw := binary.LittleEndian.AppendUint32([]byte("ERRF\x10\x00\x00\x00"), uint32(status))
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.write(append(raw, 0xff, 0xff, 0xff, 0xff))
}

// chunkOf returns the payload of a chunk and the number of its request.
func chunkOf(kind string, body []byte) ([]byte, uint32, error) {
	at := 4 // the channel
	switch kind[:3] {
	case "OPN":
		policy, n, ok := byteString(body, at)
		if !ok || string(policy) != ua.SecurityPolicyURINone {
			return nil, 0, ua.StatusBadSecurityPolicyRejected
		}
		at = n
		for range 2 { // certificate and thumbprint, which nobody has
			if _, at, ok = byteString(body, at); !ok {
				return nil, 0, ua.StatusBadTCPMessageTypeInvalid
			}
		}
	case "MSG":
		at += 4 // the token
	default:
		return nil, 0, ua.StatusBadTCPMessageTypeInvalid
	}
	if len(body) < at+8 {
		return nil, 0, ua.StatusBadTCPMessageTypeInvalid
	}
	return body[at+8:], binary.LittleEndian.Uint32(body[at+4:]), nil
}

// byteString reads a string with its length at a place and returns where it
// ends.
func byteString(b []byte, at int) (s []byte, end int, ok bool) {
	if len(b) < at+4 {
		return nil, 0, false
	}
	n := int(int32(binary.LittleEndian.Uint32(b[at:])))
	at += 4
	if n < 0 {
		return nil, at, true
	}
	if len(b)-at < n {
		return nil, 0, false
	}
	return b[at : at+n], at + n, true
}

// handle decodes a request and answers it. The codec is not made for hostile
// clients: what it stumbles over ends the connection.
func (c *uaChannel) handle(kind string, number uint32, message []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: request cannot be decoded: %v", ua.StatusBadDecodingError, p)
		}
	}()
	_, v, err := ua.DecodeService(message)
	if err != nil {
		return fmt.Errorf("%w: %w", ua.StatusBadDecodingError, err)
	}
	req, ok := v.(ua.Request)
	if !ok || req.Header() == nil {
		return ua.StatusBadDecodingError
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if open, is := v.(*ua.OpenSecureChannelRequest); is != (kind == "OPN") {
		return ua.StatusBadTCPMessageTypeInvalid
	} else if is {
		return c.open(number, open)
	}
	res := c.answer(number, req)
	if res == nil {
		return nil // a publish request is answered when there is something to tell
	}
	return c.send("MSG", number, req, res)
}

func (c *uaChannel) open(number uint32, req *ua.OpenSecureChannelRequest) error {
	if req.SecurityMode != ua.MessageSecurityModeNone {
		return ua.StatusBadSecurityModeRejected
	}
	c.token++
	return c.send("OPN", number, req, &ua.OpenSecureChannelResponse{SecurityToken: &ua.ChannelSecurityToken{
		ChannelID: c.id, TokenID: c.token, CreatedAt: time.Now(), RevisedLifetime: max(req.RequestedLifetime, 10_000),
	}})
}

// send writes an answer in chunks. The caller holds the lock.
func (c *uaChannel) send(kind string, number uint32, req ua.Request, res ua.Response) error {
	head := res.Header()
	if head == nil {
		head = &ua.ResponseHeader{}
		res.SetHeader(head)
	}
	head.Timestamp, head.RequestHandle = time.Now(), req.Header().RequestHandle
	head.ServiceDiagnostics, head.AdditionalHeader = &ua.DiagnosticInfo{}, ua.NewExtensionObject(nil)
	buf := ua.NewBuffer(nil)
	buf.WriteStruct(ua.NewFourByteExpandedNodeID(0, ua.ServiceTypeID(res)))
	buf.WriteStruct(res)
	if err := buf.Error(); err != nil {
		return fmt.Errorf("encode %T: %w", res, err)
	}
	for body := buf.Bytes(); ; {
		part := body[:min(len(body), uaChunk-64)]
		body = body[len(part):]
		letter := byte('F')
		if len(body) > 0 {
			letter = 'C'
		}
		if err := c.write(c.chunk(kind, letter, number, part)); err != nil || len(body) == 0 {
			return err
		}
	}
}

func (c *uaChannel) chunk(kind string, letter byte, number uint32, part []byte) []byte {
	raw := append([]byte(kind), letter, 0, 0, 0, 0)
	raw = binary.LittleEndian.AppendUint32(raw, c.id)
	if kind == "OPN" {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(ua.SecurityPolicyURINone)))
		raw = append(raw, ua.SecurityPolicyURINone...)
		raw = append(raw, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	} else {
		raw = binary.LittleEndian.AppendUint32(raw, c.token)
	}
	c.sequence++
	raw = binary.LittleEndian.AppendUint32(raw, c.sequence)
	raw = binary.LittleEndian.AppendUint32(raw, number)
	raw = append(raw, part...)
	binary.LittleEndian.PutUint32(raw[4:], uint32(len(raw)))
	return raw
}

// write gives a client that does not read two seconds, then hangs up: the
// others wait for it as long.
func (c *uaChannel) write(raw []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(uaPatience))
	if _, err := c.conn.Write(raw); err != nil {
		_ = c.conn.Close()
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
