package commission

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"edgeagent"
	"edgeagent/plc"
)

// plant is a device behind an Ask. It refuses what it does not have and keeps
// what it was asked.
type plant struct {
	units     map[uint8]bool
	registers map[edgeagent.Area]map[int]uint16
	most      int // registers per request, 0: any
	never     []plc.AddressRange
	err       error // for units that are not there; nil: silence
	asked     []string
	broken    []string // requests for what must never be read
	after     func(p *plant)
}

func (p *plant) ask(_ context.Context, unit uint8, r plc.Request) ([]byte, error) {
	p.asked = append(p.asked, fmt.Sprintf("%d %v", unit, r))
	if p.after != nil {
		defer p.after(p)
	}
	if forbidden(p.never, r.Area, int(r.Offset), int(r.Offset)+int(r.Quantity)) {
		p.broken = append(p.broken, r.String())
	}
	if !p.units[unit] {
		if p.err != nil {
			return nil, p.err
		}
		return nil, fmt.Errorf("read: %w", plc.ErrSilent)
	}
	has, known := p.registers[r.Area]
	if !known {
		return nil, &plc.Exception{Function: r.Area.Function(), Code: illegalFunction}
	}
	if p.most > 0 && int(r.Quantity) > p.most {
		return nil, &plc.Exception{Function: r.Area.Function(), Code: 3}
	}
	return read(has, r)
}

func read(has map[int]uint16, r plc.Request) ([]byte, error) {
	out := make([]byte, payload(r))
	for i := range int(r.Quantity) {
		v, ok := has[int(r.Offset)+i]
		switch {
		case !ok:
			return nil, &plc.Exception{Function: r.Area.Function(), Code: 2}
		case r.Area.Bits():
			out[i/8] |= byte(v&1) << (i % 8)
		default:
			binary.BigEndian.PutUint16(out[2*i:], v)
		}
	}
	return out, nil
}

func run(from, to int) map[int]uint16 {
	out := map[int]uint16{}
	for a := from; a <= to; a++ {
		out[a] = uint16(a)
	}
	return out
}

// put stores a 32-bit value in the given order.
func put(m map[int]uint16, at int, bits uint32, order edgeagent.ByteOrder) {
	b := binary.BigEndian.AppendUint32(nil, bits)
	switch order {
	case edgeagent.OrderABCD:
	case edgeagent.OrderCDAB:
		b = []byte{b[2], b[3], b[0], b[1]}
	case edgeagent.OrderBADC:
		b = []byte{b[1], b[0], b[3], b[2]}
	case edgeagent.OrderDCBA:
		b = []byte{b[3], b[2], b[1], b[0]}
	}
	m[at], m[at+1] = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
}

func putFloat(m map[int]uint16, at int, f float32, order edgeagent.ByteOrder) {
	put(m, at, math.Float32bits(f), order)
}

func holding(name string, offset int, typ edgeagent.DataType, order edgeagent.ByteOrder) plc.TagSpec {
	a := edgeagent.Address{Area: edgeagent.AreaHolding, Offset: uint16(offset), Bit: -1}
	return plc.TagSpec{Tag: edgeagent.Tag{Name: name, Address: a.String(), Type: typ}, Addr: a, Order: order}
}
