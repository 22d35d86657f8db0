package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

var question = llm.Request{
	Prompt:          llm.Prompt{System: "rules", User: "case", Schema: json.RawMessage(`{"type":"object"}`), Tokens: 20},
	MaxOutputTokens: 700, Temperature: 0.1,
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	o.Model = "cloud-1"
	c := New(o)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func failure(t *testing.T, err error) *llm.Error {
	t.Helper()
	var e *llm.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T %v, want *llm.Error", err, err)
	}
	return e
}

func sent(t *testing.T, a llmtest.Asked) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestRequestOnTheWire(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.OpenAI.Say(llmtest.Reply{Text: "{}"}))
	c := client(t, Options{BaseURL: s.BaseURL() + "/", APIKey: func() (string, error) { return " sk-secret\n", nil }})
	if _, err := c.Ask(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	asked := s.Asked()[0]
	if got := asked.Header.Get("Authorization"); got != "Bearer sk-secret" {
		t.Errorf("Authorization = %q", got)
	}
	if asked.Header.Get("Idempotency-Key") != "" {
		t.Error("an Idempotency-Key lets net/http repeat a paid call by itself")
	}
	body := sent(t, asked)
	options, _ := body["stream_options"].(map[string]any)
	format, _ := body["response_format"].(map[string]any)
	if body["stream"] != true || options["include_usage"] != true || format["type"] != "json_schema" || body["max_tokens"] != 700.0 || body["temperature"] != 0.1 {
		t.Errorf("body = %v", body)
	}
}

// A server that does not know a parameter says so once and is asked otherwise
// from then on.
func TestDialectIsLearned(t *testing.T) {
	tests := []struct {
		message string
		check   func(map[string]any) bool
	}{
		{"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
			func(b map[string]any) bool { return b["max_tokens"] == nil && b["max_completion_tokens"] == 700.0 }},
		{"Unrecognized request argument supplied: stream_options", func(b map[string]any) bool { return b["stream_options"] == nil }},
		{"Unsupported value: 'temperature' does not support 0.1 with this model. Only the default (1) value is supported.",
			func(b map[string]any) bool { return b["temperature"] == nil }},
		{"Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
			func(b map[string]any) bool {
				f, _ := b["response_format"].(map[string]any)
				return f["type"] == "json_object"
			}},
	}
	for _, tt := range tests {
		t.Run(tt.message, func(t *testing.T) {
			s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.OpenAI.Refuse(400, tt.message), llmtest.OpenAI.Say(llmtest.Reply{Text: "{}"}))
			c := client(t, Options{BaseURL: s.BaseURL()})
			_, err := c.Ask(t.Context(), question)
			if e := failure(t, err); e.Retries == 0 || e.Breaker != llm.Excluded {
				t.Fatalf("refusal = %+v, want one more try", e)
			}
			for range 2 {
				if _, err := c.Ask(t.Context(), question); err != nil {
					t.Fatal(err)
				}
			}
			for _, asked := range s.Asked()[1:] {
				if body := sent(t, asked); !tt.check(body) {
					t.Errorf("asked again with %v", body)
				}
			}
		})
	}
}

func TestDialectEndsWithoutAFormat(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.OpenAI.Refuse(400, "response_format is not supported"))
	c := client(t, Options{BaseURL: s.BaseURL()})
	for range 2 {
		_, err := c.Ask(t.Context(), question)
		if e := failure(t, err); e.Retries == 0 {
			t.Fatalf("refusal = %+v", e)
		}
	}
	_, err := c.Ask(t.Context(), question)
	if e := failure(t, err); e.Retries != 0 || sent(t, s.Asked()[2])["response_format"] != nil {
		t.Errorf("third refusal = %+v: a server that refuses everything must not be asked for ever", e)
	}
}

