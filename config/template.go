package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// template is a machine of which there are several.
type template struct {
	name string
	*table
	used bool
}

// expand makes devices of templates and lists, and reads the tables that
// devices name, so that the tree holds the whole configuration.
func expand(l *loader, root *table) {
	for _, t := range tablesOf(root, "template") {
		name := t.textOf("name")
		l.templates = append(l.templates, &template{name: name, table: t})
	}
	for _, dev := range tablesOf(root, "device") {
		if e := dev.get("template"); e != nil && e.value.kind == kindString {
			l.ownTemplate(dev, e.value)
		}
	}
	for _, dl := range tablesOf(root, "device_list") {
		l.deviceList(root, dl)
	}
	for _, dev := range tablesOf(root, "device") {
		if l.parts <= maxParts {
			l.deviceTables(dev)
		}
	}
	for _, check := range l.unused { // placeholders are in the files of the devices, too
		check()
	}
}

// tablesOf returns the tables of a list, and nothing of what is there instead.
func tablesOf(t *table, key string) []*table {
	e := t.get(key)
	if e == nil {
		return nil
	}
	if e.value.kind == kindTable {
		return []*table{e.value.table}
	}
	var out []*table
	for _, item := range e.value.items {
		if item.kind == kindTable {
			out = append(out, item.table)
		}
	}
	return out
}

// textOf returns the text of a key, "" without one.
func (t *table) textOf(key string) string {
	if e := t.get(key); e != nil && e.value.kind == kindString {
		return e.value.text
	}
	return ""
}

// template returns the template of a name and marks it used.
func (l *loader) template(v *value) *template {
	names := make([]string, len(l.templates))
	for i, t := range l.templates {
		if names[i] = t.name; t.name != "" && t.name == v.text {
			t.used = true
			return t
		}
	}
	if !l.broken {
		l.add(v.pos, "template %s is not there; add a [[template]] of that name%s", quote(v.text), didYouMean(v.text, names))
	}
	return nil
}

// ownTemplate makes a [[device]] that names a template.
func (l *loader) ownTemplate(dev *table, name *value) {
	t := l.template(name)
	if t == nil {
		return
	}
	v := &vars{texts: map[string]string{}, used: map[string]bool{}}
	for _, key := range []string{"name", "line", "url", "unit"} {
		if e := dev.get(key); e != nil && e.value.kind <= kindBool {
			v.set(key, e.value.text)
		}
	}
	own := dev.get("vars")
	if own != nil && own.value.kind == kindTable {
		for _, e := range own.value.table.entries {
			if v.set(e.key, e.value.text); e.value.kind > kindBool {
				l.add(e.value.pos, "%s of vars is %s; want a text, a number, true or false", quote(e.key), kindWords[e.value.kind])
				v.used[e.key] = true
			}
		}
	}
	l.instantiate(dev, t, v, l.origin(dev.pos))
	if own == nil || own.value.kind != kindTable {
		return
	}
	l.unused = append(l.unused, func() {
		for _, e := range own.value.table.entries {
			if !v.used[e.key] && !l.broken {
				l.add(e.pos, "%s of vars is used nowhere in template %s; remove it, or write {%s} there", quote(e.key), quote(t.name), e.key)
			}
		}
	})
}

// deviceColumns are the columns of a device_list that are keys of the device;
// any other is a placeholder's alone.
var deviceColumns = []string{
	"name", "line", "url", "unit", "scan", "timeout", "pause", "connect_delay", "close_after_scan", "order", "max_registers", "max_bits",
	"max_gap", "never_read", "stale_after", "resume", "enabled", "sim", "tags_file", "ca_file", "client_cert_file", "client_key_file", "server_name",
}

var columnName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// deviceList makes a device of each row.
func (l *loader) deviceList(root, dl *table) {
	name, path := dl.get("template"), dl.get("file")
	if name == nil || path == nil || name.value.kind != kindString || path.value.kind != kindString {
		return // booked when the keys are read
	}
	t, f := l.template(name.value), l.csvAt(path.value)
	if t == nil || f == nil {
		return
	}
	at := l.columns(f, columnName.MatchString, deviceColumns)
	if !l.needs(f, at, "name") {
		return
	}
	used := map[string]bool{}
	for _, row := range f.rows {
		if !l.spend(2*len(row), row[0].pos) {
			return
		}
		v := &vars{texts: map[string]string{}, used: used, from: value{comma: f.comma, points: f.points}}
		dev := f.device(row, at, v)
		dev.set(&entry{key: "template", pos: name.value.pos, value: name.value, src: name.src})
		l.instantiate(dev, t, v, l.origin(row[0].pos))
		addTables(root, "device", []*value{{kind: kindTable, pos: dev.pos, table: dev}})
	}
	l.unused = append(l.unused, func() { l.unusedColumns(f, at, t, used) })
}

