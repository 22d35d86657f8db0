package opcua

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"

	"edgeagent/plc"
)

const (
	sequenceHeader  = 8
	symmetricHeader = secureHeader + 4 // and token
	channelLifetime = time.Hour
	minLifetime     = 2 * time.Second // or a server could have a new token asked for with every request
	renewAfter      = 0.75            // of the lifetime, as Part 4 asks for
	keepFor         = 1.25            // of the lifetime: so long an answer may come under an old token
)

var (
	errNotAllowed = errors.New("not one of the requests that only read: not sent")
	errClosed     = errors.New("the connection is closed")
)

// channel is a secure channel over one TCP connection (OPC UA Part 6, 6.7). Its
// reader is the one goroutine it has; it ends with the connection.
type channel struct {
	conn    net.Conn
	peer    peer
	timeout time.Duration // of a write, and of a renewal

	policy string
	mode   ua.MessageSecurityMode
	own    *identity    // nil for None
	server *certificate // the pinned one, nil for None
	asym   *uapolicy.EncryptionAlgorithm

	// sending holds one element while a message is written, and while a token is
	// renewed: servers differ in whether they take the old one meanwhile. It
	// guards sequence.
	sending  chan struct{}
	sequence uint32

	mu       sync.Mutex
	id       uint32
	tokens   [2]*token // the present and the one before
	opening  *opening
	requests uint32
	waiting  map[uint32]*exchange
	renewal  *time.Timer // runs renew when the token is due
	failed   error
	dead     chan struct{}
}

// token is one pair of symmetric keys.
type token struct {
	id    uint32
	alg   *uapolicy.EncryptionAlgorithm
	until time.Time // what comes under it later is not believed
}

// opening is the request for a token that is under way.
type opening struct {
	request uint32
	nonce   []byte
}

// exchange is one request that waits for its answer.
type exchange struct {
	parts  []byte
	chunks int
	done   chan reply // of one
}

type reply struct {
	body []byte
	err  error
}

// openChannel dials and opens a channel; server and own are nil for None. The
// connection is closed when it fails.
func openChannel(ctx context.Context, o *Options, policy string, mode ua.MessageSecurityMode, own *identity, server *certificate) (*channel, error) {
	address, err := o.address()
	if err != nil {
		return nil, err
	}
	asym, err := asymmetric(policy, own, server)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", plc.ErrRefused, err)
	}
	conn, err := dialServer(ctx, address)
	if err != nil {
		return nil, err
	}
	ch := &channel{
		conn: conn, timeout: o.timeout(), policy: policy, mode: mode, own: own, server: server, asym: asym,
		sending: make(chan struct{}, 1), waiting: make(map[uint32]*exchange), dead: make(chan struct{}),
	}
	if err := ch.start(ctx, o.Endpoint); err != nil {
		ch.fail(err)
		return nil, err
	}
	return ch, nil
}

func (ch *channel) start(ctx context.Context, endpoint string) (err error) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = ch.conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = ch.conn.SetDeadline(time.Unix(1, 0)) })
	ch.peer, err = hello(ch.conn, endpoint)
	if !stop() {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	_ = ch.conn.SetDeadline(time.Time{})
	go ch.read()
	return ch.open(ctx, ua.SecurityTokenRequestTypeIssue)
}

// turn waits until this caller may write.
func (ch *channel) turn(ctx context.Context) error {
	select {
	case ch.sending <- struct{}{}:
		return nil
	case <-ch.dead:
		return ch.err()
	case <-ctx.Done():
		return late(ctx)
	}
}

func (ch *channel) next() { <-ch.sending }

