package llm_test

import (
	"regexp"
	"strings"
	"testing"

	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

// What is to be blanked is told to nobody outside, in the question and in the
// request to correct an answer; a model on the site sees it.
func TestRedactedIsNotTold(t *testing.T) {
	c := caseF212()
	c.Alarms[0].Alarm.Text = `Recipe "Zaubertrank" of batch 4711, called by Schmidt`
	bad := llmtest.Reply{Text: answerCiting("filler.Zaubertrank"), TokensIn: 10, TokensOut: 5}
	secrets := []*regexp.Regexp{regexp.MustCompile(`(?i)zaubertrank`), regexp.MustCompile(`batch \d+`), regexp.MustCompile(`Schmidt`)}
	for _, outside := range []bool{true, false} {
		s := llmtest.NewServer(t, w, w.Say(bad), w.Say(good))
		o := cloud(t, s)
		o.Outside = outside
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}, Redact: secrets})
		out := diagnose(t, r, c)
		asked := s.Asked()
		if len(asked) != 2 || out.Diagnosis.By.Provider != "cloud" {
			t.Fatalf("%d requests, by %s", len(asked), out.Diagnosis.By.Provider)
		}
		for i, a := range asked {
			told := strings.Contains(a.Body, "Zaubertrank") || strings.Contains(a.Body, "4711") || strings.Contains(a.Body, "Schmidt")
			if told == outside {
				t.Errorf("outside %v, request %d tells it: %v\n%s", outside, i, told, a.Body)
			}
			if outside && !strings.Contains(a.Body, "[redacted]") {
				t.Errorf("request %d does not say that something is missing", i)
			}
		}
		if strings.Contains(out.Prompt, "Schmidt") == outside {
			t.Errorf("outside %v: what is kept is not what was sent: %s", outside, out.Prompt)
		}
	}
}
