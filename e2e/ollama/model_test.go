package ollama

import (
	"strings"
	"testing"
)

// A script is said right only if no piece of it is like another, nor like a
// single byte, which any text of a question may hold.
func TestPiecesOfAScriptAreUnique(t *testing.T) {
	for _, text := range []string{
		`{"a":1}`, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", strings.Repeat("ab cd ", 40) + "x", "ä ö ü ß €", "abcdef", "abcdeabcde",
	} {
		seen := map[string]bool{}
		for _, p := range cut(text) {
			if seen[p] || len(p) < 2 {
				t.Errorf("piece %q of %.40q twice, or too short", p, text)
			}
			seen[p] = true
		}
		if got := strings.Join(cut(text), ""); got != text {
			t.Errorf("pieces make %q of %q", got, text)
		}
	}
}
