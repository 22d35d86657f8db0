// Package runbook answers from what people have written down: a folder of
// Markdown and CSV. It is the last tier of a diagnosis and never fails: an entry
// for the very alarm, else passages that share its words, else the tags that
// moved before it.
//
// cmd/edgeagent loads it at start and reload; its recorder asks for the hint of
// every alarm, [llm.Router] for passages and for the last answer. It reads files
// in [Load] alone and writes none: after kill -9 the same folder gives the same
// answers.
package runbook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"
)

// Limits of a folder. They are far above any real runbook; what passes them is
// named in Problems, not cut in silence.
const (
	maxFile    = 8 << 20 // bytes
	maxFiles   = 2000
	maxEntries = 20000
	maxEntry   = 16 << 10 // bytes
)

// Book is a loaded runbook. The zero Book is empty and answers from the tags
// alone. It is safe for concurrent use once Templates and Language are set.
type Book struct {
	// Problems names what could not be used, one sentence each, with file and line.
	Problems []string
	// Templates names the template that a device was made of; entries for a
	// template match no device that is not in it.
	Templates map[string]string
	// Language of sentences written by code when a case names none: en or de.
	Language string

	entries []*entry
	byCode  map[string][]*entry
	index   index
}

// Load reads the Markdown and CSV files of a folder and of the folders in it.
// A folder that is not there is an empty runbook. What is wrong with single
// files stands in Problems and hides no other file; an error means that the
// folder itself cannot be read.
func Load(dir string) (*Book, error) {
	b := &Book{byCode: map[string][]*entry{}}
	if dir == "" {
		return b, nil
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err := b.readAll(os.DirFS(dir)); err != nil {
		return nil, fmt.Errorf("read runbook %s: %w", dir, err)
	}
	b.finish()
	return b, nil
}

// readAll walks in lexical order, so that equal folders make equal books.
func (b *Book) readAll(dir fs.FS) error {
	files := 0
	return fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			b.problem(name, 0, "cannot be read: %v", err)
			return nil
		case name != "." && strings.HasPrefix(path.Base(name), "."):
			return skip(d)
		case d.IsDir() || !wanted(name):
			return nil
		}
		if files++; files > maxFiles {
			b.problem(name, 0, "left out: the folder has more than %d files", maxFiles)
			return fs.SkipAll
		}
		b.readFile(dir, name)
		return nil
	})
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// wanted leaves out the README, which is about the folder, not about a machine.
func wanted(name string) bool {
	base := strings.ToLower(path.Base(name))
	if strings.HasPrefix(base, "readme") {
		return false
	}
	switch path.Ext(base) {
	case ".md", ".markdown", ".csv":
		return true
	}
	return false
}

func (b *Book) readFile(dir fs.FS, name string) {
	info, err := fs.Stat(dir, name)
	if err == nil && info.Size() > maxFile {
		b.problem(name, 0, "left out: larger than %d bytes", maxFile)
		return
	}
	if err == nil && !info.Mode().IsRegular() {
		return
	}
	raw, err := fs.ReadFile(dir, name)
	if err != nil {
		b.problem(name, 0, "cannot be read: %v", err)
		return
	}
	text := decode(raw)
	if strings.ContainsRune(text, 0) {
		b.problem(name, 0, "left out: not a text file")
		return
	}
	if strings.EqualFold(path.Ext(name), ".csv") {
		b.readTable(name, text)
		return
	}
	b.readMarkdown(name, text)
}

// decode returns the text of a file without byte order mark. What is not UTF-8
// is taken for Windows-1252, which spreadsheets still write.
func decode(raw []byte) string {
	s := strings.TrimPrefix(string(raw), "\ufeff")
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for _, c := range raw {
		if r, found := windows1252[c]; found {
			out.WriteRune(r)
		} else {
			out.WriteRune(rune(c))
		}
	}
	return out.String()
}

// windows1252 holds what differs from Latin-1 and occurs in texts.
var windows1252 = map[byte]rune{0x80: '€', 0x82: '‚', 0x84: '„', 0x85: '…', 0x91: '‘', 0x92: '’', 0x93: '“', 0x94: '”', 0x96: '–', 0x97: '—'}

func (b *Book) problem(file string, line int, format string, args ...any) {
	where := file
	if line > 0 {
		where = fmt.Sprintf("%s:%d", file, line)
	}
	b.Problems = append(b.Problems, where+": "+fmt.Sprintf(format, args...))
}

// add keeps an entry. Its checks go through the same filter as a model's: a
// runbook that says "bridge the door switch" is wrong, whoever wrote it.
func (b *Book) add(e *entry) {
	if e.empty() {
		b.problem(e.file, e.line, "entry %s says nothing: no text, cause, check or safety note", e.name())
		return
	}
	if len(b.entries) == maxEntries {
		b.problem(e.file, e.line, "left out: the runbook has more than %d entries", maxEntries)
		return
	}
	e.title = clipped(e.title)
	e.screen()
	for _, f := range e.filtered {
		b.problem(e.file, e.line, "%s of entry %s", f, e.name())
	}
	b.entries = append(b.entries, e)
	for _, c := range e.codes {
		b.byCode[c] = append(b.byCode[c], e)
	}
}

// finish names the doubles and builds the index.
func (b *Book) finish() {
	seen := map[string]int{}
	for _, e := range b.entries {
		e.id = "runbook/" + e.file + "#" + e.anchor
		if seen[e.id]++; seen[e.id] > 1 {
			e.id = fmt.Sprintf("%s-%d", e.id, seen[e.id])
		}
	}
	texts := make([][]string, len(b.entries))
	for i, e := range b.entries {
		texts[i] = e.terms()
	}
	b.index = newIndex(texts)
}
