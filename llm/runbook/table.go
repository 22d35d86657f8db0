package runbook

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"edgeagent"
)

// The columns of a table: one row an alarm. Only code is required. Several
// causes, checks, codes or scopes in a cell are divided by "|" or a line break.
var tableColumns = []string{"code", "applies_to", "cause", "checks", "safety", "drawing", "part", "title", "owner", "reviewed"}

// otherNames are headings that people use for the same columns.
var otherNames = map[string]string{
	"codes": "code", "alarm": "code", "scope": "applies_to", "causes": "cause", "check": "checks", "text": "title",
	"ursache": "cause", "ursachen": "cause", "pruefungen": "checks", "pruefung": "checks", "sicherheit": "safety", "zeichnung": "drawing", "teil": "part",
}

func (b *Book) readTable(file, text string) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes, r.TrimLeadingSpace = separator(text), -1, true, true
	header, err := r.Read()
	if err != nil {
		b.problem(file, 1, "the table has no header row")
		return
	}
	columns, problem := tableHeader(header)
	if problem != "" {
		b.problem(file, 1, "%s", problem)
	}
	if columns == nil {
		return
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		line, _ := r.FieldPos(0)
		if err != nil {
			b.problem(file, line, "row is not readable: %v", err)
			continue
		}
		if len(strings.Join(row, "")) > maxEntry {
			b.problem(file, line, "row left out: longer than %d bytes; is a quote not closed?", maxEntry)
			continue
		}
		b.readRow(file, line, columns, row)
	}
}

// separator is what the header line has more of: spreadsheets set to German
// write semicolons.
func separator(text string) rune {
	head, _, _ := strings.Cut(text, "\n")
	if strings.Count(head, ";") > strings.Count(head, ",") {
		return ';'
	}
	return ','
}

// tableHeader returns the place of each column, nil without a code column.
func tableHeader(header []string) (map[string]int, string) {
	columns := map[string]int{}
	problem := ""
	for i, h := range header {
		name := strings.ReplaceAll(fold(h), " ", "_")
		if other, found := otherNames[name]; found {
			name = other
		}
		if !isColumn(name) {
			problem = fmt.Sprintf("column %q is not used; known are %s", h, strings.Join(tableColumns, ", "))
			continue
		}
		if _, double := columns[name]; !double {
			columns[name] = i
		}
	}
	if _, found := columns["code"]; !found {
		return nil, "the table has no column \"code\"; known are " + strings.Join(tableColumns, ", ")
	}
	return columns, problem
}

func isColumn(name string) bool {
	return slices.Contains(tableColumns, name)
}

func (b *Book) readRow(file string, line int, columns map[string]int, row []string) {
	cell := func(name string) string {
		i, found := columns[name]
		if !found || i >= len(row) {
			return ""
		}
		return strings.TrimSpace(row[i])
	}
	e := rowEntry(cell)
	e.file, e.line = file, line
	if len(e.codes) == 0 {
		if strings.TrimSpace(strings.Join(row, "")) != "" {
			b.problem(file, line, "row has no code")
		}
		return
	}
	for _, s := range e.setScopes(parts(cell("applies_to"), "|,;\n")) {
		b.problem(file, line, "applies_to %q is not understood: want device:NAME, line:NAME or template:NAME", s)
	}
	b.add(e)
}

// rowEntry reads the cells of a row.
func rowEntry(cell func(column string) string) *entry {
	e := &entry{
		title: plainText(cell("title")), safety: plainText(cell("safety")), drawing: plainText(cell("drawing")), part: plainText(cell("part")),
		checks: cellList(cell("checks")),
	}
	for _, c := range parts(cell("code"), "|,;/\n") {
		if c = normalCode(c); c != "" {
			e.codes = append(e.codes, c)
		}
	}
	for _, c := range cellList(cell("cause")) {
		e.causes = append(e.causes, edgeagent.Cause{Cause: c})
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
