package sim

import (
	"math/rand/v2"
	"sync"
	"time"

	"edgeagent"
)

// OracleValue is what an oracle has at an address, a function of it alone; a
// bit area has the lowest bit.
func OracleValue(unit uint8, area edgeagent.Area, address uint16) uint16 {
	x := uint64(unit)<<24 | uint64(area)<<16 | uint64(address)
	x = (x ^ x>>15) * 0xbf58476d1ce4e5b9 // splitmix64's finish: neighbours have nothing in common
	x = (x ^ x>>27) * 0x94d049bb133111eb
	v := uint16(x >> 40)
	if area.Bits() {
		return v & 1
	}
	return v
}

// OracleUnits returns images of the units 1 to n that hold [OracleValue] at
// every address.
func OracleUnits(n uint8) map[uint8]*Device {
	units := map[uint8]*Device{}
	for unit := range n {
		units[unit+1] = oracleDevice(unit + 1)
	}
	return units
}

func oracleDevice(unit uint8) *Device {
	d := NewDevice()
	for area, words := range d.words {
		for a := range words {
			words[a] = OracleValue(unit, area, uint16(a))
		}
	}
	for area, bits := range d.bits {
		for a := range bits {
			bits[a] = OracleValue(unit, area, uint16(a)) == 1
		}
	}
	return d
}

// Oracle plays faults by name to whoever asks a server of [OracleUnits].
type Oracle struct {
	server  *Server
	timeout time.Duration

	mu     sync.Mutex
	rand   *rand.Rand
	thaw   *time.Timer // nil unless a freeze is to end
	played int
}

// NewOracle returns an oracle on s. The timeout is the client's: late answers
// come before and after it, and up to four of it. One seed plays the same
// faults in the same order.
func NewOracle(s *Server, timeout time.Duration, seed uint64) *Oracle {
	return &Oracle{server: s, timeout: timeout, rand: rand.New(rand.NewPCG(seed, seed))}
}

// Kinds returns the names of the faults that the server's transport can have.
func (o *Oracle) Kinds() []string {
	var out []string
	for _, k := range FaultKinds(o.server.transport) {
		out = append(out, string(k))
	}
	return out
}

// Play lets a fault act on one to three of the next requests, chosen at random.
func (o *Oracle) Play(kind string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range 1 + o.rand.IntN(3) {
		if n := o.rand.IntN(3); n > 0 {
			o.server.Fault(Fault{Kind: passing, Count: n})
		}
		o.server.Fault(o.fault(FaultKind(kind)))
		o.played++
	}
	if FaultKind(kind) == Freeze && o.thaw == nil {
		o.thaw = time.AfterFunc(3*o.timeout, o.server.Resume)
	}
}

// fault fills in what a kind needs.
func (o *Oracle) fault(kind FaultKind) Fault {
	f := Fault{Kind: kind, Delay: o.some(0.3, 0.9, 1.05, 1.3, 1.9, 2.05, 2.6, 4)}
	switch kind {
	case LateDuplicate:
		f.Delay = o.some(0.01, 0.05, 0.1, 0.3, 0.6, 1.2, 2.1)
	case Trickle:
		f.Delay, f.Most = o.some(0.002, 0.02, 0.2), 4*o.timeout // a long answer would take fifty
	case SplitException, ExceptionReply, LateException:
		f.Code = []byte{1, 2, 3, 4, 5, 6, 8, 10, 11}[o.rand.IntN(9)]
	case AlwaysPrevious:
		f.Count = 2 + o.rand.IntN(8)
	case Flap:
		f.Count, f.Run = 4, 1+o.rand.IntN(2)
	default:
	}
	if kind == SplitException {
		f.Delay = 0
	}
	return f
}

// some returns one of the given shares of the timeout.
func (o *Oracle) some(shares ...float64) time.Duration {
	return time.Duration(shares[o.rand.IntN(len(shares))] * float64(o.timeout))
}

// Clear ends every fault; answers that are on their way still come.
func (o *Oracle) Clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.thaw != nil {
		o.thaw.Stop()
		o.thaw = nil
	}
	o.server.ClearFaults()
	o.server.Resume()
}

// Played returns how many faults were queued.
func (o *Oracle) Played() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.played
}

// Value is [OracleValue].
func (o *Oracle) Value(unit uint8, area edgeagent.Area, address uint16) uint16 {
	return OracleValue(unit, area, address)
}
