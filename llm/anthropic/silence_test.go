package anthropic

import (
	"net/http"
	"testing"
	"time"

	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

func TestSilence(t *testing.T) {
	llmtest.RunSilence(t, llmtest.Anthropic, func(first, stall time.Duration) (llm.Provider, func() (*http.Transport, error)) {
		c := New(Options{BaseURL: "http://model.test", Model: "cloud-1", FirstToken: first, Stall: stall})
		return c, c.api.Line().Transport
	})
}
