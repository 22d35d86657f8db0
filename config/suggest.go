package config

import "strings"

// maxTypos is how many edits away a name may be to be suggested; a short name
// allows fewer, or everything would resemble everything.
const maxTypos = 2

// didYouMean returns `; did you mean "NAME"?` for the nearest of the known
// names, or nothing when none is near.
func didYouMean(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return "; did you mean " + quote(best) + "?"
	}
	return ""
}

// nearest returns the known name that is the fewest typos away, or "".
func nearest(name string, known []string) string {
	best, least := "", maxTypos+1
	for _, k := range known {
		d := typos(strings.ToLower(name), strings.ToLower(k))
		if d < least && d*3 <= len(name) {
			best, least = k, d
		}
	}
	return best
}

// typos counts the edits between two names: insert, drop, change or swap of
// neighbours. Names too different in length to matter are not compared.
func typos(a, b string) int {
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
