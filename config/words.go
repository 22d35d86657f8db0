package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgeagent"
)

// What plants really have instead of conditions: words whose bits are alarms,
// and the number of the present fault.

// wordBits is how many alarms a tag of the type holds.
var wordBits = map[edgeagent.DataType]int{
	edgeagent.TypeInt16: 16, edgeagent.TypeUint16: 16, edgeagent.TypeInt32: 32, edgeagent.TypeUint32: 32,
}

func (s *section) alarmWord(codes names, line Line) AlarmWord {
	w := AlarmWord{
		Tag:      s.tagName("alm1"),
		FirstBit: s.integer("first_bit", 0, 0, 1_000_000),
		Swap:     s.choice("swap", []string{"none", "bytes", "words"}),
		Priority: s.integer("priority", 3, 1, 4),
		Diagnose: s.boolean("diagnose", true),
		OnDelay:  s.duration("on_delay", 0, 0, day),
		OffDelay: s.duration("off_delay", 0, 0, day),
		Context:  texts(s.words("context")),
	}
	s.text("texts_file", "")
	w.Rows = s.alarmTexts("bit", w.Tag, w.Priority, codes, line)
	return w
}

func (s *section) alarmCode(codes names, line Line) AlarmCode {
	c := AlarmCode{
		Tag:      s.tagName("fault_no"),
		None:     s.wholes("none", []int64{0}),
		Priority: s.integer("priority", 3, 1, 4),
		Diagnose: s.boolean("diagnose", true),
		Context:  texts(s.words("context")),
	}
	s.text("texts_file", "")
	c.Rows = s.alarmTexts("value", c.Tag, c.Priority, codes, line)
	return c
}

func (s *section) tagName(example string) string {
	if !s.set("tag") {
		s.missing("tag", strconv.Quote(example))
	}
	return s.text("tag", "")
}

// wholes returns the whole numbers of a list.
func (s *section) wholes(key string, def []int64) []int64 {
	v := s.scalar(key, kindArray, "a list of whole numbers in brackets, such as [0]")
	if v == nil {
		return def
	}
	var out []int64
	for _, item := range v.items {
		n, err := parseWhole(strings.ReplaceAll(item.text, "_", ""))
		if item.kind != kindInt && !v.cell && !item.cell || err != nil {
			s.failAt(key, item.pos, "%q wants a list of whole numbers, such as [0]", key)
			continue
		}
		out = append(out, n)
	}
	return out
}

// alarmTexts reads the rows of a texts_file. A row without a code has the one
// that its bit would have without a row.
func (s *section) alarmTexts(number, tag string, priority int, codes names, line Line) []AlarmText {
	rows := make([]AlarmText, 0, len(s.t.rows))
	taken := names{}
	for _, item := range s.t.rows {
		t := s.section(item.table, s.schema+".texts_file", s)
		n, ok := t.whole(number)
		row := AlarmText{Number: n, Priority: t.integer("priority", priority, 1, 4), ActiveIn: t.activeIn(line)}
		row.Code = t.text("code", "")
		switch {
		case row.Code == "":
			row.Code = unlisted(tag, n)
		case !alarmCode.MatchString(row.Code):
			t.fail("code", "code %s is not allowed; want 1 to 64 of letters, digits, . _ : + and -", quote(row.Code))
		}
		row.Text = t.rowText(row.Code)
		if ok {
			if first, twice := taken.take(t, number, strconv.FormatInt(n, 10)); twice {
				t.fail(number, "%s %d stands in %s already; keep one row", number, n, first)
			}
			t.claimCode(codes, "code", row.Code)
		}
		rows = append(rows, row)
	}
	return rows
}

// unlisted is the code of a bit or value without a row.
func unlisted(tag string, number int64) string {
	return fmt.Sprintf("%s.%d", strings.ToUpper(tag), number)
}

