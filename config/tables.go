package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// TagColumns are the columns of a tags_file, found by their names in the first
// row, in any order. A comment is for people alone.
var TagColumns = []string{
	"name", "address", "type", "order", "length", "index", "encoding", "header", "pad", "scale", "offset",
	"raw_low", "raw_high", "eng_low", "eng_high", "clamp", "eng_unit", "deadband", "min", "max", "scan", "safety", "raw_address",
	"enum", "comment",
}

// TextColumns are the columns of a texts_file: bit in that of an alarm_word,
// value in that of an alarm_code; text_XX is the text in the language XX.
var TextColumns = []string{"bit", "value", "code", "priority", "active_in", "text", "text_en", "text_de", "comment"}

// partSeparator stands between the parts of one cell: "6=Execute|2=Stopped".
const partSeparator = "|"

// deviceTables reads the CSV files that a device names into its tables.
func (l *loader) deviceTables(dev *table) {
	if e := dev.get("tags_file"); named(e) {
		if f := l.csvAt(e.value); f != nil {
			addTables(dev, "tag", l.tagRows(f, dev, e.value))
		}
	}
	for _, t := range tablesOf(dev, "alarm_word") {
		l.textsFile(dev, t, "bit")
	}
	for _, t := range tablesOf(dev, "alarm_code") {
		l.textsFile(dev, t, "value")
	}
}

// textsFile reads the alarm text list that a table names.
func (l *loader) textsFile(dev, t *table, number string) {
	e := t.get("texts_file")
	if !named(e) {
		return
	}
	if f := l.csvAt(e.value); f != nil {
		t.rows = l.textRows(f, dev, e.value, number)
	}
}

// named reports whether an entry names a file: it is a text, and not empty.
func named(e *entry) bool { return e != nil && e.value.kind == kindString && e.value.text != "" }

// rowMaker turns the rows of a file into tables. Where a template names the
// file, its cells have placeholders too.
type rowMaker struct {
	*loader
	*csvFile
	at    map[string]int
	fill  *vars
	shift int
}

func (l *loader) rows(f *csvFile, dev *table, name *value, at map[string]int) *rowMaker {
	m := &rowMaker{loader: l, csvFile: f, at: at}
	if from := l.region(name.pos); from.origin != "" {
		m.fill = dev.fill
		m.shift = l.open(f.source, from.origin).base - f.base
	}
	return m
}

// cell returns a cell with its placeholders filled in, nil when it is empty.
func (m *rowMaker) cell(row []cell, column string) *value {
	v := m.value(row, m.at, column)
	if v == nil {
		return nil
	}
	v.pos += m.shift
	if m.fill != nil && strings.ContainsAny(v.text, "{}") {
		text, err := m.fill.filled(v.text)
		if err != nil {
			m.add(v.pos, "%s", err)
			v.wrong = true
		}
		v.text = text
	}
	return v
}

func (m *rowMaker) table(row []cell) *table {
	t := newTable("this row", row[0].pos+m.shift)
	t.row = true
	return t
}

func (l *loader) tagRows(f *csvFile, dev *table, name *value) []*value {
	at := l.columns(f, func(c string) bool { return slices.Contains(TagColumns, c) }, TagColumns)
	if !l.needs(f, at, "name", "address") {
		return nil
	}
	if !l.spend(f.cells+len(f.data)/1000, name.pos) {
		return nil
	}
	m := l.rows(f, dev, name, at)
	items := make([]*value, 0, len(f.rows))
	for _, row := range f.rows {
		t := m.tag(row)
		items = append(items, &value{kind: kindTable, pos: t.pos, table: t})
	}
	return items
}

// plainColumns are the columns of a tag that are keys of it.
var plainColumns = []string{
	"name", "address", "type", "order", "length", "index", "scale", "offset", "eng_unit", "deadband", "min", "max", "scan", "safety", "raw_address",
}

func (m *rowMaker) tag(row []cell) *table {
	t := m.table(row)
	for _, column := range plainColumns {
		t.put(column, m.cell(row, column))
	}
	m.stringFormat(t, row)
	m.scaling(t, row)
	m.enum(t, row)
	return t
}

