package llm_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/anthropic"
	"edgeagent/llm/llmtest"
	"edgeagent/llm/ollama"
	"edgeagent/llm/openai"
)

// kind is one kind of network provider, and how its servers speak.
type kind struct {
	wire  llmtest.Wire
	price llm.Price
	make  func(baseURL string, key func() (string, error)) llm.Provider
}

var kinds = []kind{
	{llmtest.OpenAI, price, func(url string, key func() (string, error)) llm.Provider {
		return openai.New(openai.Options{BaseURL: url, Model: "cloud-1", APIKey: key})
	}},
	{llmtest.Azure, price, func(url string, key func() (string, error)) llm.Provider {
		return openai.New(openai.Options{BaseURL: url, Model: "cloud-1", APIKey: key, APIVersion: "2024-10-21"})
	}},
	{llmtest.Anthropic, price, func(url string, key func() (string, error)) llm.Provider {
		return anthropic.New(anthropic.Options{BaseURL: url, Model: "cloud-1", APIKey: key})
	}},
	{llmtest.Ollama, llm.Price{}, func(url string, _ func() (string, error)) llm.Provider {
		return ollama.New(ollama.Options{BaseURL: url, Model: "cloud-1", ContextTokens: 8192})
	}},
}

func (k kind) options(t *testing.T, baseURL string) llm.ProviderOptions {
	t.Helper()
	p := k.make(baseURL, func() (string, error) { return "sk-secret", nil })
	if c, ok := p.(interface{ CloseIdleConnections() }); ok {
		t.Cleanup(c.CloseIdleConnections)
	}
	return llm.ProviderOptions{Name: "cloud", Kind: k.wire.Name, Model: "cloud-1", Outside: true, Price: k.price, Retry: fast, Provider: p}
}

// misery is one failure that every kind of server can have.
type misery struct {
	name  string
	steps func(llmtest.Wire) []llmtest.Step // the last goes on for ever
	calls string                            // their outcomes; "|" stands between what kinds may do
	by    string
	hold  bool
}

func always(step func(llmtest.Wire) llmtest.Step) func(llmtest.Wire) []llmtest.Step {
	return func(w llmtest.Wire) []llmtest.Step { return []llmtest.Step{step(w)} }
}

func refusing(status int, message string, header ...string) func(llmtest.Wire) []llmtest.Step {
	return always(func(w llmtest.Wire) llmtest.Step { return w.Refuse(status, message, header...) })
}

// then lets the second request be answered well.
func then(steps func(llmtest.Wire) []llmtest.Step) func(llmtest.Wire) []llmtest.Step {
	return func(w llmtest.Wire) []llmtest.Step { return append(steps(w), w.Say(good)) }
}

