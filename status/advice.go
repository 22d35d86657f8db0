package status

import (
	"cmp"
	"slices"
	"strings"

	"edgeagent"
)

// likeliestFirst keeps the order of equals. A list that begins with what is
// unlikely sends a person the wrong way.
func likeliestFirst(causes []edgeagent.Cause) []edgeagent.Cause {
	rank := map[edgeagent.Likelihood]int{edgeagent.Likely: 1, edgeagent.Possible: 2, edgeagent.Unlikely: 3}
	sorted := slices.Clone(causes)
	slices.SortStableFunc(sorted, func(a, b edgeagent.Cause) int { return cmp.Compare(rank[a.Likelihood], rank[b.Likelihood]) })
	return sorted
}

// similarMarks is how the runbook begins every line that it takes from an entry
// of another machine, in its languages.
var similarMarks = []string{"Similar, not this machine: ", "Ähnlich, nicht diese Maschine: "}

// ofSimilar says once, above all of it, that an answer is of another machine,
// where every line would say so. One line that does not keeps the marks.
func (v *diagnosisView) ofSimilar() {
	causes, checks := slices.Clone(v.Causes), slices.Clone(v.Checks)
	lines := []*string{}
	for i := range causes {
		lines = append(lines, &causes[i].Cause)
	}
	for i := range checks {
		lines = append(lines, &checks[i])
	}
	safety := v.Safety
	if safety != "" {
		lines = append(lines, &safety)
	}
	for _, line := range lines {
		text, marked := withoutMark(*line)
		if !marked {
			return
		}
		*line = text
	}
	if len(lines) > 0 {
		v.Causes, v.Checks, v.Safety, v.Similar = causes, checks, safety, true
	}
}

func withoutMark(text string) (string, bool) {
	for _, mark := range similarMarks {
		if rest, found := strings.CutPrefix(text, mark); found {
			return rest, true
		}
	}
	return text, false
}

// plainWhy says of a provider behind an open breaker what that means to who
// waits for an answer.
func plainWhy(why string) string { return strings.ReplaceAll(why, "breaker open", "not answering") }
