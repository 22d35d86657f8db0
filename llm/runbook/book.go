// Package runbook answers from what people have written down: a folder of
// Markdown and CSV. It is the last tier of a diagnosis and never fails: an entry
// for the very alarm, else passages that share its words, else the tags that
// moved before it.
//
// cmd/edgeagent loads it at start and reload; its recorder asks for the hint of
// every alarm, [llm.Router] for passages and for the last answer. It reads files
// in [Load], [Book.Changed] and [Book.Lint] alone and writes none: after kill -9
// the same folder gives the same answers.
package runbook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"time"
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
	// Location is the zone in which times are told; nil leaves each in its own.
	Location *time.Location

	dir      string
	stamp    uint64 // of the folder as it was read
	findings []Finding
	entries  []*entry
	drafts   []*entry // not quoted
	links    []link
	byCode   map[string][]*entry
	index    index
}

// Load reads the Markdown and CSV files of a folder and of the folders in it.
// A folder that is not there is an empty runbook. What is wrong with single
// files stands in Problems and hides no other file; an error means that the
// folder itself cannot be read.
func Load(dir string) (*Book, error) {
	b := &Book{byCode: map[string][]*entry{}, dir: dir}
	if dir == "" {
		return b, nil
	}
	b.stamp = stampOf(dir) // before reading, so that what is written meanwhile counts as changed
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err := b.readAll(); err != nil {
		return nil, fmt.Errorf("read runbook %s: %w", dir, err)
	}
	b.finish()
	return b, nil
}

// Changed reports whether a file of the folder was written, added or removed
// since Load began. It looks at names, sizes and times and opens no file.
func (b *Book) Changed() bool { return b.dir != "" && stampOf(b.dir) != b.stamp }

// Equal reports whether two books give the same answers and have the same
// problems, whenever their files were written.
func (b *Book) Equal(other *Book) bool {
	if b == nil || other == nil {
		return b == other
	}
	x, y := *b, *other
	x.stamp, y.stamp = 0, 0
	return reflect.DeepEqual(x, y)
}

// Entries returns how many entries answer, and how many are drafts and do not.
func (b *Book) Entries() (answering, drafts int) { return len(b.entries), len(b.drafts) }

// add keeps an entry. Its checks go through the same filter as a model's: a
// runbook that says "bridge the door switch" is wrong, whoever wrote it.
func (b *Book) add(e *entry) {
	at := position{e.file, e.line, e.column}
	if e.empty() {
		b.problem(at, codeEmpty, "entry %s says nothing: no text, cause, check or safety note", e.name())
		return
	}
	if e.draft {
		if len(b.drafts) < maxEntries {
			b.drafts = append(b.drafts, e)
		}
		b.find(at, SeverityWarning, codeDraft, "entry %s is a draft and not quoted; read it, then take away \"status: draft\"", e.name())
		return
	}
	if len(b.entries) == maxEntries {
		b.problem(at, codeLimit, "left out: the runbook has more than %d entries", maxEntries)
		return
	}
	e.title = clipped(e.title)
	e.screen()
	for _, f := range e.filtered {
		b.problem(at, codeBypass, "%s of entry %s", f, e.name())
	}
	b.entries = append(b.entries, e)
	for _, c := range e.codes {
		b.byCode[c] = append(b.byCode[c], e)
	}
}

// finish names the entries and builds the index.
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

// quoted is a name in a sentence, whatever it holds.
func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ", ")
}
