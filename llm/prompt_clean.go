package llm

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"edgeagent"
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
	// Neutralising changes no lengths, but what it needs to see may lie behind the cut.
	return edgeagent.Shorten(neutralise(edgeagent.OneLine(s, 2*limit)), limit)
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

// cutWords shortens s to limit words.
func cutWords(s string, limit int) string {
	words := strings.Fields(s)
	if len(words) <= limit {
		return s
	}
	return strings.Join(words[:limit], " ") + " …"
}
