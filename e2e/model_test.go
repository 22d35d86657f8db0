package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// model is a server that speaks a model's wire and can misbehave on it.
type model struct {
	t   *testing.T
	url string // base_url of the provider

	mu     sync.Mutex
	script func(w http.ResponseWriter, r *http.Request, body []byte) bool // true: answered already
	asked  []question
	probes int
	delay  time.Duration
}

type question struct {
	at        time.Time
	job, body string
}

// goodAnswer is a diagnosis that cites nothing, so that it fits every case.
const goodAnswer = `{"evidence":[],"summary":"The sensor is dirty.","causes":[{"cause":"dirty sensor","likelihood":"likely","evidence":[],"sources":[]}],` +
	`"checks":["Clean the sensor.","Check its alignment."],"urgency":"shift","missing":[],"insufficient_evidence":false}`

func newOpenAI(t *testing.T, l net.Listener) *model {
	t.Helper()
	m := &model{t: t, url: "http://" + l.Addr().String() + "/v1"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", m.ask(openAIAnswer))
	mux.HandleFunc("GET /v1/models", m.probe)
	serveUntilDone(t, l, mux)
	return m
}

func newOllama(t *testing.T, l net.Listener) *model {
	t.Helper()
	m := &model{t: t, url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/chat", m.ask(ollamaAnswer))
	serveUntilDone(t, l, mux)
	return m
}

func serveUntilDone(t *testing.T, l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

func (m *model) probe(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	m.probes++
	m.mu.Unlock()
	fmt.Fprint(w, `{"object":"list","data":[]}`)
}

func (m *model) ask(answer func(http.ResponseWriter, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		m.mu.Lock()
		if !strings.Contains(string(body), `"num_predict":1,`) && !strings.Contains(string(body), `"num_predict":1}`) {
			job, _, _ := strings.Cut(r.Header.Get("X-Client-Request-Id"), "/")
			m.asked = append(m.asked, question{time.Now(), job, string(body)})
		} else {
			m.probes++
		}
		script, delay := m.script, m.delay
		m.mu.Unlock()
		time.Sleep(delay)
		if script == nil || !script(w, r, body) {
			answer(w, goodAnswer)
		}
	}
}

// openAIAnswer streams an answer as a completions endpoint does.
func openAIAnswer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Request-Id", "req-e2e")
	half := len(text) / 2
	for _, part := range []string{text[:half], text[half:]} {
		chunk(w, map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{"content": part}}}, "model": "test-model"})
	}
	chunk(w, map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": "stop"}}, "model": "test-model"})
	chunk(w, map[string]any{"choices": []any{}, "model": "test-model",
		"usage": map[string]any{"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}})
	fmt.Fprint(w, "data: [DONE]\n\n")
}

func chunk(w http.ResponseWriter, v any) {
	data, _ := json.Marshal(v)
	fmt.Fprintf(w, "data: %s\n\n", data)
	w.(http.Flusher).Flush()
}

func ollamaAnswer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	line := func(content string, done bool) {
		v := map[string]any{"model": "test-local", "created_at": time.Now(), "message": map[string]any{"role": "assistant", "content": content}, "done": done}
		if done {
			v["done_reason"], v["prompt_eval_count"], v["eval_count"] = "stop", 900, 80
		}
		data, _ := json.Marshal(v)
		fmt.Fprintf(w, "%s\n", data)
		w.(http.Flusher).Flush()
	}
	line(text, false)
	line("", true)
}

// set installs a misbehaviour; nil is back to normal.
func (m *model) set(f func(http.ResponseWriter, *http.Request, []byte) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.script = f
}

// questions returns what was asked so far, probes left out.
func (m *model) questions() []question {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]question(nil), m.asked...)
}
