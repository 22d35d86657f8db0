package exports

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"edgeagent"
)

// kepwareTypes are the types of Kepware's Modbus drivers that our types hold
// exactly. A register has no Byte or Char: which half is meant is not said.
var kepwareTypes = map[string]edgeagent.DataType{
	"boolean": edgeagent.TypeBool, "short": edgeagent.TypeInt16, "word": edgeagent.TypeUint16,
	"long": edgeagent.TypeInt32, "dword": edgeagent.TypeUint32, "llong": edgeagent.TypeInt64, "qword": edgeagent.TypeUint64,
	"float": edgeagent.TypeFloat32, "double": edgeagent.TypeFloat64,
	"bcd": edgeagent.TypeBCD16, "lbcd": edgeagent.TypeBCD32, "string": edgeagent.TypeString,
}

var kepwareAreas = map[byte]edgeagent.Area{
	'0': edgeagent.AreaCoil, '1': edgeagent.AreaDiscrete, '3': edgeagent.AreaInput, '4': edgeagent.AreaHolding,
}

// kepwareAddress is an address as written: the item is not yet an offset,
// because one-based or zero-based is a setting that only the whole file shows.
type kepwareAddress struct {
	area   edgeagent.Area
	item   int
	bit    int    // as written, -1 for none
	length int    // bytes of a string, 0 for none
	half   string // H or L: which byte of a register is first in a string
}

var (
	kepwareDecimal = regexp.MustCompile(`^([0134])(\d{1,5})(?:\.(\d{1,3})([HhLl]?))?$`)
	kepwareHex     = regexp.MustCompile(`^[Hh]([0134])([0-9A-Fa-f]{1,5})(?:\.(\d{1,3})([HhLl]?))?$`)
	kepwareArray   = regexp.MustCompile(`\[\s*\d+\s*\](?:\[\s*\d+\s*\])?$`)
	otherDrivers   = []struct {
		pattern *regexp.Regexp
		name    string
	}{
		{regexp.MustCompile(`(?i)^DB\d+[.,]|^[MIQEA][BWDX]?\d+(\.\d+)?$`), "a Siemens controller; read it over its OPC UA server"},
		{regexp.MustCompile(`(?i)^(ns|nsu)=`), "an OPC UA client driver; read that server with a device of its own (browse lists its nodes)"},
		{regexp.MustCompile(`(?i)^[A-Z]{1,2}\d*:\d+|^Program:|^[A-Z_][A-Z0-9_]*(\.[A-Z_]|\[|$)`), "a Rockwell or other symbolic controller; read it over OPC UA"},
	}
)

type kepwareRow struct {
	row
	name    string
	address kepwareAddress
}

// readKepware reads the tags of one device as KEPServerEX exports them.
func readKepware(in *reading) error {
	t, err := in.readTable("tag name", "address", "data type")
	if err != nil {
		return err
	}
	var rows []kepwareRow
	var all []kepwareAddress // of rows that are not taken, too: they show the same settings
	for _, r := range t.rows {
		if r.empty() {
			continue
		}
		k := kepwareRow{row: r, name: t.get(r, "tag name")}
		address, why := parseKepware(t.get(r, "address"))
		if shown, _ := parseKepware(strings.TrimSpace(kepwareArray.ReplaceAllString(t.get(r, "address"), ""))); shown.area != 0 {
			all = append(all, shown)
		}
		if access := strings.ToUpper(t.get(r, "client access")); access == "WO" || access == "W" || strings.HasPrefix(access, "WRITE") {
			why = "it is write-only"
		}
		if why != "" {
			in.skip(r.line, k.name, "%s", why)
			continue
		}
		k.address = address
		rows = append(rows, k)
	}
	base := in.kepwareBase(all)
	for _, k := range rows {
		in.takeKepware(t, k, base)
	}
	in.kepwareNotes(t)
	return nil
}

