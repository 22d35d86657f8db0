package llmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"edgeagent"
	"edgeagent/llm"
)

// question is asked in every case.
var question = llm.Request{
	Prompt:          llm.Prompt{System: "rules", User: "case", Schema: json.RawMessage(`{"type":"object"}`), Version: "1", Tokens: 20},
	MaxOutputTokens: 100, Temperature: 0.1,
}

// trial is one misbehaviour and what a provider must make of it.
type trial struct {
	name    string
	step    func(Wire) Step
	class   []edgeagent.CallOutcome // any of these
	breaker llm.Counting
	retries int // at most
}

var trials = []trial{
	{"500", refuse(500, "boom"), any1(edgeagent.CallTransient), llm.Counted, llm.AllAttempts},
	{"empty 500", raw(500, ""), any1(edgeagent.CallTransient), llm.Counted, llm.AllAttempts},
	{"empty 502", raw(502, ""), any1(edgeagent.CallTransient), llm.Counted, llm.AllAttempts},
	{"empty 200", raw(200, ""), any1(edgeagent.CallTransient), llm.Counted, 1},
	{"half an object", raw(200, `{"model":"x","mess`), any1(edgeagent.CallTransient), llm.Counted, 1},
	{"connection broken midway", Wire.cut, any1(edgeagent.CallTransient), llm.Counted, 1},
	{"ended without done", Wire.leave, any1(edgeagent.CallTransient), llm.Counted, 1},
	{"a page", html(200), any1(edgeagent.CallUnreachable), llm.Counted, 0},
	{"a forbidding page", html(403), any1(edgeagent.CallUnreachable, edgeagent.CallAuth), llm.Counted, 0},
	{"401", refuse(401, "who are you"), any1(edgeagent.CallAuth), llm.Excluded, 0},
	{"404", refuse(404, "model 'x' not found"), any1(edgeagent.CallConfig), llm.Excluded, 0},
	{"400", refuse(400, "no"), any1(edgeagent.CallRequest), llm.Excluded, 0},
	{"429", refuse(429, "slow down"), any1(edgeagent.CallThrottled), llm.Excluded, llm.AllAttempts},
	{"blank answer", say(Reply{Text: "  \n", TokensIn: 5, TokensOut: 1}), any1(edgeagent.CallOutput), llm.Healthy, 1},
	{"cut by length", say(Reply{Text: `{"a":`, TokensIn: 5, TokensOut: 9, Finish: "length"}), any1(edgeagent.CallOutput), llm.Healthy, 1},
	{"packed without being asked", func(Wire) Step { return bomb }, any1(edgeagent.CallUnreachable, edgeagent.CallTransient), llm.Counted, 1},
	{"a flood of headers", func(Wire) Step { return flood }, any1(edgeagent.CallTransient), llm.Counted, 1},
	{"endless answer", endless, any1(edgeagent.CallOutput, edgeagent.CallTransient), llm.Healthy, 0},
}

func any1(c ...edgeagent.CallOutcome) []edgeagent.CallOutcome { return c }

func refuse(status int, message string) func(Wire) Step {
	return func(w Wire) Step { return w.Refuse(status, message) }
}

func raw(status int, body string) func(Wire) Step {
	return func(Wire) Step { return Raw(status, "application/json", body) }
}

func html(status int) func(Wire) Step {
	return func(Wire) Step { return Raw(status, "text/html", "<html><body>Please log in</body></html>") }
}

func say(r Reply) func(Wire) Step { return func(w Wire) Step { return w.Say(r) } }

func (wire Wire) cut() Step   { return wire.Cut("half an answer") }
func (wire Wire) leave() Step { return wire.Leave("half an answer") }

func endless(wire Wire) Step {
	return func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			wire.reply(w, Reply{Text: strings.Repeat("x", 8192)}, false)
		}
	}
}

