package ollama

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent/llm/llmtest"
)

// The one word of a probe is in the model's cache: what it takes says nothing of
// how long a question will, and must not cut one off.
func TestProbesDoNotTeachThatReadingIsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probing atomic.Bool
		c := client(t, Options{BaseURL: "http://ollama.test"})
		llmtest.InMemory(t, c.line.Transport, func(w http.ResponseWriter, r *http.Request) {
			tokens, reading, answered, writing := 1280, 100*time.Second, 250, 25*time.Second // as a Pi 4 reads
			if probing.Load() {
				tokens, reading, answered, writing = 30, 120*time.Millisecond, 1, time.Millisecond
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(reading):
			}
			_, _ = fmt.Fprintf(w, `{"model":"m","message":{"role":"assistant","content":"{}"},"done":true,"done_reason":"stop","total_duration":%d,"load_duration":%d,"prompt_eval_count":%d,"prompt_eval_duration":%d,"eval_count":%d,"eval_duration":%d}`+"\n",
				reading+writing+50*time.Millisecond, 50*time.Millisecond, tokens, reading, answered, writing)
		})
		q := question
		q.Prompt.Tokens = 1280
		if _, err := c.Ask(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		probing.Store(true)
		for range 12 {
			if err := c.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		probing.Store(false)
		if _, err := c.Ask(t.Context(), q); err != nil {
			t.Errorf("after twelve probes a question of 100 s is cut off: %v; the model is said to read %.0f tokens a second", err, c.Speed().PromptTokensPerSecond)
		}
	})
}
