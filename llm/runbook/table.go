package runbook

import (
	"encoding/csv"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"edgeagent"
)

// The columns of a table: one row an alarm. Only code is required. Several
// causes, checks, codes or scopes in a cell are divided by "|" or a line break.
var tableColumns = []string{"code", "applies_to", "cause", "checks", "safety", "drawing", "part", "title", "owner", "reviewed", "review_every", "status"}

// otherNames are headings that people use for the same columns.
var otherNames = map[string]string{
	"codes": "code", "alarm": "code", "scope": "applies_to", "causes": "cause", "check": "checks", "text": "title",
	"ursache": "cause", "ursachen": "cause", "pruefungen": "checks", "pruefung": "checks", "sicherheit": "safety", "zeichnung": "drawing", "teil": "part",
}

func (b *Book) readTable(file, text string) {
	r := newTable(text)
	header, line, err := r.read()
	switch {
	case errors.Is(err, errQuote):
		b.problem(position{file, line, 1}, codeFile, "the header row cannot be read: %v", err)
		return
	case err != nil:
		b.problem(position{file, 1, 1}, codeFile, "the table has no header row")
		return
	}
	columns, unused := tableHeader(header)
	if unused != nil {
		b.find(position{file, line, 1}, SeverityWarning, codeColumn, "column %s is not used; known are %s", quoted(unused), strings.Join(tableColumns, ", "))
	}
	if _, found := columns["code"]; !found {
		b.problem(position{file, line, 1}, codeColumn, "the table has no column \"code\"; known are %s", strings.Join(tableColumns, ", "))
		return
	}
	for {
		row, line, err := r.read()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			b.problem(position{file, line, 1}, codeFile, "row left out: %v", err)
		case len(strings.Join(row, "")) > maxEntry:
			b.problem(position{file, line, 1}, codeLimit, "row left out: longer than %d bytes", maxEntry)
		default:
			b.readRow(file, cells{row, columns, r.place})
		}
	}
}

// table reads rows and knows where they stand.
type table struct {
	*csv.Reader
	text  string // that the reader reads
	above int    // lines before it
}

// newTable reads what spreadsheets write: any separator, quotes in the middle of
// a cell, rows that are too short.
func newTable(text string) *table {
	comma := separator(text)
	if head, rest, found := strings.Cut(text, "\n"); found && saidSeparator.MatchString(head) {
		text = "\n" + rest // the line still counts
	}
	r := &table{text: text}
	r.begin(comma)
	return r
}

func (r *table) begin(comma rune) {
	r.Reader = csv.NewReader(strings.NewReader(r.text))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes, r.TrimLeadingSpace = comma, -1, true, comma != '\t'
}

// errQuote is what is wrong with `F1,"E-stop" pressed`.
var errQuote = errors.New(`a cell begins with a quote that does not close at its end; take it away, or write "" for one within`)

// read returns the next row and its line. A quote that does not close would swallow
// the rows that follow, whose causes would then stand under this row's code: such a
// row is an error, and the next one is read from the line below.
func (r *table) read() (row []string, line int, err error) {
	rest := strings.TrimLeft(r.text[r.InputOffset():], "\r\n")
	if openQuote(rest, r.Comma) {
		r.above += strings.Count(r.text[:len(r.text)-len(rest)], "\n") + 1
		_, r.text, _ = strings.Cut(rest, "\n")
		r.begin(r.Comma)
		return nil, r.above, errQuote
	}
	if row, err = r.Read(); err == nil {
		line, _ = r.place(0)
	}
	return row, line, err
}

// place returns where a cell of the last row stands.
func (r *table) place(cell int) (line, column int) {
	line, column = r.FieldPos(cell)
	return r.above + line, column
}

// openQuote reports whether the row that a text begins with has a cell that begins
// with a quote and does not end with one.
func openQuote(text string, comma rune) bool {
	end := string(comma) + "\n"
	blank := func(r rune) bool { return comma != '\t' && r != '\n' && unicode.IsSpace(r) } // what the reader trims
	for {
		cell, quoted := strings.CutPrefix(strings.TrimLeftFunc(text, blank), `"`)
		if quoted {
			if cell, quoted = afterQuote(cell); !quoted || cell != "" && !strings.Contains(end, cell[:1]) {
				return true
			}
		}
		i := strings.IndexAny(cell, end)
		if i < 0 || cell[i] == '\n' {
			return false
		}
		text = cell[i+1:]
	}
}

