package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/diagnose"
	"edgeagent/llm"
	"edgeagent/queue"
)

// oddCloud is a model behind a VPN: it cannot be reached until somebody says so.
type oddCloud struct {
	mu    sync.Mutex
	back  bool
	text  string
	asked int
}

const cloudText = `{"evidence":[],"causes":[{"cause":"The air filter is clogged","likelihood":"likely","evidence":["Filler-2/X1"],"sources":[]}],` +
	`"checks":["Look at the filter"],"urgency":"shift","missing":[],"insufficient_evidence":false,"summary":"The air filter is clogged."}`

// shelfBook is a runbook without an entry.
type shelfBook struct{}

func (shelfBook) Diagnose(edgeagent.Case) edgeagent.Diagnosis {
	return edgeagent.Diagnosis{Summary: "no entry", Causes: []edgeagent.Cause{}}
}

func (shelfBook) Passages(edgeagent.Case, int) []llm.Passage { return nil }

func (m *oddCloud) set(back bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.back = back
}

func (m *oddCloud) Ask(context.Context, llm.Request) (llm.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if !m.back {
		return llm.Answer{}, llm.Transport(context.Background(), errors.New("no route to host"))
	}
	return llm.Answer{Text: m.text, TokensIn: 100, TokensOut: 50, Status: 200, Model: "gpt"}, nil
}

func (m *oddCloud) Probe(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.back {
		return llm.Transport(context.Background(), errors.New("no route to host"))
	}
	return nil
}

// night is the diagnosis side of an agent, in virtual time: the real data file,
// router, worker and reviewer; the model alone is made up.
type night struct {
	db    *queue.DB
	cloud *oddCloud
	stop  func()
}

