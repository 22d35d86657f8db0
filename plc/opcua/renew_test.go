package opcua

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"edgeagent/plc"
)

// renewing is a server without security that gives a new token, by another
// number, with each opening, and has something to tell under it at once.
type renewing struct {
	lifetime uint32              // of a token, ms
	before   func(tokens uint32) // called before a token is given, by how many there were
	tokens   uint32
}

func (r *renewing) serve(c net.Conn) {
	for sequence := uint32(1); ; sequence++ {
		in, err := readFrame(c)
		if err != nil {
			return
		}
		var out []byte
		switch string(in[:3]) {
		case "HEL":
			out = ack(0, maxChunk, maxChunk, 0, 0)
		case "OPN":
			r.before(r.tokens)
			r.tokens++
			out = r.opened(in, sequence)
			sequence++
			out = append(out, r.message(999, sequence, fault(ua.StatusBadTimeout))...)
		case "MSG":
			out = r.message(binary.LittleEndian.Uint32(in[20:]), sequence, &ua.ReadResponse{
				ResponseHeader: header(0), Results: []*ua.DataValue{valueOfAny(int32(r.tokens))},
			})
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// message answers a request under the newest token.
func (r *renewing) message(request, sequence uint32, v any) []byte {
	f := msg('F', request, sequence, body(v))
	binary.LittleEndian.PutUint32(f[secureHeader:], r.tokens)
	return f
}

// opened is the answer to an opening.
func (r *renewing) opened(in []byte, sequence uint32) []byte {
	buf := ua.NewBuffer(in[secureHeader:])
	for range 3 { // policy, certificate and its thumbprint
		readText(buf)
	}
	out := openFrame(in, ua.SecurityPolicyURINone, nil, sequence)
	head := len(out) - len(body(r.token()))
	buf.ReadUint32() // its sequence number
	binary.LittleEndian.PutUint32(out[head-4:], buf.ReadUint32())
	return sized(append(out[:head], body(r.token())...))
}

func (r *renewing) token() *ua.OpenSecureChannelResponse {
	return &ua.OpenSecureChannelResponse{
		ResponseHeader: header(ua.StatusOK), SecurityToken: &ua.ChannelSecurityToken{ChannelID: 7, TokenID: r.tokens, RevisedLifetime: r.lifetime},
	}
}

// channel opens one to the server.
func (r *renewing) channel(t *testing.T, timeout time.Duration) *channel {
	t.Helper()
	o := Options{Timeout: timeout}.at(listen(t, r.serve))
	ch, err := openChannel(t.Context(), &o, ua.SecurityPolicyURINone, ua.MessageSecurityModeNone, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.fail(errClosed) })
	return ch
}

func readsToken(ctx context.Context, ch *channel) (int32, error) {
	res, err := ch.call(ctx, &ua.ReadRequest{NodesToRead: []*ua.ReadValueID{{NodeID: ua.NewTwoByteNodeID(1), DataEncoding: &ua.QualifiedName{}}}}, nil)
	if err != nil {
		return 0, err
	}
	n, _ := res.(*ua.ReadResponse).Results[0].Value.Value().(int32)
	return n, nil
}

// TestWhoGivesUpDuringARenewalDoesNotEndTheChannel: on a busy machine it takes
// longer than the watchdog waits. The token must be taken all the same, or
// nothing under it is understood.
func TestWhoGivesUpDuringARenewalDoesNotEndTheChannel(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	r := &renewing{lifetime: 3_600_000, before: func(tokens uint32) {
		if tokens == 1 {
			close(asked)
			<-release
		}
	}}
	ch := r.channel(t, ample)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		ch.renew()
	}()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := readsToken(ctx, ch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asked during a renewal: %v", err)
	}
	close(release)
	<-renewed
	if n, err := readsToken(t.Context(), ch); n != 2 || err != nil {
		t.Errorf("after the renewal: under token %d, %v", n, err)
	}
}

// TestAnIdleChannelIsRenewed: a server drops one whose token has ended, and all
// its subscriptions are silent.
func TestAnIdleChannelIsRenewed(t *testing.T) {
	renewed := make(chan struct{})
	r := &renewing{lifetime: 1, before: func(tokens uint32) { // less than is believed
		if tokens == 1 {
			close(renewed)
		}
	}}
	began := time.Now()
	ch := r.channel(t, ample)
	<-renewed
	if took := time.Since(began); took < time.Second {
		t.Errorf("renewed after %v: a server could have it renewed all the time", took)
	}
	if n, err := readsToken(t.Context(), ch); n < 2 || err != nil { // the second of its lifetime may be over again
		t.Errorf("after the renewal: under token %d, %v", n, err)
	}
}

func TestARenewalWithoutAnswerEndsTheChannel(t *testing.T) {
	over := make(chan struct{})
	r := &renewing{lifetime: 3_600_000, before: func(tokens uint32) {
		if tokens > 0 {
			<-over
		}
	}}
	ch := r.channel(t, ample)
	ch.timeout = 50 * time.Millisecond
	defer close(over)
	ch.renew()
	wants(t, ch.err(), plc.ErrSilent, "renew the keys")
}
