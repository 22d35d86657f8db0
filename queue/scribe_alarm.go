package queue

import "edgeagent"

// alarm writes an alarm without its job and its last time, and returns where they
// belong: the committer alone knows them.
func (s *scribe) alarm(a *edgeagent.Alarm) (cut int) {
	s.alarmNames(a)
	s.alarmState(a)
	named(s, `,"values":`, a.Values, s.value)
	s.timeOrNull(`,"value_lost_since":`, a.ValueLostSince)
	s.flag(`,"first_out":`, a.FirstOut)
	s.text(`,"observed":`, string(a.Observed))
	s.optionalFlag(`,"removed":`, a.Removed)
	s.flag(`,"diagnose":`, a.Diagnose)
	s.optionalFlag(`,"safety":`, a.Safety)
	s.diagnosis(`,"hint":`, a.Hint)
	s.put(",")
	cut = len(s.out)
	s.whole(`,"revision":`, int64(a.Revision))
	s.put("}")
	return cut
}

func (s *scribe) alarmNames(a *edgeagent.Alarm) {
	s.text(`{"id":`, string(a.ID))
	s.text(`,"device":`, a.Device)
	s.text(`,"line":`, a.Line)
	s.text(`,"area":`, a.Area)
	s.text(`,"code":`, a.Code)
	s.text(`,"text":`, a.Text)
	s.text(`,"source_text":`, a.SourceText)
	s.optionalText(`,"source_id":`, a.SourceID)
	s.optionalTime(`,"source_at":`, a.SourceAt)
	s.text(`,"origin":`, string(a.Origin))
}

func (s *scribe) alarmState(a *edgeagent.Alarm) {
	s.whole(`,"priority":`, int64(a.Priority))
	s.text(`,"state":`, string(a.State))
	s.timeOrNull(`,"shelved_until":`, a.ShelvedUntil)
	s.optionalText(`,"shelve_reason":`, a.ShelveReason)
	s.text(`,"suppressed_by":`, a.SuppressedBy)
	s.time(`,"raised_at":`, a.RaisedAt)
	s.timeOrNull(`,"cleared_at":`, a.ClearedAt)
	s.timeOrNull(`,"acked_at":`, a.AckedAt)
	s.text(`,"acked_by":`, a.AckedBy)
}

func (s *scribe) diagnosis(lead string, d *edgeagent.Diagnosis) {
	s.put(lead)
	if d == nil {
		s.put("null")
		return
	}
	s.text(`{"summary":`, d.Summary)
	s.text(`,"language":`, d.Language)
	eachOrEmpty(s, `,"causes":`, d.Causes, s.cause)
	s.textsOrEmpty(`,"checks":`, d.Checks)
	s.text(`,"urgency":`, string(d.Urgency))
	s.text(`,"safety":`, d.Safety)
	s.textsOrEmpty(`,"missing":`, d.Missing)
	s.flag(`,"insufficient_evidence":`, d.InsufficientEvidence)
	s.whole(`,"grounded":{"checked":`, int64(d.Grounded.Checked))
	s.whole(`,"held":`, int64(d.Grounded.Held))
	s.textsOrEmpty(`},"filtered":`, d.Filtered)
	s.text(`,"unstructured":`, d.Unstructured)
	s.provenance(`,"by":`, &d.By)
	s.put("}")
}

func (s *scribe) cause(c *edgeagent.Cause) {
	s.text(`{"cause":`, c.Cause)
	s.text(`,"likelihood":`, string(c.Likelihood))
	s.textsOrEmpty(`,"evidence":`, c.Evidence)
	s.textsOrEmpty(`,"sources":`, c.Sources)
	s.put("}")
}

func (s *scribe) provenance(lead string, p *edgeagent.Provenance) {
	s.put(lead)
	s.text(`{"provider":`, p.Provider)
	s.text(`,"kind":`, p.Kind)
	s.text(`,"model":`, p.Model)
	s.text(`,"prompt_version":`, p.PromptVersion)
	s.time(`,"at":`, p.At)
	s.whole(`,"took_ms":`, p.TookMS)
	s.whole(`,"tokens_in":`, int64(p.TokensIn))
	s.whole(`,"tokens_out":`, int64(p.TokensOut))
	s.float(`,"cost_usd":`, p.CostUSD)
	s.whole(`,"attempts":`, int64(p.Attempts))
	s.text(`,"why_not_first":`, p.WhyNotFirst)
	if len(p.Passed) > 0 {
		each(s, `,"passed":`, p.Passed, func(q *edgeagent.Passed) {
			s.text(`{"provider":`, q.Provider)
			s.text(`,"reason":`, string(q.Reason))
			s.put("}")
		})
	}
	s.put("}")
}

func (s *scribe) evidence(e *edgeagent.Evidence) {
	s.time(`{"at":`, e.At)
	s.float(`,"window_s":`, e.WindowS)
	s.time(`,"history_since":`, e.HistorySince)
	each(s, `,"tags":`, e.Tags, s.feature)
	each(s, `,"moved":`, e.Moved, s.feature)
	s.whole(`,"omitted":`, int64(e.Omitted))
	if len(e.Gaps) > 0 {
		each(s, `,"gaps":`, e.Gaps, s.item)
	}
	s.optionalText(`,"mode":`, e.Mode)
	s.put("}")
}

func (s *scribe) feature(f *edgeagent.Feature) {
	s.text(`{"tag":`, f.Tag)
	s.put(`,"value":`)
	s.value(f.Value)
	s.optionalText(`,"text":`, f.Text)
	s.optionalText(`,"eng_unit":`, f.EngUnit)
	s.text(`,"quality":`, f.Quality.String())
	if f.Reason != nil {
		s.note(`,"reason":`, f.Reason)
	}
	s.float(`,"age_s":`, f.AgeS)
	s.optionalFloat(`,"min":`, f.Min)
	s.optionalFloat(`,"max":`, f.Max)
	s.optionalFloat(`,"mean":`, f.Mean)
	s.optionalFloat(`,"slope_per_min":`, f.SlopePerMin)
	s.whole(`,"changes":`, int64(f.Changes))
	s.optionalTime(`,"last_change":`, f.LastChange)
	s.float(`,"moved":`, f.Moved)
	s.optionalFloat(`,"limit_low":`, f.LimitLow)
	s.optionalFloat(`,"limit_high":`, f.LimitHigh)
	s.optionalFlag(`,"safety":`, f.Safety)
	s.put("}")
}

// event writes an event up to where its data begins.
func (s *scribe) event(e *edgeagent.Event) {
	s.text(`{"specversion":`, e.SpecVersion)
	s.text(`,"id":`, e.ID)
	s.text(`,"source":`, e.Source)
	s.text(`,"type":`, string(e.Type))
	s.optionalText(`,"subject":`, e.Subject)
	s.time(`,"time":`, e.Time)
	s.text(`,"datacontenttype":`, e.DataContentType)
	s.text(`,"eaepoch":`, string(e.Epoch))
	s.optionalText(`,"eastream":`, string(e.Stream))
	s.optionalText(`,"sequence":`, e.Sequence)
	s.optionalText(`,"eaboot":`, e.Boot)
	s.optionalText(`,"eamono":`, e.Mono)
	s.put(`,"data":`)
}

// entry writes a line of a job's timeline.
func (s *scribe) entry(t *edgeagent.TimelineEntry) {
	s.time(`{"at":`, t.At)
	s.text(`,"event":`, t.Event)
	s.note(`,"detail":`, t.Detail)
	s.put("}")
}
