package runbook

import "strings"

// frontMatter is what stands between the two lines of dashes: "key: value" and
// "key: [a, b]", or a list of "- a" lines under a key. It is no YAML on purpose:
// five keys do not pay for a parser with anchors and types.
type frontMatter map[string][]string

// cutFrontMatter returns the front matter, the rest and how many lines were cut.
// A file that does not begin with dashes has none; one that never closes them
// has none either, and problem says so.
func cutFrontMatter(text string) (fm frontMatter, body string, cut int, problem string) {
	lines := strings.Split(text, "\n")
	if strings.TrimRight(lines[0], " \t\r") != "---" {
		return frontMatter{}, text, 0, ""
	}
	for i := 1; i < len(lines); i++ {
		switch strings.TrimRight(lines[i], " \t\r") {
		case "---", "...":
			fm, problem = parseFrontMatter(lines[1:i])
			return fm, strings.Join(lines[i+1:], "\n"), i + 1, problem
		}
	}
	return frontMatter{}, text, 0, "front matter is not closed: end it with a line ---"
}

var frontMatterKeys = map[string]bool{
	"codes": true, "code": true, "applies_to": true, "owner": true, "reviewed": true, "drawing": true, "part": true, "safety": true, "title": true,
}

func parseFrontMatter(lines []string) (frontMatter, string) {
	fm := frontMatter{}
	problem, key := "", ""
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if item, found := strings.CutPrefix(line, "- "); found && key != "" {
			fm[key] = append(fm[key], unquote(item))
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		key = strings.ToLower(strings.TrimSpace(name))
		if !found || !frontMatterKeys[key] {
			problem = "front matter: \"" + line + "\" is not understood; want codes, applies_to, owner, reviewed, drawing, part, safety or title"
			key = ""
			continue
		}
		fm[key] = append(fm[key], frontMatterValue(key, value)...)
	}
	return fm, problem
}

// frontMatterValue splits lists. A sentence keeps its commas; names of codes and
// scopes have none, so those lists may lack their brackets.
func frontMatterValue(key, value string) []string {
	value = strings.TrimSpace(value)
	inner, bracket := strings.CutPrefix(value, "[")
	switch {
	case value == "":
		return nil
	case bracket:
		value = strings.TrimSuffix(inner, "]")
	case key != "codes" && key != "code" && key != "applies_to":
		return []string{unquote(value)}
	}
	var out []string
	for v := range strings.SplitSeq(value, ",") {
		if v = unquote(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// text returns a key's value as one text.
func (fm frontMatter) text(key string) string { return strings.Join(fm[key], ", ") }

// codes returns the codes listed, normalised.
func (fm frontMatter) codes() []string {
	var out []string
	for _, c := range append(fm["codes"], fm["code"]...) {
		if c = normalCode(c); c != "" {
			out = append(out, c)
		}
	}
	return out
}
