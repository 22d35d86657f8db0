package config

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth is more parts than any key or header has: [device.tag.string].
const maxDepth = 8

// maxSyntaxErrors ends the reading of a file that is no TOML at all.
const maxSyntaxErrors = 20

// builder makes the tree of a file. Unlike a decoder it goes on after an error,
// at the next line that looks like a key or a header, so that two slips of the
// pen are found in one go.
type builder struct {
	*problems
	src     *region
	root    *table
	current *table
	base    int // offset of the parser's input in the file
	broken  bool
	parser  unstable.Parser
}

// build reads a file into a tree. broken says that parts of the file could not
// be read: what is missing from the tree may stand in the file all the same.
func build(p *problems, src *region) (root *table, broken bool) {
	b := &builder{problems: p, src: src, root: newTable("the top of the file", src.base)}
	b.current = b.root
	for errs := 0; b.base < len(src.data) && errs < maxSyntaxErrors; errs++ {
		if !b.run() {
			break
		}
	}
	return b.root, b.broken
}

// run parses from base on and reports whether it ended at an error from which
// base is a place to go on.
func (b *builder) run() bool {
	b.parser.Reset(b.src.data[b.base:])
	for b.parser.NextExpression() {
		b.expression(b.parser.Expression())
	}
	err := b.parser.Error()
	if err == nil {
		return false
	}
	b.broken = true
	at := b.base
	var perr *unstable.ParserError
	if errors.As(err, &perr) && perr.Highlight != nil {
		at += int(b.parser.Range(perr.Highlight).Offset)
	}
	at = b.blame(err.Error(), min(at, len(b.src.data)-1))
	b.add(b.src.base+at, "%s", syntaxText(b.src.data, err.Error(), at))
	if bytes.HasPrefix(bytes.TrimLeft(b.text(b.src.line(at)-1), " \t"), []byte("[")) {
		b.current = newTable("", b.src.base+at) // keys below a header that cannot be read belong to nobody known
	}
	b.base = b.resume(at)
	return true
}

// blame returns where the fault of an error at an offset is: a text over several
// lines that never ends is at fault where it begins, not at the end of the file.
func (b *builder) blame(message string, at int) int {
	for _, quotes := range []string{`"""`, `'''`} {
		if !strings.HasSuffix(message, "not terminated by "+quotes) {
			continue
		}
		if i := bytes.LastIndex(b.src.data[b.base:at], []byte(quotes)); i >= 0 {
			return b.base + i
		}
	}
	return at
}

const header = `(\[[A-Za-z0-9_.-]+\]|\[\[[A-Za-z0-9_.-]+\]\])[ \t]*(#.*)?`

var (
	wholeHeader = regexp.MustCompile(`^[ \t]*` + header + `\r?$`)
	plausible   = regexp.MustCompile(`^[ \t]*(` + header + `|[A-Za-z0-9_.-]+[ \t]*=.*)\r?$`)
)

// resume returns the offset of the first line after the one at an offset that
// looks like a statement. That line itself is one if it is a whole header: then
// it was a list above it that never ended.
func (b *builder) resume(at int) int {
	first := b.src.line(at) - 1
	if b.src.starts[first] > b.base && wholeHeader.Match(b.text(first)) {
		return b.src.starts[first]
	}
	for line := first + 1; line < len(b.src.starts); line++ {
		if plausible.Match(b.text(line)) {
			return b.src.starts[line]
		}
	}
	return len(b.src.data)
}

// text returns a line, counted from 0, without its end.
func (b *builder) text(line int) []byte {
	end := len(b.src.data)
	if line+1 < len(b.src.starts) {
		end = b.src.starts[line+1] - 1
	}
	return b.src.data[b.src.starts[line]:end]
}

// conform lets the library's own decoder look at a whole document: it knows
// the corners of the standard that the tree does not need, impossible dates
// and tables extended in places where they may not be.
func conform(p *problems, src *region) {
	var all map[string]any
	var derr *toml.DecodeError
	if err := toml.Unmarshal(src.data, &all); errors.As(err, &derr) {
		line, col := derr.Position()
		start := src.starts[min(max(line, 1), len(src.starts))-1]
		p.add(src.base+start+max(col, 1)-1, "%s", syntaxText(src.data, derr.Error(), 0))
	} else if err != nil {
		p.add(src.base, "%s", syntaxText(src.data, err.Error(), 0))
	}
}

