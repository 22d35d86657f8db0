package config

import (
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

// problems collects what is wrong with one file, by byte offset.
type problems struct {
	file   string
	data   []byte
	starts []int // offset at which each line begins
	found  []Problem
}

func newProblems(file string, data []byte) *problems {
	p := &problems{file: file, data: data, starts: []int{0}}
	for i, c := range data {
		if c == '\n' {
			p.starts = append(p.starts, i+1)
		}
	}
	return p
}

// add books a problem at a byte offset of the file.
func (p *problems) add(offset int, format string, args ...any) {
	line, col := p.position(offset)
	p.found = append(p.found, Problem{File: p.file, Line: line, Col: col, Text: fmt.Sprintf(format, args...)})
}

// position returns line and column of a byte offset, both from 1.
func (p *problems) position(offset int) (line, col int) {
	offset = min(max(offset, 0), len(p.data))
	line = sort.SearchInts(p.starts, offset+1)
	start := p.starts[line-1]
	return line, utf8.RuneCount(p.data[start:offset]) + 1
}

// line returns the line of a byte offset, from 1.
func (p *problems) line(offset int) int {
	line, _ := p.position(offset)
	return line
}

// err returns nil or all problems in line order.
func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	slices.SortStableFunc(p.found, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return &Invalid{Problems: slices.Compact(p.found)}
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
