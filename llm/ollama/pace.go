package ollama

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"time"

	"edgeagent/llm"
)

// healthTime is how long a server that can only hang in its model takes for its
// version, at most.
const healthTime = 2 * time.Second

// Speed returns what was measured of the model so far.
func (c *Client) Speed() llm.Speed { return c.measured.Speed() }

// limits returns the times for a question of about so many tokens: what the
// model's speed leads to expect, never more than was configured.
func (c *Client) limits(promptTokens, answerTokens int) llm.Limits {
	l := c.measured.Speed().Limits(promptTokens, answerTokens)
	if l.FirstToken == 0 || l.FirstToken > c.o.FirstToken {
		l.FirstToken = c.o.FirstToken
	}
	return l
}

// timing returns how long the server took for an answer that it ended itself.
func (h *heard) timing() llm.Timing {
	m := h.last.Metrics
	return llm.Timing{
		PromptTokens: m.PromptEvalCount, Tokens: m.EvalCount, Load: m.LoadDuration, Prompt: m.PromptEvalDuration, Answering: m.EvalDuration,
		Wait: m.TotalDuration - m.LoadDuration - m.PromptEvalDuration - m.EvalDuration,
	}
}

// explain tells a model that hangs from a server that does. Ollama answers every
// other question in milliseconds while its scheduler has lost a runner: nobody
// who looks at it from outside would think of a restart.
func (c *Client) explain(ctx context.Context, transport http.RoundTripper, base *url.URL, fail *llm.Error) {
	if fail.Code != "first_token" && fail.Code != "stall" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("api", "version").String(), nil)
	if err != nil {
		return
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		fail.Code, fail.Message = "hangs", "Ollama is there, but its model hangs ("+fail.Message+"): restart Ollama"
	}
}

// threads is how many cores a model on this box may use: one is left for reading
// the PLCs. Of another box nothing is known, and 0 returned. It never changes,
// because a request with another number makes Ollama load the model anew.
func threads(base *url.URL) int {
	addr, err := netip.ParseAddr(base.Hostname())
	if base.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return 0
	}
	return max(1, runtime.NumCPU()-1)
}
