package openai

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

func TestAzureOnTheWire(t *testing.T) {
	var got []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r)
		if r.Method == http.MethodGet {
			llmtest.Raw(200, "application/json", `{"data":[]}`)(w, r)
			return
		}
		llmtest.Azure.Say(llmtest.Reply{Text: "{}", TokensIn: 7, TokensOut: 1})(w, r)
	}))
	defer s.Close()
	c := New(Options{BaseURL: s.URL + "/", Model: "line 3/diagnosis", APIVersion: "2024-10-21", APIKey: func() (string, error) { return "hush", nil }})
	defer c.CloseIdleConnections()
	a, err := c.Ask(t.Context(), question)
	if err != nil || a.TokensIn != 7 || a.RequestID != "req-1" || a.Model != "cloud-1" {
		t.Errorf("answer %+v, %v", a, err)
	}
	if err := c.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	for i, want := range []string{"/openai/deployments/line%203%2Fdiagnosis/chat/completions?api-version=2024-10-21", "/openai/models?api-version=2024-10-21"} {
		r := got[i]
		if r.URL.RequestURI() != want || r.Header.Get("Api-Key") != "hush" || r.Header.Get("Authorization") != "" {
			t.Errorf("asked %s with %v, want %s and the key in api-key", r.URL.RequestURI(), r.Header, want)
		}
	}
}

// Refusals in Azure's own words, and in those of the gateway before it.
func TestAzureRefusals(t *testing.T) {
	const filter = `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,` +
		`"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":false,"severity":"safe"},"custom_blocklists":[],"jailbreak":{"filtered":true,"detected":true},"violence":{"filtered":true,"severity":"medium"}}}}}`
	tests := []struct {
		name   string
		status int
		body   string
		class  edgeagent.CallOutcome
		hold   time.Duration
		then   llm.Then
		says   string
	}{
		{"content filter", 400, filter, edgeagent.CallRequest, 0, llm.ThenRunbook, "[jailbreak, violence]"},
		{"key", 401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`, edgeagent.CallAuth, llm.HoldAuth, llm.ThenNext, "key"},
		{"key, by the gateway", 401, `{ "statusCode": 401, "message": "Access denied due to missing subscription key." }`, edgeagent.CallAuth, llm.HoldAuth, llm.ThenNext, "missing subscription key"},
		{"network rules", 403, `{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}`, edgeagent.CallAuth, llm.HoldAuth, llm.ThenNext, "Firewall"},
		{"deployment", 404, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`, edgeagent.CallConfig, llm.HoldModel, llm.ThenNext, "check model"},
		{"resource", 404, `{"error":{"code":"404","message":"Resource not found"}}`, edgeagent.CallConfig, llm.HoldModel, llm.ThenNext, "check base_url"},
		{"version", 400, `{"error":{"code":"BadRequest","message":"API version not supported"}}`, edgeagent.CallConfig, llm.HoldModel, llm.ThenNext, "check api_version"},
		{"wrong model", 400, `{"error":{"code":"OperationNotSupported","message":"The chatCompletion operation does not work with the specified model, x."}}`, edgeagent.CallConfig, llm.HoldModel, llm.ThenNext, "check model"},
		{"rate", 429, `{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation have exceeded token rate limit. Please retry after 3 seconds."}}`, edgeagent.CallThrottled, 0, llm.ThenNext, "too many"},
		{"retired", 410, `{"error":{"code":"ModelDeprecated","message":"The model has been deprecated."}}`, edgeagent.CallConfig, llm.HoldModel, llm.ThenNext, "check model"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := llmtest.NewServer(t, llmtest.Azure, llmtest.Raw(tt.status, "application/json", tt.body, "Apim-Request-Id", "apim-1"))
			_, err := client(t, Options{BaseURL: s.BaseURL(), APIVersion: "2024-10-21"}).Ask(t.Context(), question)
			e := failure(t, err)
			if e.Class != tt.class || e.Hold != tt.hold || e.Then != tt.then || !strings.Contains(e.Error(), tt.says) || e.RequestID != "apim-1" || e.Status != tt.status {
				t.Errorf("failure = %+v", e)
			}
		})
	}
}

// The filter may also stop an answer that has begun.
func TestAzureFiltersMidway(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.Azure, llmtest.Azure.Say(llmtest.Reply{Text: "half", TokensIn: 9, TokensOut: 2, Finish: "content_filter"}))
	_, err := client(t, Options{BaseURL: s.BaseURL(), APIVersion: "2024-10-21"}).Ask(t.Context(), question)
	if e := failure(t, err); e.Class != edgeagent.CallOutput || e.Then != llm.ThenRunbook || e.TokensIn != 9 || !e.Billable {
		t.Errorf("failure = %+v", e)
	}
}
