package llm

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"edgeagent"
)

// How much of a case a prompt holds at most, whatever the budget.
const (
	maxPassages     = 3
	maxPassageWords = 120
	maxPassageText  = 1200
	maxTextTokens   = 70 // of one text of the plant: 200 letters, or 45 Chinese characters
	maxTags         = 64
	maxAlarms       = 12
	maxRelated      = 20
	maxBefore       = 2
	maxGaps         = 6
	maxValues       = 16
)

// view is a case as a model sees it: cleaned, capped, and in an order in which
// what is the same for a line comes first, then what is the same for an alarm.
type view struct {
	Line     string        `json:"line"`
	Area     string        `json:"area,omitempty"`
	Passages []viewPassage `json:"passages"`
	Before   []viewBefore  `json:"before"`         // confirmed by an engineer
	Mode     string        `json:"mode,omitempty"` // of the line when the first alarm rose
	Alarms   []viewAlarm   `json:"alarms"`
	others   []viewAlarm   // of the job; join Alarms at last
	Tags     []viewTag     `json:"tags"`
	Moved    []viewTag     `json:"moved_before"`
	Related  []viewRelated `json:"related"` // newest first until it is written
	Omitted  *omitted      `json:"omitted,omitempty"`
	WindowS  float64       `json:"window_s,omitempty"`
	SkewS    float64       `json:"skew_s,omitempty"`
	Gaps     []string      `json:"gaps"`
}

// omitted counts what there was no room for.
type omitted struct {
	Passages int `json:"passages,omitempty"`
	Before   int `json:"before,omitempty"`
	Alarms   int `json:"alarms,omitempty"`
	Tags     int `json:"tags,omitempty"`
	Related  int `json:"related,omitempty"`
}

type viewPassage struct {
	ID    string `json:"id"`
	Scope string `json:"scope"` // "this machine" or "similar"
	Title string `json:"title,omitempty"`
	Text  string `json:"text"`
}

type viewAlarm struct {
	Name     string         `json:"name"`
	Text     string         `json:"text"`
	Source   *string        `json:"source_text,omitempty"`
	Priority int            `json:"priority"`
	FirstOut bool           `json:"first_out,omitempty"`
	AtS      float64        `json:"at_s"`
	RaisedAt string         `json:"raised_at,omitempty"` // of the first alarm only
	Cleared  *float64       `json:"cleared_at_s,omitempty"`
	Observed string         `json:"observed,omitempty"`
	Safety   bool           `json:"safety,omitempty"`
	Values   map[string]any `json:"values,omitempty"`
	LastTime *viewBefore    `json:"last_time,omitempty"` // not confirmed
}

type viewBefore struct {
	At      string `json:"at"`
	Cause   string `json:"cause,omitempty"`
	FixedBy string `json:"fixed_by,omitempty"`
}

type viewRelated struct {
	Name     string   `json:"name"`
	Text     string   `json:"text"`
	AtS      float64  `json:"at_s"`
	Cleared  *float64 `json:"cleared_at_s,omitempty"`
	FirstOut bool     `json:"first_out,omitempty"`
}

// shown is a text of the plant as a model and a person see it.
func shown(s string) string { return cutTokens(Clean(s, maxText), maxTextTokens) }

func newView(c edgeagent.Case, passages []Passage) *view {
	first := c.First()
	v := &view{
		Line: shown(c.Line), Area: shown(c.Area),
		Passages: viewPassages(passages), Before: []viewBefore{}, Alarms: []viewAlarm{}, Tags: []viewTag{}, Moved: []viewTag{}, Related: []viewRelated{}, Gaps: []string{},
	}
	v.lose(func(o *omitted) *int { return &o.Passages }, len(passages)-maxPassages)
	if first.Evidence != nil {
		v.Mode = shown(first.Evidence.Mode)
	}
	v.addTags(c, first)
	v.addAlarms(c, first)
	v.addBefore(c, first.Alarm)
	v.addRelated(c.Related, first.Alarm.RaisedAt)
	v.addGaps(c)
	return v
}

func viewPassages(passages []Passage) []viewPassage {
	out := []viewPassage{}
	for _, p := range passages[:min(len(passages), maxPassages)] {
		scope := "similar"
		if p.Exact {
			scope = "this machine"
		}
		text := cutWords(Clean(p.Text, maxPassageText), maxPassageWords)
		out = append(out, viewPassage{ID: shown(p.ID), Scope: scope, Title: shown(p.Title), Text: text})
	}
	return out
}

// addAlarms adds the first-out alarm first, then the others as they came.
func (v *view) addAlarms(c edgeagent.Case, first edgeagent.CaseAlarm) {
	for i, ca := range FirstOutFirst(c) {
		a := newViewAlarm(ca.Alarm, first.Alarm.RaisedAt)
		switch i {
		case 0:
			a.RaisedAt = timeText(first.Alarm.RaisedAt)
			a.Values = viewValues(ca)
			v.Alarms = append(v.Alarms, a)
		case maxAlarms:
			v.lose(func(o *omitted) *int { return &o.Alarms }, len(c.Alarms)-maxAlarms)
			return
		default:
			v.others = append(v.others, a)
		}
	}
}

// FirstOutFirst returns the alarms of a case with the one it is about in front.
func FirstOutFirst(c edgeagent.Case) []edgeagent.CaseAlarm {
	if len(c.Alarms) == 0 {
		return nil
	}
	first := c.First()
	out := []edgeagent.CaseAlarm{first}
	skipped := false
	for _, a := range c.Alarms {
		if !skipped && a.Alarm.ID == first.Alarm.ID && a.Alarm.Name() == first.Alarm.Name() {
			skipped = true
			continue
		}
		out = append(out, a)
	}
	return out
}

