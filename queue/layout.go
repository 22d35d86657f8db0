package queue

import (
	"bytes"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// A commit writes every page on the way from the root to what it changes: the
// fewer trees, the fewer pages. So all records but the few of bucketMeta lie in
// one bucket, and what belongs to an object lies together, for it is written
// together: an alarm that comes alone changes one leaf for itself and its job,
// and one for its event.
const bucketData = 'd'

var buckets = []byte{bucketMeta, bucketData}

// fill is how full a page is left behind when it is split: keys rise with time,
// so that pages are split at their end and hardly ever added to afterwards.
const fill90 = 0.9

// idLength is that of an object's id, see [edgeagent.ID].
const idLength = 26

// place returns where a record lies. Ids begin with a digit, so that what has
// none comes behind all objects.
//
//	m                   key
//	d  objects          id + part, id + "a" the alarm itself, id + "j" the job's header
//	   idempotency      "k" + hash
//	   outbox           "o" + epoch + stream + sequence
func place(kind byte, key string) (bucket byte, at []byte) {
	switch kind {
	case bucketMeta:
		return bucketMeta, []byte(key)
	case bucketAlarms, bucketJobs:
		return bucketData, append([]byte(key), kind)
	case bucketBodies:
		return bucketData, []byte(key)
	default:
		return bucketData, append([]byte{kind}, key...)
	}
}

// placed reads what place returns for bucketData.
func placed(at []byte) (kind byte, key string) {
	kind, found := placedAt(at)
	return kind, string(found)
}

// placedAt does so without copying the key.
func placedAt(at []byte) (kind byte, key []byte) {
	switch kind = placedKind(at); kind {
	case bucketKeys, bucketOutbox:
		return kind, at[1:]
	case bucketAlarms, bucketJobs:
		return kind, at[:idLength]
	default:
		return kind, at
	}
}

func placedKind(at []byte) byte {
	switch {
	case len(at) > 0 && (at[0] == bucketKeys || at[0] == bucketOutbox):
		return at[0]
	case len(at) == idLength+1 && (at[idLength] == bucketAlarms || at[idLength] == bucketJobs):
		return at[idLength]
	default:
		return bucketBodies
	}
}

// region tells the parts of bucketData from each other: within one the kinds
// are mixed, from one to the next nothing of a kind goes on.
func region(kind byte) byte {
	if kind == bucketKeys || kind == bucketOutbox || kind == bucketMeta {
		return kind
	}
	return bucketBodies
}

func bucketOf(tx *bbolt.Tx, name byte) (*bbolt.Bucket, error) {
	if b := tx.Bucket([]byte{name}); b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("bucket %c is missing: %w", name, errDamaged)
}

// readRecord returns one record of the file; its body lives as long as tx.
func readRecord(tx *bbolt.Tx, kind byte, key string) ([]byte, uint32, error) {
	bucket, at := place(kind, key)
	b, err := bucketOf(tx, bucket)
	if err != nil {
		return nil, 0, err
	}
	return decodeFound(kind, key, b.Get(at))
}

// writeRecord puts a record where it belongs, or deletes it when rec is nil.
func writeRecord(tx *bbolt.Tx, kind byte, key string, rec []byte) error {
	bucket, at := place(kind, key)
	b, err := bucketOf(tx, bucket)
	if err != nil {
		return err
	}
	if err := rebalance(tx, b.Get(at), rec); err != nil {
		return err
	}
	if rec == nil {
		return b.Delete(at)
	}
	b.FillPercent = fill90
	return b.Put(at, rec)
}

// scanRecords visits the records of a kind with the prefix, in key order.
func scanRecords(tx *bbolt.Tx, kind byte, prefix string, visit func(key string, body []byte, revision uint32) error) error {
	r, err := rowsOf(tx, kind)
	if err != nil {
		return err
	}
	for ok := r.seek(prefix); ok && strings.HasPrefix(r.key, prefix); ok = r.next() {
		body, revision, err := decodeRecord(kind, r.key, r.rec)
		if err != nil {
			return err
		}
		if err := visit(r.key, body, revision); err != nil {
			return err
		}
	}
	return nil
}

// rows walks the records of one kind.
type rows struct {
	kind byte
	b    *bbolt.Bucket
	c    *bbolt.Cursor
	at   []byte // where the cursor stands; nil behind the last
	key  string // and what it is of
	rec  []byte // as it lies in the file; lives as long as the transaction
}

func rowsOf(tx *bbolt.Tx, kind byte) (*rows, error) {
	bucket, _ := place(kind, "")
	b, err := bucketOf(tx, bucket)
	if err != nil {
		return nil, err
	}
	return &rows{kind: kind, b: b, c: b.Cursor()}, nil
}

// seek goes to the first record whose key is not before key.
func (r *rows) seek(key string) bool {
	_, at := place(r.kind, key)
	if region(r.kind) == bucketBodies {
		at = []byte(key) // of an object's records any may be the first
	}
	return r.settle(r.c.Next, rowOf(r.c.Seek(at)))
}

func (r *rows) next() bool { return r.settle(r.c.Next, rowOf(r.c.Next())) }
func (r *rows) prev() bool { return r.settle(r.back, rowOf(r.back())) }

// back steps backwards. Until a checkpoint, pages from which all was deleted stay
// in the tree, and at one of them bbolt's own Prev says that it is at the
// beginning.
func (r *rows) back() (key, rec []byte) {
	if key, rec = r.c.Prev(); key != nil {
		return key, rec
	}
	if first, _ := r.b.Cursor().First(); first == nil || bytes.Equal(first, r.at) {
		return nil, nil
	}
	for key == nil {
		key, rec = r.c.Prev()
	}
	return key, rec
}

// last goes to the last record of the kind.
func (r *rows) last() bool {
	behind := map[byte]byte{bucketBodies: bucketKeys, bucketKeys: bucketKeys + 1, bucketOutbox: bucketOutbox + 1}
	at, bounded := behind[region(r.kind)]
	if !bounded {
		at = 0xff
	}
	r.at, _ = r.c.Seek([]byte{at}) // not Last, which never ends where all pages are empty
	return r.prev()
}

// settle goes on from a row of the cursor to the next of the kind, if there is one.
func (r *rows) settle(step func() ([]byte, []byte), at row) bool {
	for ; at.key != nil; at = rowOf(step()) {
		r.at = at.key
		kind := r.kindOf(at.key) // most are another kind's: no key is made of them
		if kind == r.kind {
			r.key, r.rec = r.keyOf(at.key), at.rec
			return true
		}
		if region(kind) != region(r.kind) {
			break
		}
	}
	r.key, r.rec = "", nil
	return false
}

func (r *rows) kindOf(at []byte) byte {
	if r.kind == bucketMeta {
		return bucketMeta
	}
	return placedKind(at)
}

func (r *rows) keyOf(at []byte) string {
	if r.kind == bucketMeta {
		return string(at)
	}
	_, key := placed(at)
	return key
}

// A row is one pair of a cursor.
type row struct{ key, rec []byte }

func rowOf(key, rec []byte) row { return row{key, rec} }

// objectKeys returns the keys of all bodies of an object.
func objectKeys(tx *bbolt.Tx, id edgeagent.ID) ([]string, error) {
	r, err := rowsOf(tx, bucketBodies)
	if err != nil {
		return nil, err
	}
	var keys []string
	for ok := r.seek(string(id)); ok && strings.HasPrefix(r.key, string(id)); ok = r.next() {
		keys = append(keys, r.key)
	}
	return keys, nil
}
