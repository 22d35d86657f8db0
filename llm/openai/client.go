// Package openai asks models that speak the chat completions wire of OpenAI:
// its own, Azure's deployments, and the many servers that imitate it.
//
// It is plain net/http behind an [llm.Endpoint]: one request an Ask, no retry,
// no redirect. It never sends an Idempotency-Key, because net/http then repeats
// a POST by itself when a pooled connection breaks, and such a call would be
// paid but not counted.
//
// [llm.Router] calls it, several jobs and a prober at a time. What it has learned
// of a server's dialect is in memory alone: after kill -9 it costs one refused,
// unpaid request again.
package openai

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"edgeagent/llm"
)

// Options of a [Client].
type Options struct {
	BaseURL    string                 // ends in /v1 for OpenAI; of the resource for Azure
	Model      string                 // for Azure the name of the deployment
	APIKey     func() (string, error) // nil: no key is sent
	APIVersion string                 // of Azure; empty: the server is not Azure's

	FirstToken time.Duration // from the request to the first piece of the answer [15s]
	Stall      time.Duration // between two pieces [10s]
	Transport  llm.TransportOptions
}

// Client is an [llm.Provider].
type Client struct {
	o       Options
	api     *llm.Endpoint
	dialect llm.Dialect // what this server turned out not to understand
}

var _ llm.Provider = (*Client)(nil)

// New returns a client that has not touched the network nor a file yet.
func New(o Options) *Client {
	sign := bearer
	if o.APIVersion != "" {
		sign = apiKey
	}
	return &Client{o: o, api: llm.NewEndpoint(llm.EndpointOptions{
		BaseURL: o.BaseURL, Key: o.APIKey, Sign: sign, Classify: classify, Parse: parseError,
		FirstToken: o.FirstToken, Stall: o.Stall, Transport: o.Transport,
	})}
}

func bearer(h http.Header, key string) {
	if key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
}

// apiKey is Azure's header: as a bearer it takes tokens of its directory alone.
func apiKey(h http.Header, key string) {
	if key != "" {
		h.Set("Api-Key", key)
	}
}

// Ask sends one completion request, streamed, and returns the whole answer.
// Every error is an *[llm.Error].
func (c *Client) Ask(ctx context.Context, r llm.Request) (llm.Answer, error) {
	d := dialect(c.dialect.Now())
	a, fail := c.api.Ask(ctx, c.completions(), r.ID, completion(c.o.Model, r, d), wire{})
	if fail != nil {
		c.dialect.Learn(uint32(d), lessons, fail)
		return llm.Answer{}, fail
	}
	c.dialect.Answered(uint32(d))
	return a, nil
}

// Probe asks for the list of models: free, and through the same name, route,
// certificate and key as a completion, on a fresh connection. It bounds itself.
func (c *Client) Probe(ctx context.Context) error { return c.api.Probe(ctx, c.models()) }

// CloseIdleConnections makes the next request dial.
func (c *Client) CloseIdleConnections() { c.api.CloseIdleConnections() }

func (c *Client) completions() string {
	if c.o.APIVersion == "" {
		return "/chat/completions"
	}
	return "/openai/deployments/" + url.PathEscape(c.o.Model) + "/chat/completions" + c.version()
}

func (c *Client) models() string {
	if c.o.APIVersion == "" {
		return "/models"
	}
	return "/openai/models" + c.version()
}

func (c *Client) version() string { return "?api-version=" + url.QueryEscape(c.o.APIVersion) }
