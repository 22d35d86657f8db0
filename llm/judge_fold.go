package llm

import (
	"regexp"
	"strings"
	"unicode"
)

// normal folds a sentence to the spelling of the lists. Letters that look like
// Latin ones become Latin, and words that were drawn apart, written with digits
// for letters or run together are put right: a filter that a Cyrillic "a" or
// "b y p a s s" passes is none.
func normal(s string) string {
	if strings.IndexFunc(s[min(1, len(s)):], unicode.IsUpper) >= 0 {
		s = hump.ReplaceAllString(s, "$1 $2")
	}
	s = strings.Map(latin, folding.Replace(strings.ToLower(s)))
	if strings.ContainsAny(strings.TrimRight(s, "."), ".·•") {
		s = dotted.ReplaceAllString(s, "$1 $2")
	}
	words := strings.Fields(s)
	for i, w := range words {
		words[i] = unleet(w)
	}
	s = strings.Join(gathered(words), " ")
	if !strings.Contains(s, "not ") { // the expression has no fixed beginning to be searched for
		return s
	}
	return notHalt.ReplaceAllString(s, "not$1")
}

// notHalt is German for an emergency stop, and no English negation.
var notHalt = regexp.MustCompile(`\bnot (halt|aus|stopp)`)

var (
	hump   = regexp.MustCompile(`(\p{Ll}{2})(\p{Lu}\p{Ll})`)
	dotted = regexp.MustCompile(`(\pL)[.·•](\pL)`)
)

// leastApart is how many letters must stand alone in a row to be one word.
const leastApart = 4

// gathered joins letters that stand alone: "b y p a s s".
func gathered(words []string) []string {
	out := words[:0:0]
	for i := 0; i < len(words); {
		n := i
		for n < len(words) && alone(words[n]) {
			n++
		}
		if n-i < leastApart {
			n = max(i+1, n)
			out = append(out, words[i:n]...)
		} else {
			out = append(out, strings.Join(words[i:n], ""))
		}
		i = n
	}
	return out
}

// alone reports a word that is one letter, an umlaut among them.
func alone(w string) bool {
	return len(w) == 1 && w[0] >= 'a' && w[0] <= 'z' || w == "ae" || w == "oe" || w == "ue" || w == "ss"
}

// unleet reads the digits within a word as the letters they stand for. Codes
// and part numbers begin or end with theirs.
func unleet(w string) string {
	if !strings.ContainsAny(w, "013457@$!") || strings.IndexFunc(w, unicode.IsLetter) != 0 {
		return w
	}
	letters := 0
	for _, r := range w {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	if letters < 3 || !unicode.IsLetter(rune(w[len(w)-1])) {
		return w
	}
	return leet.Replace(w)
}

var leet = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// latin maps letters in disguise: full width, mathematical, circled, accented,
// small capitals; marks that sit on letters go.
func latin(r rune) rune {
	switch {
	case r < 0x80:
		return r
	case unicode.Is(unicode.Mn, r):
		return -1
	case r >= 'ａ' && r <= 'ｚ':
		return r - 'ａ' + 'a'
	case r >= 0x1d400 && r <= 0x1d6a3:
		return 'a' + (r-0x1d400)%26
	case r >= 0x24d0 && r <= 0x24e9:
		return 'a' + r - 0x24d0
	case r >= 0x1f130 && r <= 0x1f189:
		return 'a' + (r-0x1f130)%26
	}
	if l, found := lookalikes[r]; found {
		return l
	}
	return r
}

var lookalikes = func() map[rune]rune {
	out := map[rune]rune{}
	for l, others := range map[rune]string{
		'a': "àáâãåāăąаαᴀɑ", 'b': "вʙƅь", 'c': "çćčсᴄϲ", 'd': "đďԁᴅ", 'e': "èéêëēėęěеεᴇҽ", 'g': "ğģɡց", 'h': "нһʜ", 'i': "ìíîïīįıіιɪ", 'j': "јᴊ",
		'k': "ķкκᴋ", 'l': "łļľʟӏ", 'm': "мᴍ", 'n': "ñńňոηɴ", 'o': "òóôõøōőоοσᴏ", 'p': "рρᴘ", 'r': "ŕřгʀ", 's': "šśșşѕꜱ", 't': "ţțťтτᴛ",
		'u': "ùúûūůűυᴜս", 'v': "νᴠѵ", 'w': "ŵωᴡԝ", 'x': "хχ", 'y': "ýÿуγʏү", 'z': "žźżᴢ",
	} {
		for _, r := range others {
			out[r] = l
		}
	}
	return out
}()

var folding = strings.NewReplacer(
	"ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "a\u0308", "ae", "o\u0308", "oe", "u\u0308", "ue",
	"-", " ", "‐", " ", "‑", " ", "_", " ", "/", " ", "*", "", "'", "", "’", "", "`", "", "\"", " ", "„", " ", "“", " ", "”", " ",
)
