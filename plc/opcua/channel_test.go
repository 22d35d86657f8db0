package opcua

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"

	"edgeagent/plc"
)

// TestTokensAreRenewed: the keys change, and no answer is lost or mixed up. The
// library's server races with itself when a token changes while it works, so
// nobody else reads meanwhile; the end-to-end tests do that with another one.
func TestTokensAreRenewed(t *testing.T) {
	p := startPlant(t)
	for _, of := range offered {
		t.Run(of.policy+"/"+modeName(of.mode), func(t *testing.T) {
			c := opened(t, p.options(of.policy, modeName(of.mode)))
			ch := c.ch.(*channel)
			var wg sync.WaitGroup
			for name, want := range map[string]any{"level": 42.5, "count": int32(7)} {
				wg.Go(func() {
					for range 20 {
						readsAs(t, c, name, want)
					}
				})
			}
			wg.Wait()
			for range 3 {
				before := ch.present()
				ch.renew()
				readsAs(t, c, "level", 42.5)
				if ch.present() == before {
					t.Error("the token was not renewed")
				}
			}
		})
	}
}

func readsAs(t *testing.T, c *client, name string, want any) {
	t.Helper()
	values, err := c.read(t.Context(), []*ua.ReadValueID{{NodeID: ua.NewStringNodeID(1, name), AttributeID: ua.AttributeIDValue}})
	if err != nil || values[0].Value.Value() != want {
		t.Errorf("%s: %v, %v", name, values, err)
	}
}

func (ch *channel) present() *token {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.tokens[0]
}

// TestBytesChangedOnTheWayAreNoticed: no answer of a signed channel gets through
// with a changed, missing or repeated part.
func TestBytesChangedOnTheWayAreNoticed(t *testing.T) {
	p := startPlant(t)
	for name, change := range map[string]func(f []byte) [][]byte{
		"one bit":    func(f []byte) [][]byte { f[len(f)-40] ^= 1; return [][]byte{f} },
		"signature":  func(f []byte) [][]byte { f[len(f)-1] ^= 1; return [][]byte{f} },
		"token":      func(f []byte) [][]byte { f[12] ^= 0x55; return [][]byte{f} },
		"cut":        func(f []byte) [][]byte { return [][]byte{sized(f[:len(f)-16])} },
		"one block":  func(f []byte) [][]byte { return [][]byte{sized(f[:32])} },
		"head alone": func(f []byte) [][]byte { return [][]byte{sized(f[:16])} },
		"twice":      func(f []byte) [][]byte { return [][]byte{f, f} },
	} {
		for _, of := range offered[1:3] {
			t.Run(name+"/"+modeName(of.mode), func(t *testing.T) {
				messages := 0
				l := listen(t, func(agent net.Conn) {
					meddle(agent, p.endpoint, func(f []byte) [][]byte {
						if messages++; messages == 4 { // after the answers of discovery, session and login
							return change(f)
						}
						return [][]byte{f}
					})
				})
				o := p.options(of.policy, modeName(of.mode)).at(l)
				_, err := connect(t.Context(), &o)
				wants(t, err, plc.ErrSilent)
			})
		}
	}
}

// TestASignedAnswerThatIsTakenOutIsNoticed: what was removed leaves no trace but
// the number that is missing. Of an answer in many chunks it would leave another
// answer.
func TestASignedAnswerThatIsTakenOutIsNoticed(t *testing.T) {
	p := startPlant(t)
	for _, of := range offered[1:] {
		t.Run(of.policy+"/"+modeName(of.mode), func(t *testing.T) {
			var hidden atomic.Bool
			l := listen(t, func(agent net.Conn) {
				meddle(agent, p.endpoint, func(f []byte) [][]byte {
					if hidden.CompareAndSwap(true, false) {
						return nil
					}
					return [][]byte{f}
				})
			})
			c := opened(t, p.options(of.policy, modeName(of.mode)).at(l))
			hidden.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			one := []*ua.ReadValueID{{NodeID: ua.NewStringNodeID(1, "level"), AttributeID: ua.AttributeIDValue}}
			if _, err := c.read(ctx, one); err == nil {
				t.Fatal("an answer that was taken out was read")
			}
			_, err := c.read(t.Context(), one)
			wants(t, err, plc.ErrSilent, "missing")
		})
	}
}

