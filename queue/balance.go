package queue

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// A tree can be whole and hold less than was committed: where a pointer leads to
// what a leaf was before, or the card never wrote a page and gives back what lay
// there. So every file knows the balance of its records, the sum of their
// checksums: what is put is added, what is taken away subtracted. It lies in the
// sequence of bucketTally, which is written with every commit anyway, above 16
// bits of the tally's number: an older version of the agent counts that on and
// leaves the balance, which then is known to say nothing.
const numberBits = 16

// weight is what a record adds to the balance.
func weight(rec []byte) uint64 {
	if len(rec) < recordHead {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(rec[8:])) << numberBits
}

// balanced reports whether a balance is that of a tally; a new file has none yet.
func balanced(balance uint64, t uint32) bool {
	return balance != 0 && uint16(balance) == uint16(t)
}

// rebalance takes old from the balance and adds rec, each nil if there is none.
func rebalance(tx *bbolt.Tx, old, rec []byte) error {
	b := tx.Bucket([]byte{bucketTally})
	if b == nil {
		return nil // of an older version
	}
	balance := b.Sequence()
	if balance == 0 && numberIn(b) != 0 {
		return nil // likewise
	}
	return b.SetSequence(balance - weight(old) + weight(rec))
}

// numberIn returns the number of the tally in its bucket, 0 before the first.
func numberIn(b *bbolt.Bucket) uint32 {
	_, number, err := decodeRecord(bucketTally, keyTally, b.Get([]byte(keyTally)))
	if err != nil {
		return 0
	}
	return number
}

// putTally writes a tally, and binds a balance to it that was bound to the one before.
func putTally(b *bbolt.Bucket, number uint32, body []byte) error {
	if balance := b.Sequence(); balanced(balance, numberIn(b)) {
		if err := b.SetSequence(balance>>numberBits<<numberBits | uint64(uint16(number))); err != nil {
			return err
		}
	}
	return b.Put([]byte(keyTally), encodeRecord(bucketTally, keyTally, number, body))
}
