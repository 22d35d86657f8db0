package edgeagent

import (
	"fmt"
	"time"
)

// Quality says how far a value can be trusted, in OPC UA's three grades. The
// zero value is bad, so that a forgotten quality never looks right.
type Quality uint8

// The grades of quality.
const (
	QualityBad Quality = iota
	QualityUncertain
	QualityGood
)

var qualityNames = [...]string{"bad", "uncertain", "good"}

// String returns good, uncertain or bad.
func (q Quality) String() string {
	if int(q) < len(qualityNames) {
		return qualityNames[q]
	}
	return "bad"
}

// MarshalText writes the name.
func (q Quality) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads the name.
func (q *Quality) UnmarshalText(text []byte) error {
	for i, name := range qualityNames {
		if name == string(text) {
			*q = Quality(i)
			return nil
		}
	}
	return fmt.Errorf("quality %q: want good, uncertain or bad", text)
}

// Codes of the reasons why a value is not good.
const (
	ReasonNeverRead     = "never_read"     // nothing has been read since the start
	ReasonStale         = "stale"          // older than the tag's stale_after
	ReasonOutOfRange    = "out_of_range"   // outside min and max, or the sensor's own range; uncertain, still evaluated by alarms
	ReasonNotANumber    = "not_a_number"   // NaN or an infinity, a BCD digit above 9
	ReasonMalformed     = "malformed"      // the bytes cannot be the tag's: a text longer than its registers
	ReasonException     = "exception"      // the PLC refused the address; params: code, address
	ReasonNoAnswer      = "no_answer"      // the last request for it failed; the value is the last known
	ReasonDeviceStopped = "device_stopped" // the device is not being read
	ReasonMaintenance   = "maintenance"    // a person took the device out of service for a while
	ReasonFrozen        = "frozen"         // the device answers, but its heartbeat tag stands still
	ReasonQuarantined   = "quarantined"    // after a timeout on a line without transaction numbers: not confirmed yet
	ReasonStatus        = "status"         // the OPC UA server's own verdict; params: code
	ReasonOverflow      = "overflow"       // the server's queue lost values before this one
	ReasonType          = "type"           // the server's value is of another type than the tag's
)

// Tag is what every room knows of a tag: its name and how to read its value.
// How it is fetched from a PLC is the driver's own.
type Tag struct {
	Device, Name string
	Address      string // as configured
	Type         DataType
	EngUnit      string
	Min, Max     *float64 // outside is uncertain, ReasonOutOfRange
	Deadband     float64  // changes up to it are not changes, in engineering units
	Enum         map[int64]string
	StaleAfter   time.Duration
	Safety       bool // a safety function: fixed text, never a model's advice
	// Fetch tells two ways of reading the value apart: url, address, order, type
	// and scaling in one text. A tag whose Fetch changed measures something else,
	// and begins without a history.
	Fetch string
}

// ID returns DEVICE.TAG, the name used in evidence and on pages.
func (t Tag) ID() string { return t.Device + "." + t.Name }

// Sample is one value of one tag as a driver delivers it: decoded, scaled and
// judged.
type Sample struct {
	Tag      string
	Value    Value
	Quality  Quality
	Reason   *Note     // nil when good
	At       time.Time // when the answer was received, with the monotonic clock
	SourceAt time.Time // when the PLC says it was so; zero where the protocol has none
	ServerAt time.Time // when the server between says so (OPC UA); zero where there is none
	Raw      []uint16  // registers as received; a bit area has one element a bit
}

// Scan is the outcome of one pass over (some of) the tags of one device.
// Samples of a late scan merge, the last one wins; events never drop.
type Scan struct {
	Device   string
	At       time.Time
	Samples  []Sample
	Events   []DeviceEvent
	Took     time.Duration
	Requests int   // requests sent for this scan
	Err      error // why no or not all tags were read; samples are still valid

	// Confirmed names tags whose last value the server has just confirmed by a
	// keep-alive: nothing changed since, so they are fresh although no sample
	// came. Many scans share one slice; it is never written to.
	Confirmed []string
	// Conditions are the server's own alarms, in the order they were told.
	// They never drop and never merge.
	Conditions []ConditionSet
}

// Reading is a sample as the table holds it: with its age, and with its last
// good value when it is bad now.
type Reading struct {
	Device   string     `json:"device"`
	Tag      string     `json:"tag"`
	Value    Value      `json:"value"`
	EngUnit  string     `json:"eng_unit"`
	Quality  Quality    `json:"quality"`
	Reason   *Note      `json:"reason"`
	At       *time.Time `json:"at"`
	SourceAt *time.Time `json:"source_at"`
	ServerAt *time.Time `json:"server_at,omitempty"`
	// ConfirmedAt is when the server last said that At's value still holds;
	// nil where values are polled. Age counts from the later of both.
	ConfirmedAt *time.Time `json:"confirmed_at,omitempty"`
	AgeS        float64    `json:"age_s"`
	Raw         []uint16   `json:"raw"`
	Text        string     `json:"text,omitempty"` // the enum's word for the value
	LastGood    *Value     `json:"last_good,omitempty"`
	LastGoodAt  *time.Time `json:"last_good_at,omitempty"`
	Address     string     `json:"address,omitempty"`
	Type        DataType   `json:"type,omitempty"`
	Safety      bool       `json:"safety,omitempty"`
}

// Usable reports whether an alarm may be evaluated with r: good, or uncertain
// for being out of range (an over-range sensor must not silence its own alarm)
// or for an overflow (what was lost is older: the value is the newest there is).
func (r Reading) Usable() bool {
	if r.Value.IsNone() || !r.Value.Finite() {
		return false
	}
	return r.Quality == QualityGood ||
		r.Quality == QualityUncertain && (r.Reason.Is(ReasonOutOfRange) || r.Reason.Is(ReasonOverflow))
}

// TimePtr returns nil for the zero time, for JSON's null.
func TimePtr(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
