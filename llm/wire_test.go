package llm_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
	"edgeagent/llm/ollama"
	"edgeagent/llm/openai"
)

// caseF212 is a level alarm on a filler.
func caseF212() edgeagent.Case {
	at := time.Date(2026, 11, 22, 3, 12, 0, 0, time.UTC)
	alarm := edgeagent.Alarm{
		ID: edgeagent.NewID(at), Device: "filler", Line: "Filler-2", Code: "F212", Text: "Level sensor unstable during fill cycle",
		Priority: 2, State: edgeagent.AlarmUnacked, RaisedAt: at, FirstOut: true, Origin: edgeagent.OriginTag,
		Values: map[string]edgeagent.Value{"filler.level": edgeagent.Float(90)},
	}
	evidence := &edgeagent.Evidence{At: at, WindowS: 600, HistorySince: at.Add(-10 * time.Minute), Tags: []edgeagent.Feature{
		{Tag: "filler.level", Value: edgeagent.Float(90), EngUnit: "%", Quality: edgeagent.QualityGood},
	}}
	return edgeagent.Case{Job: edgeagent.NewID(at), At: at, Site: "plant-a", Line: "Filler-2", Outside: true, Language: "en",
		Alarms: []edgeagent.CaseAlarm{{Alarm: alarm, Evidence: evidence}}}
}

