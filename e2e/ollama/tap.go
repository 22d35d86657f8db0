package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Tap stands between an agent and a server and keeps what is asked for: a
// server that is asked for two models, or for one with two sets of options, can
// hang for good.
type Tap struct {
	URL string

	mu     sync.Mutex
	wants  map[string]int // model and options of its process → requests
	asked  int            // questions, probes left out
	live   map[*request]bool
	most   int
	probes int
}

// request is one that is under way. The next one may come while the answer to
// somebody who has turned away, or has read all that matters, is still ending
// here: only two answers that are both listened to are two at a time.
type request struct {
	http.ResponseWriter

	tap    *Tap
	asker  context.Context
	beside int       // how many there were with it when another one came
	joined time.Time // when that was; zero: none came
	since  int       // parts of the answer that somebody listened to well after
}

// turning is how long it may take until it is seen here that an asker has gone.
const turning = 200 * time.Millisecond

// Unwrap shows the writer below, for what is flushed.
func (r *request) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *request) Write(part []byte) (int, error) {
	r.tap.mu.Lock()
	if !r.joined.IsZero() && time.Since(r.joined) > turning && r.asker.Err() == nil {
		r.since++
	}
	if r.since > 2 {
		r.tap.most = max(r.tap.most, r.beside)
	}
	r.tap.mu.Unlock()
	return r.ResponseWriter.Write(part)
}

// NewTap listens before a server until the end of the test.
func NewTap(t *testing.T, server string) *Tap {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	tap := &Tap{wants: map[string]int{}, live: map[*request]bool{}}
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
			one := tap.begin(r.Context(), w, body)
			defer tap.end(one)
			w = one
		}
		proxy.ServeHTTP(w, r)
	}))
	listener.Config.ErrorLog = nil
	t.Cleanup(listener.Close)
	tap.URL = listener.URL
	return tap
}

func (tap *Tap) begin(asker context.Context, w http.ResponseWriter, body []byte) *request {
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
	one := &request{ResponseWriter: w, tap: tap, asker: asker}
	tap.live[one] = true
	tap.most = max(tap.most, 1)
	for older := range tap.live {
		if older != one {
			older.beside, older.joined, older.since = len(tap.live), time.Now(), 0
		}
	}
	return one
}

func (tap *Tap) end(one *request) {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	delete(tap.live, one)
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
