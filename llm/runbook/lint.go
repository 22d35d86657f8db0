package runbook

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edgeagent/internal/spelling"
)

// Plant is what a runbook is held against.
type Plant struct {
	Alarms                    []PlantAlarm
	Devices, Lines, Templates []string // those that applies_to may name
}

// PlantAlarm is an alarm that a device can raise.
type PlantAlarm struct {
	Device, Line, Code string
	Safety             bool // it speaks of a safety function
}

// The rules of [Book.Lint]; what was found while reading has codes of its own.
const (
	lintNoEntry  = "no_entry"
	lintNoAlarm  = "no_alarm"
	lintDouble   = "double"
	lintUnknown  = "unknown_name"
	lintNoOwner  = "no_owner"
	lintNoReview = "no_review"
	lintOverdue  = "review_overdue"
	lintFuture   = "review_in_future"
	lintNoSafety = "no_safety"
	lintLink     = "link"
)

// linter collects what one run finds.
type linter struct {
	b     *Book
	p     Plant
	now   time.Time
	found []Finding

	byCode map[string][]PlantAlarm
	said   map[position]bool // unknown names of front matter that several entries share
}

// Lint returns what was found while the folder was read and what does not fit
// the plant, in the order of files and lines; what is missing altogether comes
// last, without a file. It looks whether linked files are there and reads none.
func (b *Book) Lint(p Plant, now time.Time) []Finding {
	l := &linter{b: b, p: p, now: now, found: slices.Clone(b.findings), byCode: map[string][]PlantAlarm{}, said: map[position]bool{}}
	for _, a := range p.Alarms {
		code := normalCode(a.Code)
		l.byCode[code] = append(l.byCode[code], a)
	}
	for _, e := range b.entries {
		l.names(e)
		l.alarms(e)
	}
	l.doubles()
	l.reviews()
	l.links()
	slices.SortStableFunc(l.found, func(x, y Finding) int {
		return cmp.Or(strings.Compare(x.File, y.File), cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column))
	})
	l.missing()
	if l.found == nil {
		l.found = []Finding{}
	}
	return l.found
}

func (l *linter) find(at position, s Severity, code, format string, args ...any) {
	l.found = append(l.found, Finding{at.file, at.line, max(1, at.column), s, code, fmt.Sprintf(format, args...)})
}

func (e *entry) at() position { return position{e.file, e.line, e.column} }

// names looks for scopes that no machine has: the entry then never answers.
func (l *linter) names(e *entry) {
	known := map[scopeKind][]string{scopeDevice: l.p.Devices, scopeLine: l.p.Lines, scopeTemplate: l.p.Templates}
	for _, s := range e.scopes {
		names := known[s.kind]
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, s.name) }) {
			continue
		}
		at := position{e.file, s.line, s.column}
		if !l.said[at] {
			l.find(at, SeverityError, lintUnknown, "applies_to names %s %q, which is not in the configuration%s", kindNames[s.kind], s.name, didYouMean(s.name, names))
		}
		l.said[at] = true
	}
}

var kindNames = map[scopeKind]string{scopeDevice: "device", scopeLine: "line", scopeTemplate: "template"}

// alarms holds the codes of an entry against those of the plant.
func (l *linter) alarms(e *entry) {
	for _, code := range e.codes {
		known, inScope, safety := l.look(e, code)
		switch {
		case !known:
			l.find(e.at(), SeverityWarning, lintNoAlarm, "no alarm of the configuration has the code %s; take the entry away, unless an OPC UA condition or an alarm from outside has it", code)
		case !inScope && !e.nowhere:
			l.find(e.at(), SeverityWarning, lintNoAlarm, "no machine that applies_to names has an alarm %s; correct applies_to", code)
		case safety && e.safety == "":
			l.find(e.at(), SeverityWarning, lintNoSafety, "%s speaks of a safety function and the entry has no safety note; write one under ### Safety", code)
		}
	}
}

// ownCodes are raised by the agent itself, for any device.
var ownCodes = []string{"DEVICESTOPPED", "DEVICEFROZEN", "CONDITIONSFULL"}

// look reports whether the plant has a code, has it where the entry applies, and
// whether it is a safety function's there.
func (l *linter) look(e *entry, code string) (known, inScope, safety bool) {
	if slices.Contains(ownCodes, code) {
		return true, true, false
	}
	for _, a := range l.byCode[code] {
		known = true
		if e.matches(place{a.Device, a.Line, l.b.Templates[a.Device]}) != 0 {
			inScope, safety = true, safety || a.Safety
		}
	}
	return known, inScope, safety
}

