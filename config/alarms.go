package config

import (
	"regexp"
	"slices"

	"edgeagent"
)

var alarmCode = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}$`)

// reservedCodes are raised by the agent itself.
var reservedCodes = []string{edgeagent.CodeDeviceStopped}

// deviceAlarms reads the alarms of a device into d.
func (r *reader) deviceAlarms(device *section, d *Device, tags []*section) {
	sections := device.tables("alarm")
	unique := names{}
	for _, s := range sections {
		a := r.alarm(s, *d)
		unique.claim(s, "code", a.Code)
		if slices.Contains(reservedCodes, a.Code) {
			s.fail("code", "code %q is reserved for the agent's own alarm; choose another", a.Code)
		}
		d.Alarms = append(d.Alarms, a)
	}
	if r.broken {
		return
	}
	known := knownTo(*d, tags)
	for i, s := range sections {
		s.references(d.Alarms[i], known)
		s.expressions(d.Alarms[i], known)
	}
	inhibitionLoops(sections, d.Alarms)
}

// scope is what the alarms of one device may name.
type scope struct {
	device string
	tags   []edgeagent.Tag
	names  []string // of the tags
	codes  []string
	bad    []string // tags that are refused themselves
}

func knownTo(d Device, tags []*section) scope {
	k := scope{device: d.Name}
	for i, t := range d.Tags {
		k.tags, k.names = append(k.tags, t.Seen()), append(k.names, t.Name)
		if !tags[i].good("name", "type", "address") {
			k.bad = append(k.bad, t.Name)
		}
	}
	for _, a := range d.Alarms {
		k.codes = append(k.codes, a.Code)
	}
	return k
}

func (r *reader) alarm(s *section, d Device) Alarm {
	a := Alarm{
		Device:      d.Name,
		Code:        s.required("code", alarmCode, "1 to 64 of letters, digits, . _ : + and -", `"F212"`),
		When:        s.text("when", ""),
		Clear:       s.text("clear", ""),
		OnDelay:     s.duration("on_delay", 0, 0, day),
		OffDelay:    s.duration("off_delay", 0, 0, day),
		Priority:    s.integer("priority", 3, 1, 4),
		Context:     texts(s.words("context")),
		InhibitedBy: texts(s.words("inhibited_by")),
		Diagnose:    s.boolean("diagnose", true),
	}
	a.Text = s.localized("text", a.Code)
	if !s.set("when") {
		s.missing("when", `"level > 80"`)
	}
	return a
}

func texts(words []word) []string {
	var out []string
	for _, w := range words {
		out = append(out, w.text)
	}
	return out
}

// references books tags and alarms that the device does not have.
func (s *section) references(a Alarm, k scope) {
	for _, w := range s.words("context") {
		if !slices.Contains(k.names, w.text) {
			s.failAt("context", w.pos, "tag %s is not in device %s%s", quote(w.text), quote(k.device), didYouMean(w.text, k.names))
		}
	}
	for _, w := range s.words("inhibited_by") {
		switch {
		case w.text == a.Code:
			s.failAt("inhibited_by", w.pos, "alarm %s inhibits itself and could never be raised; remove it", quote(w.text))
		case !slices.Contains(k.codes, w.text):
			s.failAt("inhibited_by", w.pos, "alarm %s is not in device %s%s", quote(w.text), quote(k.device), didYouMean(w.text, k.codes))
		}
	}
}

// expressions compiles when and clear. An expression that names a tag which is
// itself refused is left out: what it would say is the tag's fault.
func (s *section) expressions(a Alarm, k scope) {
	for _, e := range []struct{ key, text string }{{"when", a.When}, {"clear", a.Clear}} {
		if !s.set(e.key) || !s.good(e.key) || s.checks.Expr == nil || mentions(e.text, k.bad) {
			continue
		}
		if err := s.checks.Expr(e.text, k.tags); err != nil {
			s.fail(e.key, "%s %s: %s", e.key, quote(e.text), oneLine(err))
		}
	}
}

var identifiers = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// mentions reports whether an expression names one of the tags. A tag without
// a name may be any.
func mentions(expr string, tags []string) bool {
	if slices.Contains(tags, "") {
		return true
	}
	return slices.ContainsFunc(identifiers.FindAllString(expr, -1), func(id string) bool { return slices.Contains(tags, id) })
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
