package openai

import (
	"encoding/json"

	"edgeagent/llm"
)

// dialect is a set of things a server does not understand. A server is asked
// in the newest manner first and remembered by its refusals.
type dialect uint32

const (
	noSchema         dialect = 1 << iota // response_format json_schema
	noFormat                             // response_format at all
	noStreamOptions                      // stream_options
	completionTokens                     // wants max_completion_tokens
	noTemperature                        // only its own temperature
	schemaName       = "diagnosis"
	roleSystem       = "system"
	roleUser         = "user"
	roleAssistant    = "assistant"
)

type chatRequest struct {
	Model               string         `json:"model"`
	Messages            []message      `json:"messages"`
	Stream              bool           `json:"stream"`
	StreamOptions       *streamOptions `json:"stream_options,omitempty"`
	MaxTokens           int            `json:"max_tokens,omitempty"`
	MaxCompletionTokens int            `json:"max_completion_tokens,omitempty"`
	Temperature         *float64       `json:"temperature,omitempty"`
	ResponseFormat      *format        `json:"response_format,omitempty"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type format struct {
	Type       string  `json:"type"`
	JSONSchema *schema `json:"json_schema,omitempty"`
}

type schema struct {
	Name   string          `json:"name"`
	Strict bool            `json:"strict"`
	Schema json.RawMessage `json:"schema"`
}

// completion builds the request in dialect d.
func completion(model string, r llm.Request, d dialect) chatRequest {
	req := chatRequest{Model: model, Messages: messages(r), Stream: true, ResponseFormat: responseFormat(r.Prompt.Schema, d)}
	if d&noStreamOptions == 0 {
		req.StreamOptions = &streamOptions{IncludeUsage: true}
	}
	if d&completionTokens == 0 {
		req.MaxTokens = r.MaxOutputTokens
	} else {
		req.MaxCompletionTokens = r.MaxOutputTokens
	}
	if d&noTemperature == 0 {
		req.Temperature = &r.Temperature
	}
	return req
}

func messages(r llm.Request) []message {
	m := []message{{roleSystem, r.Prompt.System}, {roleUser, r.Prompt.User}}
	if r.Repair != nil {
		m = append(m, message{roleAssistant, r.Repair.Answer}, message{roleUser, llm.RepairInstruction + r.Repair.Fault})
	}
	return m
}

func responseFormat(s json.RawMessage, d dialect) *format {
	switch {
	case len(s) == 0 || d&noFormat != 0:
		return nil
	case d&noSchema != 0:
		return &format{Type: "json_object"}
	default:
		return &format{Type: "json_schema", JSONSchema: &schema{Name: schemaName, Strict: true, Schema: s}}
	}
}
