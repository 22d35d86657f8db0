package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxColumns is more than any table of ours has.
const maxColumns = 200

// cell is one field of a CSV file with the offset at which it stands.
type cell struct {
	text string
	pos  int
}

// csvFile is a table as a spreadsheet writes it: columns found by the names in
// its first row.
type csvFile struct {
	*region
	name   string // as a person knows it
	comma  bool   // numbers may have a decimal comma
	points bool   // and some have: a point in another may group thousands
	header []cell
	rows   [][]cell // none of them empty
	cells  int      // that are not empty
}

// csvAt reads the table that a key names; nil when it cannot be used, which
// is booked. Each file is read once, however many devices name it.
func (l *loader) csvAt(v *value) *csvFile {
	if v.text == "" || v.wrong {
		return nil
	}
	path := under(l.region(v.pos).dir, v.text)
	if f, known := l.tables[path]; known {
		return f
	}
	if l.tables == nil {
		l.tables = map[string]*csvFile{}
	}
	l.tables[path] = nil
	data, ok := l.fetch(path, v.pos)
	if !ok {
		return nil
	}
	f := &csvFile{name: filepath.Base(path), region: l.open(newSource(l.shown(path), filepath.Dir(path), decodeText(data)), "")}
	if l.csvEncoding(f.region, data) && l.parseCSV(f) {
		l.tables[path] = f
		return f
	}
	l.broken = true
	return nil
}

// decodeText returns UTF-8 without a mark: what spreadsheets call "Unicode
// text" is UTF-16.
func decodeText(data []byte) []byte {
	order := utf16Order(data)
	if order == nil || len(data) > maxFile {
		return bytes.TrimPrefix(data, []byte("\ufeff"))
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return bytes.TrimPrefix([]byte(string(utf16.Decode(units))), []byte("\ufeff"))
}

func (l *loader) csvEncoding(src *region, data []byte) bool {
	switch {
	case len(data) > maxFile:
		l.add(src.base, "the file is larger than %s; is it the right file?", formatSize(maxFile))
	case len(bytes.TrimSpace(src.data)) == 0:
		l.add(src.base, "the file is empty; it needs a first row with the names of its columns")
	case bytes.IndexByte(src.data, 0) >= 0:
		l.add(src.base+bytes.IndexByte(src.data, 0), "a NUL byte stands here; the file is damaged or no text")
	case !utf8.Valid(src.data):
		l.add(src.base+invalidUTF8(src.data), `this character is not UTF-8; save the file as "CSV UTF-8"`)
	default:
		return true
	}
	return false
}

var separatorLine = regexp.MustCompile(`^(?i:sep=)([,;\t|])\r?\n`)

// parseCSV splits the file into cells. What is wrong with its form is said
// once: behind it nothing can be trusted.
func (l *loader) parseCSV(f *csvFile) bool {
	body, skipped, sep := f.data, 0, separator(f.data)
	if m := separatorLine.FindSubmatch(body); m != nil { // Excel's own
		body, skipped, sep = body[len(m[0]):], 1, rune(m[1][0])
	}
	f.comma = sep == ';'
	r := csv.NewReader(bytes.NewReader(body))
	r.Comma, r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = sep, '#', -1, sep != '\t'
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if perr, ok := errors.AsType[*csv.ParseError](err); ok {
			l.add(f.offset(perr.Line+skipped, perr.Column), "%s", csvText(perr))
			return false
		}
		if err != nil {
			l.add(f.base, "%s", oneLine(err))
			return false
		}
		f.append(r, record, skipped)
	}
	if f.header == nil {
		l.add(f.base, "the file has no row; it needs a first one with the names of its columns")
	}
	return f.header != nil
}

