package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"edgeagent"
	"edgeagent/llm"
)

var (
	count  = llm.Policy{Retries: 1, Breaker: llm.Counted}
	shrink = llm.Policy{Retries: 1, Shrink: true}
)

// busyWait is how long a full queue of Ollama gets to shorten.
const busyWait = 2 * time.Second

// table says what each refusal means. Ollama answers 500 for what no retry can
// mend, so that the wording comes first.
var table = []llm.Row{
	{Words: []string{"exceeds the context length", "exceed_context_size", "exceeds the available context", "context length exceeded", "context limit"},
		Class: edgeagent.CallRequest, Message: "the prompt is too long for context_tokens", Policy: shrink},
	{Words: []string{"requires more system memory", "insufficient memory", "unable to allocate", "cudamalloc failed", "failed to allocate"},
		Class: edgeagent.CallConfig, Message: "the model does not fit into memory, choose a smaller one", Policy: llm.Policy{Hold: llm.HoldMemory, Breaker: llm.Counted}},
	{Words: []string{"invalid json schema", "failed to parse grammar", "invalid format", "failed to load model vocabulary required for format"},
		Class: edgeagent.CallRequest, Message: "the answer's schema is refused"},
	{All: []string{"option", "must be of type"}, Class: edgeagent.CallRequest, Message: "an option is refused"},
	{Status: []int{404}, All: []string{"model", "not found"},
		Class: edgeagent.CallConfig, Message: "the model is missing, copy it to the box", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Words: []string{"does not support chat", "does not support generate", "is not supported by this version", "unsupported model"},
		Class: edgeagent.CallConfig, Message: "the model cannot chat, choose another", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{503, 200}, Words: []string{"server busy", "maximum pending requests"},
		Class: edgeagent.CallThrottled, Message: "Ollama is busy", Policy: llm.Policy{Retries: llm.AllAttempts, Wait: busyWait, Queue: true}},
	{Status: []int{401, 403, 407}, Class: edgeagent.CallAuth, Message: "access is refused", Policy: llm.Policy{Hold: llm.HoldAuth}},
	{Status: []int{404, 405, 410}, Class: edgeagent.CallConfig, Message: "no such path, check base_url", Policy: llm.Policy{Hold: llm.HoldModel}},
	{Status: []int{429}, Class: edgeagent.CallThrottled, Message: "too many requests", Policy: llm.Policy{Retries: llm.AllAttempts}},
	{Status: []int{408, 499}, Class: edgeagent.CallTransient, Message: "the server gave up", Policy: count},
	{Status: []int{503}, Class: edgeagent.CallThrottled, Message: "Ollama is busy", Policy: llm.Policy{Retries: llm.AllAttempts, Wait: busyWait, Queue: true}},
	{Status: []int{500, 501, 502, 504, 505, 507, 508, 529}, Class: edgeagent.CallTransient, Message: "Ollama failed", Policy: count},
	{Status: []int{200}, Words: []string{"unexpected eof", "runner", "terminated", "signal"},
		Class: edgeagent.CallTransient, Message: "the model died midway, restart Ollama if it stays so", Policy: count},
	{Status: []int{200}, Class: edgeagent.CallTransient, Message: "Ollama failed midway", Policy: count},
	{Status: []int{400, 409, 413, 415, 422}, Class: edgeagent.CallRequest, Message: "the request is refused"},
	{Class: edgeagent.CallTransient, Message: "unexpected answer from Ollama", Policy: count},
}

// judge returns nil only for an answer that is whole and says something.
func (h *heard) judge(ctx context.Context, wire *tap, err error, o Options) *llm.Error {
	fail := h.failure(ctx, wire, err, o)
	if fail == nil {
		return nil
	}
	if fail.Status == 0 {
		fail.Status = wire.status
	}
	fail.RequestID, fail.RetryAfter = wire.requestID(), wire.retryAfter()
	fail.Raw = h.text.String()
	fail.TokensIn, fail.TokensOut = h.last.PromptEvalCount, h.last.EvalCount
	return fail
}

func (h *heard) failure(ctx context.Context, wire *tap, err error, o Options) *llm.Error {
	switch {
	case wire.status == 0:
		return llm.Transport(ctx, err)
	case wire.status >= 300 && wire.status < 400:
		return llm.Portal(wire.status, "redirects to "+wire.header.Get("Location"))
	case llm.IsHTML(wire.header.Get("Content-Type"), wire.head):
		return llm.Portal(wire.status, "")
	case wire.status != http.StatusOK: // also when err is nil: an empty 500
		return llm.Classify(table, llm.Said{Status: wire.status, Text: words(wire.head)})
	case err != nil:
		return midway(ctx, wire, err)
	}
	return h.finish(o)
}

// midway classifies an answer that began well.
func midway(ctx context.Context, wire *tap, err error) *llm.Error {
	switch {
	case wire.total >= llm.MaxBody: // the library's error is the half line
		return &llm.Error{Class: edgeagent.CallOutput, Code: "too_long", Message: errTooLong.Error(), Policy: llm.Policy{Breaker: llm.Healthy}, Err: err}
	case ctx.Err() != nil:
		return llm.Transport(ctx, err)
	case errors.Is(err, io.ErrUnexpectedEOF), strings.HasPrefix(err.Error(), "{"): // the library's error is the half line itself
		return cut(err)
	case isNetwork(err):
		return llm.Transport(ctx, err)
	}
	return llm.Match(table, llm.Said{Status: http.StatusOK, Text: err.Error()})
}

func isNetwork(err error) bool {
	var n interface{ Timeout() bool }
	return errors.As(err, &n)
}

func cut(err error) *llm.Error {
	return &llm.Error{Class: edgeagent.CallTransient, Code: "cut", Message: "the answer was cut off", Policy: count, Err: err}
}

// finish judges an answer without an error, which proves nothing.
func (h *heard) finish(o Options) *llm.Error {
	useless := func(code, message string, p llm.Policy) *llm.Error {
		p.Breaker = llm.Healthy
		return &llm.Error{Class: edgeagent.CallOutput, Code: code, Message: message, Policy: p}
	}
	switch {
	case !h.last.Done:
		return cut(nil)
	case h.last.DoneReason == "length" && h.last.PromptEvalCount >= o.ContextTokens:
		return &llm.Error{Class: edgeagent.CallRequest, Code: "context", Message: "the prompt is too long for context_tokens", Policy: shrink}
	case h.last.DoneReason == "length":
		return useless("length", "the answer was longer than allowed", llm.Policy{Retries: 1, Grow: true})
	case h.last.DoneReason != "stop":
		return cut(nil)
	case strings.TrimSpace(h.text.String()) == "":
		return useless("empty", "the answer was empty", llm.Policy{Retries: 1})
	case h.last.PromptEvalCount >= o.ContextTokens, // an old server cut it in silence
		h.last.PromptEvalCount+h.last.EvalCount > o.ContextTokens: // or forgot its beginning while answering
		return &llm.Error{Class: edgeagent.CallRequest, Code: "context", Message: "the prompt is too long for context_tokens", Policy: shrink}
	}
	return nil
}

// words returns the message of an error body, or the body.
func words(body []byte) string {
	var e api.StatusError
	if json.Unmarshal(body, &e) == nil && e.ErrorMessage != "" {
		return e.ErrorMessage
	}
	return string(body)
}
