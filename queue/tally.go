package queue

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// bucketTally holds one record, written with every checkpoint: up to where each
// stream is numbered. It is so small that bbolt keeps it within the root page,
// which every commit writes anyway. A tree that was put together from damaged
// pages is measured by it, and so is what was lost: an event that is gone with
// everything around it leaves no other trace.
const (
	bucketTally = 's'
	keyTally    = "tally"
)

// A tally is of one checkpoint. Its number goes on where bbolt's own begins anew,
// in a file that was compacted.
type tally struct {
	number uint32
	spans  map[streamKey]span
}

// A span is what was written of a stream: up to floor it was deleted, up to last
// it was numbered.
type span struct{ floor, last uint64 }

const spanSize = 26 + 1 + 8 + 8

// count writes the tally of a checkpoint.
func (w *working) count(tx *bbolt.Tx) error {
	bucket, err := tx.CreateBucketIfNotExists([]byte{bucketTally})
	if err != nil {
		return fmt.Errorf("write the tally: %w", err)
	}
	return putTally(bucket, numberIn(bucket)+1, w.encodeTally())
}

func (w *working) encodeTally() []byte {
	spans := make(map[string]span, len(w.last))
	for s, last := range w.last {
		spans[s.key(last)] = span{w.floor[s], last}
	}
	var out []byte
	for _, key := range sortedKeys(spans) {
		out = binary.BigEndian.AppendUint64(append(out, key...), spans[key].floor)
	}
	return out
}

func decodeTally(number uint32, body []byte) (*tally, error) {
	t := &tally{number: number, spans: make(map[streamKey]span)}
	for ; len(body) >= spanSize; body = body[spanSize:] {
		s, last, err := parseOutboxKey(string(body[:spanSize-8]))
		if err != nil {
			return nil, fmt.Errorf("tally: %w: %w", err, errDamaged)
		}
		t.spans[s] = span{binary.BigEndian.Uint64(body[spanSize-8:]), last}
	}
	if len(body) != 0 {
		return nil, fmt.Errorf("tally ends within a stream: %w", errDamaged)
	}
	return t, nil
}
