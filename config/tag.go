package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgeagent"
)

var tagName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// reservedTags are words of the expression language: a tag of that name could
// not be used in an alarm.
var reservedTags = []string{
	"and", "or", "not", "in", "true", "false", "nil", "let", "if", "else", "matches", "contains", "rate",
}

var typeNames = func() []string {
	out := make([]string, len(edgeagent.DataTypes))
	for i, t := range edgeagent.DataTypes {
		out[i] = string(t)
	}
	return out
}()

// bitWidth is how many bits can be picked from a register of the type.
var bitWidth = map[edgeagent.DataType]int{
	edgeagent.TypeBool: 16, edgeagent.TypeInt16: 16, edgeagent.TypeUint16: 16, edgeagent.TypeInt32: 32, edgeagent.TypeUint32: 32,
}

// tags reads the tags of a device into d and returns their sections.
func (r *reader) tags(device *section, d *Device) []*section {
	sections := device.tables("tag")
	unique := names{}
	d.Tags = make([]Tag, 0, len(sections))
	for _, s := range sections {
		t := r.tag(s, device, *d)
		unique.claim(s, "name", t.Name)
		d.Tags = append(d.Tags, t)
	}
	return sections
}

func (r *reader) tag(s, device *section, d Device) Tag {
	t := Tag{
		Tag: edgeagent.Tag{
			Device:   d.Name,
			Name:     s.required("name", tagName, "1 to 63 of a-z, 0-9 and _, not beginning with a digit", `"level"`),
			EngUnit:  s.unitText("eng_unit"),
			Deadband: s.number("deadband", 0, 0, endless),
			Min:      s.limit("min"),
			Max:      s.limit("max"),
			Enum:     s.enum("enum"),
			Safety:   s.boolean("safety", false),
		},
		Addr:   edgeagent.Address{Bit: -1},
		Order:  edgeagent.ByteOrder(s.choiceOr("order", d.Order, byteOrders)),
		Scale:  s.number("scale", 1, -endless, endless),
		Offset: s.number("offset", 0, -endless, endless),
		Scan:   s.duration("scan", d.Scan, 50*time.Millisecond, time.Hour),
	}
	if slices.Contains(reservedTags, t.Name) {
		s.fail("name", "name %s is a word of the alarms' expressions; choose another, such as %q", quote(t.Name), t.Name+"_value")
	}
	t.Index = s.index("index")
	opcua := d.Protocol == OPCUAProtocol || d.Protocol == "" && s.looksLikeNode("address")
	if opcua {
		t.Address = s.node("address")
		t.Node = t.Address
	} else {
		t.Address, t.Addr = s.address("address")
	}
	s.boolean("raw_address", false)
	t.Type = s.dataType("type", t.Addr, opcua)
	t.Length = s.integer("length", 0, 1, 65535)
	t.String = s.stringFormat("string")
	t.Scaling = s.scaling("scaling")
	t.StaleAfter = s.staleAfter(device, d, t)
	s.checkTag(t, d)
	t.Fetch = fetch(t, d)
	return t
}

// fetch writes all that a value depends on: the same address in two notations
// is the same value, another order is another.
func fetch(t Tag, d Device) string {
	address := t.Addr.String()
	if t.Node != "" {
		address = t.Node
	}
	b := make([]byte, 0, 128)
	b = fmt.Appendf(b, "%s|%d|%s|%s|%s|%d|%s %s %s|%g|%g", d.URL, d.Unit, address, t.Order, t.Type, t.Length,
		t.String.Encoding, t.String.Header, t.String.Pad, t.Scale, t.Offset)
	if t.Scaling != nil {
		b = fmt.Appendf(b, "|%g %g %t", t.Scaling.Raw, t.Scaling.Eng, t.Scaling.Clamp)
	}
	if t.Index != nil {
		b = fmt.Appendf(b, "|[%d]", *t.Index)
	}
	return string(b)
}

// index reads the element of an array.
func (s *section) index(key string) *int {
	if !s.set(key) {
		return nil
	}
	n := s.integer(key, 0, 0, math.MaxInt32)
	return &n
}

// staleAfter is the device's when it is configured there, else follows the
// tag's own scan. A subscribed value that does not change is told by nothing
// but keep-alives, which come as often as the watchdog asks.
func (s *section) staleAfter(device *section, d Device, t Tag) time.Duration {
	if !device.set("stale_after") {
		if d.OPCUA != nil {
			return staleScans * max(t.Scan, d.OPCUA.Watchdog)
		}
		return staleScans * t.Scan
	}
	if s.set("scan") && s.good("scan") && device.good("stale_after") && t.Scan > d.StaleAfter {
		s.fail("scan", "scan %q is longer than the stale_after %q of the device: the value would always be stale; raise stale_after",
			formatDuration(t.Scan), formatDuration(d.StaleAfter))
	}
	return d.StaleAfter
}

func (s *section) choiceOr(key string, def edgeagent.ByteOrder, options []string) string {
	if !s.set(key) {
		return string(def)
	}
	return s.choice(key, options)
}

