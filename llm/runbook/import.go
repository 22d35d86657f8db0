package runbook

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Imported is what could be taken from somebody else's list.
type Imported struct {
	Rows    []ImportedRow `json:"rows"`
	Skipped []Skipped     `json:"skipped"`
	Notes   []string      `json:"notes"`
}

// ImportedRow is one row of our table.
type ImportedRow struct {
	Code      string   `json:"code"`
	AppliesTo string   `json:"applies_to"`
	Title     string   `json:"title"`
	Causes    []string `json:"causes"`
	Checks    []string `json:"checks"`
	Safety    string   `json:"safety"`
	Drawing   string   `json:"drawing"`
	Part      string   `json:"part"`
}

// Skipped is a row that was not taken, and why.
type Skipped struct {
	Line int    `json:"line"`
	What string `json:"what"`
	Why  string `json:"why"`
}

// ImportOptions say what a list does not.
type ImportOptions struct {
	AppliesTo string // device:NAME, line:NAME or template:NAME for rows that name none
}

// importNames are the headings under which plants keep the same things, English
// and German, as [fold] spells them.
var importNames = map[string][]string{
	"code": {"code", "codes", "alarm code", "alarm no", "alarm number", "alarm id", "fault code", "fault no", "fault number", "fault id", "error code", "error no", "error number", "message no", "message number",
		"stoerung nr", "stoerungs nr", "stoernummer", "melde nr", "meldungs nr", "stoerungsnummer", "stoerungscode", "stoercode", "fehlercode", "fehlernummer", "fehler nr", "meldungsnummer", "meldenummer", "meldung nr", "meldungsnr", "alarmnummer", "alarm nr", "alarmcode"},
	"title":      {"title", "text", "alarm text", "message", "message text", "description", "fault text", "error text", "meaning", "stoerung", "stoertext", "stoerungstext", "meldung", "meldetext", "meldungstext", "alarmtext", "fehler", "fehlertext", "beschreibung", "bezeichnung", "bedeutung"},
	"cause":      {"cause", "causes", "possible cause", "possible causes", "probable cause", "probable causes", "reason", "ursache", "ursachen", "moegliche ursache", "moegliche ursachen", "grund"},
	"checks":     {"check", "checks", "action", "actions", "remedy", "remedies", "solution", "corrective action", "corrective actions", "countermeasure", "what to do", "steps", "procedure", "abhilfe", "behebung", "massnahme", "massnahmen", "loesung", "pruefung", "pruefungen", "beseitigung", "fehlerbehebung", "was tun", "vorgehen"},
	"safety":     {"safety", "safety note", "warning", "hazard", "sicherheit", "sicherheitshinweis", "gefahr", "warnung"},
	"drawing":    {"drawing", "drawing no", "schematic", "zeichnung", "zeichnungsnummer", "schaltplan", "stromlaufplan"},
	"part":       {"part", "part no", "part number", "spare part", "teil", "ersatzteil", "artikelnummer", "teilenummer", "material"},
	"applies_to": {"applies to", "scope"},
	"device":     {"device", "machine", "equipment", "asset", "maschine", "anlage", "geraet", "station", "betriebsmittel"},
	"line":       {"line", "production line", "linie"},
}

// maybeCodes are headings that hold the code where no better one does: "No." is
// often the number of the row, and "Fault" its text.
var maybeCodes = []string{"alarm", "fault", "error", "message", "number", "nummer", "no", "nr", "id"}

// importColumns is importNames by heading.
var importColumns = func() map[string]string {
	out := map[string]string{}
	for column, names := range importNames {
		for _, n := range names {
			out[n] = column
		}
	}
	return out
}()

// headingNoise is what headings carry besides their word: "Fehler-Nr. (SPS)".
var headingNoise = regexp.MustCompile(`\([^)]*\)|\[[^\]]*\]|[^a-z0-9]+`)

func columnOf(heading string) string { return importColumns[headingWord(heading)] }

func headingWord(s string) string {
	return strings.Join(strings.Fields(headingNoise.ReplaceAllString(fold(s), " ")), " ")
}

// headerWithin is how many rows may stand above the headings: a title, a date,
// who printed it.
const headerWithin = 20

// Import reads a list of faults as plants keep them: CSV, TSV or the tables of a
// Markdown file, with English or German headings. It never guesses a column; an
// error says what the list lacks.
func Import(name string, raw []byte, o ImportOptions) (*Imported, error) {
	switch {
	case strings.HasPrefix(string(raw), "PK\x03\x04") || strings.HasPrefix(string(raw), "\xd0\xcf\x11\xe0"):
		return nil, fmt.Errorf("import %s: it is a workbook; save the sheet as CSV (UTF-8) and import that", name)
	case len(raw) > maxFile:
		return nil, fmt.Errorf("import %s: larger than %d bytes; divide it", name, maxFile)
	}
	text := strings.ReplaceAll(decode(raw), "\r\n", "\n")
	if strings.ContainsRune(text, 0) {
		return nil, fmt.Errorf("import %s: it is not a text file; save the list as CSV (UTF-8)", name)
	}
	rows := markdownRows(text)
	if len(rows) == 0 {
		rows = textRows(text)
	}
	m := &importing{options: o, out: &Imported{Rows: []ImportedRow{}, Skipped: []Skipped{}, Notes: []string{}}}
	m.read(rows)
	if m.columns == nil {
		return nil, fmt.Errorf("import %s: none of the first %d rows has headings for a code and a cause or remedy; name the columns for example code, text, cause, remedy (or Fehlercode, Störung, Ursache, Abhilfe)", name, headerWithin)
	}
	return m.out, nil
}