// A refusal quotes the case, in which a temperature stands: that the request is
// refused without the parameter as well shows that it was not meant.
func TestAWordOfTheCaseIsNoLesson(t *testing.T) {
	w := llmtest.OpenAI
	const refusal = "content is not valid: 'Oil temperature high' at response_format of the plant"
	s := llmtest.NewServer(t, w, w.Say(llmtest.Reply{Text: "{}"}), w.Refuse(422, refusal), w.Refuse(422, refusal), w.Refuse(422, refusal), w.Refuse(422, refusal), w.Say(llmtest.Reply{Text: "{}"}))
	c := client(t, Options{BaseURL: s.BaseURL()})
	for i := range 6 {
		if _, err := c.Ask(t.Context(), question); (err != nil) != (i > 0 && i < 5) {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	first, last := sent(t, s.Asked()[0]), sent(t, s.Asked()[5])
	if !reflect.DeepEqual(first, last) {
		t.Errorf("asked with %v from then on, want %v as before", last, first)
	}
}

func TestMissingKeySendsNothing(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.OpenAI.Say(llmtest.Reply{Text: "{}"}))
	for name, key := range map[string]func() (string, error){
		"unset":   func() (string, error) { return "", errors.New("environment variable OPENAI_API_KEY is not set") },
		"empty":   func() (string, error) { return "", nil },
		"newline": func() (string, error) { return " \n", nil },
		"two":     func() (string, error) { return "sk-old\nsk-new\n", nil },
		"quoted":  func() (string, error) { return "“sk-new”", nil },
	} {
		c := client(t, Options{BaseURL: s.BaseURL(), APIKey: key})
		_, askErr := c.Ask(t.Context(), question)
		for _, err := range []error{askErr, c.Probe(t.Context())} {
			if e := failure(t, err); e.Class != edgeagent.CallAuth || !e.Unsent || e.Hold == 0 || e.Breaker != llm.Excluded {
				t.Errorf("%s: %+v, want an unsent auth failure that holds", name, e)
			}
		}
	}
	if len(s.Asked())+s.Probes() != 0 {
		t.Error("a request was sent without a key")
	}
}

func TestKeyIsNeverInAMessage(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.OpenAI.Refuse(401, "Incorrect API key provided: sk-very-secret. Find it at …"))
	c := client(t, Options{BaseURL: s.BaseURL(), APIKey: func() (string, error) { return "sk-very-secret", nil }})
	_, err := c.Ask(t.Context(), question)
	if e := failure(t, err); strings.Contains(fmt.Sprintf("%+v %s %v", *e, e, e.Note()), "secret") || !strings.Contains(e.Error(), "[key]") {
		t.Errorf("message %q", e.Error())
	}
}

// Words are shortened to fit a line; half a key must not be what is left.
func TestKeyIsNotCutInHalf(t *testing.T) {
	const key = "sk-very-secret"
	for i := range len(key) {
		long := strings.Repeat("x", 300-1-i) + " " + key
		for name, step := range map[string]llmtest.Step{
			"refusal":   llmtest.OpenAI.Refuse(401, long),
			"in stream": llmtest.Raw(200, "text/event-stream", "data: {\"error\":{\"message\":\""+long+"\"}}\n\n"),
		} {
			s := llmtest.NewServer(t, llmtest.OpenAI, step)
			_, err := client(t, Options{BaseURL: s.BaseURL(), APIKey: func() (string, error) { return key, nil }}).Ask(t.Context(), question)
			if e := failure(t, err); strings.Contains(e.Error(), "sk") {
				t.Errorf("%s: message %q", name, e.Error())
			}
		}
	}
}

// Bodies as servers of this wire send them.
func TestAnswersInManyShapes(t *testing.T) {
	tests := []struct {
		name, contentType, body string
		text                    string
		code                    string // of the failure, when there is one
		class                   edgeagent.CallOutcome
	}{
		{name: "CRLF and comments", contentType: "text/event-stream",
			body: ": PROCESSING\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\r\n\r\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r\n", text: "hi"},
		{name: "no space after data", body: "data:{\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata:[DONE]\n", text: "hi"},
		{name: "finish without DONE", body: "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n", text: "hi"},
		{name: "DONE without finish", body: "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n", text: "hi"},
		{name: "last line without newline", body: "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}", text: "hi"},
		{name: "event names", body: "event: message\nid: 1\ndata: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n", text: "hi"},
		{name: "other choices", body: "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}},{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n", text: "hi"},
		{name: "null error", body: "data: {\"error\":null,\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n", text: "hi"},
		{name: "null content", body: `{"choices":[{"message":{"content":"hi","refusal":null},"finish_reason":"stop"}],"usage":null}`, text: "hi"},
		{name: "indented JSON with a wrong type", contentType: "text/plain", body: "\n  {\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}", text: "hi"},
		{name: "JSON in a stream's name", contentType: "text/event-stream", body: `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`, text: "hi"},
		{name: "whole numbers with a point", body: `{"choices":[{"index":0.0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12.0,"completion_tokens":1e300,"prompt_tokens_details":null}}`, text: "hi"},
		{name: "parts", body: "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]}]}}]}\n\n" +
			"data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"h\"},{\"type\":\"text\",\"text\":\"i\"}]},\"finish_reason\":\"stop\"}]}\n\n", text: "hi"},
		{name: "refusal in parts", body: `{"choices":[{"message":{"content":[{"type":"refusal","refusal":"no"}]},"finish_reason":"stop"}]}`, code: "refusal", class: edgeagent.CallOutput},
		{name: "error object with 200", body: `{"error":{"message":"no credits","code":"insufficient_quota"}}`, code: "insufficient_quota", class: edgeagent.CallQuota},
		{name: "error text with 200", body: `{"error":"overloaded"}`, class: edgeagent.CallTransient},
		{name: "rate limit in the stream", body: "data: {\"error\":{\"message\":\"slow\",\"code\":429}}\n\n", class: edgeagent.CallThrottled},
		{name: "rate limit in words alone", body: "data: {\"error\":{\"message\":\"Rate limit reached\",\"type\":\"requests\"}}\n\n", class: edgeagent.CallThrottled},
		{name: "only blank lines", body: "\n\n\n", code: "cut", class: edgeagent.CallTransient},
		{name: "plain words", contentType: "text/plain", body: "OK", code: "cut", class: edgeagent.CallTransient},
		{name: "an array", body: `[]`, code: "cut", class: edgeagent.CallTransient},
		{name: "no choices", body: `{"choices":[]}`, code: "empty", class: edgeagent.CallOutput},
		{name: "half an event", body: "data: {\"choices\":[{\"delta\":{\"conte\n\n", code: "cut", class: edgeagent.CallTransient},
		{name: "tool call", body: `{"choices":[{"message":{"content":null,"tool_calls":[{}]},"finish_reason":"tool_calls"}]}`, code: "empty", class: edgeagent.CallOutput},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			contentType := tt.contentType
			if contentType == "" {
				contentType = "application/json"
			}
			s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.Raw(200, contentType, tt.body))
			a, err := client(t, Options{BaseURL: s.BaseURL()}).Ask(t.Context(), question)
			if tt.class == "" {
				if err != nil || a.Text != tt.text {
					t.Errorf("text %q, %v, want %q", a.Text, err, tt.text)
				}
				return
			}
			if e := failure(t, err); e.Class != tt.class || tt.code != "" && e.Code != tt.code || !e.Billable {
				t.Errorf("failure = %+v, want %s %s", e, tt.class, tt.code)
			}
		})
	}
}