// unitText returns a unit: it may hold a slash, unlike a name.
func (s *section) unitText(key string) string {
	unit := s.text(key, "")
	if len(unit) > 32 || strings.ContainsFunc(unit, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		s.fail(key, "%s %s is not allowed; want at most 32 printable characters", key, quote(unit))
	}
	return unit
}

func (s *section) limit(key string) *float64 {
	if !s.set(key) {
		return nil
	}
	f := s.number(key, 0, -endless, endless)
	return &f
}

func (s *section) address(key string) (string, edgeagent.Address) {
	raw := s.boolean("raw_address", false)
	if !s.set(key) {
		s.missing(key, `"holding:100"`)
		return "", edgeagent.Address{Bit: -1}
	}
	text := s.text(key, "")
	if !s.good(key) {
		return "", edgeagent.Address{Bit: -1}
	}
	a, err := edgeagent.ParseAddress(text, raw)
	switch {
	case nodeID.MatchString(text):
		s.fail(key, "address %s is one of OPC UA, and the device speaks Modbus; want one such as \"holding:100\"", quote(text))
	case err != nil:
		s.fail(key, "%s", err)
	}
	return text, a
}

// dataType returns the type of a tag; a bit needs none.
func (s *section) dataType(key string, a edgeagent.Address, opcua bool) edgeagent.DataType {
	isBit := a.Area.Bits() || a.Area != 0 && a.Bit >= 0
	switch {
	case s.set(key):
		word := s.text(key, "")
		if s.good(key) && !slices.Contains(typeNames, word) {
			s.fail(key, "type %s is not known; want %s%s", quote(word), list(typeNames), didYouMean(word, typeNames))
		}
		if opcua && slices.Contains(registerTypes, edgeagent.DataType(word)) {
			s.fail(key, "type %q is a form of Modbus registers; a server's value is one of %s", word, list(opcuaTypes))
		}
		return edgeagent.DataType(word)
	case !isBit && s.good("address"):
		s.missing(key, `"uint16"`)
	}
	return edgeagent.TypeBool
}

// registerTypes are ways to pack a value into registers, which a server of OPC UA
// has no use for.
var registerTypes = []edgeagent.DataType{
	edgeagent.TypeInt8H, edgeagent.TypeUint8H, edgeagent.TypeFloat16, edgeagent.TypeBCD16, edgeagent.TypeBCD32,
}

var opcuaTypes = slices.DeleteFunc(slices.Clone(typeNames), func(name string) bool {
	return slices.Contains(registerTypes, edgeagent.DataType(name))
})

func (s *section) stringFormat(key string) StringFormat {
	t := s.table(key)
	return StringFormat{
		Encoding: t.choice("encoding", []string{"latin1", "utf8", "ascii", "utf16"}),
		Header:   t.choice("header", []string{"none", "s7", "logix"}),
		Pad:      t.choice("pad", []string{"zero", "space"}),
	}
}

// scaling reads raw and eng, each two numbers that differ.
func (s *section) scaling(key string) *Scaling {
	if !s.set(key) {
		return nil
	}
	t := s.table(key)
	sc := &Scaling{Raw: t.pair("raw"), Eng: t.pair("eng"), Clamp: t.boolean("clamp", false)}
	for _, k := range []string{"scale", "offset"} {
		if s.set(k) {
			s.fail(k, "%s and scaling are both set; keep one, they say the same in two ways", k)
		}
	}
	return sc
}

func (s *section) pair(key string) [2]float64 {
	if !s.set(key) {
		s.missing(key, "[0, 100]")
		return [2]float64{}
	}
	v := s.scalar(key, kindArray, "two numbers in brackets, such as [0, 100]")
	if v == nil {
		return [2]float64{}
	}
	var out [2]float64
	ok := len(v.items) == 2
	for i := range min(len(v.items), 2) {
		f, err := toFloat(v.items[i])
		out[i], ok = f, ok && err == nil && f >= -endless && f <= endless
	}
	switch {
	case !ok:
		s.fail(key, "%s wants two finite numbers in brackets, such as [0, 100]", key)
	case out[0] == out[1]:
		s.fail(key, "%s has the same number twice; a line needs two different points", key)
	}
	return out
}

// enum reads words for numbers. Keys of a TOML table are texts; here each is a
// whole number.
func (s *section) enum(key string) map[int64]string {
	if !s.set(key) {
		return nil
	}
	t := s.table(key)
	words := map[int64]string{}
	for _, e := range t.t.entries {
		word := t.localized(e.key, "")
		n, err := parseWhole(e.key)
		if err != nil {
			t.add(e.pos, "%s in %s is no whole number; write the value of the register, as in { 6 = \"Execute\" }", quote(e.key), t.t.title)
			continue
		}
		if _, twice := words[n]; twice {
			t.add(e.pos, "%d is in %s twice; keep one", n, t.t.title)
		}
		words[n] = word
	}
	return words
}

// parseWhole reads decimal or 0x; 010 is ten, as everywhere in the file.
func parseWhole(s string) (int64, error) {
	if digits, hex := strings.CutPrefix(strings.ToLower(s), "0x"); hex {
		return strconv.ParseInt(digits, 16, 64)
	}
	return strconv.ParseInt(s, 10, 64)
}
