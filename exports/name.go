package exports

import (
	"fmt"
	"strings"
	"unicode"
)

const maxName = 63

// reserved are the words of the alarms' expressions, which no tag may be named.
var reserved = map[string]bool{
	"and": true, "or": true, "not": true, "in": true, "true": true, "false": true, "nil": true,
	"let": true, "if": true, "else": true, "matches": true, "contains": true, "rate": true,
}

// spelled are the letters of western tag lists that are not ASCII.
var spelled = strings.NewReplacer(
	"ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "æ", "ae", "ø", "oe", "å", "aa", "œ", "oe",
	"à", "a", "á", "a", "â", "a", "ã", "a", "ç", "c", "è", "e", "é", "e", "ê", "e", "ë", "e",
	"ì", "i", "í", "i", "î", "i", "ï", "i", "ñ", "n", "ò", "o", "ó", "o", "ô", "o", "õ", "o",
	"ù", "u", "ú", "u", "û", "u", "ý", "y", "ÿ", "y", "š", "s", "ž", "z", "č", "c", "ř", "r",
	"ł", "l", "ą", "a", "ę", "e", "ś", "s", "ć", "c", "ń", "n", "ź", "z", "ż", "z", "µ", "u",
)

// derive makes a tag name of any text: lower case, _ for runs of anything else,
// at most 63 characters. A text without a letter or digit gives "".
func derive(original string) string {
	var b strings.Builder
	gap := false
	for _, r := range spelled.Replace(strings.ToLower(original)) {
		if r < 'a' || r > 'z' {
			if r < '0' || r > '9' {
				gap = gap || b.Len() > 0 || r == '_'
				continue
			}
		}
		if gap || b.Len() == 0 && unicode.IsDigit(r) {
			b.WriteByte('_')
		}
		gap = false
		if b.WriteRune(r); b.Len() >= maxName {
			break
		}
	}
	name := b.String()
	if len(name) > maxName {
		name = name[:maxName]
	}
	if reserved[name] {
		name += "_value"
	}
	return name
}

// namer gives each name once.
type namer map[string]int

// claim returns the name, or with a number behind it when it is taken.
func (n namer) claim(name string) string {
	if n[name] == 0 {
		n[name] = 1
		return name
	}
	for i := n[name] + 1; ; i++ {
		suffix := fmt.Sprintf("_%d", i)
		other := name[:min(len(name), maxName-len(suffix))] + suffix
		if n[other] == 0 {
			n[name], n[other] = i, 1
			return other
		}
	}
}

// oneLine is a text fit for a line of output: no control characters, at most
// limit runes.
func oneLine(s string, limit int) string {
	runes := 0
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		if runes++; runes > limit {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}
