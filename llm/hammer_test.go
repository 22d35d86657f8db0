package llm_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
	"edgeagent/llm/openai"
)

// Whatever goes wrong while several jobs and the probers run: every request
// that the servers saw is one call, and the money adds up.
func TestEveryRequestIsOneCall(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var cloudSteps, boxSteps []llmtest.Step
	for range 400 {
		cloudSteps = append(cloudSteps, mishap(llmtest.OpenAI, rng))
		boxSteps = append(boxSteps, mishap(llmtest.Ollama, rng))
	}
	s, box := llmtest.NewServer(t, llmtest.OpenAI, cloudSteps...), llmtest.NewServer(t, llmtest.Ollama, boxSteps...)
	c, b := cloud(t, s), local(t, box)
	c.BreakerOpenFor, b.BreakerOpenFor = 2*time.Millisecond, 2*time.Millisecond
	l := &ledger{cap: 100}
	var mu sync.Mutex
	heard := 0
	r := llm.New(llm.Options{Providers: []llm.ProviderOptions{c, b}, Runbook: book{}, Ledger: l, MaxConcurrent: 3,
		OnCall: func(edgeagent.Call) { mu.Lock(); heard++; mu.Unlock() }})
	ctx, cancel := context.WithCancel(t.Context())
	var probers, jobs sync.WaitGroup
	probers.Go(func() { _ = r.Run(ctx) })
	calls, cost := 0, 0.0
	by := map[string]int{}
	for range 4 {
		jobs.Go(func() {
			for range 30 {
				out, err := r.Diagnose(t.Context(), caseF212())
				mu.Lock()
				if err != nil || out.Diagnosis == nil {
					t.Errorf("Diagnose = %v, want an answer always", err)
				} else {
					by[out.Diagnosis.By.Provider]++
				}
				calls, cost = calls+len(out.Calls), cost+out.CostUSD()
				mu.Unlock()
			}
		})
	}
	jobs.Wait()
	cancel()
	probers.Wait()
	if seen := len(s.Asked()) + len(box.Asked()); seen != calls || heard != calls || calls == 0 {
		t.Errorf("servers saw %d requests, %d calls are recorded, %d were told", seen, calls, heard)
	}
	if math.Abs(l.paid-cost) > 1e-9 || math.Abs(l.reserved) > 1e-9 {
		t.Errorf("paid %v reserved %v, the calls cost %v", l.paid, l.reserved, cost)
	}
	if by["cloud"] == 0 || by["local"] == 0 {
		t.Errorf("answered by %v: the mishaps do not reach every path", by)
	}
}

// mishap picks what happens to one request; about half go well.
func mishap(wire llmtest.Wire, rng *rand.Rand) llmtest.Step {
	switch rng.IntN(14) {
	case 0, 1:
		return wire.Refuse(500, "boom")
	case 2:
		return wire.Cut("half")
	case 3:
		return wire.Leave("half")
	case 4:
		return llmtest.Raw(200, "application/json", "")
	case 5:
		return wire.Refuse(429, "slow down", "Retry-After", "0.001")
	case 6:
		return wire.Say(llmtest.Reply{Text: answerCiting("filler.ghost"), TokensIn: 900, TokensOut: 90})
	case 7:
		return wire.Say(llmtest.Reply{Text: "prose", TokensIn: 900, TokensOut: 9})
	case 8:
		return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	default:
		return wire.Say(good)
	}
}

// The rows of a model on the box, seen through the whole chain.
func TestLocalFailuresEndAtTheRunbook(t *testing.T) {
	o := llmtest.Ollama
	tests := []struct {
		name  string
		step  llmtest.Step
		calls int
		hold  bool
		why   string
	}{
		{"empty 200", llmtest.Raw(200, "application/x-ndjson", ""), 2, false, "cut off"},
		{"empty 500", llmtest.Raw(500, "application/json", ""), 2, false, "Ollama failed"},
		{"model missing", o.Refuse(404, "model 'local-1' not found"), 1, true, "copy it to the box"},
		{"no memory", o.Refuse(500, "model requires more system memory (28.6 GiB) than is available (4 GiB)"), 1, true, "memory"},
		{"schema refused", o.Refuse(500, "invalid JSON schema in format"), 1, false, "schema"},
		{"page", llmtest.Raw(200, "text/html", "<html>"), 1, false, "a proxy answers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := llmtest.NewServer(t, o, tt.step)
			r := llm.New(llm.Options{Providers: []llm.ProviderOptions{local(t, s)}, Runbook: book{}})
			out := diagnose(t, r, caseF212())
			if d := out.Diagnosis; d.By.Provider != "runbook" || d.By.Kind != "runbook" || !strings.Contains(d.By.WhyNotFirst, "local: ") || !strings.Contains(d.By.WhyNotFirst, tt.why) {
				t.Errorf("by %+v, want the runbook because of %q", d.By, tt.why)
			}
			if len(out.Calls) != tt.calls || len(s.Asked()) != tt.calls {
				t.Errorf("calls %s, server saw %d, want %d", outcomes(out), len(s.Asked()), tt.calls)
			}
			if held := r.Status()[0].Hold != ""; held != tt.hold {
				t.Errorf("hold = %q", r.Status()[0].Hold)
			}
		})
	}
}