// answerCiting is an answer that rests on name.
func answerCiting(name string) string {
	b, err := json.Marshal(map[string]any{
		"evidence":              []any{map[string]any{"name": name, "observation": "above its limit"}},
		"causes":                []any{map[string]any{"cause": "The level sensor is fouled", "likelihood": "likely", "evidence": []string{name}, "sources": []string{}}},
		"checks":                []string{"Look at the sensor", "Clean the probe", "Check the cable"},
		"urgency":               "shift",
		"missing":               []string{},
		"insufficient_evidence": false,
		"summary":               "The level sensor is probably fouled.",
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}

var good = llmtest.Reply{Text: answerCiting("filler.level"), TokensIn: 1000, TokensOut: 100}

// book is a runbook that says so.
type book struct{}

func (book) Diagnose(c edgeagent.Case) edgeagent.Diagnosis {
	return edgeagent.Diagnosis{Summary: "runbook: " + c.First().Alarm.Code}
}

func (book) Passages(edgeagent.Case, int) []llm.Passage { return nil }

// ledger is a cap that remembers how high it stood.
type ledger struct {
	mu             sync.Mutex
	cap            float64
	reserved, paid float64
	worst          float64
}

func (l *ledger) Reserve(_ edgeagent.ID, usd float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved+l.paid+usd > l.cap {
		return errors.New("over the cap")
	}
	l.reserved += usd
	return nil
}

func (l *ledger) Settle(_ edgeagent.ID, reserved, actual float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved -= reserved
	l.paid += actual
	l.worst = max(l.worst, l.reserved+l.paid)
}

var price = llm.Price{Input: 0.15, Output: 0.60, CachedInput: 0.075}

// fast retries without making a test wait.
var fast = retry.Backoff{First: time.Millisecond, Max: 2 * time.Millisecond}

func cloud(t *testing.T, s *llmtest.Server) llm.ProviderOptions {
	c := openai.New(openai.Options{BaseURL: s.BaseURL(), Model: "cloud-1", APIKey: func() (string, error) { return "sk-secret", nil }})
	t.Cleanup(c.CloseIdleConnections)
	return llm.ProviderOptions{Name: "cloud", Kind: "openai", Model: "cloud-1", Outside: true, Price: price, Retry: fast, Provider: c}
}

func local(t *testing.T, s *llmtest.Server) llm.ProviderOptions {
	c := ollama.New(ollama.Options{BaseURL: s.BaseURL(), Model: "local-1", ContextTokens: 4096})
	t.Cleanup(c.CloseIdleConnections)
	return llm.ProviderOptions{Name: "local", Kind: "ollama", Model: "local-1", ContextTokens: 4096, Retry: fast, Provider: c}
}

func diagnose(t *testing.T, r *llm.Router, c edgeagent.Case) edgeagent.Outcome {
	t.Helper()
	o, err := r.Diagnose(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if o.Diagnosis == nil {
		t.Fatal("no diagnosis")
	}
	return o
}

func outcomes(o edgeagent.Outcome) string {
	var all []string
	for _, c := range o.Calls {
		all = append(all, c.Provider+":"+string(c.Outcome))
	}
	return strings.Join(all, " ")
}

func TestCloudAnswers(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.OpenAI.Say(good))
	l := &ledger{cap: 1}
	var heard []edgeagent.Call
	r := llm.New(llm.Options{Providers: []llm.ProviderOptions{cloud(t, s)}, Runbook: book{}, Ledger: l,
		OnCall: func(c edgeagent.Call) { heard = append(heard, c) }})
	o := diagnose(t, r, caseF212())
	d := o.Diagnosis
	if d.By.Provider != "cloud" || d.By.Kind != "openai" || d.By.Model != "cloud-1" || d.By.PromptVersion == "" || d.By.Attempts != 1 ||
		d.By.TokensIn != 1000 || d.By.TokensOut != 100 || d.By.WhyNotFirst != "" || d.By.At.IsZero() {
		t.Errorf("by = %+v", d.By)
	}
	if want := 0.00021; math.Abs(d.By.CostUSD-want) > 1e-12 || math.Abs(l.paid-want) > 1e-12 || l.reserved > 1e-12 {
		t.Errorf("cost %v, paid %v, reserved %v, want %v paid", d.By.CostUSD, l.paid, l.reserved, want)
	}
	if len(d.Causes) != 1 || !slices.Contains(d.Causes[0].Evidence, "filler.level") {
		t.Errorf("causes = %+v", d.Causes)
	}
	if outcomes(o) != "cloud:ok" || o.Calls[0].RequestID != "req-1" || o.Calls[0].Status != 200 || len(heard) != 1 {
		t.Errorf("calls = %+v, heard %d", o.Calls, len(heard))
	}
	if o.Raw != good.Text || !strings.Contains(o.Prompt, "F212") {
		t.Errorf("prompt or raw answer is missing: %q", o.Raw)
	}
}

// row is one failure of llm's table as the whole chain answers it.
type row struct {
	name  string
	steps []llmtest.Step
	calls string // of the cloud, in order; then the local model answers unless by says otherwise
	by    string
	hold  bool
	why   string // contained in why_not_first
}

var w = llmtest.OpenAI

func repeated(step llmtest.Step, n int) []llmtest.Step { return slices.Repeat([]llmtest.Step{step}, n) }

var failures = []row{
	{name: "500 is retried until the breaker opens", steps: repeated(w.Refuse(500, "boom"), 9),
		calls: "cloud:transient cloud:transient cloud:transient", by: "local", why: "boom"},
	{name: "500 once", steps: []llmtest.Step{w.Refuse(500, "boom"), w.Say(good)}, calls: "cloud:transient cloud:ok", by: "cloud"},
	{name: "503 with rate words", steps: []llmtest.Step{w.Refuse(503, "Rate limit reached"), w.Say(good)}, calls: "cloud:throttled cloud:ok", by: "cloud"},
	{name: "529", steps: []llmtest.Step{w.Refuse(529, "overloaded"), w.Say(good)}, calls: "cloud:transient cloud:ok", by: "cloud"},
	{name: "408", steps: []llmtest.Step{w.Refuse(408, "too slow"), w.Say(good)}, calls: "cloud:transient cloud:ok", by: "cloud"},
	{name: "409 once", steps: repeated(w.Refuse(409, "conflict"), 9), calls: "cloud:transient cloud:transient", by: "local"},
	{name: "401", steps: repeated(w.Refuse(401, "Incorrect API key provided"), 9), calls: "cloud:auth", by: "local", hold: true, why: "key"},
	{name: "403", steps: repeated(w.Refuse(403, "country not supported"), 9), calls: "cloud:auth", by: "local", hold: true},
	{name: "402", steps: repeated(w.Refuse(402, "pay"), 9), calls: "cloud:quota", by: "local", hold: true},
	{name: "429 of an empty account", steps: repeated(llmtest.Raw(429, "application/json",
		`{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}`), 9),
		calls: "cloud:quota", by: "local", hold: true, why: "credit"},
	{name: "400 for a bad key", steps: repeated(llmtest.Raw(400, "application/json",
		`[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]`), 9),
		calls: "cloud:auth", by: "local", hold: true},
	{name: "400 for an empty balance", steps: repeated(w.Refuse(400, "Your credit balance is too low"), 9), calls: "cloud:quota", by: "local", hold: true},
	{name: "404 of the model", steps: repeated(w.Refuse(404, "The model `x` does not exist"), 9), calls: "cloud:config", by: "local", hold: true},
	{name: "400", steps: repeated(w.Refuse(400, "bad"), 9), calls: "cloud:request", by: "local"},
	{name: "422", steps: repeated(w.Refuse(422, "bad"), 9), calls: "cloud:request", by: "local"},
	{name: "429 without a time", steps: []llmtest.Step{w.Refuse(429, "slow down"), w.Refuse(429, "slow down"), w.Say(good)},
		calls: "cloud:throttled cloud:throttled cloud:ok", by: "cloud"},
	{name: "429 for long", steps: repeated(w.Refuse(429, "slow down", "Retry-After", "30"), 9), calls: "cloud:throttled", by: "local", hold: true},
	{name: "a portal", steps: repeated(llmtest.Raw(200, "text/html", "<html>log in</html>"), 9),
		calls: "cloud:unreachable", by: "local", why: "a proxy answers instead of the API"},
	{name: "a redirect", steps: repeated(llmtest.Raw(302, "text/html", "", "Location", "http://portal.example/"), 9),
		calls: "cloud:unreachable", by: "local", why: "a proxy answers instead of the API"},
	{name: "cut JSON", steps: repeated(llmtest.Raw(200, "application/json", `{"choices":[{"mess`), 9),
		calls: "cloud:transient cloud:transient", by: "local", why: "cut off"},
	{name: "broken stream", steps: repeated(w.Cut("half"), 9), calls: "cloud:transient cloud:transient", by: "local"},
	{name: "empty answer", steps: repeated(w.Say(llmtest.Reply{Finish: "stop"}), 9), calls: "cloud:output cloud:output", by: "local"},
	{name: "too long an answer", steps: []llmtest.Step{w.Say(llmtest.Reply{Text: `{"ev`, Finish: "length"}), w.Say(good)},
		calls: "cloud:output cloud:ok", by: "cloud"},
	{name: "content filter", steps: repeated(w.Say(llmtest.Reply{Text: "x", Finish: "content_filter"}), 9), calls: "cloud:output", by: "runbook"},
	{name: "content filter of the request", steps: repeated(w.Refuse(400, "content_filter"), 9), calls: "cloud:request", by: "runbook"},
	{name: "refusal", steps: repeated(llmtest.Raw(200, "application/json",
		`{"choices":[{"index":0,"message":{"refusal":"I cannot"},"finish_reason":"stop"}]}`), 9), calls: "cloud:output", by: "runbook", why: "I cannot"},
	{name: "cites what is not there, repaired", steps: []llmtest.Step{w.Say(llmtest.Reply{Text: answerCiting("filler.ghost")}), w.Say(good)},
		calls: "cloud:output cloud:ok", by: "cloud"},
	{name: "no JSON, twice", steps: repeated(w.Say(llmtest.Reply{Text: "The sensor is dirty, I think."}), 9),
		calls: "cloud:output cloud:output", by: "local", why: "could not be used"},
	{name: "prompt too long, made shorter once", steps: repeated(w.Refuse(400, "maximum context length is 10 tokens"), 9), calls: "cloud:request cloud:request", by: "local"},
	{name: "error in the stream", steps: repeated(llmtest.Raw(200, "text/event-stream",
		"data: {\"error\":{\"message\":\"boom\",\"code\":502}}\n\n"), 9), calls: "cloud:transient cloud:transient cloud:transient", by: "local"},
	{name: "plain JSON from a server that does not stream", steps: []llmtest.Step{llmtest.Raw(200, "application/json", plain(good.Text))},
		calls: "cloud:ok", by: "cloud"},
}

func plain(text string) string {
	b, err := json.Marshal(map[string]any{"choices": []any{map[string]any{"index": 0, "message": map[string]any{"content": text}, "finish_reason": "stop"}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestFailureTable(t *testing.T) {
	for _, tt := range failures {
		t.Run(tt.name, func(t *testing.T) {
			s := llmtest.NewServer(t, w, tt.steps...)
			box := llmtest.NewServer(t, llmtest.Ollama, llmtest.Ollama.Say(good))
			l := &ledger{cap: 1}
			r := llm.New(llm.Options{Providers: []llm.ProviderOptions{cloud(t, s), local(t, box)}, Runbook: book{}, Ledger: l})
			o := diagnose(t, r, caseF212())
			want := tt.calls
			if tt.by == "local" {
				want += " local:ok"
			}
			if got := outcomes(o); got != want {
				t.Errorf("calls = %s, want %s", got, want)
			}
			if d := o.Diagnosis; d.By.Provider != tt.by || !strings.Contains(d.By.WhyNotFirst, tt.why) {
				t.Errorf("by %q, why %q, want %q and %q", d.By.Provider, d.By.WhyNotFirst, tt.by, tt.why)
			}
			if seen := len(s.Asked()) + len(box.Asked()); seen != len(o.Calls) {
				t.Errorf("servers saw %d requests, %d calls are recorded", seen, len(o.Calls))
			}
			if held := r.Status()[0].Hold != ""; held != tt.hold {
				t.Errorf("held = %v (%q), want %v", held, r.Status()[0].Hold, tt.hold)
			}
			if math.Abs(l.reserved) > 1e-12 || math.Abs(l.paid-o.CostUSD()) > 1e-12 {
				t.Errorf("reserved %v paid %v, want 0 and %v", l.reserved, l.paid, o.CostUSD())
			}
		})
	}
}

func TestCancelledDiagnosisKeepsItsCalls(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := llmtest.NewServer(t, w, func(_ http.ResponseWriter, r *http.Request) { begun <- struct{}{}; <-r.Context().Done() })
	r := llm.New(llm.Options{Providers: []llm.ProviderOptions{cloud(t, s)}, Runbook: book{}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	o, err := r.Diagnose(ctx, caseF212())
	if !errors.Is(err, context.Canceled) || o.Diagnosis != nil || outcomes(o) != "cloud:aborted" {
		t.Errorf("outcome %s, %v, want one aborted call and the end of the context", outcomes(o), err)
	}
	if st := r.Status()[0]; st.Breaker != "closed" || st.Error != "" {
		t.Errorf("status = %+v: our own cancellation must not hurt the provider", st)
	}
}