func (b *builder) expression(n *unstable.Node) {
	switch n.Kind { //nolint:exhaustive // an expression is a table's header or a key with its value, nothing else
	case unstable.Table, unstable.ArrayTable:
		path := b.path(n.Key())
		if len(path) > maxDepth {
			b.add(path[0].pos, "the header has %d parts and no table is so deep; want at most %d", len(path), maxDepth)
			b.current = newTable("", path[0].pos)
			return
		}
		b.current = b.open(path, b.bracket(path[0].pos), n.Kind == unstable.ArrayTable)
	case unstable.KeyValue:
		b.keyValue(b.current, n)
	}
}

// bracket returns the offset of the bracket that opens a header, given that of
// its first key.
func (b *builder) bracket(pos int) int {
	at := pos - b.src.base
	line := b.src.starts[b.src.line(at)-1]
	if i := bytes.IndexByte(b.src.data[line:at], '['); i >= 0 {
		return b.src.base + line + i
	}
	return pos
}

func (b *builder) path(it unstable.Iterator) []place {
	var path []place
	for it.Next() {
		n := it.Node()
		path = append(path, place{name: string(n.Data), pos: b.src.base + b.base + int(n.Raw.Offset)})
	}
	return path
}

// keyValue adds a key, dotted or not, to a table.
func (b *builder) keyValue(t *table, n *unstable.Node) {
	path := b.path(n.Key())
	if len(path) > maxDepth {
		b.add(path[0].pos, "the key has %d parts and no key is so deep; want at most %d", len(path), maxDepth)
		return
	}
	for _, p := range path[:len(path)-1] {
		if t = b.dotted(t, p); t == nil {
			return
		}
	}
	last := path[len(path)-1]
	if old := t.get(last.name); old != nil {
		b.add(last.pos, "%s is set twice, first in line %d; keep one", quote(last.name), b.line(old.pos))
		return
	}
	pos := b.valueStart(n)
	v := b.value(n.Value(), pos, quote(last.name)+" of "+t.title)
	src := b.src.data[pos-b.src.base : b.base+int(n.Raw.Offset)+int(n.Raw.Length)]
	t.set(&entry{key: last.name, pos: last.pos, value: v, src: strings.TrimSpace(string(src))})
}

func (b *builder) dotted(t *table, p place) *table {
	e := t.get(p.name)
	if e == nil {
		sub := newTable(quote(p.name)+" of "+t.title, p.pos)
		t.set(&entry{key: p.name, pos: p.pos, value: &value{kind: kindTable, pos: p.pos, table: sub}})
		return sub
	}
	if e.value.kind != kindTable || e.value.table.inline {
		b.add(p.pos, "%s is set in line %d already; write it once", quote(p.name), b.line(e.pos))
		return nil
	}
	return e.value.table
}

// valueStart returns the offset of the value of a key: the parser does not
// say where a list begins.
func (b *builder) valueStart(n *unstable.Node) int {
	end := 0
	for it := n.Key(); it.Next(); {
		raw := it.Node().Raw
		end = b.base + int(raw.Offset) + int(raw.Length)
	}
	for end < len(b.src.data) && strings.IndexByte(" \t=", b.src.data[end]) >= 0 {
		end++
	}
	return b.src.base + end
}

var kinds = map[unstable.Kind]kind{
	unstable.String: kindString, unstable.Integer: kindInt, unstable.Float: kindFloat, unstable.Bool: kindBool,
	unstable.LocalDate: kindTime, unstable.LocalTime: kindTime, unstable.LocalDateTime: kindTime, unstable.DateTime: kindTime,
}

func (b *builder) value(n *unstable.Node, pos int, title string) *value {
	switch n.Kind {
	case unstable.Array:
		return b.array(n, pos, title)
	case unstable.InlineTable:
		t := newTable(title, pos)
		for it := n.Children(); it.Next(); {
			b.keyValue(t, it.Node())
		}
		t.inline = true
		return &value{kind: kindTable, pos: pos, table: t}
	default:
		return &value{kind: kinds[n.Kind], pos: pos, text: string(n.Data)}
	}
}

func (b *builder) array(n *unstable.Node, pos int, title string) *value {
	v := &value{kind: kindArray, pos: pos}
	for it := n.Children(); it.Next(); {
		item, at := it.Node(), pos
		if item.Raw.Length > 0 {
			at = b.src.base + b.base + int(item.Raw.Offset)
		}
		v.items = append(v.items, b.value(item, at, title))
	}
	return v
}
