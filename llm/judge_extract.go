package llm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"edgeagent"
)

// maxAnswer is how much of an answer is looked at, in bytes. Ten times what the
// limits of an answer allow.
const maxAnswer = 64 << 10

// answer is what a model said, field by field as far as it could be read.
type answer struct {
	Evidence     []observation
	Causes       []answerCause
	Checks       []string
	Urgency      string
	Missing      []string
	Insufficient bool
	Summary      string
}

type observation struct{ Name, Observation string }

type answerCause struct {
	Cause      string
	Likelihood string
	Evidence   []string
	Sources    []string
}

// extract finds the one JSON object in an answer, whatever stands around it:
// byte order mark, code fence, prose, the thoughts of a reasoning model.
func extract(raw string) (map[string]json.RawMessage, *Fault) {
	if len(raw) > maxAnswer {
		return nil, &Fault{FaultNotJSON, fmt.Sprintf("The answer is longer than %d bytes. Answer with one short JSON object.", maxAnswer)}
	}
	text := strings.Trim(withoutThoughts(raw), " \t\r\n\ufeff")
	if text == "" {
		return nil, &Fault{FaultEmpty, "The answer was empty. Answer with one JSON object."}
	}
	object, rest, fault := firstObject(text)
	if fault != nil {
		return nil, fault
	}
	if another, _, _ := firstObject(rest); another != nil {
		return nil, &Fault{FaultSeveral, "The answer held more than one JSON object. Answer with exactly one."}
	}
	return object, nil
}

// withoutThoughts drops what reasoning models write before their answer; a
// draft in there would else be taken for the answer.
func withoutThoughts(s string) string {
	if i := strings.LastIndex(s, "</think>"); i >= 0 {
		return s[i+len("</think>"):]
	}
	return s
}

// maxTries bounds the braces that are tried as the beginning of the answer.
const maxTries = 16

// firstObject returns the first JSON object that looks like an answer and what
// follows it.
func firstObject(s string) (object map[string]json.RawMessage, rest string, fault *Fault) {
	fault = &Fault{FaultNotJSON, "The answer was not JSON. Answer with one JSON object and nothing else."}
	for at, tries := 0, 0; tries < maxTries; tries++ {
		i := strings.IndexByte(s[at:], '{')
		if i < 0 {
			return nil, "", fault
		}
		at += i
		dec := json.NewDecoder(strings.NewReader(s[at:]))
		var m map[string]json.RawMessage
		err := dec.Decode(&m)
		if err == nil && looksLikeAnswer(m) {
			return m, s[at+int(dec.InputOffset()):], nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) { // whatever is whole within it is only a part
			return nil, "", &Fault{FaultNotJSON, "The JSON object ended in the middle. Answer again, shorter, with one complete JSON object."}
		}
		at++
	}
	return nil, "", fault
}

func looksLikeAnswer(m map[string]json.RawMessage) bool {
	for _, f := range fields {
		if _, found := m[f.name]; found {
			return true
		}
	}
	return false
}

// field is one property of the answer: how it is read and what it must be. The
// schema that is sent asks for all of them; an endpoint that does not enforce it
// may leave out what has a safe meaning when it is absent, for a repair costs
// money and seconds.
type field struct {
	name, want string
	mayLack    bool
	read       func(*answer, []byte) error
}

// fields is the answer's schema as code reads it; a test holds it to the schema
// that is sent.
var fields = []field{
	{"evidence", "an array of {name, observation}", true, func(a *answer, b []byte) error { return json.Unmarshal(b, &a.Evidence) }},
	{"causes", "an array of {cause, likelihood, evidence, sources}", false, func(a *answer, b []byte) error { return json.Unmarshal(b, &a.Causes) }},
	{"checks", "an array of strings", false, func(a *answer, b []byte) error { return json.Unmarshal(b, &a.Checks) }},
	{"urgency", "a string", true, func(a *answer, b []byte) error { return json.Unmarshal(b, &a.Urgency) }},
	{"missing", "an array of strings", true, func(a *answer, b []byte) error { return json.Unmarshal(b, &a.Missing) }},
	{"insufficient_evidence", "true or false", true, func(a *answer, b []byte) error { return json.Unmarshal(b, &a.Insufficient) }},
	{"summary", "a string", false, func(a *answer, b []byte) error { return json.Unmarshal(b, &a.Summary) }},
}

