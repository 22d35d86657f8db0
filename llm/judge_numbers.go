package llm

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// quantity is a number with a unit in a text.
type quantity struct {
	readings []reading // "1,200" is two: with a comma for thousands, and for decimals
	unit     string
	text     string
	from, to int // in the text it was found in
}

type reading struct {
	value    float64
	decimals int
}

// unitNames are the units of a plant and the ways to write them. Case matters
// for symbols of one or two letters: mW is no MW.
var unitNames = map[string]string{
	"°C": "°C degC °c Grad degrees deg ° celsius", "°F": "degF fahrenheit", "K": "kelvin", "%": "percent prozent pct",
	"bar": "barg bara bars", "mbar": "millibar", "Pa": "pascal", "hPa": "", "kPa": "kilopascal", "MPa": "", "psi": "psig",
	"V": "volt volts VDC VAC Vdc Vac", "mV": "millivolt millivolts", "kV": "", "A": "amp amps ampere amperes", "mA": "milliamp milliamps milliampere", "kA": "",
	"W": "watt watts", "kW": "kilowatt", "MW": "", "kWh": "", "VA": "", "kVA": "", "Hz": "hertz", "kHz": "kilohertz", "MHz": "",
	"rpm": "1/min U/min upm", "mm": "millimeter millimetre millimeters millimetres", "cm": "centimeter centimetre zentimeter", "µm": "μm um micron microns", "m": "meter metre meters metres", "km": "",
	"ml": "milliliter millilitre", "hl": "", "l": "L liter litre liters litres", "m³": "m3",
	"kg": "kilogram kilogramm kilograms", "g": "gram gramm grams", "mg": "", "N": "newton", "kN": "", "Nm": "", "Ω": "ohm ohms", "kΩ": "kohm", "MΩ": "mohm", "dB": "",
	"ms": "millisecond milliseconds millisekunden", "s": "sec secs second seconds sekunde sekunden sek", "min": "mins minute minutes minuten", "h": "hr hrs hour hours stunde stunden std", "d": "day days tag tage tagen",
	"bottles": "bottle flaschen flasche", "bpm": "",
}

// multiples are the units that differ by a factor.
var multiples = map[string]struct {
	factor float64
	base   string
}{
	"ms": {1e-3, "s"}, "min": {60, "s"}, "h": {3600, "s"}, "d": {86400, "s"},
	"mbar": {1e-3, "bar"}, "hPa": {1e-3, "bar"}, "Pa": {1e-5, "bar"}, "kPa": {1e-2, "bar"}, "MPa": {10, "bar"}, "psi": {0.0689476, "bar"},
	"mV": {1e-3, "V"}, "kV": {1e3, "V"}, "mA": {1e-3, "A"}, "kA": {1e3, "A"}, "kW": {1e3, "W"}, "MW": {1e6, "W"},
	"kHz": {1e3, "Hz"}, "MHz": {1e6, "Hz"}, "µm": {1e-6, "m"}, "mm": {1e-3, "m"}, "cm": {1e-2, "m"}, "km": {1e3, "m"},
	"ml": {1e-3, "l"}, "hl": {100, "l"}, "m³": {1e3, "l"}, "mg": {1e-3, "g"}, "kg": {1e3, "g"}, "kN": {1e3, "N"}, "kΩ": {1e3, "Ω"}, "MΩ": {1e6, "Ω"},
}

var (
	sameUnit = unitIndex()
	// per is what a rate adds to a unit.
	per             = `(?:\s?/\s?(min|h|s|m3|m³|l)|\s(?:per|pro|je|a|an|in der)\s(\pL+))?`
	quantityPattern = newPattern(func() string {
		return `(^|[^\w.,])([+\-−]?` + numeral + `)[\s-]?(` + unitPattern() + `)` + per + `($|[^\p{L}\d])`
	})
	bareNumber  = regexp.MustCompile(`(?:^|[^\w.,])(` + numeral + `)(?:$|\W)`)
	ordinal     = regexp.MustCompile(`^[.)]\s`)
	rangeBefore = regexp.MustCompile(`(?:^|[^\w.,])([+\-−]?` + numeral + `)\s?(?:-|–|—|to|bis|\.{2,3}|…|±|\+/-)\s?$`)
	pairBefore  = regexp.MustCompile(`(?i)(?:between|from|zwischen|von)\s([+\-−]?` + numeral + `)\s(?:and|to|und|bis)\s$`)
)

