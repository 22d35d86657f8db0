package llm

import (
	"strings"

	"edgeagent"
)

// Quote returns what may be shown beside the machine of an answer that was not
// taken, a line a text: what it invented is there to be seen, the sentences that
// no answer may hold are not. It is empty when nothing is left, and of an alarm
// that concerns a safety function.
func (f *Forbidden) Quote(c edgeagent.Case, raw, language string) string {
	j := newJudgement(f, c, nil, language)
	object, _ := extract(raw)
	if object == nil || c.First().Alarm.Safety {
		d, _ := j.unstructured(raw)
		return d.Unstructured
	}
	a, _ := read(object)
	a.trim()
	var out []string
	for _, text := range a.said() {
		if j.safetyFunction(text, nil) == "" {
			out = appendText(out, j.unechoed(j.screen.prose(plain(text), "answer")))
		}
	}
	return strings.Join(out, "\n")
}

// said returns the texts of an answer in the order in which they are read.
func (a *answer) said() []string {
	out := []string{a.Summary}
	for _, o := range a.Evidence {
		out = append(out, joined(o.Name, o.Observation))
	}
	for _, c := range a.Causes {
		out = append(out, joined(c.Likelihood, c.Cause), joined("evidence", strings.Join(c.Evidence, ", ")), joined("sources", strings.Join(c.Sources, ", ")))
	}
	out = append(out, a.Checks...)
	for _, m := range a.Missing {
		out = append(out, joined("missing", m))
	}
	return out
}

// joined is empty without a text.
func joined(name, text string) string {
	if text == "" {
		return ""
	}
	return name + ": " + text
}
