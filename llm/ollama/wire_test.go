package ollama

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

var question = llm.Request{
	Prompt:          llm.Prompt{System: "rules", User: "case", Schema: json.RawMessage(`{"type":"object"}`), Tokens: 20},
	MaxOutputTokens: 350, Temperature: 0.1,
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	o.Model = "qwen2.5:1.5b"
	c := New(o)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func failure(t *testing.T, err error) *llm.Error {
	t.Helper()
	var e *llm.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T %v, want *llm.Error", err, err)
	}
	return e
}

func errorLine(text string) string {
	b, err := json.Marshal(map[string]string{"error": text})
	if err != nil {
		return ""
	}
	return string(b)
}

const begun = `{"model":"m","message":{"role":"assistant","content":"half"},"done":false}` + "\n"

// The words and statuses are those of Ollama's server.
func TestFailureTable(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		class   edgeagent.CallOutcome
		breaker llm.Counting
		retries int
		hold    time.Duration
		says    string
	}{
		{"schema refused", 500, errorLine("invalid JSON schema in format"), edgeagent.CallRequest, llm.Excluded, 0, 0, "schema"},
		{"option of a wrong type", 500, errorLine(`option "num_ctx" must be of type integer`), edgeagent.CallRequest, llm.Excluded, 0, 0, "option"},
		{"larger than the memory", 500, errorLine("model requires more system memory (28.6 GiB) than is available (7.1 GiB)"), edgeagent.CallConfig, llm.Counted, 0, 10 * time.Minute, "memory"},
		{"model missing", 404, errorLine(`model 'nope' not found`), edgeagent.CallConfig, llm.Excluded, 0, 15 * time.Minute, "copy it to the box"},
		{"wrong path", 404, "404 page not found", edgeagent.CallConfig, llm.Excluded, 0, 15 * time.Minute, "base_url"},
		{"queue full", 503, errorLine("server busy, please try again. maximum pending requests exceeded"), edgeagent.CallThrottled, llm.Excluded, llm.AllAttempts, 0, "busy"},
		{"prompt too long", 400, errorLine("the input length exceeds the context length"), edgeagent.CallRequest, llm.Excluded, 1, 0, "context_tokens"},
		{"cancelled by somebody", 499, errorLine("context canceled"), edgeagent.CallTransient, llm.Counted, 1, 0, "gave up"},
		{"500", 500, errorLine("llama runner process has terminated"), edgeagent.CallTransient, llm.Counted, 1, 0, "terminated"},
		{"empty 500", 500, "", edgeagent.CallTransient, llm.Counted, 1, 0, ""},
		{"empty 502", 502, "", edgeagent.CallTransient, llm.Counted, 1, 0, ""},
		{"empty 200", 200, "", edgeagent.CallTransient, llm.Counted, 1, 0, "cut off"},
		{"only begun", 200, begun, edgeagent.CallTransient, llm.Counted, 1, 0, "cut off"},
		{"half a line", 200, begun + `{"model":"m","mess`, edgeagent.CallTransient, llm.Counted, 1, 0, "cut off"},
		{"runner killed midway", 200, begun + errorLine("an error was encountered while running the model: unexpected EOF"), edgeagent.CallTransient, llm.Counted, 1, 0, "died midway"},
		{"busy midway", 200, errorLine("server busy, please try again"), edgeagent.CallThrottled, llm.Excluded, llm.AllAttempts, 0, "busy"},
		{"nonsense midway", 200, begun + "Segmentation fault\n", edgeagent.CallTransient, llm.Counted, 1, 0, ""},
		{"length", 200, begun + `{"model":"m","done":true,"done_reason":"length","prompt_eval_count":10,"eval_count":350}`, edgeagent.CallOutput, llm.Healthy, 1, 0, "longer"},
		{"loaded only", 200, `{"model":"m","done":true,"done_reason":"load"}`, edgeagent.CallTransient, llm.Counted, 1, 0, "cut off"},
		{"done without a reason", 200, begun + `{"model":"m","done":true}`, edgeagent.CallTransient, llm.Counted, 1, 0, "cut off"},
		{"prompt cut in silence", 200, begun + `{"model":"m","done":true,"done_reason":"stop","prompt_eval_count":2048,"eval_count":9}`, edgeagent.CallRequest, llm.Excluded, 1, 0, "context_tokens"},
		{"beginning forgotten in silence", 200, begun + `{"model":"m","done":true,"done_reason":"stop","prompt_eval_count":1900,"eval_count":149}`, edgeagent.CallRequest, llm.Excluded, 1, 0, "context_tokens"},
		{"empty answer", 200, `{"model":"m","done":true,"done_reason":"stop","prompt_eval_count":10,"eval_count":1}`, edgeagent.CallOutput, llm.Healthy, 1, 0, "empty"},
		{"401", 401, errorLine("unauthorized"), edgeagent.CallAuth, llm.Excluded, 0, 15 * time.Minute, "refused"},
		{"teapot", 418, "", edgeagent.CallTransient, llm.Counted, 1, 0, "unexpected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := llmtest.NewServer(t, llmtest.Ollama, llmtest.Raw(tt.status, "application/x-ndjson", tt.body))
			_, err := client(t, Options{BaseURL: s.BaseURL()}).Ask(t.Context(), question)
			e := failure(t, err)
			if e.Class != tt.class || e.Breaker != tt.breaker || e.Retries != tt.retries || e.Hold != tt.hold || e.Status != tt.status {
				t.Errorf("failure = %+v", e)
			}
			if !strings.Contains(e.Error(), tt.says) || strings.Contains(e.Error(), "{") {
				t.Errorf("message %q, want %q in it", e.Error(), tt.says)
			}
			if n := len(s.Asked()); n != 1 {
				t.Errorf("server saw %d requests", n)
			}
		})
	}
}

