package commission

import (
	"errors"
	"fmt"

	"edgeagent/plc"
)

// remedies say what an exception most often means on the first day.
var remedies = map[byte]string{
	1:  "the device does not know this kind of address: holding and input registers, coils and discrete inputs are four different areas",
	2:  "the device has nothing at this address: off by one (manuals count from 1, the wire from 0), or holding meant where it is input",
	3:  "the device does not like the length: it allows fewer registers in a request (max_registers), or the value lies over the end of a block",
	4:  "the device has failed itself; some answer so for addresses they do not have",
	5:  "the device is still working on it",
	6:  "the device is busy; a pause between requests may help",
	8:  "the device's memory has a fault",
	10: "the gateway has no path to this unit id: its routing table, or another unit id",
	11: "the gateway heard nothing from this unit id: the device behind it is off, has another unit id, or other serial settings",
}

// explain says in words what an exception means and what to look at.
func explain(e *plc.Exception) string {
	if remedy, ok := remedies[e.Code]; ok {
		return fmt.Sprintf("exception %d: %s", e.Code, remedy)
	}
	return fmt.Sprintf("exception %d is in no standard; see the device's manual", e.Code)
}

// reason says why a request was not answered with data.
func reason(err error) string {
	switch e := exception(err); {
	case e != nil:
		return explain(e)
	case errors.Is(err, plc.ErrUnreachable):
		return fmt.Sprintf("%v: no connection; check cable, address, port, and whether the device allows one more connection", err)
	case errors.Is(err, plc.ErrRefused):
		return fmt.Sprintf("%v: credentials or certificate were rejected; asking again would not help", err)
	case errors.Is(err, plc.ErrSilent):
		return fmt.Sprintf("%v: the connection stands, but nothing valid came; another unit id, other framing, or too short a timeout", err)
	default:
		return err.Error()
	}
}
