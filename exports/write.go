package exports

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"edgeagent"
)

// column is one of a tags_file, and how a tag fills it.
type column struct {
	name string
	cell func(*Tag) string
}

// columns are in the order of the documentation. Those that no tag fills are
// left out, but for the first three.
var columns = []column{
	{"name", func(t *Tag) string { return t.Name }},
	{"address", func(t *Tag) string { return t.Address }},
	{"type", func(t *Tag) string { return string(t.Type) }},
	{"order", func(t *Tag) string { return string(t.Order) }},
	{"length", func(t *Tag) string {
		if t.Type != edgeagent.TypeString || t.Length == 0 {
			return ""
		}
		return strconv.Itoa(t.Length)
	}},
	{"index", func(t *Tag) string {
		if t.Index == nil {
			return ""
		}
		return strconv.Itoa(*t.Index)
	}},
	{"raw_low", scaled(func(s *Scaling) string { return number(s.Raw[0]) })},
	{"raw_high", scaled(func(s *Scaling) string { return number(s.Raw[1]) })},
	{"eng_low", scaled(func(s *Scaling) string { return number(s.Eng[0]) })},
	{"eng_high", scaled(func(s *Scaling) string { return number(s.Eng[1]) })},
	{"clamp", scaled(func(s *Scaling) string {
		if s.Clamp {
			return "true"
		}
		return ""
	})},
	{"eng_unit", func(t *Tag) string { return t.EngUnit }},
	{"comment", func(t *Tag) string { return t.Comment }},
}

func scaled(cell func(*Scaling) string) func(*Tag) string {
	return func(t *Tag) string {
		if t.Scaling == nil {
			return ""
		}
		return cell(t.Scaling)
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

const requiredColumns = 3

// WriteTags writes the tags as a tags_file: CSV in UTF-8 with the columns that
// are needed. An error is the writer's.
func (r *Result) WriteTags(w io.Writer) error {
	var used []column
	for i, c := range columns {
		if i < requiredColumns || slices.ContainsFunc(r.Tags, func(t Tag) bool { return c.cell(&t) != "" }) {
			used = append(used, c)
		}
	}
	rows := make([][]string, 0, len(r.Tags)+1)
	header := make([]string, len(used))
	for i, c := range used {
		header[i] = c.name
	}
	rows = append(rows, header)
	for i := range r.Tags {
		cells := make([]string, len(used))
		for j, c := range used {
			cells[j] = c.cell(&r.Tags[i])
		}
		rows = append(rows, cells)
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write tags: %w", err)
	}
	return nil
}

// TextTags returns the tags that have texts, sorted.
func (r *Result) TextTags() []string { return slices.Sorted(maps.Keys(r.Texts)) }

// WriteTexts writes the texts of one tag as a texts_file. A tag without texts
// is an error, and so is one whose texts name bits and values alike.
func (r *Result) WriteTexts(w io.Writer, tag string) error {
	texts := r.Texts[tag]
	if len(texts) == 0 {
		return fmt.Errorf("write texts of %q: it has none; those with texts are %s", tag, strings.Join(r.TextTags(), ", "))
	}
	languages := languagesOf(texts)
	header := []string{texts[0].Key, "code", "priority"}
	for _, l := range languages {
		header = append(header, "text_"+l)
	}
	rows := [][]string{header}
	for _, t := range texts {
		if t.Key != texts[0].Key {
			return fmt.Errorf("write texts of %q: line %d names a %s, line %d a %s; one table cannot hold both",
				tag, texts[0].Line, texts[0].Key, t.Line, t.Key)
		}
		cells := []string{strconv.FormatInt(t.Number, 10), t.Code, ""}
		if t.Priority > 0 {
			cells[2] = strconv.Itoa(t.Priority)
		}
		for _, l := range languages {
			cells = append(cells, t.Texts[l])
		}
		rows = append(rows, cells)
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write texts of %q: %w", tag, err)
	}
	return nil
}

func languagesOf(texts []Text) []string {
	seen := map[string]bool{}
	for _, t := range texts {
		for l := range t.Texts {
			seen[l] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// WriteAlarms writes the alarms that have a condition of their own as
// [[device.alarm]] blocks, to be put under their [[device]]. An error is the
// writer's.
func (r *Result) WriteAlarms(w io.Writer) error {
	for _, a := range r.Alarms {
		var b strings.Builder
		fmt.Fprintf(&b, "[[device.alarm]]\ncode = %s\nwhen = %s\n", toml(a.Code), toml(a.When))
		if a.OnDelay != "" {
			fmt.Fprintf(&b, "on_delay = %s\n", toml(a.OnDelay))
		}
		if a.OffDelay != "" {
			fmt.Fprintf(&b, "off_delay = %s\n", toml(a.OffDelay))
		}
		if a.Priority > 0 {
			fmt.Fprintf(&b, "priority = %d\n", a.Priority)
		}
		b.WriteString("text = { ")
		for i, l := range slices.Sorted(maps.Keys(a.Texts)) {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s = %s", l, toml(a.Texts[l]))
		}
		b.WriteString(" }\n\n")
		if _, err := io.WriteString(w, b.String()); err != nil {
			return fmt.Errorf("write alarms: %w", err)
		}
	}
	return nil
}

// toml quotes a text of one line as a basic string.
func toml(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
