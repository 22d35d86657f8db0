package status

import (
	"net/http"
	"strings"
	"time"

	"edgeagent"
)

// alarmBody is the page of one alarm.
type alarmBody struct {
	alarmView
	Hint      *diagnosisView
	OwnHint   bool           // the answer is of another alarm of the group, the hint of this one
	Answer    *diagnosisView // the newest
	JobView   *jobView
	Memory    memoryView
	Evidence  *edgeagent.Evidence
	Tags      []featureView // of the alarm itself
	Moved     []featureView // that moved before it
	Window    string
	Since     stamp // of the history, when shorter than the window
	Shortened bool
}

// featureView is one tag of the evidence with its trend around the alarm.
type featureView struct {
	edgeagent.Feature
	Shown, Why               string
	Low, High, Average, Rise string
	Limits                   string
	Changed                  stamp
	Chart                    *chart
}

func (s *Server) alarmPage(w http.ResponseWriter, r *http.Request) {
	a, evidence, err := s.alarm(r.PathValue("id"))
	if err != nil {
		s.broken(w, r, "alarms", err)
		return
	}
	f := s.frame("alarms", "Alarm "+a.Code)
	body := &alarmBody{alarmView: f.alarm(a), Evidence: evidence}
	body.Values = f.values(a, 8)
	if a.Hint != nil {
		body.Hint = f.diagnosis(*a.Hint)
	}
	s.addJob(f, r, body)
	if body.Answer != nil && body.Answer.By.Kind == "runbook" && !body.OwnHint {
		body.Hint = nil // the answer is the same passage, read again
	}
	if body.Memory, err = s.memory(f.lens, a); err != nil {
		s.unread(f, r, "What people said of this alarm before", err)
	}
	s.addEvidence(f.lens, body)
	f.Body = body
	s.show(w, r, http.StatusOK, "alarm", f)
}

func (s *Server) addJob(f *frame, r *http.Request, body *alarmBody) {
	if body.Job == "" {
		return
	}
	j, err := s.opt.Source.Job(body.Job)
	if err != nil {
		s.unread(f, r, "The diagnosis", err)
		return
	}
	v := s.jobView(f.lens, j)
	body.JobView, body.Answer = &v, v.Answer
	body.Pending = j.State == edgeagent.JobPending || j.State == edgeagent.JobRunning
	body.together(j)
	body.OwnHint = ownHintSaysMore(body.Alarm, j)
}

func (s *Server) addEvidence(l lens, body *alarmBody) {
	e := body.Evidence
	if e == nil {
		return
	}
	window := time.Duration(e.WindowS * float64(time.Second))
	body.Window, body.Since = words(window), l.stamp(e.HistorySince)
	body.Shortened = !e.HistorySince.IsZero() && e.At.Sub(e.HistorySince) < window-time.Second
	for _, feature := range e.Tags {
		body.word(feature)
		body.Tags = append(body.Tags, s.feature(l, feature, body.RaisedAt))
	}
	for _, feature := range e.Moved {
		body.Moved = append(body.Moved, s.feature(l, feature, body.RaisedAt))
	}
}

// word puts the word that a number had when the alarm rose in its place.
func (b *alarmBody) word(f edgeagent.Feature) {
	for i := range b.Values {
		if v := &b.Values[i]; v.Name == f.Tag && f.Text != "" && f.Value.Equal(b.Alarm.Values[f.Tag]) {
			v.At = f.Text
		}
	}
}

// around is how much of a trend is drawn before and after the alarm.
const around = 30 * time.Minute

func (s *Server) feature(l lens, e edgeagent.Feature, raised time.Time) featureView {
	v := featureView{Feature: e, Why: e.Reason.String(), Changed: l.stampPtr(e.LastChange)}
	v.Shown = e.Text
	if v.Shown == "" {
		v.Shown = withUnit(valueText(e.Value), e.EngUnit)
	}
	v.Low, v.High, v.Average = optional(e.Min, e.EngUnit), optional(e.Max, e.EngUnit), optional(e.Mean, e.EngUnit)
	if e.Value.Kind() == edgeagent.KindBool {
		// Of a bit only the changes say something.
		v.Low, v.High, v.Average, v.Limits = "", "", "", ""
	} else if e.SlopePerMin != nil && *e.SlopePerMin != 0 {
		v.Rise = withUnit(signed(*e.SlopePerMin), e.EngUnit) + " a minute"
	}
	var limits []float64
	for _, limit := range []*float64{e.LimitLow, e.LimitHigh} {
		if limit != nil {
			limits = append(limits, *limit)
			v.Limits = withUnit(strings.TrimPrefix(v.Limits+", "+number(*limit), ", "), "")
		}
	}
	device, tag, _ := strings.Cut(e.Tag, ".")
	from, to := raised.Add(-around), raised.Add(around)
	if to.After(l.now) {
		to = l.now
	}
	v.Chart = l.draw(plot{points: s.opt.Source.Trend(device, tag, from), from: from, to: to, mark: raised,
		limits: limits, w: 600, h: 120, name: e.Tag, eng: e.EngUnit, gap: 2 * time.Minute})
	return v
}

func optional(f *float64, unit string) string {
	if f == nil {
		return ""
	}
	return withUnit(number(*f), unit)
}

func signed(f float64) string {
	if f > 0 {
		return "+" + number(f)
	}
	return number(f)
}

// jobPage is the life of one job.
func (s *Server) jobPage(w http.ResponseWriter, r *http.Request) {
	j, err := s.job(r.PathValue("id"))
	if err != nil {
		s.broken(w, r, "jobs", err)
		return
	}
	f := s.frame("jobs", "Job")
	v := s.jobView(f.lens, j)
	s.addFaulty(f, r, &v)
	body := struct {
		jobView
		Others []edgeagent.Alarm
	}{jobView: v}
	for _, id := range j.Alarms {
		a, err := s.opt.Source.Alarm(id)
		if err != nil {
			a = edgeagent.Alarm{ID: id, Text: "no longer kept"}
		}
		body.Others = append(body.Others, a)
	}
	f.Body = body
	s.show(w, r, http.StatusOK, "job", f)
}
