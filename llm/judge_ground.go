package llm

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"edgeagent"
)

// facts are what a diagnosis may rest on: the names, passages and numbers of
// its case.
type facts struct {
	names    map[string]string    // as a model saw it -> as the case has it
	sources  map[string]string    // likewise, of passages
	passages map[string]bool      // their files
	told     map[string]bool      // names and files that the passages mention
	safety   map[string]bool      // names of safety functions
	devices  map[string]bool      // that have tags or alarms in the case
	units    map[string]string    // of tags
	numbers  map[string][]float64 // by unit; "" holds those without
	zero     time.Time            // from which the prompt counts
}

func newFacts(c edgeagent.Case, passages []Passage) *facts {
	f := &facts{names: map[string]string{}, sources: map[string]string{}, passages: map[string]bool{}, told: map[string]bool{}, safety: map[string]bool{}, devices: map[string]bool{}, units: map[string]string{}, numbers: map[string][]float64{}}
	f.zero = c.First().Alarm.RaisedAt
	tags, _, _ := caseTags(c)
	f.add("s", skew(tags))
	for _, a := range c.Alarms { // the units of tags are known before the values of alarms
		f.addEvidence(a.Evidence)
	}
	for _, a := range c.Alarms {
		f.addAlarm(a.Alarm)
		f.addTime(c.At, a.Alarm)
	}
	for _, a := range c.Related {
		f.addAlarm(a)
		f.addTime(c.At, a)
	}
	for _, p := range c.Before {
		f.addEarlier(p.At, p.Cause, p.FixedBy)
	}
	for _, p := range passages {
		f.sources[shown(p.ID)] = p.ID
		f.passages[withoutAnchor(p.ID)] = true
		f.addText(p.Title)
		f.addText(p.Text)
		f.addMentions(p.Title + " " + p.Text)
	}
	return f
}

// addMentions adds the names in a passage: its checks may be repeated, though they
// are about a tag that nobody looked at. Texts of the plant prove no name, and
// neither does a passage that speaks to the model.
func (f *facts) addMentions(s string) {
	s = Clean(s, maxPassageText)
	names, files := mention.FindAllStringSubmatch(s, -1), passageMention.FindAllString(s, -1)
	if len(names)+len(files) == 0 || speaksToModel.MatchString(normal(s)) {
		return
	}
	for _, m := range names {
		f.told[m[2]+m[3]+m[4]] = true
	}
	for _, p := range files {
		f.told[withoutAnchor(p)] = true
	}
}

func (f *facts) addName(name string, safety bool) {
	if name == "" {
		return
	}
	f.names[shown(name)] = name
	if safety {
		f.safety[name] = true
	}
	if i := strings.IndexAny(name, "./"); i > 0 {
		f.devices[name[:i]] = true
	}
}

func (f *facts) addAlarm(a edgeagent.Alarm) {
	f.addName(a.Name(), a.Safety)
	f.addText(a.Text)
	f.addText(a.SourceText)
	for name, v := range a.Values {
		f.addName(name, false)
		f.addValue(v, f.units[name])
	}
	if a.LastTime != nil {
		f.addEarlier(a.LastTime.At, a.LastTime.Cause, a.LastTime.FixedBy)
	}
}

// addEarlier adds what an alarm was another time, and how long ago that is: of two
// dates a reader makes "two days ago".
func (f *facts) addEarlier(at time.Time, texts ...string) {
	if !at.IsZero() && !f.zero.IsZero() {
		f.add("s", f.zero.Sub(at).Seconds())
	}
	for _, t := range texts {
		f.addText(t)
	}
}

// addTime adds how long ago an alarm rose, from the first one and from now, and
// when it cleared, from the first one and from its own raise.
func (f *facts) addTime(now time.Time, a edgeagent.Alarm) {
	if a.RaisedAt.IsZero() {
		return
	}
	f.add("s", f.zero.Sub(a.RaisedAt).Seconds())
	if !now.IsZero() {
		f.add("s", now.Sub(a.RaisedAt).Seconds())
	}
	if a.ClearedAt != nil {
		f.add("s", a.ClearedAt.Sub(a.RaisedAt).Seconds(), a.ClearedAt.Sub(f.zero).Seconds())
	}
}

func (f *facts) addEvidence(ev *edgeagent.Evidence) {
	if ev == nil {
		return
	}
	f.add("s", ev.WindowS)
	if !ev.HistorySince.IsZero() {
		f.add("s", ev.At.Sub(ev.HistorySince).Seconds())
	}
	for _, g := range ev.Gaps {
		f.addText(g)
	}
	for _, list := range [][]edgeagent.Feature{ev.Tags, ev.Moved} {
		for _, t := range list {
			f.addFeature(t, ev)
		}
	}
}

