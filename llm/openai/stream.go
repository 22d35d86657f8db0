package openai

import (
	"encoding/json"
	"math"
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
	Index        number `json:"index"`
	Delta        part   `json:"delta"`
	Message      part   `json:"message"`
	FinishReason string `json:"finish_reason"`
}

type part struct {
	Content content `json:"content"`
	Refusal string  `json:"refusal"`

	// What a model says to itself, as servers name it.
	Reasoning        string `json:"reasoning"`
	ReasoningContent string `json:"reasoning_content"`
}

type usage struct {
	PromptTokens     number `json:"prompt_tokens"`
	CompletionTokens number `json:"completion_tokens"`
	Details          struct {
		CachedTokens number `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// number is a whole number that a gateway may write as 12.0.
type number int

func (n *number) UnmarshalJSON(body []byte) error {
	var f float64
	err := json.Unmarshal(body, &f)
	if f >= math.MinInt32 && f <= math.MaxInt32 { // else no server has counted that
		*n = number(f)
	}
	return err
}

// content is a text, or a list of parts, as models send it that show how they reason.
type content struct{ text, refusal, thought string }

func (c *content) UnmarshalJSON(body []byte) error {
	if body[0] != '[' {
		return json.Unmarshal(body, &c.text)
	}
	var parts []struct {
		Text     string          `json:"text"`
		Refusal  string          `json:"refusal"`
		Thinking json.RawMessage `json:"thinking"`
	}
	err := json.Unmarshal(body, &parts)
	for _, p := range parts {
		c.text, c.refusal, c.thought = c.text+p.Text, c.refusal+p.Refusal, c.thought+string(p.Thinking)
	}
	return err
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
		h.TokensIn, h.TokensOut, h.CachedIn = int(c.Usage.PromptTokens), int(c.Usage.CompletionTokens), int(c.Usage.Details.CachedTokens)
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
		h.Think(p.Reasoning + p.ReasoningContent + p.Content.thought)
		h.Say(p.Content.text)
		h.Refuse(p.Refusal + p.Content.refusal)
	}
	if c.FinishReason != "" {
		h.Finish = c.FinishReason
	}
}
