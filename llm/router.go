package llm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"edgeagent"
)

// Passages in a prompt, and what the end of a diagnosis needs beyond the
// budgets of its providers.
const (
	passagesAsked = 3
	slack         = 30 * time.Second
	lastResort    = 5 * time.Second // of the slack: for the runbook's answer and its way back
)

// stopRunbook as Options.DiagnoseStop answers stopped devices from the runbook.
const stopRunbook = "runbook"

// reasonOutside is why a provider elsewhere is not asked about a case.
const reasonOutside = "must not leave the site"

var errDeadline = errors.New("the diagnosis has used up its time")

// Router asks providers in their order until one gives an answer that holds;
// the runbook is the last and always does.
type Router struct {
	o       Options
	tiers   []*tier
	runbook ProviderOptions
}

// New returns a router that has asked nobody yet. Providers behind a runbook
// in the list are never reached and not used.
func New(o Options) *Router {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.DiagnoseStop == "" {
		o.DiagnoseStop = stopRunbook
	}
	r := &Router{o: o, runbook: ProviderOptions{Name: kindRunbook, Kind: kindRunbook}}
	for _, p := range o.Providers {
		if p.Kind == kindRunbook {
			r.runbook.Name = p.Name
			break
		}
		r.tiers = append(r.tiers, newTier(p, o.MaxConcurrent, o.Log))
	}
	for i, t := range r.tiers {
		t.before, t.after = r.tiers[:i], r.tiers[i+1:]
		for _, later := range t.after {
			t.later += later.o.Budget
		}
	}
	return r
}

// Pardon ends the holds that only a person could mend: a key, an account, a
// model. Who has mended it should not have to wait until their time is over.
func (r *Router) Pardon() {
	for _, t := range r.tiers {
		t.pardon()
	}
}

// Quote returns what may be shown to people of an answer to c that was not
// taken: [Forbidden.Quote] with the router's additions.
func (r *Router) Quote(c edgeagent.Case, raw string) string {
	return r.o.Forbidden.Quote(c, raw, r.newRun(c).language)
}

// Deadline returns how long a diagnosis takes at most, waiting for a free slot
// included: the sum of the providers' budgets and 30 s.
func (r *Router) Deadline() time.Duration {
	d := slack
	for _, t := range r.tiers {
		d += t.o.Budget
	}
	return d
}

// Status returns how every provider is doing, in their order.
func (r *Router) Status() []edgeagent.ProviderStatus {
	now := time.Now()
	all := make([]edgeagent.ProviderStatus, 0, len(r.tiers)+1)
	for _, t := range r.tiers {
		all = append(all, t.status(now))
	}
	return append(all, edgeagent.ProviderStatus{Name: r.runbook.Name, Kind: kindRunbook, Breaker: "closed"})
}

// Diagnose returns a diagnosis of c and every request that was made for it.
// There always is one, from the runbook if from nobody else; the error is
// ctx's end, and the requests are returned with it too.
func (r *Router) Diagnose(ctx context.Context, c edgeagent.Case) (out edgeagent.Outcome, err error) {
	run := r.newRun(c)
	defer run.crashed(&out, &err)
	if reason := r.runbookOnly(c); reason != "" {
		run.skipped = []string{reason}
		return run.fallback(), nil
	}
	inner, cancel := context.WithTimeoutCause(ctx, r.Deadline()-lastResort, errDeadline)
	defer cancel()
	for _, t := range r.tiers {
		d, then := run.try(ctx, inner, t)
		if d != nil {
			return run.outcome(d), nil
		}
		if ctx.Err() != nil {
			return run.outcome(nil), fmt.Errorf("diagnose job %s: %w", c.Job, context.Cause(ctx))
		}
		if then == ThenRunbook {
			break
		}
	}
	return run.fallback(), nil
}

