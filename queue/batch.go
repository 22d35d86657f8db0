package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"edgeagent"
)

// A batch is what one commit will write. Operations read through it, so that
// each sees those before it in the same batch, and change memory through it, so
// that all of it can be taken back.
type batch struct {
	db   *DB
	o    Options
	w    *working
	now  time.Time
	puts map[string][]byte // bucket and key → record; nil deletes
	undo []undoable
	histories

	names []string // of puts, in the order of the last frame

	scribe scribe // used again and again
	head   []byte // likewise
	told   []byte // likewise

	jobsWoken, outboxChanged, devicesChanged bool

	alarms map[edgeagent.ID]struct{} // those at hand that changed

	owed      bool // it is in the journal, and not yet in the transaction, whose turn is taken
	raised    bool // an alarm was: somebody waits for more of them
	wantsRoom bool // something was refused for want of space
}

// put writes a record with the parts of its body.
func (b *batch) put(bucket byte, key string, revision uint32, body ...[]byte) error {
	if len(key) > maxKey {
		return fmt.Errorf("key of %d bytes: want at most %d", len(key), maxKey)
	}
	rec := encodeInto(b.w.slab.cut(recordSize(key, body)), bucket, key, revision, body)
	b.putRecord(bucket, key, rec)
	return nil
}

// putRecord writes a record that is encoded.
func (b *batch) putRecord(bucket byte, key string, rec []byte) {
	set(b, b.puts, string(rune(bucket))+key, rec)
}

// size returns how many bytes the records are.
func (b *batch) size() (n int) {
	for _, rec := range b.puts {
		n += len(rec)
	}
	return n
}

// putJSON writes v as JSON.
func (b *batch) putJSON(bucket byte, key string, revision uint32, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %c/%q as JSON: %w", bucket, key, err)
	}
	return b.put(bucket, key, revision, pack(body))
}

// drop deletes a record.
func (b *batch) drop(bucket byte, key string) { set(b, b.puts, string(rune(bucket))+key, nil) }

// get returns a record as the batch leaves it; ErrNotFound without one.
func (b *batch) get(bucket byte, key string) ([]byte, uint32, error) {
	if rec, mine := b.puts[string(rune(bucket))+key]; mine {
		return decodeFound(bucket, key, rec)
	}
	tx, err := b.reader()
	if err != nil {
		return nil, 0, err
	}
	return readRecord(tx, bucket, key)
}

func (b *batch) getJSON(bucket byte, key string, v any) error {
	body, _, err := b.get(bucket, key)
	if err != nil {
		return err
	}
	return unmarshal(bucket, key, body, v)
}

// scan calls visit for every body with the prefix, in key order, as the batch
// leaves them.
func (b *batch) scan(prefix string, visit func(key string, body []byte) error) error {
	tx, err := b.reader()
	if err != nil {
		return err
	}
	found := make(map[string][]byte)
	if err := scanRecords(tx, bucketBodies, prefix, func(key string, body []byte, _ uint32) error {
		found[key] = body
		return nil
	}); err != nil {
		return err
	}
	if err := b.overlay(bucketBodies, prefix, found); err != nil {
		return err
	}
	for _, key := range sortedKeys(found) {
		if err := visit(key, found[key]); err != nil {
			return err
		}
	}
	return nil
}

// overlay lays the batch's own records over those found in the file.
func (b *batch) overlay(bucket byte, prefix string, found map[string][]byte) error {
	full := string(rune(bucket)) + prefix
	for name, rec := range b.puts {
		if len(name) < len(full) || name[:len(full)] != full {
			continue
		}
		body, _, err := decodeFound(bucket, name[1:], rec)
		switch {
		case errors.Is(err, edgeagent.ErrNotFound):
			delete(found, name[1:])
		case err != nil:
			return err
		default:
			found[name[1:]] = body
		}
	}
	return nil
}

// reader returns the file as it was before the batch. What it reads lives until
// the next commit. It waits for the keeper: an operation that many wait behind
// should know what it needs.
func (b *batch) reader() (*bbolt.Tx, error) {
	b.db.keeper.join()
	if b.db.tx == nil {
		return nil, errors.New("read the data file: it has failed")
	}
	return b.db.tx, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// decodeFound decodes a record that may be absent.
func decodeFound(bucket byte, key string, rec []byte) ([]byte, uint32, error) {
	if rec == nil {
		return nil, 0, &absent{bucket, key}
	}
	return decodeRecord(bucket, key, rec)
}

// absent is ErrNotFound with the place that was asked for. Most who ask only want
// to know that it is not there: nothing is written out for them.
type absent struct {
	bucket byte
	key    string
}

func (a *absent) Error() string {
	return fmt.Sprintf("%c/%q: %v", a.bucket, a.key, edgeagent.ErrNotFound)
}
func (a *absent) Unwrap() error { return edgeagent.ErrNotFound }

func unmarshal(bucket byte, key string, body []byte, v any) error {
	text, err := plain(bucket, body)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("read %c/%q: %w: %w", bucket, key, errDamaged, err)
	}
	return nil
}
