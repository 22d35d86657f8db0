package llm_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/llm"
)

// The model on the box is spoken to when the cloud goes, and as often as it
// takes to keep it loaded while the cloud is gone; not before and not after.
func TestLocalModelIsWarmWhileTheCloudIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, box := newModel(), newModel()
		o := box.local()
		o.KeepAlive = 10 * time.Minute
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{cloud.options(), o}, Runbook: book{}})
		stop := running(t, r)
		defer stop()
		_ = retry.Sleep(t.Context(), time.Hour)
		if got := box.times(&box.probed); len(got) != 1 {
			t.Fatalf("with the cloud there it was probed at %v, want at the start alone", got)
		}
		cloud.set(failing(unreachable), dead(unreachable))
		box.set(failing(boom), nil) // it is loaded by a probe, not by this alarm
		diagnose(t, r, caseF212())
		for r.Status()[0].Breaker != "open" {
			_ = retry.Sleep(t.Context(), time.Second)
		}
		synctest.Wait()
		opened := time.Since(box.start)
		_ = retry.Sleep(t.Context(), 30*time.Minute)
		synctest.Wait()
		var warm []time.Duration
		for _, at := range box.times(&box.probed)[1:] {
			if at >= opened {
				warm = append(warm, at)
			}
		}
		if len(warm) < 3 {
			t.Fatalf("probed at %v, the breaker opened at %v", box.times(&box.probed), opened)
		}
		for i := 1; i < len(warm); i++ {
			within(t, "next word to the model", warm[i]-warm[i-1], 8*time.Minute, 8*time.Minute+31*time.Second)
		}
		cloud.set(nil, nil)
		_ = retry.Sleep(t.Context(), time.Minute)
		before := len(box.times(&box.probed))
		_ = retry.Sleep(t.Context(), 3*time.Hour)
		if got := len(box.times(&box.probed)); got != before || r.Status()[0].Breaker != "closed" {
			t.Errorf("%d more words to the model after the cloud was back", got-before)
		}
	})
}

// A model that nobody has spoken to for longer than it stays loaded is loaded in
// the moment in which the breaker opens; one that answers anyway is left alone.
func TestWarmingCountsFromTheLastRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		idle time.Duration
		want int
	}{"cold": {20 * time.Minute, 1}, "loaded": {5 * time.Minute, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, box := newModel(), newModel()
				c, o := cloud.options(), box.local()
				c.BreakerFailures, o.KeepAlive = 1, 10*time.Minute
				r := llm.New(llm.Options{Providers: []llm.ProviderOptions{c, o}, Runbook: book{}})
				stop := running(t, r)
				defer stop()
				_ = retry.Sleep(t.Context(), tt.idle)
				cloud.set(failing(func() *llm.Error {
					return &llm.Error{Class: edgeagent.CallAuth, Message: "key", Policy: llm.Policy{Hold: llm.HoldAuth}}
				}), nil)
				if _, err := r.DiagnoseWith(t.Context(), "cloud", caseF212()); err == nil {
					t.Fatal("answered")
				}
				synctest.Wait()
				if got := len(box.times(&box.probed)) - 1; got != tt.want {
					t.Errorf("spoken to %d times when the cloud went, want %d", got, tt.want)
				}
			})
		})
	}
}

func busy() *llm.Error {
	return &llm.Error{Class: edgeagent.CallThrottled, Status: 503, Message: "busy", Policy: llm.Policy{Retries: llm.AllAttempts, Wait: 2 * time.Second, Queue: true}}
}

// A model that other gateways use too is waited for within the budget, with
// growing pauses; then it is left alone for a minute.
func TestBusyOllamaIsWaitedForNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		m.set(failing(busy), nil)
		r := llm.New(llm.Options{Providers: []llm.ProviderOptions{m.local()}, Runbook: book{}})
		out := diagnose(t, r, caseF212())
		at := m.times(&m.asked)
		if len(at) < 10 || len(at) > 13 || len(out.Calls) != len(at) {
			t.Fatalf("asked at %v in 300 s, %d calls", at, len(out.Calls))
		}
		for i := 1; i < len(at); i++ {
			pause := min(2*time.Second<<(i-1), 30*time.Second)
			within(t, "next request", at[i]-at[i-1], pause, pause+pause/4)
		}
		st := r.Status()[0]
		if st.Breaker != "closed" || st.HoldUntil == nil || time.Until(*st.HoldUntil) > time.Minute || !strings.Contains(st.Hold, "busy") {
			t.Errorf("status %+v, want it held for a minute and its breaker closed", st)
		}
		began := time.Now()
		if out := diagnose(t, r, caseF212()); time.Since(began) != 0 || out.Diagnosis.By.Provider != "runbook" {
			t.Errorf("the next alarm waited %v", time.Since(began))
		}
	})
}

// What others leave free is used, and an answer that then fails gets all of its
// attempts.
func TestBusyOllamaAnswersWhenItIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := newModel(), 0
		m.set(func(context.Context) (llm.Answer, error) {
			n++
			if n <= 6 {
				return llm.Answer{}, busy()
			}
			if n <= 9 {
				return llm.Answer{}, boom()
			}
			return llm.Answer{Text: good.Text, Status: 200}, nil
		}, nil)
		o := m.local()
		o.BreakerFailures = 99
		out := diagnose(t, llm.New(llm.Options{Providers: []llm.ProviderOptions{o}, Runbook: book{}}), caseF212())
		want := slices.Concat(slices.Repeat([]string{"local:throttled"}, 6), slices.Repeat([]string{"local:transient"}, 3), []string{"local:ok"})
		if got := outcomes(out); got != strings.Join(want, " ") || out.Diagnosis.By.Provider != "local" {
			t.Errorf("calls %s by %s", got, out.Diagnosis.By.Provider)
		}
	})
}
