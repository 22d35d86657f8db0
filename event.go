package edgeagent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// EventType is the CloudEvents type of something that leaves the site.
type EventType string

// The types of events.
const (
	EventAlarmRaised         EventType = "edgeagent.alarm.raised.v1"
	EventAlarmCleared        EventType = "edgeagent.alarm.cleared.v1"
	EventAlarmAcked          EventType = "edgeagent.alarm.acked.v1"
	EventAlarmShelved        EventType = "edgeagent.alarm.shelved.v1"
	EventDiagnosisCompleted  EventType = "edgeagent.diagnosis.completed.v1"
	EventDiagnosisSuperseded EventType = "edgeagent.diagnosis.superseded.v1"
	EventJobFailed           EventType = "edgeagent.job.failed.v1"
	EventFeedbackGiven       EventType = "edgeagent.feedback.given.v1"
	EventDeviceStopped       EventType = "edgeagent.device.stopped.v1"
	EventDeviceResumed       EventType = "edgeagent.device.resumed.v1"
	EventAgentStarted        EventType = "edgeagent.agent.started.v1"
	EventGap                 EventType = "edgeagent.gap.v1"
	EventHeartbeat           EventType = "edgeagent.heartbeat.v1"
)

// Stream is a numbered sequence of events. Each counts on its own, so that
// sending alarms first never makes a gap.
type Stream string

// The streams.
const (
	StreamAlarm     Stream = "alarm"
	StreamDiagnosis Stream = "diagnosis"
	StreamEvent     Stream = "event"
)

// Streams lists the streams in the order in which they are sent.
var Streams = []Stream{StreamAlarm, StreamDiagnosis, StreamEvent}

// Stream returns the stream of a type.
func (t EventType) Stream() Stream {
	switch t {
	case EventAlarmRaised, EventAlarmCleared, EventAlarmAcked, EventAlarmShelved:
		return StreamAlarm
	case EventDiagnosisCompleted, EventDiagnosisSuperseded, EventJobFailed, EventFeedbackGiven:
		return StreamDiagnosis
	default:
		return StreamEvent
	}
}

// Event is a CloudEvent in structured JSON, version 1.0. It is marshalled once,
// when it is written, and resent byte for byte.
type Event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            EventType       `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Epoch           ID              `json:"eaepoch"`
	Stream          Stream          `json:"eastream,omitempty"`
	Sequence        string          `json:"sequence,omitempty"`
	Boot            string          `json:"eaboot,omitempty"`
	Mono            string          `json:"eamono,omitempty"` // nanoseconds since boot; a string, for it passes 2^53
	Data            json.RawMessage `json:"data"`
}

// EventID returns the id of an event: the same object, type and revision of a
// source have the same id for ever, whatever epoch writes them.
func EventID(source string, t EventType, object ID, revision int) string {
	text := append(make([]byte, 0, 256), "ea1|"...)
	for _, part := range []string{source, string(t), string(object)} {
		text = append(append(text, part...), '|')
	}
	sum := sha256.Sum256(strconv.AppendInt(text, int64(revision), 10))
	return hex.EncodeToString(sum[:16])
}

// Source returns the CloudEvents source of an agent.
func Source(site, agent string) string { return "/" + site + "/" + agent }

// FormatSequence writes a sequence number as 20 decimal digits.
func FormatSequence(n uint64) string {
	digits := []byte("00000000000000000000")
	for i := len(digits) - 1; n > 0; i-- {
		digits[i] += byte(n % 10)
		n /= 10
	}
	return string(digits)
}

// Outgoing is a frozen event as it waits in the outbox.
type Outgoing struct {
	Epoch    ID
	Stream   Stream
	Sequence uint64
	ID       string
	Type     EventType
	At       time.Time // when it was written
	Body     []byte    // the CloudEvent, byte for byte
}

// Range is a run of sequence numbers of one stream, both ends included.
type Range struct {
	Stream Stream `json:"stream"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
}

// Receipt is the proof that events were stored where they belong. The agent
// forgets an event on nothing less.
type Receipt struct {
	Epoch  ID                `json:"epoch"`
	Contig map[Stream]uint64 `json:"contig"` // up to here nothing is missing
	Resend []Range           `json:"resend,omitempty"`
}

// Backlog is what a destination has not confirmed yet.
type Backlog struct {
	Epoch     ID                // of what is written now
	Events    int               // not yet confirmed, parked ones left out
	Oldest    time.Time         // when the oldest of them was written; zero without any
	Confirmed uint64            // since the file was made, over all streams
	Parked    int               // refused by the destination, kept for a person
	Again     int               // of them, that a person wants sent again
	Next      map[Stream]uint64 // the number that the next event of each stream will have
}

// ParkedEvent is an event that a destination has refused for itself. It is kept
// as it was written, and sent again when a person says so.
type ParkedEvent struct {
	ID       string     `json:"id"`
	Type     EventType  `json:"type"` // empty, as the id, where the event is damaged
	Epoch    ID         `json:"epoch"`
	Stream   Stream     `json:"stream"`
	Sequence uint64     `json:"sequence"`
	At       *time.Time `json:"at"`        // when it was written
	ParkedAt time.Time  `json:"parked_at"` // when it was refused last
	Reason   *Note      `json:"reason"`
	AskedAt  *time.Time `json:"asked_at"` // when a person wanted it sent again; nil: nobody has
	AskedBy  string     `json:"asked_by"`
}

// Gap is the data of a gap event: numbers that will never come, and why.
type Gap struct {
	Epoch  ID     `json:"epoch"`
	Stream Stream `json:"stream"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Reason *Note  `json:"reason"`
}
