package queue

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"time"

	"edgeagent"
)

// A header is all of a job that a lease and its end rewrite. It has a fixed
// size, a version and spare bytes, so that fields can be added without
// rewriting files.
type header struct {
	State          edgeagent.JobState
	Priority       int
	Attempts       int  // that ended
	Interrupts     int  // found running at open
	BootInterrupts int  // of those, under the boot of the last lease
	MaxAttempts    int  //
	Entries        int  // of the timeline
	Asks           int  // bodies of calls and prompts
	Frozen         bool // was leased: its case stands, no alarm joins any more
	Created        time.Time
	NotBefore      time.Time
	Wait           time.Duration // what NotBefore was set to wait for: no clock may hide the job longer
	LeasedAt       time.Time
	Finished       time.Time
	Token          [16]byte // of the lease; zero without one
	Boot           uint64   // hash of the boot id of the last lease
	Group          group
}

const (
	headerVersion = 2
	headerApart   = 1   // of schema 1: the group lies beside it, as partOpening
	headerSize    = 128 // of the part that is fixed; the group follows
)

// stateCodes are written in files: never renumber.
var stateCodes = []edgeagent.JobState{
	1: edgeagent.JobPending, 2: edgeagent.JobRunning, 3: edgeagent.JobCompleted,
	4: edgeagent.JobFailed, 5: edgeagent.JobDiscarded,
}

// encode returns the body of the header's record. It is inlined, and what it
// returns lives with who asks.
func (h header) encode() []byte { return h.appendTo(make([]byte, 0, 2*headerSize)) }

func (h *header) appendTo(out []byte) []byte {
	out = append(out, headerVersion, stateCode(h.State), byte(h.Priority), boolByte(h.Frozen))
	for _, n := range []int{h.Attempts, h.Interrupts, h.BootInterrupts, h.MaxAttempts, h.Entries, h.Asks} {
		out = binary.BigEndian.AppendUint16(out, clampUint16(n))
	}
	for _, t := range []time.Time{h.Created, h.NotBefore, h.LeasedAt, h.Finished} {
		out = binary.BigEndian.AppendUint64(out, uint64(nanos(t)))
	}
	out = binary.BigEndian.AppendUint64(out, uint64(h.Wait))
	out = append(out, h.Token[:]...)
	out = binary.BigEndian.AppendUint64(out, h.Boot)
	return append(append(out[:headerSize], boolByte(h.Group.Agent)), h.Group.Line...)
}

// headerState reads the state alone.
func headerState(body []byte) (edgeagent.JobState, error) {
	if !isHeader(body) {
		return "", fmt.Errorf("job header of %d bytes: %w", len(body), errDamaged)
	}
	code := int(body[1])
	if code == 0 || code >= len(stateCodes) {
		return "", fmt.Errorf("job header with state %d: %w", code, errDamaged)
	}
	return stateCodes[code], nil
}

// decodeHeader reads what encode writes.
func decodeHeader(body []byte) (header, error) {
	state, err := headerState(body)
	if err != nil {
		return header{}, err
	}
	h := header{State: state, Priority: int(body[2]), Frozen: body[3] != 0}
	if body[0] == headerVersion {
		h.Group = group{Line: string(body[headerSize+1:]), Agent: body[headerSize] != 0}
	}
	r := bytes.NewBuffer(body[4:])
	for _, n := range []*int{&h.Attempts, &h.Interrupts, &h.BootInterrupts, &h.MaxAttempts, &h.Entries, &h.Asks} {
		*n = int(binary.BigEndian.Uint16(r.Next(2)))
	}
	for _, t := range []*time.Time{&h.Created, &h.NotBefore, &h.LeasedAt, &h.Finished} {
		*t = fromNanos(int64(binary.BigEndian.Uint64(r.Next(8))))
	}
	h.Wait = time.Duration(binary.BigEndian.Uint64(r.Next(8)))
	copy(h.Token[:], r.Next(16))
	h.Boot = binary.BigEndian.Uint64(r.Next(8))
	return h, nil
}

// isHeader tells both versions by their size: of the first nothing follows.
func isHeader(body []byte) bool {
	return len(body) == headerSize && body[0] == headerApart || len(body) > headerSize && body[0] == headerVersion
}

// wholeHeader reads a header with its group, wherever that lies.
func wholeHeader(get func(kind byte, key string, v any) error, id edgeagent.ID, body []byte) (header, error) {
	h, err := decodeHeader(body)
	if err != nil || body[0] != headerApart {
		return h, err
	}
	return h, get(bucketBodies, part(id, partOpening), &h.Group)
}

// holds reports whether token is the lease's.
func (h header) holds(token string) bool {
	raw, err := hex.DecodeString(token)
	return err == nil && h.State == edgeagent.JobRunning && bytes.Equal(raw, h.Token[:])
}

// remaining returns how long the job has still to wait at now. A clock that
// jumped never makes it longer than what was to be waited.
func (h header) remaining(now time.Time) time.Duration {
	return max(0, min(h.NotBefore.Sub(now), h.Wait))
}

// waitsLike reports whether two headers of a job that waits give it the same turn.
func (h header) waitsLike(o header) bool {
	return h.State == edgeagent.JobPending && o.State == edgeagent.JobPending &&
		h.Priority == o.Priority && h.NotBefore.Equal(o.NotBefore) && h.Wait == o.Wait
}

func stateCode(s edgeagent.JobState) byte {
	for code, known := range stateCodes {
		if known == s {
			return byte(code)
		}
	}
	return 0
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// nanos keeps the zero time zero: its UnixNano is undefined.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func bootHash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash's Write never fails
	return h.Sum64()
}