// stringFormat makes the table "string" of its columns.
func (m *rowMaker) stringFormat(t *table, row []cell) {
	var sub *table
	for _, column := range []string{"encoding", "header", "pad"} {
		v := m.cell(row, column)
		if v == nil {
			continue
		}
		if sub == nil {
			sub = newTable("this row", v.pos)
			sub.row = true
			t.set(&entry{key: "string", pos: v.pos, value: &value{kind: kindTable, pos: v.pos, table: sub}})
		}
		sub.put(column, v)
	}
}

// scaling makes the table "scaling" of its columns, of which four belong
// together.
func (m *rowMaker) scaling(t *table, row []cell) {
	columns := []string{"raw_low", "raw_high", "eng_low", "eng_high"}
	var found []*value
	for _, column := range columns {
		if v := m.cell(row, column); v != nil {
			found = append(found, v)
		}
	}
	clamp := m.cell(row, "clamp")
	switch {
	case len(found) == 0 && clamp == nil:
		return
	case len(found) == 0 && negative(clamp.text):
		return
	case len(found) < len(columns):
		first := append(found, clamp)[0]
		m.add(first.pos, "scaling needs all of %s; fill them in, or empty them and clamp", strings.Join(columns, ", "))
		return
	}
	pos := found[0].pos
	sub := newTable("this row", pos)
	sub.row = true
	for i, key := range []string{"raw", "eng"} {
		pair := found[2*i : 2*i+2]
		sub.set(&entry{
			key: key, pos: pair[0].pos, value: &value{kind: kindArray, pos: pair[0].pos, items: pair},
			src: fmt.Sprintf("[%s, %s]", pair[0].text, pair[1].text),
		})
	}
	sub.put("clamp", clamp)
	t.set(&entry{key: "scaling", pos: pos, value: &value{kind: kindTable, pos: pos, table: sub}})
}

// enum makes the table "enum" of "6=Execute|2=Stopped".
func (m *rowMaker) enum(t *table, row []cell) {
	v := m.cell(row, "enum")
	if v == nil {
		return
	}
	sub := newTable("this row", v.pos)
	sub.row = true
	for part := range strings.SplitSeq(v.text, partSeparator) {
		number, word, found := strings.Cut(part, "=")
		number, word = strings.TrimSpace(number), strings.TrimSpace(word)
		switch {
		case !found || number == "" || word == "":
			m.add(v.pos, "enum %s is no list of words for numbers; want one such as \"6=Execute|2=Stopped\"", quote(v.text))
			return
		case sub.get(number) != nil:
			m.add(v.pos, "%s is in enum twice; keep one", quote(number))
			return
		}
		sub.put(number, &value{kind: kindString, pos: v.pos, text: word})
	}
	t.set(&entry{key: "enum", pos: v.pos, value: &value{kind: kindTable, pos: v.pos, table: sub}})
}

var textColumn = regexp.MustCompile(`^text(_[a-z]{2})?$`)

// textRows makes a table of each row of an alarm text list; number is the name
// of its key.
func (l *loader) textRows(f *csvFile, dev *table, name *value, number string) []*value {
	other := map[string]string{"bit": "value", "value": "bit"}[number]
	columns := slices.DeleteFunc(slices.Clone(TextColumns), func(c string) bool { return c == other })
	at := l.columns(f, func(c string) bool { return slices.Contains(columns, c) || textColumn.MatchString(c) }, columns)
	if !l.needs(f, at, number) || !l.spend(f.cells+len(f.data)/1000, name.pos) {
		return nil
	}
	m := l.rows(f, dev, name, at)
	items := make([]*value, 0, len(f.rows))
	for _, row := range f.rows {
		t := m.table(row)
		for _, h := range f.header {
			if column := strings.ToLower(h.text); column != "comment" && t.get(column) == nil {
				t.put(column, m.cell(row, column))
			}
		}
		items = append(items, &value{kind: kindTable, pos: t.pos, table: t})
	}
	return items
}