// open asks for a token and waits until it is there.
func (ch *channel) open(ctx context.Context, kind ua.SecurityTokenRequestType) error {
	if err := ch.turn(ctx); err != nil {
		return err
	}
	defer ch.next()
	var nonce []byte
	if ch.asym != nil {
		nonce = make([]byte, ch.asym.NonceLength())
		_, _ = rand.Read(nonce) // never fails
	}
	number, ex := ch.register(&opening{nonce: nonce})
	defer ch.forget(number)
	req := &ua.OpenSecureChannelRequest{
		RequestType: kind, SecurityMode: ch.mode, ClientNonce: nonce,
		RequestedLifetime: uint32(channelLifetime / time.Millisecond),
	}
	body, err := encode(req, number, nil, ch.timeout)
	if err != nil {
		return err
	}
	if err := ch.sendOpen(number, body); err != nil {
		return err
	}
	_, err = ch.await(ctx, ex)
	if err != nil {
		return fmt.Errorf("open secure channel: %w", err)
	}
	return nil
}

func (ch *channel) sendOpen(number uint32, body []byte) error {
	buf := ua.NewBuffer([]byte("OPNF\x00\x00\x00\x00"))
	ch.mu.Lock()
	buf.WriteUint32(ch.id)
	ch.mu.Unlock()
	buf.WriteString(ch.policy)
	if ch.asym == nil {
		buf.WriteUint32(null)
		buf.WriteUint32(null)
	} else {
		thumb := sha1.Sum(ch.server.leaf.Raw) // the standard's name of a certificate; nothing rests on it
		buf.WriteByteString(ch.own.chain)
		buf.WriteByteString(thumb[:])
	}
	head := buf.Len()
	ch.sequence++
	buf.WriteUint32(ch.sequence)
	buf.WriteUint32(number)
	buf.Write(body)
	chunk, err := seal(buf.Bytes(), head, ch.asym, true)
	if err != nil {
		return fmt.Errorf("open secure channel: %w", err)
	}
	return ch.write(chunk)
}

// call sends a request and waits for its answer. An answer that is a fault, or
// a bad status, is returned as its [ua.StatusCode].
func (ch *channel) call(ctx context.Context, req ua.Request, session *ua.NodeID) (ua.Response, error) {
	if !allowed(req) {
		return nil, errNotAllowed
	}
	number, ex := ch.register(nil)
	defer ch.forget(number)
	body, err := encode(req, number, session, timeLeft(ctx, time.Minute))
	if err != nil {
		return nil, err
	}
	if err := ch.send(ctx, "MSG", number, body); err != nil {
		return nil, err
	}
	answer, err := ch.await(ctx, ex)
	if err != nil {
		return nil, err
	}
	return decodeResponse(answer)
}

// await waits for the answer, the end of ctx or of the connection.
func (ch *channel) await(ctx context.Context, ex *exchange) ([]byte, error) {
	select {
	case r := <-ex.done:
		return r.body, r.err
	case <-ch.dead:
		return nil, ch.err()
	case <-ctx.Done():
		return nil, late(ctx)
	}
}

// late says why ctx has ended: the peer was silent, or nobody wants to know.
func late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w in time: %w", plc.ErrSilent, ctx.Err())
	}
	return ctx.Err()
}

// renew asks for a new token. It belongs to nobody's request: one that gave up
// early would drop the answer, and then all that comes under the new token; and
// a channel on which nothing is asked for a while needs it, too. Requests wait
// meanwhile, each as long as it may.
func (ch *channel) renew() {
	ctx, cancel := context.WithTimeout(context.Background(), ch.timeout)
	defer cancel()
	if err := ch.open(ctx, ua.SecurityTokenRequestTypeRenew); err != nil {
		ch.fail(fmt.Errorf("renew the keys: %w", err))
	}
}

// register gives a request its number.
func (ch *channel) register(o *opening) (uint32, *exchange) {
	ex := &exchange{done: make(chan reply, 1)}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.requests++
	if ch.requests == 0 {
		ch.requests = 1
	}
	ch.waiting[ch.requests] = ex
	if o != nil {
		o.request = ch.requests
		ch.opening = o
	}
	return ch.requests, ex
}

