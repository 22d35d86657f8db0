package exports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"edgeagent"
)

// MaxSize is how many bytes of an export are read, and how many may come out of
// one that is compressed. A longer one is refused whole.
const MaxSize = 64 << 20

// Formats lists the exports that [Read] understands.
var Formats = []string{"kepware", "ignition", "tia-tags", "tia-alarms", "l5x"}

var readers = map[string]func(*reading) error{
	"kepware":    readKepware,
	"ignition":   readIgnition,
	"tia-tags":   readTIATags,
	"tia-alarms": readTIAAlarms,
	"l5x":        readL5X,
}

// Options is what an export does not say about itself.
type Options struct {
	// Device names the one device to take of an export that holds several
	// (Ignition: the name in brackets, the OPC server, or either with .UNIT).
	Device string
	// Order is the byte order of values of more than 16 bits. It is a setting of
	// the tool's device, not of the export; empty is the tool's default, noted.
	Order edgeagent.ByteOrder
	// Language of texts that name none, such as "en"; empty is "en".
	Language string
	// Node is the OPC UA address of a controller's tag, with {tag} for its name;
	// empty is the format's default, noted.
	Node string
}

// Skip is something that was not taken.
type Skip struct {
	Line int    `json:"line"` // of the export, from 1; a row of a workbook
	What string `json:"what"`
	Why  string `json:"why"`
}

// Result is what an export held.
type Result struct {
	Tags []Tag `json:"tags"`
	// Texts are the rows of the text tables, by the tag whose bits or values
	// they name.
	Texts   map[string][]Text `json:"texts"`
	Alarms  []Alarm           `json:"alarms"` // those that are neither a bit of a word nor a value
	Skipped []Skip            `json:"skipped"`
	Notes   []string          `json:"notes"` // what a person has to know or check
}

// newResult returns one whose lists are empty, in JSON too, and never null.
func newResult() *Result {
	return &Result{Tags: []Tag{}, Texts: map[string][]Text{}, Alarms: []Alarm{}, Skipped: []Skip{}, Notes: []string{}}
}

// Read understands one export and says what it could not take. The name is for
// errors. An error means that nothing could be read at all: an unknown format,
// a file that is something else, one beyond [MaxSize], or one with several
// devices of which Options names none.
func Read(format, name string, r io.Reader, o Options) (*Result, error) {
	return readWithin(MaxSize, format, name, r, o)
}

// readWithin is Read with another bound, for tests of the bound.
func readWithin(limit int64, format, name string, r io.Reader, o Options) (*Result, error) {
	read, known := readers[format]
	if !known {
		return nil, fmt.Errorf("unknown format %q; want one of %s", format, strings.Join(Formats, ", "))
	}
	if o.Node != "" && !isNode(o.Node) {
		return nil, fmt.Errorf("node template %q is no OPC UA address; want one such as \"ns=2;s=[PLC]{tag}\"", o.Node)
	}
	if o.Node != "" && !strings.Contains(o.Node, "{tag}") {
		return nil, fmt.Errorf("node template %q has no {tag}: every tag would be the same node", o.Node)
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s is longer than %d MiB; export fewer tags at a time", name, limit>>20)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	}
	if o.Language == "" {
		o.Language = "en"
	}
	if len(o.Language) != 2 || strings.Trim(o.Language, "abcdefghijklmnopqrstuvwxyz") != "" {
		return nil, fmt.Errorf("language %q is not known; want two small letters, such as \"en\"", o.Language)
	}
	in := &reading{limit: limit, data: data, options: o, names: namer{}, noted: map[string]bool{}, result: newResult()}
	if err := read(in); err != nil {
		return nil, fmt.Errorf("read %s as %s: %w", name, format, err)
	}
	in.finish()
	return in.result, nil
}

// reading is one call of Read.
type reading struct {
	limit   int64 // bytes that an archive may unpack to
	data    []byte
	options Options
	names   namer
	result  *Result
	noted   map[string]bool
	renamed int
	ordered int // tags that were given an order
}

func (in *reading) skip(line int, what, format string, args ...any) {
	in.result.Skipped = append(in.result.Skipped, Skip{Line: line, What: oneLine(what, 120), Why: fmt.Sprintf(format, args...)})
}

// note adds what a person has to know, once.
func (in *reading) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !in.noted[text] {
		in.noted[text] = true
		in.result.Notes = append(in.result.Notes, text)
	}
}

func (in *reading) finish() {
	if in.renamed > 0 {
		in.note("%d names were changed to lower case with _ for other characters; the originals stand in the column comment", in.renamed)
	}
	slices.SortStableFunc(in.result.Skipped, func(a, b Skip) int { return a.Line - b.Line })
}
