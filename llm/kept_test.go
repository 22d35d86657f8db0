package llm_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"edgeagent"
	"edgeagent/llm"
)

// What a model said and was not taken is kept beside its call, in bounds.
func TestFaultyAnswersAreKept(t *testing.T) {
	ghost := strings.Replace(good.Text, `"causes":[`, `"causes":[{"cause":"The ghost valve leaks","likelihood":"likely","evidence":["filler.ghost"],"sources":[]},`, 1)
	tests := []struct {
		name  string
		says  []string
		kept  []string
		calls string
	}{
		{"a good answer", []string{good.Text}, nil, "cloud:ok"},
		{"repaired", []string{ghost, good.Text}, []string{ghost}, "cloud:output cloud:ok"},
		{"stays faulty", []string{ghost, ghost}, []string{ghost, ghost}, "cloud:output cloud:output"},
		{"a book", []string{strings.Repeat("ä", 1<<20/2-1), good.Text}, []string{strings.Repeat("ä", 2<<10)}, "cloud:output cloud:ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, n := newModel(), 0
				m.set(func(context.Context) (llm.Answer, error) {
					n++
					return llm.Answer{Text: tt.says[n-1], Status: 200}, nil
				}, nil)
				out := diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}}), caseF212())
				if got := outcomes(out); got != tt.calls || len(out.Faulty) != len(tt.kept) {
					t.Fatalf("calls %s, %d answers kept, want %s and %d", got, len(out.Faulty), tt.calls, len(tt.kept))
				}
				for i, f := range out.Faulty {
					if f.Raw != tt.kept[i] || f.Call != i || f.Fault.String() == "" || f.Fault.String() != out.Calls[i].Error.String() {
						t.Errorf("kept %d of call %d: %q, %.80q", i, f.Call, f.Fault, f.Raw)
					}
				}
			})
		})
	}
}

// A server that sends a megabyte fills no data file with it.
func TestTheAnswerThatIsKeptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		long := strings.TrimSuffix(strings.TrimSpace(good.Text), "}") + strings.Repeat(" ", 1<<19) + "}"
		m.set(func(context.Context) (llm.Answer, error) { return llm.Answer{Text: long, Status: 200}, nil }, nil)
		out := diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}}), caseF212())
		if out.Diagnosis.By.Provider != "cloud" || len(out.Raw) > 16<<10 {
			t.Errorf("by %s, %d bytes are kept", out.Diagnosis.By.Provider, len(out.Raw))
		}
	})
}

// What earlier attempts at a job have spent counts for its cap.
func TestJobCapHoldsOverAttempts(t *testing.T) {
	tests := []struct {
		name  string
		spent float64
		calls int
		why   string
	}{
		{"nothing spent", 0, 1, ""},
		{"room for a call", 0.012, 1, ""},
		{"no room for the worst of a call", 0.0195, 0, "cloud: job cap reached"},
		{"over it", 0.03, 0, "cloud: job cap reached"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.priced()}, Runbook: book{}, JobCapUSD: 0.02})
				c := caseF212()
				c.SpentUSD = tt.spent
				out := diagnose(t, r, c)
				if len(out.Calls) != tt.calls || out.Diagnosis.By.WhyNotFirst != tt.why {
					t.Errorf("%d calls, why %q", len(out.Calls), out.Diagnosis.By.WhyNotFirst)
				}
				if tt.calls == 1 && out.Calls[0].Outcome != edgeagent.CallOK {
					t.Errorf("calls %s", outcomes(out))
				}
			})
		})
	}
}
