package sim

import (
	"encoding/binary"
	"math"
	"sync"

	"edgeagent"
)

// Exception codes of the Modbus specification that a simulated device answers.
const (
	exceptionFunction = 1  // illegal function
	exceptionAddress  = 2  // illegal data address
	exceptionValue    = 3  // illegal data value
	exceptionFailure  = 4  // server device failure
	exceptionTarget   = 11 // gateway target device failed to respond
)

const space = 1 << 16 // addresses of one area

type span struct{ first, last int }

// Device is the register image of one unit. All methods may be called at any
// time from any goroutine; one call is seen by readers as a whole.
type Device struct {
	mu      sync.RWMutex
	words   map[edgeagent.Area][]uint16
	bits    map[edgeagent.Area][]bool
	allowed map[edgeagent.Area][]span
}

// NewDevice returns an image of zeros in which every address can be read.
func NewDevice() *Device {
	return &Device{
		words: map[edgeagent.Area][]uint16{
			edgeagent.AreaHolding: make([]uint16, space),
			edgeagent.AreaInput:   make([]uint16, space),
		},
		bits: map[edgeagent.Area][]bool{
			edgeagent.AreaCoil:     make([]bool, space),
			edgeagent.AreaDiscrete: make([]bool, space),
		},
		allowed: map[edgeagent.Area][]span{},
	}
}

// Allow makes the addresses first to last of an area readable. The first call
// for an area closes the rest of it: a read that touches a closed address is
// answered with exception 2, as PLCs with holes in their map do.
func (d *Device) Allow(area edgeagent.Area, first, last uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allowed[area] = append(d.allowed[area], span{int(first), int(last)})
}

// SetHolding sets consecutive holding registers; what would pass address 65535
// is left out.
func (d *Device) SetHolding(addr uint16, values ...uint16) {
	d.setWords(edgeagent.AreaHolding, addr, values)
}

// SetInput sets consecutive input registers.
func (d *Device) SetInput(addr uint16, values ...uint16) {
	d.setWords(edgeagent.AreaInput, addr, values)
}

// SetCoil sets one coil.
func (d *Device) SetCoil(addr uint16, v bool) { d.setBit(edgeagent.AreaCoil, addr, v) }

// SetDiscrete sets one discrete input.
func (d *Device) SetDiscrete(addr uint16, v bool) { d.setBit(edgeagent.AreaDiscrete, addr, v) }

// SetFloat32 sets two holding registers to v in the given byte order.
func (d *Device) SetFloat32(addr uint16, v float32, order edgeagent.ByteOrder) {
	d.SetUint32(addr, math.Float32bits(v), order)
}

// SetUint32 sets two holding registers to v in the given byte order.
func (d *Device) SetUint32(addr uint16, v uint32, order edgeagent.ByteOrder) {
	d.SetHolding(addr, reorder(binary.BigEndian.AppendUint32(nil, v), order)...)
}

// SetFloat64 sets four holding registers to v in the given byte order.
func (d *Device) SetFloat64(addr uint16, v float64, order edgeagent.ByteOrder) {
	d.SetHolding(addr, reorder(binary.BigEndian.AppendUint64(nil, math.Float64bits(v)), order)...)
}

// SetString sets n holding registers to the bytes of s, first character in the
// high byte, padded with zeros and cut where it is too long.
func (d *Device) SetString(addr uint16, n int, s string) {
	raw := make([]byte, 2*n)
	copy(raw, s)
	d.SetHolding(addr, reorder(raw, edgeagent.OrderABCD)...)
}

// reorder splits big-endian bytes into registers. CDAB and DCBA send the least
// significant register first, BADC and DCBA swap the bytes within each.
func reorder(raw []byte, order edgeagent.ByteOrder) []uint16 {
	n := len(raw) / 2
	out := make([]uint16, n)
	for i := range out {
		w := binary.BigEndian.Uint16(raw[2*i:])
		if order == edgeagent.OrderBADC || order == edgeagent.OrderDCBA {
			w = w<<8 | w>>8
		}
		if order == edgeagent.OrderCDAB || order == edgeagent.OrderDCBA {
			out[n-1-i] = w
		} else {
			out[i] = w
		}
	}
	return out
}

func (d *Device) setWords(area edgeagent.Area, addr uint16, values []uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.words[area][addr:], values)
}

func (d *Device) setBit(area edgeagent.Area, addr uint16, v bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bits[area][addr] = v
}

// read returns the data bytes of an answer, or an exception code.
func (d *Device) read(area edgeagent.Area, addr, quantity uint16) ([]byte, byte) {
	limit := uint16(125)
	if area.Bits() {
		limit = 2000
	}
	if quantity < 1 || quantity > limit {
		return nil, exceptionValue
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.readable(area, int(addr), int(addr)+int(quantity)-1) {
		return nil, exceptionAddress
	}
	if area.Bits() {
		return packBits(d.bits[area][addr : int(addr)+int(quantity)]), 0
	}
	var out []byte
	for _, w := range d.words[area][addr : int(addr)+int(quantity)] {
		out = binary.BigEndian.AppendUint16(out, w)
	}
	return out, 0
}

// readable reports whether every address from first to last is allowed; ranges
// may touch or overlap.
func (d *Device) readable(area edgeagent.Area, first, last int) bool {
	if last >= space {
		return false
	}
	spans, restricted := d.allowed[area]
	for at := first; restricted && at <= last; {
		next := at
		for _, s := range spans {
			if s.first <= at && s.last >= next {
				next = s.last + 1
			}
		}
		if next == at {
			return false
		}
		at = next
	}
	return true
}

// packBits writes the first bit to the least significant place of the first byte.
func packBits(bits []bool) []byte {
	out := make([]byte, (len(bits)+7)/8)
	for i, b := range bits {
		if b {
			out[i/8] |= 1 << (i % 8)
		}
	}
	return out
}
