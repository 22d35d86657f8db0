package llm_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/llm"
)

// model is a provider in virtual time. Its answers take as long as they say,
// and it keeps when it was asked and probed.
type model struct {
	took   time.Duration
	onAsk  func(ctx context.Context) (llm.Answer, error)
	onPing func(ctx context.Context) error

	mu     sync.Mutex
	start  time.Time
	asked  []time.Duration
	probed []time.Duration
	ended  []time.Duration // of probes
}

func newModel() *model { return &model{start: time.Now()} }

func (m *model) note(to *[]time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*to = append(*to, time.Since(m.start))
}

func (m *model) Ask(ctx context.Context, _ llm.Request) (llm.Answer, error) {
	m.note(&m.asked)
	if err := retry.Sleep(ctx, m.took); err != nil {
		return llm.Answer{}, llm.Transport(ctx, err)
	}
	m.mu.Lock()
	on := m.onAsk
	m.mu.Unlock()
	if on != nil {
		return on(ctx)
	}
	return llm.Answer{Text: good.Text, TokensIn: 10, TokensOut: 10, Status: 200}, nil
}

func (m *model) Probe(ctx context.Context) error {
	m.note(&m.probed)
	defer m.note(&m.ended)
	m.mu.Lock()
	on := m.onPing
	m.mu.Unlock()
	if on != nil {
		return on(ctx)
	}
	return nil
}

func (m *model) set(ask func(context.Context) (llm.Answer, error), ping func(context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onAsk, m.onPing = ask, ping
}

func (m *model) times(of *[]time.Duration) []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]time.Duration(nil), *of...)
}

func (m *model) options() llm.ProviderOptions {
	return llm.ProviderOptions{Name: "cloud", Kind: "openai", Model: "m", Outside: true, Provider: m}
}

// Failures as the clients classify them.
func boom() *llm.Error {
	return &llm.Error{Class: edgeagent.CallTransient, Status: 500, Message: "boom", Policy: llm.Policy{Retries: llm.AllAttempts, Breaker: llm.Counted}}
}

func unreachable() *llm.Error {
	return &llm.Error{Class: edgeagent.CallUnreachable, Message: "no route", Policy: llm.Policy{Retries: 1, Breaker: llm.Counted}}
}

func limited(after time.Duration) *llm.Error {
	return &llm.Error{Class: edgeagent.CallThrottled, Status: 429, Message: "slow down", RetryAfter: after, Policy: llm.Policy{Retries: llm.AllAttempts}}
}

func failing(make func() *llm.Error) func(context.Context) (llm.Answer, error) {
	return func(context.Context) (llm.Answer, error) { return llm.Answer{}, make() }
}

func dead(make func() *llm.Error) func(context.Context) error {
	return func(context.Context) error { return make() }
}

// running starts the router's probers and ends them with the test.
func running(t *testing.T, r *llm.Router) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	synctest.Wait()
	return func() { cancel(); wg.Wait() }
}

func within(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s after %v, want %v to %v", what, got, low, high)
	}
}

func TestBackoffGrowsAndOnlyAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(boom), nil)
		o := m.options()
		o.BreakerFailures = 99
		out := diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}}), caseF212())
		at := m.times(&m.asked)
		if len(at) != 4 || len(out.Calls) != 4 || out.Diagnosis.By.Provider != "runbook" {
			t.Fatalf("asked %v, calls %s by %s, want 4 attempts and the runbook", at, outcomes(out), out.Diagnosis.By.Provider)
		}
		for i, base := range []time.Duration{500, 1000, 2000} {
			base *= time.Millisecond
			within(t, "retry", at[i+1]-at[i], base, base+base/4)
		}
	})
}

