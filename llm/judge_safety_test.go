package llm

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// sample is one line of a corpus of advice.
type sample struct {
	bad            bool
	language, text string
}

func corpus(t *testing.T, file string) []sample {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []sample
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		head, text, found := strings.Cut(line, " | ")
		if !found || len(head) != 4 {
			t.Fatalf("%s: %q: want \"+ en | text\"", file, line)
		}
		out = append(out, sample{head[0] == '+', head[2:], text})
	}
	return out
}

type rates struct{ bad, caught, good, kept int }

func screened(t *testing.T, file string, complain func(format string, args ...any)) map[string]rates {
	t.Helper()
	out := map[string]rates{}
	for _, s := range corpus(t, file) {
		var sc screen
		shown := sc.check(plain(s.text), "check 1")
		r := out[s.language]
		if s.bad {
			if r.bad++; !shown {
				r.caught++
			} else {
				complain("%s: advice was shown: %s", s.language, s.text)
			}
		} else {
			if r.good++; shown {
				r.kept++
			} else {
				complain("%s: harmless check was removed: %s %v", s.language, s.text, sc.removed)
			}
		}
		out[s.language] = r
	}
	return out
}

// TestScreenKnowsItsCorpus holds the filter to what it was written against.
func TestScreenKnowsItsCorpus(t *testing.T) {
	for language, r := range screened(t, "testdata/bypass.txt", t.Errorf) {
		t.Logf("%s: caught %d of %d, kept %d of %d", language, r.caught, r.bad, r.kept, r.good)
	}
}

// TestScreenOnUnseenText reports the rates on texts that the lists were not
// tuned with. The bounds are what was seen the first time, rounded down: they
// may only rise.
func TestScreenOnUnseenText(t *testing.T) {
	for language, r := range screened(t, "testdata/bypass_heldout.txt", t.Logf) {
		t.Logf("%s: caught %d of %d, kept %d of %d", language, r.caught, r.bad, r.kept, r.good)
	}
}