// listRow is a row of a list, whatever its format.
type listRow struct {
	line  int
	cells []string
	err   error
	ends  bool // a table ends here; the next row may be other headings
}

// textRows reads CSV or TSV. What divides the cells is judged by the line that
// has most of them: a title above has none.
func textRows(text string) []listRow {
	r := newTable(text)
	if saidSeparator.FindString(text[:min(len(text), 16)]) == "" {
		r.Comma = dividerOf(text)
		r.TrimLeadingSpace = r.Comma != '\t'
	}
	var out []listRow
	for {
		cells, line, err := r.read()
		if errors.Is(err, io.EOF) {
			return out
		}
		out = append(out, listRow{line: line, cells: cells, err: err})
	}
}

// dividerOf returns the character that divides a line into most headings.
func dividerOf(text string) rune {
	best, most := ',', 0
	lines := strings.SplitN(text, "\n", headerWithin+1)
	for _, c := range ",;\t|" {
		for _, line := range lines[:min(len(lines), headerWithin)] {
			known := 0
			for h := range strings.SplitSeq(line, string(c)) {
				if columnOf(strings.Trim(h, `" `)) != "" {
					known++
				}
			}
			if known > most {
				best, most = c, known
			}
		}
	}
	return best
}

var tableRule = regexp.MustCompile(`^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$`)

// markdownRows reads the tables of a Markdown file: rows between pipes with a
// rule of dashes under the headings. Without such a rule there is no table.
func markdownRows(text string) []listRow {
	lines := strings.Split(text, "\n")
	var out []listRow
	inside := false
	for i, line := range lines {
		switch {
		case tableRule.MatchString(line) && strings.Contains(line, "|"):
			if i > 0 && !inside {
				out = append(out, listRow{line: i, cells: pipeCells(lines[i-1]), ends: true})
			}
			inside = true
		case inside && strings.Contains(line, "|"):
			out = append(out, listRow{line: i + 1, cells: pipeCells(line)})
		default:
			inside = false
		}
	}
	return out
}

// pipeCells splits a row of a Markdown table; "\|" is a pipe, <br> a new line.
func pipeCells(line string) []string {
	line = strings.TrimSpace(strings.ReplaceAll(line, `\|`, "\x01"))
	line = strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|")
	var out []string
	for c := range strings.SplitSeq(line, "|") {
		out = append(out, strings.TrimSpace(lineBreak.ReplaceAllString(strings.ReplaceAll(c, "\x01", "/"), "\n")))
	}
	return out
}

var lineBreak = regexp.MustCompile(`(?i)<br\s*/?>`)

// importing is one run of [Import].
type importing struct {
	options ImportOptions
	out     *Imported
	columns map[string]int
	seen    int
}

func (m *importing) read(rows []listRow) {
	for _, r := range rows {
		m.seen++
		switch {
		case r.err != nil:
			m.skip(r, fmt.Sprintf("the row is not readable: %v", r.err))
		case m.columns == nil || r.ends:
			m.header(r)
		default:
			m.row(r)
		}
	}
}

// header takes headings; rows above them are not rows of the list.
func (m *importing) header(r listRow) {
	if m.columns == nil && m.seen > headerWithin {
		return
	}
	columns := map[string]int{}
	for i, h := range r.cells {
		c := columnOf(h)
		if _, double := columns[c]; c != "" && !double {
			columns[c] = i
		}
	}
	maybeCode(columns, r.cells)
	_, code := columns["code"]
	_, cause := columns["cause"]
	_, checks := columns["checks"]
	if !code || !cause && !checks {
		if r.ends {
			m.columns = nil
			m.skip(r, "a table without headings for a code and a cause or remedy")
		}
		return
	}
	m.columns = columns
	m.note(r)
}

// maybeCode takes a column for the code's whose heading says so only perhaps.
func maybeCode(columns map[string]int, headings []string) {
	for _, name := range maybeCodes {
		if _, found := columns["code"]; found {
			return
		}
		if i := slices.IndexFunc(headings, func(h string) bool { return headingWord(h) == name }); i >= 0 {
			columns["code"] = i
		}
	}
}

