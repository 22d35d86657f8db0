package runbook

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"edgeagent"
	"edgeagent/llm"
)

// The Markdown of a runbook, read generously:
//
//	---                                   front matter, optional
//	codes: [F212]
//	applies_to: [device:filler]
//	owner: …                              reviewed, review_every, status, drawing, part, safety, title
//	---
//	# Level sensor                        title of the file
//	## F212 Level sensor unstable         a heading that begins with a code begins an entry; one that is underlined, too
//	Text.
//	### Causes                            Causes, Checks, Safety; Ursachen, Prüfungen, Sicherheit; "**Causes:**" and
//	- Foam on the sensor (likely)         "Causes:" on a line of their own do as well
//	### Checks
//	1. Look through the sight glass.
//
// Outside such parts a numbered list is checks and a dotted list is causes. A
// file without a heading that begins with a code is one entry for the codes of
// its front matter.

type part int

const maxHeading = 300 // bytes of one that is underlined

const (
	partText part = iota
	partCauses
	partChecks
	partSafety
)

// partNames are the headings of parts, folded by [fold].
var partNames = map[string]part{
	"causes": partCauses, "cause": partCauses, "possible causes": partCauses, "probable causes": partCauses, "ursachen": partCauses, "ursache": partCauses, "moegliche ursachen": partCauses,
	"checks": partChecks, "check": partChecks, "steps": partChecks, "what to check": partChecks, "actions": partChecks, "remedy": partChecks,
	"pruefungen": partChecks, "pruefung": partChecks, "pruefen": partChecks, "schritte": partChecks, "abhilfe": partChecks, "massnahmen": partChecks,
	"safety": partSafety, "safety note": partSafety, "warning": partSafety, "sicherheit": partSafety, "sicherheitshinweis": partSafety, "warnung": partSafety,
}

