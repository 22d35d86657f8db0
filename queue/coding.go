package queue

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// What packing leaves is mostly digits and small letters, and each of them took
// eight bits. Here every byte of a sequence gets a code of a fixed length: short
// for what is frequent in our records. The codes are canonical: of one length
// they count upwards in the order of the bytes, so that the lengths say all. They
// belong to the format, like the dictionary.
//
// A sequence is: code of the token; bytes of the literals' length that did not fit
// into it, as they are; codes of the literals; and, but for the last one, the low
// byte of the distance as it is, the code of its high byte, and bytes of the
// copy's length. Bits fill a byte from its lowest one up.
const codeMost = 12 // bits of the longest code

// One hexadecimal digit is the length of one byte's code, in bits. They were
// counted over the records of storms, of the demonstration plant and of the tests,
// half and half, with room for letters that are not of ASCII.
const (
	tokenLengths = "344455677776878457778b889a9cca965899aa97b88ba8c7679aabbbbbbbcbc85799abb8b9aaccb878aaacbaaacccbc979bababbacbccbca79baac9bbccccccb" +
		"8abbbcbcccbacccb7aabbccccbbccccb8abbbccccccccccb8aaaabcccccccccc8acacccccbcbcccc88cccccccb9ccccc8abcbabcc8bcccba57a889b79bccc786"
	literalLengths = "cccccccccccccccccccccccccccccccc4c7bccccbbcc875944555555556accccc78788888b98997b99998c79797c79c9c577757776c968667c566798b8c9a7cc" +
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaccc9cccccccccccc99cccccccccccccccccc999999cccccccccccccccccccccc"
	distanceLengths = "23434544555568898a9aababbacccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc" +
		"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// A codeWord is a code with its first bit lowest, above four bits of its length.
type codeWord uint16

func (w codeWord) bits() uint64 { return uint64(w >> 4) }

func (w codeWord) length() uint { return uint(w & 15) }

type (
	codeTable   [256]codeWord
	decodeTable [1 << codeMost]struct{ value, length uint8 } // by the next bits
)

// codings are the codes of tokens, literals and high bytes of distances.
type codings struct{ token, literal, distance codeTable }

var (
	coding = sync.OnceValue(func() *codings {
		return &codings{codesOf(tokenLengths), codesOf(literalLengths), codesOf(distanceLengths)}
	})
	decoding = sync.OnceValue(func() *[3]decodeTable {
		c := coding()
		return &[3]decodeTable{c.token.invert(), c.literal.invert(), c.distance.invert()}
	})
)

// codesOf makes the codes of so many bits.
func codesOf(lengths string) (t codeTable) {
	next := 0
	for length := 1; length <= codeMost; length++ {
		next <<= 1
		for value := range t {
			if int(hexDigit(lengths[value])) == length {
				t[value] = codeWord(bits.Reverse16(uint16(next))>>(16-length)<<4 | uint16(length))
				next++
			}
		}
	}
	return t
}

func hexDigit(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func (t *codeTable) invert() (d decodeTable) {
	for value, word := range t {
		for at := word.bits(); at < uint64(len(d)); at += 1 << word.length() {
			d[at].value, d[at].length = uint8(value), uint8(word.length())
		}
	}
	return d
}

// A coder writes codes. It stores eight bytes at a time, whether they are full yet
// or not: to ask would cost more, for no processor can guess the answer.
type coder struct {
	codes *codings
	out   []byte // all of its capacity; at is how much of it is written
	at    int
	held  uint64 // bits that are no whole byte yet
	n     uint   // how many
}

// begin starts a text of so many bytes.
func (c *coder) begin(size uint64) {
	c.at, c.held, c.n = 0, 0, 0
	c.room(1 + binary.MaxVarintLen64)
	c.out[0] = coded
	c.at = 1 + binary.PutUvarint(c.out[1:], size)
}

// end returns all that was written.
func (c *coder) end() []byte {
	c.room(1)
	c.out[c.at] = byte(c.held)
	return c.out[:c.at+int(c.n+7)/8]
}

// room makes room for so many bytes, and for the store behind them.
func (c *coder) room(n int) {
	if n += 8; len(c.out)-c.at < n {
		c.out = slices.Grow(c.out[:c.at], n)
		c.out = c.out[:cap(c.out)]
	}
}

// put writes at most 56 bits.
func (c *coder) put(bits uint64, n uint) {
	c.held |= bits << (c.n & 7)
	c.n += n
	binary.LittleEndian.PutUint64(c.out[c.at:], c.held)
	c.at += int(c.n / 8)
	c.held >>= c.n & 56
	c.n &= 7
}

// sequence writes literals and the copy behind them; a distance of 0 ends the text.
func (c *coder) sequence(literals []byte, distance, n int) {
	n -= packMatch
	c.room(2*len(literals) + n/255 + 16)
	token := c.codes.token[min(len(literals), 15)<<4|min(n, 15)]
	c.literals(token, literals)
	if distance == 0 {
		return
	}
	high := c.codes.distance[distance>>8]
	c.put(uint64(distance&0xff)|high.bits()<<8, 8+high.length())
	c.length(n)
}

// literals is where packing spends its time: four at once are stored, and those
// that are left over go first, together with the token.
func (c *coder) literals(token codeWord, text []byte) {
	held, n := token.bits(), token.length()
	if len(text) >= 15 {
		c.put(held, n)
		c.length(len(text))
		held, n = 0, 0
	}
	t := &c.codes.literal
	for ; len(text)%4 != 0; text = text[1:] {
		held |= t[text[0]].bits() << (n & 63)
		n += t[text[0]].length()
	}
	c.put(held, n)
	for ; len(text) >= 4; text = text[4:] {
		w0, w1, w2, w3 := t[text[0]], t[text[1]], t[text[2]], t[text[3]]
		left, right := w0.bits()|w1.bits()<<w0.length(), w2.bits()|w3.bits()<<w2.length()
		half := w0.length() + w1.length()
		c.put(left|right<<half, half+w2.length()+w3.length())
	}
}

// length writes what of a length did not fit into the four bits of the token.
func (c *coder) length(n int) {
	if n -= 15; n < 0 {
		return
	}
	for ; n >= 255; n -= 255 {
		c.put(255, 8)
	}
	c.put(uint64(n), 8)
}

// A decoder reads codes.
type decoder struct {
	in   []byte
	held uint64
	n    uint
	over uint // bits that were asked for behind the end
}

// fill holds at least 32 bits, zeros behind the end.
func (d *decoder) fill() {
	for d.n < 32 {
		if len(d.in) == 0 {
			d.over += 8
		} else {
			d.held |= uint64(d.in[0]) << d.n
			d.in = d.in[1:]
		}
		d.n += 8
	}
}

func (d *decoder) skip(n uint) { d.held >>= n; d.n -= n }

func (d *decoder) code(t *decodeTable) byte {
	d.fill()
	w := t[d.held&(1<<codeMost-1)]
	d.skip(uint(w.length))
	return w.value
}

func (d *decoder) byte() byte {
	d.fill()
	defer d.skip(8)
	return byte(d.held)
}

// ended reports that more was read than there is, or less: what is left is not
// the zeros that fill the last byte.
func (d *decoder) ended() (short, all bool) {
	left := int(d.n) - int(d.over)
	return left < 0, left >= 0 && left < 8 && len(d.in) == 0 && d.held == 0
}

// length reads what of a length did not fit into the token; one that is too long
// is not ok.
func (d *decoder) length(n int) (int, bool) {
	if n < 15 {
		return n, true
	}
	for {
		more := d.byte()
		n += int(more)
		if short, _ := d.ended(); short || n > maxUnpacked {
			return n, false
		}
		if more < 255 {
			return n, true
		}
	}
}

// decode appends the text of all sequences in in to out, which must not outgrow
// whole.
func decode(out, in []byte, whole int) (text []byte, ok bool) {
	d, tables := decoder{in: in}, decoding()
	for {
		token := d.code(&tables[0])
		literals, ok := d.length(int(token >> 4))
		if !ok || len(out)+literals > whole {
			return out, false
		}
		for range literals {
			out = append(out, d.code(&tables[1]))
		}
		short, all := d.ended()
		if short || len(out) == whole {
			return out, !short && all
		}
		distance := int(d.byte())
		distance |= int(d.code(&tables[2])) << 8
		n, ok := d.length(int(token & 15))
		if !ok {
			return out, false
		}
		if out, ok = repeat(out, distance, n+packMatch, whole); !ok {
			return out, false
		}
	}
}
