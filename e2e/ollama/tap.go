package ollama

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Tap stands between an agent and a server and keeps what is asked for: a
// server that is asked for two models, or for one with two sets of options, can
// hang for good.
type Tap struct {
	URL string

	mu     sync.Mutex
	wants  map[string]int // model and options of its process → requests
	asked  int            // questions, probes left out
	now    int
	most   int
	probes int
}

// NewTap listens before a server until the end of the test.
func NewTap(t *testing.T, server string) *Tap {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	tap := &Tap{wants: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.URL.Path == "/api/chat" {
			tap.begin(body)
			defer tap.end()
		}
		proxy.ServeHTTP(w, r)
	}))
	listener.Config.ErrorLog = nil
	t.Cleanup(listener.Close)
	tap.URL = listener.URL
	return tap
}

func (tap *Tap) begin(body []byte) {
	var r struct {
		Model   string
		Options map[string]any
	}
	_ = json.Unmarshal(body, &r)
	predict, _ := r.Options["num_predict"].(float64)
	for _, key := range []string{"num_predict", "temperature", "seed"} { // of the answer, not of the process
		delete(r.Options, key)
	}
	key, _ := json.Marshal(r)
	tap.mu.Lock()
	defer tap.mu.Unlock()
	tap.wants[string(key)]++
	if predict == 1 {
		tap.probes++
	} else {
		tap.asked++
	}
	tap.now++
	tap.most = max(tap.most, tap.now)
}

func (tap *Tap) end() {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	tap.now--
}

// Wants returns the different models with their options that were asked for, and
// how many requests were under way at the same time at most.
func (tap *Tap) Wants() (wants []string, most int) {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	for w := range tap.wants {
		wants = append(wants, w)
	}
	return wants, tap.most
}

// Asked returns how many questions there were, probes left out.
func (tap *Tap) Asked() int {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return tap.asked
}
