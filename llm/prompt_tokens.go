package llm

import (
	"unicode"
	"unicode/utf8"
)

// perToken is the weight of one token. Weights are whole numbers that add up:
// the parts of a prompt weigh together what the prompt weighs.
const perToken = 12

// What a character weighs, by kind, so that a text is seldom more tokens than
// estimated, with any vocabulary: English words run to more than four letters a
// token; punctuation of JSON often stands alone; several families of local
// models make a token of every digit; outside Latin a character is a token or
// more, and a pictograph two or three.
const (
	weighsLetter = perToken / 4
	weighsPunct  = 7
	weighsDigit  = perToken
	weighsLatin  = 9
	weighsOther  = 18
	weighsAstral = 3 * perToken
)

// EstimateTokens guesses the tokens of a text, rather too many than too few.
func EstimateTokens(s string) int { return (weight(s) + perToken - 1) / perToken }

func weight(s string) int {
	w := 0
	for _, r := range s {
		w += weightOf(r)
	}
	return w
}

func weightOf(r rune) int {
	switch {
	case r >= '0' && r <= '9':
		return weighsDigit
	case r == ' ' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
		return weighsLetter
	case r < utf8.RuneSelf:
		return weighsPunct
	case r < 0x250:
		return weighsLatin
	case r <= 0xffff && !unicode.Is(unicode.So, r):
		return weighsOther
	default:
		return weighsAstral
	}
}

// cutTokens shortens s to an estimate of limit tokens, marked by an ellipsis.
func cutTokens(s string, limit int) string {
	if weight(s) <= limit*perToken {
		return s
	}
	return clipTokens(s, limit-2) + "…"
}

// clipTokens cuts s to an estimate of limit tokens.
func clipTokens(s string, limit int) string {
	left := limit * perToken
	for i, r := range s {
		if left -= weightOf(r); left < 0 {
			return s[:i]
		}
	}
	return s
}
