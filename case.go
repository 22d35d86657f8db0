package edgeagent

import "time"

// Feature is one tag of a case, described by its numbers over a window before
// the alarm: no raw series leaves the agent.
type Feature struct {
	Tag         string     `json:"tag"` // DEVICE.TAG
	Value       Value      `json:"value"`
	Text        string     `json:"text,omitempty"` // the enum's word
	EngUnit     string     `json:"eng_unit,omitempty"`
	Quality     Quality    `json:"quality"`
	Reason      *Note      `json:"reason,omitempty"`
	AgeS        float64    `json:"age_s"`
	Min         *float64   `json:"min,omitempty"`
	Max         *float64   `json:"max,omitempty"`
	Mean        *float64   `json:"mean,omitempty"`
	SlopePerMin *float64   `json:"slope_per_min,omitempty"` // least squares over the last minute
	Changes     int        `json:"changes"`
	LastChange  *time.Time `json:"last_change,omitempty"` // nil: did not change in the window
	Moved       float64    `json:"moved"`                 // how far it moved before the alarm, 0 to 1 of its own range
	LimitLow    *float64   `json:"limit_low,omitempty"`
	LimitHigh   *float64   `json:"limit_high,omitempty"`
	Safety      bool       `json:"safety,omitempty"`
}

// Evidence is what the agent knew when an alarm rose, frozen.
type Evidence struct {
	At           time.Time `json:"at"`
	WindowS      float64   `json:"window_s"`
	HistorySince time.Time `json:"history_since"` // shorter than the window after a restart
	Tags         []Feature `json:"tags"`          // of the expression or the alarm's context first
	Moved        []Feature `json:"moved"`         // others of the line that moved most before it
	Omitted      int       `json:"omitted"`       // tags of the line that are in neither list
	Gaps         []string  `json:"gaps,omitempty"`
	Mode         string    `json:"mode,omitempty"` // of the line at the raise; empty where it has none
}

// CaseAlarm is one alarm of a case with its evidence.
type CaseAlarm struct {
	Alarm    Alarm     `json:"alarm"`
	Evidence *Evidence `json:"evidence"`
}

// Case is all a diagnosis may rest on. It is frozen when its job is leased, so
// that every attempt, and a later replay, see the same.
type Case struct {
	Job      ID          `json:"job"`
	At       time.Time   `json:"at"`
	Site     string      `json:"site"`
	Line     string      `json:"line"`
	Area     string      `json:"area"`
	Outside  bool        `json:"outside"`          // may leave the site
	Alarms   []CaseAlarm `json:"alarms"`           // the job's own, first-out first
	Related  []Alarm     `json:"related"`          // others of the line in the last ten minutes, oldest first, without hints
	Before   []Precedent `json:"before,omitempty"` // the first alarm on earlier days, newest first; confirmed ones before others
	Language string      `json:"language"`

	// SpentUSD is what earlier attempts at the job have cost: the cap of a job
	// outlives them. It is counted with each lease and never stored with a case.
	SpentUSD float64 `json:"-"`
}

// A Precedent is an earlier alarm of the same device and code, and what came of
// it.
type Precedent struct {
	Alarm     ID        `json:"alarm"`
	At        time.Time `json:"at"`                  // of its raise
	Cause     string    `json:"cause,omitempty"`     // as a person found it, else as it was diagnosed
	FixedBy   string    `json:"fixed_by,omitempty"`  // as a person wrote it; untrusted
	Verdict   Verdict   `json:"verdict,omitempty"`   // on the diagnosis it had
	Confirmed bool      `json:"confirmed,omitempty"` // an engineer stands by cause and remedy
	ByPerson  bool      `json:"by_person,omitempty"` // the cause is a person's, not a model's
}

// First returns the alarm that the diagnosis is about: the first-out.
func (c Case) First() CaseAlarm {
	for _, a := range c.Alarms {
		if a.Alarm.FirstOut {
			return a
		}
	}
	if len(c.Alarms) > 0 {
		return c.Alarms[0]
	}
	return CaseAlarm{}
}
