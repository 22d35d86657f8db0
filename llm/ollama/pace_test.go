package ollama

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent/internal/retry"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

// measured answers as a model of 40 and 8 tokens a second that took 10 s to load.
func measured(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `{"model":"m","message":{"role":"assistant","content":"{}"},"done":true,"done_reason":"stop",`+
		`"total_duration":%d,"load_duration":%d,"prompt_eval_count":400,"prompt_eval_duration":%d,"eval_count":80,"eval_duration":%d}`+"\n",
		32*time.Second, 10*time.Second, 10*time.Second, 10*time.Second)
}

// A model that was measured is not waited for as long as one that was not; what
// was configured stays the ceiling.
func TestMeasuredSpeedLimitsTheWait(t *testing.T) {
	tests := []struct {
		name    string
		o       Options
		prompt  int
		learned bool
		want    time.Duration
	}{
		{"nothing measured", Options{}, 400, false, 240 * time.Second},
		{"a usual question", Options{}, 400, true, 66 * time.Second}, // 3 x (10 load + 2 wait + 10)
		{"a short one", Options{}, 10, true, time.Minute},
		{"a long one", Options{}, 4000, true, 240 * time.Second},
		{"configured less", Options{FirstToken: 30 * time.Second}, 400, true, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.o.BaseURL = "http://ollama.test"
				c := client(t, tt.o)
				step := measured
				llmtest.InMemory(t, c.line.Transport, func(w http.ResponseWriter, r *http.Request) { step(w, r) })
				if tt.learned {
					if _, err := c.Ask(t.Context(), question); err != nil {
						t.Fatal(err)
					}
					if s := c.Speed(); s.TokensPerSecond != 8 || s.PromptTokensPerSecond != 40 || s.Load != 10*time.Second || s.Wait != 2*time.Second {
						t.Errorf("measured %+v", s)
					}
				}
				step = llmtest.Hang()
				q := question
				q.Prompt.Tokens = tt.prompt
				start := time.Now()
				_, err := c.Ask(t.Context(), q)
				e := failure(t, err)
				if took := time.Since(start); took != tt.want+healthTime || e.Code != "first_token" {
					t.Errorf("given up after %v with %s, want %v and then the question whether the server is there", took, e.Code, tt.want)
				}
			})
		})
	}
}

// An answer that goes on and on ends when three times its time is over.
func TestEndlessAnswerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, Options{BaseURL: "http://ollama.test"})
		step := measured
		llmtest.InMemory(t, c.line.Transport, func(w http.ResponseWriter, r *http.Request) { step(w, r) })
		if _, err := c.Ask(t.Context(), question); err != nil {
			t.Fatal(err)
		}
		step = func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, begun)
				_ = http.NewResponseController(w).Flush()
				_ = retry.Sleep(r.Context(), time.Second)
			}
		}
		start := time.Now()
		_, err := c.Ask(t.Context(), question)
		e := failure(t, err)
		// 12 s of load and wait, half a second for 20 tokens, 350 tokens at 8 a second: three times.
		if took, want := time.Since(start), 168750*time.Millisecond; took != want || e.Code != "timeout" || e.Breaker != llm.Counted {
			t.Errorf("ended after %v with %+v, want %v", took, e, want)
		}
	})
}

// Every health check of Ollama is green while its model hangs; a dead server is
// something else.
func TestAHangingModelIsToldFromADeadServer(t *testing.T) {
	version := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":"0.31.1"}`) }
	tests := []struct {
		name    string
		chat    llmtest.Step
		version llmtest.Step
		code    string
		says    string
	}{
		{"not a word, the server is there", llmtest.Hang(), version, "hangs", "restart Ollama"},
		{"midway, the server is there", llmtest.Ollama.Stall("half"), version, "hangs", "stalled"},
		{"nothing answers", llmtest.Hang(), llmtest.Hang(), "first_token", "no word"},
		{"it says something else", llmtest.Hang(), llmtest.Raw(500, "text/plain", "no"), "first_token", "no word"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(t, Options{BaseURL: "http://ollama.test"})
				llmtest.InMemory(t, c.line.Transport, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/api/version" {
						tt.version(w, r)
						return
					}
					tt.chat(w, r)
				})
				_, err := c.Ask(t.Context(), question)
				if e := failure(t, err); e.Code != tt.code || !strings.Contains(e.Message, tt.says) || e.Breaker != llm.Counted {
					t.Errorf("failure = %+v", e)
				}
			})
		})
	}
}

func TestOneCoreIsLeftOnThisBox(t *testing.T) {
	for raw, local := range map[string]bool{
		"http://127.0.0.1:11434": true, "http://localhost:11434": true, "http://[::1]:11434": true, "http://10.0.0.7:11434": false, "http://models.plant": false,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if n := threads(u); (n > 0) != local {
			t.Errorf("%s: %d threads", raw, n)
		}
	}
}
