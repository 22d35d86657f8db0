package exports

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"edgeagent"
)

// ignitionAddress is an address of the gateway's Modbus driver: [UNIT.]HRF100,
// HR100.3 a bit, HRS100:20 a text of 20 characters.
type ignitionAddress struct {
	unit   string
	area   edgeagent.Area
	typ    edgeagent.DataType
	number int
	bit    int
	length int // characters of a text
}

var ignitionModbus = regexp.MustCompile(`^(?:(\d{1,3})\.)?(HR|IR|DI|C)(_?[A-Z0-9_]*?)(\d{1,6})(?:\.(\d{1,2}))?(?::(\d{1,3}))?$`)

// designators are the types that stand behind HR and IR.
var designators = map[string]edgeagent.DataType{
	"": edgeagent.TypeInt16, "US": edgeagent.TypeUint16, "I": edgeagent.TypeInt32, "UI": edgeagent.TypeUint32,
	"I_64": edgeagent.TypeInt64, "UI_64": edgeagent.TypeUint64, "F": edgeagent.TypeFloat32, "D": edgeagent.TypeFloat64,
	"BCD": edgeagent.TypeBCD16, "BCD_32": edgeagent.TypeBCD32, "S": edgeagent.TypeString,
}

// bitsOf are the types whose bits have addresses, and how many each has.
var bitsOf = map[edgeagent.DataType]int{
	edgeagent.TypeInt16: 16, edgeagent.TypeUint16: 16, edgeagent.TypeInt32: 32, edgeagent.TypeUint32: 32,
}

// split64 tells HRI_6410 apart: the digits of the designator are not the
// address's.
var split64 = regexp.MustCompile(`^((?:\d{1,3}\.)?[HI]R(?:UI_64|I_64|BCD_32))(\d.*)$`)

func parseIgnition(s string) (ignitionAddress, bool) {
	m := ignitionParts(strings.ToUpper(strings.TrimSpace(s)))
	if m == nil {
		return ignitionAddress{}, false
	}
	a := ignitionAddress{unit: m[1], bit: -1}
	a.number, _ = strconv.Atoi(m[4])
	switch m[2] {
	case "C":
		a.area, a.typ = edgeagent.AreaCoil, edgeagent.TypeBool
	case "DI":
		a.area, a.typ = edgeagent.AreaDiscrete, edgeagent.TypeBool
	case "HR":
		a.area = edgeagent.AreaHolding
	default:
		a.area = edgeagent.AreaInput
	}
	if a.area.Bits() {
		return a, m[3]+m[5]+m[6] == ""
	}
	return a.register(m[3], m[5], m[6])
}

// ignitionParts cuts an address into unit, area, designator, number, bit and
// length; nil if it is none.
func ignitionParts(s string) []string {
	wide := split64.FindStringSubmatch(s)
	if wide == nil {
		return ignitionModbus.FindStringSubmatch(s)
	}
	unit, name, found := strings.Cut(wide[1], ".")
	if !found {
		unit, name = "", wide[1]
	}
	m := ignitionModbus.FindStringSubmatch(name[:2] + wide[2])
	if m != nil {
		m[1], m[3] = unit, name[2:]
	}
	return m
}

// register fills in what a designator, a bit and a length say of a register.
func (a ignitionAddress) register(designator, bit, length string) (ignitionAddress, bool) {
	typ, known := designators[designator]
	a.typ = typ
	if bit != "" {
		a.bit, _ = strconv.Atoi(bit)
		a.typ = edgeagent.TypeBool
		known = known && a.bit < bitsOf[typ]
	}
	a.length, _ = strconv.Atoi(length)
	return a, known && (typ == edgeagent.TypeString) == (a.length > 0)
}

// ignition is one import of one device.
type ignition struct {
	*reading
	foreign  map[string]bool // devices of another driver than Modbus
	first    map[string]bool // those with an address 0, which are zero-based
	last     map[string]bool // those with an address 65536, which are one-based
	zero     bool            // the device taken is zero-based
	codes    coder
	modbus   int
	wide     int
	deadband int // alarms whose deadband was left out
	delays   int // alarms whose delays were
}

func (t *ignition) take(s *source) {
	if why := s.unreadable(); why != "" {
		t.skip(s.line, s.path, "%s", why)
		return
	}
	device, address, a, modbus := s.endpoint()
	switch {
	case t.options.Device != "" && device != t.options.Device:
		return // another device's, as was asked for
	case t.foreign[device]:
		t.skip(s.line, s.path, "[%s] is read by another driver than Modbus (%s); read the controller, or the gateway's OPC UA server, by OPC UA",
			oneLine(device, 60), oneLine(address, 60))
		return
	}
	tag := Tag{Line: s.line, Source: s.path, EngUnit: s.unit, Comment: s.documentation}
	var why string
	if modbus {
		why = t.fillModbus(&tag, s, a, device)
	} else {
		tag.Address = strings.TrimSpace(s.item)
		tag.Type, why = ignitionType(s.dataType)
		if !isNode(tag.Address) {
			why = fmt.Sprintf("%s is no node id", oneLine(tag.Address, 80))
		}
	}
	if why == "" {
		tag.Scaling, why = s.scaling()
	}
	if why != "" {
		t.skip(s.line, s.path, "%s", why)
		return
	}
	before := len(t.result.Tags)
	if t.reading.take(tag); len(t.result.Tags) > before {
		t.takeAlarms(s, &t.result.Tags[before])
	}
}

