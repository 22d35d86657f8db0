package runbook

import (
	"fmt"
	"strings"

	"edgeagent"
	"edgeagent/llm"
)

// entry is one piece of advice: a section of a Markdown file or a row of a CSV.
type entry struct {
	id, file, anchor string
	line, column     int
	title            string
	codes            []string // normalised
	scopes           []scope  // none: every machine
	nowhere          bool     // its scope cannot be understood, so it matches nothing exactly
	review           review
	draft            bool // nobody stands by it yet
	text             string
	causes           []edgeagent.Cause
	checks           []string
	safety           string
	drawing, part    string
	filtered         []string // what the filter took out
}

func (e *entry) empty() bool {
	return e.text == "" && len(e.causes) == 0 && len(e.checks) == 0 && e.safety == ""
}

func (e *entry) name() string {
	if len(e.codes) > 0 {
		return strings.Join(e.codes, ", ")
	}
	return fmt.Sprintf("%q", e.title)
}

// screen takes out what would defeat a safety function.
func (e *entry) screen() {
	d := edgeagent.Diagnosis{Summary: e.text, Causes: e.causes, Checks: e.checks}
	llm.Screen(&d)
	e.text, e.causes, e.checks, e.filtered = d.Summary, d.Causes, d.Checks, d.Filtered
	note := edgeagent.Diagnosis{Summary: e.safety}
	llm.Screen(&note)
	e.safety = note.Summary
	for _, f := range note.Filtered {
		e.filtered = append(e.filtered, strings.Replace(f, "summary", "safety note", 1))
	}
}

// terms are the words by which the entry is found. Those of title and codes
// count twice: they are what it is about.
func (e *entry) terms() []string {
	heading := e.title + " " + strings.Join(e.codes, " ")
	return words(heading + " " + heading + " " + e.body())
}

// body is the entry as a text: for prompts and for the index.
func (e *entry) body() string {
	var parts []string
	if e.text != "" {
		parts = append(parts, e.text)
	}
	for i, c := range e.causes {
		if i == 0 {
			parts = append(parts, "Causes:")
		}
		parts = append(parts, fmt.Sprintf("- %s.", strings.TrimSuffix(c.Cause, ".")))
	}
	for i, c := range e.checks {
		if i == 0 {
			parts = append(parts, "Checks:")
		}
		parts = append(parts, fmt.Sprintf("%d. %s.", i+1, strings.TrimSuffix(c, ".")))
	}
	if e.drawing != "" {
		parts = append(parts, "Drawing "+e.drawing+".")
	}
	if e.part != "" {
		parts = append(parts, "Part "+e.part+".")
	}
	return strings.Join(parts, " ")
}

func (e *entry) passage(exact bool) llm.Passage {
	return llm.Passage{ID: e.id, Title: e.title, Text: e.body(), Exact: exact, Safety: e.safety}
}

// scope is one word of applies_to.
type scope struct {
	kind         scopeKind
	name         string
	line, column int // where it is written
}

// scopeKind orders scopes from the general to the special.
type scopeKind int

const (
	scopeAll scopeKind = iota + 1
	scopeLine
	scopeTemplate
	scopeDevice
)

var scopeKinds = map[string]scopeKind{"line": scopeLine, "template": scopeTemplate, "device": scopeDevice}

// setScopes reads applies_to and returns the words it does not understand. An
// entry whose scope is in doubt matches no machine exactly: a wrong machine's
// advice is worse than none.
func (e *entry) setScopes(list []word) (unknown []word) {
	for _, s := range list {
		if strings.EqualFold(s.text, "all") || s.text == "*" {
			continue
		}
		kind, name, found := strings.Cut(s.text, ":")
		k := scopeKinds[strings.ToLower(strings.TrimSpace(kind))]
		if name = strings.TrimSpace(name); !found || k == 0 || name == "" {
			unknown = append(unknown, s)
			continue
		}
		e.scopes = append(e.scopes, scope{k, name, s.line, s.column})
	}
	e.nowhere = len(unknown) > 0 && len(e.scopes) == 0
	return unknown
}

// place is where an alarm is, for scopes.
type place struct{ device, line, template string }

// matches returns the most special scope of the entry that holds the place, or
// 0 when it is out of scope.
func (e *entry) matches(p place) scopeKind {
	switch {
	case e.nowhere:
		return 0
	case len(e.scopes) == 0:
		return scopeAll
	}
	var best scopeKind
	for _, s := range e.scopes {
		if s.holds(p) {
			best = max(best, s.kind)
		}
	}
	return best
}

func (s scope) holds(p place) bool {
	switch s.kind {
	case scopeDevice:
		return strings.EqualFold(s.name, p.device)
	case scopeTemplate:
		return strings.EqualFold(s.name, p.template)
	default:
		return strings.EqualFold(s.name, p.line)
	}
}