// read takes every field that has its shape; the others are named in faults.
// Further keys are ignored: they change nothing, and a repair costs money.
func read(m map[string]json.RawMessage) (answer, []Fault) {
	var a answer
	var faults []Fault
	for _, f := range fields {
		raw, found := m[f.name]
		if !found || bytes.Equal(raw, []byte("null")) {
			if !f.mayLack {
				faults = append(faults, schemaFault("%q is missing: it must be %s", f.name, f.want))
			}
			continue
		}
		if err := f.read(&a, raw); err != nil {
			faults = append(faults, schemaFault("%q must be %s", f.name, f.want))
		}
	}
	a.tidy()
	return a, faults
}

func schemaFault(format string, args ...any) Fault {
	return Fault{FaultSchema, fmt.Sprintf(format, args...) + "."}
}

// tidy makes the texts plain, and words of the lists lower case: "Likely" is
// not worth a second request.
func (a *answer) tidy() {
	for i := range a.Evidence {
		a.Evidence[i].Name = strings.TrimSpace(a.Evidence[i].Name)
	}
	for i := range a.Causes {
		c := &a.Causes[i]
		c.Cause, c.Likelihood = plain(c.Cause), strings.ToLower(strings.TrimSpace(c.Likelihood))
		c.Evidence, c.Sources = trimAll(c.Evidence), trimAll(c.Sources)
	}
	a.Checks, a.Missing = plainAll(a.Checks), plainAll(a.Missing)
	a.Urgency, a.Summary = strings.ToLower(strings.TrimSpace(a.Urgency)), plain(a.Summary)
}

var (
	likelihoods = []edgeagent.Likelihood{edgeagent.Likely, edgeagent.Possible, edgeagent.Unlikely}
	urgencies   = []edgeagent.Urgency{edgeagent.UrgencyNow, edgeagent.UrgencyShift, edgeagent.UrgencyPlanned}
)

// check holds a read answer to the limits of the schema that its types cannot.
func (a answer) check() []Fault {
	var out []Fault
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			out = append(out, schemaFault(format, args...))
		}
	}
	bad(a.Summary == "", "summary is empty")
	bad(tooLong(a.Summary, maxSummary), "summary is longer than %d characters", maxSummary)
	bad(a.Urgency != "" && !slices.Contains(urgencies, edgeagent.Urgency(a.Urgency)), "urgency must be now, shift or planned")
	bad(len(a.Causes) > maxCauses, "there are %d causes: at most %d", len(a.Causes), maxCauses)
	bad(len(a.Checks) > maxChecks, "there are %d checks: at most %d", len(a.Checks), maxChecks)
	bad(len(a.Causes) == 0 && !a.Insufficient, "there is no cause: give one or set insufficient_evidence")
	bad(len(a.Checks) == 0, "there is no check: give at least one")
	for i, c := range a.Causes {
		bad(c.Cause == "", "cause %d is empty", i+1)
		bad(tooLong(c.Cause, maxCauseText), "cause %d is longer than %d characters", i+1, maxCauseText)
		bad(!slices.Contains(likelihoods, edgeagent.Likelihood(c.Likelihood)), "likelihood of cause %d must be likely, possible or unlikely", i+1)
	}
	for i, c := range a.Checks {
		bad(c == "", "check %d is empty", i+1)
		bad(tooLong(c, maxCheckText), "check %d is longer than %d characters", i+1, maxCheckText)
	}
	return out
}

func tooLong(s string, limit int) bool { return utf8.RuneCountInString(s) > limit }
