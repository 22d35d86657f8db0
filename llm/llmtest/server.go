// Package llmtest holds a scripted model server that speaks the real wires,
// and the conformance suite that every provider passes. The server misbehaves
// for real: over sockets, never by faking a client.
package llmtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Reply is one good answer of a model.
type Reply struct {
	Text      string
	TokensIn  int
	TokensOut int
	Finish    string // default stop
}

// Wire is one protocol as its servers write it.
type Wire struct {
	Name  string
	Path  string // of questions
	Base  string // what a client's base URL ends in
	probe func(r *http.Request, body []byte) bool
	reply func(w http.ResponseWriter, r Reply, whole bool)
	fail  func(status int, message string) string // an error's body
	list  string                                  // a good answer to a probe; empty: a probe is a question
}

// OpenAI is the chat completions wire, streamed.
var OpenAI = Wire{
	Name: "openai", Path: "/v1/chat/completions", Base: "/v1",
	probe: isGet, list: `{"object":"list","data":[{"id":"cloud-1"}]}`,
	reply: replyOpenAI,
	fail:  func(_ int, m string) string { return marshal(map[string]any{"error": map[string]any{"message": m}}) },
}

// Azure is the same wire as a deployment of Azure speaks it: under its own
// path, with the verdicts of the content filter, and the status as the code.
var Azure = Wire{
	Name: "azure", Path: "/openai/deployments/cloud-1/chat/completions",
	probe: isGet, list: `{"object":"list","data":[{"id":"cloud-1","status":"succeeded"}]}`,
	reply: replyAzure,
	fail: func(status int, m string) string {
		return marshal(map[string]any{"error": map[string]any{"code": strconv.Itoa(status), "message": m}})
	},
}

// Ollama is Ollama's chat wire, streamed.
var Ollama = Wire{
	Name: "ollama", Path: "/api/chat",
	probe: isOllamaProbe,
	reply: replyOllama,
	fail:  func(_ int, m string) string { return marshal(map[string]any{"error": m}) },
}

func isGet(r *http.Request, _ []byte) bool { return r.Method == http.MethodGet }

func isOllamaProbe(_ *http.Request, body []byte) bool {
	var req struct {
		Options struct {
			NumPredict int `json:"num_predict"`
		} `json:"options"`
	}
	return json.Unmarshal(body, &req) == nil && req.Options.NumPredict == 1
}

// pieces cuts a text so that it takes several chunks to say it.
func pieces(text string) []string {
	half := len(text) / 2
	return []string{text[:half], text[half:]}
}

func replyAzure(w http.ResponseWriter, r Reply, whole bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Apim-Request-Id", "req-1")
	_, _ = io.WriteString(w, `data: {"choices":[],"model":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}`+"\n\n")
	streamOpenAI(w, r, whole)
}

func replyOpenAI(w http.ResponseWriter, r Reply, whole bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Request-Id", "req-1")
	streamOpenAI(w, r, whole)
}

func streamOpenAI(w http.ResponseWriter, r Reply, whole bool) {
	event := func(v any) {
		_, _ = fmt.Fprintf(w, "data: %s\n\n", marshal(v))
		flush(w)
	}
	choice := func(text string, finish any) map[string]any {
		return map[string]any{"model": "cloud-1", "choices": []any{
			map[string]any{"index": 0, "delta": map[string]any{"content": text}, "finish_reason": finish}}}
	}
	for _, p := range pieces(r.Text) {
		event(choice(p, nil))
	}
	if !whole {
		return
	}
	event(choice("", finish(r)))
	event(map[string]any{"model": "cloud-1", "choices": []any{}, "usage": map[string]any{
		"prompt_tokens": r.TokensIn, "completion_tokens": r.TokensOut}})
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

func replyOllama(w http.ResponseWriter, r Reply, whole bool) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Request-Id", "req-1")
	line := func(v map[string]any) {
		v["model"] = "local-1"
		_, _ = fmt.Fprintf(w, "%s\n", marshal(v))
		flush(w)
	}
	for _, p := range pieces(r.Text) {
		line(map[string]any{"message": map[string]any{"role": "assistant", "content": p}, "done": false})
	}
	if !whole {
		return
	}
	line(map[string]any{"message": map[string]any{"role": "assistant", "content": ""}, "done": true, "done_reason": finish(r),
		"prompt_eval_count": r.TokensIn, "eval_count": r.TokensOut, "prompt_eval_duration": 1e9, "eval_duration": 2e9})
}

