package plc

import (
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
)

// TagSpec is a tag and how its value is fetched.
type TagSpec struct {
	edgeagent.Tag
	Addr   edgeagent.Address
	Node   string // of an OPC UA server, as configured: "ns=2;s=…", "nsu=urn:…;s=…"; empty for Modbus
	Index  *int   // element of an OPC UA array; nil: the whole value
	Order  edgeagent.ByteOrder
	Length int // registers of a string

	// Of a string. Encoding is ascii, latin1 (the default), utf8 or utf16;
	// Header is none (the default), s7 or logix; Pad is zero (the default) or
	// space.
	Encoding, Header, Pad string

	// Scale and Offset give Scale·raw + Offset; a Scale of 0 means 1. Scaling
	// goes before them.
	Scale, Offset float64
	Scaling       *Scaling

	Scan time.Duration // 0: the device's
}

// Scaling maps the raw range to the engineering range, linearly.
type Scaling struct {
	Raw, Eng [2]float64
	Clamp    bool // hold the value within Eng
}

// span returns how many addresses the tag takes: registers, or one bit.
func (t *TagSpec) span() int {
	switch {
	case t.Addr.Area.Bits():
		return 1
	case t.Type == edgeagent.TypeString:
		return t.Length
	case t.Type == edgeagent.TypeBool && t.Addr.Bit > 15:
		return 2 // the bit of a 32-bit word
	default:
		return t.Type.Registers()
	}
}

// end is the first offset behind the tag.
func (t *TagSpec) end() int { return int(t.Addr.Offset) + t.span() }

// DeviceSpec is one unit to be read.
type DeviceSpec struct {
	Name, Line, URL, Protocol string
	Unit                      uint8
	Scan                      time.Duration // of tags that have none
	Timeout                   time.Duration // of one request, dialling included
	Pause                     time.Duration // between requests
	ConnectDelay              time.Duration // after connecting: what the driver waits on top of Timeout
	MaxRegisters, MaxBits     int           // per request; 0: the protocol's limit
	MaxGap                    int           // registers read in vain to save a request
	NeverRead                 []AddressRange
	Retry                     retry.Backoff // the window; its end is the stop
	ResumeEvery               time.Duration // 0: operator only
	Heartbeat                 *Heartbeat    // nil: the device has none
	CloseAfterScan            bool          // hang up after every turn: a device with one connection slot
	Enabled                   bool
	Key                       string // hash of the keys of the connection
	Tags                      []TagSpec
}
