package exports

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// isWorkbook tells an Excel workbook, a zip archive, from text.
func isWorkbook(data []byte) bool { return bytes.HasPrefix(data, []byte("PK\x03\x04")) }

// workbook reads what these exports need of Office Open XML: texts and numbers
// of cells, by sheet. What the archive unpacks to is bounded in all, with the
// empty cells that no byte of it stands for.
type workbook struct {
	files  map[string]*zip.File
	limit  int64
	budget int64    // of limit, what is left
	texts  []string // shared by the sheets
}

type sheet struct{ name, file string }

// emptyCell is what a cell costs of the budget that a row has only because
// another stands behind it: the memory of an empty text.
const emptyCell = 16

// readSheet returns the first sheet that has a header with the given columns.
func (in *reading) readSheet(required ...string) (*table, error) {
	archive, err := zip.NewReader(bytes.NewReader(in.data), int64(len(in.data)))
	if err != nil {
		return nil, fmt.Errorf("unpack the workbook: %w", err)
	}
	w := &workbook{files: map[string]*zip.File{}, budget: in.limit, limit: in.limit}
	for _, f := range archive.File {
		w.files[strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(f.Name, `\`, "/")), "/")] = f
	}
	sheets, err := w.sheets()
	if err != nil {
		return nil, err
	}
	if err := w.sharedTexts(); err != nil {
		return nil, err
	}
	var names []string
	for _, s := range sheets {
		t := &table{}
		if t.rows, err = w.rows(s.file); err != nil {
			return nil, fmt.Errorf("sheet %q: %w", oneLine(s.name, 60), err)
		}
		if t.findHeader(required) {
			return t, nil
		}
		names = append(names, oneLine(s.name, 60))
	}
	return nil, fmt.Errorf("no sheet has a header with the columns %s in its first %d rows; the sheets are %s",
		quoted(required), headerWithin, quoted(names))
}

// bounded reads from the archive until the workbook's budget is used up.
type bounded struct {
	r io.Reader
	w *workbook
}

func (b bounded) Read(p []byte) (int, error) {
	if b.w.budget <= 0 {
		return 0, fmt.Errorf("it unpacks to more than %d MiB; export fewer rows at a time", b.w.limit>>20)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.w.budget)])
	b.w.budget -= int64(n)
	return n, err
}

// walk calls visit with every element of a part. A part that is not there has
// none.
func (w *workbook) walk(name string, visit func(d *xml.Decoder, e xml.StartElement) error) error {
	f, ok := w.files[name]
	if !ok {
		return nil
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	defer func() { _ = r.Close() }()
	d := xml.NewDecoder(bounded{r, w})
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if e, ok := token.(xml.StartElement); ok {
			if err := visit(d, e); err != nil {
				return err
			}
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// sheets returns the sheets in the workbook's order.
func (w *workbook) sheets() ([]sheet, error) {
	targets := map[string]string{}
	err := w.walk("xl/_rels/workbook.xml.rels", func(_ *xml.Decoder, e xml.StartElement) error {
		if e.Name.Local == "Relationship" {
			target := attr(e, "Target")
			if !strings.HasPrefix(target, "/") {
				target = "/xl/" + target
			}
			targets[attr(e, "Id")] = strings.TrimPrefix(path.Clean(target), "/")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []sheet
	err = w.walk("xl/workbook.xml", func(_ *xml.Decoder, e xml.StartElement) error {
		if e.Name.Local == "sheet" {
			id := ""
			for _, a := range e.Attr { // r:id, not sheetId
				if a.Name.Local == "id" {
					id = a.Value
				}
			}
			out = append(out, sheet{name: attr(e, "name"), file: targets[id]})
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = errors.New("it is no Excel workbook: it names no sheet")
	}
	return out, err
}

func (w *workbook) sharedTexts() error {
	return w.walk("xl/sharedStrings.xml", func(d *xml.Decoder, e xml.StartElement) error {
		if e.Name.Local != "si" {
			return nil
		}
		text, err := richText(d, e)
		w.texts = append(w.texts, text)
		return err
	})
}

// richText joins the runs of a text and leaves out phonetic hints.
func richText(d *xml.Decoder, start xml.StartElement) (string, error) {
	var item struct {
		T    string `xml:"t"`
		Runs []struct {
			T string `xml:"t"`
		} `xml:"r"`
	}
	if err := d.DecodeElement(&item, &start); err != nil {
		return "", fmt.Errorf("read a text of the workbook: %w", err)
	}
	for _, r := range item.Runs {
		item.T += r.T
	}
	return item.T, nil
}

// rows returns the rows that have cells, with their row numbers.
func (w *workbook) rows(file string) ([]row, error) {
	var out []row
	err := w.walk(file, func(d *xml.Decoder, e xml.StartElement) error {
		switch e.Name.Local {
		case "row":
			line, err := strconv.Atoi(attr(e, "r"))
			if err != nil || line < 1 {
				line = 1
				if len(out) > 0 {
					line = out[len(out)-1].line + 1
				}
			}
			out = append(out, row{line: line})
		case "c":
			if len(out) == 0 {
				return errors.New("a cell stands outside of all rows")
			}
			return w.cell(d, e, &out[len(out)-1])
		}
		return nil
	})
	return out, err
}

// cell reads one cell into the row.
func (w *workbook) cell(d *xml.Decoder, e xml.StartElement, r *row) error {
	column := len(r.cells)
	if ref := attr(e, "r"); ref != "" {
		column = columnOf(ref)
	}
	if column < 0 || column >= maxColumns {
		return fmt.Errorf("cell %q is beyond the %d columns that any export has", oneLine(attr(e, "r"), 20), maxColumns)
	}
	var c struct {
		V  string `xml:"v"`
		Is struct {
			T    string `xml:"t"`
			Runs []struct {
				T string `xml:"t"`
			} `xml:"r"`
		} `xml:"is"`
	}
	if err := d.DecodeElement(&c, &e); err != nil {
		return fmt.Errorf("read cell %q: %w", oneLine(attr(e, "r"), 20), err)
	}
	text := c.V
	switch attr(e, "t") {
	case "s":
		i, err := strconv.Atoi(strings.TrimSpace(c.V))
		if err != nil || i < 0 || i >= len(w.texts) {
			return fmt.Errorf("cell %q names text %q, of which there are %d", oneLine(attr(e, "r"), 20), oneLine(c.V, 20), len(w.texts))
		}
		text = w.texts[i]
	case "inlineStr":
		text = c.Is.T
		for _, run := range c.Is.Runs {
			text += run.T
		}
	case "b":
		text = map[string]string{"1": "True", "0": "False"}[c.V]
	}
	w.budget -= emptyCell * int64(max(0, column-len(r.cells)))
	for len(r.cells) <= column {
		r.cells = append(r.cells, "")
	}
	r.cells[column] = text
	return nil
}

// columnOf returns the zero-based column of a reference such as AB12, -1 if it
// is none.
func columnOf(ref string) int {
	column := 0
	for i, c := range ref {
		if c < 'A' || c > 'Z' {
			if i == 0 {
				return -1
			}
			break
		}
		if column = 26*column + int(c-'A') + 1; column > maxColumns {
			break
		}
	}
	return column - 1
}
