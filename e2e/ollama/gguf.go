package ollama

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
)

// The types of GGUF v3 that a small model needs, as its specification numbers
// them.
const (
	typeUint32  = 4
	typeInt32   = 5
	typeFloat32 = 6
	typeBool    = 7
	typeString  = 8
	typeArray   = 9
	tensorF32   = 0

	alignment = 32
)

// tensor is a matrix of float32: row after row, width numbers each. A nil at is
// all zeros.
type tensor struct {
	name  string
	shape []int // width first
	at    func(i int) float32
}

func (t tensor) size() int {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return n
}

func (t tensor) padded() int { return (4*t.size() + alignment - 1) / alignment * alignment }

// pair is one entry of a file's metadata.
type pair struct {
	key   string
	value any // uint32, float32, bool, string, []string or []int32
}

// writer writes GGUF and keeps the first error.
type writer struct {
	*bufio.Writer

	n   int
	err error
}

// writeGGUF writes a model file: a header, the metadata, where each tensor lies,
// the tensors.
func writeGGUF(to io.Writer, meta []pair, tensors []tensor) error {
	w := &writer{Writer: bufio.NewWriterSize(to, 1<<20)}
	w.raw([]byte("GGUF"), uint32(3), uint64(len(tensors)), uint64(len(meta)))
	for _, p := range meta {
		w.text(p.key)
		w.value(p.value)
	}
	offset := 0
	for _, t := range tensors {
		w.text(t.name)
		w.raw(uint32(len(t.shape)))
		for _, d := range t.shape {
			w.raw(uint64(d))
		}
		w.raw(uint32(tensorF32), uint64(offset))
		offset += t.padded()
	}
	w.pad()
	for _, t := range tensors {
		w.tensor(t)
	}
	if w.err != nil {
		return w.err
	}
	return w.Flush()
}

func (w *writer) raw(values ...any) {
	for _, v := range values {
		if w.err == nil {
			w.err = binary.Write(w.Writer, binary.LittleEndian, v)
			w.n += binary.Size(v)
		}
	}
}

func (w *writer) text(s string) {
	w.raw(uint64(len(s)), []byte(s))
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case uint32:
		w.raw(uint32(typeUint32), v)
	case float32:
		w.raw(uint32(typeFloat32), v)
	case bool:
		w.raw(uint32(typeBool), v)
	case string:
		w.raw(uint32(typeString))
		w.text(v)
	case []string:
		w.raw(uint32(typeArray), uint32(typeString), uint64(len(v)))
		for _, s := range v {
			w.text(s)
		}
	case []int32:
		w.raw(uint32(typeArray), uint32(typeInt32), uint64(len(v)), v)
	}
}

func (w *writer) tensor(t tensor) {
	var row []byte
	for i := range t.size() {
		x := float32(0)
		if t.at != nil {
			x = t.at(i)
		}
		if row = binary.LittleEndian.AppendUint32(row, math.Float32bits(x)); len(row) == 1<<16 {
			w.raw(row)
			row = row[:0]
		}
	}
	w.raw(row)
	w.pad()
}

func (w *writer) pad() {
	if rest := w.n % alignment; rest > 0 {
		w.raw(make([]byte, alignment-rest))
	}
}
