package config

import (
	"maps"
	"regexp"
	"slices"

	"edgeagent"
)

var alarmCode = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}$`)

// deviceAlarms reads the alarms of a device into d: expressions, bits of words
// and numbers of faults. Their codes are one space of names.
func (r *reader) deviceAlarms(device *section, d *Device, tags []*section, line Line) {
	sections, unique := device.tables("alarm"), names{}
	for _, s := range sections {
		a := r.alarm(s, *d, line)
		s.claimCode(unique, "code", a.Code)
		d.Alarms = append(d.Alarms, a)
	}
	words, codes := device.tables("alarm_word"), device.tables("alarm_code")
	for _, s := range words {
		d.Words = append(d.Words, s.alarmWord(unique, line))
	}
	for _, s := range codes {
		d.Codes = append(d.Codes, s.alarmCode(unique, line))
	}
	if r.broken {
		return
	}
	k := knownTo(*d, tags, unique)
	for i, s := range sections {
		s.references(d.Alarms[i], k)
		s.expressions(d.Alarms[i], k)
	}
	oncePerTag(words, codes)
	for i, s := range words {
		s.wordTag(d.Words[i], k)
		s.contextTags(k)
	}
	for i, s := range codes {
		s.codeTag(d.Codes[i], k)
		s.contextTags(k)
	}
	inhibitionLoops(sections, d.Alarms)
}

// claimCode books a code that is taken already, or the agent's own.
func (s *section) claimCode(unique names, key, code string) {
	unique.claim(s, key, code)
	if slices.Contains(edgeagent.ReservedCodes, code) {
		s.fail(key, "code %q is reserved for the agent's own alarm; choose another", code)
	}
}

// scope is what the alarms of one device may name.
type scope struct {
	device string
	tags   []edgeagent.Tag
	byName map[string]int
	list   []Tag
	names  []string // of the tags
	codes  names
	bad    map[string]bool // tags that are refused themselves
}

func knownTo(d Device, tags []*section, codes names) *scope {
	k := &scope{device: d.Name, list: d.Tags, codes: codes, byName: make(map[string]int, len(d.Tags)), bad: map[string]bool{}}
	k.tags, k.names = make([]edgeagent.Tag, 0, len(d.Tags)), make([]string, 0, len(d.Tags))
	for i, t := range d.Tags {
		k.tags, k.names = append(k.tags, t.Seen()), append(k.names, t.Name)
		if _, twice := k.byName[t.Name]; !twice {
			k.byName[t.Name] = i
		}
		if !tags[i].good("name", "type", "address") {
			k.bad[t.Name] = true
		}
	}
	return k
}

func (k *scope) has(tag string) bool { _, ok := k.byName[tag]; return ok }

// used returns the tags that an expression names, all of them when it names
// something else: then the compiler has to say what it may have meant.
func (k *scope) used(expr string) []edgeagent.Tag {
	var out []edgeagent.Tag
	seen := map[string]bool{}
	for _, id := range identifiers.FindAllString(expr, -1) {
		i, known := k.byName[id]
		switch {
		case seen[id]:
		case known:
			out = append(out, k.tags[i])
		case !slices.Contains(reservedTags, id):
			return k.tags
		}
		seen[id] = true
	}
	return out
}

func (r *reader) alarm(s *section, d Device, line Line) Alarm {
	a := Alarm{
		Device:      d.Name,
		Line:        d.Line,
		Area:        line.Area,
		Code:        s.required("code", alarmCode, "1 to 64 of letters, digits, . _ : + and -", `"F212"`),
		When:        s.text("when", ""),
		Clear:       s.text("clear", ""),
		OnDelay:     s.duration("on_delay", 0, 0, day),
		OffDelay:    s.duration("off_delay", 0, 0, day),
		Priority:    s.integer("priority", 3, 1, 4),
		Context:     texts(s.words("context")),
		InhibitedBy: texts(s.words("inhibited_by")),
		ActiveIn:    s.activeIn(line),
		Settle:      s.duration("settle", 0, 0, day),
		Diagnose:    s.boolean("diagnose", true),
	}
	a.Text = s.localized("text", a.Code)
	if !s.set("when") {
		s.missing("when", `"level > 80"`)
	}
	if s.set("settle") && len(a.ActiveIn) == 0 && s.good("settle", "active_in") {
		s.fail("settle", `settle counts from the beginning of a mode of active_in, and there is none; add active_in, or remove it`)
	}
	return a
}

// activeIn reads the modes of the line in which an alarm means something.
func (s *section) activeIn(line Line) []string {
	words := s.words("active_in")
	known := []string{modeUnknown}
	for _, m := range line.Modes {
		if m.Name != "" && !slices.Contains(known, m.Name) {
			known = append(known, m.Name)
		}
	}
	for _, w := range words {
		switch {
		case slices.Contains(known, w.text) || s.broken:
		case len(known) == 1:
			s.failAt("active_in", w.pos, "line %s has no modes, so it is never in %s; add a [[line.mode]], or remove active_in", quote(line.Name), quote(w.text))
		default:
			s.failAt("active_in", w.pos, "mode %s is not on line %s; known are %s%s", quote(w.text), quote(line.Name), list(quoted(known)), didYouMean(w.text, known))
		}
	}
	return texts(words)
}

func texts(words []word) []string {
	var out []string
	for _, w := range words {
		out = append(out, w.text)
	}
	return out
}

// contextTags books tags that the device does not have.
func (s *section) contextTags(k *scope) {
	for _, w := range s.words("context") {
		if !k.has(w.text) {
			s.failAt("context", w.pos, "tag %s is not in device %s%s", quote(w.text), quote(k.device), didYouMean(w.text, k.names))
		}
	}
}

// references books tags and alarms that the device does not have.
func (s *section) references(a Alarm, k *scope) {
	s.contextTags(k)
	for _, w := range s.words("inhibited_by") {
		_, known := k.codes[w.text]
		switch {
		case w.text == a.Code:
			s.failAt("inhibited_by", w.pos, "alarm %s inhibits itself and could never be raised; remove it", quote(w.text))
		case !known:
			s.failAt("inhibited_by", w.pos, "alarm %s is not in device %s%s", quote(w.text), quote(k.device),
				didYouMean(w.text, slices.Sorted(maps.Keys(k.codes))))
		}
	}
}

// expressions compiles when and clear. An expression that names a tag which is
// itself refused is left out: what it would say is the tag's fault.
func (s *section) expressions(a Alarm, k *scope) {
	for _, e := range []struct{ key, text string }{{"when", a.When}, {"clear", a.Clear}} {
		if !s.set(e.key) || !s.good(e.key) || s.checks.Expr == nil || mentions(e.text, k.bad) {
			continue
		}
		if err := s.checks.Expr(e.text, k.used(e.text)); err != nil {
			s.fail(e.key, "%s %s: %s", e.key, quote(e.text), oneLine(err))
		}
	}
}

var identifiers = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// mentions reports whether an expression names one of the tags. A tag without
// a name may be any.
func mentions(expr string, tags map[string]bool) bool {
	if len(tags) == 0 || tags[""] {
		return tags[""]
	}
	return slices.ContainsFunc(identifiers.FindAllString(expr, -1), func(id string) bool { return tags[id] })
}

// inhibitionLoops books alarms that mute each other in a ring: once all are
// active, none would ever be heard.
func inhibitionLoops(sections []*section, alarms []Alarm) {
	by := map[string][]string{}
	for _, a := range alarms {
		by[a.Code] = a.InhibitedBy
	}
	for i, s := range sections {
		code := alarms[i].Code
		if s.good("code", "inhibited_by") && !slices.Contains(by[code], code) && reaches(by, code, code, map[string]bool{}) {
			s.fail("inhibited_by", "alarm %s is muted by alarms that it mutes itself; break the ring", quote(code))
		}
	}
}

func reaches(by map[string][]string, from, to string, seen map[string]bool) bool {
	for _, next := range by[from] {
		if next == to {
			return true
		}
		if !seen[next] {
			seen[next] = true
			if reaches(by, next, to, seen) {
				return true
			}
		}
	}
	return false
}
