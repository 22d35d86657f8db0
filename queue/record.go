package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A record as it lies in the file. The checksum covers everything but itself,
// the key and the bucket included, so that a page that was replaced by another
// is noticed, and so that a record can be told from its bytes alone when no
// tree leads to it any more.
//
//	0  magic "EA"   2  format   3  bucket   4  revision   8  CRC-32C
//	12 length of the key   14 length of the body, its lower 16 bits   16 key   … body
//
// The length of the body is for who finds a record without its place; records
// of before it was written have 0 there.
const (
	recordFormat = 1
	recordHead   = 16
	maxKey       = 1 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is wrapped by the error of every record that is not what was written.
var errDamaged = errors.New("record is damaged")

// encodeRecord returns the bytes of a record, with the parts of its body in their
// order: they are copied once.
func encodeRecord(bucket byte, key string, revision uint32, body ...[]byte) []byte {
	return encodeInto(make([]byte, 0, recordSize(key, body)), bucket, key, revision, body)
}

func recordSize(key string, body [][]byte) int {
	size := recordHead + len(key)
	for _, part := range body {
		size += len(part)
	}
	return size
}

// encodeInto does so into memory of that size.
func encodeInto(rec []byte, bucket byte, key string, revision uint32, body [][]byte) []byte {
	rec = append(rec[:recordHead], key...)
	for _, part := range body {
		rec = append(rec, part...)
	}
	rec[0], rec[1], rec[2], rec[3] = 'E', 'A', recordFormat, bucket
	binary.BigEndian.PutUint32(rec[4:], revision)
	binary.BigEndian.PutUint16(rec[12:], uint16(len(key)))
	binary.BigEndian.PutUint16(rec[14:], uint16((len(rec)-recordHead-len(key))&0xffff))
	binary.BigEndian.PutUint32(rec[8:], recordSum(rec))
	return rec
}

// A slab is memory that small records share: they come together, and go together
// with the next checkpoint.
type slab struct{ rest []byte }

const slabSize = 16 << 10 // for the records of a handful of raises

// cut returns memory for n bytes.
func (s *slab) cut(n int) []byte {
	if n > slabSize/4 {
		return make([]byte, 0, n)
	}
	if len(s.rest) < n {
		s.rest = make([]byte, slabSize)
	}
	piece := s.rest[:0:n]
	s.rest = s.rest[n:]
	return piece
}

func recordSum(rec []byte) uint32 {
	sum := crc32.Update(0, castagnoli, rec[:8])
	return crc32.Update(sum, castagnoli, rec[12:])
}

// decodeRecord returns the body of a record and its revision. The body is a
// slice of rec, not a copy.
func decodeRecord[K string | []byte](bucket byte, key K, rec []byte) (body []byte, revision uint32, err error) {
	damaged := func(what string) ([]byte, uint32, error) {
		return nil, 0, fmt.Errorf("bucket %c, key %q: %s: %w", bucket, key, what, errDamaged)
	}
	if len(rec) < recordHead || rec[0] != 'E' || rec[1] != 'A' {
		return damaged("no record")
	}
	if recordSum(rec) != binary.BigEndian.Uint32(rec[8:]) {
		return damaged("checksum differs")
	}
	if rec[2] != recordFormat {
		return damaged(fmt.Sprintf("format %d is not known", rec[2]))
	}
	n := int(binary.BigEndian.Uint16(rec[12:]))
	if rec[3] != bucket || len(rec) < recordHead+n || string(rec[recordHead:recordHead+n]) != string(key) {
		return damaged("belongs to another key")
	}
	return rec[recordHead+n:], binary.BigEndian.Uint32(rec[4:]), nil
}

// clampUint16 keeps a counter from wrapping round to zero.
func clampUint16(n int) uint16 { return uint16(max(0, min(n, math.MaxUint16))) }