// note says by which headings the columns were known, so that a person can see
// a wrong one.
func (m *importing) note(r listRow) {
	var taken, unused []string
	used := map[int]bool{}
	for _, c := range slices.Sorted(maps.Keys(m.columns)) {
		taken = append(taken, fmt.Sprintf("%s from %q", c, clipped(r.cells[m.columns[c]])))
		used[m.columns[c]] = true
	}
	for i, h := range r.cells {
		if !used[i] && strings.TrimSpace(h) != "" {
			unused = append(unused, clipped(h))
		}
	}
	m.out.Notes = append(m.out.Notes, fmt.Sprintf("headings in line %d: %s", r.line, strings.Join(taken, ", ")))
	if len(unused) > 0 {
		m.out.Notes = append(m.out.Notes, "columns not taken: "+quoted(unused))
	}
}

func (m *importing) skip(r listRow, why string) {
	what := clipped(strings.Join(r.cells, " "))
	m.out.Skipped = append(m.out.Skipped, Skipped{r.line, what, why})
}

func (m *importing) row(r listRow) {
	cell := func(column string) string {
		i, found := m.columns[column]
		if !found || i >= len(r.cells) {
			return ""
		}
		return strings.TrimSpace(r.cells[i])
	}
	if strings.TrimSpace(strings.Join(r.cells, "")) == "" {
		return
	}
	out := ImportedRow{
		Code: plainText(cell("code")), Title: plainText(cell("title")), Causes: importList(cell("cause")), Checks: importList(cell("checks")),
		Safety: plainText(cell("safety")), Drawing: plainText(cell("drawing")), Part: plainText(cell("part")), AppliesTo: m.scope(cell),
	}
	switch {
	case normalCode(out.Code) == "":
		m.skip(r, "it has no code")
	case len(out.Code) > 64 || !strings.ContainsAny(out.Code, "0123456789_"):
		m.skip(r, fmt.Sprintf("%q does not look like a code", clipped(out.Code)))
	case isRange(out.Code):
		m.skip(r, fmt.Sprintf("%q looks like a range; write a row for each code", out.Code))
	case len(out.Causes)+len(out.Checks) == 0 && out.Safety == "":
		m.skip(r, "it has neither a cause nor a remedy")
	case len(strings.Join(r.cells, "")) > maxEntry:
		m.skip(r, fmt.Sprintf("it is longer than %d bytes; is a quote not closed?", maxEntry))
	case len(m.out.Rows) == maxEntries:
		m.skip(r, fmt.Sprintf("a runbook has at most %d entries", maxEntries))
	default:
		m.out.Rows = append(m.out.Rows, out)
	}
}

var codeRange = regexp.MustCompile(`(?i)^([a-z]*)[ -]?(\d+)\s*(?:-|–|—|\.\.+|…|to|bis)\s*([a-z]*)[ -]?(\d+)$`)

// isRange reports whether a code stands for many: "E10-E15", "12 to 15". "101-2"
// is a code.
func isRange(s string) bool {
	m := codeRange.FindStringSubmatch(s)
	if m == nil || m[3] != "" && !strings.EqualFold(m[1], m[3]) {
		return false
	}
	first, err1 := strconv.Atoi(m[2])
	last, err2 := strconv.Atoi(m[4])
	return err1 == nil && err2 == nil && first < last && len(m[2]) <= len(m[4])
}

// scope is what the row says it is for, else what the caller says. A machine's
// name in a list is seldom the device's name here, so lint looks at it again.
func (m *importing) scope(cell func(string) string) string {
	switch {
	case cell("applies_to") != "":
		return plainText(cell("applies_to"))
	case cell("device") != "":
		return "device:" + scopeName(cell("device"))
	case cell("line") != "":
		return "line:" + scopeName(cell("line"))
	}
	return m.options.AppliesTo
}

// scopeName keeps a name from ending the scope it stands in.
func scopeName(s string) string {
	return strings.Join(strings.FieldsFunc(plainText(s), func(r rune) bool { return strings.ContainsRune("|,; \n", r) }), " ")
}

// bulletMark divides lists that were typed into one cell.
var bulletMark = regexp.MustCompile(`\s*(?:\n|[;•·‣▪]|(?:^|\s)[-–*]\s)\s*`)

// importList splits a cell into its causes or steps.
func importList(s string) []string {
	out := []string{}
	for _, p := range cellList(bulletMark.ReplaceAllString(s, "|")) {
		if p = strings.TrimSpace(strings.ReplaceAll(p, "|", "/")); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// WriteCSV writes the rows as a table of ours, ready to be put into the folder.
func (i *Imported) WriteCSV(w io.Writer, status string) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"code", "applies_to", "title", "cause", "checks", "safety", "drawing", "part", "owner", "reviewed", "status"}}
	for _, r := range i.Rows {
		rows = append(rows, []string{
			r.Code, r.AppliesTo, r.Title, strings.Join(r.Causes, "|"), strings.Join(r.Checks, "|"), r.Safety, r.Drawing, r.Part, "", "", status,
		})
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
