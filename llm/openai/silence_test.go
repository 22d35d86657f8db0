package openai

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

func patient(t *testing.T, apiVersion string) llmtest.Patient {
	return func(first, stall time.Duration) (llm.Provider, func() (*http.Transport, error)) {
		c := client(t, Options{BaseURL: "http://model.test", APIVersion: apiVersion, FirstToken: first, Stall: stall})
		return c, c.api.Line().Transport
	}
}

func TestSilence(t *testing.T) { llmtest.RunSilence(t, llmtest.OpenAI, patient(t, "")) }

func TestSilenceOfAzure(t *testing.T) { llmtest.RunSilence(t, llmtest.Azure, patient(t, "2024-10-21")) }

// A model that reasons says so; it is slow, not silent.
func TestReasoningIsASignOfLife(t *testing.T) {
	for _, field := range []string{"reasoning", "reasoning_content"} {
		synctest.Test(t, func(t *testing.T) {
			c := client(t, Options{BaseURL: "http://model.test/v1"})
			llmtest.InMemory(t, c.api.Line().Transport, func(w http.ResponseWriter, r *http.Request) {
				for range 9 {
					_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\""+field+"\":\"hm\"}}]}\n\n")
					_ = http.NewResponseController(w).Flush()
					select {
					case <-time.After(9 * time.Second):
					case <-r.Context().Done():
					}
				}
				llmtest.OpenAI.Say(llmtest.Reply{Text: "so"})(w, r)
			})
			if a, err := c.Ask(t.Context(), question); err != nil || a.Text != "so" {
				t.Errorf("%s: %q, %v", field, a.Text, err)
			}
		})
	}
}

func TestProbeEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, Options{BaseURL: "http://model.test/v1"})
		llmtest.InMemory(t, c.api.Line().Transport, http.HandlerFunc(llmtest.Hang()))
		start := time.Now()
		e := failure(t, c.Probe(t.Context()))
		if took := time.Since(start); took != 5*time.Second || e.Breaker != llm.Counted {
			t.Errorf("after %v: %+v", took, e)
		}
	})
}

// tunnel is a connection through a VPN: once it is dropped, what is written is
// lost without a word.
type tunnel struct {
	net.Conn
	dropped *atomic.Bool
}

func (c tunnel) Write(p []byte) (int, error) {
	if c.dropped.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// overTunnels serves HTTP/2 over connections that drop returns can kill
// silently; later ones are new.
func overTunnels(t *testing.T, c *Client, h http.Handler) (drop func()) {
	t.Helper()
	der, key := selfSigned(t, time.Now().Add(-time.Minute))
	o := c.o
	o.Transport.CAFile = writePEM(t, "CERTIFICATE", der)
	c.api = New(o).api
	transport, err := c.api.Line().Transport()
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn)
	var mu sync.Mutex
	var flags []*atomic.Bool
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		flag := new(atomic.Bool)
		mu.Lock()
		flags = append(flags, flag)
		mu.Unlock()
		conns <- tunnel{far, flag}
		return tunnel{near, flag}, nil
	}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.ServeTLS(llmtest.Listener(conns), "", "") })
	t.Cleanup(func() { transport.CloseIdleConnections(); _ = srv.Close(); wg.Wait() })
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range flags {
			f.Store(true)
		}
	}
}

// A pooled HTTP/2 connection that died with the VPN must not keep the cloud
// away: by Go's defaults it is used again and again for a quarter of an hour.
func TestDeadPooledConnectionIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var protocols []string
		c := client(t, Options{BaseURL: "https://127.0.0.1/v1"})
		drop := overTunnels(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protocols = append(protocols, r.Proto)
			llmtest.OpenAI.Say(llmtest.Reply{Text: "{}"})(w, r)
		}))
		if _, err := c.Ask(t.Context(), question); err != nil {
			t.Fatal(err)
		}
		drop()
		start := time.Now()
		_, err := c.Ask(t.Context(), question)
		if e, took := failure(t, err), time.Since(start); took != 8*time.Second || e.Class != edgeagent.CallTransient || e.Retries != 1 || !e.Billable {
			t.Errorf("after %v: %+v, want the ping's 5s and 3s", took, e)
		}
		start = time.Now()
		if _, err := c.Ask(t.Context(), question); err != nil || time.Since(start) != 0 {
			t.Errorf("the next request took %v: %v, want a fresh connection at once", time.Since(start), err)
		}
		if len(protocols) != 2 || protocols[0] != "HTTP/2.0" || protocols[1] != "HTTP/2.0" {
			t.Errorf("server saw %v, want two requests by HTTP/2", protocols)
		}
	})
}

// The same while an answer is being streamed.
func TestBlackHoleMidStreamIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, Options{BaseURL: "https://127.0.0.1/v1"})
		half := make(chan struct{})
		drop := overTunnels(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			llmtest.OpenAI.Leave("half")(w, r)
			close(half)
			<-r.Context().Done()
		}))
		go func() {
			<-half
			synctest.Wait()
			drop()
		}()
		start := time.Now()
		_, err := c.Ask(t.Context(), question)
		if e, took := failure(t, err), time.Since(start); took != 8*time.Second || e.Raw != "half" || e.Breaker != llm.Counted {
			t.Errorf("after %v: %+v, want the ping's 5s and 3s", took, e)
		}
	})
}
