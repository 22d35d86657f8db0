package llm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"

	"edgeagent"
)

// Why a provider cannot be asked for itself.
var (
	errNoProvider = errors.New("no such provider in the order")
	errNoPrompt   = errors.New("the runbook is told nothing: it has no prompt")
)

// DiagnoseWith has one provider answer c, nobody in its place: for a second
// opinion, and to compare providers. Holds, breaker, caps and the budget are
// the same as for an alarm. The error says why there is no answer; the requests
// that were made, and an answer that could not be used, are returned with it.
func (r *Router) DiagnoseWith(ctx context.Context, provider string, c edgeagent.Case) (out edgeagent.Outcome, err error) {
	run := r.newRun(c)
	defer run.crashed(&out, &err)
	if provider == r.runbook.Name {
		return run.fallback(), nil
	}
	t, err := r.suited(provider, c)
	if err != nil {
		return edgeagent.Outcome{}, fmt.Errorf("ask %s about job %s: %w", provider, c.Job, err)
	}
	inner, cancel := context.WithTimeoutCause(ctx, r.Deadline()-lastResort, errDeadline)
	defer cancel()
	if d, _ := run.try(ctx, inner, t); d != nil {
		return run.outcome(d), nil
	}
	if ctx.Err() != nil {
		return run.outcome(nil), fmt.Errorf("ask %s about job %s: %w", provider, c.Job, context.Cause(ctx))
	}
	return run.outcome(nil), fmt.Errorf("ask about job %s: %s", c.Job, run.why())
}

// Preview returns what provider would be sent first for c; nothing is. It
// returns an error where nothing would ever be sent.
func (r *Router) Preview(provider string, c edgeagent.Case) (Prompt, error) {
	if provider == r.runbook.Name {
		return Prompt{}, errNoPrompt
	}
	t, err := r.suited(provider, c)
	if err != nil {
		return Prompt{}, fmt.Errorf("preview what %s would be sent: %w", provider, err)
	}
	run := r.newRun(c)
	run.passages = r.o.Runbook.Passages(c, passagesAsked)
	return run.newTurn(context.Background(), t).prompt, nil
}

// Ready reports whether nothing is known against asking provider now: its
// breaker is closed, it is not held, and no failure waits for a probe to
// explain it. It does not wait; the runbook always is.
func (r *Router) Ready(provider string) bool {
	if provider == r.runbook.Name {
		return true
	}
	t := r.tier(provider)
	return t != nil && t.ready(time.Now())
}

func (t *tier) ready(now time.Time) bool {
	if t.breaker.State() != gobreaker.StateClosed || t.held(now).reason != "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.suspect < 0
}

func (r *Router) tier(name string) *tier {
	for _, t := range r.tiers {
		if t.o.Name == name {
			return t
		}
	}
	return nil
}

// suited returns the tier called name, if c is any of its business.
func (r *Router) suited(name string, c edgeagent.Case) (*tier, error) {
	t := r.tier(name)
	if t == nil {
		return nil, fmt.Errorf("%w: it has %s", errNoProvider, strings.Join(r.names(), ", "))
	}
	if reason := r.runbookOnly(c); reason != "" {
		return nil, errors.New(reason)
	}
	if t.o.Outside && !c.Outside {
		return nil, errors.New(reasonOutside)
	}
	return t, nil
}

func (r *Router) names() []string {
	names := make([]string, 0, len(r.tiers)+1)
	for _, t := range r.tiers {
		names = append(names, t.o.Name)
	}
	return append(names, r.runbook.Name)
}
