package llm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"

	"edgeagent"
	"edgeagent/internal/retry"
)

// maxWaited is the longest Retry-After that a job waits for; beyond it the
// provider is held and the next one answers.
const maxWaited = 8 * time.Second

// longestQueue is the longest pause before a busy server is asked again.
const longestQueue = 30 * time.Second

// Codes of failures that are the router's own.
const (
	codeBreaker  = "breaker"
	codeCap      = "cap"
	codeBudget   = "budget"
	codeHeld     = "held"
	codePanic    = "panic"
	codeTooSmall = "context_too_small"
)

var (
	errBudget  = errors.New("the provider's budget is used up")
	errAttempt = errors.New("the attempt's time is up")
)

// turn is one job with one provider.
type turn struct {
	*run
	t        *tier
	job      context.Context // of the caller: its end is an abort
	started  time.Time
	prompt   Prompt
	maxOut   int
	attempts int
	queued   int // of them, that found others before us
	limit    int // of attempts
	used     map[edgeagent.CallOutcome]int
	pending  *edgeagent.Call // answered, not judged yet
	first    int             // index of the turn's first call in run.calls
}

func (r *run) newTurn(job context.Context, t *tier) *turn {
	u := &turn{run: r, t: t, job: job, started: time.Now(), maxOut: t.o.MaxOutputTokens, limit: t.o.Attempts,
		used: make(map[edgeagent.CallOutcome]int), first: len(r.calls)}
	r.turn = u
	u.build(t.o.promptTokens())
	return u
}

// build makes a prompt of at most maxTokens. What is blanked may be longer than
// what it stands for, a name in every tag most of all: then so much less of the
// case is told, down to the bare alarm, that context and caps hold all the same.
func (u *turn) build(maxTokens int) {
	limit := maxTokens
	u.prompt = u.blanked(limit)
	for bare := !u.prompt.Fits; !bare && u.prompt.Tokens > maxTokens; {
		limit = max(1, limit-(u.prompt.Tokens-maxTokens))
		u.prompt = u.blanked(limit)
		bare = !u.prompt.Fits
		u.prompt.Fits = u.prompt.Tokens <= maxTokens
	}
}

// blanked is the prompt as it may leave: cut to maxTokens, then blanked once
// more, for names stand in it that no text of the case holds.
func (u *turn) blanked(maxTokens int) Prompt {
	r := u.redaction()
	c, passages := r.of(u.c, u.passages)
	return r.prompt(BuildPrompt(c, passages, PromptOptions{Language: u.language, MaxTokens: maxTokens}))
}

// redaction is what the provider must not be told.
func (u *turn) redaction() redaction {
	if !u.t.o.Outside {
		return nil
	}
	return u.o.Redact
}

// repairOf returns what asks for the repair of a, and makes room for it where
// prompt and answers share a small context. However much a server sent, no more
// goes back, and is paid for, than it was allowed to say.
func (u *turn) repairOf(a Answer, fault *Fault) *Repair {
	r := u.redaction().repair(&Repair{Answer: clipTokens(a.Text, growth*u.t.o.MaxOutputTokens), Fault: fault.Text})
	room := u.t.o.ContextTokens - u.maxOut - templateTokens - r.estimate()
	if u.t.o.ContextTokens > 0 && u.prompt.Tokens > room {
		u.build(max(room, minPromptTokens))
	}
	return r
}

// answer is the one retry loop: it ends with an answer or with the failure
// that no further attempt can mend within ctx, the budget.
func (u *turn) answer(ctx context.Context, repair *Repair) (Answer, *Error) {
	for {
		a, fail := u.attempt(ctx, repair)
		if fail == nil {
			return a, nil
		}
		if !u.mend(fail) || !u.pause(ctx, fail) {
			return Answer{}, fail
		}
	}
}

// mend reports whether another attempt makes sense, and prepares it.
func (u *turn) mend(fail *Error) bool {
	if fail.Unsent || u.attempts-u.queued >= u.limit || u.used[fail.Class] >= fail.Retries {
		return false
	}
	if u.t.refuses(time.Now()) != (refusal{}) { // this failure, or another job's, closed the way
		return false
	}
	u.used[fail.Class]++
	if fail.Shrink {
		before := u.prompt.Tokens
		u.build(before * 3 / 5)
		u.prompt.Fits = true // the server named no limit: this is the shortest there is
		return u.prompt.Tokens < before
	}
	if fail.Grow {
		before := u.maxOut
		u.maxOut *= growth
		if room := u.t.o.ContextTokens - u.prompt.Tokens; u.t.o.ContextTokens > 0 {
			u.maxOut = min(u.maxOut, room)
		}
		return u.maxOut > before
	}
	return true
}