func parseKepware(s string) (kepwareAddress, string) {
	switch {
	case s == "":
		return kepwareAddress{}, "it has no address"
	case kepwareArray.MatchString(s):
		return kepwareAddress{}, fmt.Sprintf("%s is an array; give each element that is needed a tag of its own", s)
	}
	m, base := kepwareDecimal.FindStringSubmatch(s), 10
	if m == nil {
		m, base = kepwareHex.FindStringSubmatch(s), 16
	}
	if m == nil {
		for _, other := range otherDrivers {
			if other.pattern.MatchString(s) {
				return kepwareAddress{}, fmt.Sprintf("%s is an address of %s", oneLine(s, 80), other.name)
			}
		}
		return kepwareAddress{}, fmt.Sprintf("%s is no Modbus address", oneLine(s, 80))
	}
	item, _ := strconv.ParseUint(m[2], base, 32)
	a := kepwareAddress{area: kepwareAreas[m[1][0]], item: int(item), bit: -1, half: strings.ToUpper(m[4])}
	if item > 1<<16 {
		return a, fmt.Sprintf("%s is beyond the last address 65536", s)
	}
	if m[3] == "" {
		return a, ""
	}
	return a.suffix(s, m[3])
}

// suffix reads what stands behind the dot: a bit, or a length of a string with
// H or L.
func (a kepwareAddress) suffix(s, digits string) (kepwareAddress, string) {
	n, _ := strconv.Atoi(digits)
	switch {
	case a.area.Bits():
		return a, fmt.Sprintf("%s picks a bit of one bit", s)
	case a.half == "" && n > 16:
		return a, fmt.Sprintf("%s: a register has no bit %d", s, n)
	case a.half == "":
		a.bit = n
	case n < 2 || n > 240 || n%2 != 0:
		return a, fmt.Sprintf("%s: the length of a string is an even number of bytes from 2 to 240", s)
	default:
		a.length = n
	}
	return a, ""
}

// kepwareBase is what the whole file shows of two settings of the device that
// stand in no row.
type kepwareBase struct {
	item, bit       int    // what is subtracted
	itemWhy, bitWhy string // why nothing can be said; empty if it can
}

// kepwareBase finds the settings "zero-based addressing" (on: one is subtracted
// from what is written) and "zero-based bit addressing": an item 0 or 65536 and
// a bit 0 or 16 exist under one setting only.
func (in *reading) kepwareBase(all []kepwareAddress) kepwareBase {
	seen := map[string]bool{}
	bits := false
	for _, a := range all {
		seen["item 0"] = seen["item 0"] || a.item == 0
		seen["item 65536"] = seen["item 65536"] || a.item == 1<<16
		seen["bit 0"] = seen["bit 0"] || a.bit == 0
		seen["bit 16"] = seen["bit 16"] || a.bit == 16
		bits = bits || a.bit >= 0
	}
	base := kepwareBase{item: 1}
	switch {
	case seen["item 0"] && seen["item 65536"]:
		base.itemWhy = "the file has item 0 and item 65536: whether its addresses begin with 0 or 1 cannot be said"
	case seen["item 0"]:
		base.item = 0
		in.note("the file has item 0, so its addresses were taken as zero-based (400000 is holding:0)")
	case !seen["item 65536"] && len(all) > 0:
		in.note("addresses were taken as one-based (400001 is holding:0), Kepware's default; the device's setting is not in the file: check one tag with edgeagent doctor")
	}
	switch {
	case seen["bit 0"] && seen["bit 16"]:
		base.bitWhy = "the file has bit 0 and bit 16: whether its bits begin with 0 or 1 cannot be said"
	case seen["bit 16"]:
		base.bit = 1
		in.note("the file has bit 16, so its bits were taken as one-based (.1 is bit 0)")
	case bits && !seen["bit 0"]:
		in.note("bits were taken as zero-based, Kepware's default (.0 is the least significant)")
	}
	return base
}

func (in *reading) takeKepware(t *table, k kepwareRow, base kepwareBase) {
	a := k.address
	switch {
	case base.itemWhy != "":
		in.skip(k.line, k.name, "%s", base.itemWhy)
		return
	case a.bit >= 0 && base.bitWhy != "":
		in.skip(k.line, k.name, "%s", base.bitWhy)
		return
	case a.item-base.item > 65535:
		in.skip(k.line, k.name, "item %d is beyond the last address", a.item)
		return
	}
	if a.bit >= 0 {
		a.bit -= base.bit
	}
	tag := Tag{
		Line: k.line, Source: k.name, Address: modicon(a.area, a.item-base.item, a.bit), Length: a.length / 2,
		EngUnit: t.get(k.row, "eng units"), Comment: t.get(k.row, "description"),
	}
	typ, why := kepwareType(t.get(k.row, "data type"), a)
	if why == "" {
		tag.Type = typ
		tag.Order = in.kepwareOrder(typ, a)
		tag.Scaling, why = in.kepwareScaling(t, k)
	}
	if why != "" {
		in.skip(k.line, k.name, "%s", why)
		return
	}
	in.take(tag)
}

