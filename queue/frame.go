package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// A frame is one commit as it lies in the journal: it begins at a block, is
// filled up to the next one with zeros, and no block of it is written again
// before all it says is in the data file. The checksum covers everything behind
// it up to the end of the entries.
//
//	0 magic "EAJ1"   4 CRC-32C   8 id of the journal   24 generation   32 sequence
//	36 frames of the generation before   40 length of the entries   44 entries …
//
// An entry is a record, which knows its own place, or the place of one that is
// deleted: uvarint length and 1 for deleted, then the record, or kind and key.
const (
	frameMagic = "EAJ1"
	frameHead  = 44
	blockSize  = 4096
)

// A frameMark tells which frame of which journal something is.
type frameMark struct {
	id         journalID
	generation uint64
	sequence   uint32
	before     uint32 // frames of the generation before
}

// beginFrame makes room for the head; entries are appended behind it.
func beginFrame(buf []byte) []byte { return append(buf[:0], make([]byte, frameHead)...) }

func appendEntry(buf []byte, name string, rec []byte) []byte {
	if rec == nil {
		return append(binary.AppendUvarint(buf, uint64(len(name))<<1|1), name...)
	}
	return append(binary.AppendUvarint(buf, uint64(len(rec))<<1), rec...)
}

// endFrame writes the head and fills up the last block.
func endFrame(buf []byte, m frameMark) []byte {
	copy(buf, frameMagic)
	copy(buf[8:], m.id[:])
	binary.BigEndian.PutUint64(buf[24:], m.generation)
	binary.BigEndian.PutUint32(buf[32:], m.sequence)
	binary.BigEndian.PutUint32(buf[36:], m.before)
	binary.BigEndian.PutUint32(buf[40:], uint32(len(buf)-frameHead))
	binary.BigEndian.PutUint32(buf[4:], crc32.Checksum(buf[8:], castagnoli))
	return append(buf, zeros[:blocks(len(buf))-len(buf)]...)
}

var zeros [blockSize]byte

// blocks returns n rounded up to whole blocks.
func blocks(n int) int { return (n + blockSize - 1) / blockSize * blockSize }

// A journalFrame was read back, and is whole.
type journalFrame struct {
	frameMark
	at      int // in its part
	size    int // in whole blocks
	entries []byte
}

// An area is one part of a journal as it is read: frame by frame, for it is large
// and holds little that counts.
type area struct {
	r    io.ReaderAt
	size int
	buf  []byte
	err  error // of a card that cannot read it
}

// frame returns the frame that begins at a place, if one does. Its entries live
// until the next one is read.
func (a *area) frame(at int) (journalFrame, bool) {
	head := a.bytes(at, frameHead)
	if head == nil || string(head[:len(frameMagic)]) != frameMagic {
		return journalFrame{}, false
	}
	n := uint64(binary.BigEndian.Uint32(head[40:]))
	if n > uint64(a.size-at-frameHead) {
		return journalFrame{}, false
	}
	whole := a.bytes(at, frameHead+int(n))
	if whole == nil || crc32.Checksum(whole[8:], castagnoli) != binary.BigEndian.Uint32(whole[4:]) {
		return journalFrame{}, false
	}
	f := journalFrame{at: at, size: blocks(len(whole)), entries: whole[frameHead:]}
	copy(f.id[:], whole[8:])
	f.generation, f.sequence = binary.BigEndian.Uint64(whole[24:]), binary.BigEndian.Uint32(whole[32:])
	f.before = binary.BigEndian.Uint32(whole[36:])
	return f, true
}

func (a *area) bytes(at, n int) []byte {
	if at < 0 || n > a.size-at {
		return nil
	}
	a.buf = slices.Grow(a.buf[:0], n)[:n]
	if _, err := a.r.ReadAt(a.buf, int64(at)); err != nil && !errors.Is(err, io.EOF) {
		a.err = err
		return nil
	} else if err != nil {
		return nil
	}
	return a.buf
}

