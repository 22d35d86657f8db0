package llm

import (
	"fmt"
	"strings"
	"time"

	"edgeagent"
)

// Counting says what a failure means to the circuit breaker.
type Counting uint8

// Excluded failures say nothing about the provider's health: our own
// cancellation, a refused request, a rate limit. Counted ones say that it, or
// the way to it, is bad. Healthy ones are useless answers of a working model.
const (
	Excluded Counting = iota
	Counted
	Healthy
)

// Then says who is asked after a provider has failed for good.
type Then uint8

// A failure passes to the next provider; an answer that was refused for its
// content goes to the runbook, because another model would be asked the same.
const (
	ThenNext Then = iota
	ThenRunbook
)

// AllAttempts as [Policy].Retries retries as long as the provider's attempts
// and budget last.
const AllAttempts = 1 << 10

// Policy is what follows a failure: one row of a provider's table.
type Policy struct {
	Retries int           // further requests after failures of this class
	Wait    time.Duration // at least so long before the next one
	Hold    time.Duration // the provider is not asked for so long
	Breaker Counting
	Then    Then
	Queue   bool // others are served first: waited for as long as the budget lasts, with growing pauses
	Shrink  bool // the next request carries a smaller prompt
	Grow    bool // the next request allows a longer answer
}

// Error is a failed request to a provider, classified.
type Error struct {
	Class      edgeagent.CallOutcome
	Status     int    // HTTP, 0 when there was no answer
	Code       string // the server's own, or ours
	Message    string // one line for a person: what, and what to do
	RetryAfter time.Duration
	RequestID  string

	TokensIn  int // as far as the server said
	TokensOut int
	CachedIn  int
	Unsaid    int    // as of [Answer]
	Raw       string // text received before the failure
	Unsent    bool   // no request left the agent: not a call
	Billable  bool   // the server may bill what it did; usage unknown is estimated

	Policy
	Err error
}

// Error returns the message with the server's status and code.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Message == "" {
		b.WriteString(string(e.Class))
	}
	if e.Status > 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// passed returns why the provider was passed by: the class, or what kept the
// request from being sent.
func (e *Error) passed() edgeagent.CallOutcome {
	switch e.Code {
	case codeBreaker:
		return edgeagent.PassedBreaker
	case codeCap:
		return edgeagent.PassedCap
	case codeTooSmall:
		return edgeagent.PassedContext
	}
	return e.Class
}

// Note returns the failure as it is stored with a call.
func (e *Error) Note() *edgeagent.Note {
	code := e.Code
	if code == "" {
		code = string(e.Class)
	}
	return edgeagent.NewNote(code, e.Error())
}