// addFeature adds the numbers of a tag, and the differences between them that
// a careful reader would name: "rose by 40 %", "10 % above the limit".
func (f *facts) addFeature(t edgeagent.Feature, ev *edgeagent.Evidence) {
	f.addName(t.Tag, t.Safety)
	unit := readUnit(t.EngUnit)
	f.units[t.Tag] = unit
	f.addValue(t.Value, unit)
	f.addText(t.Text)
	f.add("s", t.AgeS)
	if t.LastChange != nil {
		f.add("s", ev.At.Sub(*t.LastChange).Seconds(), t.LastChange.Sub(f.zero).Seconds())
	}
	known := make([]float64, 0, 6*7) // six numbers and what is between each two, twice
	if v, ok := t.Value.Float64(); ok {
		known = append(known, v)
	}
	for _, p := range []*float64{t.Min, t.Max, t.Mean, t.LimitLow, t.LimitHigh} {
		if p != nil {
			known = append(known, *p)
		}
	}
	all := known
	for i, a := range known {
		all = append(all, short(a)) // as a model reads it
		for _, b := range known[i+1:] {
			all = append(all, a-b, short(a)-short(b))
		}
	}
	f.add(unit, all...)
	if t.SlopePerMin != nil {
		f.add(unit, *t.SlopePerMin)
		f.add(unit+"/min", *t.SlopePerMin)
	}
}

func (f *facts) addValue(v edgeagent.Value, unit string) {
	if n, ok := v.Float64(); ok {
		f.add(unit, n)
	}
	if s, ok := v.Any().(string); ok {
		f.addText(s)
	}
}

// addText adds every number of a text: with its unit, or without one where it
// has none. 2.5 bar in a passage does not prove 2.5 %, the code F212 is no 212,
// and the number of a step in a list is none at all.
func (f *facts) addText(s string) {
	s = westernDigits(s)
	rest, from := "", 0
	for _, q := range quantities(s) {
		f.addQuantity(q)
		if q.to > from {
			rest, from = rest+s[from:max(from, q.from)]+" ", q.to
		}
	}
	if rest += s[from:]; !strings.ContainsAny(rest, "0123456789") {
		return
	}
	for _, m := range bareNumber.FindAllStringSubmatchIndex(rest, -1) {
		if !ordinal.MatchString(rest[m[3]:]) {
			for _, n := range readings(rest[m[2]:m[3]]) {
				f.add("", n.value)
			}
		}
	}
}

func (f *facts) addQuantity(q quantity) {
	for _, n := range q.readings {
		f.add(q.unit, n.value)
	}
}

func (f *facts) add(unit string, numbers ...float64) {
	factor, base := inBase(unit)
	all := f.numbers[base]
	for _, n := range numbers {
		if !math.IsNaN(n) && !math.IsInf(n, 0) {
			all = append(all, math.Abs(n)*factor)
		}
	}
	f.numbers[base] = all
}

// holds reports whether a quantity of an answer is one of the case: the same
// number to the digits that the answer gives, in the same unit, a multiple of
// it, or without one. Nothing at all is always allowed: "until the gauge shows 0 bar".
func (f *facts) holds(q quantity) bool {
	return slices.ContainsFunc(q.readings, func(n reading) bool {
		value, half := math.Abs(n.value), 0.5*math.Pow(10, -float64(n.decimals))
		factor, base := inBase(q.unit)
		return value == 0 || f.near("", value, half) || f.near(base, value*factor, half*factor)
	})
}

func (f *facts) near(unit string, value, half float64) bool {
	return slices.ContainsFunc(f.numbers[unit], func(n float64) bool { return math.Abs(n-value) <= half*1.0001 })
}

// mention finds names of the form device.tag and device/CODE.
var mention = regexp.MustCompile(`(^|[^\w./-])([a-z0-9_-]{1,63})([./])([A-Za-z_][A-Za-z0-9_-]*)`)

// strangers returns the names in a text that belong to a device of the case
// but are not in it: a tag that a model made up.
func (f *facts) strangers(text string) []string {
	var out []string
	if !strings.ContainsAny(text, "./") {
		return nil
	}
	for _, m := range mention.FindAllStringSubmatch(text, -1) {
		name := m[2] + m[3] + m[4]
		if !f.devices[m[2]] || f.names[name] != "" || f.told[name] {
			continue
		}
		if m[3] == "." && !isTagName(m[4]) || m[3] == "/" && !strings.ContainsAny(m[4], "0123456789_") {
			continue // the end of a sentence without its blank; "filler/capper"
		}
		out = append(out, name)
	}
	for _, p := range passageMention.FindAllString(text, -1) {
		if file := withoutAnchor(p); !f.passages[file] && !f.told[file] {
			out = append(out, p)
		}
	}
	return out
}

// passageMention finds the files of a runbook.
var passageMention = regexp.MustCompile(`[\w./-]*\w\.(?:md|csv)\b(?:#[\w-]+)?`)

func withoutAnchor(path string) string {
	path, _, _ = strings.Cut(path, "#")
	return path[strings.LastIndexByte(path, '/')+1:]
}

func isTagName(s string) bool {
	return s == strings.ToLower(s) && !strings.Contains(s, "-") && s != "md" && s != "csv"
}

// known returns the case's own spelling of names a model cited, and those that
// are not in the case.
func known(cited []string, names map[string]string) (held, unknown []string) {
	for _, n := range cited {
		if real, found := names[n]; found {
			held = append(held, real)
		} else {
			unknown = append(unknown, n)
		}
	}
	return held, unknown
}
