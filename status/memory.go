package status

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"edgeagent"
)

// mostMemories is how many alarms one answer tells of.
const mostMemories = 1000

// maxWord is how many characters of a cause or a remedy are taken; what is
// longer is refused, not cut: somebody wrote it for a reason.
const maxWord = 500

func (s *Server) feedback(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	var body struct {
		Verdict  edgeagent.Verdict `json:"verdict"`
		Cause    string            `json:"cause"`
		FixedBy  string            `json:"fixed_by"`
		Provider string            `json:"provider"` // whose answer is meant; empty: the newest
	}
	id, err := target(w, r, &body)
	if err != nil {
		return 0, nil, err
	}
	switch body.Verdict {
	case edgeagent.VerdictRight, edgeagent.VerdictPartly, edgeagent.VerdictWrong:
	default:
		return 0, nil, invalid("field %q: want right, partly or wrong", "verdict")
	}
	if utf8.RuneCountInString(body.Cause) > maxWord || utf8.RuneCountInString(body.FixedBy) > maxWord {
		return 0, nil, invalid("fields %q and %q take up to %d characters", "cause", "fixed_by", maxWord)
	}
	j, err := s.opt.Actions.Feedback(r.Context(), id, edgeagent.Feedback{
		Verdict: body.Verdict, Cause: body.Cause, FixedBy: body.FixedBy, Provider: body.Provider, By: by, At: time.Now(),
	})
	if err != nil {
		return 0, nil, fmt.Errorf("job %s: %w", id, err)
	}
	return http.StatusOK, withLists(j), nil
}

func (s *Server) confirm(w http.ResponseWriter, r *http.Request, by string) (int, any, error) {
	return s.onJob(w, r, &empty{}, func(id edgeagent.ID) error { return s.opt.Actions.ConfirmFeedback(r.Context(), id, by) })
}

// apiAccuracy is GET /api/v1/accuracy: how diagnoses were judged, by provider
// and model, and by alarm.
func (s *Server) apiAccuracy(w http.ResponseWriter, r *http.Request) {
	all, err := s.opt.Source.Accuracy()
	if err != nil {
		s.failed(w, r, err)
		return
	}
	alarms, err := s.opt.Source.Memories(mostMemories)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	for i := range alarms {
		alarms[i] = wholeLists(alarms[i])
	}
	reply(w, http.StatusOK, map[string]any{"providers": orEmpty(all), "alarms": orEmpty(alarms)})
}

// wholeLists makes a memory's lists ones that can be walked.
func wholeLists(m edgeagent.Memory) edgeagent.Memory {
	m.Before, m.Judged = orEmpty(m.Before), orEmpty(m.Judged)
	return m
}

// judgedView is a line of the hit rate.
type judgedView struct {
	Who, Words string
}

func judgedRows(all []edgeagent.Accuracy) (rows []judgedView) {
	for _, a := range all {
		if a.Judged() > 0 {
			rows = append(rows, judgedView{strings.TrimSpace(a.Provider + " " + a.Model), judgedWords(a)})
		}
	}
	return rows
}

// judgedWords is the hit rate in words; no percentage is made of three verdicts.
func judgedWords(a edgeagent.Accuracy) string {
	words := fmt.Sprintf("right in %d of %d judged", a.Right, a.Judged())
	if a.Partly > 0 {
		words += fmt.Sprintf(", partly in %d", a.Partly)
	}
	if a.Wrong > 0 {
		words += fmt.Sprintf(", wrong in %d", a.Wrong)
	}
	return words
}

// beforeView is what came of an earlier activation.
type beforeView struct {
	edgeagent.Precedent
	At   stamp
	Kept bool // the alarm has a page still
}

// memoryView is what an alarm's page tells of the times before.
type memoryView struct {
	Last   *beforeView // the alarm's last time, when somebody said something of it
	Before []beforeView
	Judged []judgedView
}

// shownBefore is how many of the earlier times a page shows.
const shownBefore = 5

// memory returns what is remembered of an alarm from before this activation.
func (s *Server) memory(l lens, a edgeagent.Alarm) (v memoryView, err error) {
	m, err := s.opt.Source.Memory(a.Device, a.Line, a.Code)
	if err != nil {
		return v, err
	}
	v.Judged = judgedRows(m.Judged)
	for _, p := range m.Before {
		if p.Alarm >= a.ID || len(v.Before) == shownBefore {
			continue
		}
		_, err := s.opt.Source.Alarm(p.Alarm)
		row := beforeView{p, l.stamp(p.At), err == nil}
		if a.LastTime != nil && a.LastTime.ID == p.Alarm {
			v.Last = &row
			continue
		}
		v.Before = append(v.Before, row)
	}
	return v, nil
}

// wordView is a person's word on an answer.
type wordView struct {
	edgeagent.Feedback
	At, Confirmed stamp
}

func (l lens) word(f *edgeagent.Feedback) *wordView {
	if f == nil {
		return nil
	}
	return &wordView{*f, l.stamp(f.At), l.stampPtr(f.ConfirmedAt)}
}

// answersView is what a job was answered, the newest first.
type answersView struct {
	Newest *diagnosisView
	First  *diagnosisView // that it superseded; nil while there is one answer
	Agree  string         // in words, whether the two name the same first cause
	Word   *wordView
}

func (l lens) answers(j edgeagent.Job) answersView {
	v := answersView{Word: l.word(j.Feedback)}
	newest := j.Latest()
	if newest == nil {
		return v
	}
	v.Newest = l.diagnosis(*newest)
	if newest != j.Diagnosis && j.Diagnosis != nil {
		v.First = l.diagnosis(*j.Diagnosis)
		v.Agree = agreement(*j.Diagnosis, *newest)
	}
	return v
}

// agreement compares the first causes as far as code can: word for word, or by
// the passage of the runbook that both rest on. Who reads decides the rest.
func agreement(first, newest edgeagent.Diagnosis) string {
	if len(first.Causes) == 0 || len(newest.Causes) == 0 {
		return "Only one of the two names a cause."
	}
	a, b := first.Causes[0], newest.Causes[0]
	switch {
	case sameWords(a.Cause, b.Cause):
		return "Both name the same first cause."
	case shared(a.Sources, b.Sources):
		return "Their first causes are worded differently and rest on the same passage of the runbook."
	default:
		return "Their first causes differ: compare them before you act."
	}
}

func sameWords(a, b string) bool {
	plain := func(s string) string {
		return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune(" .,;:!-–()\"'", r) }), " ")
	}
	return plain(a) == plain(b)
}

func shared(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}