// unlistedCodes books an alarm whose code is that of a bit or value without a
// row: the two could not be told apart.
func (s *section) unlistedCodes(k *scope, rows []AlarmText, possible func(number int64) bool) {
	name := s.text("tag", "")
	listed := map[string]bool{}
	for _, row := range rows {
		listed[unlisted(name, row.Number)] = true
	}
	prefix := strings.ToUpper(name) + "."
	for _, code := range slices.Sorted(maps.Keys(k.codes)) {
		number, found := strings.CutPrefix(code, prefix)
		if n, err := strconv.ParseInt(number, 10, 64); found && err == nil && unlisted(name, n) == code && !listed[code] && possible(n) {
			s.fail("tag", "%s of tag %s has no row and is called %s, which is an alarm in %s already; give it a row, or that alarm another code",
				number, quote(name), quote(code), s.where(k.codes[code], s.pos("tag")))
		}
	}
}

// whole returns a whole number that has to be there.
func (s *section) whole(key string) (int64, bool) {
	v := s.scalar(key, kindInt, "a whole number")
	if v == nil {
		if s.good(key) {
			s.missing(key, "7")
		}
		return 0, false
	}
	n, err := parseWhole(v.text)
	return n, err == nil
}

// rowText chooses among the texts of a row: the configured language, English,
// the one without a language, the first.
func (s *section) rowText(def string) string {
	all := map[string]string{}
	for i, e := range s.t.entries {
		if textColumn.MatchString(e.key) {
			all[e.key] = s.text(e.key, "")
			if _, first := all[""]; !first && i < len(s.t.entries) {
				all[""] = all[e.key]
			}
		}
	}
	for _, key := range []string{"text_" + s.language, "text_en", "text", ""} {
		if text := all[key]; text != "" {
			return text
		}
	}
	return def
}

// integerTag returns the tag of an alarm_word or alarm_code, which has to be
// a whole number as it stands in the PLC.
func (s *section) integerTag(k *scope, what string, types []edgeagent.DataType) (Tag, bool) {
	name := s.text("tag", "")
	if !s.good("tag") || k.bad[name] || name == "" {
		return Tag{}, false
	}
	i, known := k.byName[name]
	if !known {
		s.fail("tag", "tag %s is not in device %s%s", quote(name), quote(k.device), didYouMean(name, k.names))
		return Tag{}, false
	}
	t := k.list[i]
	switch {
	case t.Seen().Type == edgeagent.TypeBool:
		s.fail("tag", "tag %s is one bit; %s needs the whole word, write its address without the bit", quote(name), what)
	case !slices.Contains(types, t.Type):
		s.fail("tag", "tag %s is a %s; %s needs one of %s", quote(name), t.Type, what, list(typeWords(types)))
	case t.Scaling != nil || t.Scale != 1 || t.Offset != 0:
		s.fail("tag", "tag %s is scaled; %s needs the number as it stands in the PLC, remove scale, offset and scaling from the tag", quote(name), what)
	default:
		return t, true
	}
	return t, false
}

func typeWords(types []edgeagent.DataType) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return out
}

var (
	wordTypes = []edgeagent.DataType{edgeagent.TypeInt16, edgeagent.TypeUint16, edgeagent.TypeInt32, edgeagent.TypeUint32}
	codeTypes = append(slices.Clone(wordTypes), edgeagent.TypeInt8H, edgeagent.TypeInt8L, edgeagent.TypeUint8H, edgeagent.TypeUint8L,
		edgeagent.TypeInt64, edgeagent.TypeUint64, edgeagent.TypeBCD16, edgeagent.TypeBCD32)
)

// wordTag books a tag that is no word, and bits that the word does not have.
func (s *section) wordTag(w AlarmWord, k *scope) {
	t, ok := s.integerTag(k, "an alarm_word", wordTypes)
	if !ok {
		return
	}
	bits := wordBits[t.Type]
	if w.Swap == "words" && bits == 16 && s.good("swap") {
		s.fail("swap", `swap = "words" needs a word of 32 bits, and tag %s is a %s; use "bytes" or "none"`, quote(w.Tag), t.Type)
	}
	first, last := int64(w.FirstBit), int64(w.FirstBit+bits-1)
	s.unlistedCodes(k, w.Rows, func(n int64) bool { return n >= first && n <= last })
	for i, item := range s.t.rows {
		bit := item.table.get("bit")
		if n := w.Rows[i].Number; bit != nil && bit.value.as(kindInt) != nil && (n < first || n > last) && s.good("first_bit") {
			s.add(bit.pos, "bit %d is not in tag %s: it is a %s and first_bit is %d, so its bits are %d to %d; correct the row or first_bit",
				n, quote(w.Tag), t.Type, w.FirstBit, first, last)
		}
	}
}

