package llm

import (
	"cmp"
	"time"
)

// Defaults of the reference configuration.
const (
	defaultAttempts     = 4
	defaultOutputTokens = 700
	defaultPromptTokens = 6000
	minPromptTokens     = 512
	templateTokens      = 64 // what a chat template adds to a prompt, with room
	schemaTokens        = 800
	repairTokens        = len(RepairInstruction)/2 + maxFaultText // whatever the fault quotes
	growth              = 2                                       // of an answer that was longer than allowed
	mostTokens          = 1 << 20                                 // that a server may count for one of our calls

	kindOllama  = "ollama"
	kindRunbook = "runbook"
)

// Cost returns the price in USD of what was used; cached is part of in. A
// price without cached_input charges cached tokens as the others.
func (p Price) Cost(in, out, cached int) float64 {
	cached = max(0, min(cached, in))
	return (float64(in-cached)*p.Input + float64(cached)*cmp.Or(p.CachedInput, p.Input) + float64(out)*p.Output) / 1e6
}

// WorstCaseUSD returns what one call to p can cost at most: the largest prompt
// that is built for it, the longest answer that is ever allowed, and for a
// repair another such answer that goes back with its faults.
func WorstCaseUSD(p ProviderOptions) float64 {
	p = p.withDefaults()
	longest := growth * p.MaxOutputTokens
	return p.Price.Cost(p.promptTokens()+schemaTokens+longest+repairTokens, longest, 0)
}

// promptTokens is the budget of a prompt.
func (p ProviderOptions) promptTokens() int {
	if p.ContextTokens == 0 {
		return defaultPromptTokens
	}
	return min(defaultPromptTokens, max(minPromptTokens, p.ContextTokens-p.MaxOutputTokens-templateTokens))
}

// withDefaults fills what was left out. A model on the box gets minutes where
// one elsewhere gets seconds.
func (p ProviderOptions) withDefaults() ProviderOptions {
	timeout, budget := 20*time.Second, 25*time.Second
	if p.Kind == kindOllama {
		timeout, budget = 300*time.Second, 300*time.Second
	}
	p.Timeout = cmp.Or(p.Timeout, timeout)
	p.Budget = cmp.Or(p.Budget, max(budget, p.Timeout))
	p.Attempts = cmp.Or(p.Attempts, defaultAttempts)
	p.Retry.First = cmp.Or(p.Retry.First, 500*time.Millisecond)
	p.Retry.Max = cmp.Or(p.Retry.Max, 8*time.Second)
	p.Retry.Jitter = cmp.Or(p.Retry.Jitter, 0.25)
	p.BreakerFailures = cmp.Or(p.BreakerFailures, 3)
	p.BreakerOpenFor = cmp.Or(p.BreakerOpenFor, 30*time.Second)
	p.MaxOutputTokens = cmp.Or(p.MaxOutputTokens, defaultOutputTokens)
	return p
}