func (ch *channel) forget(number uint32) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	delete(ch.waiting, number)
	if ch.opening != nil && ch.opening.request == number {
		ch.opening = nil
	}
}

// send writes one message in as many chunks as it needs.
func (ch *channel) send(ctx context.Context, kind string, number uint32, body []byte) error {
	if err := ch.turn(ctx); err != nil {
		return err
	}
	defer ch.next()
	ch.mu.Lock()
	id, tok := ch.id, ch.tokens[0]
	ch.mu.Unlock()
	encrypt := ch.mode == ua.MessageSecurityModeSignAndEncrypt
	size := room(ch.peer.chunk, symmetricHeader, tok.alg, encrypt)
	if n := (len(body) + size - 1) / size; ch.peer.chunks > 0 && n > ch.peer.chunks || ch.peer.message > 0 && len(body) > ch.peer.message {
		return fmt.Errorf("a request of %d bytes is more than the server takes", len(body))
	}
	for len(body) > 0 {
		part, last := body[:min(len(body), size)], byte('C')
		if body = body[len(part):]; len(body) == 0 {
			last = 'F'
		}
		if err := ch.sendChunk(kind, last, id, tok, number, part, encrypt); err != nil {
			return err
		}
	}
	return nil
}

func (ch *channel) sendChunk(kind string, last byte, id uint32, tok *token, number uint32, part []byte, encrypt bool) error {
	ch.sequence++
	chunk := make([]byte, 0, symmetricHeader+sequenceHeader+len(part)+64)
	chunk = append(append(chunk, kind...), last, 0, 0, 0, 0)
	for _, v := range []uint32{id, tok.id, ch.sequence, number} {
		chunk = binary.LittleEndian.AppendUint32(chunk, v)
	}
	chunk, err := seal(append(chunk, part...), symmetricHeader, tok.alg, encrypt)
	if err != nil {
		return err
	}
	return ch.write(chunk)
}

// write ends the connection if it cannot write: half a chunk may be out. There
// is a deadline only where it has to wait, which is next to never: one with each
// message wakes the machine when it is over, though it was moved long before.
func (ch *channel) write(chunk []byte) error {
	rest := chunk[writeAtOnce(ch.conn, chunk):]
	if len(rest) == 0 {
		return nil
	}
	_ = ch.conn.SetWriteDeadline(time.Now().Add(ch.timeout))
	if _, err := ch.conn.Write(rest); err != nil {
		err = fmt.Errorf("%w: %w", plc.ErrSilent, err)
		ch.fail(err)
		return ch.err()
	}
	_ = ch.conn.SetWriteDeadline(time.Time{})
	return nil
}

// fail ends the connection for a reason; the first one is kept.
func (ch *channel) fail(err error) {
	ch.mu.Lock()
	first := ch.failed == nil
	if first {
		ch.failed = err
		close(ch.dead)
		if ch.renewal != nil {
			ch.renewal.Stop()
		}
	}
	ch.mu.Unlock()
	if first {
		_ = ch.conn.Close()
	}
}

// err returns why the connection ended.
func (ch *channel) err() error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.failed
}

// close tells the server and ends the connection, in two seconds at most.
func (ch *channel) close() {
	if ch.err() == nil {
		if body, err := encode(&ua.CloseSecureChannelRequest{}, 0, nil, 0); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), min(closeTimeout, ch.timeout))
			_ = ch.send(ctx, "CLO", 0, body)
			cancel()
		}
	}
	ch.fail(errClosed)
}

// timeLeft is how long the caller will wait, for the server to know.
func timeLeft(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return most
}

// sameLeaf reports whether a chain begins with the pinned certificate. DER says
// its own length, so a longer certificate cannot begin with a shorter one.
func sameLeaf(chain []byte, pinned *certificate) bool {
	return bytes.HasPrefix(chain, pinned.leaf.Raw)
}