// fillModbus takes the driver's address. What it reads is decided by the
// designator; the tag's data type only turns that into another.
func (t *ignition) fillModbus(tag *Tag, s *source, a ignitionAddress, device string) string {
	base := 1
	if t.zero = t.first[device]; t.zero {
		base = 0
	}
	text := strings.EqualFold(s.dataType, "String") || strings.EqualFold(s.dataType, "Text")
	switch {
	case t.first[device] && t.last[device]:
		return "the device has addresses 0 and 65536: whether they begin with 0 or 1 cannot be said"
	case a.number < base || a.number-base > 65535:
		return fmt.Sprintf("address %d is beyond the last address", a.number)
	case text != (a.typ == edgeagent.TypeString) && s.dataType != "":
		return fmt.Sprintf("its data type %s does not go with its address", oneLine(s.dataType, 40))
	case a.length%2 != 0:
		return "a text of an odd number of characters ends in the middle of a register"
	case strings.HasSuffix(s.dataType, "Array") || strings.EqualFold(s.dataType, "DataSet"):
		return fmt.Sprintf("type %s has no counterpart", oneLine(s.dataType, 40))
	}
	t.modbus++
	tag.Address, tag.Type, tag.Length = modicon(a.area, a.number-base, a.bit), a.typ, a.length/2
	wide := !a.area.Bits() && a.typ.Registers() > 1 || a.bit > 15
	swapped := t.options.Order == edgeagent.OrderBADC || t.options.Order == edgeagent.OrderDCBA
	switch {
	case wide && t.options.Order == "":
		tag.Order = edgeagent.OrderCDAB
		t.wide++
	case wide || swapped && !a.area.Bits():
		tag.Order = t.options.Order
	}
	return ""
}

// ignitionTypes are the types of tags of other OPC UA servers.
var ignitionTypes = map[string]edgeagent.DataType{
	"boolean": edgeagent.TypeBool, "int1": edgeagent.TypeInt16, "int2": edgeagent.TypeInt16, "int4": edgeagent.TypeInt32, "int8": edgeagent.TypeInt64,
	"float4": edgeagent.TypeFloat32, "float8": edgeagent.TypeFloat64, "string": edgeagent.TypeString, "text": edgeagent.TypeString,
}

func ignitionType(name string) (edgeagent.DataType, string) {
	if typ, known := ignitionTypes[strings.ToLower(name)]; known {
		return typ, ""
	}
	return "", fmt.Sprintf("type %q has no counterpart", oneLine(name, 40))
}

func (s *source) scaling() (*Scaling, string) {
	switch s.scaleMode {
	case "", "Off", "None":
		return nil, ""
	case "Linear":
	default:
		return nil, fmt.Sprintf("scale mode %s has no counterpart", oneLine(s.scaleMode, 40))
	}
	for _, f := range []*float64{s.rawLow, s.rawHigh, s.scaledLow, s.scaledHigh} {
		if f == nil {
			return nil, "its scaling is not whole: rawLow, rawHigh, scaledLow and scaledHigh are needed"
		}
	}
	out := &Scaling{Raw: [2]float64{*s.rawLow, *s.rawHigh}, Eng: [2]float64{*s.scaledLow, *s.scaledHigh}}
	switch s.clampMode {
	case "", "No_Clamp":
	case "Clamp_Both":
		out.Clamp = true
	default:
		return nil, fmt.Sprintf("clamp mode %s has no counterpart", oneLine(s.clampMode, 40))
	}
	return out, ""
}

func (t *ignition) notes() {
	switch {
	case t.modbus > 0 && t.zero:
		t.note("the device has address 0, so its addresses were taken as zero-based (HR0 is holding:0)")
	case t.modbus > 0:
		t.note("Modbus addresses were taken as one-based (HR1 is holding:0), Ignition's default; the device's setting is not in the export: check one tag with edgeagent doctor")
	}
	if t.wide > 0 {
		t.note("values of 32 and 64 bits were given the order CDAB, Ignition's default (low word first); the device's setting is not in the export: check one with edgeagent doctor, or import again with --order")
	}
	if t.deadband > 0 {
		t.note("%d alarms have a deadband, which was left out: give them a clear condition", t.deadband)
	}
	if t.delays > 0 {
		t.note("%d alarms have a delay that is bound to an expression, longer than a day or on a bit, which was left out: give them, or their alarm_word, on_delay and off_delay by hand", t.delays)
	}
	for _, tag := range t.result.TextTags() {
		t.note("%s has alarms on its bits; in an alarm_word, a set bit without a text is an alarm too", tag)
	}
	if len(t.result.Alarms) > 0 {
		t.note("%d alarms have a condition of their own; put them under the [[device]]", len(t.result.Alarms))
	}
}
