package queue

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
)

// A card gives what it holds, but for the pages that it has lost.
type card struct {
	held  []byte
	lost  map[int64]bool
	reads int
}

func (c *card) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	for page := off / pageSize; page*pageSize < off+int64(len(p)); page++ {
		if c.lost[page] {
			return 0, syscall.EIO
		}
	}
	return bytes.NewReader(c.held).ReadAt(p, off)
}

// Whatever is asked for in whatever order, it is what the card says.
func TestReadingAheadReadsTheSame(t *testing.T) {
	const seed, pages = 11, 300
	r := rand.New(rand.NewPCG(seed, 1))
	c := &card{held: make([]byte, pages*pageSize-100), lost: map[int64]bool{40: true, 41: true, 199: true}}
	for i := range c.held {
		c.held[i] = byte(r.Uint32())
	}
	a := &ahead{r: c}
	at := int64(0)
	for range 20_000 {
		switch r.IntN(10) {
		case 0:
			at = int64(r.IntN(pages))
		case 1:
			at += int64(r.IntN(20))
		default:
			at++
		}
		at %= pages
		got, want := make([]byte, (1+r.IntN(30)/10*9)*pageSize), []byte(nil)
		want = append(want, got...)
		n, err := a.ReadAt(got, at*pageSize)
		wantN, wantErr := c.ReadAt(want, at*pageSize)
		if n != wantN || !errors.Is(err, wantErr) || !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("seed %d, %d bytes of page %d: %d, %v, want %d, %v, and the same bytes", seed, len(got), at, n, err, wantN, wantErr)
		}
	}
}

func TestReadingAheadAsksSeldom(t *testing.T) {
	const pages = 1600
	c := &card{held: make([]byte, pages*pageSize)}
	a, page := &ahead{r: c}, make([]byte, pageSize)
	for at := range int64(pages) {
		if at%7 == 3 {
			continue // of another region of the keys
		}
		if _, err := a.ReadAt(page, at*pageSize); err != nil {
			t.Fatal(err)
		}
	}
	if most := pages/16 + 2; c.reads > most {
		t.Errorf("%d reads for %d pages, want at most %d", c.reads, pages, most)
	}
	if _, err := a.ReadAt(page, int64(pages)*pageSize); !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %v, want EOF", err)
	}
}
