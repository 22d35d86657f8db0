package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"

	"edgeagent"
)

// AskedCase is what a person wants diagnosed now, beside the queue: an alarm by
// its code, the stored case of a job, or a whole case.
type AskedCase struct {
	Alarm    string          `json:"alarm,omitempty"`
	Device   string          `json:"device,omitempty"` // of the alarm, where its code is not enough
	Line     string          `json:"line,omitempty"`   // likewise
	Job      edgeagent.ID    `json:"job,omitempty"`
	Case     *edgeagent.Case `json:"case,omitempty"`
	Provider string          `json:"provider,omitempty"` // that one alone; empty: all in their order
	DryRun   bool            `json:"dry_run,omitempty"`  // show what would be sent, send nothing
}

// Where an answered case comes from.
const (
	CaseActive     = "active"     // an open alarm, as it was recorded
	CaseDefinition = "definition" // no alarm of the code is open: the configuration's text, and the present values
	CaseStored     = "job"        // as a job's attempts saw it
	CaseGiven      = "given"      // as it was sent
)

// AnsweredCase is what came of an [AskedCase].
type AnsweredCase struct {
	From      string               `json:"from"` // active, definition, job or given
	Notes     []string             `json:"notes"`
	Case      edgeagent.Case       `json:"case"`
	Stored    *edgeagent.Diagnosis `json:"stored,omitempty"` // the job's newest answer
	Diagnosis *edgeagent.Diagnosis `json:"diagnosis"`        // nil when nobody answered, and with dry_run
	Error     string               `json:"error"`            // why nobody answered
	Calls     []edgeagent.Call     `json:"calls"`
	Prompts   []PreviewedPrompt    `json:"prompts,omitempty"` // with dry_run
}

// PreviewedPrompt is what one provider would be sent first.
type PreviewedPrompt struct {
	Provider string          `json:"provider"`
	Version  string          `json:"version,omitempty"`
	Tokens   int             `json:"tokens,omitempty"` // estimate
	Fits     bool            `json:"fits"`             // false: it would not be sent
	System   string          `json:"system,omitempty"`
	User     string          `json:"user,omitempty"`
	Schema   json.RawMessage `json:"schema,omitempty"` // of the answer
	Error    string          `json:"error,omitempty"`  // why nothing would be sent
}

// CaseAsker diagnoses beside the queue. It may take as long as all providers
// together; the end of ctx ends the request to a model.
type CaseAsker interface {
	AskCase(ctx context.Context, q AskedCase) (AnsweredCase, error)
}

// maxCase is how large a question may be: data sets have cases of a MiB, and
// only who has the machine's socket asks.
const maxCase = 2 << 20

// askCase is POST /api/v1/diagnose: one diagnosis that no alarm waits for. It
// costs money, so it is an action.
func (s *Server) askCase(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	var q AskedCase
	if err := decodeUpTo(maxCase, w, r, &q); err != nil {
		return 0, nil, err
	}
	if err := checkAsked(q); err != nil {
		return 0, nil, err
	}
	a, err := s.opt.Cases.AskCase(r.Context(), q)
	if err != nil {
		return 0, nil, fmt.Errorf("diagnose: %w", err)
	}
	a.Notes, a.Calls = orEmpty(a.Notes), orEmpty(a.Calls)
	if len(a.Calls) > 0 { // money: who spent it is known, as for every action
		s.opt.Log.Info("models asked beside the queue", "by", by, "case", a.From, "alarm", a.Case.First().Alarm.Name(),
			"calls", len(a.Calls), "cost_usd", edgeagent.Outcome{Calls: a.Calls}.CostUSD(), "error", a.Error)
	}
	return http.StatusOK, a, nil
}

func checkAsked(q AskedCase) error {
	named := 0
	for _, is := range []bool{q.Alarm != "", q.Job != "", q.Case != nil} {
		if is {
			named++
		}
	}
	switch {
	case named != 1:
		return invalid("want one of the fields %q, %q and %q", "alarm", "job", "case")
	case utf8.RuneCountInString(q.Alarm) > maxCode:
		return invalid("field %q is longer than %d characters", "alarm", maxCode)
	case q.Alarm == "" && q.Device+q.Line != "":
		return invalid("fields %q and %q go with %q alone", "device", "line", "alarm")
	case q.Case != nil && len(q.Case.Alarms) == 0:
		return invalid("field %q holds no alarm", "case")
	}
	if q.Job != "" {
		_, err := edgeagent.ParseID(string(q.Job))
		return err
	}
	return nil
}