// Run holds a provider to the contract of [llm.Provider]. newProvider returns a
// fresh one for a server's base URL; it must not retry, not follow redirects,
// and not take a cut answer for an answer.
func Run(t *testing.T, wire Wire, newProvider func(baseURL string) llm.Provider) {
	t.Run("answers", func(t *testing.T) { testAnswers(t, wire, newProvider) })
	for _, tr := range trials {
		t.Run(tr.name, func(t *testing.T) { testTrial(t, wire, tr, newProvider) })
	}
	t.Run("ocean", func(t *testing.T) { testOcean(t, wire, newProvider) })
	t.Run("closed at the moment of a request", func(t *testing.T) { testIdleClosed(t, wire, newProvider) })
	t.Run("redirect is not followed", func(t *testing.T) { testRedirect(t, wire, newProvider) })
	t.Run("nobody listens", func(t *testing.T) { testRefused(t, newProvider) })
	t.Run("hangs up", func(t *testing.T) { testHangsUp(t, newProvider) })
	t.Run("speaks nonsense", func(t *testing.T) { testNonsense(t, newProvider) })
	t.Run("cancelled", func(t *testing.T) { testCancelled(t, wire, newProvider) })
	t.Run("deadline", func(t *testing.T) { testDeadline(t, wire, newProvider) })
	t.Run("hostile words", func(t *testing.T) { testHostileWords(t, wire, newProvider) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, wire, newProvider) })
	t.Run("probe", func(t *testing.T) { testProbe(t, wire, newProvider) })
	t.Run("repair", func(t *testing.T) { testRepair(t, wire, newProvider) })
}

func failure(t *testing.T, err error) *llm.Error {
	t.Helper()
	var e *llm.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T %v, want *llm.Error", err, err)
	}
	if e.Message == "" || strings.ContainsFunc(e.Error(), unicode.IsControl) || len(e.Error()) > 600 {
		t.Errorf("message %q: want one line of words", e.Error())
	}
	return e
}

func testAnswers(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	s := NewServer(t, wire, wire.Say(Reply{Text: `{"summary":"ok"}`, TokensIn: 120, TokensOut: 7}))
	a, err := newProvider(s.BaseURL()).Ask(t.Context(), question)
	if err != nil {
		t.Fatal(err)
	}
	if a.Text != `{"summary":"ok"}` || a.TokensIn != 120 || a.TokensOut != 7 || a.Status != 200 || a.RequestID != "req-1" {
		t.Errorf("answer = %+v", a)
	}
	if a.Model == "" {
		t.Error("the model that answered is not known")
	}
	if n := len(s.Asked()); n != 1 {
		t.Errorf("server saw %d requests, want 1", n)
	}
}

func testTrial(t *testing.T, wire Wire, tr trial, newProvider func(string) llm.Provider) {
	s := NewServer(t, wire, tr.step(wire))
	_, err := newProvider(s.BaseURL()).Ask(t.Context(), question)
	e := failure(t, err)
	if !slices.Contains(tr.class, e.Class) {
		t.Errorf("class = %s, want %v: %v", e.Class, tr.class, e)
	}
	if e.Breaker != tr.breaker || e.Retries > tr.retries {
		t.Errorf("breaker %d retries %d, want %d and at most %d", e.Breaker, e.Retries, tr.breaker, tr.retries)
	}
	if n := len(s.Asked()); n != 1 || e.Unsent {
		t.Errorf("server saw %d requests (unsent %v), want 1", n, e.Unsent)
	}
}

func testRedirect(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	var portal sync.Map
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { portal.Store(r.URL.Path, true) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 307, 308} {
		s := NewServer(t, wire, Raw(status, "text/html", "", "Location", elsewhere.URL+"/login"))
		_, err := newProvider(s.BaseURL()).Ask(t.Context(), question)
		if e := failure(t, err); e.Class != edgeagent.CallUnreachable || e.Status != status {
			t.Errorf("%d: class %s status %d, want unreachable", status, e.Class, e.Status)
		}
	}
	portal.Range(func(path, _ any) bool {
		t.Errorf("the redirect was followed to %v with the prompt", path)
		return true
	})
}

func testRefused(t *testing.T, newProvider func(string) llm.Provider) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = newProvider("http://"+addr).Ask(t.Context(), question)
	if e := failure(t, err); e.Class != edgeagent.CallUnreachable || e.Breaker != llm.Counted || e.Retries != 1 || e.Billable {
		t.Errorf("error = %+v, want unreachable, counted, one retry, not billed", e)
	}
}

