package llm_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/llm"
)

// Why a provider was passed by is told to programs too: a review must not hang
// on the words.
func TestWhoWasPassedByIsToldToPrograms(t *testing.T) {
	inside := caseF212()
	inside.Outside = false
	says := func(text string) func(context.Context) (llm.Answer, error) {
		return func(context.Context) (llm.Answer, error) { return llm.Answer{Text: text, Status: 200}, nil }
	}
	keyed := func() *llm.Error {
		return &llm.Error{Class: edgeagent.CallAuth, Status: 401, Message: "no", Policy: llm.Policy{Hold: time.Hour}}
	}
	for name, tt := range map[string]struct {
		c      edgeagent.Case
		ask    func(context.Context) (llm.Answer, error)
		change func(o *llm.ProviderOptions)
		twice  bool // the reason of the next diagnosis
		want   edgeagent.CallOutcome
	}{
		"must not leave":   {c: inside, want: edgeagent.PassedOutside},
		"no money":         {change: func(o *llm.ProviderOptions) { o.Price = llm.Price{Input: 1e6} }, want: edgeagent.PassedCap},
		"too small":        {change: func(o *llm.ProviderOptions) { o.ContextTokens, o.MaxOutputTokens = 300, 200 }, want: edgeagent.PassedContext},
		"unreachable":      {ask: failing(unreachable), want: edgeagent.CallUnreachable},
		"breaker":          {ask: failing(unreachable), change: func(o *llm.ProviderOptions) { o.BreakerFailures = 1 }, twice: true, want: edgeagent.PassedBreaker},
		"wrong key":        {ask: failing(keyed), want: edgeagent.CallAuth},
		"held for its key": {ask: failing(keyed), twice: true, want: edgeagent.CallAuth},
		"throttled":        {ask: failing(func() *llm.Error { return limited(time.Minute) }), want: edgeagent.CallThrottled},
		"of no use":        {ask: says("{}"), want: edgeagent.CallOutput},
		"longer than its budget allows": {ask: func(ctx context.Context) (llm.Answer, error) {
			<-ctx.Done()
			return llm.Answer{}, llm.Transport(ctx, ctx.Err())
		}, want: edgeagent.CallTransient},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, box := newModel(), newModel()
				cloud.set(tt.ask, nil)
				o := cloud.options()
				if tt.change != nil {
					tt.change(&o)
				}
				c := tt.c
				if len(c.Alarms) == 0 {
					c = caseF212()
				}
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o, box.local()}, Runbook: book{}, JobCapUSD: 0.01})
				out := diagnose(t, r, c)
				if tt.twice {
					out = diagnose(t, r, c)
				}
				if by := out.Diagnosis.By; by.Provider != "local" || !slices.Equal(by.Passed, []edgeagent.Passed{{Provider: "cloud", Reason: tt.want}}) {
					t.Errorf("by %s, passed %v, want %s: %s", by.Provider, by.Passed, tt.want, by.WhyNotFirst)
				}
			})
		})
	}
}
