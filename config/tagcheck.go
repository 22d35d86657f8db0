package config

import (
	"slices"

	"edgeagent"
)

// addresses is how many addresses an area has.
const addresses = 1 << 16

var floats = []edgeagent.DataType{edgeagent.TypeFloat16, edgeagent.TypeFloat32, edgeagent.TypeFloat64}

// checkTag books what contradicts itself within one tag, or its device.
func (s *section) checkTag(t Tag, d Device) {
	if s.good("min", "max") && t.Min != nil && t.Max != nil && *t.Min >= *t.Max {
		s.fail("min", "min %g is not less than max %g; swap them", *t.Min, *t.Max)
	}
	if s.good("scale") && t.Scale == 0 {
		s.fail("scale", "scale 0 makes every value the same; want any other number")
	}
	s.checkMeaning(t)
	if d.Protocol == OPCUAProtocol {
		s.checkNode()
		return
	}
	if d.Protocol != "" && s.set("index") {
		s.fail("index", "index is an element of an OPC UA array, and the device speaks Modbus; remove it, each element has its own address")
	}
	if !s.good("address", "type") || t.Addr.Area == 0 {
		return
	}
	s.checkBit(t)
	s.checkLength(t)
	if s.good("address", "type", "length") {
		s.checkPlace(t, d)
	}
}

// checkMeaning books keys that mean nothing for the type of the tag.
func (s *section) checkMeaning(t Tag) {
	if !s.good("type", "address") {
		return
	}
	isBit := t.Type == edgeagent.TypeBool || t.Addr.Bit >= 0 && t.Addr.Area != 0
	isText := t.Type == edgeagent.TypeString
	none := func(key, kind string) {
		if s.set(key) {
			s.fail(key, "%s has no meaning for a %s; remove it", key, kind)
		}
	}
	for _, key := range []string{"scale", "offset", "scaling", "min", "max", "deadband"} {
		switch {
		case isBit:
			none(key, "bit")
		case isText:
			none(key, "text")
		}
	}
	if !isText {
		none("string", string(t.Type))
		none("length", string(t.Type))
	}
	if isText || slices.Contains(floats, t.Type) {
		none("enum", string(t.Type))
	}
}

// checkNode books keys that mean nothing for a value of an OPC UA server.
func (s *section) checkNode() {
	for _, key := range []string{"order", "length", "string", "raw_address"} {
		if s.set(key) && s.good(key) {
			s.fail(key, "%s is for Modbus registers, and the device is an OPC UA server; remove it", key)
		}
	}
}

// checkBit books a bit that is not there.
func (s *section) checkBit(t Tag) {
	width, bits := bitWidth[t.Type]
	switch {
	case t.Addr.Area.Bits() && t.Type != edgeagent.TypeBool:
		s.fail("type", "type %q does not fit %s, which is one bit; use type = \"bool\", or an address in holding or input", t.Type, t.Addr)
	case t.Addr.Area.Bits():
	case t.Addr.Bit < 0 && t.Type == edgeagent.TypeBool:
		s.fail("type", "type \"bool\" needs a bit of the register; write it behind the address, such as \"%s.0\"", t.Addr)
	case t.Addr.Bit >= 0 && !bits:
		s.fail("address", "address %q picks a bit, which type %q does not have; use type = \"bool\"", t.Addr, t.Type)
	case t.Addr.Bit >= width:
		s.fail("address", "address %q picks bit %d, and type %q has bits 0 to %d; for a double word use type = \"uint32\"",
			t.Addr, t.Addr.Bit, t.Type, width-1)
	}
}

// checkLength books a text without a length.
func (s *section) checkLength(t Tag) {
	if t.Type == edgeagent.TypeString && !s.set("length") {
		s.missing("length", "8")
	}
}

// checkPlace books a tag that leaves its area, does not fit into one request
// or touches what must never be read.
func (s *section) checkPlace(t Tag, d Device) {
	n, first := t.Registers(), int(t.Addr.Offset)
	last := first + n - 1
	switch {
	case last >= addresses:
		s.fail("address", "%s takes %d registers and ends at %d; the last address is %d", t.Addr, n, last, addresses-1)
		return
	case !t.Addr.Area.Bits() && n > d.MaxRegisters:
		key := "type"
		if t.Type == edgeagent.TypeString {
			key = "length"
		}
		s.fail(key, "the tag takes %d registers and max_registers of the device is %d; a value is never read in two requests", n, d.MaxRegisters)
	}
	for _, never := range d.NeverRead {
		if never.Area == t.Addr.Area && first <= int(never.Last) && last >= int(never.First) {
			s.fail("address", "%s is in never_read (%s:%d-%d) of the device; remove the tag or shorten never_read",
				t.Addr, never.Area, never.First, never.Last)
		}
	}
}