const numeral = `\d+(?:[ ’']\d{3})*(?:[.,]\d+)*`

func longestFirst(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }

// unitIndex maps every way to write a unit to the one of the lists. Words of
// three letters and more may be written in any case.
func unitIndex() map[string]string {
	out := map[string]string{"C": "°C"}
	for unit, others := range unitNames {
		for _, name := range append(strings.Fields(others), unit) {
			out[name] = unit
			if len([]rune(name)) > 2 && unit != "kWh" {
				out[strings.ToLower(name)] = unit
			}
		}
	}
	return out
}

func unitPattern() string {
	names := slices.SortedFunc(maps.Keys(unitIndex()), longestFirst)
	var out []string
	for _, n := range names {
		switch quoted := regexp.QuoteMeta(n); {
		case n == "C":
		case len([]rune(n)) > 2:
			out = append(out, "(?i:"+quoted+")")
		default:
			out = append(out, "(?-i:"+quoted+")")
		}
	}
	return strings.Join(out, "|")
}

// unitOf returns the lists' way to write a unit; one that they do not have
// stays as it is.
func unitOf(s string) string {
	s = strings.TrimSpace(s)
	if u, found := sameUnit[s]; found {
		return u
	}
	if u, found := sameUnit[strings.ToLower(s)]; found && len(s) > 2 {
		return u
	}
	if a, b, found := strings.Cut(s, "/"); found && a != "" {
		return unitOf(a) + "/" + unitOf(b)
	}
	return s
}

// readUnit returns a tag's unit as it is read behind a number: bar of "bar(g)", %
// of "% rH", Nm of "Nm³/h". What a model repeats is read so too.
func readUnit(s string) string {
	if q := quantities("2.5 " + s); len(q) == 1 && q[0].from == 0 {
		return q[0].unit
	}
	return unitOf(s)
}

// inBase returns the unit in which numbers are compared, and how many of it
// one is: 1 mbar is 0.001 bar, 6 m³/h are 100 l/min.
func inBase(unit string) (float64, string) {
	if unit == "bpm" {
		unit = "bottles/min"
	}
	a, b, rate := strings.Cut(unit, "/")
	factor, base := 1.0, a
	if m, found := multiples[a]; found {
		factor, base = m.factor, m.base
	}
	if !rate {
		return factor, base
	}
	below, time := inBase(b)
	return factor / below, base + "/" + time
}

// quantities finds the numbers with units, in figures of any script and in
// words; of a range both ends. It steps on by the number alone, so that the end
// of one may be the beginning of the next.
func quantities(s string) []quantity {
	var out []quantity
	if s = westernDigits(s); strings.ContainsAny(s, "0123456789") {
		out = written(s)
	}
	return append(out, inWords(s)...)
}

// inWords finds "five bar" and "zwanzig Sekunden".
func inWords(s string) []quantity {
	var out []quantity
	value, text := 0, ""
	for w := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == '-' || r == '\u2011' }) {
		w = strings.Trim(w, ".,;:!?()\"'")
		n := spelled[strings.ToLower(w)]
		switch {
		case value > 0 && n > 0 && n < 10 && value%10 == 0: // twenty five
			value, text = value+n, text+" "+w
		case n > 0:
			value, text = n, w
		case value > 0 && (sameUnit[w] != "" || sameUnit[strings.ToLower(w)] != "" && len(w) > 2):
			out = append(out, quantity{readings: []reading{{value: float64(value)}}, unit: unitOf(w), text: text + " " + w})
			value = 0
		default:
			value = 0
		}
	}
	return out
}