// What one job is told, the others obey: one that waits for its next attempt, and
// one that has an answer to be repaired.
func TestHoldOfAnotherJobIsObeyed(t *testing.T) {
	for name, first := range map[string]func() (llm.Answer, error){
		"retry":  func() (llm.Answer, error) { return llm.Answer{}, boom() },
		"repair": func() (llm.Answer, error) { return llm.Answer{Text: answerCiting("filler.ghost"), Status: 200}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, asked := newModel(), atomic.Int32{}
				m.took = time.Second
				m.set(func(_ context.Context) (llm.Answer, error) {
					if asked.Add(1) > 1 {
						return llm.Answer{}, limited(time.Minute)
					}
					if name == "repair" {
						time.Sleep(time.Second) // the other one is held meanwhile
					}
					return first()
				}, nil)
				o := m.options()
				o.Retry.First, o.Retry.Max = 4*time.Second, 4*time.Second
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}, MaxConcurrent: 2})
				var wg sync.WaitGroup
				wg.Go(func() { diagnose(t, r, caseF212()) })
				time.Sleep(500 * time.Millisecond)
				wg.Go(func() { diagnose(t, r, caseF212()) })
				wg.Wait()
				if at := m.times(&m.asked); len(at) != 2 {
					t.Errorf("asked at %v: the third was within the minute of Retry-After", at)
				}
			})
		})
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	tests := []struct {
		name   string
		after  time.Duration
		budget time.Duration
		asked  int
		low    time.Duration // of the second request
		held   time.Duration
	}{
		{"shorter than the back-off", 100 * time.Millisecond, 25 * time.Second, 2, 500 * time.Millisecond, 0},
		{"waited for", 7 * time.Second, 25 * time.Second, 2, 7 * time.Second, 0},
		{"longer than the budget leaves", 7 * time.Second, 5 * time.Second, 1, 0, 7 * time.Second},
		{"longer than anybody waits", 9 * time.Second, 25 * time.Second, 1, 0, 9 * time.Second},
		{"an hour", time.Hour, 25 * time.Second, 1, 0, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				first := true
				m.set(func(context.Context) (llm.Answer, error) {
					if first {
						first = false
						return llm.Answer{}, limited(tt.after)
					}
					return llm.Answer{Text: good.Text, Status: 200}, nil
				}, nil)
				o := m.options()
				o.Budget, o.Timeout = tt.budget, tt.budget
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}})
				diagnose(t, r, caseF212())
				at := m.times(&m.asked)
				if len(at) != tt.asked {
					t.Fatalf("asked at %v, want %d times", at, tt.asked)
				}
				if tt.asked == 2 {
					within(t, "second request", at[1], tt.low, tt.low+tt.low/4)
				}
				st := r.Status()[0]
				if tt.held == 0 && st.Hold != "" || tt.held > 0 && (st.HoldUntil == nil || st.HoldUntil.Sub(m.start) != tt.held) {
					t.Errorf("hold %q until %v, want %v", st.Hold, st.HoldUntil, tt.held)
				}
				if st.Breaker != "closed" {
					t.Errorf("breaker %s: a rate limit must not open it", st.Breaker)
				}
			})
		})
	}
}

func TestHeldProviderIsLeftAloneThenProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		m.set(failing(func() *llm.Error { return limited(40 * time.Second) }), nil)
		diagnose(t, r, caseF212())
		m.set(nil, nil)
		out := diagnose(t, r, caseF212())
		if len(m.times(&m.asked)) != 1 || !strings.HasPrefix(out.Diagnosis.By.WhyNotFirst, "cloud: slow down") {
			t.Errorf("asked %v, why %q, want the hold to keep it from being asked", m.times(&m.asked), out.Diagnosis.By.WhyNotFirst)
		}
		_ = retry.Sleep(t.Context(), 41*time.Second)
		synctest.Wait()
		if got := m.times(&m.probed); len(got) != 2 || got[1] != 40*time.Second {
			t.Errorf("probed at %v, want at the start and at the end of the hold", got)
		}
		if st := r.Status()[0]; st.Hold != "" || st.Error != "" || st.NextProbe != nil {
			t.Errorf("status = %+v, want it free", st)
		}
		if out := diagnose(t, r, caseF212()); out.Diagnosis.By.Provider != "cloud" {
			t.Errorf("by %s, want cloud", out.Diagnosis.By.Provider)
		}
	})
}

func TestFailedProbeExtendsAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		denied := func() *llm.Error {
			return &llm.Error{Class: edgeagent.CallAuth, Status: 401, Message: "the API key is refused", Policy: llm.Policy{Hold: llm.HoldAuth}}
		}
		m.set(failing(denied), dead(denied))
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		_ = retry.Sleep(t.Context(), time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 15 * time.Minute, 30 * time.Minute, 45 * time.Minute, 60 * time.Minute}
		if got := m.times(&m.probed); len(got) != len(want) || got[1] != want[1] || got[4] != want[4] {
			t.Errorf("probed at %v, want %v", got, want)
		}
		if st := r.Status()[0]; st.Hold != "the API key is refused (HTTP 401)" || st.Breaker != "closed" {
			t.Errorf("status = %+v", st)
		}
		diagnose(t, r, caseF212())
		if len(m.times(&m.asked)) != 0 {
			t.Error("a held provider was asked")
		}
	})
}

func TestFiveRateLimitsInARowHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(func() *llm.Error { return limited(0) }), nil)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		diagnose(t, r, caseF212())
		if st := r.Status()[0]; st.Hold != "" {
			t.Errorf("held after 4: %q", st.Hold)
		}
		diagnose(t, r, caseF212())
		st := r.Status()[0]
		if at := m.times(&m.asked); len(at) != 5 || st.Hold == "" || st.HoldUntil.Sub(m.start)-at[4] != time.Minute {
			t.Errorf("asked %v, held %q until %v, want a minute after the fifth", at, st.Hold, st.HoldUntil)
		}
	})
}

func TestSparseAlarmsOpenTheBreaker(t *testing.T) {
	for _, every := range []time.Duration{30 * time.Second, 10 * time.Minute} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				m.set(failing(boom), nil)
				o := m.options()
				o.Attempts = 1
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}})
				for n := range 3 {
					if st := r.Status()[0].Breaker; st != "closed" {
						t.Fatalf("breaker %s after %d failures", st, n)
					}
					diagnose(t, r, caseF212())
					if n < 2 {
						_ = retry.Sleep(t.Context(), every)
					}
				}
				if st := r.Status()[0]; st.Breaker != "open" {
					t.Errorf("breaker %s after 3 failures", st.Breaker)
				}
				if out := diagnose(t, r, caseF212()); len(out.Calls) != 0 || out.Diagnosis.By.WhyNotFirst != "cloud: breaker open" {
					t.Errorf("calls %s, why %q", outcomes(out), out.Diagnosis.By.WhyNotFirst)
				}
			})
		})
	}
}

// One alarm that found the way dead must not leave two more to find it too.
func TestProberOpensTheBreakerAfterOneAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		slow := func(ctx context.Context) error { _ = retry.Sleep(ctx, 3*time.Second); return unreachable() }
		m.set(func(ctx context.Context) (llm.Answer, error) { return llm.Answer{}, slow(ctx) }, slow)
		started := time.Now()
		diagnose(t, r, caseF212())
		within(t, "answer", time.Since(started), 6500*time.Millisecond, 6700*time.Millisecond)
		_ = retry.Sleep(t.Context(), 4*time.Second)
		started = time.Now()
		diagnose(t, r, caseF212())
		if took := time.Since(started); took != 0 || r.Status()[0].Breaker != "open" {
			t.Errorf("second alarm took %v with the breaker %s, want none and open", took, r.Status()[0].Breaker)
		}
	})
}

// A healthy list of models must not hide that no question is answered.
func TestGoodProbesDoNotHideBadAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		o := m.options()
		o.Attempts = 1
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		m.set(failing(boom), nil)
		for range 3 {
			diagnose(t, r, caseF212())
			_ = retry.Sleep(t.Context(), 10*time.Minute)
		}
		if asked := len(m.times(&m.asked)); asked != 3 {
			t.Fatalf("asked %d times", asked)
		}
		// It opened with the third failure and was closed by a probe: now one is enough.
		if st := r.Status()[0].Breaker; st != "closed" {
			t.Fatalf("breaker %s, want the probe to have closed it", st)
		}
		diagnose(t, r, caseF212())
		if st := r.Status()[0].Breaker; st != "open" {
			t.Errorf("breaker %s after a probe that promised too much", st)
		}
	})
}

