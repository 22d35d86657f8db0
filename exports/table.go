package exports

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	headerWithin = 20  // rows in which the header has to be
	maxColumns   = 512 // a real export has 40
)

// table is a sheet or a CSV file: a header and rows with their line numbers.
type table struct {
	columns map[string]int // by [heading]
	header  []string
	rows    []row
	comma   bool // numbers may have a decimal comma
	points  bool // and some have: a point in another may group thousands
}

type row struct {
	line  int
	cells []string
}

// heading is how headers are compared: tools differ in case, dots and spaces.
func heading(s string) string {
	return strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(s, ".", " ")), " "))
}

// get returns the trimmed cell under the first of the headers that is there.
func (t *table) get(r row, names ...string) string {
	for _, name := range names {
		if i, ok := t.columns[name]; ok {
			if i < len(r.cells) {
				return strings.TrimSpace(r.cells[i])
			}
			return ""
		}
	}
	return ""
}

func (t *table) has(name string) bool {
	_, ok := t.columns[name]
	return ok
}

var (
	withComma = regexp.MustCompile(`^[+-]?\d+,\d+$`)
	grouped   = regexp.MustCompile(`^[+-]?[1-9]\d{0,2}(\.\d{3})+$`)
)

// number reads a finite number: 1234.5, and with a decimal comma 1234,5. It
// refuses what is a thousand times another one, depending on who reads it.
func (t *table) number(s string) (float64, error) {
	if t.points && grouped.MatchString(s) {
		return 0, fmt.Errorf("%q can be read as two numbers: a point may group thousands, as other numbers of the file have a decimal comma", oneLine(s, 40))
	}
	if t.comma {
		s = strings.Replace(s, ",", ".", 1)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(s, "xXpP_") {
		return 0, fmt.Errorf("%q is no number", oneLine(s, 40))
	}
	return f, nil
}

// readTable reads an export in CSV form, whose header has the given columns.
func (in *reading) readTable(required ...string) (*table, error) {
	text, encoding := decode(in.data)
	if encoding != "UTF-8" {
		in.note("the export is in %s", encoding)
	}
	for _, separator := range separators(text) {
		skipped := len(in.result.Skipped)
		t := &table{comma: separator == ';', rows: in.readCSV(text, separator)}
		if t.findHeader(required) {
			t.points = t.comma && slices.ContainsFunc(t.rows, row.hasComma)
			return t, nil
		}
		in.result.Skipped = in.result.Skipped[:skipped]
	}
	return nil, fmt.Errorf("no header with the columns %s in the first %d rows; is it another export?", quoted(required), headerWithin)
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strconv.Quote(name)
	}
	return strings.Join(out, ", ")
}

// separators returns the candidates, the most frequent of the first lines first.
func separators(text []byte) []rune {
	head := text[:min(len(text), 8192)]
	out := []rune{',', ';', '\t'}
	for i := range out {
		for j := i; j > 0 && count(head, out[j]) > count(head, out[j-1]); j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

func count(text []byte, r rune) int { return bytes.Count(text, []byte(string(r))) }

// readCSV returns the rows that can be read and skips those that cannot. Lines
// that begin with ; are Kepware's comments, unless ; is the separator.
func (in *reading) readCSV(text []byte, separator rune) []row {
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord = separator, -1
	if separator != ';' {
		r.Comment = ';'
	}
	var out []row
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			in.skip(bad.StartLine, fmt.Sprintf("lines %d to %d", bad.StartLine, bad.Line), "the quotes do not match: %v", bad.Err)
			continue
		}
		if err != nil {
			in.skip(0, "the rest of the file", "%v", err)
			return out
		}
		line, _ := r.FieldPos(0)
		if len(cells) > maxColumns {
			in.skip(line, cells[0], "%d columns are more than any export has", len(cells))
			continue
		}
		out = append(out, row{line: line, cells: cells})
	}
}

// findHeader makes the first row that has all required columns the header. What
// stands above it is a title.
func (t *table) findHeader(required []string) bool {
	for i, r := range t.rows[:min(len(t.rows), headerWithin)] {
		columns := make(map[string]int, len(r.cells))
		for j, cell := range r.cells {
			if h := heading(cell); h != "" {
				if _, double := columns[h]; !double {
					columns[h] = j
				}
			}
		}
		if all(columns, required) {
			t.columns, t.header, t.rows = columns, r.cells, t.rows[i+1:]
			return true
		}
	}
	return false
}

func all(columns map[string]int, required []string) bool {
	for _, name := range required {
		if _, ok := columns[name]; !ok {
			return false
		}
	}
	return true
}

// hasComma reports whether one of the row's cells is a number with a comma.
func (r row) hasComma() bool {
	return slices.ContainsFunc(r.cells, func(c string) bool { return withComma.MatchString(strings.TrimSpace(c)) })
}

// empty reports whether the row is a blank line.
func (r row) empty() bool {
	for _, c := range r.cells {
		if strings.TrimSpace(c) != "" {
			return false
		}
	}
	return true
}