func finish(r Reply) string {
	if r.Finish == "" {
		return "stop"
	}
	return r.Finish
}

// marshal writes a value made of maps and texts, which cannot fail.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}"
	}
	return string(b)
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// Step answers one question.
type Step func(w http.ResponseWriter, r *http.Request)

// Say answers with r, whole.
func (wire Wire) Say(r Reply) Step {
	return func(w http.ResponseWriter, _ *http.Request) { wire.reply(w, r, true) }
}

// Refuse answers with a status and an error in the wire's shape; header holds
// pairs of name and value.
func (wire Wire) Refuse(status int, message string, header ...string) Step {
	return Raw(status, "application/json", wire.fail(status, message), header...)
}

// Cut begins an answer and breaks the connection.
func (wire Wire) Cut(text string) Step {
	return func(w http.ResponseWriter, _ *http.Request) {
		wire.reply(w, Reply{Text: text}, false)
		panic(http.ErrAbortHandler)
	}
}

// Leave begins an answer and ends it without having said that it is done.
func (wire Wire) Leave(text string) Step {
	return func(w http.ResponseWriter, _ *http.Request) { wire.reply(w, Reply{Text: text}, false) }
}

// Stall begins an answer and then says nothing more until the client leaves.
func (wire Wire) Stall(text string) Step {
	return func(w http.ResponseWriter, r *http.Request) {
		wire.reply(w, Reply{Text: text}, false)
		<-r.Context().Done()
	}
}

// Hang never answers.
func Hang() Step {
	return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
}

// Raw answers with exactly this.
func Raw(status int, contentType, body string, header ...string) Step {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Asked is a question as the server got it.
type Asked struct {
	At     time.Time
	Header http.Header
	Body   string
}

// Server answers questions by a script; its last step goes on for ever.
type Server struct {
	*httptest.Server
	wire Wire

	mu     sync.Mutex
	steps  []Step
	probe  Step
	asked  []Asked
	probes int
}

// NewServer starts a server that ends with the test.
func NewServer(t testing.TB, wire Wire, steps ...Step) *Server {
	t.Helper()
	s := &Server{wire: wire, steps: steps}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// BaseURL is what a client of the wire is given.
func (s *Server) BaseURL() string { return s.URL + s.wire.Base }

// OnProbe replaces the answer to probes, which are good by default.
func (s *Server) OnProbe(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probe = step
}

// Asked returns the questions so far, without probes.
func (s *Server) Asked() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Asked(nil), s.asked...)
}

// Probes returns how many probes there were.
func (s *Server) Probes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probes
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.next(r, body)(w, r)
}

func (s *Server) next(r *http.Request, body []byte) Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire.probe(r, body) {
		s.probes++
		if s.probe != nil {
			return s.probe
		}
		return s.goodProbe()
	}
	s.asked = append(s.asked, Asked{At: time.Now(), Header: r.Header.Clone(), Body: string(body)})
	if r.URL.Path != s.wire.Path || len(s.steps) == 0 {
		return Raw(http.StatusNotFound, "text/plain", "no such path "+r.URL.Path)
	}
	step := s.steps[0]
	if len(s.steps) > 1 {
		s.steps = s.steps[1:]
	}
	return step
}

func (s *Server) goodProbe() Step {
	if s.wire.list != "" {
		return Raw(http.StatusOK, "application/json", s.wire.list)
	}
	return s.wire.Say(Reply{Text: "ok", TokensIn: 10, TokensOut: 1, Finish: "length"})
}
