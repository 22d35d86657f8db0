package ollama

import (
	"testing"

	"go.uber.org/goleak"

	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	llmtest.Run(t, llmtest.Ollama, func(baseURL string) llm.Provider {
		c := New(Options{BaseURL: baseURL, Model: "local-1", ContextTokens: 2048})
		t.Cleanup(c.CloseIdleConnections)
		return c
	})
}

func TestWay(t *testing.T) {
	llmtest.RunTrust(t, llmtest.Ollama, func(baseURL string, o llm.TransportOptions) llm.Provider {
		c := New(Options{BaseURL: baseURL, Model: "local-1", Transport: o})
		t.Cleanup(c.CloseIdleConnections)
		return c
	})
}
