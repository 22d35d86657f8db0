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
	if len(s) <= limit && spotless(s) {
		return s
	}
	return cut(neutralise(flatten(s, limit)), limit)
}

// spotless reports a text that cleaning leaves as it is, as it does most names
// and texts of a plant: a flood holds thousands of them.
func spotless(s string) bool {
	space := true
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == '<' || c == '[' || c == '`' || c == ' ' && space {
			return false
		}
		space = c == ' '
	}
	return s == "" || !space
}

// flatten drops what cannot be seen, and marks piled on one letter beyond what a
// language needs. It stops early: a register block read as text may be long, and
// only its beginning is wanted.
func flatten(s string, limit int) string {
	var b strings.Builder
	space, marks, kept := true, 0, 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			if space {
				continue
			}
			r, space, marks = ' ', true, 0
		case invisible(r):
			continue
		case unicode.Is(unicode.M, r):
			if marks++; marks > maxMarks || space {
				continue
			}
		default:
			space, marks = false, 0
		}
		b.WriteRune(r)
		if kept++; kept > 2*limit {
			break
		}
	}
	return strings.TrimSpace(b.String())
}

// maxMarks is how many marks one letter may carry: three in Thai and Vietnamese.
const maxMarks = 3

// invisible reports characters that a reader does not see but a model does:
// the format characters (zero width, bidi, soft hyphen, tags), variation
// selectors, fillers, private use, and what is no character at all.
func invisible(r rune) bool {
	return r >= 0x80 && (r == utf8.RuneError || r == 0x2800 || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs,
		unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point))
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
		if (r == '<' || r == '＜') && opensMarker(s[i+utf8.RuneLen(r):]) {
			r = '‹'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func opensMarker(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	return unicode.IsLetter(r) || strings.ContainsRune("/!|<_?＜", r)
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
