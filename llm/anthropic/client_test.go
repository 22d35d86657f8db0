package anthropic

import (
	"testing"

	"go.uber.org/goleak"

	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	llmtest.Run(t, llmtest.Anthropic, func(baseURL string) llm.Provider {
		c := New(Options{BaseURL: baseURL, Model: "cloud-1", APIKey: func() (string, error) { return "sk-secret", nil }})
		t.Cleanup(c.CloseIdleConnections)
		return c
	})
}

func TestTrust(t *testing.T) {
	llmtest.RunTrust(t, llmtest.Anthropic, func(baseURL string, o llm.TransportOptions) llm.Provider {
		c := New(Options{BaseURL: baseURL, Model: "cloud-1", Transport: o})
		t.Cleanup(c.CloseIdleConnections)
		return c
	})
}
