package eval

import (
	"slices"
	"strings"
	"unicode"
)

// A Cause is one way to name a cause: groups of terms, of each of which one
// must be said, in any order. A term is the beginning of a word ("foam" is in
// foaming), or anywhere in one with a star in front ("*schaum" is in
// Bierschaum), or several such words in their order ("photo eye").
type Cause [][]string

// Names reports whether a text asserts one of the causes. It is cut into
// statements; one of them must hold a term of every group, said and not denied.
// A text that denies a cause, or asserts it only of something else, names none.
func Names(text string, causes []Cause) bool {
	return slices.ContainsFunc(statements(text), func(s statement) bool { return slices.ContainsFunc(causes, s.names) })
}

// A statement is a part of a text that is asserted or denied together.
type statement struct {
	words  []string
	denied []bool // word by word
}

func (s statement) names(c Cause) bool {
	if len(c) == 0 {
		return false
	}
	for _, group := range c {
		if !slices.ContainsFunc(group, s.says) {
			return false
		}
	}
	return true
}

// says reports whether the term stands in s and is not denied. A denial that is
// part of the term itself denies nothing: "not open" is a fault of a valve.
func (s statement) says(term string) bool {
	parts := fold(term)
	for at := range s.words {
		if end := s.matches(parts, at); end > 0 && !s.deniedIn(at, end, parts) {
			return true
		}
	}
	return false
}

// between is how many words may stand between two words of a term: "does not
// fully open" is "not open".
const between = 1

// matches returns the index behind the term that begins at word at, 0 when it
// does not.
func (s statement) matches(parts []string, at int) (end int) {
	for i, part := range parts {
		if i == 0 {
			if !begins(s.words[at], part) {
				return 0
			}
			end = at + 1
			continue
		}
		next := slices.IndexFunc(s.words[end:min(end+between+1, len(s.words))], func(w string) bool { return begins(w, part) })
		if next < 0 {
			return 0
		}
		end += next + 1
	}
	return end
}

func begins(word, part string) bool {
	if inner, anywhere := strings.CutPrefix(part, "*"); anywhere {
		return strings.Contains(word, inner)
	}
	if len(part) <= shortTerm {
		return word == part
	}
	return strings.HasPrefix(word, part)
}

// shortTerm is the length up to which a term is the whole word: "air" is not in
// "airlock", nor "low" in "lower".
const shortTerm = 3

func (s statement) deniedIn(from, to int, parts []string) bool {
	if slices.ContainsFunc(parts, func(p string) bool { return deniers[p] > 0 }) {
		return false
	}
	return slices.Contains(s.denied[from:to], true)
}

// deniers deny what comes after them, so many words of the statement.
var deniers = map[string]int{
	"not": 6, "never": 6, "nor": 6, "neither": 8, "no": 4, "without": 4, "nicht": 6, "nie": 6, "kein": 4, "keine": 4, "keinen": 4,
	"keinem": 4, "keiner": 4, "keines": 4, "ohne": 4, "weder": 8, "instead": 6, "rather": 6, "statt": 6, "anstatt": 6,
	"exclude": 6, "excludes": 6, "excluded": 6, "excluding": 6, "unlikely": 6, "unwahrscheinlich": 6, "ruled": 6, "rules": 6, "rule": 6,
	"against": 6, "gegen": 6, "absence": 4, "unless": 6,
}

// dismissals deny the whole statement in which they stand: "a sensor fault is
// unlikely", "the valve is ruled out", "Sensor ausgeschlossen".
var dismissals = []string{
	"unlikely", "ruled out", "rule out", "rules out", "can be excluded", "is excluded", "are excluded", "unwahrscheinlich", "ausgeschlossen",
	"ausschliessen", "auszuschliessen", "is fine", "are fine", "is ok", "is okay", "is healthy", "are healthy", "is normal", "are normal",
	"ist ok", "in ordnung", "ist normal", "is intact", "ist intakt", "is good", "is working", "works correctly", "funktioniert",
	"is innocent", "is not to blame", "speaks against", "spricht gegen",
}