func (s *section) codeTag(c AlarmCode, k *scope) {
	if _, ok := s.integerTag(k, "an alarm_code", codeTypes); ok {
		s.unlistedCodes(k, c.Rows, func(n int64) bool { return !slices.Contains(c.None, n) })
	}
}

// oncePerTag books a tag that is taken apart twice: each of its alarms would
// be raised twice.
func oncePerTag(lists ...[]*section) {
	unique := names{}
	for _, sections := range lists {
		for _, s := range sections {
			if s.good("tag") {
				if first, twice := unique.take(s, "tag", s.text("tag", "")); twice {
					s.fail("tag", "tag %s is taken apart in %s already; keep one, or each alarm is raised twice", quote(s.text("tag", "")), first)
				}
			}
		}
	}
}

// heartbeat reads which tag changes while the PLC's program runs.
func (s *section) heartbeat(d Device, tags []*section) *Heartbeat {
	if !s.set("heartbeat") {
		return nil
	}
	t := s.table("heartbeat")
	h := &Heartbeat{Tag: t.tagName("plc_counter"), Within: t.duration("changes_within", 10*time.Second, 100*time.Millisecond, day)}
	if s.broken || !t.good("tag") {
		return h
	}
	i := slices.IndexFunc(d.Tags, func(tag Tag) bool { return tag.Name == h.Tag })
	if i < 0 {
		all := make([]string, len(d.Tags))
		for i, tag := range d.Tags {
			all[i] = tag.Name
		}
		t.fail("tag", "tag %s is not in device %s%s", quote(h.Tag), quote(d.Name), didYouMean(h.Tag, all))
		return h
	}
	tag := d.Tags[i]
	switch {
	case !tags[i].good("type", "scan", "name"):
	case tag.Type == edgeagent.TypeString:
		t.fail("tag", "tag %s is a text; a heartbeat is a number that counts or a bit that toggles", quote(h.Tag))
	case t.good("changes_within") && h.Within < 2*tag.Scan:
		t.fail("changes_within", "changes_within %q is shorter than two scans of tag %s (%q): it would be frozen between two reads; raise it to %q",
			formatDuration(h.Within), quote(h.Tag), formatDuration(tag.Scan), formatDuration(3*tag.Scan))
	}
	return h
}

// modeUnknown is the mode of a line of whose modes none is true.
const modeUnknown = "unknown"

var modeName = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)

// modes reads the modes of a line. Their expressions are compiled when all
// devices are known.
func (s *section) modes() ([]Mode, []*section) {
	var modes []Mode
	sections, unique := s.tables("mode"), names{}
	for _, t := range sections {
		m := Mode{Name: t.required("name", modeName, "1 to 63 of a-z, 0-9, _ and -", `"cip"`), When: t.text("when", "")}
		if m.Name == modeUnknown {
			t.fail("name", `mode "unknown" is what the line is in when no other mode is true; choose another name`)
		}
		if !t.set("when") {
			t.missing("when", `"filler.state == 30"`)
		}
		unique.claim(t, "name", m.Name)
		modes = append(modes, m)
	}
	return modes, sections
}

// compileModes checks the expressions of the lines' modes, which may name the
// tags of any device.
func (r *reader) compileModes(c *Config) {
	if r.broken || r.checks.Mode == nil || len(r.modeSections) == 0 || slices.ContainsFunc(c.Devices, func(d Device) bool { return d.Name == "" }) {
		return
	}
	var tags []edgeagent.Tag
	for _, d := range c.Devices {
		for _, t := range d.Tags {
			tags = append(tags, t.Seen())
		}
	}
	for _, s := range r.modeSections {
		when := s.text("when", "")
		if !s.set("when") || !s.good("when") {
			continue
		}
		if err := r.checks.Mode(when, tags); err != nil {
			s.fail("when", "when %s: %s", quote(when), oneLine(err))
		}
	}
}
