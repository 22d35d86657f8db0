package anthropic

import (
	"encoding/json"
	"net/http"

	"edgeagent"
	"edgeagent/llm"
)

var (
	again    = llm.Policy{Retries: llm.AllAttempts, Breaker: llm.Counted}
	throttle = llm.Policy{Retries: llm.AllAttempts}
	shrink   = llm.Policy{Retries: 1, Shrink: true}
)

// table says what each refusal means. The wording comes before the status: an
// empty account is a 400 here.
var table = []llm.Row{
	{Words: []string{"credit balance", "billing_error", "usage limits", "spend limit", "insufficient_quota"},
		Class: edgeagent.CallQuota, Message: "the account is out of credit or over its limit", Policy: llm.Policy{Hold: llm.HoldQuota}},
	{Status: []int{402}, Class: edgeagent.CallQuota, Message: "the account wants payment", Policy: llm.Policy{Hold: llm.HoldQuota}},
	{Status: []int{400, 401, 403}, Words: []string{"x-api-key", "authentication_error", "api key", "has been disabled"},
		Class: edgeagent.CallAuth, Message: "the API key is refused", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{400, 413}, Words: []string{"prompt is too long", "context window", "context limit", "maximum context length"},
		Class: edgeagent.CallRequest, Message: "the prompt is too long for the model", Policy: shrink},
	{Status: []int{400, 403}, Words: []string{"content filtering policy", "content_filter", "usage policy"},
		Class: edgeagent.CallRequest, Message: "the request was refused for its content", Policy: llm.Policy{Then: llm.ThenRunbook}},
	{Status: []int{400, 404, 410}, Words: []string{"model:", "model_not_found", "unknown model", "has been deprecated", "has been retired"},
		Class: edgeagent.CallConfig, Message: "the model is not there, check model", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{400}, Words: []string{"anthropic-version"},
		Class: edgeagent.CallConfig, Message: "the API's version is refused, check base_url", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{401}, Class: edgeagent.CallAuth, Message: "the API key is refused", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{403}, Class: edgeagent.CallAuth, Message: "access is refused: key, region or model", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{404, 405, 410}, Class: edgeagent.CallConfig, Message: "no such path, check base_url and model", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{407}, Class: edgeagent.CallConfig, Message: "the proxy wants credentials, check proxy", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{408}, Class: edgeagent.CallTransient, Message: "the server timed out", Policy: again},
	{Status: []int{409}, Class: edgeagent.CallTransient, Message: "conflict", Policy: llm.Policy{Retries: 1}},
	{Status: []int{429}, Class: edgeagent.CallThrottled, Message: "too many requests", Policy: throttle},
	{Status: []int{413, 500, 503}, Words: []string{"rate limit", "rate_limit", "tokens per minute", "too many requests"},
		Class: edgeagent.CallThrottled, Message: "too many requests", Policy: throttle},
	{Status: []int{413}, Class: edgeagent.CallRequest, Message: "the request is too large", Policy: shrink},
	{Status: []int{529}, Class: edgeagent.CallTransient, Message: "the service is overloaded", Policy: again},
	{Status: []int{500, 502, 503, 504}, Class: edgeagent.CallTransient, Message: "the service failed", Policy: again},
	{Status: []int{511}, Class: edgeagent.CallUnreachable, Message: "a network portal wants a login", Policy: llm.Policy{Breaker: llm.Counted}},
	{Status: []int{400, 422}, Class: edgeagent.CallRequest, Message: "the request is refused"},
}

// statuses are what an error would have come with, had the stream not begun
// with 200.
var statuses = map[string]int{
	"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403, "not_found_error": 404,
	"request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}

// classify classifies a refusal; what no row names is judged by its status.
func classify(said llm.Said) *llm.Error {
	if fail := llm.Match(table, said); fail != nil {
		return fail
	}
	row := llm.Row{Class: edgeagent.CallRequest, Message: "the request is refused"}
	switch {
	case said.Status == http.StatusOK:
		row = llm.Row{Class: edgeagent.CallTransient, Message: "the service failed midway", Policy: llm.Policy{Retries: 1, Breaker: llm.Counted}}
	case said.Status >= 500:
		row = llm.Row{Class: edgeagent.CallTransient, Message: "the service failed", Policy: again}
	case said.Status < 400:
		return llm.Portal(said.Status, said.Text)
	}
	return llm.Classify([]llm.Row{row}, said)
}

// parseError reads an error body, or takes it as it is: a gateway between may
// have its own.
func parseError(status int, body []byte) llm.Said {
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &outer) != nil || len(outer.Error) == 0 {
		return llm.Said{Status: status, Text: string(body)}
	}
	return parseObject(status, outer.Error)
}

func parseObject(status int, object json.RawMessage) llm.Said {
	var inner struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(object, &inner) != nil {
		return llm.Said{Status: status, Text: string(object)}
	}
	if status == http.StatusOK {
		if real, known := statuses[inner.Type]; known {
			status = real
		}
	}
	return llm.Said{Status: status, Type: inner.Type, Text: inner.Message}
}

var lessons = []llm.Lesson{
	{Words: []string{"output_config", "output_format", "output format", "structured output", "json_schema", "schema"}, Means: uint32(noFormat)},
	{Words: []string{"temperature"}, Means: uint32(noTemperature)},
}
