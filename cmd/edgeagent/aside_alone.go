package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"edgeagent"
	"edgeagent/config"
	"edgeagent/llm"
	"edgeagent/llm/runbook"
	"edgeagent/queue"
	"edgeagent/status"
	"edgeagent/tags"
)

// An answerer answers what people ask beside the queue: the running agent, or this
// process where none runs.
type answerer struct {
	ask   func(ctx context.Context, q status.AskedCase) (status.AnsweredCase, error)
	cfg   *config.Config
	spent func() (edgeagent.SpendStatus, error)
	end   func()
}

// newAnswerer finds out who answers, and says so when it is not the agent.
func newAnswerer(c *cobra.Command, o *options) (*answerer, error) {
	cfg, err := anyConfig(o)
	if err != nil {
		return nil, err
	}
	cl := clientOn(clientSocket(cfg))
	if err := cl.get(c.Context(), "/healthz", nil); exitCode(err) != exitUnreachable {
		return throughSocket(c, cl, cfg), nil
	}
	return alone(c, cfg)
}

func throughSocket(c *cobra.Command, cl *client, cfg *config.Config) *answerer {
	patient := *cl
	patient.http = &http.Client{Transport: cl.http.Transport} // a small computer thinks for minutes; Ctrl-C ends it
	return &answerer{cfg: cfg, end: func() {},
		ask: func(ctx context.Context, q status.AskedCase) (a status.AnsweredCase, err error) {
			err = patient.post(ctx, "/api/v1/diagnose", q, &a)
			if err != nil && ctx.Err() != nil {
				err = errInterrupted // not "no agent answers"
			}
			return a, err
		},
		spent: func() (edgeagent.SpendStatus, error) {
			var s edgeagent.Status
			err := cl.get(c.Context(), "/api/v1/status", &s)
			return s.Spend, err
		},
	}
}

var errInterrupted = errors.New("interrupted")

// alone answers without an agent: from the configuration, the runbook and what
// the data file holds, with money that no data file counts.
func alone(c *cobra.Command, cfg *config.Config) (*answerer, error) {
	c.PrintErrln("edgeagent: no agent runs: present values are not known, and what is spent is not counted in the data file")
	book := bookAlone(c, cfg)
	reader, err := readFile(c, cfg)
	if err != nil {
		return nil, err
	}
	cash := &purse{cap: cfg.LLM.DailyCapUSD}
	x := &aside{cfg: cfg, charge: func(edgeagent.ID, float64) error { return nil }, notes: []string{"no agent runs: the tags' present values are not known"}}
	end := func() {}
	if reader != nil {
		end = sync.OnceFunc(func() { _ = reader.Close() })
		x.archive, x.letGo = reader, end
		if cash.spent, err = reader.SpentUSD(time.Now().In(cfg.Agent.Timezone)); err != nil {
			end()
			return nil, fmt.Errorf("read what today has cost: %w", err)
		}
	}
	table := tags.New(plainTags(cfg))
	x.present = func(_ context.Context, device string, names []string) (*edgeagent.Evidence, error) {
		ev := table.Evidence(device, names, time.Now())
		ev.Gaps = append(ev.Gaps, "no agent reads the plant: no present value is known")
		return ev, nil
	}
	options := routerOptions(cfg, book, cash, slog.New(slog.DiscardHandler), nil)
	x.router = llm.New(options)
	return &answerer{ask: x.AskCase, cfg: cfg, spent: cash.status, end: func() {
		hangUpOn(options.Providers)
		end()
	}}, nil
}

// hangUpOn closes the connections that were kept for the next request.
func hangUpOn(all []llm.ProviderOptions) {
	for _, p := range all {
		if c, ok := p.Provider.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// bookAlone reads the runbook; what is wrong with it is said, and answers go on
// without.
func bookAlone(c *cobra.Command, cfg *config.Config) *runbook.Book {
	book, err := runbook.Load(runbookPath(cfg))
	if err != nil {
		c.PrintErrf("edgeagent: %v; answering without the runbook\n", err)
		if book, err = runbook.Load(""); err != nil {
			book = &runbook.Book{}
		}
	}
	book.Language, book.Templates, book.Location = cfg.LLM.Language, templatesOf(cfg), cfg.Agent.Timezone
	return book
}

// readFile opens the data file for reading; nil when there is none yet.
func readFile(c *cobra.Command, cfg *config.Config) (*queue.Reader, error) {
	path := dataFile(cfg)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return queue.OpenChecked(c.Context(), path, checkInChild)
}

// purse is a ledger that ends with the process.
type purse struct {
	mu              sync.Mutex
	cap             float64 // of the day; 0: none
	spent, reserved float64
}

// Reserve sets usd aside, or returns an error when the cap of the day forbids it.
func (p *purse) Reserve(_ edgeagent.ID, usd float64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cap > 0 && usd > 0 && p.spent+p.reserved+usd > p.cap {
		return queue.ErrCap
	}
	p.reserved += usd
	return nil
}

// Settle ends a reservation with what was paid.
func (p *purse) Settle(_ edgeagent.ID, reserved, actual float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reserved -= reserved
	p.spent += actual
}

func (p *purse) status() (edgeagent.SpendStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return edgeagent.SpendStatus{TodayUSD: p.spent, DailyCapUSD: p.cap}, nil
}
