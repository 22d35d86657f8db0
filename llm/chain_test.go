package llm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/llm"
)

func (m *model) local() llm.ProviderOptions {
	return llm.ProviderOptions{Name: "local", Kind: "ollama", Model: "l", Provider: m}
}

// A provider that hangs costs its budget and no more, whoever hangs.
func TestBudgetBoundsAllAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.took = time.Hour
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		out := diagnose(t, r, caseF212())
		if took := time.Since(m.start); took != 25*time.Second {
			t.Errorf("took %v, want the budget of 25s", took)
		}
		if got := outcomes(out); got != "cloud:transient cloud:transient" {
			t.Errorf("calls %s", got)
		}
		if code := out.Calls[1].Error.Code; code != "budget" {
			t.Errorf("the second attempt ended by %q, want the budget", code)
		}
		diagnose(t, r, caseF212())
		if st := r.Status()[0].Breaker; st != "closed" {
			t.Errorf("breaker %s after two timeouts: an attempt that got the rest of a budget proves nothing", st)
		}
	})
}

// An attempt that had the whole budget counts, so that a hanging local model
// whose timeout is its budget opens the breaker.
func TestAttemptWithTheWholeBudgetCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.took = time.Hour
		o := m.options()
		o.Timeout, o.Budget = 25*time.Second, 25*time.Second
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}})
		for range 3 {
			diagnose(t, r, caseF212())
		}
		if st := r.Status()[0].Breaker; st != "open" {
			t.Errorf("breaker %s after three budgets without an answer", st)
		}
	})
}

// tornBook is a runbook that crashes.
type tornBook struct{ book }

func (tornBook) Diagnose(edgeagent.Case) edgeagent.Diagnosis { panic("torn") }

// Requests are paid for whatever becomes of the diagnosis: the caps of the job must
// know of them.
func TestACrashKeepsTheRequestsThatWereMade(t *testing.T) {
	useless := func(context.Context) (llm.Answer, error) {
		return llm.Answer{Text: " ", TokensIn: 9, TokensOut: 1}, nil
	}
	for name, tt := range map[string]struct {
		book   llm.Fallback
		onCall func(edgeagent.Call)
		calls  int
	}{
		"of the runbook": {tornBook{}, nil, 2},
		"of who counts":  {book{}, func(edgeagent.Call) { panic("torn") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel()
			m.set(useless, nil)
			o := m.options()
			o.Price = llm.Price{Input: 1, Output: 1}
			r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: tt.book, OnCall: tt.onCall})
			out, err := r.Diagnose(t.Context(), caseF212())
			var crash interface{ Stack() []byte }
			if !errors.As(err, &crash) || !strings.Contains(string(crash.Stack()), "chain_test.go") || len(out.Calls) != tt.calls || out.CostUSD() == 0 || out.Diagnosis != nil {
				t.Errorf("%v, calls %+v; want the crash with %d requests", err, out.Calls, tt.calls)
			}
		})
	}
}

func TestOneLocalRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.took = 90 * time.Second
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.local()}, Runbook: book{}, MaxConcurrent: 2})
		by := make(chan string, 4)
		for range cap(by) {
			go func() {
				out, err := r.Diagnose(t.Context(), caseF212())
				if err != nil {
					by <- err.Error()
					return
				}
				by <- out.Diagnosis.By.Provider + " " + out.Diagnosis.By.WhyNotFirst
			}()
		}
		count := map[string]int{}
		for range cap(by) {
			count[<-by]++
		}
		// 330 s in all, 150 of them for itself: the third starts at 180 s, too late
		// for the fourth.
		if count["local "] != 2 || count["runbook local: busy with other jobs"] != 2 {
			t.Errorf("answered %v", count)
		}
		if took, most := time.Since(m.start), r.Deadline(); took > most {
			t.Errorf("took %v, more than the deadline of %v", took, most)
		}
		at := m.times(&m.asked)
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < 90*time.Second {
				t.Errorf("asked at %v: two at a time", at)
			}
		}
	})
}

func TestDeadlineIsKeptByWaitingJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.took = 290 * time.Second
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.local()}, Runbook: book{}})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), r.Deadline())
				defer cancel()
				if _, err := r.Diagnose(ctx, caseF212()); err != nil {
					t.Errorf("Diagnose = %v, want an answer within the deadline", err)
				}
			})
		}
		wg.Wait()
	})
}

func TestHalfOpenLetsOneJobTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(boom), nil)
		o := m.options()
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}, MaxConcurrent: 4})
		diagnose(t, r, caseF212()) // opens
		_ = retry.Sleep(t.Context(), 31*time.Second)
		m.set(nil, nil)
		m.took = 5 * time.Second
		first := make(chan edgeagent.Outcome, 1)
		go func() { out, _ := r.Diagnose(t.Context(), caseF212()); first <- out }()
		synctest.Wait()
		started := time.Now()
		other := diagnose(t, r, caseF212())
		if time.Since(started) != 0 || other.Diagnosis.By.Provider != "runbook" || !strings.Contains(other.Diagnosis.By.WhyNotFirst, "half-open") {
			t.Errorf("the other job waited %v, by %+v", time.Since(started), other.Diagnosis.By)
		}
		if out := <-first; out.Diagnosis.By.Provider != "cloud" || r.Status()[0].Breaker != "closed" {
			t.Errorf("by %s, breaker %s", out.Diagnosis.By.Provider, r.Status()[0].Breaker)
		}
	})
}

// A job that is withdrawn while it tries a half-open breaker gives the try back.
func TestCancelledTryGivesItsSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(boom), nil)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		diagnose(t, r, caseF212())
		_ = retry.Sleep(t.Context(), 31*time.Second)
		m.set(nil, nil)
		m.took = 5 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		out, err := r.Diagnose(ctx, caseF212())
		if !errors.Is(err, context.DeadlineExceeded) || outcomes(out) != "cloud:aborted" {
			t.Fatalf("%s, %v, want one aborted call", outcomes(out), err)
		}
		if st := r.Status()[0].Breaker; st != "half-open" {
			t.Errorf("breaker %s after our own cancellation", st)
		}
		if out := diagnose(t, r, caseF212()); out.Diagnosis.By.Provider != "cloud" {
			t.Errorf("by %s, why %q", out.Diagnosis.By.Provider, out.Diagnosis.By.WhyNotFirst)
		}
	})
}

// Without probers nobody reads the breaker's changes; that must not block it.
func TestManyBreakerChangesWithoutProbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		o := m.options()
		o.BreakerFailures = 1
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}})
		for range 50 {
			m.set(failing(boom), nil)
			diagnose(t, r, caseF212())
			_ = retry.Sleep(t.Context(), 31*time.Second)
			m.set(nil, nil)
			diagnose(t, r, caseF212())
		}
		if st := r.Status()[0]; st.Breaker != "closed" || st.Calls != 100 {
			t.Errorf("status = %+v", st)
		}
	})
}

func TestPanickingProviderIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(func(context.Context) (llm.Answer, error) { panic("nil map") }, func(context.Context) error { panic("again") })
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		out := diagnose(t, r, caseF212())
		if outcomes(out) != "cloud:unknown" || out.Diagnosis.By.Provider != "runbook" {
			t.Errorf("calls %s by %s", outcomes(out), out.Diagnosis.By.Provider)
		}
	})
}

func TestUnclassifiedErrorIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(func(context.Context) (llm.Answer, error) { return llm.Answer{}, errors.New("odd") }, nil)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		if out := diagnose(t, r, caseF212()); outcomes(out) != "cloud:unknown cloud:unknown" {
			t.Errorf("calls %s", outcomes(out))
		}
	})
}