func TestCloudIsBackWithin35Seconds(t *testing.T) {
	for outage := 10 * time.Second; outage < 80*time.Second; outage += 7300 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			m := newModel()
			r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
			stop := running(t, r)
			defer stop()
			down := func(ctx context.Context) error { _ = retry.Sleep(ctx, 3*time.Second); return unreachable() }
			m.set(func(ctx context.Context) (llm.Answer, error) { return llm.Answer{}, down(ctx) }, down)
			diagnose(t, r, caseF212())
			_ = retry.Sleep(t.Context(), outage)
			m.set(nil, nil)
			_ = retry.Sleep(t.Context(), 35*time.Second)
			if out := diagnose(t, r, caseF212()); out.Diagnosis.By.Provider != "cloud" {
				t.Errorf("outage of %v: answered by %s, %s", outage, out.Diagnosis.By.Provider, out.Diagnosis.By.WhyNotFirst)
			}
		})
	}
}

// Ollama hangs with every health check green: while a probe finds that out, an
// alarm is answered by the next one at once.
func TestNobodyWaitsBehindATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		hang := func(ctx context.Context) error { _ = retry.Sleep(ctx, 240*time.Second); return unreachable() }
		m.set(func(ctx context.Context) (llm.Answer, error) { return llm.Answer{}, hang(ctx) }, hang)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.local()}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		_ = retry.Sleep(t.Context(), 20*time.Minute) // three probes of 4 minutes open it
		for r.Status()[0].Breaker != "half-open" {
			_ = retry.Sleep(t.Context(), time.Second)
		}
		synctest.Wait()
		began := time.Now()
		out := diagnose(t, r, caseF212())
		if took := time.Since(began); took != 0 || !strings.Contains(out.Diagnosis.By.WhyNotFirst, "half-open") {
			t.Errorf("answered after %v, why %q, want at once", took, out.Diagnosis.By.WhyNotFirst)
		}
	})
}

// A box without a clock of its own is set years forward, and sometimes back:
// a probe's time must not move with it.
func TestProbesFollowNoWallClock(t *testing.T) {
	m := newModel()
	m.set(failing(unreachable), nil)
	o := m.options()
	o.BreakerFailures = 1
	r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}})
	diagnose(t, r, caseF212())
	if next := r.Status()[0].NextProbe; next == nil || !strings.Contains(next.String(), "m=+") {
		t.Errorf("next probe %v, want a time with a monotonic reading", next)
	}
}

func TestProbesComeWhenTheBreakerLetsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(boom), dead(unreachable))
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		_ = retry.Sleep(t.Context(), 2*time.Minute)
		synctest.Wait()
		at := m.times(&m.probed)
		if len(at) < 6 {
			t.Fatalf("probed at %v", at)
		}
		opened := at[2] // the third failure
		for i, k := 3, time.Duration(1); i < len(at); i, k = i+1, k+1 {
			if want := opened + k*(30*time.Second+time.Millisecond); at[i] != want {
				t.Errorf("probe %d at %v, want %v", i, at[i], want)
			}
		}
		if next := r.Status()[0].NextProbe; next == nil || time.Until(*next) <= 0 || time.Until(*next) > 30*time.Second+time.Millisecond {
			t.Errorf("next probe %v", next)
		}
	})
}

// A person who has put a new key in place does not wait a quarter of an hour;
// a server that asked for time gets it all the same.
func TestPardonEndsWhatAPersonMends(t *testing.T) {
	tests := []struct {
		name string
		fail *llm.Error
		by   string
	}{
		{"a refused key", &llm.Error{Class: edgeagent.CallAuth, Message: "key", Policy: llm.Policy{Hold: 15 * time.Minute}}, "cloud"},
		{"too many requests", limited(time.Minute), "runbook"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
				m.set(failing(func() *llm.Error { return tt.fail }), nil)
				diagnose(t, r, caseF212())
				m.set(nil, nil)
				if out := diagnose(t, r, caseF212()); out.Diagnosis.By.Provider != "runbook" {
					t.Fatalf("by %s while held", out.Diagnosis.By.Provider)
				}
				r.Pardon()
				if out := diagnose(t, r, caseF212()); out.Diagnosis.By.Provider != tt.by {
					t.Errorf("by %s after the pardon, want %s", out.Diagnosis.By.Provider, tt.by)
				}
			})
		})
	}
}