func TestBusyWaitsTwoSecondsOrAsAsked(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.Ollama, llmtest.Ollama.Refuse(503, "server busy", "Retry-After", "5"))
	_, err := client(t, Options{BaseURL: s.BaseURL()}).Ask(t.Context(), question)
	if e := failure(t, err); e.Wait != 2*time.Second || e.RetryAfter != 5*time.Second {
		t.Errorf("failure = %+v", e)
	}
}

// Requests with other runner options make Ollama hang for good.
func TestProbesAndQuestionsShareTheirOptions(t *testing.T) {
	var bodies []string
	s := llmtest.NewServer(t, llmtest.Ollama, llmtest.Ollama.Say(llmtest.Reply{Text: "{}", TokensIn: 5, TokensOut: 2}))
	s.OnProbe(func(w http.ResponseWriter, r *http.Request) {
		llmtest.Ollama.Say(llmtest.Reply{Text: "ok", Finish: "length"})(w, r)
	})
	seen := &recorder{next: s.Config.Handler, bodies: &bodies}
	s.Config.Handler = seen
	c := client(t, Options{BaseURL: s.BaseURL(), ContextTokens: 3000, KeepAlive: 10 * time.Minute})
	if err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(t.Context(), question); err != nil {
		t.Fatal(err)
	}
	var sent [2]map[string]any
	for i := range sent {
		if err := json.Unmarshal([]byte(bodies[i]), &sent[i]); err != nil {
			t.Fatal(err)
		}
	}
	options := func(i int) map[string]any { o, _ := sent[i]["options"].(map[string]any); return o }
	for _, key := range []string{"num_ctx", "seed", "num_thread"} {
		if options(0)[key] == nil || options(0)[key] != options(1)[key] {
			t.Errorf("%s: probe %v, question %v", key, options(0)[key], options(1)[key])
		}
	}
	if options(0)["num_predict"] != 1.0 || options(1)["num_predict"] != 350.0 {
		t.Errorf("num_predict: probe %v, question %v", options(0)["num_predict"], options(1)["num_predict"])
	}
	for i, body := range sent {
		if body["model"] != "qwen2.5:1.5b" || body["truncate"] != false || body["shift"] != false || body["keep_alive"] != "10m0s" || body["stream"] != true {
			t.Errorf("request %d = %v", i, body)
		}
	}
}

