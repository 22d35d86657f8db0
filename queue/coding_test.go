package queue

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A slowCoder writes bit by bit what a coder writes eight bytes at a time.
type slowCoder struct{ bits []byte }

func (s *slowCoder) put(bits uint64, n uint) {
	for i := range n {
		s.bits = append(s.bits, byte(bits>>i&1))
	}
}

func (s *slowCoder) length(n int) {
	for n -= 15; n >= 255; n -= 255 {
		s.put(255, 8)
	}
	if n >= 0 {
		s.put(uint64(n), 8)
	}
}

func (s *slowCoder) sequence(literals []byte, distance, n int) {
	token := coding().token[min(len(literals), 15)<<4|min(n-packMatch, 15)]
	s.put(token.bits(), token.length())
	s.length(len(literals))
	for _, b := range literals {
		s.put(coding().literal[b].bits(), coding().literal[b].length())
	}
	if distance > 0 {
		s.put(uint64(distance), 8)
		s.put(coding().distance[distance>>8].bits(), coding().distance[distance>>8].length())
		s.length(n - packMatch)
	}
}

func (s *slowCoder) end() []byte {
	out := make([]byte, (len(s.bits)+7)/8)
	for i, bit := range s.bits {
		out[i/8] |= bit << (i % 8)
	}
	return out
}

func TestCoderWritesBitByBit(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for i := range 3000 {
		fast, slow := coder{codes: coding()}, slowCoder{}
		fast.begin(0)
		for range r.IntN(9) {
			literals, n := make([]byte, r.IntN(1<<r.IntN(11))), packMatch+r.IntN(1<<r.IntN(12))
			for at := range literals {
				literals[at] = byte(r.Uint32())
			}
			distance := r.IntN(1 << 16)
			fast.sequence(literals, distance, n)
			slow.sequence(literals, distance, n)
		}
		if got, want := fast.end()[2:], slow.end(); !bytes.Equal(got, want) {
			t.Fatalf("%d:\n got %x\nwant %x", i, got, want)
		}
	}
}
