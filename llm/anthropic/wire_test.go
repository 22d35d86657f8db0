package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

var question = llm.Request{
	ID:              "job/1",
	Prompt:          llm.Prompt{System: "rules", User: "case", Schema: json.RawMessage(`{"type":"object"}`), Tokens: 20},
	MaxOutputTokens: 700, Temperature: 1.5,
}

func ask(t *testing.T, steps ...llmtest.Step) (*Client, *llmtest.Server) {
	t.Helper()
	s := llmtest.NewServer(t, llmtest.Anthropic, steps...)
	c := New(Options{BaseURL: s.BaseURL() + "/", Model: "cloud-1", APIKey: func() (string, error) { return "sk-ant-secret", nil }})
	t.Cleanup(c.CloseIdleConnections)
	return c, s
}

func failure(t *testing.T, err error) *llm.Error {
	t.Helper()
	var e *llm.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T %v, want *llm.Error", err, err)
	}
	return e
}

func TestRequestOnTheWire(t *testing.T) {
	c, s := ask(t, llmtest.Anthropic.Say(llmtest.Reply{Text: "{}"}))
	if _, err := c.Ask(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	asked := s.Asked()[0]
	for header, want := range map[string]string{
		"X-Api-Key": "sk-ant-secret", "Anthropic-Version": "2023-06-01", "Authorization": "", "Idempotency-Key": "", "X-Client-Request-Id": "job/1",
	} {
		if got := asked.Header.Get(header); got != want {
			t.Errorf("%s = %q, want %q", header, got, want)
		}
	}
	want := `{"model":"cloud-1","max_tokens":700,"system":"rules","messages":[{"role":"user","content":"case"}],"stream":true,"temperature":1,` +
		`"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}}`
	if asked.Body != want {
		t.Errorf("sent %s\nwant %s", asked.Body, want)
	}
}

// A model that does not take a parameter says so once and is asked otherwise
// from then on.
func TestDialectIsLearned(t *testing.T) {
	w := llmtest.Anthropic
	c, s := ask(t, w.Refuse(400, "`temperature` is deprecated for this model."),
		w.Refuse(400, "output_config: Extra inputs are not permitted"), w.Say(llmtest.Reply{Text: "{}"}))
	for i := range 2 {
		_, err := c.Ask(t.Context(), question)
		if e := failure(t, err); e.Retries == 0 || e.Breaker != llm.Excluded || e.Class != edgeagent.CallRequest {
			t.Fatalf("refusal %d = %+v, want one more try", i, e)
		}
	}
	for range 2 {
		if _, err := c.Ask(t.Context(), question); err != nil {
			t.Fatal(err)
		}
	}
	for i, has := range [][2]bool{{true, true}, {false, true}, {false, false}, {false, false}} {
		body := s.Asked()[i].Body
		if strings.Contains(body, `"temperature"`) != has[0] || strings.Contains(body, `"output_config"`) != has[1] {
			t.Errorf("request %d: %s", i, body)
		}
	}
}

// A server that refuses everything is not asked for ever.
func TestDialectEnds(t *testing.T) {
	c, _ := ask(t, llmtest.Anthropic.Refuse(400, "temperature and schema are refused"))
	for i := range 3 {
		_, err := c.Ask(t.Context(), question)
		if e := failure(t, err); (e.Retries == 0) != (i == 2) {
			t.Errorf("refusal %d: %d retries", i, e.Retries)
		}
	}
}

// sse is one event of a stream.
func sse(kind, rest string) string {
	return "event: " + kind + "\ndata: {\"type\":\"" + kind + "\"" + rest + "}\n\n"
}

var (
	begun = sse("message_start", `,"message":{"type":"message","model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":60,"output_tokens":2}}`)
	half  = begun + sse("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"half"}`)
	ended = sse("message_stop", "")
)

func stopped(reason string) string {
	return sse("message_delta", `,"delta":{"stop_reason":"`+reason+`"},"usage":{"output_tokens":7}`) + ended
}

func failing(kind, message string) string {
	return half + sse("error", `,"error":{"type":"`+kind+`","message":"`+message+`"}`)
}

// Answers as the API sends them, and as what stands before it may.
func TestAnswersInManyShapes(t *testing.T) {
	tests := []struct {
		name, body string
		text       string
		code       string // of the failure, when there is one
		class      edgeagent.CallOutcome
		then       llm.Then
	}{
		{name: "plain", body: half + stopped("end_turn"), text: "half"},
		{name: "stop sequence", body: half + stopped("stop_sequence"), text: "half"},
		{name: "reasoning before", body: begun + sse("content_block_delta", `,"delta":{"type":"thinking_delta","thinking":"hm"}`) +
			sse("content_block_delta", `,"delta":{"type":"signature_delta","signature":"xx"}`) +
			sse("content_block_delta", `,"delta":{"type":"text_delta","text":"so"}`) + stopped("end_turn"), text: "so"},
		{name: "unknown events", body: half + sse("ping", "") + sse("news", `,"delta":{"text":"no"}`) + stopped("end_turn"), text: "half"},
		{name: "not streamed", body: `{"type":"message","model":"claude-x","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"half"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"cache_read_input_tokens":60,"cache_creation_input_tokens":30,"output_tokens":7}}`, text: "half"},
		{name: "too long", body: half + stopped("max_tokens"), code: "length", class: edgeagent.CallOutput},
		{name: "context full", body: half + stopped("model_context_window_exceeded"), code: "context", class: edgeagent.CallOutput},
		{name: "refusal", body: half + stopped("refusal"), code: "refusal", class: edgeagent.CallOutput, then: llm.ThenRunbook},
		{name: "nothing said", body: begun + stopped("end_turn"), code: "empty", class: edgeagent.CallOutput},
		{name: "a tool nobody offered", body: begun + sse("content_block_delta", `,"delta":{"type":"input_json_delta","partial_json":"{}"}`) + stopped("tool_use"), code: "empty", class: edgeagent.CallOutput},
		{name: "cut before the stop", body: half, code: "cut", class: edgeagent.CallTransient},
		{name: "half an event", body: half + "data: {\"type\":\"content_bl", code: "cut", class: edgeagent.CallTransient},
		{name: "wrong types", body: "data: {\"type\":7}\n\n", code: "cut", class: edgeagent.CallTransient},
		{name: "overloaded midway", body: failing("overloaded_error", "Overloaded"), code: "overloaded_error", class: edgeagent.CallTransient},
		{name: "rate limit midway", body: failing("rate_limit_error", "slow down"), code: "rate_limit_error", class: edgeagent.CallThrottled},
		{name: "key revoked midway", body: failing("authentication_error", "no"), code: "authentication_error", class: edgeagent.CallAuth},
		{name: "something new midway", body: failing("novel_error", "no"), code: "novel_error", class: edgeagent.CallTransient},
		{name: "error without an object", body: half + sse("error", ""), class: edgeagent.CallTransient},
		{name: "error with 200", body: `{"type":"error","error":{"type":"api_error","message":"boom"}}`, code: "api_error", class: edgeagent.CallTransient},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			contentType := "text/event-stream"
			if strings.HasPrefix(tt.body, "{") {
				contentType = "application/json"
			}
			c, s := ask(t, llmtest.Raw(200, contentType, tt.body, "Request-Id", "req_7"))
			a, err := c.Ask(t.Context(), question)
			if n := len(s.Asked()); n != 1 {
				t.Errorf("server saw %d requests", n)
			}
			if tt.class == "" {
				if err != nil || a.Text != tt.text || a.TokensIn != 100 || a.CachedIn != 60 || a.TokensOut != 7 || a.Model != "claude-x" || a.RequestID != "req_7" {
					t.Errorf("answer %+v, %v; want %q, 100 tokens in, 60 of them cached, 7 out", a, err, tt.text)
				}
				return
			}
			e := failure(t, err)
			if e.Class != tt.class || tt.code != "" && e.Code != tt.code || e.Then != tt.then || !e.Billable || e.RequestID != "req_7" {
				t.Errorf("failure = %+v, want %s %s", e, tt.class, tt.code)
			}
			if strings.HasPrefix(tt.body, half) && (e.Raw != "half" || e.TokensIn != 100 || e.CachedIn != 60) {
				t.Errorf("failure = %+v: what was received and used is billed", e)
			}
		})
	}
}

