package runbook

import (
	"regexp"
	"strings"
	"unicode"
)

// normalCode makes one code of the ways in which people write it: A101, A-101,
// "a 101" and A.101 are the same; A0101 is another. What stands between two
// digits divides them: bit 12 of ALM1 is not bit 2 of ALM11.
func normalCode(s string) string {
	var b strings.Builder
	last, divided := rune(0), false
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			divided = true
			continue
		}
		if divided && unicode.IsDigit(last) && unicode.IsDigit(r) {
			b.WriteByte('.')
		}
		b.WriteRune(unicode.ToUpper(r))
		last, divided = r, false
	}
	return b.String()
}

// headingCode finds a code in the first words of a heading: letters and at
// least two digits in capitals, TAG.NUMBER as alarms without a text are named,
// or snake_case as the agent's own codes are.
var headingCode = regexp.MustCompile(`^(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\.(?:\d{1,6}|unlisted)|[A-Z]{1,5}[- ]?\d{2,6}[A-Za-z]?|[A-Z]{1,5}\d{1,6}[A-Za-z]?|[a-z]+(?:_[a-z0-9]+)+)\b`)

// codesOf splits a heading into the codes it begins with and its title. Codes
// listed in the front matter are known whatever they look like.
func codesOf(heading string, listed map[string]bool) (codes []string, title string) {
	rest := strings.TrimSpace(heading)
	for {
		n := codeLength(rest, listed)
		if n == 0 {
			break
		}
		codes = append(codes, normalCode(rest[:n]))
		rest = strings.TrimLeft(rest[n:], " \t")
		next := strings.TrimLeft(rest, ",/+& ")
		if next == rest || codeLength(next, listed) == 0 {
			break
		}
		rest = next
	}
	return codes, strings.TrimSpace(strings.TrimLeft(rest, ":–—-. "))
}

// codeLength returns how many bytes at the beginning of s are a code.
func codeLength(s string, listed map[string]bool) int {
	fields := strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",/:;–—", r) })
	if len(fields) > 0 && listed[normalCode(fields[0])] {
		return strings.Index(s, fields[0]) + len(fields[0])
	}
	if m := headingCode.FindString(s); m != "" {
		return len(m)
	}
	return 0
}
