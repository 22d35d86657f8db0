package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/diagnose"
	"edgeagent/internal/retry"
	"edgeagent/llm"
	"edgeagent/queue"
)

// till is a model that costs money whatever it does, and counts for itself what
// it took: of every job, and in all. It knows nothing of caps.
type till struct {
	price llm.Price
	slow  time.Duration

	mu  sync.Mutex
	rng *rand.Rand
	all float64
	of  map[string]float64
}

func (m *till) Ask(ctx context.Context, r llm.Request) (llm.Answer, error) {
	m.mu.Lock()
	in, out, luck := 600+m.rng.IntN(400), 50+m.rng.IntN(150), m.rng.IntN(10)
	job, _, _ := strings.Cut(r.ID, "/")
	m.all += m.price.Cost(in, out, 0)
	m.of[job] += m.price.Cost(in, out, 0)
	m.mu.Unlock()
	if err := retry.Sleep(ctx, m.slow); err != nil {
		return llm.Answer{}, llm.Transport(ctx, err)
	}
	switch {
	case luck < 3: // billed, and no answer
		return llm.Answer{}, &llm.Error{Class: edgeagent.CallTransient, Status: 500, Message: "boom", TokensIn: in, TokensOut: out, Billable: true,
			Policy: llm.Policy{Retries: llm.AllAttempts, Breaker: llm.Healthy}}
	case luck < 5: // wants a repair
		return llm.Answer{Text: "prose", TokensIn: in, TokensOut: out, Status: 200}, nil
	}
	return llm.Answer{Text: strings.ReplaceAll(cloudText, `"Filler-2/X1"`, ""), TokensIn: in, TokensOut: out, Status: 200}, nil
}

func (m *till) Probe(context.Context) error { return nil }

// A thousand alarms, three workers, and an agent that is stopped or ends in the
// middle of everything again and again: neither the cap of the day nor that of a
// job is passed by more than one call can cost at worst.
func TestCapsHoldOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	synctest.Test(t, func(t *testing.T) {
		const alarms, jobCap = 1000, 0.005
		m := &till{price: llm.Price{Input: 1, Output: 2}, slow: 3 * time.Second, rng: rand.New(rand.NewPCG(1, 2)), of: map[string]float64{}}
		p := llm.ProviderOptions{Name: "cloud", Kind: "openai", Model: "m", Outside: true, Price: m.price, MaxOutputTokens: 200, Provider: m}
		worst := llm.WorstCaseUSD(p)
		o := queue.Options{Path: path, Site: "plant", Agent: "gw", Language: "en", Location: time.UTC, MaxAttempts: 5, DailyCapUSD: 0.5, CrashCostUSD: worst,
			Outside: func(string) bool { return true }}
		life := func(n int) *cappedLife {
			o.BootID = fmt.Sprintf("boot-%d", n) // a power cut is not the job's fault
			return newCappedLife(t, o, p, jobCap)
		}
		for n := range 24 {
			l := life(n)
			if n < 10 {
				l.raise(t, n*alarms/10, alarms/10)
			}
			lives := 2 * time.Second // shorter than any answer: the same jobs begin anew, and pay
			if n%8 == 7 {
				lives = time.Minute
			}
			_ = retry.Sleep(t.Context(), lives)
			l.end(t, n%8 == 7)
		}
		l := life(24)
		for l.db.JobCounts().Completed < alarms {
			_ = retry.Sleep(t.Context(), 10*time.Second)
		}
		most := func(job string) float64 { // nothing is unknown of a job that no crash interrupted
			if j, err := l.db.Job(edgeagent.ID(job)); err == nil && j.Interrupts == 0 {
				return jobCap
			}
			return jobCap + worst
		}
		capped := 0
		for job, usd := range m.of {
			if usd > most(job) {
				t.Errorf("job %s cost %.4f of a cap of %v", job, usd, jobCap)
			}
			if usd > jobCap/2 {
				capped++
			}
		}
		l.end(t, false)
		if m.all > o.DailyCapUSD+worst || m.all < o.DailyCapUSD/2 {
			t.Errorf("%.4f USD were spent of a cap of %v; one call costs %.4f at worst", m.all, o.DailyCapUSD, worst)
		}
		if capped == 0 {
			t.Error("no job came near its cap: this proves nothing of it")
		}
		t.Logf("%.4f USD for %d jobs, %d of them near the cap of a job", m.all, len(m.of), capped)
	})
}

// cappedLife is one run of the diagnosis side of an agent.
type cappedLife struct {
	db   *queue.DB
	wing *wing
}

func newCappedLife(t *testing.T, o queue.Options, p llm.ProviderOptions, jobCap float64) *cappedLife {
	t.Helper()
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	router := llm.New(llm.Options{Providers: []llm.ProviderOptions{p}, Runbook: shelfBook{}, Ledger: db, JobCapUSD: jobCap, MaxConcurrent: 3, Language: "en"})
	worker := diagnose.New(diagnose.Options{Jobs: db, Ready: db, Diagnoser: router, Workers: 3, Deadline: router.Deadline()})
	return &cappedLife{db: db, wing: startWing(t.Context(), slog.New(slog.DiscardHandler), runner{"router", router.Run}, runner{"worker", worker.Run})}
}

// end stops the run; at a crash the data file is gone first, so that nothing of
// what was under way is written down.
func (l *cappedLife) end(t *testing.T, crash bool) {
	t.Helper()
	if crash {
		_ = l.db.Close()
	}
	l.wing.stop()
	if !crash {
		if err := l.db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func (l *cappedLife) raise(t *testing.T, from, n int) {
	t.Helper()
	var all []edgeagent.Transition
	for i := range n {
		now := time.Now()
		a := edgeagent.Alarm{ID: edgeagent.NewID(now), Line: fmt.Sprintf("line-%d", from+i), Code: "X1", Text: "Air pressure low", Origin: edgeagent.OriginOutside,
			Priority: 2, State: edgeagent.AlarmUnacked, RaisedAt: now, Diagnose: true, Revision: 1}
		all = append(all, edgeagent.Transition{Kind: edgeagent.TransitionRaised, At: now, Alarm: a, Evidence: &edgeagent.Evidence{At: now}})
	}
	if _, err := l.db.Record(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}
