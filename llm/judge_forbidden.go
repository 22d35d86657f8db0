package llm

import (
	"regexp"
	"slices"
	"strings"

	"edgeagent"
)

// Forbidden is what a site adds to the lists of advice that no model may give.
// Nil adds nothing.
type Forbidden struct {
	advice []*regexp.Regexp
	names  *regexp.Regexp
}

// NewForbidden returns the additions of a site: advice holds expressions, of
// which each removes the sentence it matches, in upper and lower case, unless
// that forbids it; names are what the site calls its safety functions ("Cell 4",
// "PSS 4000"), which are held to the same as those that the lists know.
func NewForbidden(advice []*regexp.Regexp, names []string) *Forbidden {
	f := &Forbidden{}
	for _, a := range advice {
		if re, err := regexp.Compile("(?i:" + a.String() + ")"); err == nil { // it was one before
			f.advice = append(f.advice, re)
		}
	}
	var quoted []string
	for _, n := range names {
		if n = normal(plain(n)); n != "" {
			quoted = append(quoted, regexp.QuoteMeta(n))
		}
	}
	if len(quoted) > 0 {
		f.names = regexp.MustCompile(`\b(?:` + strings.Join(quoted, "|") + `)`)
	}
	return f
}

// Judge is [Judge] with the additions of the site.
func (f *Forbidden) Judge(c edgeagent.Case, passages []Passage, raw, language string) (edgeagent.Diagnosis, *Fault) {
	return judgeWith(f, c, passages, raw, language)
}

// Drop is [Drop] with the additions of the site.
func (f *Forbidden) Drop(c edgeagent.Case, passages []Passage, raw, language string) (edgeagent.Diagnosis, bool) {
	return dropWith(f, c, passages, raw, language)
}

// matches returns what of a sentence is advice that the site forbids: as it
// was written, or as it reads without its disguise.
func (f *Forbidden) matches(sentence, text string) string {
	if f == nil {
		return ""
	}
	for _, re := range f.advice {
		if m := re.FindStringIndex(text); m != nil {
			if negated(text, m[0], m[1]) {
				continue
			}
			return text[m[0]:m[1]]
		}
		if found := re.FindString(sentence); found != "" && !negator.MatchString(text) {
			return found
		}
	}
	return ""
}

// objects returns where a normal text names safety functions.
func (f *Forbidden) objects(text string) [][]int {
	out := safetyObject.FindAllStringIndex(text, -1)
	if f != nil && f.names != nil {
		out = append(out, f.names.FindAllStringIndex(text, -1)...)
		slices.SortFunc(out, func(a, b []int) int { return a[0] - b[0] })
	}
	return out
}

// stem reports whether a normal text can name a safety function at all.
func (f *Forbidden) stem(text string) bool {
	return hasStem(text) || f != nil && f.names != nil && f.names.MatchString(text)
}
