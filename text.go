package edgeagent

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many marks one letter may carry: three in Thai and Vietnamese.
const maxMarks = 3

// OneLine makes a text that somebody wrote fit to be stored and shown: one line
// of at most limit characters (an ellipsis marks what was cut), without control,
// bidirectional, invisible and private-use characters, and without marks piled on
// one letter beyond what a language needs.
func OneLine(s string, limit int) string {
	var b strings.Builder
	space, marks, kept := true, 0, 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			if space {
				continue
			}
			r, space, marks = ' ', true, 0
		case Unseen(r):
			continue
		case r >= utf8.RuneSelf && unicode.Is(unicode.M, r):
			if marks++; marks > maxMarks || space {
				continue
			}
		default:
			space, marks = false, 0
		}
		if kept++; kept > limit+2 { // more than fits, a space at the end left out: it is cut
			break
		}
		b.WriteRune(r)
	}
	return Shorten(strings.TrimSpace(b.String()), limit)
}

// Unseen reports characters that no reader sees and a machine does: format
// characters (zero width, bidirectional, soft hyphen, tags), variation
// selectors, fillers, private use, and what is no character at all.
func Unseen(r rune) bool {
	return r >= utf8.RuneSelf && (r == utf8.RuneError || r == 0x2800 || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs,
		unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point))
}

// Shorten cuts s to limit characters, the last of them an ellipsis.
func Shorten(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == limit {
			return strings.TrimSpace(s[:i]) + "…"
		}
	}
	return s
}