// A stream that stops after its usage was announced is booked by it.
func TestCutAnswerKeepsWhatWasSaid(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.OpenAI.Cut("half of it"))
	_, err := client(t, Options{BaseURL: s.BaseURL()}).Ask(t.Context(), question)
	if e := failure(t, err); e.Raw != "half of it" || !e.Billable || e.RequestID != "req-1" {
		t.Errorf("failure = %+v", e)
	}
}

func TestBadSettingsAreNotSent(t *testing.T) {
	for name, o := range map[string]Options{
		"base_url": {BaseURL: "http://[::1"},
		"proxy":    {BaseURL: "http://127.0.0.1:1", Transport: llm.TransportOptions{Proxy: "not a proxy"}},
	} {
		_, err := client(t, o).Ask(t.Context(), question)
		if e := failure(t, err); !e.Unsent || e.Class != edgeagent.CallConfig || e.Hold == 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// A gateway that packs its refusals, asked or not, has refused all the same: a key
// that is taken for a bad way would be tried again and again.
func TestPackedRefusalIsARefusal(t *testing.T) {
	for status, class := range map[int]edgeagent.CallOutcome{401: edgeagent.CallAuth, 429: edgeagent.CallThrottled, 503: edgeagent.CallTransient, 200: edgeagent.CallUnreachable} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "\x1f\x8b\x08")
		}))
		_, err := client(t, Options{BaseURL: s.URL}).Ask(t.Context(), question)
		if e := failure(t, err); e.Class != class {
			t.Errorf("%d: %+v, want %s", status, e, class)
		}
		s.Close()
	}
}

func TestProxyIsUsed(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`)
	}))
	defer proxy.Close()
	c := client(t, Options{BaseURL: "http://model.invalid/v1", Transport: llm.TransportOptions{Proxy: proxy.URL}})
	if _, err := c.Ask(t.Context(), question); err != nil || asked != "http://model.invalid/v1/chat/completions" {
		t.Errorf("the proxy was asked for %q, %v", asked, err)
	}
}

func TestProbeOfAServerWithoutAList(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, llmtest.Hang())
	c := client(t, Options{BaseURL: s.BaseURL()})
	for _, status := range []int{404, 405} {
		s.OnProbe(llmtest.OpenAI.Refuse(status, "no such path"))
		if err := c.Probe(t.Context()); err != nil {
			t.Errorf("%d: %v, want it to prove that an API is there", status, err)
		}
	}
	s.OnProbe(llmtest.Raw(404, "text/html", "<html>not found</html>"))
	if err := c.Probe(t.Context()); err == nil {
		t.Error("a page was taken for an API")
	}
}

func FuzzAnswer(f *testing.F) {
	c := New(Options{BaseURL: "http://x", Model: "m"})
	llmtest.FuzzRead(f, c.api, wire{}, http.StatusInternalServerError,
		`{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`,
		"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n",
		"data: {\"error\":{\"code\":429}}\n", "<html>", "[{", "data:\n\n", "\xff\xfe", `{"error":"x"}`, `{"error":{"code":"429"}}`)
}
