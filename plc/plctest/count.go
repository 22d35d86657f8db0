package plctest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edgeagent/plc"
)

// FaultCount is what was seen while faults were played.
type FaultCount struct {
	Values      int // registers that were delivered and right
	Bits        int // and bits
	Reads       int
	Errors      int // reads that failed, exceptions and quarantine among them
	Exceptions  int
	Quarantined int
	Wrong       int // answers with a wrong value and no error
	Took        time.Duration
	ByKind      map[string]*KindCount
}

// KindCount is what was seen of one kind of fault, the time after it included.
type KindCount struct {
	Plays, Values, Errors, Quarantined, Wrong int
	Failed                                    int // reads that failed after the end of the fault, at worst
}

// String returns a table: a line of sums and one a kind.
func (c FaultCount) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d wrong among %d registers and %d bits in %d reads, %d kinds of fault; %d reads failed (%d exceptions, %d quarantined), %v\n",
		c.Wrong, c.Values, c.Bits, c.Reads, len(c.ByKind), c.Errors, c.Exceptions, c.Quarantined, c.Took.Round(time.Millisecond))
	fmt.Fprintf(&b, "%-24s %5s %7s %6s %6s %5s %s", "kind", "plays", "values", "errors", "quar.", "wrong", "failed after its end, at worst")
	for _, kind := range slices.Sorted(maps.Keys(c.ByKind)) {
		k := c.ByKind[kind]
		fmt.Fprintf(&b, "\n%-24s %5d %7d %6d %6d %5d %d", kind, k.Plays, k.Values, k.Errors, k.Quarantined, k.Wrong, k.Failed)
	}
	return b.String()
}

// WrongValueError is a value that came without an error and is not the peer's.
type WrongValueError struct {
	Unit      uint8
	Request   plc.Request
	Address   uint16 // of the first that is wrong
	Got, Want int    // Got is -1 where nothing came
}

// Error says what was asked and what came.
func (e *WrongValueError) Error() string {
	return fmt.Sprintf("wrong value: unit %d, %v: %v %d is %#04x, want %#04x", e.Unit, e.Request, e.Request.Area, e.Address, e.Got, e.Want)
}