func TestCasesThatNoModelSees(t *testing.T) {
	inside := caseF212()
	inside.Outside = false
	stopped := caseF212()
	stopped.Alarms[0].Alarm.Code = edgeagent.CodeDeviceStopped
	tests := []struct {
		name  string
		c     edgeagent.Case
		stop  string
		by    string
		why   string
		cloud int
	}{
		{"must stay on site", inside, "runbook", "local", "cloud: must not leave the site", 0},
		{"stopped device", stopped, "runbook", "runbook", "device_stopped is answered by the runbook", 0},
		{"stopped device by default", stopped, "", "runbook", "device_stopped is answered by the runbook", 0},
		{"stopped device, everybody", stopped, "all", "cloud", "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l := newModel(), newModel()
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{c.options(), l.local(), {Name: "runbook", Kind: "runbook"}},
					Runbook: book{}, DiagnoseStop: tt.stop})
				out := diagnose(t, r, tt.c)
				if by := out.Diagnosis.By; by.Provider != tt.by || by.WhyNotFirst != tt.why {
					t.Errorf("by %q, why %q", by.Provider, by.WhyNotFirst)
				}
				if n := len(c.times(&c.asked)); n != tt.cloud {
					t.Errorf("the cloud was asked %d times, want %d", n, tt.cloud)
				}
			})
		})
	}
}

// priced is the cloud's cost of one call in the cap tests: 1 USD a million
// tokens, both ways.
func (m *model) priced() llm.ProviderOptions {
	o := m.options()
	o.Price = llm.Price{Input: 1, Output: 1}
	return o
}

func TestCapsAreNeverExceededByMoreThanOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.took = time.Second
		m.set(func(context.Context) (llm.Answer, error) {
			return llm.Answer{Text: good.Text, TokensIn: 2000, TokensOut: 500, Status: 200}, nil
		}, nil)
		l := &ledger{cap: 0.1}
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.priced()}, Runbook: book{}, Ledger: l, MaxConcurrent: 3})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 100 {
					if _, err := r.Diagnose(t.Context(), caseF212()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		one := 0.0025
		if l.worst > l.cap+one || l.paid < l.cap-4*one || math.Abs(l.reserved) > 1e-9 {
			t.Errorf("paid %v, at worst %v of a cap of %v, still reserved %v", l.paid, l.worst, l.cap, l.reserved)
		}
		if out := diagnose(t, r, caseF212()); out.Diagnosis.By.WhyNotFirst != "cloud: daily cap reached" {
			t.Errorf("why %q", out.Diagnosis.By.WhyNotFirst)
		}
	})
}

func TestJobCapStopsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(func() *llm.Error {
			e := boom()
			e.Billable, e.TokensIn, e.TokensOut = true, 3000, 100
			return e
		}), nil)
		o := m.priced()
		o.BreakerFailures = 99
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}, JobCapUSD: 0.007})
		out := diagnose(t, r, caseF212())
		if len(out.Calls) != 2 || out.CostUSD() > 0.007 || out.Diagnosis.By.WhyNotFirst != "cloud: job cap reached" {
			t.Errorf("%d calls for %v USD, why %q", len(out.Calls), out.CostUSD(), out.Diagnosis.By.WhyNotFirst)
		}
	})
}

func TestUsageThatNobodyCountedIsEstimated(t *testing.T) {
	tests := []struct {
		name     string
		ask      func(context.Context) (llm.Answer, error)
		in, out  bool // estimated above zero
		expected string
	}{
		{"answer without usage", func(context.Context) (llm.Answer, error) { return llm.Answer{Text: good.Text, Status: 200}, nil }, true, true, "ok"},
		{"cut stream", failing(func() *llm.Error {
			return &llm.Error{Class: edgeagent.CallTransient, Message: "cut", Raw: "half an answer", Billable: true}
		}), true, true, "transient"},
		{"no headers came", failing(func() *llm.Error {
			return &llm.Error{Class: edgeagent.CallTransient, Message: "timeout", Billable: true}
		}), true, false, "transient"},
		{"counts below zero", counting(-1e9), true, true, "ok"},
		{"counts beyond reason", counting(1e9), true, true, "ok"},
		{"never arrived", failing(unreachable), false, false, "unreachable"},
		{"refused", failing(boom), false, false, "transient"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				m.set(tt.ask, nil)
				o := m.priced()
				o.Attempts, o.Price.CachedInput = 1, 0.5
				l := &ledger{cap: 1}
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}, Ledger: l})
				out := diagnose(t, r, caseF212())
				call := out.Calls[0]
				if string(call.Outcome) != tt.expected || call.TokensIn > 0 != tt.in || call.TokensOut > 0 != tt.out {
					t.Errorf("call = %+v", call)
				}
				if call.CostUSD > 0 != tt.in || l.paid != out.CostUSD() {
					t.Errorf("cost %v, paid %v", call.CostUSD, l.paid)
				}
				if worst := llm.WorstCaseUSD(o); call.CostUSD > worst {
					t.Errorf("cost %v, at worst it is %v", call.CostUSD, worst)
				}
			})
		})
	}
}