// listen serves each connection by do, and ends with the test.
func listen(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { do(conn); _ = conn.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "http://" + l.Addr().String()
}

func testHangsUp(t *testing.T, newProvider func(string) llm.Provider) {
	url := listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	_, err := newProvider(url).Ask(t.Context(), question)
	if e := failure(t, err); e.Class != edgeagent.CallTransient && e.Class != edgeagent.CallUnreachable || e.Breaker != llm.Counted {
		t.Errorf("error = %+v, want a counted failure of the way", e)
	}
}

func testNonsense(t *testing.T, newProvider func(string) llm.Provider) {
	url := listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write([]byte("\x16\x03\x01\x02\x00SSH-2.0-OpenSSH\r\n\r\n"))
	})
	_, err := newProvider(url).Ask(t.Context(), question)
	if e := failure(t, err); e.Breaker != llm.Counted {
		t.Errorf("error = %+v, want it counted", e)
	}
}

func testCancelled(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	for name, step := range map[string]Step{"before the answer": Hang(), "midway": wire.Stall("half")} {
		begun := make(chan struct{}, 1)
		s := NewServer(t, wire, func(w http.ResponseWriter, r *http.Request) { begun <- struct{}{}; step(w, r) })
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		_, err := newProvider(s.BaseURL()).Ask(ctx, question)
		if e := failure(t, err); e.Class != edgeagent.CallAborted || e.Breaker != llm.Excluded || e.Retries != 0 {
			t.Errorf("%s: error = %+v, want aborted and excluded", name, e)
		}
	}
}

func testDeadline(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	for name, step := range map[string]Step{"before the answer": Hang(), "midway": wire.Stall("half")} {
		s := NewServer(t, wire, step)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := newProvider(s.BaseURL()).Ask(ctx, question)
		cancel()
		if e := failure(t, err); e.Class != edgeagent.CallTransient || e.Breaker != llm.Counted || e.Retries > 1 {
			t.Errorf("%s: error = %+v, want transient and counted", name, e)
		}
	}
}

func testHostileWords(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	s := NewServer(t, wire, wire.Refuse(500, "a\r\nb\x00\x1b[31m\u202egnp "+strings.Repeat("long ", 1000)))
	_, err := newProvider(s.BaseURL()).Ask(t.Context(), question)
	if e := failure(t, err); strings.Contains(e.Error(), "\u202e") {
		t.Errorf("message keeps an override: %q", e.Error())
	}
}

func testConcurrent(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	s := NewServer(t, wire, wire.Say(Reply{Text: "same for all", TokensIn: 3, TokensOut: 3}))
	p := newProvider(s.BaseURL())
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			a, err := p.Ask(t.Context(), question)
			if err == nil && a.Text != "same for all" {
				err = fmt.Errorf("answer %q", a.Text)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := len(s.Asked()); n != cap(errs) {
		t.Errorf("server saw %d requests, want %d", n, cap(errs))
	}
}

func testProbe(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	s := NewServer(t, wire, Hang())
	p := newProvider(s.BaseURL())
	if err := p.Probe(t.Context()); err != nil {
		t.Errorf("probe of a good server: %v", err)
	}
	for name, step := range map[string]Step{
		"500": wire.Refuse(500, "boom"), "page": html(200)(wire), "cut": Raw(200, "application/json", `{"da`, "Content-Length", "4"),
	} {
		s.OnProbe(step)
		if e := failure(t, p.Probe(t.Context())); e.Breaker != llm.Counted {
			t.Errorf("%s: probe = %+v, want a counted failure", name, e)
		}
	}
	s.OnProbe(wire.Refuse(401, "who are you"))
	if e := failure(t, p.Probe(t.Context())); e.Class != edgeagent.CallAuth || e.Hold == 0 {
		t.Errorf("401: probe = %+v, want auth and a hold", e)
	}
	if len(s.Asked()) != 0 {
		t.Error("a probe asked a question")
	}
}

func testRepair(t *testing.T, wire Wire, newProvider func(string) llm.Provider) {
	s := NewServer(t, wire, wire.Say(Reply{Text: "better", TokensIn: 3, TokensOut: 3}))
	r := question
	r.Repair = &llm.Repair{Answer: "my first try", Fault: "tag x does not exist"}
	if _, err := newProvider(s.BaseURL()).Ask(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if body := s.Asked()[0].Body; !strings.Contains(body, "my first try") || !strings.Contains(body, "tag x does not exist") {
		t.Errorf("the repair does not show the answer and its fault: %s", body)
	}
}