// pause waits before the next attempt, never less than the server asks for,
// and reports whether there is time for one. When there is not, the provider
// is held as long as the server asked.
func (u *turn) pause(ctx context.Context, fail *Error) bool {
	if fail.Breaker == Healthy || fail.Class == edgeagent.CallRequest {
		return ctx.Err() == nil // nothing there wants rest
	}
	wait := max(u.t.o.Retry.Wait(u.attempts), fail.RetryAfter, fail.Wait)
	if fail.Queue {
		wait = max(retry.Backoff{First: fail.Wait, Max: longestQueue}.Wait(u.queued), fail.RetryAfter)
	}
	wait = retry.Backoff{First: wait, Max: wait, Jitter: u.t.o.Retry.Jitter}.Jittered(1)
	end, _ := ctx.Deadline()
	if fail.RetryAfter > maxWaited || time.Until(end) <= wait {
		u.t.rest(fail)
		return false
	}
	return retry.Sleep(ctx, wait) == nil
}

// attempt sends one request, unless money, the breaker, or what another job was
// told while this one waited forbids it.
func (u *turn) attempt(ctx context.Context, repair *Repair) (Answer, *Error) {
	if !u.prompt.Fits {
		return Answer{}, tooSmall(u.t.o, u.prompt)
	}
	if h := u.t.held(time.Now()); h.reason != "" {
		return Answer{}, &Error{Class: h.class, Code: codeHeld, Message: h.reason, Unsent: true}
	}
	id := fmt.Sprintf("%s/%d", u.c.Job, len(u.calls)+1)
	req := Request{ID: id, Prompt: u.prompt, MaxOutputTokens: u.maxOut, Temperature: u.t.o.Temperature, Repair: repair}
	reserved, reason := u.reserve(req)
	if reason != "" {
		return Answer{}, &Error{Class: edgeagent.CallQuota, Code: codeCap, Message: reason, Unsent: true}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, u.t.o.Timeout, errAttempt)
	defer cancel()
	started := time.Now()
	a, err := u.t.breaker.Execute(func() (Answer, error) { return u.send(ctx, req) })
	fail := asError(err)
	if fail != nil && fail.Unsent {
		u.settle(reserved, 0)
		u.t.refused(fail)
		return Answer{}, fail
	}
	u.attempts++
	if fail != nil && fail.Queue {
		u.queued++
	}
	u.t.asked()
	call := u.book(req, a, fail, started)
	u.settle(reserved, call.CostUSD)
	if fail != nil {
		u.t.failed(fail, time.Now())
		u.record(call)
		return Answer{}, fail
	}
	u.t.answered(time.Now())
	a.Model, u.pending = call.Model, &call
	return a, nil
}

// tooSmall is why a case is not sent to a model whose context cannot hold even
// the bare alarm: it would answer to half of it.
func tooSmall(o ProviderOptions, p Prompt) *Error {
	return &Error{Class: edgeagent.CallRequest, Code: codeTooSmall, Unsent: true,
		Message: fmt.Sprintf("its context is too small: the bare alarm needs about %d tokens, %d are left; raise context_tokens or lower max_output_tokens", p.Tokens, o.promptTokens())}
}

// send asks the provider. It may not panic through the breaker, and it tells
// apart who ended an attempt before the breaker counts it.
func (u *turn) send(ctx context.Context, req Request) (a Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	a, err = u.t.o.Provider.Ask(ctx, req)
	if err == nil {
		return a, nil
	}
	fail := asError(err)
	if fail.Class == edgeagent.CallAborted || errors.Is(fail.Err, context.DeadlineExceeded) {
		u.blame(ctx, fail)
	}
	return Answer{}, fail
}

// blame says whose time was up: the caller's, which is nobody's fault, the
// budget's, or the attempt's. An attempt that got only the rest of a budget
// proves nothing; the first one had all of it.
func (u *turn) blame(ctx context.Context, fail *Error) {
	switch {
	case u.job.Err() != nil:
		fail.Class, fail.Policy = edgeagent.CallAborted, Policy{}
		fail.Code, fail.Message = "aborted", "given up by the agent"
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errAttempt):
		fail.Class, fail.Policy = edgeagent.CallTransient, Policy{}
		fail.Code, fail.Message = codeBudget, fmt.Sprintf("no answer within the budget of %v", u.t.o.Budget)
		if u.attempts == 0 && errors.Is(context.Cause(ctx), errBudget) {
			fail.Breaker = Counted
		}
	}
}

