// Package openai asks models that speak the chat completions wire of OpenAI:
// its own, and the many servers that imitate it.
//
// It is plain net/http: one request an Ask, no retry, no redirect. It never
// sends an Idempotency-Key, because net/http then repeats a POST by itself
// when a pooled connection breaks, and such a call would be paid but not counted.
//
// [llm.Router] calls it, several jobs and a prober at a time. What it has learned
// of a server's dialect is in memory alone: after kill -9 it costs one refused,
// unpaid request again.
package openai

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"edgeagent"
	"edgeagent/llm"
)

// Options of a [Client].
type Options struct {
	BaseURL string // ends in /v1 for OpenAI
	Model   string
	APIKey  func() (string, error) // nil: no key is sent

	CAFile         string
	ClientCertFile string
	ClientKeyFile  string
	Proxy          string // URL, or "environment"
}

const (
	headerTimeout = 15 * time.Second // from the request to the answer's headers
	idleTimeout   = 10 * time.Second // between two pieces of the answer
	probeTimeout  = 5 * time.Second  // a whole probe
)

// Client is an [llm.Provider].
type Client struct {
	o       Options
	line    *llm.Line
	dialect atomic.Uint32 // what this server turned out not to understand
}

var _ llm.Provider = (*Client)(nil)

// New returns a client that has not touched the network nor a file yet.
func New(o Options) *Client {
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	return &Client{o: o, line: llm.NewLine(llm.TransportOptions{
		CAFile: o.CAFile, ClientCertFile: o.ClientCertFile, ClientKeyFile: o.ClientKeyFile, Proxy: o.Proxy, HeaderTimeout: headerTimeout,
	})}
}

// Ask sends one completion request, streamed, and returns the whole answer.
// Every error is an *[llm.Error].
func (c *Client) Ask(ctx context.Context, r llm.Request) (llm.Answer, error) {
	d := dialect(c.dialect.Load())
	body, err := json.Marshal(completion(c.o.Model, r, d))
	if err != nil {
		return llm.Answer{}, llm.Unsent("write the request", err)
	}
	ctx, watch := llm.NewWatch(ctx, 0, idleTimeout)
	defer watch.Stop()
	resp, key, err := c.send(ctx, http.MethodPost, "/chat/completions", r.ID, body)
	if err != nil {
		return llm.Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a, fail := c.read(ctx, resp, key, watch)
	if fail == nil {
		return a, nil
	}
	c.learn(fail, d)
	return llm.Answer{}, c.finish(fail, resp)
}

// Probe asks for the list of models: free, and through the same name, route,
// certificate and key as a completion, on a fresh connection. It bounds itself.
func (c *Client) Probe(ctx context.Context) error {
	c.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, key, err := c.send(ctx, http.MethodGet, "/models", "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if fail := judgeProbe(ctx, resp, key); fail != nil {
		return c.finish(fail, resp)
	}
	return nil
}

// judgeProbe lets a missing list pass: not every server has one, and the
// answer proves that an API is there.
func judgeProbe(ctx context.Context, resp *http.Response, key string) *llm.Error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, llm.MaxBody))
	if err != nil {
		return llm.Transport(ctx, err)
	}
	body = redact(body, key)
	switch {
	case llm.IsHTML(resp.Header.Get("Content-Type"), body):
		return refusal(resp, body)
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		return nil
	case resp.StatusCode != http.StatusOK:
		return refusal(resp, body)
	case !json.Valid(body) && len(body) < llm.MaxBody:
		return llm.Portal(resp.StatusCode, "the list of models is not JSON")
	}
	return nil
}

// CloseIdleConnections makes the next request dial.
func (c *Client) CloseIdleConnections() { c.line.CloseIdleConnections() }

func (c *Client) send(ctx context.Context, method, path, id string, body []byte) (*http.Response, string, error) {
	key, err := c.key()
	if err != nil {
		return nil, "", err
	}
	transport, err := c.line.Transport()
	if err != nil {
		return nil, key, llm.Unsent("set up the connection", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.o.BaseURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, key, llm.Unsent("base_url", err)
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("User-Agent", "edgeagent")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if id != "" {
		// Not Idempotency-Key: net/http would replay the request by itself.
		req.Header.Set("X-Client-Request-Id", id)
	}
	client := &http.Client{Transport: transport, CheckRedirect: llm.KeepRedirect}
	resp, err := client.Do(req)
	if err != nil {
		fail := llm.Transport(ctx, err)
		c.line.Failed(fail)
		return nil, key, fail
	}
	return resp, key, nil
}

// key returns the key, or the hold that a missing one means: without it no
// request is sent, because a server answers 401 and counts it.
func (c *Client) key() (string, error) {
	if c.o.APIKey == nil {
		return "", nil
	}
	key, err := c.o.APIKey()
	if key = strings.TrimSpace(key); err == nil && key == "" {
		err = errors.New("the API key is empty")
	}
	if err == nil && strings.ContainsFunc(key, notInAKey) {
		err = errors.New("the API key holds a blank, a line break or a character beyond ASCII: keep the key alone where api_key_file or api_key_env points")
	}
	if err != nil {
		return "", &llm.Error{Class: edgeagent.CallAuth, Code: "no_key", Message: llm.OneLine(err.Error()),
			Unsent: true, Policy: llm.Policy{Hold: llm.HoldKey}, Err: err}
	}
	return key, nil
}

// notInAKey reports characters that no header may hold, or no key does.
func notInAKey(r rune) bool { return r <= ' ' || r > '~' }

// redact takes the key out of what a server says: some repeat it in their
// error. It comes before any shortening, which could leave half of it.
func redact(body []byte, key string) []byte {
	if key == "" {
		return body
	}
	return bytes.ReplaceAll(body, []byte(key), []byte("[key]"))
}

// finish adds what the headers say.
func (c *Client) finish(fail *llm.Error, resp *http.Response) error {
	fail.RequestID = requestID(resp.Header)
	if fail.Status == 0 {
		fail.Status = resp.StatusCode
	}
	fail.RetryAfter = llm.RetryAfter(resp.Header, time.Now())
	c.line.Failed(fail)
	return fail
}

func requestID(h http.Header) string {
	id := cmp.Or(h.Get("X-Request-Id"), h.Get("Apim-Request-Id"), h.Get("Request-Id"))
	return llm.OneLine(id[:min(len(id), 128)])
}