type recorder struct {
	next   http.Handler
	bodies *[]string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	*r.bodies = append(*r.bodies, string(b))
	req.Body = io.NopCloser(strings.NewReader(string(b)))
	r.next.ServeHTTP(w, req)
}

func TestBadSettingsAreNotSent(t *testing.T) {
	for name, o := range map[string]Options{
		"no host": {BaseURL: "127.0.0.1:11434"}, "bad": {BaseURL: "http://[::1"}, "ca_file": {BaseURL: "https://127.0.0.1:1", Transport: llm.TransportOptions{CAFile: "does-not-exist.pem"}},
	} {
		_, err := client(t, o).Ask(t.Context(), question)
		if e := failure(t, err); !e.Unsent || e.Class != edgeagent.CallConfig || e.Hold == 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestHangingModelIsNoticed(t *testing.T) {
	tests := []struct {
		name string
		step llmtest.Step
		want time.Duration
		code string
	}{
		{"not a word", llmtest.Hang(), 240*time.Second + healthTime, "first_token"},
		{"a few words", llmtest.Ollama.Stall("half"), 20*time.Second + healthTime, "stall"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(t, Options{BaseURL: "http://ollama.test"})
				llmtest.InMemory(t, c.line.Transport, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/api/chat" { // nor is there a word from the server itself
						<-r.Context().Done()
						return
					}
					tt.step(w, r)
				})
				start := time.Now()
				_, err := c.Ask(t.Context(), question)
				if e, took := failure(t, err), time.Since(start); took != tt.want || e.Code != tt.code || e.Class != edgeagent.CallTransient || e.Breaker != llm.Counted {
					t.Errorf("after %v: %+v, want %v and %s", took, e, tt.want, tt.code)
				}
			})
		})
	}
}

// Three minutes of silence while the model loads are normal on a small box.
func TestSlowModelIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, Options{BaseURL: "http://ollama.test"})
		llmtest.InMemory(t, c.line.Transport, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(3 * time.Minute):
			case <-r.Context().Done():
			}
			llmtest.Ollama.Say(llmtest.Reply{Text: "{}", TokensIn: 900, TokensOut: 2})(w, r)
		})
		start := time.Now()
		a, err := c.Ask(t.Context(), question)
		if took := time.Since(start); err != nil || a.Text != "{}" || took != 3*time.Minute {
			t.Errorf("%+v, %v after %v", a, err, took)
		}
	})
}

// A CA file that was mended is read without a restart.
func TestMendedCAFileIsRead(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(llmtest.Ollama.Say(llmtest.Reply{Text: "{}"})))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	path := filepath.Join(t.TempDir(), "ca.pem")
	trust := func(der []byte) {
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, other, other, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	trust(der)
	c := client(t, Options{BaseURL: s.URL, Transport: llm.TransportOptions{CAFile: path}})
	_, err = c.Ask(t.Context(), question)
	if e := failure(t, err); e.Class != edgeagent.CallConfig || !strings.Contains(e.Error(), "ca_file") {
		t.Fatalf("failure = %+v", e)
	}
	trust(s.Certificate().Raw)
	if _, err := c.Ask(t.Context(), question); err != nil {
		t.Errorf("after the file was mended: %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		begun, begun + `{"done":true,"done_reason":"stop"}`, errorLine("boom"), "<html>", "{", "\xff", `{"done":true}`, `{"prompt_eval_count":1e99}`,
	} {
		f.Add(200, []byte(s))
		f.Add(500, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 100 || status > 999 {
			return
		}
		c := New(Options{BaseURL: "http://x", Model: "m"})
		a, err := c.chatThrough(t.Context(), canned{status, body}, time.Minute, c.request(messages(question), nil, 10, 0))
		if err == nil && strings.TrimSpace(a.Text) == "" {
			t.Error("an empty answer was taken for one")
		}
		var e *llm.Error
		if err != nil && (!errors.As(err, &e) || e.Class == "" || e.Class == edgeagent.CallOK || e.Error() == "") {
			t.Errorf("failure without a class or words: %+v", err)
		}
	})
}

type canned struct {
	status int
	body   []byte
}

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(c.body)))}, nil
}
