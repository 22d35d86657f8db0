package plc

import (
	"fmt"
	"time"

	"edgeagent"
)

// Request is one read of one unit: consecutive registers or bits.
type Request struct {
	Area     edgeagent.Area
	Offset   uint16
	Quantity uint16        // registers, or bits in a bit area
	Scan     time.Duration // the scan class that it belongs to
	Tags     []int         // what it serves: indexes of the tags given to [Plan]
}

// String writes the request for the person who has the manual open:
// "FC3 holding:100-119 (20 registers)".
func (r Request) String() string {
	what := "register"
	if r.Area.Bits() {
		what = "bit"
	}
	if r.Quantity != 1 {
		what += "s"
	}
	return fmt.Sprintf("FC%d %s (%d %s)", r.Area.Function(), r.addresses(), r.Quantity, what)
}

func (r Request) addresses() string {
	return AddressRange{Area: r.Area, From: r.Offset, To: uint16(r.end() - 1)}.String()
}

// end is the first offset behind the request; past the last it is 65536.
func (r Request) end() int { return int(r.Offset) + int(r.Quantity) }

// bytes is the length of the answer.
func (r Request) bytes() int {
	if r.Area.Bits() {
		return (int(r.Quantity) + 7) / 8
	}
	return 2 * int(r.Quantity)
}

// AddressRange is a run of addresses of one area, both ends included.
type AddressRange struct {
	Area     edgeagent.Area
	From, To uint16
}

// String writes the range as the configuration has it: "holding:200-219".
func (a AddressRange) String() string {
	if a.From == a.To {
		return fmt.Sprintf("%s:%d", a.Area, a.From)
	}
	return fmt.Sprintf("%s:%d-%d", a.Area, a.From, a.To)
}

// overlaps reports whether the range shares an address with [from, end).
func (a AddressRange) overlaps(area edgeagent.Area, from, end int) bool {
	return a.Area == area && int(a.From) < end && from <= int(a.To)
}