// Refusals in the API's own words.
func TestRefusals(t *testing.T) {
	tests := []struct {
		status  int
		message string
		class   edgeagent.CallOutcome
		hold    time.Duration
		breaker llm.Counting
		retries int
		says    string
	}{
		{400, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing", edgeagent.CallQuota, llm.HoldQuota, llm.Excluded, 0, "credit"},
		{400, "You have reached your specified API usage limits. You will regain access on 2026-12-01", edgeagent.CallQuota, llm.HoldQuota, llm.Excluded, 0, "limit"},
		{402, "payment", edgeagent.CallQuota, llm.HoldQuota, llm.Excluded, 0, "payment"},
		{401, "invalid x-api-key", edgeagent.CallAuth, llm.HoldAuth, llm.Excluded, 0, "key"},
		{400, "This organization has been disabled.", edgeagent.CallAuth, llm.HoldAuth, llm.Excluded, 0, "disabled"},
		{403, "Request not allowed", edgeagent.CallAuth, llm.HoldAuth, llm.Excluded, 0, "region"},
		{404, "model: claude-0-retired", edgeagent.CallConfig, llm.HoldModel, llm.Excluded, 0, "check model"},
		{410, "gone", edgeagent.CallConfig, llm.HoldModel, llm.Excluded, 0, "check"},
		{400, "prompt is too long: 208310 tokens > 200000 maximum", edgeagent.CallRequest, 0, llm.Excluded, 1, "too long"},
		{413, "Request exceeds the maximum size", edgeagent.CallRequest, 0, llm.Excluded, 1, "too large"},
		{400, "Output blocked by content filtering policy", edgeagent.CallRequest, 0, llm.Excluded, 0, "content"},
		{400, "messages: roles must alternate", edgeagent.CallRequest, 0, llm.Excluded, 0, "refused"},
		{429, "This request would exceed your organization's rate limit of 50,000 input tokens per minute", edgeagent.CallThrottled, 0, llm.Excluded, llm.AllAttempts, "too many"},
		{500, "Internal server error", edgeagent.CallTransient, 0, llm.Counted, llm.AllAttempts, "failed"},
		{504, "timeout", edgeagent.CallTransient, 0, llm.Counted, llm.AllAttempts, "failed"},
		{529, "Overloaded", edgeagent.CallTransient, 0, llm.Counted, llm.AllAttempts, "overloaded"},
		{520, "odd", edgeagent.CallTransient, 0, llm.Counted, llm.AllAttempts, "failed"},
		{418, "odd", edgeagent.CallRequest, 0, llm.Excluded, 0, "refused"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, " ", tt.message), func(t *testing.T) {
			c, _ := ask(t, llmtest.Anthropic.Refuse(tt.status, tt.message, "Request-Id", "req_7", "Retry-After", "7"))
			_, err := c.Ask(t.Context(), question)
			e := failure(t, err)
			if e.Class != tt.class || e.Hold != tt.hold || e.Breaker != tt.breaker || e.Retries != tt.retries || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("failure = %+v", e)
			}
			if e.RetryAfter != 7*time.Second || e.RequestID != "req_7" || e.Status != tt.status {
				t.Errorf("headers: %+v", e)
			}
		})
	}
}

func TestKeyIsNeverInAMessage(t *testing.T) {
	for name, step := range map[string]llmtest.Step{
		"refusal":   llmtest.Anthropic.Refuse(401, "bad key sk-ant-secret"),
		"in stream": llmtest.Raw(200, "text/event-stream", failing("authentication_error", "bad key sk-ant-secret")),
		"no JSON":   llmtest.Raw(500, "text/plain", "bad key sk-ant-secret"),
	} {
		c, _ := ask(t, step)
		_, err := c.Ask(t.Context(), question)
		if e := failure(t, err); strings.Contains(fmt.Sprintf("%+v %s %v", *e, e, e.Note()), "sk-ant") || !strings.Contains(e.Error(), "[key]") {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	c := New(Options{BaseURL: "http://x", Model: "m"})
	llmtest.FuzzRead(f, c.api, wire{}, 529,
		half+stopped("end_turn"), failing("overloaded_error", "x"), `{"type":"message","content":[{"type":"text","text":"a"}]}`,
		"data: {\"type\":\"message_start\",\"message\":null}\n\n", "data: {\"type\":\"message_delta\"}\n\n", `{"error":7}`, "<html>", "[", "\xff")
}
