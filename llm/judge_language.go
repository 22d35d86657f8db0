package llm

import (
	"strings"
	"unicode"
)

// functionWords tell languages apart: they stand in every second sentence, and
// no name of a machine is one of them.
var functionWords = map[string]map[string]bool{
	"en": set("the of to is and for if it on with at are be not that this from has have or by as when then check was were can may should its an"),
	"de": set("der die das den dem und ist nicht mit von zu auf für ein eine einen im am sie bei wenn oder aus nach wird sind prüfen sich vom zum zur des auch noch"),
	"fr": set("le la les des est une un pour avec dans sur du et pas vous ou que qui vérifiez ne au aux par ce"),
	"es": set("el los las del por con una un para es que se y no la su al como más verifique compruebe si"),
	"it": set("il lo gli della dei di che per con una un è nel non si sul alla le controllare verificare se del"),
	"nl": set("het een van niet met op voor zijn de en te dat als bij uit naar controleer is of er"),
	"pt": set("os uma um não com para da do em no na que ao as se por verifique"),
	"pl": set("nie się na jest do z i w oraz czy sprawdź lub że po za"),
	"tr": set("ve bir için ile bu değil kontrol edin veya olan da de ise"),
}

// leastForeign is how many function words of another language make a text
// foreign: one may be a name.
const leastForeign = 2

// foreign reports a text that is written in neither English nor German: mostly
// in another script, or with another language's function words.
func foreign(text string) bool {
	if otherScript(text) {
		return true
	}
	hits := functionHits(text)
	for language, n := range hits {
		if language != "en" && language != "de" && n >= leastForeign && n > hits["en"] && n > hits["de"] {
			return true
		}
	}
	return false
}

func functionHits(text string) map[string]int {
	hits := map[string]int{}
	for w := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		for language, list := range functionWords {
			if list[w] {
				hits[language]++
			}
		}
	}
	return hits
}

// otherScript reports a text of which more than a third is words in other than
// Latin letters; a quoted name is less. Letters that only look Latin are none:
// the lists read them as what they look like.
func otherScript(text string) bool {
	letters, others := 0, 0
	for w := range strings.FieldsFuncSeq(strings.Map(latin, strings.ToLower(text)), func(r rune) bool { return !unicode.IsLetter(r) }) {
		n := len([]rune(w))
		letters += n
		if strings.ContainsFunc(w, func(r rune) bool { return !unicode.Is(unicode.Latin, r) }) {
			others += n
		}
	}
	return others > 3 && 3*others > letters
}

// inOther returns the one of English and German in which a text plainly is, if
// that is not the language asked for; else "".
func inOther(text, language string) string {
	hits := functionHits(text)
	other := "de"
	if language == "de" {
		other = "en"
	}
	if hits[other] >= 4 && hits[other] > 2*hits[language] {
		return other
	}
	return ""
}
