package edgeagent

import (
	"encoding/json"
	"time"
)

// Likelihood is a word, never a model's own number.
type Likelihood string

// The likelihoods.
const (
	Likely   Likelihood = "likely"
	Possible Likelihood = "possible"
	Unlikely Likelihood = "unlikely"
)

// Urgency says when somebody should look.
type Urgency string

// The urgencies.
const (
	UrgencyNow     Urgency = "now"
	UrgencyShift   Urgency = "shift"
	UrgencyPlanned Urgency = "planned"
)

// Cause is one probable cause, with what it rests on.
type Cause struct {
	Cause      string     `json:"cause"`
	Likelihood Likelihood `json:"likelihood"`
	Evidence   []string   `json:"evidence"` // device.tag or device/CODE of the case
	Sources    []string   `json:"sources"`  // passages of the runbook, path#anchor
}

// MarshalJSON writes empty lists, never null: receivers walk them.
func (c Cause) MarshalJSON() ([]byte, error) {
	type plain Cause
	c.Evidence, c.Sources = list(c.Evidence), list(c.Sources)
	return json.Marshal(plain(c))
}

func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// Grounded counts the citations that were checked and those that held.
type Grounded struct {
	Checked int `json:"checked"`
	Held    int `json:"held"`
}

// Provenance says who made a diagnosis, when and at what price.
type Provenance struct {
	Provider      string    `json:"provider"`
	Kind          string    `json:"kind"`
	Model         string    `json:"model"`
	PromptVersion string    `json:"prompt_version"`
	At            time.Time `json:"at"`
	TookMS        int64     `json:"took_ms"`
	TokensIn      int       `json:"tokens_in"`
	TokensOut     int       `json:"tokens_out"`
	CostUSD       float64   `json:"cost_usd"`
	Attempts      int       `json:"attempts"`
	WhyNotFirst   string    `json:"why_not_first"` // in words, for people
	Passed        []Passed  `json:"passed,omitempty"`
}

// Passed is a provider that comes before the one that answered, and why it did
// not: a class of failure as of calls, or one of the reasons below.
type Passed struct {
	Provider string      `json:"provider"`
	Reason   CallOutcome `json:"reason"`
}

// The reasons for which a provider is passed by before anything is sent.
const (
	PassedOutside CallOutcome = "outside" // the case must not leave the site
	PassedCap     CallOutcome = "cap"     // of the job or the day
	PassedContext CallOutcome = "context" // too small for the bare alarm
	PassedBreaker CallOutcome = "breaker"
	PassedBusy    CallOutcome = "busy" // with other jobs
)

// Diagnosis is advice to a person. It never operates the machine.
type Diagnosis struct {
	Summary              string     `json:"summary"`
	Language             string     `json:"language"`
	Causes               []Cause    `json:"causes"`
	Checks               []string   `json:"checks"` // in order, cheapest first
	Urgency              Urgency    `json:"urgency"`
	Safety               string     `json:"safety"` // written by code from line or runbook text, never by a model
	Missing              []string   `json:"missing"`
	InsufficientEvidence bool       `json:"insufficient_evidence"`
	Grounded             Grounded   `json:"grounded"`
	Filtered             []string   `json:"filtered"`     // checks that were removed, and why
	Unstructured         string     `json:"unstructured"` // an answer that could not be parsed, whole
	By                   Provenance `json:"by"`
}

// MarshalJSON writes empty lists, never null.
func (d Diagnosis) MarshalJSON() ([]byte, error) {
	type plain Diagnosis
	d.Causes, d.Checks, d.Missing, d.Filtered = list(d.Causes), list(d.Checks), list(d.Missing), list(d.Filtered)
	return json.Marshal(plain(d))
}

// CallOutcome is how one request to a provider ended.
type CallOutcome string

// The outcomes of calls, and at the same time the classes of failures.
const (
	CallOK          CallOutcome = "ok"
	CallTransient   CallOutcome = "transient"
	CallUnreachable CallOutcome = "unreachable"
	CallThrottled   CallOutcome = "throttled"
	CallQuota       CallOutcome = "quota"
	CallAuth        CallOutcome = "auth"
	CallConfig      CallOutcome = "config"
	CallRequest     CallOutcome = "request"
	CallOutput      CallOutcome = "output"
	CallAborted     CallOutcome = "aborted"
	CallUnknown     CallOutcome = "unknown"
)

// Call is one request that was sent to a provider, whatever came of it.
type Call struct {
	Provider  string      `json:"provider"`
	Model     string      `json:"model"`
	At        time.Time   `json:"at"`
	TookMS    int64       `json:"took_ms"`
	Outcome   CallOutcome `json:"outcome"`
	Status    int         `json:"status"` // HTTP, 0 when there was no answer
	TokensIn  int         `json:"tokens_in"`
	TokensOut int         `json:"tokens_out"`
	CostUSD   float64     `json:"cost_usd"`
	RequestID string      `json:"request_id"`
	Error     *Note       `json:"error"`
}

// Outcome is what a job's diagnosis ended with: the answer and every call that
// was made on the way. Calls are kept when the diagnosis failed too.
type Outcome struct {
	Diagnosis *Diagnosis
	Calls     []Call
	Prompt    string // what was sent, for the record; empty from the runbook
	Raw       string // what came back
	Faulty    []FaultyAnswer
}

// FaultyAnswer is an answer that could not be used as it came: what a person
// needs to judge a model by. The next call of the provider asked for its repair.
type FaultyAnswer struct {
	Call  int    `json:"call"`  // it came with, from 0 in the order of the outcome's calls; once stored, of the job's
	Fault *Note  `json:"fault"` // as the model was told
	Raw   string `json:"raw"`   // its beginning, if it was long
}

// Exchange is what was sent for a job with one attempt and what came back, for
// the record: the last prompt, the answer that was taken, those that were not.
type Exchange struct {
	Prompt string         `json:"prompt,omitempty"`
	Raw    string         `json:"raw,omitempty"`
	Faulty []FaultyAnswer `json:"faulty,omitempty"`
}

// CostUSD returns the sum over all calls.
func (o Outcome) CostUSD() float64 {
	var sum float64
	for _, c := range o.Calls {
		sum += c.CostUSD
	}
	return sum
}
