package edgeagent

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// OneLine makes a text that somebody wrote fit to be stored and shown: one line
// of at most limit characters (an ellipsis marks what was cut), without control,
// bidirectional, invisible and private-use characters.
func OneLine(s string, limit int) string {
	var b strings.Builder
	space, kept := true, 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			if space {
				continue
			}
			r, space = ' ', true
		case Unseen(r):
			continue
		default:
			space = false
		}
		if kept++; kept > limit+2 { // more than fits, a space at the end left out: it is cut
			break
		}
		b.WriteRune(r)
	}
	return ellipsis(strings.TrimSpace(b.String()), limit)
}

// Unseen reports characters that no reader sees and a machine does: format
// characters (zero width, bidirectional, soft hyphen, tags), variation
// selectors, fillers, private use, and what is no character at all.
func Unseen(r rune) bool {
	switch {
	case r == utf8.RuneError, unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs):
		return true
	case r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef:
		return true
	case r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x2800, r == 0x034f:
		return true
	}
	return false
}

func ellipsis(s string, limit int) string {
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
