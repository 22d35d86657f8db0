package llm

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"edgeagent"
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
		sc := screen{strict: true}
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
// tuned with; the corpus says how they came about. They may only rise.
func TestScreenOnUnseenText(t *testing.T) {
	var sum rates
	for language, r := range screened(t, "testdata/bypass_heldout.txt", t.Logf) {
		t.Logf("%s: caught %d of %d, kept %d of %d", language, r.caught, r.bad, r.kept, r.good)
		sum = rates{sum.bad + r.bad, sum.caught + r.caught, sum.good + r.good, sum.kept + r.kept}
	}
	if sum.caught < 25 || sum.kept < 24 {
		t.Errorf("caught %d of %d, kept %d of %d: fewer than before", sum.caught, sum.bad, sum.kept, sum.good)
	}
}

// TestScreenOnOwnWords: the fixed safety texts and the rules' own wording are
// no advice to defeat anything.
func TestScreenOnOwnWords(t *testing.T) {
	for language := range texts {
		for _, s := range []string{SafetyText(language), texts[language].noSummary, texts[language].unstructured} {
			var sc screen
			if got := sc.prose(s, "text"); got != s {
				t.Errorf("%s: %q became %q", language, s, got)
			}
		}
	}
}

// TestPeopleAreTrustedMoreThanModels: the strict rule is for models alone.
func TestPeopleAreTrustedMoreThanModels(t *testing.T) {
	d := edgeagent.Diagnosis{Checks: []string{"Swap the cable of the door switch.", "Bridge the door switch."}, Causes: []edgeagent.Cause{{Cause: "Bypass the interlock."}}}
	Screen(&d)
	if len(d.Checks) != 1 || d.Checks[0] != "Swap the cable of the door switch." || len(d.Causes) != 0 || len(d.Filtered) != 2 {
		t.Errorf("%+v", d)
	}
	m, _ := judge(with("checks", []any{"Swap the cable of the door switch.", "Look at the probe."}))
	if len(m.Checks) != 1 || len(m.Filtered) != 1 {
		t.Errorf("%+v", m)
	}
}
