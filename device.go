package edgeagent

import "time"

// DeviceState is what the agent does with a device. Whether the device answers
// is another question: see [Link].
type DeviceState string

// The states of a device; docs/state-machines.md draws the table.
const (
	DeviceConnecting  DeviceState = "connecting"
	DevicePolling     DeviceState = "polling"
	DeviceRetrying    DeviceState = "retrying"
	DeviceStopped     DeviceState = "stopped"
	DeviceMaintenance DeviceState = "maintenance"
	DeviceDisabled    DeviceState = "disabled"
)

// Link is what the device does.
type Link string

// The links: silent is connected but nothing that arrives matches a request;
// frozen answers, but its heartbeat tag stands still.
const (
	LinkUp     Link = "up"
	LinkDown   Link = "down"
	LinkSilent Link = "silent"
	LinkFrozen Link = "frozen"
)

// DeviceEventKind says what happened to a device.
type DeviceEventKind string

// The events of a device that matter beyond its own page.
const (
	DeviceEventStopped DeviceEventKind = "stopped" // the retry window is used up: alarm device_stopped
	DeviceEventResumed DeviceEventKind = "resumed" // a stopped device delivers again: the alarm's condition is gone

	DeviceEventGap         DeviceEventKind = "gap"         // nothing was delivered from From to At, and that is over
	DeviceEventFrozen      DeviceEventKind = "frozen"      // it answers, but its heartbeat stands still: alarm device_frozen
	DeviceEventThawed      DeviceEventKind = "thawed"      // the heartbeat beats again
	DeviceEventMaintenance DeviceEventKind = "maintenance" // a person took it out of service: mutes its alarms, raises none
)

// DeviceEvent is delivered with a scan and is never dropped.
type DeviceEvent struct {
	Kind   DeviceEventKind
	From   time.Time // of a gap: its last value before
	At     time.Time
	By     string // who resumed it; empty when a probe found it back
	Reason *Note
}

// DeviceMemory is what a device must not forget over a restart. It belongs to
// the connection it was made with: a changed Key starts anew.
type DeviceMemory struct {
	Device  string      `json:"device"`
	Key     string      `json:"key"` // hash of url, unit and the other keys of the connection
	State   DeviceState `json:"state"`
	Attempt int         `json:"attempt"` // failures in the window
	Since   time.Time   `json:"since"`
	Until   time.Time   `json:"until,omitzero"` // of a maintenance
	Reason  *Note       `json:"reason,omitempty"`
}

// TagCount counts the tags of a device by quality.
type TagCount struct {
	Good      int `json:"good"`
	Uncertain int `json:"uncertain"`
	Bad       int `json:"bad"`
}

// LogEntry is one line of a device's connection log.
type LogEntry struct {
	At     time.Time `json:"at"`
	Event  string    `json:"event"`
	Detail *Note     `json:"detail"`
}

// DeviceStatus is what the page, the API and the metrics say of a device.
type DeviceStatus struct {
	Name            string      `json:"name"`
	Line            string      `json:"line"`
	URL             string      `json:"url"`
	Protocol        string      `json:"protocol"`
	Unit            int         `json:"unit"`
	State           DeviceState `json:"state"`
	Since           *time.Time  `json:"since"`
	Link            Link        `json:"link"`
	Attempt         int         `json:"attempt"`
	NextTryAt       *time.Time  `json:"next_try_at"`
	LastOKAt        *time.Time  `json:"last_ok_at"`
	Error           string      `json:"error"`
	Resume          string      `json:"resume"` // "operator" or the probe's period
	ScanMS          float64     `json:"scan_ms"`
	RequestsPerScan int         `json:"requests_per_scan"`
	Requests        uint64      `json:"requests"`
	Errors          uint64      `json:"errors"`
	Overruns        uint64      `json:"overruns"`
	StaleFrames     uint64      `json:"stale_frames"`
	Gaps            uint64      `json:"gaps"`               // times in which nothing was delivered, since the start
	Until           *time.Time  `json:"until,omitempty"`    // end of a maintenance
	Security        string      `json:"security,omitempty"` // of the connection, as negotiated: "None", "Basic256Sha256/SignAndEncrypt", "TLS"
	Tags            TagCount    `json:"tags"`
	Recent          string      `json:"recent"` // the last 60 scans, oldest first: | good, . partly, x failed
	Log             []LogEntry  `json:"log,omitempty"`
	Plan            []string    `json:"plan,omitempty"` // requests of a scan, in words
}
