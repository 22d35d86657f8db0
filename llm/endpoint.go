package llm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"edgeagent"
)

// EndpointOptions describe the API of a provider that is asked by plain HTTP
// with a key.
type EndpointOptions struct {
	BaseURL    string
	Key        func() (string, error)          // nil: no key is sent
	Sign       func(h http.Header, key string) // puts the key where the API wants it; also called without one, with ""
	Classify   func(Said) *Error               // what a refusal means
	Parse      func(status int, body []byte) Said
	FirstToken time.Duration // from the request to the first piece of the answer [15s]
	Stall      time.Duration // between two pieces [10s]
	Transport  TransportOptions
}

// Endpoint sends the requests of one provider: one HTTP request a call, no
// retry, no redirect, the key in no message. It is safe for concurrent use.
type Endpoint struct {
	o    EndpointOptions
	line *Line
}

// What a cloud is waited for; a model on a small computer is given longer by
// first_token_timeout and stall_timeout.
const (
	cloudFirstToken = 15 * time.Second
	cloudStall      = 10 * time.Second
	probeTimeout    = 5 * time.Second // a whole probe
)

// NewEndpoint returns an endpoint that has not touched the network nor a file yet.
func NewEndpoint(o EndpointOptions) *Endpoint {
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	if o.FirstToken <= 0 {
		o.FirstToken = cloudFirstToken
	}
	if o.Stall <= 0 {
		o.Stall = cloudStall
	}
	return &Endpoint{o: o, line: NewLine(o.Transport)}
}

// Line returns what the endpoint's connections are made by.
func (e *Endpoint) Line() *Line { return e.line }

// CloseIdleConnections makes the next request dial.
func (e *Endpoint) CloseIdleConnections() { e.line.CloseIdleConnections() }

// Ask posts body to path and reads the streamed answer by w. id goes along, so
// that what the provider logs can be found in the job.
func (e *Endpoint) Ask(ctx context.Context, path, id string, body any, w Wire) (Answer, *Error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return Answer{}, Unsent("write the request", err)
	}
	ctx, watch := NewWatch(ctx, e.o.FirstToken, e.o.Stall)
	defer watch.Stop()
	resp, key, fail := e.send(ctx, http.MethodPost, path, id, raw)
	if fail != nil {
		return Answer{}, fail
	}
	defer func() { _ = resp.Body.Close() }()
	a, fail := e.Read(ctx, resp, NewHeard(w, key, watch))
	if fail != nil {
		return Answer{}, e.finish(fail, resp)
	}
	return a, nil
}

// Probe gets path, on a fresh connection: free, and through the same name,
// route, certificate and key as a question. A missing path passes: not every
// server has a list of models, and the answer proves that an API is there. It
// bounds itself.
func (e *Endpoint) Probe(ctx context.Context, path string) error {
	e.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, key, fail := e.send(ctx, http.MethodGet, path, "", nil)
	if fail != nil {
		return fail
	}
	defer func() { _ = resp.Body.Close() }()
	if fail := e.judgeProbe(ctx, resp, key); fail != nil {
		return e.finish(fail, resp)
	}
	return nil
}

func (e *Endpoint) judgeProbe(ctx context.Context, resp *http.Response, key string) *Error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil {
		return Transport(ctx, err)
	}
	body = withoutKey(body, key)
	switch {
	case IsHTML(resp.Header.Get("Content-Type"), body):
		return e.refusal(resp, body)
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		return nil
	case resp.StatusCode < 500 && bytes.Contains(bytes.ToLower(body), []byte("missing scopes")):
		return nil // a key that may ask but not list: the question itself will tell
	case resp.StatusCode != http.StatusOK:
		return e.refusal(resp, body)
	case !json.Valid(body) && len(body) < MaxBody:
		return Portal(resp.StatusCode, "the list of models is not JSON")
	}
	return nil
}

func (e *Endpoint) send(ctx context.Context, method, path, id string, body []byte) (*http.Response, string, *Error) {
	key, fail := e.key()
	if fail != nil {
		return nil, "", fail
	}
	transport, err := e.line.Transport()
	if err != nil {
		return nil, key, Unsent("set up the connection", err)
	}
	req, err := e.request(ctx, method, path, id, body)
	if err != nil {
		return nil, key, Unsent("base_url", err)
	}
	e.o.Sign(req.Header, key)
	client := &http.Client{Transport: transport, CheckRedirect: KeepRedirect}
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	resp, err := client.Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		fail := Transport(ctx, err)
		if !connected.Load() {
			fail.neverThere()
		}
		e.line.Failed(fail)
		return nil, key, fail
	}
	return resp, key, nil
}

