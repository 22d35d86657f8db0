// Package ollama asks a model on the box, or on a box nearby, through Ollama.
//
// Its client library is trusted with nothing but the wire: it returns no error
// for an empty 200, an empty 500 and an answer cut off cleanly, and it loses
// the headers. Success is an answer that says done, stop, and something.
//
// Ollama itself hangs for good, with every health check green, when requests
// with different runner options meet. So every request carries the same ones,
// and a probe is a real chat with them.
package ollama

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
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
	KeepAlive     time.Duration // how long the model stays loaded [30m]
	FirstToken    time.Duration // until the first token, loading included [240s]
	Stall         time.Duration // between tokens [20s]
	Threads       int           // 0: Ollama's choice

	CAFile         string // for a server behind TLS
	ClientCertFile string
	ClientKeyFile  string
}

// Client is an [llm.Provider].
type Client struct {
	o Options

	mu   sync.Mutex
	http *http.Transport // made at the first request
}

var _ llm.Provider = (*Client)(nil)

// seed makes the same case give the same answer.
const seed = 20_260

// New returns a client that has not touched the network yet.
func New(o Options) *Client {
	o.ContextTokens = cmp.Or(o.ContextTokens, 2048)
	o.KeepAlive = cmp.Or(o.KeepAlive, 30*time.Minute)
	o.FirstToken = cmp.Or(o.FirstToken, 240*time.Second)
	o.Stall = cmp.Or(o.Stall, 20*time.Second)
	return &Client{o: o}
}

// Ask sends one chat request, streamed, and returns the whole answer. Every
// error is an *[llm.Error].
func (c *Client) Ask(ctx context.Context, r llm.Request) (llm.Answer, error) {
	return c.chat(ctx, c.request(messages(r), r.Prompt.Schema, r.MaxOutputTokens, r.Temperature))
}

// Probe lets the model say one token, with the options of every other request:
// the only question whose answer proves that it works.
func (c *Client) Probe(ctx context.Context) error {
	c.CloseIdleConnections()
	_, err := c.chat(ctx, c.request([]api.Message{{Role: "user", Content: "ok"}}, nil, 1, 0))
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
	if c.o.Threads > 0 {
		options["num_thread"] = c.o.Threads
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

func (c *Client) chat(ctx context.Context, req *api.ChatRequest) (llm.Answer, error) {
	transport, err := c.transport()
	if err != nil {
		return llm.Answer{}, unsent("set up the connection", err)
	}
	return c.chatThrough(ctx, transport, req)
}

func (c *Client) chatThrough(ctx context.Context, transport http.RoundTripper, req *api.ChatRequest) (llm.Answer, error) {
	base, err := url.Parse(c.o.BaseURL)
	if err != nil || base.Host == "" {
		return llm.Answer{}, unsent("base_url", cmp.Or(err, errors.New("want http://HOST:PORT")))
	}
	ctx, watch := llm.NewWatch(ctx, c.o.FirstToken, c.o.Stall)
	defer watch.Stop()
	wire := &tap{next: transport, watch: watch}
	client := api.NewClient(base, &http.Client{Transport: wire, CheckRedirect: llm.KeepRedirect})
	heard := &heard{started: time.Now()}
	err = client.Chat(ctx, req, heard.add)
	fail := heard.judge(ctx, wire, err, c.o)
	if fail == nil {
		return heard.answer(wire), nil
	}
	if fail.Class == edgeagent.CallUnreachable || fail.Class == edgeagent.CallTransient {
		c.CloseIdleConnections()
	}
	return llm.Answer{}, fail
}

func (c *Client) transport() (*http.Transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		return c.http, nil
	}
	// No header timeout: a model on a small box is silent for minutes. The
	// watch counts until the first token instead.
	t, err := llm.NewTransport(llm.TransportOptions{CAFile: c.o.CAFile, ClientCertFile: c.o.ClientCertFile, ClientKeyFile: c.o.ClientKeyFile})
	if err != nil {
		return nil, err
	}
	c.http = t
	return t, nil
}

// CloseIdleConnections makes the next request dial.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

func unsent(what string, err error) *llm.Error {
	return &llm.Error{Class: edgeagent.CallConfig, Code: "config", Message: what + ": " + llm.OneLine(err.Error()),
		Unsent: true, Policy: llm.Policy{Hold: llm.HoldKey}, Err: err}
}

// heard grows from the pieces of an answer.
type heard struct {
	text    strings.Builder
	last    api.ChatResponse
	started time.Time
	first   time.Duration
}

func (h *heard) add(r api.ChatResponse) error {
	if h.first == 0 && r.Message.Content != "" {
		h.first = time.Since(h.started)
	}
	h.text.WriteString(r.Message.Content)
	h.last = r
	return nil
}

func (h *heard) answer(wire *tap) llm.Answer {
	m := h.last.Metrics
	return llm.Answer{
		Text: h.text.String(), TokensIn: m.PromptEvalCount, TokensOut: m.EvalCount, Model: h.last.Model,
		Status: wire.status, RequestID: wire.requestID(), Finish: h.last.DoneReason,
		FirstToken: h.first, Load: m.LoadDuration, PromptEval: m.PromptEvalDuration, Eval: m.EvalDuration,
	}
}
