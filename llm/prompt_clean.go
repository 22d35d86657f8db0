package llm

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how many characters of one text of the plant reach a model: enough
// for every real alarm text, too few for a letter to it.
const maxText = 200

// Clean makes a text of the plant fit to be shown to a model or a person: one
// line, at most limit characters (an ellipsis marks what was cut), without
// control, bidirectional, invisible and private-use characters, and with the
// markers by which chat templates tell who speaks made harmless.
func Clean(s string, limit int) string {
	return cut(neutralise(flatten(s, limit)), limit)
}

// flatten drops what cannot be seen. It stops early: a register block read as
// text may be long, and only its beginning is wanted.
func flatten(s string, limit int) string {
	var b strings.Builder
	space := true
	kept := 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			if space {
				continue
			}
			r, space = ' ', true
		case invisible(r):
			continue
		default:
			space = false
		}
		b.WriteRune(r)
		if kept++; kept > 2*limit {
			break
		}
	}
	return strings.TrimSpace(b.String())
}

// invisible reports characters that a reader does not see but a model does:
// the format characters (zero width, bidi, soft hyphen, tags), variation
// selectors, fillers, private use, and what is no character at all.
func invisible(r rune) bool {
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

// markers are tokens of chat templates that hold no angle bracket.
var markers = strings.NewReplacer("｜", "|", "[INST", "(INST", "[/INST", "(/INST", "[inst", "(inst", "[/inst", "(/inst", "```", "'''")

// neutralise breaks the markers. An angle bracket that could open one becomes a
// guillemet: JSON escapes it on the way to a model, but the same text reaches
// people and files by other ways, while "level < 80" must stay what it is.
func neutralise(s string) string {
	s = markers.Replace(s)
	var b strings.Builder
	for i, r := range s {
		if r == '<' && opensMarker(s[i+1:]) {
			r = '‹'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func opensMarker(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	return unicode.IsLetter(r) || strings.ContainsRune("/!|<_?", r)
}

// cut shortens s to limit characters.
func cut(s string, limit int) string {
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

// cutWords shortens s to limit words.
func cutWords(s string, limit int) string {
	words := strings.Fields(s)
	if len(words) <= limit {
		return s
	}
	return strings.Join(words[:limit], " ") + " …"
}
