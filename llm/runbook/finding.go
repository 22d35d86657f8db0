package runbook

import "fmt"

// Severity says what a finding means for the answers.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // something is not used, or says what it should not
	SeverityWarning Severity = "warning" // used, and worth a look
)

// Finding is something in a runbook that a person should mend.
type Finding struct {
	File     string   `json:"file"`   // within the folder, with slashes
	Line     int      `json:"line"`   // from 1; 0: the file as a whole
	Column   int      `json:"column"` // in bytes, from 1; 0 where Line is
	Severity Severity `json:"severity"`
	Code     string   `json:"code"` // names the rule
	Text     string   `json:"text"` // what, and what to do
}

// Place returns FILE, or FILE:LINE:COLUMN where that is known.
func (f Finding) Place() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, max(1, f.Column))
}

// String returns the finding as one line.
func (f Finding) String() string { return f.Place() + ": " + f.Text }

// position is where something stands in a file. Columns count bytes, as editors
// that jump to file:line:column want them.
type position struct {
	file         string
	line, column int
}

// word is a piece of a file with its place.
type word struct {
	text         string
	line, column int
}

// The codes of what is found while files are read; those of [Lint] stand there.
const (
	codeFile    = "file"         // a file, or a part of one, cannot be used
	codeMatter  = "front_matter" // a key or its value is not understood
	codeScope   = "applies_to"
	codeEmpty   = "empty"
	codeLimit   = "too_long"
	codeColumn  = "column"
	codeBypass  = "bypass"
	codeListed  = "listed"
	codeStatus  = "status"
	codeDraft   = "draft"
	codeRowCode = "no_code"
)

// find books a finding of reading.
func (b *Book) find(at position, s Severity, code, format string, args ...any) {
	f := Finding{File: at.file, Line: at.line, Column: at.column, Severity: s, Code: code, Text: fmt.Sprintf(format, args...)}
	if f.Line > 0 {
		f.Column = max(1, f.Column)
	}
	if len(b.findings) == maxFindings {
		return
	}
	b.findings = append(b.findings, f)
	if code == codeDraft {
		return // on purpose: nothing to complain of at every start
	}
	where := f.File
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	b.Problems = append(b.Problems, where+": "+f.Text)
}

// problem books what cannot be used.
func (b *Book) problem(at position, code, format string, args ...any) {
	b.find(at, SeverityError, code, format, args...)
}
