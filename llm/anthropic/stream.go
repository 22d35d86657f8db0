package anthropic

import (
	"encoding/json"
	"net/http"

	"edgeagent/llm"
)

// event is one of a stream; with Content and StopReason at its top also a whole
// answer of a server that does not stream.
type event struct {
	Type    string          `json:"type"`
	Message *reply          `json:"message"`       // message_start
	Block   block           `json:"content_block"` // content_block_start
	Delta   delta           `json:"delta"`         // content_block_delta, message_delta
	Usage   *usage          `json:"usage"`         // message_delta
	Error   json.RawMessage `json:"error"`
}

type reply struct {
	Type       string          `json:"type"`
	Model      string          `json:"model"`
	Content    []block         `json:"content"`
	StopReason string          `json:"stop_reason"`
	Usage      *usage          `json:"usage"`
	Error      json.RawMessage `json:"error"`
}

type block struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Thinking string `json:"thinking"`
}

type delta struct {
	block
	StopReason string `json:"stop_reason"`
	Signature  string `json:"signature"`
}

// usage counts what was read from the cache, and written to it, beside the rest
// of the input; [llm.Answer] wants all of it in one number.
type usage struct {
	InputTokens   int `json:"input_tokens"`
	OutputTokens  int `json:"output_tokens"`
	CacheRead     int `json:"cache_read_input_tokens"`
	CacheCreation int `json:"cache_creation_input_tokens"`
}

// The events that mean something here; others, such as ping, pass.
const (
	messageStart = "message_start"
	messageDelta = "message_delta"
	messageStop  = "message_stop"
	blockStart   = "content_block_start"
	blockDelta   = "content_block_delta"
	failed       = "error"
)

// finishes are the stop reasons that are no model's own end.
var finishes = map[string]string{
	"max_tokens":                    llm.FinishLength,
	"refusal":                       llm.FinishRefusal,
	"model_context_window_exceeded": llm.FinishContext,
}

// wire is the [llm.Wire] of the Messages API.
type wire struct{}

// Event implements [llm.Wire].
func (wire) Event(h *llm.Heard, data []byte) error {
	var e event
	if json.Unmarshal(data, &e) != nil {
		return llm.ErrCut
	}
	switch e.Type {
	case failed:
		return midway(e.Error)
	case messageStart:
		if e.Message != nil {
			e.Message.begin(h)
		}
	case blockStart:
		e.Block.add(h)
	case blockDelta:
		e.Delta.add(h)
		h.Think(e.Delta.Signature)
	case messageDelta:
		e.Usage.add(h)
		finish(h, e.Delta.StopReason)
	case messageStop:
		h.Done = true
	}
	return nil
}

// Whole implements [llm.Wire].
func (wire) Whole(h *llm.Heard, body []byte) error {
	var r reply
	if json.Unmarshal(body, &r) != nil {
		return llm.ErrCut
	}
	if r.Type == failed || len(r.Error) > 0 && string(r.Error) != "null" {
		return midway(r.Error)
	}
	r.begin(h)
	for _, b := range r.Content {
		b.add(h)
	}
	finish(h, r.StopReason)
	return nil
}

func midway(object json.RawMessage) error {
	return llm.Midway{Said: parseObject(http.StatusOK, object)}
}

func (r reply) begin(h *llm.Heard) {
	if r.Model != "" {
		h.Model = r.Model
	}
	r.Usage.add(h)
}

func (b block) add(h *llm.Heard) {
	h.Think(b.Thinking)
	h.Say(b.Text)
}

// add books what is known so far: the counts of a stream are of all of it until
// then, and a later event may leave out what an earlier one said.
func (u *usage) add(h *llm.Heard) {
	if u == nil {
		return
	}
	h.TokensIn = max(h.TokensIn, u.InputTokens+u.CacheRead+u.CacheCreation)
	h.TokensOut = max(h.TokensOut, u.OutputTokens)
	h.CachedIn = max(h.CachedIn, u.CacheRead)
}

func finish(h *llm.Heard, reason string) {
	if reason == "" {
		return
	}
	h.Finish = reason
	if word, known := finishes[reason]; known {
		h.Finish = word
	}
}