func TestSequenceNumbersOfChunks(t *testing.T) {
	signed, bare := &channel{asym: &uapolicy.EncryptionAlgorithm{}}, &channel{}
	const most = math.MaxUint32
	for _, c := range []struct {
		last, next   uint32
		signed, bare bool
	}{
		{7, 8, true, true}, {7, 7, false, false}, {7, 6, false, false}, {7, 9, false, true},
		{most, 0, true, true}, {most - 1024, 1, true, true}, {most - 1025, 1, false, true}, {most, 1024, false, true}, {0, most, false, false},
	} {
		if got := signed.follows(c.next, c.last); got != c.signed {
			t.Errorf("signed: %d after %d: %v", c.next, c.last, got)
		}
		if got := bare.follows(c.next, c.last); got != c.bare {
			t.Errorf("without security: %d after %d: %v", c.next, c.last, got)
		}
	}
}

// TestAnOldTokenEnds: an answer under the token before is believed for a while
// after a renewal, and no longer.
func TestAnOldTokenEnds(t *testing.T) {
	p := startPlant(t)
	c := opened(t, p.options("Basic256Sha256", "SignAndEncrypt"))
	ch := c.ch.(*channel)
	readsAs(t, c, "level", 42.5)
	ch.mu.Lock()
	ch.tokens[0].until = time.Unix(1, 0)
	ch.mu.Unlock()
	_, err := c.read(t.Context(), []*ua.ReadValueID{{NodeID: ua.NewStringNodeID(1, "level"), AttributeID: ua.AttributeIDValue}})
	wants(t, err, plc.ErrSilent, "has ended")
}

// meddle passes frames on and lets the test change the server's messages.
func meddle(agent net.Conn, endpoint string, change func([]byte) [][]byte) {
	server, err := net.Dial("tcp", endpoint[len("opc.tcp://"):])
	if err != nil {
		return
	}
	defer server.Close()
	for {
		in, err := readFrame(agent)
		if err != nil || string(in[:3]) == "CLO" {
			return
		}
		if _, err := server.Write(in); err != nil {
			return
		}
		out, err := readFrame(server)
		if err != nil {
			return
		}
		frames := [][]byte{out}
		if string(out[:3]) == "MSG" {
			frames = change(out)
		}
		for _, f := range frames {
			if _, err := agent.Write(f); err != nil {
				return
			}
		}
	}
}

// TestSealedChunksOpenAgain goes through every length of padding, with keys of
// 2048 bits and over: these have a padding size of two bytes.
func TestSealedChunksOpenAgain(t *testing.T) {
	keys := map[int]*rsa.PrivateKey{}
	for _, bits := range []int{2048, 3072} {
		var err error
		if keys[bits], err = rsa.GenerateKey(rand.Reader, bits); err != nil {
			t.Fatal(err)
		}
	}
	for _, policy := range []string{ua.SecurityPolicyURIBasic256Sha256, ua.SecurityPolicyURIAes128Sha256RsaOaep, ua.SecurityPolicyURIAes256Sha256RsaPss} {
		for _, a := range keys {
			for _, b := range keys {
				out, err1 := uapolicy.Asymmetric(policy, a, &b.PublicKey)
				in, err2 := uapolicy.Asymmetric(policy, b, &a.PublicKey)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				for n := 1; n < 500; n += 37 {
					sealAndOpen(t, n, out, in, true)
				}
			}
		}
		nonces := [2][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)}
		out, err1 := uapolicy.Symmetric(policy, nonces[0], nonces[1])
		in, err2 := uapolicy.Symmetric(policy, nonces[1], nonces[0])
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for n := 1; n < 70; n++ {
			sealAndOpen(t, n, out, in, true)
			sealAndOpen(t, n, out, in, false)
		}
		for _, size := range []int{minChunk, maxChunk, 10_000} {
			for _, encrypt := range []bool{true, false} {
				full := room(size, symmetricHeader, out, encrypt) + sequenceHeader
				if got := len(sealAndOpen(t, full, out, in, encrypt)); got > size || got < size-32 {
					t.Errorf("%s: a full chunk has %d bytes of %d", policyName(policy), got, size)
				}
			}
		}
	}
}

