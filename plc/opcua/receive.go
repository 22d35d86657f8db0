package opcua

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"

	"edgeagent/plc"
)

// read takes chunks until the connection ends. What it cannot believe ends it.
func (ch *channel) read() {
	var last uint32
	for started := false; ; started = true {
		frame, err := readFrame(ch.conn)
		if err == nil {
			err = ch.take(frame, &last, started)
		}
		if err != nil {
			ch.fail(err)
			return
		}
	}
}

// take checks one chunk and adds it to the answer it belongs to.
func (ch *channel) take(frame []byte, last *uint32, started bool) error {
	if len(frame) < symmetricHeader {
		return fmt.Errorf("%w: a chunk of %d bytes", plc.ErrSilent, len(frame))
	}
	var plain []byte
	var err error
	switch kind := string(frame[:3]); kind {
	case "OPN":
		plain, err = ch.unsealOpen(frame)
	case "MSG":
		plain, err = ch.unsealMessage(frame)
	case "CLO":
		return fmt.Errorf("%w: the server closed the channel", plc.ErrSilent)
	default:
		return fmt.Errorf("%w: a chunk of type %q", plc.ErrSilent, kind)
	}
	if err != nil {
		return err
	}
	if len(plain) < sequenceHeader {
		return fmt.Errorf("%w: a chunk without its sequence number", plc.ErrSilent)
	}
	sequence, number := binary.LittleEndian.Uint32(plain), binary.LittleEndian.Uint32(plain[4:])
	if started && !ch.follows(sequence, *last) {
		return fmt.Errorf("%w: sequence number %d after %d: repeated, missing or out of order", plc.ErrSilent, sequence, *last)
	}
	*last = sequence
	return ch.assemble(string(frame[:3]), frame[3], number, plain[sequenceHeader:])
}

// follows reports whether a chunk may come after the last one. Under a signature
// it is the very next one: whoever takes a chunk out of the middle of an answer
// makes another value of what is left. Without one anybody can number anew, and
// only what TCP cannot explain is refused.
func (ch *channel) follows(sequence, last uint32) bool {
	if ch.asym == nil {
		return int32(sequence-last) > 0
	}
	const wrap = 1024 // numbers begin again in the first and end in the last so many (Part 6, 6.7.2.4)
	return sequence == last+1 || last >= math.MaxUint32-wrap && sequence < wrap
}

// unsealOpen believes the opening of a channel only from the pinned
// certificate, under the configured policy: to answer with another policy is
// how a channel would be downgraded.
func (ch *channel) unsealOpen(frame []byte) ([]byte, error) {
	buf := ua.NewBuffer(frame[secureHeader:])
	policy, chain, _ := readText(buf), readText(buf), readText(buf)
	if buf.Error() != nil {
		return nil, fmt.Errorf("%w: the opening of the channel is cut", plc.ErrSilent)
	}
	if string(policy) != ch.policy {
		return nil, fmt.Errorf("%w: the server opens the channel with security policy %q, configured is %q: no login was sent under it; look who answers at this address",
			plc.ErrRefused, policyName(cut(string(policy))), policyName(ch.policy))
	}
	if ch.asym != nil && !sameLeaf(chain, ch.server) {
		return nil, fmt.Errorf("%w: the channel is opened with a certificate that is not the trusted one: no login was sent under it; look who answers at this address", plc.ErrRefused)
	}
	head := len(frame) - buf.Len()
	plain, err := unseal(frame, head, ch.asym, true)
	if err != nil {
		return nil, fmt.Errorf("open secure channel: %w: %w", plc.ErrSilent, err)
	}
	return plain, nil
}

// readText reads a length and so many bytes; both are checked by the buffer
// where int has 64 bits, and here where it has 32.
func readText(buf *ua.Buffer) []byte {
	n := buf.ReadUint32()
	if n == null {
		return nil
	}
	return buf.ReadN(int(min(n, maxMessage)))
}

