package llm_test

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
	"edgeagent/llm/openai"
)

// A handshake that fails is a way that is bad: whatever ended it, no request
// was sent, and none is paid for.
func TestAFailedHandshakeCostsNothing(t *testing.T) {
	for name, greet := range map[string]func(c *net.TCPConn){
		"reset":  func(c *net.TCPConn) { _ = c.SetLinger(0) },
		"closed": func(*net.TCPConn) {},
		"reset after a hello": func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 4096))
			_ = c.SetLinger(0)
		},
		"closed after a hello":       func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)) },
		"half a handshake, then end": func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)); _, _ = c.Write([]byte{22, 3, 3, 0, 90, 2, 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, came := greeting(t, greet)
			c := openai.New(openai.Options{BaseURL: "https://" + addr + "/v1", Model: "m", APIKey: func() (string, error) { return "k", nil }})
			t.Cleanup(c.CloseIdleConnections)
			p := llm.ProviderOptions{Name: "cloud", Kind: "openai", Model: "m", Outside: true, Price: price, Retry: fast, Provider: c}
			out := diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{p}, Runbook: book{}}), caseF212())
			if outcomes(out) != "cloud:unreachable cloud:unreachable" || out.CostUSD() != 0 || out.Calls[0].TokensIn != 0 || came.Load() != 2 {
				t.Errorf("%d connections, calls %s for %v USD: %s", came.Load(), outcomes(out), out.CostUSD(), out.Calls[0].Error)
			}
		})
	}
}

// A connection that was there and broke may have carried the question.
func TestAConnectionThatBreaksMayHaveBeenPaid(t *testing.T) {
	s := llmtest.NewServer(t, llmtest.OpenAI, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	out := diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{cloud(t, s)}, Runbook: book{}}), caseF212())
	if c := out.Calls[0]; c.Outcome != edgeagent.CallTransient || c.CostUSD <= 0 || c.TokensIn == 0 {
		t.Errorf("call %+v: %s", c, c.Error)
	}
}

// greeting does something with every connection and ends it.
func greeting(t *testing.T, greet func(c *net.TCPConn)) (addr string, came *atomic.Int32) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came, done := new(atomic.Int32), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			if tcp, ok := c.(*net.TCPConn); ok {
				greet(tcp)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String(), came
}
