package llm

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"edgeagent"
)

// facts are what a diagnosis may rest on: the names, passages and numbers of
// its case.
type facts struct {
	names   map[string]string    // as a model saw it -> as the case has it
	sources map[string]string    // likewise, of passages
	safety  map[string]bool      // names of safety functions
	devices map[string]bool      // that have tags or alarms in the case
	numbers map[string][]float64 // by unit; "" holds those without
}

func newFacts(c edgeagent.Case, passages []Passage) *facts {
	f := &facts{names: map[string]string{}, sources: map[string]string{}, safety: map[string]bool{}, devices: map[string]bool{}, numbers: map[string][]float64{}}
	for _, a := range c.Alarms {
		f.addAlarm(a.Alarm)
		f.addEvidence(a.Evidence)
		f.addTime(c, a.Alarm)
	}
	for _, a := range c.Related {
		f.addAlarm(a)
		f.addTime(c, a)
	}
	for _, p := range c.Before {
		f.addText(p.Cause)
		f.addText(p.FixedBy)
	}
	for _, p := range passages {
		f.sources[shown(p.ID)] = p.ID
		f.addText(p.Title)
		f.addText(p.Text)
	}
	return f
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
		f.addValue(v, "")
	}
	if a.LastTime != nil {
		f.addText(a.LastTime.Cause)
		f.addText(a.LastTime.FixedBy)
	}
}