// absolved are words that make "is not X" a denial of what is before it: "the
// sensor is not faulty" denies the sensor's fault, "the valve is not closing" is
// one.
var absolved = []string{
	"the", "a", "an", "fault", "faulty", "defect", "defective", "broken", "worn", "blame", "responsible", "guilty", "likely", "involved",
	"affected", "die", "der", "das", "ein", "eine", "schuld", "ursache", "defekt", "kaputt", "wahrscheinlich", "beteiligt", "betroffen",
}

var copulas = []string{"is", "are", "was", "were", "ist", "sind", "war", "waren", "does", "seems", "scheint"}

// statements cuts a text where one assertion ends and another begins.
func statements(text string) []statement {
	var out []statement
	for _, clause := range clauses(text) {
		s := statement{words: clause, denied: make([]bool, len(clause))}
		s.deny()
		out = append(out, s)
	}
	return out
}

func (s statement) deny() {
	joined := " " + strings.Join(s.words, " ") + " "
	for _, d := range dismissals {
		if strings.Contains(joined, " "+d+" ") {
			s.from(0, len(s.words))
			return
		}
	}
	for i, w := range s.words {
		if reach := deniers[w]; reach > 0 && !s.only(i) {
			s.from(i+1, i+1+reach)
			if s.absolves(i) {
				s.from(0, i)
			}
		}
	}
}

func (s statement) from(first, end int) {
	for i := max(first, 0); i < min(end, len(s.words)); i++ {
		s.denied[i] = true
	}
}

// only tells "not only", which asserts, from "not".
func (s statement) only(at int) bool {
	return at+1 < len(s.words) && slices.Contains([]string{"only", "just", "nur", "yet"}, s.words[at+1])
}

// absolves reports whether the denial at a word is one of what comes before.
func (s statement) absolves(at int) bool {
	return at > 0 && at+1 < len(s.words) && slices.Contains(copulas, s.words[at-1]) &&
		slices.ContainsFunc(absolved, func(a string) bool { return s.words[at+1] == a || len(a) > 4 && strings.HasPrefix(s.words[at+1], a) })
}

// breaks end a statement: what is after them is asserted for itself.
var breaks = map[string]bool{
	"but": true, "because": true, "since": true, "while": true, "whereas": true, "although": true, "though": true, "so": true, "therefore": true,
	"sondern": true, "aber": true, "weil": true, "da": true, "denn": true, "obwohl": true, "dass": true, "daher": true, "deshalb": true,
	"waehrend": true, "however": true, "jedoch": true, "due": true,
}

// clauses returns the words of each statement.
func clauses(text string) [][]string {
	var out [][]string
	for _, piece := range strings.FieldsFunc(expand(text), func(r rune) bool { return strings.ContainsRune(".;:,!?()–—|\n", r) }) {
		var clause []string
		for _, w := range fold(piece) {
			if breaks[w] {
				out, clause = append(out, clause), nil
				continue
			}
			clause = append(clause, w)
		}
		out = append(out, clause)
	}
	return slices.DeleteFunc(out, func(c []string) bool { return len(c) == 0 })
}

// expand writes contracted denials out, and keeps the points of numbers.
func expand(text string) string {
	text = strings.NewReplacer("’", "'", "n't", " not", "N'T", " not", "cannot", "can not").Replace(text)
	runes := []rune(text)
	for i := 1; i+1 < len(runes); i++ {
		if (runes[i] == '.' || runes[i] == ',') && unicode.IsDigit(runes[i-1]) && unicode.IsDigit(runes[i+1]) {
			runes[i] = '_'
		}
	}
	return string(runes)
}

var umlauts = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "é", "e")

// fold returns the words of s in small letters, umlauts written out; a star of a
// term stays with its word.
func fold(s string) []string {
	s = umlauts.Replace(strings.ToLower(s))
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '*' && r != '_' })
}
