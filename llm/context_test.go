package llm_test

import (
	"strings"
	"testing"

	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

// TestContextTooSmallIsNotAsked: a model that could only be told half of the
// alarm is passed over, with the reason; nothing is sent.
func TestContextTooSmallIsNotAsked(t *testing.T) {
	box := llmtest.NewServer(t, llmtest.Ollama, llmtest.Ollama.Say(good))
	p := local(t, box)
	p.ContextTokens, p.MaxOutputTokens = 1024, 700
	c := caseF212()
	c.Alarms[0].Alarm.Text = strings.Repeat("Füllstand ", 30)
	c.Alarms[0].Alarm.Device = strings.Repeat("f", 60)
	o := diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{p}, Runbook: book{}}), c)
	if len(box.Asked()) != 0 || len(o.Calls) != 0 || o.Diagnosis.By.Provider != "runbook" || !strings.Contains(o.Diagnosis.By.WhyNotFirst, "context is too small") {
		t.Errorf("asked %d times, %+v", len(box.Asked()), o.Diagnosis.By)
	}
}
