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
	for i, s := range sections {
		s.references(d.Alarms[i], *d)
		s.expressions(d.Alarms[i], *d, tags)
	}
	inhibitionLoops(sections, d.Alarms)
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
func (s *section) references(a Alarm, d Device) {
	tags, codes := make([]string, len(d.Tags)), make([]string, len(d.Alarms))
	for i, t := range d.Tags {
		tags[i] = t.Name
	}
	for i, other := range d.Alarms {
		codes[i] = other.Code
	}
	for _, w := range s.words("context") {
		if !slices.Contains(tags, w.text) {
			s.failAt("context", w.pos, "tag %s is not in device %s%s", quote(w.text), quote(d.Name), didYouMean(w.text, tags))
		}
	}
	for _, w := range s.words("inhibited_by") {
		switch {
		case w.text == a.Code:
			s.failAt("inhibited_by", w.pos, "alarm %s inhibits itself and could never be raised; remove it", quote(w.text))
		case !slices.Contains(codes, w.text):
			s.failAt("inhibited_by", w.pos, "alarm %s is not in device %s%s", quote(w.text), quote(d.Name), didYouMean(w.text, codes))
		}
	}
}

// expressions compiles when and clear. An expression that names a tag which is
// itself refused is left out: what it would say is the tag's fault.
func (s *section) expressions(a Alarm, d Device, tags []*section) {
	known := make([]edgeagent.Tag, 0, len(d.Tags))
	var refused []string
	for i, t := range d.Tags {
		known = append(known, t.Tag)
		if !tags[i].good("name", "type", "address") {
			refused = append(refused, t.Name)
		}
	}
	for _, e := range []struct{ key, text string }{{"when", a.When}, {"clear", a.Clear}} {
		if !s.set(e.key) || !s.good(e.key) || s.checks.Expr == nil || mentions(e.text, refused) {
			continue
		}
		if err := s.checks.Expr(e.text, known); err != nil {
			s.fail(e.key, "%s %s: %s", e.key, quote(e.text), err)
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