// runbookOnly returns why no model is asked about c at all.
func (r *Router) runbookOnly(c edgeagent.Case) string {
	first := c.First().Alarm
	switch {
	case len(r.tiers) == 0:
		return ""
	case first.Code == edgeagent.CodeDeviceStopped && r.o.DiagnoseStop == stopRunbook:
		return first.Code + " is answered by the runbook"
	case first.Safety:
		// Nothing a model says of a safety function would be shown.
		return "a safety function is no model's business"
	default:
		return ""
	}
}

// run is one diagnosis. It belongs to one goroutine.
type run struct {
	*Router
	c        edgeagent.Case
	passages []Passage
	language string
	calls    []edgeagent.Call
	turn     *turn                // the last one
	spent    float64              // on the job, by earlier attempts too
	skipped  []string             // why the providers so far did not answer, in words
	passed   []edgeagent.Passed   // the same for programs
	rough    *edgeagent.Diagnosis // an answer that could not be read
	prompt   string
	raw      string
	faulty   []edgeagent.FaultyAnswer
}

func (r *Router) newRun(c edgeagent.Case) *run {
	run := &run{Router: r, c: c, language: r.o.Language, spent: c.SpentUSD}
	if run.language == "" {
		run.language = c.Language
	}
	return run
}

// crashed turns a panic into an error, with the requests that were made: they were
// paid for, and the caps of the job count them.
func (r *run) crashed(out *edgeagent.Outcome, err *error) {
	p := recover()
	if p == nil {
		return
	}
	if r.turn != nil && r.turn.pending != nil {
		r.calls = append(r.calls, *r.turn.pending)
	}
	*out, *err = r.outcome(nil), &crash{p, debug.Stack()}
}

// crash is a panic of our own code, or of the runbook's.
type crash struct {
	panic any
	stack []byte
}

func (c *crash) Error() string { return fmt.Sprintf("diagnosis crashed: %v", c.panic) }

// Stack returns where it was.
func (c *crash) Stack() []byte { return c.stack }

// try gives one provider its turn. Without a diagnosis the reason has been
// noted.
func (r *run) try(job, ctx context.Context, t *tier) (*edgeagent.Diagnosis, Then) {
	if no := r.refuses(t); no != (refusal{}) {
		return nil, r.skip(t, no)
	}
	free, no := t.slot(ctx)
	if no != (refusal{}) {
		return nil, r.skip(t, no)
	}
	defer free()
	if no := r.refuses(t); no != (refusal{}) { // while this job waited another found out
		return nil, r.skip(t, no)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.o.Budget, errBudget)
	defer cancel()
	return r.ask(job, ctx, t)
}

// refuses returns why t cannot be asked: by the case, the caps, a hold, the
// breaker.
func (r *run) refuses(t *tier) refusal {
	if t.o.Outside && !r.c.Outside {
		return refusal{edgeagent.PassedOutside, reasonOutside}
	}
	if reason := r.overCap(t); reason != "" {
		return refusal{edgeagent.PassedCap, reason}
	}
	return t.refuses(time.Now())
}

func (r *run) skip(t *tier, why refusal) Then {
	r.skipped = append(r.skipped, t.o.Name+": "+why.text)
	r.passed = append(r.passed, edgeagent.Passed{Provider: t.o.Name, Reason: why.class})
	return ThenNext
}

// ask has t answer, judges the answer, and asks for one repair if it is
// faulty. What stays faulty is cut down to what holds.
func (r *run) ask(job, ctx context.Context, t *tier) (*edgeagent.Diagnosis, Then) {
	if r.passages == nil {
		r.passages = r.o.Runbook.Passages(r.c, passagesAsked)
	}
	u := r.newTurn(job, t)
	a, fail := u.answer(ctx, nil)
	if fail != nil {
		return nil, r.gaveUp(t, fail)
	}
	d, fault := r.o.Forbidden.Judge(r.c, r.passages, a.Text, r.language)
	u.judged(fault)
	if fault != nil {
		r.keep(a.Text)
		return r.repair(ctx, u, a, fault)
	}
	return r.accept(u, a, d), ThenNext
}