// afterQuote returns what follows the quote that closes a cell, if one does.
func afterQuote(cell string) (rest string, closed bool) {
	for {
		i := strings.IndexByte(cell, '"')
		if i < 0 {
			return "", false
		}
		if cell = cell[i+1:]; !strings.HasPrefix(cell, `"`) {
			return strings.TrimPrefix(cell, "\r"), true
		}
		cell = cell[1:]
	}
}

// saidSeparator is the line by which Excel is told what divides the cells.
var saidSeparator = regexp.MustCompile(`^"?sep=(.)"?\s*$`)

// separator is what the header line has most of: spreadsheets set to German
// write semicolons, and what is copied from one is divided by tabs.
func separator(text string) rune {
	head, _, _ := strings.Cut(text, "\n")
	if m := saidSeparator.FindStringSubmatch(head); m != nil && strings.Contains(";,\t|", m[1]) {
		return rune(m[1][0])
	}
	best := ','
	for _, c := range ";\t" {
		if strings.Count(head, string(c)) > strings.Count(head, string(best)) {
			best = c
		}
	}
	return best
}

// tableHeader returns the place of each column and the headings that mean none.
func tableHeader(header []string) (columns map[string]int, unused []string) {
	columns = map[string]int{}
	for i, h := range header {
		name := strings.ReplaceAll(fold(h), " ", "_")
		if other, found := otherNames[name]; found {
			name = other
		}
		if !slices.Contains(tableColumns, name) {
			if name != "" {
				unused = append(unused, clipped(h))
			}
			continue
		}
		if _, double := columns[name]; !double {
			columns[name] = i
		}
	}
	return columns, unused
}

// cells are a row by the names of its columns.
type cells struct {
	row     []string
	columns map[string]int
	pos     func(field int) (line, column int)
}

// word returns a cell with its place; without text where the row has none.
func (c cells) word(name string) word {
	i, found := c.columns[name]
	if !found || i >= len(c.row) {
		line, _ := c.pos(0)
		return word{"", line, 1}
	}
	line, column := c.pos(i)
	return word{strings.TrimSpace(c.row[i]), line, column}
}

func (c cells) text(name string) string { return c.word(name).text }

func (b *Book) readRow(file string, c cells) {
	e := rowEntry(c)
	at := c.word("code")
	e.file, e.line, e.column = file, at.line, at.column
	if len(e.codes) == 0 {
		if strings.TrimSpace(strings.Join(c.row, "")) != "" {
			b.problem(position{file, at.line, at.column}, codeRowCode, "row has no code")
		}
		return
	}
	fm := frontMatter{}
	for _, key := range []string{"owner", "reviewed", "review_every", "status"} {
		w := c.word(key)
		fm.add(key, w.text, w.line, w.column)
	}
	e.review, e.draft = b.stated(file, fm)
	scopes := c.word("applies_to")
	var list []word
	for _, s := range parts(scopes.text, "|,;\n") {
		list = append(list, word{s, scopes.line, scopes.column})
	}
	for _, s := range e.setScopes(list) {
		b.problem(position{file, s.line, s.column}, codeScope, scopeWanted, s.text)
	}
	b.noteDrawing(file, c.word("drawing"))
	b.add(e)
}

// rowEntry reads the cells of a row.
func rowEntry(c cells) *entry {
	e := &entry{
		title: plainText(c.text("title")), safety: plainText(c.text("safety")), drawing: plainText(c.text("drawing")), part: plainText(c.text("part")),
		checks: cellList(c.text("checks")),
	}
	for _, code := range parts(c.text("code"), "|,;/\n") {
		if code = normalCode(code); code != "" {
			e.codes = append(e.codes, code)
		}
	}
	for _, cause := range cellList(c.text("cause")) {
		e.causes = append(e.causes, edgeagent.Cause{Cause: cause})
	}
	setLikelihoods(e.causes)
	if e.title == "" && len(e.causes) > 0 {
		e.title = e.causes[0].Cause
	}
	e.anchor = anchor(e.codes, e.title)
	return e
}

// parts splits at any of the separators.
func parts(s, separators string) []string {
	out := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(separators, r) })
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

var cellNumber = regexp.MustCompile(`(^|\s)\d{1,2}[.)]\s+`)

// cellList splits a cell: at "|" and line breaks, or else at "1. … 2. …".
func cellList(s string) []string {
	split := func(r rune) bool { return r == '|' || r == '\n' }
	if !strings.ContainsAny(s, "|\n") && cellNumber.MatchString(s) {
		s = cellNumber.ReplaceAllString(s, "|")
	}
	var out []string
	for _, p := range strings.FieldsFunc(s, split) {
		p = plainText(cellNumber.ReplaceAllString(strings.TrimLeft(p, "-• "), ""))
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}