func bare(status int, contentType, body string, header ...string) func(llmtest.Wire) []llmtest.Step {
	return always(func(llmtest.Wire) llmtest.Step { return llmtest.Raw(status, contentType, body, header...) })
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

var miseries = []misery{
	{"401", refusing(401, "who are you"), "auth", "runbook", true},
	{"403", refusing(403, "not in your region"), "auth", "runbook", true},
	{"404 of the model", refusing(404, "model 'cloud-1' not found"), "config", "runbook", true},
	{"410", refusing(410, "gone"), "config", "runbook", true},
	{"408", then(refusing(408, "slow")), "transient ok", "cloud", false},
	{"409", then(refusing(409, "conflict")), "transient ok|request", "cloud|runbook", false},
	{"400", refusing(400, "bad"), "request", "runbook", false},
	{"422", refusing(422, "bad"), "request", "runbook", false},
	{"413", refusing(413, "too large"), "request request|request", "runbook", false},
	{"429 and a good one", then(refusing(429, "slow down")), "throttled ok", "cloud", false},
	{"429 for 0.25 ms by the finer header", then(refusing(429, "slow down", "Retry-After-Ms", "0.25", "Retry-After", "60")), "throttled ok", "cloud", false},
	{"429 for a fraction", then(refusing(429, "slow down", "Retry-After", "0.01")), "throttled ok", "cloud", false},
	{"429 for nothing", then(refusing(429, "slow down", "Retry-After", "0")), "throttled ok", "cloud", false},
	{"429, not a number", then(refusing(429, "slow down", "Retry-After", "NaN")), "throttled ok", "cloud", false},
	{"429, absurd", then(refusing(429, "slow down", "Retry-After", "1e100")), "throttled ok", "cloud", false},
	{"429, negative", then(refusing(429, "slow down", "Retry-After", "-7")), "throttled ok", "cloud", false},
	{"429 until the past", then(refusing(429, "slow down", "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")), "throttled ok", "cloud", false},
	{"429 until a date, by a server with another clock", refusing(429, "slow down",
		"Date", "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After", "Wed, 21 Oct 2015 07:38:00 GMT"), "throttled", "runbook", true},
	{"429 for two hours", refusing(429, "slow down", "Retry-After", "7200"), "throttled", "runbook", true},
	{"503 for long", refusing(503, "maintenance", "Retry-After", "600"), "transient|throttled", "runbook", true},
	{"500 and a good one", then(refusing(500, "boom")), "transient ok", "cloud", false},
	{"502", then(bare(502, "application/json", "")), "transient ok", "cloud", false},
	{"529", then(refusing(529, "overloaded")), "transient ok", "cloud", false},
	{"500 for ever", refusing(500, "boom"), "transient transient transient|transient transient", "runbook", false},
	{"empty 200", bare(200, "application/json", ""), "transient transient", "runbook", false},
	{"a page", bare(200, "text/html", "<html>log in</html>"), "unreachable", "runbook", false},
	{"a page without its name", bare(200, "application/json", " \n<!doctype html>"), "unreachable|transient transient", "runbook", false},
	{"a redirect", bare(302, "text/html", "", "Location", "http://portal.example/"), "unreachable", "runbook", false},
	{"511", bare(511, "text/html", "<html>log in</html>"), "unreachable", "runbook", false},
	{"wrong JSON", bare(200, "application/json", `{"choices":7,"message":7,"content":7}`), "transient transient", "runbook", false},
	{"cut JSON", bare(200, "application/json", `{"choices":[{"mess`), "transient transient", "runbook", false},
	{"hangs up", then(always(func(llmtest.Wire) llmtest.Step { return abort })), "transient ok", "cloud", false},
	{"broken midway", then(always(func(w llmtest.Wire) llmtest.Step { return w.Cut("half") })), "transient ok", "cloud", false},
	{"left midway", then(always(func(w llmtest.Wire) llmtest.Step { return w.Leave("half") })), "transient ok", "cloud", false},
	{"blank", then(always(func(w llmtest.Wire) llmtest.Step { return w.Say(llmtest.Reply{Text: " ", TokensIn: 5, TokensOut: 1}) })), "output ok", "cloud", false},
	{"too long", then(always(func(w llmtest.Wire) llmtest.Step {
		return w.Say(llmtest.Reply{Text: "{", TokensIn: 5, TokensOut: 9, Finish: "length"})
	})), "output ok", "cloud", false},
	{"no JSON at first", then(always(func(w llmtest.Wire) llmtest.Step {
		return w.Say(llmtest.Reply{Text: "the sensor", TokensIn: 5, TokensOut: 2})
	})), "output ok", "cloud", false},
	{"cites what is not there at first", then(always(func(w llmtest.Wire) llmtest.Step {
		return w.Say(llmtest.Reply{Text: answerCiting("filler.ghost"), TokensIn: 5, TokensOut: 2})
	})), "output ok", "cloud", false},
}

// What a server saw, what is recorded, what is counted and what is paid are the
// same, whatever went wrong and with whom.
func TestSeenRecordedCounted(t *testing.T) {
	for _, k := range kinds {
		for _, m := range miseries {
			t.Run(k.wire.Name+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				suffer(t, k, m)
			})
		}
	}
}

func suffer(t *testing.T, k kind, m misery) {
	s := llmtest.NewServer(t, k.wire, m.steps(k.wire)...)
	l := &ledger{cap: 1}
	var counted []edgeagent.Call
	r := llm.New(llm.Options{Providers: []llm.ProviderOptions{k.options(t, s.BaseURL())}, Runbook: book{}, Ledger: l,
		OnCall: func(c edgeagent.Call) { counted = append(counted, c) }})
	o := diagnose(t, r, caseF212())
	if got := strings.ReplaceAll(outcomes(o), "cloud:", ""); !oneOf(got, m.calls) {
		t.Errorf("calls = %s, want %s: %s", got, m.calls, o.Diagnosis.By.WhyNotFirst)
	}
	if by := o.Diagnosis.By.Provider; !oneOf(by, m.by) {
		t.Errorf("by %s, want %s: %s", by, m.by, o.Diagnosis.By.WhyNotFirst)
	}
	st := r.Status()[0]
	if seen := len(s.Asked()); seen != len(o.Calls) || seen != len(counted) || uint64(seen) != st.Calls {
		t.Errorf("the server saw %d requests, %d are recorded, %d counted, %d shown", seen, len(o.Calls), len(counted), st.Calls)
	}
	if held := st.Hold != ""; held != m.hold {
		t.Errorf("held = %v (%q), want %v", held, st.Hold, m.hold)
	}
	if math.Abs(l.reserved) > 1e-12 || math.Abs(l.paid-o.CostUSD()) > 1e-12 {
		t.Errorf("reserved %v, paid %v, want 0 and %v", l.reserved, l.paid, o.CostUSD())
	}
	if strings.Contains(fmt.Sprintf("%+v %+v", o, st), "sk-secret") {
		t.Error("the key is in what is kept")
	}
}

func oneOf(got, options string) bool {
	for want := range strings.SplitSeq(options, "|") {
		if got == want {
			return true
		}
	}
	return false
}
