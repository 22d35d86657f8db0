package edgeagent

import "time"

// AlarmState is the state of one activation in ISA-18.2's terms.
type AlarmState string

// The states of an alarm. An activation that has reached normal never becomes
// active again: the next one is another alarm with another id.
const (
	AlarmUnacked        AlarmState = "unacked"
	AlarmAcked          AlarmState = "acked"
	AlarmClearedUnacked AlarmState = "cleared_unacked"
	AlarmNormal         AlarmState = "normal"
)

// Active reports whether the alarm's condition holds.
func (s AlarmState) Active() bool { return s == AlarmUnacked || s == AlarmAcked }

// Open reports whether the alarm still wants attention: active or not yet
// acknowledged.
func (s AlarmState) Open() bool { return s != AlarmNormal }

// Reserved alarm codes, raised by the agent itself.
const (
	CodeDeviceStopped  = "device_stopped"
	CodeDeviceFrozen   = "device_frozen"
	CodeConditionsFull = "conditions_full" // an OPC UA server tells of more open alarms than are kept
)

// ReservedCodes lists them: no alarm of a plant or from outside may have one.
var ReservedCodes = []string{CodeDeviceStopped, CodeDeviceFrozen, CodeConditionsFull}

// Observed says how the agent came to know of an activation.
type Observed string

// Live alarms were seen rising. Alarms at_start were active when the agent
// first looked; alarms after_gap cleared while it could not look.
const (
	ObservedLive     Observed = "live"
	ObservedAtStart  Observed = "at_start"
	ObservedAfterGap Observed = "after_gap"
)

// Origin says where an alarm comes from.
type Origin string

// The origins of alarms.
const (
	OriginTag     Origin = "tag"     // an expression over tags became true
	OriginAgent   Origin = "agent"   // the agent's own: always wants an acknowledgement
	OriginOutside Origin = "outside" // POST /api/v1/alarms
	OriginServer  Origin = "server"  // a condition of an OPC UA server, whose acknowledgement it follows
)

// Alarm is one activation of one alarm.
type Alarm struct {
	ID             ID               `json:"id"`
	Device         string           `json:"device"`
	Line           string           `json:"line"`
	Area           string           `json:"area"`
	Code           string           `json:"code"`
	Text           string           `json:"text"`
	SourceText     string           `json:"source_text"`         // as the plant wrote it; untrusted
	SourceID       string           `json:"source_id,omitempty"` // [Condition.Key] of a server's alarm
	SourceAt       *time.Time       `json:"source_at,omitempty"` // ActiveSince of a server's alarm
	Origin         Origin           `json:"origin"`
	Priority       int              `json:"priority"` // 1 highest to 4
	State          AlarmState       `json:"state"`
	ShelvedUntil   *time.Time       `json:"shelved_until"`
	ShelveReason   string           `json:"shelve_reason,omitempty"`
	SuppressedBy   string           `json:"suppressed_by"`
	RaisedAt       time.Time        `json:"raised_at"`
	ClearedAt      *time.Time       `json:"cleared_at"`
	AckedAt        *time.Time       `json:"acked_at"`
	AckedBy        string           `json:"acked_by"`
	Values         map[string]Value `json:"values"` // DEVICE.TAG at the raise
	ValueLostSince *time.Time       `json:"value_lost_since"`
	FirstOut       bool             `json:"first_out"`
	Observed       Observed         `json:"observed"`
	Removed        bool             `json:"removed,omitempty"` // closed because its definition is gone
	Diagnose       bool             `json:"diagnose"`          // wants a job
	Safety         bool             `json:"safety,omitempty"`  // concerns a safety function
	Hint           *Diagnosis       `json:"hint"`
	Job            ID               `json:"job"`
	LastTime       *Occurrence      `json:"last_time"`
	Revision       int              `json:"revision"` // rises with every stored change
}

// Name returns DEVICE/CODE, the name used in evidence; an outside alarm
// without a device uses its line.
func (a Alarm) Name() string {
	if a.Device == "" {
		return a.Line + "/" + a.Code
	}
	return a.Device + "/" + a.Code
}

// Occurrence is the same alarm before, and what came of it.
type Occurrence struct {
	ID      ID        `json:"id"`
	At      time.Time `json:"at"`
	Cause   string    `json:"cause"`
	FixedBy string    `json:"fixed_by"`
}

// TransitionKind says what changed in an alarm.
type TransitionKind string

// The kinds of transitions.
const (
	TransitionRaised    TransitionKind = "raised"
	TransitionCleared   TransitionKind = "cleared"
	TransitionAcked     TransitionKind = "acked"
	TransitionShelved   TransitionKind = "shelved"
	TransitionUnshelved TransitionKind = "unshelved"
	TransitionMarked    TransitionKind = "marked" // value lost or found, suppressed: stored, not sent
)

// Transition is one change of one alarm, with the whole alarm after it.
// A raise carries its evidence; the recorder adds the hint to the alarm.
type Transition struct {
	Kind     TransitionKind
	At       time.Time
	From     AlarmState
	Alarm    Alarm
	Evidence *Evidence // of a raise
	By       string    // who acknowledged or shelved
	Device   *DeviceEvent
	Key      string // idempotency key of an outside alarm: stored with it
	KeyHash  string // of the body that came with the key
}