// kepwareType returns our type. Default is the driver's: Boolean for a bit,
// String with a length, else Word.
func kepwareType(name string, a kepwareAddress) (edgeagent.DataType, string) {
	lower := strings.ToLower(name)
	if strings.HasSuffix(lower, "array") {
		return "", fmt.Sprintf("type %s is an array", name)
	}
	oneBit := a.area.Bits() || a.bit >= 0
	if lower == "default" || lower == "" {
		switch {
		case oneBit:
			return edgeagent.TypeBool, ""
		case a.length > 0:
			return edgeagent.TypeString, ""
		}
		return edgeagent.TypeUint16, ""
	}
	typ, known := kepwareTypes[lower]
	switch {
	case lower == "byte" || lower == "char":
		return "", fmt.Sprintf("type %s: which byte of the register is meant is not said; give it type uint8h or uint8l by hand", name)
	case !known:
		return "", fmt.Sprintf("type %s has no counterpart", oneLine(name, 40))
	case oneBit && typ != edgeagent.TypeBool:
		return "", fmt.Sprintf("the address is one bit, the type %s is not", name)
	case !oneBit && typ == edgeagent.TypeBool:
		return "", "a Boolean of a whole register: which bit is meant is not said"
	case (typ == edgeagent.TypeString) != (a.length > 0):
		return "", fmt.Sprintf("type %s does not go with the address: a string has its length there, such as .20H", name)
	}
	return typ, ""
}

// kepwareOrder returns the order of a value of more than a register, Kepware's
// default being the least significant word first; and the byte order of a
// string, which its address says.
func (in *reading) kepwareOrder(typ edgeagent.DataType, a kepwareAddress) edgeagent.ByteOrder {
	swapped := in.options.Order == edgeagent.OrderBADC || in.options.Order == edgeagent.OrderDCBA
	switch {
	case a.area.Bits():
		return ""
	case typ == edgeagent.TypeString && a.half == "L":
		return edgeagent.OrderBADC
	case typ == edgeagent.TypeString:
		return edgeagent.OrderABCD
	case typ.Registers() > 1 && in.options.Order == "":
		return edgeagent.OrderCDAB
	case typ.Registers() > 1 || swapped:
		return in.options.Order
	default:
		return ""
	}
}

// kepwareScaling reads the columns of a linear scaling.
func (in *reading) kepwareScaling(t *table, k kepwareRow) (*Scaling, string) {
	switch kind := strings.ToLower(t.get(k.row, "scaling")); kind {
	case "", "none":
		return nil, ""
	case "linear":
	default:
		return nil, fmt.Sprintf("scaling %s has no counterpart", oneLine(kind, 40))
	}
	var f [4]float64
	for i, column := range []string{"raw low", "raw high", "scaled low", "scaled high"} {
		var err error
		if f[i], err = t.number(t.get(k.row, column)); err != nil {
			return nil, fmt.Sprintf("scaling: column %s: %v", column, err)
		}
	}
	s := &Scaling{Raw: [2]float64{f[0], f[1]}, Eng: [2]float64{f[2], f[3]}}
	if yes(t.get(k.row, "negate value")) {
		s.Eng = [2]float64{0 - f[2], 0 - f[3]} // not -0
	}
	low, high := yes(t.get(k.row, "clamp low")), yes(t.get(k.row, "clamp high"))
	if s.Clamp = low && high; low != high {
		in.note("line %d: %s is clamped at one end only; it was taken without a clamp", k.line, oneLine(k.name, 120))
	}
	return s, ""
}

func yes(s string) bool {
	switch strings.ToLower(s) {
	case "1", "true", "yes":
		return true
	}
	return false
}

func (in *reading) kepwareNotes(t *table) {
	if in.ordered > 0 && in.options.Order == "" {
		in.note("values of 32 and 64 bits were given the order CDAB, Kepware's default (first word low); the device's setting is not in the file: check one with edgeagent doctor, or import again with --order")
	}
	if t.has("scan rate") && len(in.result.Tags) > 0 {
		in.note("scan rates were not taken over: Kepware reads at its clients' rate by default; set scan for the device")
	}
}