// device makes a device of the columns that are its keys; all of them are there
// for placeholders.
func (f *csvFile) device(row []cell, at map[string]int, v *vars) *table {
	dev := newTable("this row", row[0].pos)
	dev.row = true
	for i, h := range f.header {
		column := strings.ToLower(h.text)
		if first, known := at[column]; !known || first != i {
			continue
		}
		value := f.value(row, at, column)
		if slices.Contains(deviceColumns, column) {
			dev.put(column, value)
		}
		if v.set(column, ""); value != nil {
			v.set(column, value.text)
		}
	}
	return dev
}

// unusedColumns books columns that neither are keys of a device nor stand for
// anything in the template. A comment is for people.
func (l *loader) unusedColumns(f *csvFile, at map[string]int, t *template, used map[string]bool) {
	for i, h := range f.header {
		column := strings.ToLower(h.text)
		if known, here := at[column]; !here || known != i || len(f.rows) == 0 || l.broken {
			continue
		}
		if !used[column] && column != "comment" && !slices.Contains(deviceColumns, column) {
			l.add(h.pos, "column %s is used nowhere in template %s; remove it, or write {%s} there", quote(h.text), quote(t.name), column)
		}
	}
}

// addTables appends tables to a list, which is made if there is none.
func addTables(t *table, key string, items []*value) {
	e := t.get(key)
	switch {
	case len(items) == 0:
	case e == nil:
		t.set(&entry{key: key, pos: items[0].pos, value: &value{kind: kindArray, pos: items[0].pos, heads: true, items: items}})
	case e.value.kind == kindArray:
		e.value.items = append(e.value.items, items...)
	}
}

// origin names the place that makes a device of a template.
func (l *loader) origin(pos int) string {
	r, line, _ := l.position(pos)
	return fmt.Sprintf("%s:%d", r.file, line)
}

// instantiate adds what the template says to a device. What the device says
// itself goes first; lists of tables are joined.
func (l *loader) instantiate(dev *table, t *template, v *vars, origin string) {
	from := l.region(t.pos)
	if !l.spend(t.size()+len(from.data)/1000, dev.pos) {
		return
	}
	again := l.open(from.source, origin)
	c := &cloner{loader: l, vars: v, shift: again.base - from.base}
	dev.fill = v
	for _, e := range t.entries {
		if e.key != "name" {
			inherit(dev, c.entry(e))
		}
	}
}

// size is how many keys a table has, all in all.
func (t *table) size() int {
	n := len(t.entries)
	for _, e := range t.entries {
		n += e.value.size()
	}
	return n
}

func (v *value) size() int {
	n := len(v.items)
	for _, item := range v.items {
		n += item.size()
	}
	if v.table != nil {
		n += v.table.size()
	}
	return n
}

// inherit adds an entry of a template to a table.
func inherit(t *table, e *entry) {
	own := t.get(e.key)
	switch {
	case own == nil:
		t.set(e)
	case own.value.kind == kindTable && e.value.kind == kindTable:
		for _, sub := range e.value.table.entries {
			inherit(own.value.table, sub)
		}
	case isTables(own.value) && isTables(e.value):
		own.value.items = append(slices.Clone(e.value.items), own.value.items...)
	}
}

// cloner copies the tree of a template with its placeholders filled in.
type cloner struct {
	*loader
	*vars
	shift int
}

func (c *cloner) entry(e *entry) *entry {
	out := &entry{key: e.key, pos: e.pos + c.shift, value: c.value(e.value), src: e.src}
	if strings.Contains(e.src, "{") && e.value.kind != kindTable {
		if src, err := c.filled(e.src); err == nil {
			out.src = src
		}
	}
	return out
}

func (c *cloner) value(v *value) *value {
	out := *v
	out.pos += c.shift
	if v.kind == kindString && strings.ContainsAny(v.text, "{}") {
		text, err := c.filled(v.text)
		if err != nil {
			c.add(out.pos, "%s", err)
			out.wrong = true
		}
		out.text, out.cell, out.comma, out.points = text, wholePlaceholder.MatchString(v.text), c.from.comma, c.from.points
	}
	if v.items != nil {
		out.items = make([]*value, len(v.items))
		for i, item := range v.items {
			out.items[i] = c.value(item)
		}
	}
	if v.table != nil {
		t := *v.table
		t.pos += c.shift
		t.entries, t.index = make([]*entry, 0, len(v.table.entries)), nil
		for _, e := range v.table.entries {
			t.set(c.entry(e))
		}
		out.table = &t
	}
	return &out
}