func newViewAlarm(a edgeagent.Alarm, zero time.Time) viewAlarm {
	v := viewAlarm{
		Name: shown(a.Name()), Text: shown(a.Text), Priority: a.Priority, FirstOut: a.FirstOut,
		AtS: seconds(a.RaisedAt.Sub(zero)), Cleared: clearedAt(a, zero), Safety: a.Safety,
	}
	if source := shown(a.SourceText); source != "" && a.SourceText != a.Text {
		v.Source = &source
	}
	if a.Observed != edgeagent.ObservedLive {
		v.Observed = string(a.Observed)
	}
	return v
}

func clearedAt(a edgeagent.Alarm, zero time.Time) *float64 {
	if a.ClearedAt == nil {
		return nil
	}
	return new(seconds(a.ClearedAt.Sub(zero)))
}

// addBefore adds what the same alarm was before. What an engineer confirmed is
// told as a fact; of the rest only the last time, as hearsay, and never a cause
// that somebody has called wrong: a model's old mistake must not come back as
// its own witness.
func (v *view) addBefore(c edgeagent.Case, first edgeagent.Alarm) {
	last := lastTime(c, first)
	for _, p := range c.Before {
		if !p.Confirmed || p.Cause == "" && p.FixedBy == "" {
			continue
		}
		if len(v.Before) == maxBefore {
			v.lose(func(o *omitted) *int { return &o.Before }, 1)
			continue
		}
		v.Before = append(v.Before, *newViewBefore(p))
	}
	if len(v.Alarms) > 0 && last != nil {
		v.Alarms[0].LastTime = newViewBefore(*last)
	}
}

// lastTime returns the newest occurrence of the alarm that nobody confirmed, as
// far as something may be said of it; nil when there is none.
func lastTime(c edgeagent.Case, first edgeagent.Alarm) *edgeagent.Precedent {
	all := c.Before
	if t := first.LastTime; t != nil && !slices.ContainsFunc(all, func(p edgeagent.Precedent) bool { return p.Alarm == t.ID }) {
		all = append(slices.Clip(all), edgeagent.Precedent{Alarm: t.ID, At: t.At, Cause: t.Cause, FixedBy: t.FixedBy})
	}
	var last *edgeagent.Precedent
	for _, p := range all {
		if p.Verdict == edgeagent.VerdictWrong && !p.ByPerson {
			p.Cause = ""
		}
		if !p.Confirmed && (p.Cause != "" || p.FixedBy != "") && (last == nil || p.At.After(last.At)) {
			last = &p
		}
	}
	return last
}

func newViewBefore(p edgeagent.Precedent) *viewBefore {
	return &viewBefore{At: timeText(p.At), Cause: shown(p.Cause), FixedBy: shown(p.FixedBy)}
}

// viewValues returns the values at the raise that stand in no tag's evidence.
func viewValues(a edgeagent.CaseAlarm) map[string]any {
	known := map[string]bool{}
	if a.Evidence != nil {
		for _, t := range a.Evidence.Tags {
			known[t.Tag] = true
		}
	}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(a.Alarm.Values)) {
		if !known[name] && len(out) < maxValues {
			out[shown(name)] = viewValue(a.Alarm.Values[name])
		}
	}
	return out
}

// addRelated keeps the latest: what rose just before says more than what rose
// ten minutes ago.
func (v *view) addRelated(related []edgeagent.Alarm, zero time.Time) {
	if n := len(related) - maxRelated; n > 0 {
		related = related[n:]
		v.lose(func(o *omitted) *int { return &o.Related }, n)
	}
	for _, a := range slices.Backward(related) {
		v.Related = append(v.Related, viewRelated{Name: shown(a.Name()), Text: shown(a.Text), AtS: seconds(a.RaisedAt.Sub(zero)), Cleared: clearedAt(a, zero), FirstOut: a.FirstOut})
	}
}

// addGaps says what the agent could not see: a model takes silence for calm.
func (v *view) addGaps(c edgeagent.Case) {
	for _, a := range FirstOutFirst(c) {
		ev := a.Evidence
		if ev == nil {
			continue
		}
		v.WindowS = max(v.WindowS, short(ev.WindowS))
		if g := historyGap(ev); g != "" {
			v.addGap(g)
		}
		for _, g := range ev.Gaps {
			v.addGap(shown(g))
		}
	}
}

func (v *view) addGap(g string) {
	if g != "" && len(v.Gaps) < maxGaps && !slices.Contains(v.Gaps, g) {
		v.Gaps = append(v.Gaps, g)
	}
}

// historyGap says since when there is history, if that is less than the window.
func historyGap(ev *edgeagent.Evidence) string {
	if ev.HistorySince.IsZero() || ev.At.IsZero() || ev.WindowS <= 0 {
		return ""
	}
	have := ev.At.Sub(ev.HistorySince).Seconds()
	if have >= ev.WindowS-1 {
		return ""
	}
	return "history starts " + ev.HistorySince.Format("15:04:05") + ", " + strconv.Itoa(int(math.Round(max(have, 0)))) + " s before the alarm"
}

// inOrder puts the parts back into the order in which they are read.
func (v *view) inOrder() {
	v.Alarms = append(v.Alarms, v.others...)
	slices.Reverse(v.Related)
}
