package llm

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that is compiled when it is first asked for:
// the lists are long, and most commands judge nothing.
type pattern struct {
	compiled func() *regexp.Regexp
}

func newPattern(expression func() string) pattern {
	return pattern{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression()) })}
}

func (p pattern) MatchString(s string) bool      { return p.compiled().MatchString(s) }
func (p pattern) FindString(s string) string     { return p.compiled().FindString(s) }
func (p pattern) FindStringIndex(s string) []int { return p.compiled().FindStringIndex(s) }
func (p pattern) FindStringSubmatchIndex(s string) []int {
	return p.compiled().FindStringSubmatchIndex(s)
}
func (p pattern) FindAllStringIndex(s string, n int) [][]int {
	return p.compiled().FindAllStringIndex(s, n)
}
func (p pattern) ReplaceAllString(s, with string) string {
	return p.compiled().ReplaceAllString(s, with)
}
