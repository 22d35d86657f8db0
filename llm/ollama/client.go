// Package ollama asks a model on the box, or on a box nearby, through Ollama.
//
// Its client library is trusted with nothing but the wire: it returns no error
// for an empty 200, an empty 500 and an answer cut off cleanly, and it loses
// the headers. Success is an answer that says done, stop, and something.
//
// Ollama itself hangs for good, with every health check green, when requests
// with different runner options meet. So every request carries the same ones,
// and a probe is a real chat with them.
//
// [llm.Router] calls it, one request at a time, probes included. It keeps
// nothing: after kill -9 Ollama drops the request with its connection, and the
// first probe loads the model again.
package ollama

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"edgeagent"
	"edgeagent/llm"
)

// Options of a [Client]. Zero values mean the defaults in brackets.
type Options struct {
	BaseURL       string // http://127.0.0.1:11434
	Model         string
	ContextTokens int           // [2048]
	KeepAlive     time.Duration // how long the model stays loaded [10m]
	FirstToken    time.Duration // until the first token, loading included, at most [240s]; less once the speed is known
	Stall         time.Duration // between tokens [20s]
	Transport     llm.TransportOptions
}

// Client is an [llm.Provider].
type Client struct {
	o        Options
	line     *llm.Line
	measured llm.Measured
}

var _ llm.Provider = (*Client)(nil)

// probeTokens is what the template makes of a probe's one word, with room.
const probeTokens = 16

// seed makes the same case give the same answer.
const seed = 20_260

// New returns a client that has not touched the network yet.
func New(o Options) *Client {
	o.ContextTokens = cmp.Or(o.ContextTokens, 2048)
	o.KeepAlive = cmp.Or(o.KeepAlive, 10*time.Minute)
	o.FirstToken = cmp.Or(o.FirstToken, 240*time.Second)
	o.Stall = cmp.Or(o.Stall, 20*time.Second)
	// No header timeout: a model on a small box is silent for minutes. The watch
	// counts until the first token instead.
	return &Client{o: o, line: llm.NewLine(o.Transport)}
}

// Ask sends one chat request, streamed, and returns the whole answer. Every
// error is an *[llm.Error].
func (c *Client) Ask(ctx context.Context, r llm.Request) (llm.Answer, error) {
	tokens := r.Prompt.Tokens
	if r.Repair != nil {
		tokens += llm.EstimateTokens(r.Repair.Answer) + llm.EstimateTokens(r.Repair.Fault)
	}
	limits := c.limits(tokens, r.MaxOutputTokens)
	if limits.Total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limits.Total)
		defer cancel()
	}
	return c.chat(ctx, limits.FirstToken, c.request(messages(r), r.Prompt.Schema, r.MaxOutputTokens, r.Temperature))
}

// Probe lets the model say one token, with the options of every other request:
// the only question whose answer proves that it works.
func (c *Client) Probe(ctx context.Context) error {
	c.CloseIdleConnections()
	_, err := c.chat(ctx, c.limits(probeTokens, 1).FirstToken, c.request([]api.Message{{Role: "user", Content: "ok"}}, nil, 1, 0))
	var fail *llm.Error
	if errors.As(err, &fail) && fail.Class == edgeagent.CallOutput {
		return nil // one token is cut by its length, or is a blank
	}
	return err
}

func (c *Client) request(m []api.Message, format []byte, maxTokens int, temperature float64) *api.ChatRequest {
	yes, no := true, false
	options := map[string]any{
		"num_ctx": c.o.ContextTokens, "num_predict": maxTokens, "temperature": temperature, "seed": seed,
	}
	return &api.ChatRequest{
		Model: c.o.Model, Messages: m, Format: format, Options: options, Stream: &yes,
		KeepAlive: &api.Duration{Duration: c.o.KeepAlive},
		Truncate:  &no, // else a long prompt is cut without a word, and answered
		Shift:     &no,
		Think:     &api.ThinkValue{Value: false},
	}
}

func messages(r llm.Request) []api.Message {
	m := []api.Message{{Role: "system", Content: r.Prompt.System}, {Role: "user", Content: r.Prompt.User}}
	if r.Repair != nil {
		m = append(m, api.Message{Role: "assistant", Content: r.Repair.Answer},
			api.Message{Role: "user", Content: llm.RepairInstruction + r.Repair.Fault})
	}
	return m
}

func (c *Client) chat(ctx context.Context, first time.Duration, req *api.ChatRequest) (llm.Answer, error) {
	transport, err := c.line.Transport()
	if err != nil {
		return llm.Answer{}, llm.Unsent("set up the connection", err)
	}
	return c.chatThrough(ctx, transport, first, req)
}

func (c *Client) chatThrough(ctx context.Context, transport http.RoundTripper, first time.Duration, req *api.ChatRequest) (llm.Answer, error) {
	base, err := url.Parse(c.o.BaseURL)
	if err != nil || base.Host == "" {
		return llm.Answer{}, llm.Unsent("base_url", cmp.Or(err, errors.New("want http://HOST:PORT")))
	}
	if n := threads(base); n > 0 {
		req.Options["num_thread"] = n
	}
	ctx, watch := llm.NewWatch(ctx, first, c.o.Stall)
	defer watch.Stop()
	wire := &tap{next: transport, watch: watch}
	client := api.NewClient(base, &http.Client{Transport: wire, CheckRedirect: llm.KeepRedirect})
	heard := &heard{}
	err = client.Chat(ctx, req, heard.add)
	fail := heard.judge(ctx, wire, err, c.o)
	switch {
	case heard.last.Done:
		t := heard.timing()
		if req.Options["num_predict"] == 1 { // a probe: its one word is in the cache, and is no question's speed
			t.PromptTokens = 0
		}
		c.measured.Add(t)
	case fail != nil && (fail.Code == "first_token" || fail.Code == "timeout"):
		c.measured.Forget()
	}
	if fail == nil {
		return heard.answer(wire), nil
	}
	c.explain(ctx, transport, base, fail)
	c.line.Failed(fail)
	return llm.Answer{}, fail
}

// CloseIdleConnections makes the next request dial.
func (c *Client) CloseIdleConnections() { c.line.CloseIdleConnections() }

// heard grows from the pieces of an answer.
type heard struct {
	text strings.Builder
	last api.ChatResponse
}

func (h *heard) add(r api.ChatResponse) error {
	h.text.WriteString(r.Message.Content)
	h.last = r
	return nil
}

func (h *heard) answer(wire *tap) llm.Answer {
	return llm.Answer{
		Text: h.text.String(), TokensIn: h.last.PromptEvalCount, TokensOut: h.last.EvalCount, Model: h.last.Model,
		Status: wire.status, RequestID: wire.requestID(),
	}
}
