package llmtest

import (
	"cmp"
	"fmt"
	"net/http"
)

// Anthropic is the Messages API, streamed.
var Anthropic = Wire{
	Name: "anthropic", Path: "/v1/messages",
	probe: isGet, list: `{"data":[{"type":"model","id":"cloud-1"}],"has_more":false}`,
	reply: replyAnthropic,
	fail: func(status int, m string) string {
		return marshal(map[string]any{"type": "error", "request_id": "req-1",
			"error": map[string]any{"type": cmp.Or(anthropicTypes[status], "api_error"), "message": m}})
	},
}

var anthropicTypes = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
	413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error",
}

// anthropicStops are a reply's finish in the words of this wire.
var anthropicStops = map[string]string{"": "end_turn", "stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}

func replyAnthropic(w http.ResponseWriter, r Reply, whole bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Request-Id", "req-1")
	event := func(kind string, v map[string]any) {
		v["type"] = kind
		_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, marshal(v))
		flush(w)
	}
	usage := map[string]any{"input_tokens": r.TokensIn, "output_tokens": min(r.TokensOut, 1)}
	event("message_start", map[string]any{"message": map[string]any{"type": "message", "role": "assistant", "model": "cloud-1",
		"content": []any{}, "stop_reason": nil, "usage": usage}})
	event("content_block_start", map[string]any{"index": 0, "content_block": map[string]any{"type": "text", "text": ""}})
	event("ping", map[string]any{})
	for _, p := range pieces(r.Text) {
		event("content_block_delta", map[string]any{"index": 0, "delta": map[string]any{"type": "text_delta", "text": p}})
	}
	if !whole {
		return
	}
	event("content_block_stop", map[string]any{"index": 0})
	event("message_delta", map[string]any{"delta": map[string]any{"stop_reason": cmp.Or(anthropicStops[r.Finish], r.Finish), "stop_sequence": nil},
		"usage": map[string]any{"output_tokens": r.TokensOut}})
	event("message_stop", map[string]any{})
}
