package runbook

import (
	"fmt"
	"strings"
)

// frontMatter is what stands between the two lines of dashes: "key: value" and
// "key: [a, b]", or a list of "- a" lines under a key. It is no YAML on purpose:
// a dozen keys do not pay for a parser with anchors and types.
type frontMatter map[string][]word

// problem is what is wrong in a line of a file.
type problem struct {
	line, column int
	text         string
}

// cutFrontMatter returns the front matter, the rest, how many lines were cut and
// what was not understood. A file that does not begin with dashes has none; one
// that never closes them has none either, and a problem says so.
func cutFrontMatter(text string) (fm frontMatter, body string, cut int, problems []problem) {
	lines := strings.Split(text, "\n")
	if strings.TrimRight(lines[0], " \t\r") != "---" {
		return frontMatter{}, text, 0, nil
	}
	for i := 1; i < len(lines); i++ {
		switch strings.TrimRight(lines[i], " \t\r") {
		case "---", "...":
			fm, problems = parseFrontMatter(lines[1:i])
			return fm, strings.Join(lines[i+1:], "\n"), i + 1, problems
		}
	}
	return frontMatter{}, text, 0, []problem{{1, 1, "front matter is not closed: end it with a line ---"}}
}

// frontMatterKeys are in the order in which they are listed to a person.
var frontMatterKeys = []string{"codes", "applies_to", "owner", "reviewed", "review_every", "status", "drawing", "part", "safety", "title"}

// keyOf returns the key that a word means, "" for none.
func keyOf(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "code" {
		return "codes"
	}
	for _, k := range frontMatterKeys {
		if s == k {
			return k
		}
	}
	return ""
}

func parseFrontMatter(lines []string) (frontMatter, []problem) {
	fm := frontMatter{}
	var problems []problem
	key := ""
	for i, raw := range lines {
		n, line := i+2, strings.TrimSpace(raw) // the dashes are line 1
		indent := len(raw) - len(strings.TrimLeft(raw, " \t"))
		if item, found := strings.CutPrefix(line, "- "); found && key != "" {
			fm.add(key, item, n, indent+3)
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if key = keyOf(name); !found || key == "" {
			problems = append(problems, problem{n, indent + 1, fmt.Sprintf("front matter: %q is not understood; want %s", clipped(line), strings.Join(frontMatterKeys, ", "))})
			key = ""
			continue
		}
		fm.addAll(key, value, n, indent+len(name)+2)
	}
	return fm, problems
}

// add appends a value that begins in a column.
func (fm frontMatter) add(key, value string, line, column int) {
	column += len(value) - len(strings.TrimLeft(value, " \t"))
	if value = unquote(value); value != "" {
		fm[key] = append(fm[key], word{value, line, column})
	}
}

// addAll splits lists. A sentence keeps its commas; names of codes and scopes
// have none, so those lists may lack their brackets.
func (fm frontMatter) addAll(key, value string, line, column int) {
	column += len(value) - len(strings.TrimLeft(value, " \t"))
	value = strings.TrimSpace(withoutComment(value))
	inner, bracket := strings.CutPrefix(value, "[")
	switch {
	case bracket:
		value, column = strings.TrimSuffix(inner, "]"), column+1
	case key != "codes" && key != "applies_to":
		fm.add(key, value, line, column)
		return
	}
	for v := range strings.SplitSeq(value, ",") {
		fm.add(key, v, line, column)
		column += len(v) + 1
	}
}

// withoutComment takes " # …" off; a # inside of quotes or before a number
// stays: "E-204 #7" is a drawing.
func withoutComment(s string) string {
	if t := strings.TrimSpace(s); t != "" && (t[0] == '"' || t[0] == '\'') {
		return s
	}
	s, _, _ = strings.Cut(s, " # ")
	return s
}

func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// text returns a key's value as one text.
func (fm frontMatter) text(key string) string { return strings.Join(texted(fm[key]), ", ") }

// first returns where a key's value begins, else the file's first line.
func (fm frontMatter) first(key string) word {
	if len(fm[key]) > 0 {
		return fm[key][0]
	}
	return word{line: 1, column: 1}
}

func texted(words []word) []string {
	var out []string
	for _, w := range words {
		out = append(out, w.text)
	}
	return out
}

// codes returns the codes listed, normalised.
func (fm frontMatter) codes() []string {
	var out []string
	for _, c := range fm["codes"] {
		if n := normalCode(c.text); n != "" {
			out = append(out, n)
		}
	}
	return out
}
