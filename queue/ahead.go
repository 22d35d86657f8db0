package queue

import (
	"errors"
	"io"
)

const (
	aheadSize = 128 << 10
	aheadGap  = 256 << 10 // of which a step forward is still taken for reading on
)

// ahead reads a file that is walked forward in larger pieces than a page: a check
// asks for each of a hundred thousand pages once, nearly in their order. What
// cannot be read of a piece is asked for by itself, so that a page that the card
// has lost is not taken for sixteen.
type ahead struct {
	r   io.ReaderAt
	buf []byte
	at  int64 // of buf
}

// ReadAt is io.ReaderAt's. It is for one goroutine.
func (a *ahead) ReadAt(p []byte, off int64) (int, error) {
	if n := a.held(p, off); n == len(p) {
		return n, nil
	}
	end := a.at + int64(len(a.buf))
	if len(p) > aheadSize || off < a.at || off > end+aheadGap {
		a.buf, a.at = a.buf[:0], off+int64(len(p)) // a jump: who reads on from here is followed
		return a.r.ReadAt(p, off)
	}
	if cap(a.buf) == 0 {
		a.buf = make([]byte, 0, aheadSize)
	}
	n, err := a.r.ReadAt(a.buf[:aheadSize], off)
	if err != nil && !errors.Is(err, io.EOF) {
		a.buf, a.at = a.buf[:0], off+int64(len(p))
		return a.r.ReadAt(p, off)
	}
	if a.buf, a.at = a.buf[:n], off; n < len(p) {
		return copy(p, a.buf), io.EOF
	}
	return copy(p, a.buf), nil
}

// held copies what the piece at hand has of it.
func (a *ahead) held(p []byte, off int64) int {
	if off < a.at || off+int64(len(p)) > a.at+int64(len(a.buf)) {
		return 0
	}
	return copy(p, a.buf[off-a.at:])
}
