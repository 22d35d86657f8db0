package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"edgeagent"
)

// The kinds of records. Those of bucketMeta have a bucket of their own, so small
// that it lies within the root page; all others share a tree, see [place].
const (
	bucketMeta   = 'm' // schema, epoch, spend, devices, cursors, parked
	bucketJobs   = 'j' // job id → header: all that a lease rewrites
	bucketBodies = 'b' // object id + part → immutable body
	bucketAlarms = 'a' // alarm id → alarm
	bucketKeys   = 'k' // hash of an idempotency key → alarm
	bucketOutbox = 'o' // epoch + stream + sequence → frozen event
)

var kinds = []byte{bucketMeta, bucketJobs, bucketBodies, bucketAlarms, bucketKeys, bucketOutbox}

// The keys of bucket m.
const (
	keySchema  = "schema"
	keyEpoch   = "epoch"
	keySource  = "source"
	keySpend   = "spend"
	keyLearned = "learned" // what people said before it was remembered was taken up
	keyReview  = "review"  // the review under way, and what reviews cost today
	prefixDev  = "d/"
	prefixSent = "c/" // cursor: destination, epoch, stream
	prefixPark = "p/" // parked: destination, epoch, stream, sequence
)

// The parts of an object in bucket b. None may be called like a kind of record
// that lies under an id too: see [place].
const (
	partEvidence  = 'e' // of an alarm
	partHint      = 'h' // of an alarm, in files of schema 1; now within the alarm
	partKey       = 'i' // of an alarm from outside: its key in bucket k, to go with it
	partOpening   = 'o' // of a job, in files of schema 1: its group, now in the header
	partTimeline  = 't' // of a job, numbered
	partCase      = 'c'
	partDiagnosis = 'd'
	partCalls     = 'k' // numbered by the time they were written
	partPrompt    = 'p' // numbered likewise
	partFeedback  = 'f'
	partReview    = 'r' // of a job: the answer that superseded its diagnosis
	partSeen      = 'u' // of a job or an alarm that a wrong clock has dated: since when it counts as old, see ageOf
	partMemory    = 'm' // of an alarm over all its activations, see memoryKey
)

// part returns the key of the only body of its kind.
func part(id edgeagent.ID, kind byte) string { return string(id) + string(rune(kind)) }

// numbered returns the key of the n-th body of its kind, from 0.
func numbered(id edgeagent.ID, kind byte, n uint16) string {
	return string(id) + string([]byte{kind, byte(n >> 8), byte(n)})
}

// The letters of the streams in keys, in the order in which they are sent.
var streamLetters = map[edgeagent.Stream]byte{
	edgeagent.StreamAlarm:     'a',
	edgeagent.StreamDiagnosis: 'd',
	edgeagent.StreamEvent:     'e',
}

// A streamKey names a run of sequence numbers.
type streamKey struct {
	epoch  edgeagent.ID
	stream edgeagent.Stream
}

func (s streamKey) prefix() string { return string(s.epoch) + string(rune(streamLetters[s.stream])) }

func (s streamKey) key(seq uint64) string {
	tail := [9]byte{streamLetters[s.stream]}
	binary.BigEndian.PutUint64(tail[1:], seq)
	return string(s.epoch) + string(tail[:])
}

// parseOutboxKey reads what streamKey.key writes.
func parseOutboxKey(key string) (streamKey, uint64, error) {
	if len(key) != 26+1+8 {
		return streamKey{}, 0, fmt.Errorf("outbox key %q: want 35 bytes", key)
	}
	for stream, letter := range streamLetters {
		if letter == key[26] {
			return streamKey{edgeagent.ID(key[:26]), stream}, binary.BigEndian.Uint64([]byte(key[27:])), nil
		}
	}
	return streamKey{}, 0, fmt.Errorf("outbox key %q: unknown stream", key)
}

// A streamRun reads keys that come in order: those of one stream after another.
type streamRun struct {
	prefix string
	stream streamKey
}

// sequence returns the number of a key; its stream is then the run's.
func (r *streamRun) sequence(key []byte) (uint64, error) {
	if n := len(r.prefix); n > 0 && len(key) == n+8 && string(key[:n]) == r.prefix {
		return binary.BigEndian.Uint64(key[n:]), nil
	}
	stream, seq, err := parseOutboxKey(string(key))
	if err != nil {
		return 0, err
	}
	*r = streamRun{stream.prefix(), stream}
	return seq, nil
}

// A cursorKey names how far a destination has confirmed a stream.
type cursorKey struct {
	dest string
	streamKey
}

func (c cursorKey) key() string { return prefixSent + c.dest + "/" + c.prefix() }

// A parkedKey names an event that a destination refused for good.
type parkedKey struct {
	cursorKey
	seq uint64
}

func (p parkedKey) key() string { return prefixPark + p.dest + "/" + p.streamKey.key(p.seq) }

// parseParkedKey reads what parkedKey.key writes.
func parseParkedKey(key string) (parkedKey, error) {
	dest, rest := cutLast(strings.TrimPrefix(key, prefixPark), 35)
	s, seq, err := parseOutboxKey(rest)
	return parkedKey{cursorKey{dest, s}, seq}, err
}

// idempotencyKey returns the key of bucket k: the plant's own may be long and hostile.
func idempotencyKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return string(sum[:16])
}