// book makes the record of one request. What a server did not count, or could
// not say because the answer was cut, is estimated: it is billed all the same.
func (u *turn) book(req Request, a Answer, fail *Error, started time.Time) edgeagent.Call {
	call := edgeagent.Call{
		Provider: u.t.o.Name, Model: u.t.o.Model, At: started, TookMS: time.Since(started).Milliseconds(),
		Outcome: edgeagent.CallOK, Status: a.Status, TokensIn: a.TokensIn, TokensOut: a.TokensOut, RequestID: a.RequestID,
	}
	cached, said, unsaid, billable := a.CachedIn, a.Text, a.Unsaid, true
	if model := OneLine(a.Model); model != "" {
		call.Model = model
	}
	if fail != nil {
		call.Outcome, call.Status, call.Error, call.RequestID = fail.Class, fail.Status, fail.Note(), fail.RequestID
		call.TokensIn, call.TokensOut = fail.TokensIn, fail.TokensOut
		cached, said, unsaid, billable = fail.CachedIn, fail.Raw, fail.Unsaid, fail.Billable
	}
	call.TokensIn, call.TokensOut, cached = plausible(call.TokensIn), plausible(call.TokensOut), plausible(cached)
	if billable && call.TokensIn == 0 {
		call.TokensIn = req.estimate()
	}
	if billable && call.TokensOut == 0 {
		call.TokensOut = EstimateTokens(said) + unsaid/perToken
	}
	call.CostUSD = u.t.o.Price.Cost(call.TokensIn, call.TokensOut, cached)
	return call
}

// plausible returns what a server has counted, and 0 for what it cannot have.
func plausible(tokens int) int {
	if tokens < 0 || tokens > mostTokens {
		return 0
	}
	return tokens
}

// estimate guesses the tokens of everything that is sent.
func (r Request) estimate() int {
	n := max(r.Prompt.Tokens, EstimateTokens(r.Prompt.System)+EstimateTokens(r.Prompt.User)) + EstimateTokens(string(r.Prompt.Schema))
	return n + r.Repair.estimate()
}

func (r *Repair) estimate() int {
	if r == nil {
		return 0
	}
	return EstimateTokens(r.Answer) + EstimateTokens(RepairInstruction+r.Fault)
}

// judged ends the pending call: an answer that cannot be used is no success,
// though the provider is healthy.
func (u *turn) judged(fault *Fault) {
	if fault != nil {
		u.pending.Outcome = edgeagent.CallOutput
		u.pending.Error = edgeagent.NewNote(fault.Code, OneLine(fault.Text))
	}
	call := *u.pending
	u.pending = nil
	u.record(call)
}

// sign writes who made d.
func (u *turn) sign(d *edgeagent.Diagnosis, a Answer) {
	by := edgeagent.Provenance{
		Provider: u.t.o.Name, Kind: u.t.o.Kind, Model: a.Model, PromptVersion: u.prompt.Version,
		At: time.Now(), TookMS: time.Since(u.started).Milliseconds(), Attempts: u.attempts, WhyNotFirst: u.why(), Passed: u.passed,
	}
	for _, c := range u.calls[u.first:] {
		by.TokensIn += c.TokensIn
		by.TokensOut += c.TokensOut
		by.CostUSD += c.CostUSD
	}
	d.By = by
}

// asError returns err classified: nil stays nil, a refusal by the breaker is
// no request, and what a provider did not classify is counted.
func asError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, gobreaker.ErrOpenState):
		return &Error{Class: edgeagent.CallUnreachable, Code: codeBreaker, Message: "breaker open", Unsent: true, Err: err}
	case errors.Is(err, gobreaker.ErrTooManyRequests):
		return &Error{Class: edgeagent.CallUnreachable, Code: codeBreaker, Message: "breaker half-open, another job tries", Unsent: true, Err: err}
	default:
		return &Error{Class: edgeagent.CallUnknown, Code: "unknown", Message: OneLine(err.Error()), Policy: once, Billable: true, Err: err}
	}
}

func panicked(p any) *Error {
	return &Error{Class: edgeagent.CallUnknown, Code: codePanic, Message: OneLine(fmt.Sprintf("the provider's client panicked: %v", p)),
		Policy: Policy{Breaker: Counted}, Billable: true}
}
