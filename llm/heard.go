package llm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"edgeagent"
)

// Wire understands the answers of one API.
type Wire interface {
	// Event adds one server-sent event, without its "data:".
	Event(h *Heard, data []byte) error
	// Whole adds an answer that was not streamed.
	Whole(h *Heard, body []byte) error
}

// Why an answer ended, in the words of the chat completions wire. Words that
// are not here are a model's stop.
const (
	FinishLength  = "length"
	FinishFilter  = "content_filter"
	FinishRefusal = "refusal"
	FinishContext = "context"
)

// ErrCut says that what arrived cannot be read to its end.
var ErrCut = io.ErrUnexpectedEOF

// errTooLong ends the reading of an answer beyond [MaxBody].
var errTooLong = errors.New("answer larger than 1 MiB")

// Midway is an error that arrived where a piece of the answer was due.
type Midway struct{ Said Said }

// Error returns the server's words.
func (e Midway) Error() string { return OneLine(e.Said.Text) }

// Heard is an answer as it grows.
type Heard struct {
	Answer
	Finish string // why it ended, one of the words above or any other; empty: not said
	Done   bool   // the server said that it is whole

	text    strings.Builder
	refusal strings.Builder
	wire    Wire
	key     string // to be kept out of errors
	watch   *Watch
}

// NewHeard returns an answer of which nothing has come yet, watched by watch.
func NewHeard(w Wire, key string, watch *Watch) *Heard {
	return &Heard{wire: w, key: key, watch: watch}
}

// Say adds a piece of the answer's text.
func (h *Heard) Say(text string) {
	h.text.WriteString(text)
	h.alive(text != "")
}

// Refuse adds a piece of the words by which a model refuses.
func (h *Heard) Refuse(text string) {
	h.refusal.WriteString(text)
	h.Unsaid += weight(text)
	h.alive(text != "")
}

// Think notes a piece that is not part of the answer: a model that reasons is
// slow, not silent.
func (h *Heard) Think(text string) {
	h.Unsaid += weight(text)
	h.alive(text != "")
}

// alive tells the watch. Comments and pings do not count: they come from a
// front end whose model may hang.
func (h *Heard) alive(spoke bool) {
	if spoke {
		h.watch.Alive()
	}
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

func (h *Heard) readWhole(r io.Reader) error {
	raw, err := io.ReadAll(io.TeeReader(r, pulse{h.watch}))
	if err != nil {
		return err
	}
	h.Done = true
	return h.wire.Whole(h, raw)
}

// pulse tells the watch of every byte of an answer that has no pieces.
type pulse struct{ watch *Watch }

func (p pulse) Write(b []byte) (int, error) {
	if len(b) > 0 {
		p.watch.Alive()
	}
	return len(b), nil
}

// readStream reads server-sent events until the wire says done or the end.
func (h *Heard) readStream(r *bufio.Reader) error {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err // before the half line, which would only look cut
		}
		data, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:"))
		if data = bytes.TrimSpace(data); found && len(data) > 0 {
			if err := h.wire.Event(h, data); err != nil || h.Done {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil // whether it was whole, Done and Finish say
		}
	}
}

// judge says whether what was read is an answer, and adds to a failure what was
// received and used before it: a cut stream is billed all the same. A server
// that closes cleanly without having said that it is finished has been cut.
func (h *Heard) judge(ctx context.Context, classify func(Said) *Error, err error) *Error {
	fail := h.failure(ctx, classify, err)
	if fail != nil {
		fail.Raw, fail.Unsaid = h.text.String(), h.Unsaid
		fail.TokensIn, fail.TokensOut, fail.CachedIn = h.TokensIn, h.TokensOut, h.CachedIn
	}
	return fail
}

func (h *Heard) failure(ctx context.Context, classify func(Said) *Error, err error) *Error {
	var mid Midway
	switch {
	case errors.As(err, &mid):
		fail := classify(mid.Said.without(h.key))
		fail.Billable = true
		return fail
	case errors.Is(err, errTooLong):
		return &Error{Class: edgeagent.CallOutput, Code: "too_long", Message: errTooLong.Error(), Policy: Policy{Breaker: Healthy}, Billable: true, Err: err}
	case errors.Is(err, ErrCut), err == nil && !h.Done && h.Finish == "":
		return &Error{Class: edgeagent.CallTransient, Code: "cut", Message: "the answer was cut off", Policy: once, Billable: true, Err: err}
	case err != nil:
		return Transport(ctx, err)
	}
	return h.judgeFinish()
}

func (h *Heard) judgeFinish() *Error {
	useless := func(code, message string, p Policy) *Error {
		p.Breaker = Healthy
		return &Error{Class: edgeagent.CallOutput, Code: code, Message: message, Policy: p, Billable: true}
	}
	switch {
	case h.Finish == FinishFilter:
		return useless(FinishFilter, "the answer was withheld for its content", Policy{Then: ThenRunbook})
	case h.refusal.Len() > 0:
		return useless(FinishRefusal, "the model refused: "+OneLine(h.refusal.String()), Policy{Then: ThenRunbook})
	case h.Finish == FinishRefusal:
		return useless(FinishRefusal, "the model refused", Policy{Then: ThenRunbook})
	case h.Finish == FinishLength:
		return useless(FinishLength, "the answer was longer than allowed", Policy{Retries: 1, Grow: true})
	case h.Finish == FinishContext:
		return useless(FinishContext, "the prompt leaves no room for the answer", Policy{Retries: 1, Shrink: true})
	case strings.TrimSpace(h.text.String()) == "":
		return useless("empty", "the answer was empty", Policy{Retries: 1})
	}
	return nil
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