// all is an iterator over every frame that is whole, wherever it lies.
func (a *area) all(yield func(journalFrame) bool) {
	for at := 0; at < a.size; {
		f, ok := a.frame(at)
		if !ok {
			at += blockSize
			continue
		}
		if !yield(f) {
			return
		}
		at += f.size
	}
}

// each visits the entries of a frame; rec is nil where one deletes. Both live as
// long as the frame.
func (f journalFrame) each(visit func(kind byte, key string, rec []byte) error) error {
	for in := f.entries; len(in) > 0; {
		n, head := binary.Uvarint(in)
		if head <= 0 || n>>1 > uint64(len(in)-head) {
			return fmt.Errorf("an entry of frame %d reaches out of it: %w", f.sequence, errDamaged)
		}
		entry := in[head : head+int(n>>1)]
		in = in[head+int(n>>1):]
		if err := visitEntry(entry, n&1 == 1, visit); err != nil {
			return fmt.Errorf("frame %d: %w", f.sequence, err)
		}
	}
	return nil
}

func visitEntry(entry []byte, deleted bool, visit func(kind byte, key string, rec []byte) error) error {
	if deleted {
		if len(entry) < 2 || len(entry) > 1+maxKey || !isKind(entry[0]) {
			return fmt.Errorf("deletes %.40q: %w", entry, errDamaged)
		}
		return visit(entry[0], string(entry[1:]), nil)
	}
	kind, key, err := placeOf(entry)
	if err != nil {
		return err
	}
	return visit(kind, key, entry)
}

// placeOf returns where a record that is whole belongs.
func placeOf(rec []byte) (kind byte, key string, err error) {
	if len(rec) < recordHead {
		return 0, "", fmt.Errorf("record of %d bytes: %w", len(rec), errDamaged)
	}
	n := int(binary.BigEndian.Uint16(rec[12:]))
	if n > maxKey || n == 0 || recordHead+n > len(rec) || !isKind(rec[3]) {
		return 0, "", fmt.Errorf("record of %d bytes has a key of %d: %w", len(rec), n, errDamaged)
	}
	kind, key = rec[3], string(rec[recordHead:recordHead+n])
	_, _, err = decodeRecord(kind, key, rec)
	return kind, key, err
}

// A chain is what a journal holds of one generation, or of two that follow each
// other: of the second there are frames when the checkpoint after the first was
// under way.
type chain struct {
	frames  []journalFrame
	earlier int  // how many are of the first of two
	end     int  // where the next frame goes
	whole   bool // no frame lies behind one that is not
}

// before joins the chain of the next generation, whose frames say how many of this
// one there are.
func (c chain) before(next chain) chain {
	return chain{
		frames: append(c.frames, next.frames...), earlier: len(c.frames), end: next.end,
		whole: c.whole && next.whole && len(c.frames) > 0 && len(next.frames) > 0 && next.frames[0].before == uint32(len(c.frames)),
	}
}

// readChain follows the frames of a generation from the first one. The first that
// does not hold ends it: one was being written when the power went. Frames of
// the same generation behind that were acknowledged: then it is damage, and what
// is whole is returned all the same.
func readChain(a *area, id journalID, generation uint64) chain {
	c := chain{whole: true}
	mine := func(at int) (journalFrame, bool) {
		f, ok := a.frame(at)
		return f, ok && f.id == id && f.generation == generation && f.sequence >= uint32(len(c.frames))
	}
	for at := 0; at < a.size; {
		f, ok := mine(at)
		if !ok {
			if c.whole {
				c.end = at
			}
			at += blockSize
			if c.whole = c.whole && !anyBehind(at, a.size, mine); c.whole {
				break
			}
			continue
		}
		c.whole = c.whole && f.sequence == uint32(len(c.frames))
		f.entries = bytes.Clone(f.entries)
		c.frames = append(c.frames, f)
		at += f.size
		c.end = at
	}
	return c
}

func anyBehind(at, end int, mine func(int) (journalFrame, bool)) bool {
	for ; at < end; at += blockSize {
		if _, ok := mine(at); ok {
			return true
		}
	}
	return false
}
