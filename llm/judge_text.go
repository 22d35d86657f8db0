package llm

import (
	"regexp"
	"strings"
)

var (
	htmlBlock = regexp.MustCompile(`(?is)<(script|style|iframe|svg|object|template|head)\b.*?</(script|style|iframe|svg|object|template|head)\s*>`)
	htmlTag   = regexp.MustCompile(`(?i)<!--.*?-->|<!doctype[^>]*>|</?[a-z][a-z0-9-]*(\s+[a-z-]+(\s*=\s*("[^"]*"|'[^']*'|[^\s>]+))?)*\s*/?>`)
	image     = regexp.MustCompile(`!\[([^\]]*)\]\([^)]*\)`)
	link      = regexp.MustCompile(`\[([^\]]*)\]\(([^)]*)\)`)
	roleMark  = regexp.MustCompile(`[<‹＜][|｜][\w\s]*([|｜][>›＞]?)?`)
	autolink  = regexp.MustCompile(`(?i)<?\b((https?|ftp|file|data|javascript|mailto):\S+|www\.\S+)`)
)

// plain makes a model's text a line of words: no markup, no links, nothing
// invisible. A person reads it beside a machine; there is nothing to click.
func plain(s string) string { return Clean(withoutMarkup(s), len(s)+1) }

// withoutMarkup runs until nothing changes, because removing an inner tag can
// make an outer one.
func withoutMarkup(s string) string {
	if !strings.ContainsAny(s, "<‹＜[:") && !strings.Contains(strings.ToLower(s), "www.") {
		return s
	}
	for range 8 {
		t := htmlBlock.ReplaceAllString(s, " ")
		t = htmlTag.ReplaceAllString(t, " ")
		t = image.ReplaceAllString(t, "$1")
		t = link.ReplaceAllString(t, "$1")
		t = autolink.ReplaceAllString(t, "")
		t = roleMark.ReplaceAllString(t, "")
		if t == s {
			return s
		}
		s = t
	}
	return s
}

func plainAll(in []string) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, plain(s))
	}
	return out
}

func trimAll(in []string) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, strings.TrimSpace(s))
	}
	return out
}

var sentenceEnd = regexp.MustCompile(`[.!?;](?:\s+|$)|\n+`)

// longSentence is where a text without full stops is split all the same, in
// bytes: what is done with a sentence may cost the square of its length.
const longSentence = 500

// sentences splits a text after its full stops, each piece with its own.
func sentences(s string) []string {
	var out []string
	from := 0
	for _, end := range sentenceEnd.FindAllStringIndex(s, -1) {
		if abbreviation.MatchString(s[max(from, end[0]-8):end[0]]) && s[end[0]] == '.' {
			continue
		}
		out = appendPieces(out, s[from:end[1]])
		from = end[1]
	}
	return appendPieces(out, s[from:])
}

func appendPieces(out []string, s string) []string {
	for len(s) > longSentence {
		piece := clip(s, longSentence)
		if i := strings.LastIndexByte(piece, ' '); i > 0 {
			piece = piece[:i]
		}
		out = appendText(out, piece)
		s = s[len(piece):]
	}
	return appendText(out, s)
}

func appendText(out []string, s string) []string {
	if s = strings.TrimSpace(s); s != "" {
		out = append(out, s)
	}
	return out
}

// abbreviation ends in a full stop that ends no sentence: "bridge e.g. the door switch".
var abbreviation = regexp.MustCompile(`(?i)(?:^|[\s(.])(?:\pL|no|nos|nr|approx|acc|ca|bzw|ggf|evtl|resp|incl|inkl|etc|usw|fig|abb|bspw|max|min|temp|st|vs|pos|sog|term)$`)
