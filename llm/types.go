package llm

import (
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
)

// Provider is a model somewhere else. Both methods block until ctx ends or the
// answer is whole, are safe for concurrent use, and return an *[Error].
type Provider interface {
	// Ask sends one HTTP request and never retries on its own.
	Ask(ctx context.Context, r Request) (Answer, error)
	// Probe sends one cheap real request that tells whether Ask could work.
	Probe(ctx context.Context) error
}

// Prompt is what a model is told: built once a case and provider.
type Prompt struct {
	System, User string
	Schema       json.RawMessage // of the answer
	Version      string          // of the template
	Tokens       int             // estimate, never exact
	Fits         bool            // within what was asked for; one that does not must not be sent
}

// Repair asks a model to correct its own answer, once.
type Repair struct {
	Answer string // as it came
	Fault  string // what is wrong with it, in words fit for the model
}

// RepairInstruction precedes the fault in a repair request.
const RepairInstruction = "Your answer cannot be used. Correct exactly this and answer again with the whole JSON object, nothing else: "

// Request is one question to a model.
type Request struct {
	// ID is the job's and the attempt's, JOB/N: what a provider logs can be
	// found in the job, and the other way round.
	ID              string
	Prompt          Prompt
	MaxOutputTokens int
	Temperature     float64
	Repair          *Repair
}

// Answer is what a model said. Tokens are 0 where the server did not count.
type Answer struct {
	Text      string
	TokensIn  int
	TokensOut int
	CachedIn  int // of TokensIn, served from the provider's cache
	Unsaid    int // weight of what it wrote beside Text and is billed: thoughts, a refusal
	Model     string
	RequestID string
	Status    int
}

// Price is what a model costs, in USD per million tokens.
type Price struct {
	Input, Output, CachedInput float64
}

// ProviderOptions describe one provider in the router's order. Zero values of
// the numbers mean the defaults of the reference configuration.
type ProviderOptions struct {
	Name, Kind, Model string
	Outside           bool          // its requests leave the site
	Timeout           time.Duration // of one attempt
	Budget            time.Duration // of one job with this provider, all attempts; waiting for a slot is not counted
	Retry             retry.Backoff
	Attempts          int // requests to one job at most, repairs included
	BreakerFailures   uint32
	BreakerOpenFor    time.Duration
	Price             Price
	MaxOutputTokens   int
	Temperature       float64
	ContextTokens     int           // prompt and answer together; 0: the model's is larger than anything sent
	KeepAlive         time.Duration // a model on the box stays loaded for after a request; 0: not known
	Provider          Provider
}

// Ledger keeps the day's spending. Reserve returns an error when usd more
// would exceed the cap; every successful Reserve is followed by one Settle.
type Ledger interface {
	Reserve(job edgeagent.ID, usd float64) error
	Settle(job edgeagent.ID, reserved, actual float64)
}

// Passage is a piece of the runbook that may be quoted in a prompt.
type Passage struct {
	ID    string // PATH#ANCHOR: runbook/filler.md#f212
	Title string
	Text  string
	Exact bool // an entry for this very alarm, not one found by its words

	Safety string // what the entry says of safety; shown to people, never sent to a model
}

// Fallback answers without a model: always, at once, from the runbook.
type Fallback interface {
	Diagnose(c edgeagent.Case) edgeagent.Diagnosis
	Passages(c edgeagent.Case, n int) []Passage
}

// Options of a [Router].
type Options struct {
	Providers     []ProviderOptions
	Runbook       Fallback
	Ledger        Ledger           // nil: nothing is counted
	MaxConcurrent int              // requests at a time to one provider; 1 to Ollama, which wedges otherwise
	JobCapUSD     float64          // 0: no cap
	DiagnoseStop  string           // "runbook" or "all": who answers device_stopped
	Redact        []*regexp.Regexp // blanked in what is told to providers outside the site
	Forbidden     *Forbidden       // advice that the site adds to what no model may give; nil: none
	Language      string
	Log           *slog.Logger
	OnCall        func(edgeagent.Call) // after every request; must not block
}