// doubles names entries of one code and one scope: both are quoted, and who
// mends the one forgets the other.
func (l *linter) doubles() {
	first := map[string]*entry{}
	for _, e := range l.b.entries {
		for _, code := range e.codes {
			key := code + "\x00" + e.scopeText()
			before := first[key]
			if before == nil {
				first[key] = e
				continue
			}
			l.find(e.at(), SeverityWarning, lintDouble, "%s for %s stands at %s:%d already, and both are quoted; join them", code, e.scopeText(), before.file, before.line)
		}
	}
}

// scopeText is applies_to in one spelling.
func (e *entry) scopeText() string {
	if len(e.scopes) == 0 {
		return "every machine"
	}
	var out []string
	for _, s := range e.scopes {
		out = append(out, kindNames[s.kind]+":"+strings.ToLower(s.name))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// reviews says once a file what nobody owns or has read for too long: that is
// written once a file.
func (l *linter) reviews() {
	said := map[string]map[string]int{}
	var order []Finding
	for _, e := range l.b.entries {
		for _, f := range l.standing(e) {
			if said[f.File] == nil {
				said[f.File] = map[string]int{}
			}
			if said[f.File][f.Code]++; said[f.File][f.Code] == 1 {
				order = append(order, f)
			}
		}
	}
	for _, f := range order {
		if n := said[f.File][f.Code]; n > 1 {
			f.Text += fmt.Sprintf(" (and %d more of this file)", n-1)
		}
		l.found = append(l.found, f)
	}
}

// standing returns what is missing of an entry's owner and review.
func (l *linter) standing(e *entry) []Finding {
	var out []Finding
	find := func(code, format string, args ...any) {
		out = append(out, Finding{e.file, e.line, max(1, e.column), SeverityWarning, code, fmt.Sprintf(format, args...)})
	}
	if e.review.owner == "" {
		find(lintNoOwner, "nobody owns entry %s; write owner: NAME", e.name())
	}
	switch r := e.review; {
	case !r.said:
		find(lintNoReview, "entry %s was never reviewed; read it and write reviewed: %s", e.name(), l.now.Format(time.DateOnly))
	case r.at.After(l.now.Add(24 * time.Hour)):
		find(lintFuture, "entry %s is said to be reviewed on %s, which is still to come; correct the day or the clock", e.name(), r.at.Format(time.DateOnly))
	case r.overdue(l.now):
		find(lintOverdue, "the review of entry %s was due on %s; read it again and write reviewed: %s", e.name(), r.due().Format(time.DateOnly), l.now.Format(time.DateOnly))
	}
	return out
}

// links looks for the files that entries point to, beside their own file and in
// the runbook's folder.
func (l *linter) links() {
	for _, k := range l.b.links {
		target, _, _ := strings.Cut(k.target, "#")
		if plain, err := url.PathUnescape(target); err == nil {
			target = plain
		}
		if target == "" || l.there(path.Join(path.Dir(k.file), target)) || l.there(target) {
			continue
		}
		l.find(position{k.file, k.line, k.column}, SeverityWarning, lintLink, "%q is not there; correct the link or put the file beside this one", clipped(k.target))
	}
}

func (l *linter) there(name string) bool {
	if !filepath.IsAbs(name) {
		name = filepath.Join(l.b.dir, filepath.FromSlash(name))
	}
	_, err := os.Stat(name)
	return err == nil
}

// missing names the codes that no entry answers, each once with its devices.
func (l *linter) missing() {
	devices := map[string][]string{}
	var codes []string
	for _, a := range l.p.Alarms {
		at := place{a.Device, a.Line, l.b.Templates[a.Device]}
		if slices.ContainsFunc(l.b.byCode[normalCode(a.Code)], func(e *entry) bool { return e.matches(at) != 0 }) {
			continue
		}
		if devices[a.Code] == nil {
			codes = append(codes, a.Code)
		}
		if !slices.Contains(devices[a.Code], a.Device) {
			devices[a.Code] = append(devices[a.Code], a.Device)
		}
	}
	for _, code := range codes {
		what := "has no entry; write one"
		if len(l.b.byCode[normalCode(code)]) > 0 {
			what = "has no entry that applies there; write one, or add to applies_to"
		}
		l.found = append(l.found, Finding{Severity: SeverityWarning, Code: lintNoEntry, Text: fmt.Sprintf("alarm %s of %s %s", code, someOf(devices[code]), what)})
	}
}

// someOf names the first few of many.
func someOf(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// didYouMean names what differs by a slip of the finger.
func didYouMean(name string, known []string) string {
	best := spelling.Nearest(name, known)
	if best == "" {
		return "; correct the name"
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
