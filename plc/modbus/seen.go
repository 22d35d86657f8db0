package modbus

import (
	"hash/maphash"

	"edgeagent/plc"
)

// remembered is how many answers of a unit are known again.
const remembered = 256

var seed = maphash.MakeSeed()

// answers are the last ones of a unit, to know a duplicate by: an answer that
// comes again, however late, has the bytes of the first time. Blocks that
// really hold the same (zeros, mostly) are told apart by asking once more, and
// only when they become so.
type answers struct {
	ring []answered
	next int
}

type answered struct {
	signature
	offset uint16
	sum    uint64
}

func summary(r plc.Request, payload []byte) answered {
	return answered{expected(r), r.Offset, maphash.Bytes(seed, payload)}
}

// elsewhere reports whether these are the bytes that another request was
// answered with, and not those that this one was answered with last.
func (a *answers) elsewhere(r plc.Request, payload []byte) bool {
	now, found := summary(r, payload), false
	own, asked := uint64(0), false
	for i := range a.ring { // oldest first
		switch was := a.ring[(a.next+i)%len(a.ring)]; {
		case was.signature != now.signature:
		case was.offset == now.offset:
			own, asked = was.sum, true
		case was.sum == now.sum:
			found = true
		}
	}
	return found && (!asked || own != now.sum)
}

// note remembers an answer.
func (a *answers) note(r plc.Request, payload []byte) {
	if len(a.ring) < remembered {
		a.ring = append(a.ring, summary(r, payload))
		return
	}
	a.ring[a.next] = summary(r, payload)
	a.next = (a.next + 1) % remembered
}
