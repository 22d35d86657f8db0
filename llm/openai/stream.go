package openai

import (
	"encoding/json"
	"net/http"

	"edgeagent/llm"
)

// chunk is one event of a stream, and with Message in its choices also a whole
// answer of a server that does not stream.
type chunk struct {
	Model   string          `json:"model"`
	Choices []choice        `json:"choices"`
	Usage   *usage          `json:"usage"`
	Error   json.RawMessage `json:"error"`
}

type choice struct {
	Index        int    `json:"index"`
	Delta        part   `json:"delta"`
	Message      part   `json:"message"`
	FinishReason string `json:"finish_reason"`
}

type part struct {
	Content string `json:"content"`
	Refusal string `json:"refusal"`

	// What a model says to itself, as servers name it.
	Reasoning        string `json:"reasoning"`
	ReasoningContent string `json:"reasoning_content"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	Details          struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// wire is the [llm.Wire] of chat completions.
type wire struct{}

// Event implements [llm.Wire].
func (wire) Event(h *llm.Heard, data []byte) error {
	if string(data) == "[DONE]" {
		h.Done = true
		return nil
	}
	return wire{}.Whole(h, data)
}

// Whole implements [llm.Wire].
func (wire) Whole(h *llm.Heard, body []byte) error {
	var c chunk
	if json.Unmarshal(body, &c) != nil {
		return llm.ErrCut
	}
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return llm.Midway{Said: parseError(http.StatusOK, []byte(`{"error":`+string(c.Error)+`}`))}
	}
	if c.Model != "" {
		h.Model = c.Model
	}
	if c.Usage != nil {
		h.TokensIn, h.TokensOut, h.CachedIn = c.Usage.PromptTokens, c.Usage.CompletionTokens, c.Usage.Details.CachedTokens
	}
	for _, choice := range c.Choices {
		if choice.Index == 0 {
			choice.add(h)
		}
	}
	return nil
}

func (c choice) add(h *llm.Heard) {
	for _, p := range []part{c.Delta, c.Message} {
		h.Think(p.Reasoning + p.ReasoningContent)
		h.Say(p.Content)
		h.Refuse(p.Refusal)
	}
	if c.FinishReason != "" {
		h.Finish = c.FinishReason
	}
}
