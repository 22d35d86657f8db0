package openai

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"edgeagent"
	"edgeagent/llm"
)

// chunk is one event of a stream, and with Message in its choices also a whole
// answer of a server that does not stream.
type chunk struct {
	Model   string          `json:"model"`
	Choices []choice        `json:"choices"`
	Usage   *usage          `json:"usage"`
	Error   json.RawMessage `json:"error"`
}

type choice struct {
	Index        int    `json:"index"`
	Delta        part   `json:"delta"`
	Message      part   `json:"message"`
	FinishReason string `json:"finish_reason"`
}

type part struct {
	Content string `json:"content"`
	Refusal string `json:"refusal"`
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	Details          struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// errTooLong ends the reading of an answer beyond [llm.MaxBody].
var errTooLong = errors.New("answer larger than 1 MiB")

// answer grows from chunks.
type answer struct {
	llm.Answer
	text    strings.Builder
	refusal strings.Builder
	key     string // to be kept out of errors
	finish  string // the server's own word: stop, length, …
	done    bool   // the server said that it is whole
}

// read takes the whole answer from resp. The first byte of the body decides
// between a stream and a plain answer: servers that ignore "stream" exist, and
// so do wrong content types.
func (c *Client) read(ctx context.Context, resp *http.Response, key string, watch *llm.Watch) (llm.Answer, *llm.Error) {
	watch.Alive()
	body := bufio.NewReader(&capped{r: io.TeeReader(resp.Body, alive{watch}), left: llm.MaxBody})
	first := peek(body)
	if resp.StatusCode != http.StatusOK || first == '<' || llm.IsHTML(resp.Header.Get("Content-Type"), nil) {
		raw, err := io.ReadAll(body)
		if err != nil && resp.StatusCode < 300 {
			return llm.Answer{}, llm.Transport(ctx, err)
		}
		return llm.Answer{}, refusal(resp, redact(raw, key))
	}
	a := &answer{key: key}
	a.Status, a.RequestID = resp.StatusCode, requestID(resp.Header)
	var err error
	if first == '{' || first == '[' {
		err = a.readWhole(body)
	} else {
		err = a.readStream(body)
	}
	if fail := a.judge(ctx, err); fail != nil {
		return llm.Answer{}, a.account(fail)
	}
	a.Text = a.text.String()
	return a.Answer, nil
}

func peek(r *bufio.Reader) byte {
	for n := 1; ; n++ {
		b, err := r.Peek(n)
		if err != nil || n >= 1024 {
			return 0
		}
		if c := b[n-1]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
}

func (a *answer) readWhole(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var whole chunk
	if err := json.Unmarshal(raw, &whole); err != nil {
		return io.ErrUnexpectedEOF
	}
	a.done = true
	return a.add(whole)
}

// readStream reads server-sent events until [DONE] or the end.
func (a *answer) readStream(r *bufio.Reader) error {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err // before the half line, which would only look cut
		}
		if data, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:")); found {
			if data = bytes.TrimSpace(data); string(data) == "[DONE]" {
				a.done = true
				return nil
			}
			if err := a.addEvent(data); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil // whether it was whole, a.done says
		}
	}
}

func (a *answer) addEvent(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	var event chunk
	if err := json.Unmarshal(data, &event); err != nil {
		return io.ErrUnexpectedEOF
	}
	return a.add(event)
}

// inStream is an error that arrived where a piece of the answer was due.
type inStream struct{ said llm.Said }

func (e inStream) Error() string { return e.said.Text }

func (a *answer) add(c chunk) error {
	if len(c.Error) > 0 && string(c.Error) != "null" {
		return inStream{parseError(http.StatusOK, []byte(`{"error":`+string(redact(c.Error, a.key))+`}`))}
	}
	if c.Model != "" {
		a.Model = c.Model
	}
	if c.Usage != nil {
		a.TokensIn, a.TokensOut, a.CachedIn = c.Usage.PromptTokens, c.Usage.CompletionTokens, c.Usage.Details.CachedTokens
	}
	for _, choice := range c.Choices {
		if choice.Index == 0 {
			a.addChoice(choice)
		}
	}
	return nil
}

func (a *answer) addChoice(c choice) {
	a.text.WriteString(c.Delta.Content + c.Message.Content)
	a.refusal.WriteString(c.Delta.Refusal + c.Message.Refusal)
	if c.FinishReason != "" {
		a.finish = c.FinishReason
	}
}

// judge says whether what was read is an answer. A server that closes cleanly
// without having said that it is finished has been cut.
func (a *answer) judge(ctx context.Context, err error) *llm.Error {
	var mid inStream
	switch {
	case errors.As(err, &mid):
		return inStreamFailure(mid.said)
	case errors.Is(err, errTooLong):
		return &llm.Error{Class: edgeagent.CallOutput, Code: "too_long", Message: errTooLong.Error(), Policy: llm.Policy{Breaker: llm.Healthy}, Billable: true, Err: err}
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && !a.done && a.finish == "":
		return &llm.Error{Class: edgeagent.CallTransient, Code: "cut", Message: "the answer was cut off",
			Policy: llm.Policy{Retries: 1, Breaker: llm.Counted}, Billable: true, Err: err}
	case err != nil:
		return llm.Transport(ctx, err)
	}
	return a.judgeFinish()
}

func (a *answer) judgeFinish() *llm.Error {
	useless := func(code, message string, p llm.Policy) *llm.Error {
		p.Breaker = llm.Healthy
		return &llm.Error{Class: edgeagent.CallOutput, Code: code, Message: message, Policy: p, Billable: true}
	}
	switch {
	case a.finish == "content_filter":
		return useless("content_filter", "the answer was withheld for its content", llm.Policy{Then: llm.ThenRunbook})
	case a.refusal.Len() > 0:
		return useless("refusal", "the model refused: "+llm.OneLine(a.refusal.String()), llm.Policy{Then: llm.ThenRunbook})
	case a.finish == "length":
		return useless("length", "the answer was longer than allowed", llm.Policy{Retries: 1, Grow: true})
	case strings.TrimSpace(a.text.String()) == "":
		return useless("empty", "the answer was empty", llm.Policy{Retries: 1})
	}
	return nil
}

// inStreamFailure classifies an error object in a stream that began with 200.
func inStreamFailure(said llm.Said) *llm.Error {
	fail := llm.Match(table, said)
	if fail == nil {
		fail = llm.Classify(nil, said)
		fail.Message = "the service failed midway: " + llm.OneLine(said.Text)
	}
	fail.Billable = true
	return fail
}

// account adds what was received and used before the failure: a cut stream is
// billed all the same.
func (a *answer) account(fail *llm.Error) *llm.Error {
	fail.Raw = a.text.String()
	fail.TokensIn, fail.TokensOut, fail.CachedIn = a.TokensIn, a.TokensOut, a.CachedIn
	return fail
}

// alive tells the watch of every byte.
type alive struct{ watch *llm.Watch }

func (a alive) Write(p []byte) (int, error) {
	if len(p) > 0 {
		a.watch.Alive()
	}
	return len(p), nil
}

// capped fails beyond its limit, where io.LimitReader would pretend an end.
type capped struct {
	r    io.Reader
	left int
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
