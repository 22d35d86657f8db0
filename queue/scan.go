package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	scanStep  = 1 << 20   // bytes that are searched at a time
	maxRecord = 8 << 20   // bytes: nothing that is written comes near it
	maxGuess  = 256 << 10 // and of a record whose length is not written
)

// A stray is a record that was found by its bytes alone.
type stray struct {
	at       int64 // in the file
	kind     byte
	key      string
	revision uint32
	rec      []byte
}

// strays visits every record of the file that is whole, wherever it lies and
// whether or not anything leads to it, in the order of the file. What cannot be
// read of the card is passed over page by page.
func (p pageFile) strays(visit func(stray) error) error {
	magic := []byte{'E', 'A', recordFormat}
	var window []byte
	var base int64
	for at := firstDataPage * p.page; at < p.size; {
		if end := base + int64(len(window)); at+int64(len(magic)) > end {
			window, base = p.window(at, scanStep), at
		}
		i := bytes.Index(window[at-base:], magic)
		if i < 0 {
			at = p.beyond(base, window, len(magic)-1)
			continue
		}
		at += int64(i)
		r, ok := p.strayAt(at)
		if !ok {
			at++
			continue
		}
		if err := visit(r); err != nil {
			return err
		}
		if at += int64(len(r.rec)); at > base+int64(len(window)) {
			window = nil
		}
	}
	return nil
}

// beyond returns where the search goes on behind a window: with its last bytes,
// or, where it ends because a page cannot be read, behind that page.
func (p pageFile) beyond(base int64, window []byte, last int) int64 {
	end := base + int64(len(window))
	if len(window) == scanStep {
		return end - int64(last)
	}
	return p.nextPage(end)
}

func (p pageFile) nextPage(at int64) int64 { return (at/p.page + 1) * p.page }

// window reads up to n bytes; fewer at the end of the file, or before a page
// that cannot be read.
func (p pageFile) window(at int64, n int) []byte {
	buf := make([]byte, min(int64(n), p.size-at))
	got, err := p.r.ReadAt(buf, at)
	if err == nil || errors.Is(err, io.EOF) {
		return buf[:got]
	}
	for got = 0; got < len(buf); { // page by page
		end := min(int(p.nextPage(at+int64(got))-at), len(buf))
		if _, err := p.r.ReadAt(buf[got:end], at+int64(got)); err != nil {
			break
		}
		got = end
	}
	return buf[:got]
}

// strayAt returns the record that begins at a place, if one does.
func (p pageFile) strayAt(at int64) (stray, bool) {
	head := p.window(at, recordHead+maxKey)
	if len(head) < recordHead {
		return stray{}, false
	}
	keySize, low := int(binary.BigEndian.Uint16(head[12:])), int(binary.BigEndian.Uint16(head[14:]))
	r := stray{at: at, kind: head[3], revision: binary.BigEndian.Uint32(head[4:])}
	if !isKind(r.kind) || keySize > maxKey || recordHead+keySize > len(head) {
		return stray{}, false
	}
	r.key = string(head[recordHead : recordHead+keySize])
	if r.rec = p.measured(at, recordHead+keySize+low); r.rec == nil && low == 0 {
		r.rec = p.guessed(at, recordHead+keySize)
	}
	return r, r.rec != nil
}

func isKind(b byte) bool { return b == bucketTally || bytes.IndexByte(kinds, b) >= 0 }

// measured returns the record whose length is known up to multiples of 64 KiB.
func (p pageFile) measured(at int64, n int) []byte {
	sum, done := uint32(0), 0
	var rec []byte
	for ; n <= maxRecord && at+int64(n) <= p.size; n += 1 << 16 {
		more := p.window(at+int64(done), n-done)
		if len(more) < n-done {
			return nil
		}
		rec = append(rec, more...)
		if done == 0 {
			sum = recordSum(rec)
		} else {
			sum = crc32.Update(sum, castagnoli, more)
		}
		if done = n; sum == binary.BigEndian.Uint32(rec[8:]) {
			return rec
		}
	}
	return nil
}

// guessed returns the record of which only the least length is known: every
// length is tried. The chance that one holds that is none is 2^-14 of one to
// whom it matters: a damaged record, of an age in which lengths were not written.
func (p pageFile) guessed(at int64, least int) []byte {
	rec := p.window(at, maxGuess)
	if len(rec) < least {
		return nil
	}
	want, sum := binary.BigEndian.Uint32(rec[8:]), recordSum(rec[:least])
	for n := least; ; n++ {
		if sum == want {
			return rec[:n:n]
		}
		if n == len(rec) {
			return nil
		}
		sum = crc32.Update(sum, castagnoli, rec[n:n+1])
	}
}

// tallies returns the tally of every page that holds one, and the newest id of an
// alarm or a job that any page holds.
func (p pageFile) tallies() (pages map[uint64]*tally, newest string, err error) {
	pages = make(map[uint64]*tally)
	err = p.strays(func(r stray) error {
		if r.kind == bucketAlarms || r.kind == bucketJobs {
			newest = max(newest, r.key)
		}
		if r.kind != bucketTally || r.key != keyTally {
			return nil
		}
		body, revision, err := decodeRecord(r.kind, r.key, r.rec)
		if err != nil {
			return nil //nolint:nilerr // not whole: no stray
		}
		if t, err := decodeTally(revision, body); err == nil {
			pages[p.pageAt(r.at)] = t
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("look for what was committed: %w", err)
	}
	return pages, newest, nil
}
