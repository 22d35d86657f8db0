package anthropic

import (
	"encoding/json"

	"edgeagent/llm"
)

// dialect is a set of things a model does not take. It is asked in the newest
// manner first and remembered by its refusals.
type dialect uint32

const (
	noFormat      dialect = 1 << iota // output_config: older models, other servers of this wire
	noTemperature                     // only its own: newer models
)

type request struct {
	Model        string        `json:"model"`
	MaxTokens    int           `json:"max_tokens"`
	System       string        `json:"system"`
	Messages     []message     `json:"messages"`
	Stream       bool          `json:"stream"`
	Temperature  *float64      `json:"temperature,omitempty"`
	OutputConfig *outputConfig `json:"output_config,omitempty"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type outputConfig struct {
	Format format `json:"format"`
}

type format struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

// newRequest builds the request in dialect d.
func newRequest(model string, r llm.Request, d dialect) request {
	req := request{Model: model, MaxTokens: r.MaxOutputTokens, System: r.Prompt.System, Messages: messages(r), Stream: true}
	if d&noTemperature == 0 {
		req.Temperature = new(min(r.Temperature, 1)) // this wire's range ends at 1
	}
	if d&noFormat == 0 && len(r.Prompt.Schema) > 0 {
		req.OutputConfig = &outputConfig{format{Type: "json_schema", Schema: r.Prompt.Schema}}
	}
	return req
}

func messages(r llm.Request) []message {
	m := []message{{"user", r.Prompt.User}}
	if r.Repair != nil {
		m = append(m, message{"assistant", r.Repair.Answer}, message{"user", llm.RepairInstruction + r.Repair.Fault})
	}
	return m
}