// The key is in the request and nowhere else.
func TestKeyIsNeverShown(t *testing.T) {
	const key = "sk-very-secret-key"
	s := llmtest.NewServer(t, w, w.Refuse(500, "key "+key+" crashed us"), w.Refuse(401, "Incorrect API key provided: "+key))
	s.OnProbe(w.Refuse(401, "Incorrect API key provided: "+key))
	var log bytes.Buffer
	o := cloud(t, s)
	client := openai.New(openai.Options{BaseURL: s.BaseURL(), Model: "cloud-1", APIKey: func() (string, error) { return key, nil }})
	t.Cleanup(client.CloseIdleConnections)
	o.Provider = client
	r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	out := diagnose(t, r, caseF212())
	if len(out.Calls) != 2 || s.Asked()[0].Header.Get("Authorization") != "Bearer "+key {
		t.Fatalf("calls %s", outcomes(out))
	}
	if all := fmt.Sprintf("%+v %+v %+v %+v %+v", out, out.Calls[0].Error, out.Calls[1].Error, r.Status(), log.String()); strings.Contains(all, key) || log.Len() == 0 {
		t.Errorf("the key is shown: %s", all)
	}
}

// A server that restarts leaves dead pooled connections behind; that must not
// cost a job its answer.
func TestServerRestart(t *testing.T) {
	var l net.Listener
	var err error
	for tries := 0; l == nil; tries++ { // a port that is given to nobody by chance while it is free
		if l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", 20000+rand.IntN(12000))); err != nil && tries == 100 {
			t.Fatal(err)
		}
	}
	addr := l.Addr().String()
	serve := func(l net.Listener) *http.Server {
		srv := &http.Server{Handler: http.HandlerFunc(w.Say(good))}
		go func() { _ = srv.Serve(l) }()
		return srv
	}
	first := serve(l)
	c := openai.New(openai.Options{BaseURL: "http://" + addr, Model: "cloud-1"})
	t.Cleanup(c.CloseIdleConnections)
	r := llm.New(llm.Options{Runbook: book{}, Providers: []llm.ProviderOptions{{Name: "cloud", Kind: "openai", Outside: true, Retry: fast, Provider: c}}})
	diagnose(t, r, caseF212())
	_ = first.Close()
	if l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr); err != nil {
		t.Fatal(err)
	}
	second := serve(l)
	defer func() { _ = second.Close() }()
	if out := diagnose(t, r, caseF212()); out.Diagnosis.By.Provider != "cloud" {
		t.Errorf("by %s: %s", out.Diagnosis.By.Provider, out.Diagnosis.By.WhyNotFirst)
	}
}

// A missing key holds the provider without a request and without a call, and
// is said once in the log however long it stays missing.
func TestMissingKeyIsSaidOnce(t *testing.T) {
	s := llmtest.NewServer(t, w, w.Say(good))
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := openai.New(openai.Options{BaseURL: s.BaseURL(), Model: "cloud-1", APIKey: func() (string, error) {
			return "", fmt.Errorf("environment variable OPENAI_API_KEY is not set")
		}})
		r := llm.New(llm.Options{Runbook: book{}, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Providers: []llm.ProviderOptions{{Name: "cloud", Kind: "openai", Outside: true, Provider: c}}})
		stop := running(t, r)
		out := diagnose(t, r, caseF212())
		if len(out.Calls) != 0 || !strings.Contains(out.Diagnosis.By.WhyNotFirst, "OPENAI_API_KEY is not set") {
			t.Errorf("calls %s, why %q", outcomes(out), out.Diagnosis.By.WhyNotFirst)
		}
		_ = retry.Sleep(t.Context(), time.Hour)
		stop()
		if st := r.Status()[0]; st.Breaker != "closed" || st.Calls != 0 {
			t.Errorf("status = %+v", st)
		}
		if n := strings.Count(log.String(), "provider held"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log.String())
		}
	})
	if len(s.Asked())+s.Probes() != 0 {
		t.Error("a request was sent without a key")
	}
}

// A long outage is one line in the log when it begins and one when it ends.
func TestOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := newModel()
		m.set(failing(unreachable), dead(unreachable))
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		stop := running(t, r)
		_ = retry.Sleep(t.Context(), time.Hour)
		m.set(nil, nil)
		_ = retry.Sleep(t.Context(), time.Minute)
		stop()
		if opened, closed := strings.Count(log.String(), "breaker open"), strings.Count(log.String(), "breaker closed"); opened != 1 || closed != 1 {
			t.Errorf("opened said %d times, closed %d:\n%s", opened, closed, log.String())
		}
	})
}