// addTime adds how long ago an alarm rose, from the first one and from now.
func (f *facts) addTime(c edgeagent.Case, a edgeagent.Alarm) {
	if a.RaisedAt.IsZero() {
		return
	}
	f.add("s", c.First().Alarm.RaisedAt.Sub(a.RaisedAt).Seconds())
	if !c.At.IsZero() {
		f.add("s", c.At.Sub(a.RaisedAt).Seconds())
	}
	if a.ClearedAt != nil {
		f.add("s", a.ClearedAt.Sub(a.RaisedAt).Seconds())
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
	unit := unitOf(t.EngUnit)
	f.addValue(t.Value, unit)
	f.addText(t.Text)
	f.add("s", t.AgeS)
	if t.LastChange != nil {
		f.add("s", ev.At.Sub(*t.LastChange).Seconds())
	}
	var known []float64
	if v, ok := t.Value.Float64(); ok {
		known = append(known, v)
	}
	for _, p := range []*float64{t.Min, t.Max, t.Mean, t.LimitLow, t.LimitHigh} {
		if p != nil {
			f.add(unit, *p)
			known = append(known, *p)
		}
	}
	for i, a := range known {
		for _, b := range known[i+1:] {
			f.add(unit, a-b)
		}
	}
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
// has none. 2.5 bar in a passage does not prove 2.5 %.
func (f *facts) addText(s string) {
	rest, from := "", 0
	for _, q := range quantities(s) {
		f.add(q.unit, q.value)
		rest, from = rest+s[from:q.from]+" ", q.to
	}
	for _, m := range anyNumber.FindAllString(rest+s[from:], -1) {
		if n, err := strconv.ParseFloat(strings.Replace(m, ",", ".", 1), 64); err == nil {
			f.add("", n)
		}
	}
}

func (f *facts) add(unit string, n float64) {
	if !math.IsNaN(n) && !math.IsInf(n, 0) {
		n, unit = inSeconds(n, unit)
		f.numbers[unit] = append(f.numbers[unit], math.Abs(n))
	}
}

// holds reports whether a quantity of an answer is one of the case: the same
// number to the digits that the answer gives, in the same unit or without one.
// Nothing at all is always allowed: "until the gauge shows 0 bar".
func (f *facts) holds(q quantity) bool {
	if q.value == 0 {
		return true
	}
	half := 0.5 * math.Pow(10, -float64(q.decimals))
	if f.near("", math.Abs(q.value), half) {
		return true
	}
	value, unit := inSeconds(math.Abs(q.value), q.unit)
	return f.near(unit, value, half*value/math.Abs(q.value))
}

func (f *facts) near(unit string, value, half float64) bool {
	for _, n := range f.numbers[unit] {
		if math.Abs(n-value) <= half*1.0001 {
			return true
		}
	}
	return false
}

// quantity is a number with a unit in a text.
type quantity struct {
	value    float64
	decimals int
	unit     string
	text     string
	from, to int // in the text it was found in
}

// units in the order of matching, longest first where one begins another.
const units = `°C|°F|K|%|mbar|bar|psi|kPa|MPa|hPa|Pa|kVA|kV|mV|V|mA|kA|A|kWh|kW|MW|W|kHz|MHz|Hz|rpm|1/min|U/min|` +
	`m³|m3|mm|cm|µm|km|m|ml|hl|l|L|kg|mg|g|kN|Nm|N|kΩ|MΩ|Ω|Ohm|ohm|dB|` +
	`ms|minutes|minute|Minuten|Minute|min|seconds|second|Sekunden|Sekunde|sec|hours|hour|Stunden|Stunde|h|s|` +
	`degrees|percent|Prozent|Grad|volts?|Volt|amps?|Ampere|bottles|Flaschen|bpm`

var (
	quantityPattern = regexp.MustCompile(`(^|[^\w.,])([+\-−]?\d+(?:[.,]\d+)?)\s?((?:` + units + `)(?:/(?:min|h|s|m3|m³))?)($|[^\p{L}\d])`)
	anyNumber       = regexp.MustCompile(`\d+(?:[.,]\d+)?`)
)

// quantities finds the numbers with units. It steps on by the number alone, so
// that the end of one may be the beginning of the next.
func quantities(s string) []quantity {
	var out []quantity
	for from := 0; from < len(s); {
		m := quantityPattern.FindStringSubmatchIndex(s[from:])
		if m == nil {
			break
		}
		number, unit := s[from+m[4]:from+m[5]], s[from+m[6]:from+m[7]]
		if q, ok := newQuantity(number, unit); ok {
			q.from, q.to = from+m[4], from+m[7]
			out = append(out, q)
		}
		from += m[7]
	}
	return out
}

func newQuantity(number, unit string) (quantity, bool) {
	number = strings.NewReplacer(",", ".", "−", "-").Replace(number)
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return quantity{}, false
	}
	_, fraction, _ := strings.Cut(number, ".")
	return quantity{value: n, decimals: len(fraction), unit: unitOf(unit), text: number + " " + unit}, true
}

// sameUnit maps the ways to write a unit to one.
var sameUnit = map[string]string{
	"minutes": "min", "minute": "min", "Minuten": "min", "Minute": "min",
	"seconds": "s", "second": "s", "Sekunden": "s", "Sekunde": "s", "sec": "s",
	"hours": "h", "hour": "h", "Stunden": "h", "Stunde": "h",
	"percent": "%", "Prozent": "%", "degrees": "°C", "Grad": "°C", "C": "°C", "degC": "°C",
	"volt": "V", "volts": "V", "Volt": "V", "amp": "A", "amps": "A", "Ampere": "A",
	"L": "l", "L/min": "l/min", "L/h": "l/h", "m3": "m³", "m3/h": "m³/h", "Ohm": "Ω", "ohm": "Ω",
	"1/min": "rpm", "U/min": "rpm", "Flaschen": "bottles", "bpm": "bottles/min", "Flaschen/min": "bottles/min",
}

func unitOf(s string) string {
	s = strings.TrimSpace(s)
	if u, found := sameUnit[s]; found {
		return u
	}
	return s
}

// inSeconds makes durations comparable.
func inSeconds(n float64, unit string) (float64, string) {
	switch unit {
	case "ms":
		return n / 1000, "s"
	case "min":
		return n * 60, "s"
	case "h":
		return n * 3600, "s"
	}
	return n, unit
}

// mention finds names of the form device.tag and device/CODE.
var mention = regexp.MustCompile(`(^|[^\w./-])([a-z0-9_-]{1,63})([./])([A-Za-z_][A-Za-z0-9_-]*)`)

// strangers returns the names in a text that belong to a device of the case
// but are not in it: a tag that a model made up.
func (f *facts) strangers(text string) []string {
	var out []string
	for _, m := range mention.FindAllStringSubmatch(text, -1) {
		name := m[2] + m[3] + m[4]
		if !f.devices[m[2]] || f.names[name] != "" {
			continue
		}
		if m[3] == "." && !isTagName(m[4]) || m[3] == "/" && !strings.ContainsAny(m[4], "0123456789_") {
			continue // the end of a sentence without its blank; "filler/capper"
		}
		out = append(out, name)
	}
	return out
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