func (e *Endpoint) request(ctx context.Context, method, path, id string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.o.BaseURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// Without GetBody HTTP/2 cannot repeat by itself what a server has refused
	// after seeing it, and without Idempotency-Key neither can HTTP/1: such a
	// call would be paid but not counted.
	req.GetBody = nil
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("User-Agent", "edgeagent")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if id != "" {
		req.Header.Set("X-Client-Request-Id", id)
	}
	return req, nil
}

// key returns the key, or the hold that a missing one means: without it no
// request is sent, because a server answers 401 and counts it.
func (e *Endpoint) key() (string, *Error) {
	if e.o.Key == nil {
		return "", nil
	}
	key, err := e.o.Key()
	if key = strings.TrimSpace(key); err == nil && key == "" {
		err = errors.New("the API key is empty")
	}
	if err == nil && strings.ContainsFunc(key, notInAKey) {
		err = errors.New("the API key holds a blank, a line break or a character beyond ASCII: keep the key alone where api_key_file or api_key_env points")
	}
	if err != nil {
		return "", &Error{Class: edgeagent.CallAuth, Code: "no_key", Message: OneLine(err.Error()),
			Unsent: true, Policy: Policy{Hold: HoldKey}, Err: err}
	}
	return key, nil
}

// notInAKey reports characters that no header may hold, or no key does.
func notInAKey(r rune) bool { return r <= ' ' || r > '~' }

// withoutKey takes the key out of what a server says: some repeat it in their
// error. It comes before any shortening, which could leave half of it.
func withoutKey(body []byte, key string) []byte {
	if key == "" {
		return body
	}
	return bytes.ReplaceAll(body, []byte(key), []byte("[key]"))
}

// without is [withoutKey] for words that were read already.
func (s Said) without(key string) Said {
	clean := func(text string) string { return string(withoutKey([]byte(text), key)) }
	return Said{Status: s.Status, Code: clean(s.Code), Type: clean(s.Type), Text: clean(s.Text)}
}

// Read takes the whole answer from resp. The first byte of the body decides
// between a stream and a plain answer: servers that ignore "stream" exist, and
// so do wrong content types.
func (e *Endpoint) Read(ctx context.Context, resp *http.Response, h *Heard) (Answer, *Error) {
	h.Status, h.RequestID = resp.StatusCode, requestID(resp.Header)
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		if resp.StatusCode >= 400 { // its words cannot be read, its status can
			return Answer{}, e.refusal(resp, nil)
		}
		return Answer{}, Portal(resp.StatusCode, "it packs the answer ("+coding+"), which nobody asked for")
	}
	body := bufio.NewReader(&capped{r: resp.Body, left: MaxBody})
	first := peek(body)
	if resp.StatusCode != http.StatusOK || first == '<' || IsHTML(resp.Header.Get("Content-Type"), nil) {
		raw, err := io.ReadAll(body)
		if err != nil && resp.StatusCode < 300 {
			return Answer{}, Transport(ctx, err)
		}
		return Answer{}, e.refusal(resp, withoutKey(raw, h.key))
	}
	var err error
	if first == '{' || first == '[' {
		err = h.readWhole(body)
	} else {
		err = h.readStream(body)
	}
	if fail := h.judge(ctx, e.o.Classify, err); fail != nil {
		return Answer{}, fail
	}
	h.Text = h.text.String()
	return h.Answer, nil
}

// refusal classifies an answer that is no completion.
func (e *Endpoint) refusal(resp *http.Response, body []byte) *Error {
	status := resp.StatusCode
	if status >= 300 && status < 400 {
		return Portal(status, "redirects to "+resp.Header.Get("Location"))
	}
	if IsHTML(resp.Header.Get("Content-Type"), body) {
		if status < 400 || status == http.StatusForbidden || status == http.StatusNetworkAuthenticationRequired {
			return Portal(status, "")
		}
		return e.o.Classify(Said{Status: status, Text: "a page, not an API"})
	}
	return e.o.Classify(e.o.Parse(status, body))
}

// finish adds what the headers say.
func (e *Endpoint) finish(fail *Error, resp *http.Response) *Error {
	fail.RequestID = requestID(resp.Header)
	if fail.Status == 0 {
		fail.Status = resp.StatusCode
	}
	fail.RetryAfter = RetryAfter(resp.Header, time.Now())
	e.line.Failed(fail)
	return fail
}

// requestIDs are the headers in which providers name a request: OpenAI, Azure
// and its gateway, Anthropic.
var requestIDs = []string{"X-Request-Id", "Apim-Request-Id", "Request-Id"}

func requestID(h http.Header) string {
	for _, name := range requestIDs {
		if id := h.Get(name); id != "" {
			return OneLine(id[:min(len(id), 128)])
		}
	}
	return ""
}
