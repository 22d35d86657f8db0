package openai

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

type noBook struct{}

func (noBook) Diagnose(edgeagent.Case) edgeagent.Diagnosis { return edgeagent.Diagnosis{} }
func (noBook) Passages(edgeagent.Case, int) []llm.Passage  { return nil }

const goodAnswer = `{"evidence":[],"causes":[{"cause":"foam","likelihood":"possible","evidence":[],"sources":[]}],"checks":["Clean the sensor."],"urgency":"now","missing":[],"insufficient_evidence":false,"summary":"Foam."}`

// routed is a router that asks p alone, and a case for it.
func routed(p *Client, o llm.ProviderOptions) (*llm.Router, edgeagent.Case) {
	o.Name, o.Kind, o.Outside, o.Provider = "cloud", "openai", true, p
	c := edgeagent.Case{Job: "J", Line: "L", Outside: true, Alarms: []edgeagent.CaseAlarm{{Alarm: edgeagent.Alarm{ID: "1", Device: "filler", Code: "F212", Text: "Level", Priority: 2}}}}
	return llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: noBook{}}), c
}

// served is a client of a server that answers by h.
func served(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return client(t, Options{BaseURL: s.URL})
}

func streamed(w http.ResponseWriter, text string) {
	_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", text)
}

// A key may be allowed to ask and not to list models: the probe's refusal must
// not hold a provider that answers.
func TestAKeyThatMayOnlyAskIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listed := 0
		p := client(t, Options{BaseURL: "http://cloud"})
		llmtest.InMemory(t, p.api.Line().Transport, func(w http.ResponseWriter, q *http.Request) {
			if !strings.HasSuffix(q.URL.Path, "/models") {
				streamed(w, goodAnswer)
				return
			}
			listed++
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read.","type":"invalid_request_error"}}`)
		})
		r, c := routed(p, llm.ProviderOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		synctest.Wait() // the refusal of the first probe is booked
		out, err := r.Diagnose(t.Context(), c)
		if err != nil || out.Diagnosis.By.Provider != "cloud" || listed == 0 {
			t.Errorf("answered by %q (%s), %v, after %d probes", out.Diagnosis.By.Provider, out.Diagnosis.By.WhyNotFirst, err, listed)
		}
		cancel()
		<-ended
	})
}

// vLLM names a parameter where it means the length: the prompt has to shrink.
func TestALengthIsNotTakenForAParameter(t *testing.T) {
	var sizes []int64
	p := served(t, func(w http.ResponseWriter, q *http.Request) {
		sizes = append(sizes, q.ContentLength)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"object":"error","message":"'max_tokens' or 'max_completion_tokens' is too large: 700. This model's maximum context length is 2048 tokens and your request has 1500 input tokens (700 > 2048 - 1500).","type":"BadRequestError","code":400}`)
	})
	r, c := routed(p, llm.ProviderOptions{})
	for i := range 14 {
		c.Related = append(c.Related, edgeagent.Alarm{ID: edgeagent.ID(fmt.Sprint(i)), Device: "filler", Code: fmt.Sprint("X", i), Text: strings.Repeat("word ", 30)})
	}
	if _, err := r.Diagnose(t.Context(), c); err != nil || len(sizes) != 2 || sizes[1] >= sizes[0] {
		t.Errorf("%v, requests of %v bytes, want a second, shorter one", err, sizes)
	}
}

// Thoughts are billed, also by a server that counts nothing.
func TestThoughtsAreCounted(t *testing.T) {
	p := served(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":%q}}]}\n\n", strings.Repeat("thinking ", 50))
		}
		streamed(w, goodAnswer)
	})
	r, c := routed(p, llm.ProviderOptions{Price: llm.Price{Input: 1, Output: 10}})
	out, err := r.Diagnose(t.Context(), c)
	if err != nil || len(out.Calls) != 1 || out.Calls[0].TokensOut < 5000 {
		t.Errorf("%v, calls %+v; want 5,000 words counted", err, out.Calls)
	}
}
