// Package llm asks models for diagnoses: a cloud model behind a circuit
// breaker, then a model on the box, then the runbook, which always answers.
//
// The order, from the outside in, is
//
//	provider loop { caps → hold → slot → budget → retry { breaker { attempt } } → judge }
//
// There is one retry loop and one place that decides what a failure means: a
// [Provider] sends exactly one HTTP request an Ask and says by its [Error] what
// should follow. Whatever was sent is one [edgeagent.Call].
//
// [Router.Diagnose] is called by diagnose.Worker, one goroutine a job;
// [Router.Run] probes beside it, so that the next alarm does not pay for finding
// out that a provider is back. cmd/edgeagent gives each its key, its price and
// its place in the order.
//
// Nothing here is on disk. After kill -9 breakers are closed, holds are
// forgotten and each provider is probed anew; a call under way is lost with its
// answer, and queue books [WorstCaseUSD] of each priced provider for its job, so
// that the caps hold.
package llm
