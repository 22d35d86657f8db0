package config

import (
	"strings"
)

// kind is the TOML type of a value.
type kind uint8

const (
	kindString kind = iota
	kindInt
	kindFloat
	kindBool
	kindTime
	kindArray
	kindTable
)

// kindWords are the names of the types as a person would say them.
var kindWords = [...]string{
	kindString: "a text", kindInt: "a whole number", kindFloat: "a number with a point", kindBool: "true or false",
	kindTime: "a date", kindArray: "a list", kindTable: "a table",
}

// value is one value of the file with the byte offset at which it stands.
type value struct {
	kind   kind
	pos    int
	text   string   // a text decoded; a number, bool or date as written
	items  []*value // of a list
	table  *table   // of a table
	heads  bool     // a list made by [[headers]]
	cell   bool     // of a CSV file or a placeholder: a text until another type is asked for
	wrong  bool     // a problem with it is booked already
	comma  bool     // its numbers may have a decimal comma
	points bool     // and others of its file do have one
}

// entry is one key of a table with its value.
type entry struct {
	key   string
	pos   int
	value *value
	src   string // the value as written, for showing what changed; empty: that of a cell
}

// table is a table of the file, whichever way it was written.
type table struct {
	title   string // as in messages: "[agent]", "[[device.tag]]", `"retry" of [[device]]`
	pos     int
	entries []*entry
	index   map[string]*entry // of a large table
	header  bool              // opened by its own [header]
	inline  bool              // complete, cannot be extended
	row     bool              // made of a row of a CSV file
	rows    []*value          // of the texts_file that it names
	fill    *vars             // of the template that it was made of
}

func newTable(title string, pos int) *table {
	return &table{title: title, pos: pos}
}

// largeTable has more keys than are looked through one by one.
const largeTable = 24

// get returns the entry of a key, nil without one.
func (t *table) get(key string) *entry {
	if t.index != nil {
		return t.index[key]
	}
	for _, e := range t.entries {
		if e.key == key {
			return e
		}
	}
	return nil
}

// set adds an entry; the caller has checked that the key is new.
func (t *table) set(e *entry) {
	t.entries = append(t.entries, e)
	switch {
	case t.index != nil:
		t.index[e.key] = e
	case len(t.entries) > largeTable:
		t.index = make(map[string]*entry, 2*len(t.entries))
		for _, e := range t.entries {
			t.index[e.key] = e
		}
	}
}

// place is one part of a key as it stands in the file.
type place struct {
	name string
	pos  int
}

// open finds or makes the table of a [header] or [[header]]. After a conflict
// it is a table that belongs to nothing, so that the keys below the header
// bring no second error.
func (b *builder) open(path []place, pos int, array bool) *table {
	title := title(path, array)
	at := b.root
	for i, p := range path[:len(path)-1] {
		next := b.step(at, p, path[:i+1], pos)
		if next == nil {
			return newTable(title, pos)
		}
		at = next
	}
	last := path[len(path)-1]
	if array {
		return b.openElement(at, last, title, pos)
	}
	return b.openTable(at, last, title, pos)
}

// step goes one part down the path of a header: into a table, or into the
// element of a list of tables that was opened last.
func (b *builder) step(at *table, p place, path []place, pos int) *table {
	e := at.get(p.name)
	if e == nil {
		t := newTable(title(path, false), pos)
		at.set(&entry{key: p.name, pos: p.pos, value: &value{kind: kindTable, pos: pos, table: t}})
		return t
	}
	switch v := e.value; {
	case v.kind == kindTable && !v.table.inline:
		return v.table
	case v.heads:
		return v.items[len(v.items)-1].table
	default:
		b.add(p.pos, "%s is set to a value in line %d and cannot have tables below it; write it once, as a table or as a value",
			quote(p.name), b.line(e.pos))
		return nil
	}
}

func (b *builder) openTable(at *table, last place, title string, pos int) *table {
	e := at.get(last.name)
	switch {
	case e == nil:
		t := newTable(title, pos)
		t.header = true
		at.set(&entry{key: last.name, pos: last.pos, value: &value{kind: kindTable, pos: pos, table: t}})
		return t
	case e.value.heads:
		b.add(pos, "%s stands in line %d as [[%s]]; write it with the same brackets", title, b.line(e.value.pos), strings.Trim(title, "[]"))
	case e.value.kind != kindTable || e.value.table.inline || e.value.table.header:
		b.add(pos, "%s is in line %d already; put its keys together there", title, b.line(e.pos))
	default:
		e.value.table.header, e.value.table.pos, e.value.table.title = true, pos, title
		return e.value.table
	}
	return newTable(title, pos)
}

func (b *builder) openElement(at *table, last place, title string, pos int) *table {
	t := newTable(title, pos)
	t.header = true
	item := &value{kind: kindTable, pos: pos, table: t}
	e := at.get(last.name)
	switch {
	case e == nil:
		at.set(&entry{key: last.name, pos: last.pos, value: &value{kind: kindArray, pos: pos, items: []*value{item}, heads: true}})
	case e.value.heads:
		e.value.items = append(e.value.items, item)
	case e.value.kind == kindTable && e.value.table.header:
		b.add(e.value.pos, "%s is written %s in line %d; write both with double brackets",
			e.value.table.title, title, b.line(pos))
	default:
		b.add(pos, "%s is set in line %d already; write it once", title, b.line(e.pos))
	}
	return t
}

// title writes the path of a header the way it stands in the file.
func title(path []place, array bool) string {
	names := make([]string, len(path))
	for i, p := range path {
		names[i] = p.name
	}
	s := strings.Join(names, ".")
	if s = strings.Trim(quote(s), `"`); array {
		return "[[" + s + "]]"
	}
	return "[" + s + "]"
}
