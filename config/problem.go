package config

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a configuration, where it is, and
// what to do about it.
type Problem struct {
	File      string
	Line, Col int // from 1; a column is a character, not a byte
	Text      string
}

// String returns FILE:LINE:COL: TEXT.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Text)
}

// Invalid is the error of a configuration whose content is refused. It holds
// every problem that was found, in line order.
type Invalid struct {
	Problems []Problem
}

// Error returns one line for each problem.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// source is the text of one file.
type source struct {
	file   string // as it is shown
	dir    string // what relative paths in it are relative to
	data   []byte
	starts []int // offset at which each line begins
}

func newSource(file, dir string, data []byte) *source {
	s := &source{file: file, dir: dir, data: data, starts: []int{0}}
	for i, c := range data {
		if c == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// line returns the line of an offset of the file, from 1.
func (s *source) line(offset int) int { return sort.SearchInts(s.starts, offset+1) }

// region is a run of offsets that stands for the text of one file. A file has
// one, and one more for each use of a template in it: so an offset alone says
// where a problem is, and which device was being made when it was met.
type region struct {
	*source
	base   int
	origin string // the use of a template, in words
}

// problems collects what is wrong with a configuration, by offset. Offsets run
// through all its files.
type problems struct {
	regions []*region
	end     int // the first offset that is free
	found   []finding
}

type finding struct {
	region    *region
	line, col int
	text      string
}

// open gives the text of a file its offsets.
func (p *problems) open(s *source, origin string) *region {
	r := &region{source: s, base: p.end, origin: origin}
	p.regions = append(p.regions, r)
	p.end += len(s.data) + 1
	return r
}

// region returns where an offset belongs.
func (p *problems) region(offset int) *region {
	i := sort.Search(len(p.regions), func(i int) bool { return p.regions[i].base > offset })
	return p.regions[max(i-1, 0)]
}

// add books a problem at an offset.
func (p *problems) add(offset int, format string, args ...any) {
	r, line, col := p.position(offset)
	p.found = append(p.found, finding{region: r, line: line, col: col, text: fmt.Sprintf(format, args...)})
}

// position returns file, line and column of an offset, both from 1.
func (p *problems) position(offset int) (r *region, line, col int) {
	r = p.region(offset)
	offset = min(max(offset-r.base, 0), len(r.data))
	line = r.line(offset)
	start := r.starts[line-1]
	return r, line, utf8.RuneCount(r.data[start:offset]) + 1
}

// line returns the line of an offset, from 1.
func (p *problems) line(offset int) int {
	_, line, _ := p.position(offset)
	return line
}

// where names the line of an offset in a message at another one.
func (p *problems) where(offset, from int) string {
	r, line, _ := p.position(offset)
	if r.source == p.region(from).source {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("line %d of %s", line, r.file)
}

// err returns nil or all problems, file by file in line order. What every
// device of a template has in common is said once.
func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	order := map[*source]int{}
	for i, r := range p.regions {
		if _, known := order[r.source]; !known {
			order[r.source] = i
		}
	}
	slices.SortStableFunc(p.found, func(a, b finding) int {
		return cmp.Or(order[a.region.source]-order[b.region.source], a.line-b.line, a.col-b.col)
	})
	return &Invalid{Problems: merged(p.found)}
}

// maxAlike is how many rows are shown in which one file says the same: who
// exported a wrong column has a thousand of them.
const maxAlike = 20

// merged makes one problem of those that differ only in the device, and counts
// those of one file that are alike.
func merged(found []finding) []Problem {
	type alike struct {
		*source
		text string
	}
	type same struct {
		alike
		line, col int
	}
	key := func(f finding) same { return same{alike{f.region.source, f.text}, f.line, f.col} }
	devices := map[same]map[*region]bool{}
	places := map[alike]int{}
	for _, f := range found {
		if devices[key(f)] == nil {
			devices[key(f)] = map[*region]bool{}
			places[key(f).alike]++
		}
		devices[key(f)][f.region] = true
	}
	var out []Problem
	shown := map[alike]int{}
	for _, f := range found {
		k := key(f)
		if devices[k] == nil {
			continue
		}
		text := f.message(len(devices[k]) - 1)
		delete(devices, k)
		if shown[k.alike]++; shown[k.alike] > maxAlike {
			continue
		}
		if more := places[k.alike] - maxAlike; more > 0 && shown[k.alike] == maxAlike {
			text += fmt.Sprintf("; the same in %d more places of this file", more)
		}
		out = append(out, Problem{File: f.region.file, Line: f.line, Col: f.col, Text: text})
	}
	return out
}

// message adds for which device a template was being used, and how many more.
func (f finding) message(more int) string {
	switch {
	case f.region.origin == "":
		return f.text
	case more == 0:
		return f.text + "; for " + f.region.origin
	default:
		return fmt.Sprintf("%s; for %s and %d more", f.text, f.region.origin, more)
	}
}

// quote writes text of the file into a message: escaped, so that it cannot
// forge a line or colour a terminal, and cut, so that it cannot flood one.
func quote(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// oneLine returns the first line of an error that was made elsewhere: a compiler
// draws the place of an error below it, which has no room here.
func oneLine(err error) string {
	first, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, first)
}

// list writes "a, b or c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
