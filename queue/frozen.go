package queue

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgeagent"
)

// A frozenAlarm is an alarm as JSON, made by whoever records it, so that the
// committer need not: all but its job and its last time, which the committer
// alone knows. The same bytes go into the alarm's record and into its event.
type frozenAlarm struct {
	cut  int    // where in the text what is missing belongs
	text []byte // packed
}

// missing is how JSON writes what freezeAlarm leaves out. Nothing else in an
// alarm ends like it: within a text its quotes would be escaped, and the values
// come earlier.
const missing = `"job":"","last_time":null`

func freezeAlarm(a edgeagent.Alarm) (frozenAlarm, error) {
	a.Job, a.LastTime = "", nil
	var cut int
	if text, ok := packWritten(func(s *scribe) { cut = s.alarm(&a) - len(packDictionary) }); ok {
		return frozenAlarm{cut, text}, nil
	}
	text, err := json.Marshal(a) // which says what is wrong
	if err != nil {
		return frozenAlarm{}, fmt.Errorf("write it as JSON: %w", err)
	}
	if cut = bytes.LastIndex(text, []byte(missing)); cut < 0 {
		return frozenAlarm{}, errors.New("its JSON has no place for a job")
	}
	return frozenAlarm{cut, pack(slices.Delete(text, cut, cut+len(missing)))}, nil
}

// with returns the alarm as it is stored, with what was missing, in two parts.
//
//	uvarint where the missing belongs   uvarint its length   the missing   the text, packed
func (f frozenAlarm) with(job edgeagent.ID, last *edgeagent.Occurrence) (stored [2][]byte, err error) {
	found := scribe{out: make([]byte, 0, 256)}
	found.text(`"job":`, string(job))
	found.occurrence(`,"last_time":`, last)
	if found.odd {
		return stored, fmt.Errorf("write its last time: %v is no time that JSON knows", last.At)
	}
	out := binary.AppendUvarint(make([]byte, 0, 8+len(found.out)), uint64(f.cut))
	out = append(binary.AppendUvarint(out, uint64(len(found.out))), found.out...)
	return [2][]byte{out, f.text}, nil
}

func (s *scribe) occurrence(lead string, o *edgeagent.Occurrence) {
	s.put(lead)
	if o == nil {
		s.put("null")
		return
	}
	s.text(`{"id":`, string(o.ID))
	s.time(`,"at":`, o.At)
	s.text(`,"cause":`, o.Cause)
	s.text(`,"fixed_by":`, o.FixedBy)
	s.put("}")
}

// thaw returns the JSON of what [frozenAlarm.with] has made.
func thaw(stored []byte) ([]byte, error) {
	cut, n := binary.Uvarint(stored)
	length, m := binary.Uvarint(stored[max(n, 0):])
	if n <= 0 || m <= 0 || length > uint64(len(stored)-n-m) {
		return nil, fmt.Errorf("frozen alarm of %d bytes: %w", len(stored), errDamaged)
	}
	found, rest := stored[n+m:][:length], stored[n+m:][length:]
	text, err := unpack(rest)
	if err != nil {
		return nil, err
	}
	if cut > uint64(len(text)) {
		return nil, fmt.Errorf("frozen alarm of %d bytes is cut at %d: %w", len(text), cut, errDamaged)
	}
	return slices.Concat(text[:cut], found, text[cut:]), nil
}

// An alarmHead stands before an alarm in its record: what a start has to know of
// every alarm that was ever kept, without reading all of it.
//
//	0 is frozen   1 state   2 raised   10 shelved until   18 name   34 the alarm, frozen
type alarmHead struct {
	state   edgeagent.AlarmState
	raised  time.Time
	shelved time.Time // until; zero when it is not
	name    occasion
}

const (
	frozen        = 2 // first byte of a frozen body; JSON, packed JSON and evidence begin otherwise
	alarmHeadSize = 34
)

// alarmCodes are written in files: never renumber.
var alarmCodes = []edgeagent.AlarmState{
	1: edgeagent.AlarmUnacked, 2: edgeagent.AlarmAcked, 3: edgeagent.AlarmClearedUnacked, 4: edgeagent.AlarmNormal,
}

func headOf(a *edgeagent.Alarm, name occasion) alarmHead {
	h := alarmHead{state: a.State, raised: a.RaisedAt, name: name}
	if a.ShelvedUntil != nil {
		h.shelved = *a.ShelvedUntil
	}
	return h
}

// encode is inlined, and what it returns lives with who asks.
func (h alarmHead) encode() []byte { return h.appendTo(make([]byte, 0, alarmHeadSize)) }

func (h alarmHead) appendTo(out []byte) []byte {
	out = append(out, frozen, byte(slices.Index(alarmCodes, h.state)))
	out = binary.BigEndian.AppendUint64(out, uint64(nanos(h.raised)))
	out = binary.BigEndian.AppendUint64(out, uint64(nanos(h.shelved)))
	return append(out, h.name[:]...)
}

// readHead returns what an alarm's record begins with; one of schema 1 has to be
// read whole for it.
func readHead(key, body []byte) (h alarmHead, err error) {
	if len(body) == 0 || body[0] != frozen {
		var a edgeagent.Alarm
		err := unmarshal(bucketAlarms, string(key), body, &a)
		return headOf(&a, occasionOf(a)), err
	}
	if len(body) < alarmHeadSize || int(body[1]) >= len(alarmCodes) {
		return h, fmt.Errorf("alarm %s: head of %d bytes: %w", key, len(body), errDamaged)
	}
	h.state = alarmCodes[body[1]]
	h.raised = fromNanos(int64(binary.BigEndian.Uint64(body[2:])))
	h.shelved = fromNanos(int64(binary.BigEndian.Uint64(body[10:])))
	copy(h.name[:], body[18:])
	return h, nil
}

// plain returns the JSON of a body, whatever it was put as.
func plain(kind byte, body []byte) ([]byte, error) {
	switch {
	case len(body) > 0 && body[0] == tabled:
		return readEvidence(body)
	case len(body) > 0 && body[0] == noted:
		return readNoted(body)
	case kind != bucketAlarms || len(body) == 0 || body[0] != frozen:
		return unpack(body)
	}
	if len(body) < alarmHeadSize {
		return nil, fmt.Errorf("alarm of %d bytes: %w", len(body), errDamaged)
	}
	return thaw(body[alarmHeadSize:])
}

// An occasion names an alarm definition over all its activations: a hash, for
// alarms from outside may have any names, and all are kept in memory.
type occasion [16]byte

func occasionOf(a edgeagent.Alarm) occasion { return occasionNamed(a.Device, a.Line, a.Code) }

func occasionNamed(device, line, code string) (o occasion) {
	text := make([]byte, 0, 128)
	for _, part := range []string{device, line, code} {
		text = append(binary.AppendUvarint(text, uint64(len(part))), part...)
	}
	sum := sha256.Sum256(text)
	copy(o[:], sum[:])
	return o
}
