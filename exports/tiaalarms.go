package exports

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// alarmText is the header of a text column: Event text [en-US], Alarm text;
// older versions begin with Alarm text, WinCC Professional ends with a 1.
var alarmText = regexp.MustCompile(`^(?:event|alarm) text(?: 1)?(?: \[([a-z]{2})(?:-[a-z0-9]+)*\])?(?:, alarm text(?: 1)?)?$`)

// autoName is what the editor names an alarm that nobody has named.
var autoName = regexp.MustCompile(`(?i)^discrete_alarm_\d+$`)

// field is where a panel puts a value into the text.
var field = regexp.MustCompile(`<field[^<>]*>(?:</field>)?`)

const highestBit = 31

// readTIAAlarms reads the discrete alarms of a panel: a text table for each
// trigger tag.
func readTIAAlarms(in *reading) error {
	read := in.readTable
	if isWorkbook(in.data) {
		read = in.readSheet
	}
	t, err := read("trigger tag", "trigger bit")
	if err != nil {
		return err
	}
	languages := in.textColumns(t)
	if len(languages) == 0 {
		return fmt.Errorf("no column holds the texts, such as %q", "Event text [en-US], Alarm text")
	}
	a := &alarmTable{reading: in, table: t, languages: languages, codes: coder{}, triggers: map[string]string{}, bits: map[string]bool{}, classes: map[string]int{}}
	for _, r := range t.rows {
		if !r.empty() {
			a.take(r)
		}
	}
	a.notes()
	return nil
}

// textColumns returns the column of each language; of two regions of one
// language the first counts.
func (in *reading) textColumns(t *table) map[string]int {
	out := map[string]int{}
	for i, h := range t.header {
		m := alarmText.FindStringSubmatch(heading(h))
		if m == nil {
			continue
		}
		language := m[1]
		if language == "" {
			language = in.options.Language
		}
		if _, double := out[language]; double {
			in.note("column %q is a second one for language %s and was left out", oneLine(h, 60), language)
			continue
		}
		out[language] = i
	}
	return out
}

type alarmTable struct {
	*reading
	table     *table
	languages map[string]int
	codes     coder
	triggers  map[string]string // what each tag is called in the export
	bits      map[string]bool   // tag and bit, each once
	classes   map[string]int
}

func (a *alarmTable) take(r row) {
	t := a.table
	id, name, trigger := t.get(r, "id"), t.get(r, "name"), t.get(r, "trigger tag")
	what := strings.TrimSpace(id + " " + name)
	tag := derive(trigger)
	bit, err := strconv.Atoi(t.get(r, "trigger bit"))
	texts := a.texts(r)
	key := fmt.Sprintf("%s.%d", tag, bit)
	switch {
	case trigger == "" || strings.EqualFold(trigger, noValue) || tag == "":
		a.skip(r.line, what, "it has no trigger tag")
	case err != nil || bit < 0:
		a.skip(r.line, what, "trigger bit %q is no bit", oneLine(t.get(r, "trigger bit"), 20))
	case bit > highestBit:
		a.skip(r.line, what, "trigger bit %d is beyond one word of 32 bits: %s is an array; give each of its words a tag, and its alarms those bits", bit, oneLine(trigger, 60))
	case len(texts) == 0:
		a.skip(r.line, what, "it has no text")
	case a.triggers[tag] != "" && !strings.EqualFold(a.triggers[tag], trigger):
		a.skip(r.line, what, "its trigger tag %s would be named %s, as %s is already; rename one of them", oneLine(trigger, 60), tag, oneLine(a.triggers[tag], 60))
	case a.bits[key]:
		a.skip(r.line, what, "bit %d of %s has a text already", bit, oneLine(trigger, 60))
	default:
		code, ok := a.code(id, name)
		if !ok {
			a.skip(r.line, what, "neither its name nor its ID makes a code that is not taken")
			return
		}
		a.bits[key], a.triggers[tag] = true, trigger
		a.classes[t.get(r, "class")]++
		a.result.Texts[tag] = append(a.result.Texts[tag], Text{Line: r.line, Key: KeyBit, Number: int64(bit), Code: code, Texts: texts})
	}
}

// code is the alarm's name, or its ID when nobody has named it: that is the
// number the panel shows.
func (a *alarmTable) code(id, name string) (string, bool) {
	candidates := []string{code(name), code(id)}
	if autoName.MatchString(name) {
		slices.Reverse(candidates)
	}
	for _, c := range candidates {
		if c, ok := a.codes.claim(c); ok {
			return c, true
		}
	}
	return "", false
}

func (a *alarmTable) texts(r row) map[string]string {
	out := map[string]string{}
	for language, column := range a.languages {
		if column >= len(r.cells) || strings.EqualFold(strings.TrimSpace(r.cells[column]), noValue) {
			continue
		}
		if text := oneLine(field.ReplaceAllString(r.cells[column], "…"), maxText); text != "" {
			out[language] = text
		}
	}
	return out
}

func (a *alarmTable) notes() {
	for _, tag := range a.result.TextTags() {
		a.note("%s has %d texts; give it an alarm_word with its own texts_file", tag, len(a.result.Texts[tag]))
	}
	if len(a.result.Texts) == 0 {
		return
	}
	a.note("bit 0 is the least significant bit of the word, as the panel counts. A controller that fills the word byte by byte or bit by bit (%%M0.0 is bit 8 of %%MW0) has its bytes the other way round for whoever reads words: raise one alarm and compare, and set swap = \"bytes\" if it is eight bits off")
	var classes []string
	for _, class := range slices.Sorted(maps.Keys(a.classes)) {
		if class != "" {
			classes = append(classes, fmt.Sprintf("%s (%d)", oneLine(class, 40), a.classes[class]))
		}
	}
	if len(classes) > 0 {
		a.note("alarm classes say nothing certain about priorities and were left out: %s; fill the column priority, 1 highest to 4", strings.Join(classes, ", "))
	}
}
