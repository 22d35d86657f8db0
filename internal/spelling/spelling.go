// Package spelling finds the name that was meant, for the errors of
// configurations, expressions and runbooks. A wrong guess is worse than none: it
// sends who is in a hurry to the wrong place.
package spelling

import "strings"

// maxTypos is how many edits away a name may be; a short name allows fewer, or
// everything would resemble everything.
const maxTypos = 2

// Nearest returns the known name that is the fewest typos away, the first of
// several, or "" when none is near. Upper and lower case make no difference.
func Nearest(name string, known []string) string {
	best, least := "", maxTypos+1
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if d < least && d*3 <= len(name) {
			best, least = k, d
		}
	}
	return best
}

// distance counts the edits between two names: insert, drop, change or swap of
// neighbours (Damerau and Levenshtein's). Names too different in length to
// matter are not compared.
func distance(a, b string) int {
	if d := len(a) - len(b); d > maxTypos || d < -maxTypos {
		return maxTypos + 1
	}
	older, old, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+differs(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, old, row = old, row, older
	}
	return old[len(b)]
}

func differs(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
