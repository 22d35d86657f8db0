package edgeagent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ID is a ULID: 48 bits of milliseconds and 80 random bits, as 26 characters of
// Crockford's base 32. Ids of one process rise within a millisecond, so that
// alarms of one scan keep their order in every list.
type ID string

// ErrBadID is returned by [ParseID] for anything but a ULID.
var ErrBadID = errors.New("not an id: want 26 characters of Crockford base 32")

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var lastID struct {
	sync.Mutex
	ms   uint64
	rand [10]byte
}

// NewID returns a fresh id that sorts by t.
func NewID(t time.Time) ID {
	lastID.Lock()
	defer lastID.Unlock()
	ms := uint64(max(t.UnixMilli(), 0))
	if ms != lastID.ms || !increment(&lastID.rand) {
		// crypto/rand.Read never returns an error: it ends the process instead.
		_, _ = rand.Read(lastID.rand[:])
		lastID.rand[0] &= 0x7f // headroom for increments
		lastID.ms = ms
	}
	return idOf(ms, lastID.rand)
}

// FirstID returns the least id of t's millisecond: what was made then or later sorts
// behind it, what was made before sorts before. It is nobody's, and ids that are made
// go on rising, as they would not behind a [NewID] of another time.
func FirstID(t time.Time) ID { return idOf(uint64(max(t.UnixMilli(), 0)), [10]byte{}) }

func idOf(ms uint64, random [10]byte) ID {
	var raw [16]byte
	for i := range 6 {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	copy(raw[6:], random[:])
	return encodeULID(raw)
}

// increment adds one to b, big endian, and reports whether it did not overflow.
func increment(b *[10]byte) bool {
	for i := len(b) - 1; i >= 0; i-- {
		b[i]++
		if b[i] != 0 {
			return true
		}
	}
	return false
}

// encodeULID writes 128 bits as 26 characters; the first holds only three bits.
func encodeULID(raw [16]byte) ID {
	out := make([]byte, 26)
	var acc uint32
	bits, next := 0, 25
	for i := 15; i >= 0; i-- {
		acc |= uint32(raw[i]) << bits
		for bits += 8; bits >= 5; bits -= 5 {
			out[next] = crockford[acc&31]
			acc >>= 5
			next--
		}
	}
	out[0] = crockford[acc&31]
	return ID(out)
}

// ParseID checks that s is a ULID in upper case.
func ParseID(s string) (ID, error) {
	if len(s) != 26 || s[0] > '7' {
		return "", fmt.Errorf("%q: %w", s, ErrBadID)
	}
	for i := range len(s) {
		if crockfordValue(s[i]) < 0 {
			return "", fmt.Errorf("%q: %w", s, ErrBadID)
		}
	}
	return ID(s), nil
}

// Time returns the millisecond in which the id was made, by the clock of then.
func (id ID) Time() time.Time {
	if len(id) != 26 {
		return time.Time{}
	}
	var ms int64
	for i := range 10 {
		ms = ms<<5 | int64(max(crockfordValue(id[i]), 0))
	}
	return time.UnixMilli(ms)
}

func crockfordValue(c byte) int {
	for i := range len(crockford) {
		if crockford[i] == c {
			return i
		}
	}
	return -1
}
