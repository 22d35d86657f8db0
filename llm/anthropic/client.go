// Package anthropic asks models through Anthropic's Messages API.
//
// It is plain net/http behind an [llm.Endpoint]: one request an Ask, no retry,
// no redirect. [llm.Router] calls it, several jobs and a prober at a time. What
// it has learned of a model is in memory alone: after kill -9 it costs one
// refused, unpaid request again.
package anthropic

import (
	"context"
	"net/http"
	"time"

	"edgeagent/llm"
)

// Options of a [Client].
type Options struct {
	BaseURL string // https://api.anthropic.com
	Model   string
	APIKey  func() (string, error) // nil: no key is sent

	FirstToken time.Duration // from the request to the first piece of the answer [15s]
	Stall      time.Duration // between two pieces [10s]
	Transport  llm.TransportOptions
}

// apiVersion is of the API's wire, not of a model.
const apiVersion = "2023-06-01"

// Client is an [llm.Provider].
type Client struct {
	o       Options
	api     *llm.Endpoint
	dialect llm.Dialect // what this model turned out not to take
}

var _ llm.Provider = (*Client)(nil)

// New returns a client that has not touched the network nor a file yet.
func New(o Options) *Client {
	return &Client{o: o, api: llm.NewEndpoint(llm.EndpointOptions{
		BaseURL: o.BaseURL, Key: o.APIKey, Sign: sign, Classify: classify, Parse: parseError,
		FirstToken: o.FirstToken, Stall: o.Stall, Transport: o.Transport,
	})}
}

func sign(h http.Header, key string) {
	h.Set("Anthropic-Version", apiVersion)
	if key != "" {
		h.Set("X-Api-Key", key)
	}
}

// Ask sends one message request, streamed, and returns the whole answer. Every
// error is an *[llm.Error].
func (c *Client) Ask(ctx context.Context, r llm.Request) (llm.Answer, error) {
	d := dialect(c.dialect.Now())
	a, fail := c.api.Ask(ctx, "/v1/messages", r.ID, newRequest(c.o.Model, r, d), wire{})
	if fail != nil {
		c.dialect.Learn(uint32(d), lessons, fail)
		return llm.Answer{}, fail
	}
	c.dialect.Answered(uint32(d))
	return a, nil
}

// Probe asks for the list of models: free, and through the same name, route,
// certificate and key as a question, on a fresh connection. It bounds itself.
func (c *Client) Probe(ctx context.Context) error { return c.api.Probe(ctx, "/v1/models?limit=1") }

// CloseIdleConnections makes the next request dial.
func (c *Client) CloseIdleConnections() { c.api.CloseIdleConnections() }