func sealAndOpen(t *testing.T, n int, out, in *uapolicy.EncryptionAlgorithm, encrypt bool) []byte {
	t.Helper()
	head, text := []byte("MSGF\x00\x00\x00\x00....tokn"), make([]byte, n)
	_, _ = rand.Read(text)
	sealed, err := seal(slices.Concat(head, text), len(head), out, encrypt)
	if err != nil {
		t.Fatal(err)
	}
	got, err := unseal(sealed, len(head), in, encrypt)
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%d bytes: %v", n, err)
	}
	return sealed
}

// FuzzUnseal: whatever a sender who has the keys, or has not, puts into a chunk.
func FuzzUnseal(f *testing.F) {
	nonces := [2][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)}
	in, err := uapolicy.Symmetric(ua.SecurityPolicyURIBasic256Sha256, nonces[1], nonces[0])
	if err != nil {
		f.Fatal(err)
	}
	out, err := uapolicy.Symmetric(ua.SecurityPolicyURIBasic256Sha256, nonces[0], nonces[1])
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "x", "0123456789abcdef0123456789abcdef0123456789abcdef"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(_ *testing.T, b []byte, encrypted bool) {
		_, _ = unseal(append(make([]byte, symmetricHeader), b...), symmetricHeader, in, encrypted)
		// The same as plain text of a sender with the keys: any padding.
		for len(b)%16 != 0 {
			b = append(b, 0xff)
		}
		chunk := append(make([]byte, symmetricHeader), b...)
		signature, _ := out.Signature(chunk)
		if secret, err := out.Encrypt(append(b, signature...)); err == nil {
			_, _ = unseal(append(make([]byte, symmetricHeader), secret...), symmetricHeader, in, true)
		}
	})
}

// TestManyConnectsLeaveNothing: TestMain looks for goroutines.
func TestManyConnectsLeaveNothing(t *testing.T) {
	p := startPlant(t)
	for range episodes(t) {
		o := p.options("Aes256_Sha256_RsaPss", "SignAndEncrypt")
		c, err := connect(t.Context(), &o)
		if err != nil {
			t.Fatal(err)
		}
		c.close()
		<-c.done()
	}
}

// TestASlowPeerGetsAllThatIsWritten: what the connection does not take at once
// follows, no byte of it twice.
func TestASlowPeerGetsAllThatIsWritten(t *testing.T) {
	text := make([]byte, 8<<20) // more than any system keeps
	_, _ = rand.Read(text)
	got := make(chan []byte, 1)
	l := listen(t, func(c net.Conn) {
		b := make([]byte, len(text))
		n, _ := io.ReadFull(c, b)
		got <- b[:n]
	})
	ch := dialed(t, l, 20*time.Second)
	if err := ch.write(text); err != nil {
		t.Fatal(err)
	}
	if b := <-got; !bytes.Equal(b, text) {
		t.Errorf("%d bytes came, not what was written", len(b))
	}
	if err := ch.write([]byte("and more")); err != nil {
		t.Errorf("after it had to wait: %v", err)
	}
}

// TestAPeerThatTakesNothingEndsTheConnection: the next message must not wait for it, either.
func TestAPeerThatTakesNothingEndsTheConnection(t *testing.T) {
	over := make(chan struct{})
	l := listen(t, func(net.Conn) { <-over })
	defer close(over)
	ch := dialed(t, l, 100*time.Millisecond)
	if err := ch.write(make([]byte, 64<<20)); !errors.Is(err, plc.ErrSilent) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ch.dead:
	default:
		t.Error("the connection goes on, with half a chunk written")
	}
}

// dialed returns the channel of a connection on which nothing was said yet.
func dialed(t *testing.T, l net.Listener, timeout time.Duration) *channel {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &channel{conn: conn, timeout: timeout, dead: make(chan struct{})}
}