// counting answers well and says that it took n tokens of every kind.
func counting(n int) func(context.Context) (llm.Answer, error) {
	return func(context.Context) (llm.Answer, error) {
		return llm.Answer{Text: good.Text, Status: 200, TokensIn: n, TokensOut: n, CachedIn: n}, nil
	}
}

func TestWorstCaseIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		var most int
		longer := func() *llm.Error {
			return &llm.Error{Class: edgeagent.CallOutput, Message: "long", Policy: llm.Policy{Retries: 1, Grow: true, Breaker: llm.Healthy}}
		}
		m.set(failing(longer), nil)
		o := m.priced()
		l := &ledger{cap: 1}
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}, Ledger: reserving{l, func(usd float64) { most = max(most, int(usd*1e9)) }}})
		c := caseF212()
		for range 200 { // a case far larger than any prompt
			c.Related = append(c.Related, edgeagent.Alarm{Code: "X1", Text: strings.Repeat("text ", 40), Device: "filler"})
		}
		diagnose(t, r, c)
		single := most
		// Worst of all is the repair of an endless answer: it goes back to the model.
		m.set(func(context.Context) (llm.Answer, error) {
			if len(m.times(&m.asked))%2 == 1 {
				return llm.Answer{}, longer()
			}
			return llm.Answer{Text: strings.Repeat("words ", llm.MaxBody/6), TokensIn: 1, TokensOut: 1, Status: 200}, nil
		}, nil)
		if out := diagnose(t, r, c); most <= single {
			t.Fatalf("calls %s, at most %d after %d: want a repair", outcomes(out), most, single)
		}
		if worst := llm.WorstCaseUSD(o); float64(most)/1e9 > worst || most == 0 {
			t.Errorf("reserved %v for a call, the worst case says %v", float64(most)/1e9, worst)
		}
	})
}

// asking keeps what a model was asked.
type asking struct {
	*model
	requests []llm.Request
}

func (a *asking) Ask(ctx context.Context, r llm.Request) (llm.Answer, error) {
	a.requests = append(a.requests, r)
	return a.model.Ask(ctx, r)
}

// A repair carries the answer too: in a small context the prompt makes room.
func TestRepairFitsASmallContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{model: newModel()}
		a.set(func(context.Context) (llm.Answer, error) {
			return llm.Answer{Text: strings.Repeat("words ", 200), Status: 200}, nil
		}, nil)
		o := a.local()
		o.Provider, o.ContextTokens = a, 2048
		c := caseF212()
		for i := range 200 {
			c.Related = append(c.Related, edgeagent.Alarm{Code: fmt.Sprint("X", i), Text: strings.Repeat("text ", 40), Device: "filler"})
		}
		diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}}), c)
		if len(a.requests) != 2 || a.requests[1].Repair == nil {
			t.Fatalf("%d requests, want a question and its repair", len(a.requests))
		}
		r := a.requests[1]
		if n := r.Prompt.Tokens + llm.EstimateTokens(r.Repair.Answer) + llm.EstimateTokens(r.Repair.Fault) + r.MaxOutputTokens; n > 2048 {
			t.Errorf("the repair takes %d tokens of 2048", n)
		}
	})
}

type reserving struct {
	llm.Ledger
	seen func(float64)
}

func (r reserving) Reserve(job edgeagent.ID, usd float64) error {
	r.seen(usd)
	return r.Ledger.Reserve(job, usd)
}