func newNight(t *testing.T, path string, o queue.Options, more func(*llm.ProviderOptions)) *night {
	t.Helper()
	o.Path, o.Site, o.Agent, o.BootID, o.Language, o.Location = path, "plant", "gw", "boot", "en", time.UTC
	o.Destinations = []queue.Destination{{Name: "historian", Required: true, Keep: time.Hour}}
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	n := &night{db: db, cloud: &oddCloud{text: cloudText}}
	p := llm.ProviderOptions{Name: "cloud", Kind: "openai", Model: "gpt", Outside: true, Provider: n.cloud, Price: llm.Price{Input: 1, Output: 1}}
	if more != nil {
		more(&p)
	}
	router := llm.New(llm.Options{Providers: []llm.ProviderOptions{p}, Runbook: shelfBook{}, Ledger: db, JobCapUSD: 0.05, Language: "en"})
	worker := diagnose.New(diagnose.Options{Jobs: db, Ready: db, Diagnoser: router, Deadline: router.Deadline()})
	reviewer := diagnose.NewReviewer(diagnose.ReviewOptions{Jobs: db, Book: db, Asker: router, Provider: "cloud", Outside: true})
	w := startWing(t.Context(), slog.New(slog.DiscardHandler), runner{"router", router.Run}, runner{"worker", worker.Run}, runner{"reviewer", reviewer.Run})
	n.stop = func() {
		w.stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	return n
}

// raise records an alarm and returns it with its job.
func (n *night) raise(t *testing.T, change func(*edgeagent.Alarm)) edgeagent.Alarm {
	t.Helper()
	now := time.Now()
	a := edgeagent.Alarm{ID: edgeagent.NewID(now), Line: "Filler-2", Code: "X1", Text: "Air pressure low", Origin: edgeagent.OriginOutside,
		Priority: 2, State: edgeagent.AlarmUnacked, RaisedAt: now, Diagnose: true, Revision: 1}
	if change != nil {
		change(&a)
	}
	out, err := n.db.Record(t.Context(), []edgeagent.Transition{{Kind: edgeagent.TransitionRaised, At: now, Alarm: a, Evidence: &edgeagent.Evidence{At: now}}})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func (n *night) job(t *testing.T, id edgeagent.ID) edgeagent.Job {
	t.Helper()
	j, err := n.db.Job(id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

var everywhere = queue.Options{Outside: func(string) bool { return true }, DailyCapUSD: 2}

// The night of the issue: the VPN is down at 03:00, the runbook answers, the VPN
// returns, and the answer is asked for again, once, after a while.
func TestTheCloudReviewsWhatItMissed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	synctest.Test(t, func(t *testing.T) {
		n := newNight(t, path, everywhere, nil)
		defer func() { n.stop() }()
		a := n.raise(t, nil)
		time.Sleep(time.Minute)
		if j := n.job(t, a.Job); j.Diagnosis == nil || j.Diagnosis.By.Kind != "runbook" || !diagnose.WantsReview(j, "cloud") {
			t.Fatalf("at night: %+v, want the runbook's answer in the cloud's place", j.Diagnosis)
		}
		time.Sleep(3 * time.Hour)
		if j := n.job(t, a.Job); len(j.Reviews) != 0 {
			t.Fatal("reviewed by a cloud that is away")
		}
		before := n.cloud.asked
		n.cloud.set(true)
		time.Sleep(10 * time.Minute) // a probe finds it, it settles
		j := n.job(t, a.Job)
		if len(j.Reviews) != 1 || j.Reviews[0].By.Provider != "cloud" || j.Reviews[0].By.CostUSD <= 0 || j.Latest().Causes[0].Cause != "The air filter is clogged" {
			t.Fatalf("in the morning: %+v, calls %+v, timeline %+v", j.Reviews, j.Calls, j.Timeline)
		}
		n.stop()
		n = newNight(t, path, everywhere, nil) // restarted, and the cloud is there
		n.cloud.set(true)
		time.Sleep(12 * time.Hour)
		if again := n.job(t, a.Job); len(again.Reviews) != 1 || n.cloud.asked != 0 || before == 0 {
			t.Errorf("asked %d times more after a restart", n.cloud.asked)
		}
	})
}

// What the router says of why it passed the first provider by must mean to the
// reviewer what it means.
func TestWhatTheRouterPassesByOnPurposeIsNotReviewed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		o     queue.Options
		p     func(*llm.ProviderOptions)
		alarm func(*edgeagent.Alarm)
		text  string
	}{
		{name: "a line that must not leave the site", o: queue.Options{}},
		{name: "no money today", o: queue.Options{Outside: everywhere.Outside, DailyCapUSD: 1e-9}},
		{name: "too expensive for one job", o: everywhere, p: func(p *llm.ProviderOptions) { p.Price = llm.Price{Input: 1e6, Output: 1e6} }},
		{name: "a safety function", o: everywhere, alarm: func(a *edgeagent.Alarm) { a.Safety = true }},
		{name: "a device that stopped", o: everywhere, alarm: func(a *edgeagent.Alarm) { a.Code = edgeagent.CodeDeviceStopped }},
		{name: "an answer of no use", o: everywhere, text: "I would rather not say."},
		{name: "a context that is too small", o: everywhere, p: func(p *llm.ProviderOptions) { p.ContextTokens = 300; p.MaxOutputTokens = 290 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "agent.db")
			synctest.Test(t, func(t *testing.T) {
				n := newNight(t, path, tt.o, tt.p)
				defer n.stop()
				n.cloud.set(true)
				if tt.text != "" {
					n.cloud.text = tt.text
				}
				a := n.raise(t, tt.alarm)
				time.Sleep(time.Minute)
				j := n.job(t, a.Job)
				if j.Diagnosis == nil || diagnose.WantsReview(j, "cloud") {
					t.Fatalf("wants a review: %+v, calls %+v", j.Diagnosis, j.Calls)
				}
				asked := n.cloud.asked
				time.Sleep(6 * time.Hour)
				if n.cloud.asked != asked || strings.Contains(timelineOf(n.job(t, a.Job)), "review") {
					t.Errorf("asked %d times more: %s", n.cloud.asked-asked, timelineOf(n.job(t, a.Job)))
				}
			})
		})
	}
}

func timelineOf(j edgeagent.Job) string {
	var out []string
	for _, e := range j.Timeline {
		out = append(out, e.Event+" "+e.Detail.String())
	}
	return strings.Join(out, "; ")
}