func written(s string) []quantity {
	var out []quantity
	for from := 0; from < len(s); {
		m := quantityPattern.FindStringSubmatchIndex(s[from:])
		if m == nil {
			break
		}
		begin, end := from+m[4], from+m[7]
		unit := s[from+m[6] : end]
		for _, g := range []int{8, 10} {
			if m[g] >= 0 && sameUnit[s[from+m[g]:from+m[g+1]]] != "" {
				unit, end = unit+"/"+s[from+m[g]:from+m[g+1]], from+m[g+1]
			}
		}
		q := quantity{readings: readings(s[begin : from+m[5]]), unit: unitOf(unit), from: begin, to: end}
		q.text = s[begin:from+m[5]] + " " + unit
		if other := otherEnd(s[:begin]); other != "" {
			out = append(out, quantity{readings: readings(other), unit: q.unit, text: other + " " + unit, from: begin, to: begin})
		}
		out = append(out, q)
		from = end
	}
	return out
}

// otherEnd returns the number in front of a range's last one.
func otherEnd(before string) string {
	before = before[max(0, len(before)-80):] // what stands farther off is no end of this range
	for _, p := range []*regexp.Regexp{rangeBefore, pairBefore} {
		if m := p.FindStringSubmatch(before); m != nil {
			return m[1]
		}
	}
	return ""
}

// readings returns what a number may mean. A separator with three digits behind
// it is one of thousands here and of decimals there; digits behind a blank may
// be a number of their own.
func readings(s string) []reading {
	s = strings.TrimLeft(strings.ReplaceAll(s, "−", "-"), "+-")
	var out []reading
	if i := strings.LastIndexAny(s, " ’'"); i >= 0 {
		out = append(out, readings(s[i+1:])...)
		if len(s)-i-1 < 3 {
			return out
		}
		s = strings.NewReplacer(" ", "", "’", "", "'", "").Replace(s)
	}
	dot, comma := strings.Count(s, "."), strings.Count(s, ",")
	last := strings.LastIndexAny(s, ".,")
	thousands := last >= 0 && len(s)-last-1 == 3 && !strings.HasPrefix(s, "0")
	plain := strings.NewReplacer(".", "", ",", "").Replace(s)
	if last < 0 || thousands && (dot == 0 || comma == 0) {
		out = appendNumber(out, plain)
	}
	if last >= 0 && (dot+comma == 1 || dot == 1 && s[last] == '.' || comma == 1 && s[last] == ',') {
		whole := strings.NewReplacer(".", "", ",", "").Replace(s[:last])
		out = appendNumber(out, whole+"."+s[last+1:])
	}
	return out
}

func appendNumber(out []reading, s string) []reading {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return out
	}
	_, fraction, _ := strings.Cut(s, ".")
	return append(out, reading{n, len(fraction)})
}

// westernDigits writes the digits of all scripts as 0 to 9: a number does not
// become another one by being written in full width.
func westernDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 || !unicode.IsDigit(r) {
			return r
		}
		zero := r
		for unicode.IsDigit(zero - 1) {
			zero--
		}
		return '0' + (r-zero)%10
	}, s)
}

// spelled are the numbers that are written in words, from two on: "one minute"
// is no measurement.
var spelled = spelledNumbers()

func spelledNumbers() map[string]int {
	ones := [][]string{
		strings.Fields("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"),
		strings.Fields("zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn"),
	}
	tens := [][]string{
		strings.Fields("twenty thirty forty fifty sixty seventy eighty ninety hundred"),
		strings.Fields("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert"),
	}
	out := map[string]int{}
	for language := range ones {
		for i, word := range ones[language] {
			out[word] = i + 2
		}
		for i, ten := range tens[language] {
			out[ten] = 10 * (i + 2)
			for k, one := range append([]string{"ein"}, ones[1][:8]...) {
				if language == 1 && i < 8 {
					out[one+"und"+ten] = 10*(i+2) + k + 1
				}
			}
		}
	}
	return out
}