func TestDeadlineIsTheBudgetsAndHalfAMinute(t *testing.T) {
	r := llm.New(llm.Options{Runbook: book{}, Providers: []llm.ProviderOptions{{Name: "cloud", Kind: "openai"}, {Name: "local", Kind: "ollama"}}})
	if d := r.Deadline(); d != 355*time.Second {
		t.Errorf("Deadline() = %v, want 355s", d)
	}
	if d := llm.New(llm.Options{Runbook: book{}}).Deadline(); d != 30*time.Second {
		t.Errorf("Deadline() = %v without providers", d)
	}
}

// What could not be read is shown whole, when nobody gives a better answer.
func TestUnreadableAnswerIsKeptForLast(t *testing.T) {
	prose := func(context.Context) (llm.Answer, error) {
		return llm.Answer{Text: "I believe that the probe is dirty.", Status: 200}, nil
	}
	for _, localWorks := range []bool{true, false} {
		t.Run(fmt.Sprintf("local %v", localWorks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l := newModel(), newModel()
				c.set(prose, nil)
				if !localWorks {
					l.set(failing(boom), nil)
				}
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{c.options(), l.local()}, Runbook: book{}})
				out := diagnose(t, r, caseF212())
				if d := out.Diagnosis; localWorks && (d.By.Provider != "local" || d.Unstructured != "") ||
					!localWorks && (d.By.Provider != "cloud" || !strings.Contains(d.Unstructured, "dirty") || out.Raw == "") {
					t.Errorf("by %s, unstructured %q", d.By.Provider, d.Unstructured)
				}
			})
		})
	}
}

// A claim that stays without ground after the repair is dropped, and the rest
// of the answer is used.
func TestUngroundedClaimIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		half := strings.Replace(good.Text, `"causes":[`, `"causes":[{"cause":"The ghost valve leaks","likelihood":"likely","evidence":["filler.ghost"],"sources":[]},`, 1)
		m.set(func(context.Context) (llm.Answer, error) { return llm.Answer{Text: half, Status: 200}, nil }, nil)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		out := diagnose(t, r, caseF212())
		d := out.Diagnosis
		if outcomes(out) != "cloud:output cloud:output" || d.By.Provider != "cloud" || len(d.Causes) != 1 || d.Grounded.Held >= d.Grounded.Checked {
			t.Errorf("calls %s, by %s, causes %+v, grounded %+v", outcomes(out), d.By.Provider, d.Causes, d.Grounded)
		}
	})
}

// Useless answers come from a working provider: they never open its breaker.
func TestUselessAnswersDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(func() *llm.Error {
			return &llm.Error{Class: edgeagent.CallOutput, Message: "the answer was empty", Policy: llm.Policy{Retries: 1, Breaker: llm.Healthy}}
		}), nil)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		for range 5 {
			diagnose(t, r, caseF212())
		}
		if st := r.Status()[0]; st.Breaker != "closed" || st.Calls != 10 || time.Since(m.start) != 0 {
			t.Errorf("breaker %s after %d calls in %v, want closed, 10, no waiting", st.Breaker, st.Calls, time.Since(m.start))
		}
	})
}

// A repair is one request: when it fails, what held of the first answer is used.
func TestFailedRepairIsNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		half := strings.Replace(good.Text, `"causes":[`, `"causes":[{"cause":"The ghost valve leaks","likelihood":"likely","evidence":["filler.ghost"],"sources":[]},`, 1)
		answered := false
		m.set(func(context.Context) (llm.Answer, error) {
			if answered {
				return llm.Answer{}, boom()
			}
			answered = true
			return llm.Answer{Text: half, Status: 200}, nil
		}, nil)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.options()}, Runbook: book{}})
		out := diagnose(t, r, caseF212())
		if outcomes(out) != "cloud:output cloud:transient" || out.Diagnosis.By.Provider != "cloud" || len(out.Diagnosis.Causes) != 1 {
			t.Errorf("calls %s, by %s, causes %+v", outcomes(out), out.Diagnosis.By.Provider, out.Diagnosis.Causes)
		}
	})
}