// append adds a record as the header or a row. Spreadsheets leave empty rows
// behind.
func (f *csvFile) append(r *csv.Reader, record []string, skipped int) {
	cells := make([]cell, len(record))
	empty := true
	for i, text := range record {
		line, col := r.FieldPos(i)
		cells[i] = cell{text: strings.TrimSpace(text), pos: f.offset(line+skipped, col)}
		if cells[i].text != "" {
			empty = false
			f.cells++
			f.points = f.points || f.comma && withComma.MatchString(cells[i].text)
		}
	}
	switch {
	case empty:
	case f.header == nil:
		f.header = cells
	default:
		f.rows = append(f.rows, cells)
	}
}

// offset returns where a line and a column, in bytes, are.
func (f *csvFile) offset(line, col int) int {
	return f.base + f.starts[min(max(line, 1), len(f.starts))-1] + max(col, 1) - 1
}

func csvText(err *csv.ParseError) string {
	switch {
	case errors.Is(err.Err, csv.ErrBareQuote):
		return `a quote stands in the middle of a cell; write it twice, and the whole cell in quotes`
	case errors.Is(err.Err, csv.ErrQuote):
		return `the cell begins with a quote and does not end with one; write quotes within it twice`
	default:
		return "not valid CSV: " + oneLine(err.Err)
	}
}

// separator returns what stands most often in the first row that is no comment.
func separator(data []byte) rune {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		best, most := ',', 0
		for _, sep := range []rune{',', ';', '\t'} {
			if n := bytes.Count(line, []byte(string(sep))); n > most {
				best, most = sep, n
			}
		}
		return best
	}
	return ','
}

// columns books what is wrong with the header and returns the number of each
// column that is known.
func (l *loader) columns(f *csvFile, known func(name string) bool, names []string) map[string]int {
	at := map[string]int{}
	if len(f.header) > maxColumns {
		l.add(f.header[0].pos, "the first row has %d columns; is it the right file?", len(f.header))
		return nil
	}
	if !slices.ContainsFunc(f.header, func(h cell) bool { return known(strings.ToLower(h.text)) }) {
		l.add(f.header[0].pos, "the first row names the columns, and none of its cells does; known are %s", strings.Join(names, " "))
		return nil
	}
	for i, h := range f.header {
		name := strings.ToLower(h.text)
		first, twice := at[name]
		switch {
		case name == "":
			if slices.ContainsFunc(f.rows, func(row []cell) bool { return i < len(row) && row[i].text != "" }) {
				l.add(h.pos, "the column has no name; write one of %s", list(names))
			}
		case !known(name):
			l.add(h.pos, "unknown column %s%s", quote(h.text), columnRemedy(name, names))
		case twice:
			l.add(h.pos, "column %s stands in column %d already; keep one", quote(h.text), first+1)
		default:
			at[name] = i
		}
	}
	for _, row := range f.rows {
		if len(row) > len(f.header) {
			l.add(row[len(f.header)].pos, "the row has %d cells and the header %d; a text that holds the separator stands in quotes", len(row), len(f.header))
		}
	}
	return at
}

func columnRemedy(name string, names []string) string {
	if near := didYouMean(name, names); near != "" {
		return near
	}
	return "; known are " + strings.Join(names, " ")
}

// needs books columns that must be there.
func (l *loader) needs(f *csvFile, at map[string]int, names ...string) bool {
	if at == nil {
		return false
	}
	for _, name := range names {
		if _, there := at[name]; !there {
			l.add(f.header[0].pos, "the file has no column %q; the first row names the columns", name)
			return false
		}
	}
	return true
}

// value returns the cell of a column as a value whose type is what is asked
// for; nil when it is empty.
func (f *csvFile) value(row []cell, at map[string]int, name string) *value {
	i, there := at[name]
	if !there || i >= len(row) || row[i].text == "" {
		return nil
	}
	return &value{kind: kindString, pos: row[i].pos, text: row[i].text, cell: true, comma: f.comma, points: f.points}
}

// put sets a key of a table to a value, unless there is none.
func (t *table) put(key string, v *value) {
	if v != nil {
		t.set(&entry{key: key, pos: v.pos, value: v})
	}
}
