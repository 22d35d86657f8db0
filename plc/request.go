package plc

import (
	"fmt"
	"strings"
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

// AddressRange is a run of addresses of one area, both ends included.
type AddressRange struct {
	Area     edgeagent.Area
	From, To uint16
}

// ParseRange reads "holding:200-219", "coil:7" or, one-based, "40201-40220".
// Errors wrap edgeagent.ErrAddress.
func ParseRange(s string) (AddressRange, error) {
	first, last, several := strings.Cut(strings.TrimSpace(s), "-")
	from, err := edgeagent.ParseAddress(first, false)
	if err != nil {
		return AddressRange{}, fmt.Errorf("range %q: %w", s, err)
	}
	to := from
	if several {
		if to, err = parseEnd(first, last); err != nil {
			return AddressRange{}, fmt.Errorf("range %q: %w", s, err)
		}
	}
	if from.Bit >= 0 || to.Bit >= 0 || from.Area != to.Area || to.Offset < from.Offset {
		return AddressRange{}, fmt.Errorf("range %q: %w: want holding:200-219, whole registers, the lower one first", s, edgeagent.ErrAddress)
	}
	return AddressRange{Area: from.Area, From: from.Offset, To: to.Offset}, nil
}

// parseEnd reads the second half of a range: a whole address, or the number
// alone behind a first half that names the area.
func parseEnd(first, last string) (edgeagent.Address, error) {
	last = strings.TrimSpace(last)
	if area, _, named := strings.Cut(first, ":"); named && !strings.Contains(last, ":") {
		last = area + ":" + last
	}
	return edgeagent.ParseAddress(last, false)
}

// String writes the range as [ParseRange] reads it.
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