func (ch *channel) unsealMessage(frame []byte) ([]byte, error) {
	id, number := binary.LittleEndian.Uint32(frame[frameHeader:]), binary.LittleEndian.Uint32(frame[secureHeader:])
	ch.mu.Lock()
	known, tokens := ch.id, ch.tokens
	ch.mu.Unlock()
	if id != known {
		return nil, fmt.Errorf("%w: a message of channel %d, this is %d", plc.ErrSilent, id, known)
	}
	err := fmt.Errorf("a message under token %d, which was never given or has ended", number)
	for _, tok := range tokens {
		if tok == nil || tok.id != number || time.Now().After(tok.until) {
			continue
		}
		// Some servers give the new token the number of the old one.
		var plain []byte
		if plain, err = unseal(frame, symmetricHeader, tok.alg, ch.mode == ua.MessageSecurityModeSignAndEncrypt); err == nil {
			return plain, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", plc.ErrSilent, err)
}

// assemble adds a chunk to its answer. One that nobody waits for is dropped: a
// server can make this side keep only what it was asked for.
func (ch *channel) assemble(kind string, final byte, number uint32, part []byte) error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ex, waits := ch.waiting[number]
	isOpening := ch.opening != nil && ch.opening.request == number
	if !waits || isOpening != (kind == "OPN") {
		return nil
	}
	switch final {
	case 'A':
		delete(ch.waiting, number)
		status := ua.StatusBadTCPInternalError
		if len(part) >= 4 {
			status = ua.StatusCode(binary.LittleEndian.Uint32(part))
		}
		ex.done <- reply{err: fmt.Errorf("the server broke off its answer: %w", status)}
		return nil
	case 'C', 'F':
		if ex.parts == nil {
			ex.parts = slices.Clip(part) // the frame is nobody else's
		} else {
			ex.parts = append(ex.parts, part...)
		}
		if ex.chunks++; ex.chunks > maxChunks || len(ex.parts) > maxMessage {
			return fmt.Errorf("%w: an answer of more than %d bytes", plc.ErrSilent, maxMessage)
		}
		if final == 'C' {
			return nil
		}
	default:
		return fmt.Errorf("%w: chunk type %q", plc.ErrSilent, final)
	}
	delete(ch.waiting, number)
	if isOpening {
		if err := ch.opened(ex.parts); err != nil {
			return err
		}
	}
	ex.done <- reply{body: ex.parts}
	return nil
}

// opened takes the new token into use before anything more is read: the
// server's next message may need it. The caller holds mu.
func (ch *channel) opened(body []byte) error {
	res, err := decodeResponse(body)
	if err != nil {
		return fmt.Errorf("open secure channel: %w", err)
	}
	open, ok := res.(*ua.OpenSecureChannelResponse)
	if !ok {
		return fmt.Errorf("open secure channel: %w: answered with %T", plc.ErrSilent, res)
	}
	tok := &token{id: open.SecurityToken.TokenID}
	if ch.asym != nil {
		if len(open.ServerNonce) != ch.asym.NonceLength() {
			return fmt.Errorf("open secure channel: %w: a nonce of %d bytes", plc.ErrSilent, len(open.ServerNonce))
		}
		if tok.alg, err = uapolicy.Symmetric(ch.policy, ch.opening.nonce, open.ServerNonce); err != nil {
			return fmt.Errorf("open secure channel: %w", err)
		}
	}
	if channel := open.SecurityToken.ChannelID; ch.tokens[0] != nil && channel != ch.id {
		return fmt.Errorf("open secure channel: %w: a token of channel %d, this is %d", plc.ErrSilent, channel, ch.id)
	}
	lifetime := time.Duration(open.SecurityToken.RevisedLifetime) * time.Millisecond
	lifetime = min(max(lifetime, minLifetime), channelLifetime)
	now := time.Now()
	tok.until = now.Add(time.Duration(float64(lifetime) * keepFor))
	if ch.failed == nil {
		ch.renewal = time.AfterFunc(time.Duration(float64(lifetime)*renewAfter), ch.renew)
	}
	ch.id, ch.tokens = open.SecurityToken.ChannelID, [2]*token{tok, ch.tokens[0]}
	return nil
}

// cut bounds a text that somebody else chose, for an error.
func cut(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
