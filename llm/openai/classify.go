package openai

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"edgeagent"
	"edgeagent/llm"
)

var (
	again    = llm.Policy{Retries: llm.AllAttempts, Breaker: llm.Counted}
	throttle = llm.Policy{Retries: llm.AllAttempts}
	shrink   = llm.Policy{Retries: 1, Shrink: true}
)

// table says what each refusal means. The wording comes before the status,
// because the status lies: 429 for an empty account, 400 for a bad key, 413
// for a rate limit. Words are the ones that the servers of this wire use.
var table = []llm.Row{
	{Words: []string{"insufficient_quota", "exceeded your current quota", "spend_limit", "credit balance", "credits are depleted",
		"billing_hard_limit", "billing_not_active", "out of credits", "insufficient credits", "insufficient balance", "prepayment"},
		Class: edgeagent.CallQuota, Message: "the account is out of credit or over its limit", Policy: llm.Policy{Hold: llm.HoldQuota}},
	{Status: []int{402}, Class: edgeagent.CallQuota, Message: "the account wants payment", Policy: llm.Policy{Hold: llm.HoldQuota}},
	{Status: []int{400, 401, 403}, Words: []string{"invalid_api_key", "api key not valid", "api_key_invalid", "incorrect api key", "invalid api key",
		"invalid x-api-key", "missing api key", "no api key"},
		Class: edgeagent.CallAuth, Message: "the API key is refused", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{400, 413, 422}, Words: []string{"context_length_exceeded", "maximum context length", "context length exceeded", "context window", "exceeds the context", "prompt is too long", "string too long"},
		Class: edgeagent.CallRequest, Message: "the prompt is too long for the model", Policy: shrink},
	{Status: []int{400, 404}, Words: []string{"api version", "api-version", "apiversion"},
		Class: edgeagent.CallConfig, Message: "the API's version is refused, check api_version", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{400, 403}, Words: []string{"content_filter", "content_policy", "responsibleaipolicyviolation", "content management policy"},
		Class: edgeagent.CallRequest, Message: "the request was refused for its content", Policy: llm.Policy{Then: llm.ThenRunbook}},
	{Status: []int{400, 404, 410}, Words: []string{"model_not_found", "model_decommissioned", "decommissioned", "unknown model", "model_not_available", "deploymentnotfound",
		"does not work with the specified model", "has been deprecated", "has been retired"},
		Class: edgeagent.CallConfig, Message: "the model is not there, check model", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{400, 404, 410}, All: []string{"model", "no longer available"},
		Class: edgeagent.CallConfig, Message: "the model is not there, check model", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{400, 404, 410}, All: []string{"model", "does not exist"},
		Class: edgeagent.CallConfig, Message: "the model is not there, check model", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{401}, Class: edgeagent.CallAuth, Message: "the API key is refused", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{403}, Class: edgeagent.CallAuth, Message: "access is refused: key, region or model", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{404, 405, 410}, Class: edgeagent.CallConfig, Message: "no such path, check base_url and model", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{407}, Class: edgeagent.CallConfig, Message: "the proxy wants credentials, check proxy", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{408}, Class: edgeagent.CallTransient, Message: "the server timed out", Policy: again},
	{Status: []int{409}, Class: edgeagent.CallTransient, Message: "conflict", Policy: llm.Policy{Retries: 1}},
	{Status: []int{200, 413, 500, 503}, Words: []string{"rate limit", "rate_limit", "tokens per minute", "requests per minute", "too many requests"},
		Class: edgeagent.CallThrottled, Message: "too many requests", Policy: throttle},
	{Status: []int{413}, Class: edgeagent.CallRequest, Message: "the request is too large", Policy: shrink},
	{Status: []int{429}, Class: edgeagent.CallThrottled, Message: "too many requests", Policy: throttle},
	{Status: []int{529}, Class: edgeagent.CallTransient, Message: "the service is overloaded", Policy: again},
	{Status: []int{500, 502, 503, 504}, Class: edgeagent.CallTransient, Message: "the service failed", Policy: again},
	{Status: []int{511}, Class: edgeagent.CallUnreachable, Message: "a network portal wants a login", Policy: llm.Policy{Breaker: llm.Counted}},
	{Status: []int{400, 422}, Class: edgeagent.CallRequest, Message: "the request is refused"},
}