var (
	headingLine = regexp.MustCompile(`^(#{1,6})\s+(.*?)\s*#*\s*$`)
	labelLine   = regexp.MustCompile(`^(?:\*\*|__)?([\p{L} ]{3,30}?)(?:\*\*|__)?\s*:\s*(?:\*\*|__)?\s*$`)
	numbered    = regexp.MustCompile(`^\s{0,6}\d{1,3}[.)]\s+(.*)$`)
	bullet      = regexp.MustCompile(`^\s{0,6}[-*+•]\s+(.*)$`)
	emphasis    = regexp.MustCompile("\\*\\*|__|`")
	fenceLine   = regexp.MustCompile("^\\s*(?:(```)`*[^`]*|(~~~).*)$") // not "```tag``` is high"
	underline   = regexp.MustCompile(`^ {0,3}(=+|-{2,})\s*$`)
	comment     = regexp.MustCompile(`(?s)<!--.*?-->`)
	mdLink      = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// markdown is the reader of one file.
type markdown struct {
	b      *Book
	file   string
	fm     frontMatter
	listed map[string]bool
	now    *entry // being filled
	part   part
	item   *string // that a continuation line belongs to
	size   int     // of now, in bytes
	fence  int     // the line that began a block of code, 0 outside of one
	mark   string  // that began it, and ends it
	blank  bool    // the line before was empty
	used   map[string]bool
	review review
	draft  bool
}

func (b *Book) readMarkdown(file, text string) {
	fm, body, offset, problems := cutFrontMatter(strings.ReplaceAll(text, "\r\n", "\n"))
	for _, p := range problems {
		b.problem(position{file, p.line, p.column}, codeMatter, "%s", p.text)
	}
	m := &markdown{b: b, file: file, fm: fm, listed: map[string]bool{}, used: map[string]bool{}}
	m.review, m.draft = b.stated(file, fm)
	b.noteDrawing(file, fm.first("drawing"))
	for _, c := range fm.codes() {
		m.listed[c] = true
	}
	body = comment.ReplaceAllStringFunc(body, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	m.begin(nil, fm.text("title"), offset+1)
	lines := strings.Split(body, "\n")
	for i := 0; i < len(lines); i++ {
		if m.underlined(lines, i) {
			b.noteLinks(file, offset+i+1, lines[i])
			m.heading(plainText(lines[i]), offset+i+1)
			i++
			continue
		}
		m.line(lines[i], offset+i+1)
	}
	if m.fence > 0 {
		b.problem(position{file, m.fence, 1}, codeFile, "the code that begins here with %s is never closed: what follows is text, and its headings are no entries", m.mark)
	}
	m.end(true)
}

// begin starts an entry with what the front matter says of all of the file.
func (m *markdown) begin(codes []string, title string, line int) {
	m.now = &entry{
		file: m.file, line: line, title: title, codes: codes,
		drawing: plainText(m.fm.text("drawing")), part: plainText(m.fm.text("part")), review: m.review, draft: m.draft,
	}
	m.part, m.item, m.size, m.blank = partText, nil, 0, false
	for _, c := range codes {
		m.used[c] = true
	}
}

func (m *markdown) line(line string, n int) {
	if len(line) > 2*maxEntry { // more than any entry takes; the patterns need not look at a log in one line
		line = strings.ToValidUTF8(line[:2*maxEntry], "")
	}
	m.b.noteLinks(m.file, n, line)
	if f := fenceLine.FindStringSubmatch(line); f != nil && (m.fence == 0 || f[1]+f[2] == m.mark) {
		if m.fence > 0 {
			n = 0
		}
		m.fence, m.mark = n, f[1]+f[2]
		return
	}
	if m.fence > 0 {
		m.addText(line)
		return
	}
	if h := headingLine.FindStringSubmatch(line); h != nil {
		m.heading(plainText(h[2]), n)
		return
	}
	if l := labelLine.FindStringSubmatch(line); l != nil {
		if p, known := partNames[fold(l[1])]; known {
			m.part, m.item = p, nil
			return
		}
	}
	m.content(line)
}

// underlined reports whether line i is a heading because of the one below it. A row
// of dashes may be there to divide: above it only what begins an entry or a part is
// one, for as a heading a line would leave the part that it stands in.
func (m *markdown) underlined(lines []string, i int) bool {
	if m.fence > 0 || i+1 == len(lines) || len(lines[i]) > maxHeading || !underline.MatchString(lines[i+1]) {
		return false
	}
	line, text := lines[i], plainText(lines[i])
	if text == "" || bullet.MatchString(line) || numbered.MatchString(line) || headingLine.MatchString(line) {
		return false
	}
	if i > 0 && strings.TrimSpace(lines[i-1]) != "" && !headingLine.MatchString(lines[i-1]) {
		return false // the end of a paragraph
	}
	_, part := partNames[fold(strings.TrimSuffix(text, ":"))]
	codes, _ := codesOf(text, m.listed)
	return part || len(codes) > 0 || strings.Contains(lines[i+1], "=")
}

// heading begins a part, an entry, or is a line of text.
func (m *markdown) heading(text string, n int) {
	if p, known := partNames[fold(strings.TrimSuffix(text, ":"))]; known {
		m.part, m.item = p, nil
		return
	}
	if codes, title := codesOf(text, m.listed); len(codes) > 0 {
		m.end(false)
		m.begin(codes, title, n)
		return
	}
	m.part, m.item = partText, nil
	if m.now.title == "" && m.now.empty() {
		m.now.title = text
		return
	}
	m.addText(text + ".")
}

// content is a line of a list, the continuation of one, or text.
func (m *markdown) content(line string) {
	trimmed := strings.TrimSpace(line)
	switch {
	case trimmed == "", underline.MatchString(line): // a rule says nothing
		m.blank = true
		return
	case numbered.MatchString(line):
		m.listItem(numbered.FindStringSubmatch(line)[1], partChecks)
	case bullet.MatchString(line):
		m.listItem(bullet.FindStringSubmatch(line)[1], partCauses)
	case m.item != nil && (!m.blank || line[0] == ' ' || line[0] == '\t'):
		if m.fits(trimmed) {
			*m.item += " " + plainText(trimmed)
		}
	default:
		m.item = nil
		m.addText(trimmed)
	}
	m.blank = false
}

// listItem puts an item where the heading says, or else where its mark says.
func (m *markdown) listItem(text string, byMark part) {
	p := m.part
	if p == partText {
		p = byMark
	}
	if !m.fits(text) {
		return
	}
	text = plainText(text)
	switch p {
	case partCauses:
		m.now.causes = append(m.now.causes, edgeagent.Cause{Cause: text})
		m.item = &m.now.causes[len(m.now.causes)-1].Cause
	case partChecks:
		m.now.checks = append(m.now.checks, text)
		m.item = &m.now.checks[len(m.now.checks)-1]
	default:
		m.now.safety = joinText(m.now.safety, text)
		m.item = &m.now.safety
	}
}

// fits counts what is to be added to the entry. A log that was saved here by
// mistake is one endless entry: its end is left out, and said once.
func (m *markdown) fits(text string) bool {
	before := m.size
	m.size += len(text) + 1
	if before <= maxEntry && m.size > maxEntry {
		m.b.problem(position{m.file, m.now.line, 1}, codeLimit, "entry %s is longer than %d bytes: the rest of it is left out", m.now.name(), maxEntry)
	}
	return m.size <= maxEntry
}

func (m *markdown) addText(line string) {
	if !m.fits(line) {
		return
	}
	line = plainText(line)
	if m.part == partSafety {
		m.now.safety = joinText(m.now.safety, line)
		return
	}
	m.now.text = joinText(m.now.text, line)
}

// end adds the entry that was being filled; last says that the file is over.
// What stands before the first heading with a code is an entry of its own, for
// the listed codes that have no heading.
func (m *markdown) end(last bool) {
	e := m.now
	preamble := len(e.codes) == 0
	if preamble && last {
		for c := range m.listed {
			e.codes = append(e.codes, c)
		}
		slices.Sort(e.codes)
	}
	if preamble && e.empty() {
		if last {
			m.b.problem(position{m.file, 1, 1}, codeEmpty, "the file has no entry: neither text nor a heading with a code")
		}
		return
	}
	if preamble && !last {
		e.codes = nil // general words of a file with headings: found by words only
	}
	if e.safety == "" {
		e.safety = plainText(m.fm.text("safety"))
	}
	m.complete(e)
	m.b.add(e)
	if last {
		m.unusedCodes(preamble)
	}
}

// unusedCodes names codes of the front matter for which there is no section.
func (m *markdown) unusedCodes(preamble bool) {
	if preamble {
		return
	}
	var missing []string
	for c := range m.listed {
		if !m.used[c] {
			missing = append(missing, c)
		}
	}
	slices.Sort(missing)
	for _, c := range missing {
		m.b.problem(position{m.file, 1, 1}, codeListed, "code %s is listed but has no heading: add \"## %s Title\"", c, c)
	}
}

// scopeWanted is said of a scope that is none.
const scopeWanted = "applies_to %q is not understood: want device:NAME, line:NAME or template:NAME"

// complete sets what follows from the rest of the entry.
func (m *markdown) complete(e *entry) {
	for _, s := range e.setScopes(m.fm["applies_to"]) {
		m.b.problem(position{m.file, s.line, s.column}, codeScope, scopeWanted, s.text)
	}
	if e.title == "" {
		e.title = strings.TrimSuffix(path.Base(m.file), path.Ext(m.file))
	}
	e.anchor = anchor(e.codes, e.title)
	setLikelihoods(e.causes)
}

// likelihoodMarks end a cause whose author knows how often it is the one.
var likelihoodMarks = map[string]edgeagent.Likelihood{
	"likely": edgeagent.Likely, "possible": edgeagent.Possible, "unlikely": edgeagent.Unlikely, "often": edgeagent.Likely, "rare": edgeagent.Unlikely,
	"wahrscheinlich": edgeagent.Likely, "moeglich": edgeagent.Possible, "unwahrscheinlich": edgeagent.Unlikely, "haeufig": edgeagent.Likely, "selten": edgeagent.Unlikely,
}

// setLikelihoods takes the marks off; a cause without one is possible, because
// an order on paper is no frequency.
func setLikelihoods(causes []edgeagent.Cause) {
	for i := range causes {
		c := &causes[i]
		c.Likelihood = edgeagent.Possible
		text := strings.TrimSuffix(strings.TrimSpace(c.Cause), ".")
		open := strings.LastIndexByte(text, '(')
		if open < 0 || !strings.HasSuffix(text, ")") {
			continue
		}
		if l, known := likelihoodMarks[fold(text[open+1:len(text)-1])]; known {
			c.Likelihood, c.Cause = l, strings.TrimSpace(text[:open])
		}
	}
}

// anchor is the part of an id behind the #: the first code, or the title.
func anchor(codes []string, title string) string {
	if len(codes) > 0 {
		return strings.ToLower(codes[0])
	}
	return strings.Trim(strings.Join(strings.FieldsFunc(fold(title), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-"), "-")
}

// plainText takes emphasis, links and everything invisible out of a line.
func plainText(s string) string {
	s = emphasis.ReplaceAllString(mdLink.ReplaceAllString(s, "$1"), "")
	return llm.Clean(s, len(s)+1)
}

func joinText(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}
