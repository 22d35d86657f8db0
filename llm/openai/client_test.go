package openai

import (
	"testing"

	"go.uber.org/goleak"

	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func conform(t *testing.T, wire llmtest.Wire, apiVersion string) {
	llmtest.Run(t, wire, func(baseURL string) llm.Provider {
		return client(t, Options{BaseURL: baseURL, APIVersion: apiVersion, APIKey: func() (string, error) { return "sk-secret", nil }})
	})
}

func TestConformance(t *testing.T) { conform(t, llmtest.OpenAI, "") }

func TestConformanceOfAzure(t *testing.T) { conform(t, llmtest.Azure, "2024-10-21") }

func TestWay(t *testing.T) {
	llmtest.RunTrust(t, llmtest.OpenAI, func(baseURL string, o llm.TransportOptions) llm.Provider {
		return client(t, Options{BaseURL: baseURL, Transport: o})
	})
}

func TestWayToAzure(t *testing.T) {
	llmtest.RunTrust(t, llmtest.Azure, func(baseURL string, o llm.TransportOptions) llm.Provider {
		return client(t, Options{BaseURL: baseURL, APIVersion: "2024-10-21", Transport: o})
	})
}