// rest is for statuses that no row names; 200 is that of a stream which began
// well and then brought an error.
func rest(said llm.Said) *llm.Error {
	switch {
	case said.Status == http.StatusOK:
		return llm.Classify([]llm.Row{{Class: edgeagent.CallTransient, Message: "the service failed midway", Policy: llm.Policy{Retries: 1, Breaker: llm.Counted}}}, said)
	case said.Status >= 500:
		return llm.Classify([]llm.Row{{Class: edgeagent.CallTransient, Message: "the service failed", Policy: again}}, said)
	case said.Status >= 400:
		return llm.Classify([]llm.Row{{Class: edgeagent.CallRequest, Message: "the request is refused"}}, said)
	default:
		return llm.Portal(said.Status, said.Text)
	}
}

func classify(said llm.Said) *llm.Error {
	if fail := llm.Match(table, said); fail != nil {
		return fail
	}
	return rest(said)
}

// parseError reads the error object in the shapes that are met: an object in
// "error", a string there, a list of one, or a bare message.
func parseError(status int, body []byte) llm.Said {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		body = list[0]
	}
	var outer struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return llm.Said{Status: status, Text: string(body)}
	}
	var plain string
	if json.Unmarshal(outer.Error, &plain) == nil {
		return llm.Said{Status: status, Text: plain}
	}
	if len(outer.Error) == 0 {
		text := outer.Message
		if text == "" {
			text = string(outer.Detail)
		}
		return llm.Said{Status: status, Text: text}
	}
	return parseObject(status, outer.Error)
}

func parseObject(status int, object json.RawMessage) llm.Said {
	var inner struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Status  any    `json:"status"`
		Code    any    `json:"code"`
		Param   any    `json:"param"`
		Inner   struct {
			Code   string                     `json:"code"`
			Result map[string]json.RawMessage `json:"content_filter_result"`
		} `json:"innererror"`
	}
	if json.Unmarshal(object, &inner) != nil {
		return llm.Said{Status: status, Text: string(object)}
	}
	said := llm.Said{Status: status, Text: inner.Message + filtered(inner.Inner.Result), Type: cmp.Or(inner.Type, inner.Inner.Code)}
	switch code := inner.Code.(type) {
	case string:
		said.Code = code
	case float64: // Gemini and OpenRouter put the status here, also in a stream that began with 200
		if said.Code, _ = inner.Status.(string); status == http.StatusOK && code >= 400 && code < 600 {
			said.Status = int(code)
		}
	}
	if n, err := strconv.Atoi(said.Code); err == nil && status == http.StatusOK && n >= 400 && n < 600 {
		said.Status = n
	}
	if param, ok := inner.Param.(string); ok && said.Code == "" {
		said.Code = param
	}
	return said
}

// filtered names what a content filter objected to: on a plant that is nearly
// always a mistake, and the word tells which alarm text it was.
func filtered(result map[string]json.RawMessage) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(result)) {
		var verdict struct {
			Filtered bool `json:"filtered"`
		}
		if json.Unmarshal(result[name], &verdict) == nil && verdict.Filtered { // some categories have another shape
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " [" + strings.Join(names, ", ") + "]"
}

var lessons = []llm.Lesson{
	{Words: []string{"max_completion_tokens"}, Means: uint32(completionTokens)},
	{Words: []string{"stream_options", "include_usage"}, Means: uint32(noStreamOptions)},
	{Words: []string{"temperature"}, Means: uint32(noTemperature)},
	{Words: []string{"json_schema", "response_format", "response_schema", "guided"}, Means: uint32(noSchema)},
	{Words: []string{"json_object", "response_format", "response_schema", "json mode"}, Means: uint32(noFormat)},
}
