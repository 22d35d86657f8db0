package alarm

import (
	"time"

	"edgeagent"
)

// Rule is the definition of one alarm of one device.
type Rule struct {
	Device, Line, Area string
	Code               string
	When               string // an expression over the device's tags, see [Check]
	Clear              string // likewise; empty: as soon as When is false
	OnDelay, OffDelay  time.Duration
	Priority           int // 1 highest to 4
	Text               string
	Context            []string      // tags sent as evidence; empty: those of the expressions
	InhibitedBy        []string      // codes of the device that mute this alarm while they are active
	ActiveIn           []string      // modes of the line in which it may rise; empty: all
	Settle             time.Duration // for so long after the line entered such a mode it may not
	Diagnose           bool          // a raise wants a diagnosis
	Safety             bool          // concerns a safety function
}

// Word is a tag whose bits are alarms. A bit without a row is one too, of code
// TAG.bit in capitals.
type Word struct {
	Device, Line, Area string
	Tag                string
	Bits               int    // 16 or 32
	FirstBit           int    // the manual's number of the least significant bit
	Swap               string // before numbering: none, bytes (within each 16) or words
	Rows               []Text
	Priority           int // of bits without a row, and of rows without one
	Diagnose, Safety   bool
	Context            []string // tags sent as evidence; empty: the word
	OnDelay, OffDelay  time.Duration
}

// Code is a tag that holds the number of the present fault. One is active at a
// time; a number without a row is an alarm too, of code TAG.number in capitals.
type Code struct {
	Device, Line, Area string
	Tag                string
	None               []int64 // numbers that mean no fault
	Rows               []Text
	Priority           int // of numbers without a row, and of rows without one
	Diagnose, Safety   bool
	Context            []string // tags sent as evidence; empty: the code
}

// Text is a row of a word's or code's table.
type Text struct {
	Number   int64 // the bit by the manual's count, or the value
	Code     string
	Priority int // 1 highest to 4; 0: the table's
	Text     string
	ActiveIn []string // see [Rule]
}

// Server is an OPC UA server whose conditions are alarms.
type Server struct {
	Device, Line, Area string
	Diagnose           bool
	Context            []string // tags sent as evidence
}

// Mode is one mode of a line. The first of a line that is true is its mode.
type Mode struct {
	Name string
	When string // an expression over DEVICE.TAG, see [CheckMode]
}

// View is what the engine sees of the plant besides the scan.
type View interface {
	Reading(device, tag string) (edgeagent.Reading, bool)
	Evidence(device string, tags []string, at time.Time) *edgeagent.Evidence
}

// Options are what an engine can be told beyond its rules.
type Options struct {
	Lines     map[string]string // line -> area, for alarms that no rule defines
	Devices   map[string]string // device -> line; devices with rules are known anyway
	Disabled  []string          // devices that are not read at all: nothing else would clear the agent's own alarms of them
	MaxShelve time.Duration     // the longest shelving; 24 h if zero
	// At is the moment at which the engine is made: what Restore closes was
	// closed then. The zero time is now.
	At time.Time

	Words   []Word
	Codes   []Code
	Servers []Server
	Modes   map[string][]Mode // by line, in order
}

// defaultPriority is taken where a table and its row give none.
const defaultPriority = 3

func firstPriority(of ...int) int {
	for _, p := range of {
		if p != 0 {
			return p
		}
	}
	return defaultPriority
}
