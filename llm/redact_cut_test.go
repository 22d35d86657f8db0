package llm

import (
	"regexp"
	"strings"
	"testing"

	"edgeagent"
)

// A limit that cuts a text in two must not let half of what is blanked out.
func TestWhatIsBlankedIsBlankedBeforeItIsCut(t *testing.T) {
	secret := "Kunde Meyerhofer GmbH"
	long := func(limit int) string { return strings.Repeat("a ", (limit-10)/2) + secret }
	for name, text := range map[string]string{"alarm": long(maxText), "longer": long(2 * maxText), "passage": strings.Repeat("word ", maxPassageWords-2) + secret} {
		c := edgeagent.Case{Line: "L", Outside: true, Alarms: []edgeagent.CaseAlarm{{
			Alarm:    edgeagent.Alarm{ID: "1", Device: "filler", Code: "F212", Text: text, SourceText: text, Values: map[string]edgeagent.Value{"filler.order": edgeagent.String(text)}},
			Evidence: &edgeagent.Evidence{Tags: []edgeagent.Feature{{Tag: "filler.order", Value: edgeagent.String(text), Quality: edgeagent.QualityGood}}, Gaps: []string{text}},
		}}, Related: []edgeagent.Alarm{{Device: "filler", Code: "X", Text: text}},
			Before: []edgeagent.Precedent{{Cause: text, FixedBy: text, Confirmed: true}}}
		r := redaction{regexp.MustCompile(secret)}
		shown, passages := r.of(c, []Passage{{ID: "a.md#b", Title: text, Text: text, Exact: true}})
		if p := r.prompt(BuildPrompt(shown, passages, PromptOptions{})); strings.Contains(p.User, "Kunde") {
			t.Errorf("%s: half of it leaves: %s", name, p.User)
		}
		if c.Alarms[0].Alarm.Text != text || c.Related[0].Text != text || c.Alarms[0].Evidence.Gaps[0] != text || c.Alarms[0].Alarm.Values["filler.order"] != edgeagent.String(text) {
			t.Errorf("%s: the case itself was changed", name)
		}
	}
}