func (r *run) repair(ctx context.Context, u *turn, a Answer, fault *Fault) (*edgeagent.Diagnosis, Then) {
	u.limit = u.attempts + 1 // one repair, not one more round of retries
	b, fail := u.answer(ctx, u.repairOf(a, fault))
	if fail == nil {
		a = b
		d, stays := r.o.Forbidden.Judge(r.c, r.passages, a.Text, r.language)
		u.judged(stays)
		if stays == nil {
			return r.accept(u, a, d), ThenNext
		}
		fault = stays
		r.keep(a.Text)
	}
	d, ok := r.o.Forbidden.Drop(r.c, r.passages, a.Text, r.language)
	switch {
	case ok && d.Unstructured == "":
		return r.accept(u, a, d), ThenNext
	case ok && r.rough == nil: // better than nothing, worse than any other answer
		r.rough = r.accept(u, a, d)
	}
	return nil, r.skip(u.t, refusal{edgeagent.CallOutput, "its answer could not be used: " + OneLine(fault.Text)})
}

func (r *run) accept(u *turn, a Answer, d edgeagent.Diagnosis) *edgeagent.Diagnosis {
	u.sign(&d, a)
	r.prompt, r.raw = u.prompt.System+"\n\n"+u.prompt.User, clip(a.Text, maxKept)
	return &d
}

// What is kept of answers, in bytes: they lie in the data file of a small box.
const (
	maxKept    = 16 << 10 // of the one that was taken
	maxFaulty  = 4 << 10  // of one that was not
	mostFaulty = 4        // of those, of one attempt at a job
)

// keep stores an answer that could not be used beside the call that it came
// with, for a person: the first ones, because those that follow repair them.
func (r *run) keep(text string) {
	last := len(r.calls) - 1
	if len(r.faulty) == mostFaulty || last < 0 {
		return
	}
	r.faulty = append(r.faulty, edgeagent.FaultyAnswer{Call: last, Fault: r.calls[last].Error, Raw: clip(text, maxFaulty)})
}

// gaveUp notes why t did not answer, and lets the prober look after a failure
// of its health.
func (r *run) gaveUp(t *tier, fail *Error) Then {
	if fail.Breaker == Counted && fail.Hold == 0 {
		t.suspected()
	}
	r.skip(t, refusal{fail.passed(), fail.Error()})
	return fail.Then
}

// fallback answers with what is left: a model's text that could not be read,
// else the runbook.
func (r *run) fallback() edgeagent.Outcome {
	if r.rough != nil {
		return r.outcome(r.rough)
	}
	started := time.Now()
	d := r.o.Runbook.Diagnose(r.c)
	d.By.Provider, d.By.Kind = r.runbook.Name, kindRunbook
	d.By.At, d.By.TookMS = time.Now(), time.Since(started).Milliseconds()
	d.By.WhyNotFirst, d.By.Passed = r.why(), r.passed
	return r.outcome(&d)
}

func (r *run) why() string { return strings.Join(r.skipped, "; ") }

func (r *run) outcome(d *edgeagent.Diagnosis) edgeagent.Outcome {
	return edgeagent.Outcome{Diagnosis: d, Calls: r.calls, Prompt: r.prompt, Raw: r.raw, Faulty: r.faulty}
}

// record keeps one request and tells who counts them.
func (r *run) record(call edgeagent.Call) {
	r.calls = append(r.calls, call)
	r.spent += call.CostUSD
	r.o.Log.Debug("model asked", "job", r.c.Job, "provider", call.Provider, "model", call.Model, "outcome", call.Outcome,
		"status", call.Status, "took_ms", call.TookMS, "tokens_in", call.TokensIn, "tokens_out", call.TokensOut,
		"cost_usd", call.CostUSD, "request_id", call.RequestID, "error", call.Error.String())
	if r.o.OnCall != nil {
		r.o.OnCall(call)
	}
}
