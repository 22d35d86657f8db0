package runbook

import (
	"regexp"
	"strings"
)

// link is a file that an entry points to.
type link struct {
	file         string // that holds it
	target       string
	line, column int
}

const maxLinks = 2000

var mdTarget = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)`)

// noteLinks remembers what a line points to, for [Book.Lint]. Links to other
// places than files are not the folder's matter.
func (b *Book) noteLinks(file string, n int, line string) {
	if !strings.Contains(line, "](") {
		return
	}
	for _, m := range mdTarget.FindAllStringSubmatchIndex(line, -1) {
		target := line[m[2]:m[3]]
		if strings.Contains(target, ":") || strings.HasPrefix(target, "#") || len(b.links) == maxLinks {
			continue
		}
		b.links = append(b.links, link{file, target, n, m[2] + 1})
	}
}

// drawingFile finds a file's name in what stands under drawing: "E-204 sheet 7"
// is a number on paper, "drawings/E-204.pdf" a file.
var drawingFile = regexp.MustCompile(`(?i)^[^\s:|]+\.(?:pdf|png|jpe?g|svg|tiff?|dwg|dxf|vsdx?|docx?|xlsx?|html?)$`)

// noteDrawing remembers a drawing that is a file.
func (b *Book) noteDrawing(file string, w word) {
	if drawingFile.MatchString(w.text) && len(b.links) < maxLinks {
		b.links = append(b.links, link{file, w.text, w.line, w.column})
	}
}
