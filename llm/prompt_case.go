package llm

import (
	"cmp"
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
	maxTags         = 64
	maxAlarms       = 12
	maxRelated      = 20
	maxGaps         = 6
	maxValues       = 16
)

// view is a case as a model sees it: cleaned, capped, and in an order in which
// what is the same for a line comes first.
type view struct {
	Line           string        `json:"line"`
	Area           string        `json:"area,omitempty"`
	Passages       []viewPassage `json:"passages"`
	Alarms         []viewAlarm   `json:"alarms"`
	AlarmsOmitted  int           `json:"alarms_omitted,omitempty"`
	Tags           []viewTag     `json:"tags"`
	Moved          []viewTag     `json:"moved_before"`
	TagsOmitted    int           `json:"tags_omitted,omitempty"`
	Related        []viewRelated `json:"related"`
	RelatedOmitted int           `json:"related_omitted,omitempty"`
	WindowS        float64       `json:"window_s,omitempty"`
	Gaps           []string      `json:"gaps,omitempty"`
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
	Source   string         `json:"source_text,omitempty"`
	Priority int            `json:"priority"`
	FirstOut bool           `json:"first_out,omitempty"`
	AtS      float64        `json:"at_s"`
	RaisedAt string         `json:"raised_at,omitempty"` // of the first alarm only
	Cleared  *float64       `json:"cleared_at_s,omitempty"`
	Observed string         `json:"observed,omitempty"`
	Safety   bool           `json:"safety,omitempty"`
	Values   map[string]any `json:"values,omitempty"`
	LastTime *viewLastTime  `json:"last_time,omitempty"`
}

type viewLastTime struct {
	At      string `json:"at"`
	Cause   string `json:"cause,omitempty"`
	FixedBy string `json:"fixed_by,omitempty"`
}

type viewTag struct {
	Tag         string   `json:"tag"`
	Value       any      `json:"value"`
	Text        string   `json:"text,omitempty"`
	Unit        string   `json:"unit,omitempty"`
	Quality     string   `json:"quality,omitempty"` // only when it is not good
	Reason      string   `json:"reason,omitempty"`
	AgeS        float64  `json:"age_s,omitempty"` // only when it matters
	Min         *float64 `json:"min,omitempty"`
	Max         *float64 `json:"max,omitempty"`
	Mean        *float64 `json:"mean,omitempty"`
	SlopePerMin *float64 `json:"slope_per_min,omitempty"`
	Changes     int      `json:"changes,omitempty"`
	ChangedS    *float64 `json:"last_change_at_s,omitempty"`
	LimitLow    *float64 `json:"limit_low,omitempty"`
	LimitHigh   *float64 `json:"limit_high,omitempty"`
	Safety      bool     `json:"safety,omitempty"`
}

type viewRelated struct {
	Name string  `json:"name"`
	Text string  `json:"text"`
	AtS  float64 `json:"at_s"`
}

func newView(c edgeagent.Case, passages []Passage) *view {
	first := c.First()
	v := &view{
		Line: Clean(c.Line, maxText), Area: Clean(c.Area, maxText),
		Passages: viewPassages(passages), Alarms: []viewAlarm{}, Tags: []viewTag{}, Moved: []viewTag{}, Related: []viewRelated{},
	}
	v.addAlarms(c, first.Alarm)
	v.addTags(c, first)
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
		out = append(out, viewPassage{ID: Clean(p.ID, maxText), Scope: scope, Title: Clean(p.Title, maxText), Text: text})
	}
	return out
}

// addAlarms adds the first-out alarm first, then the others as they came.
func (v *view) addAlarms(c edgeagent.Case, first edgeagent.Alarm) {
	for _, ca := range FirstOutFirst(c) {
		if len(v.Alarms) == maxAlarms {
			v.AlarmsOmitted++
			continue
		}
		a := newViewAlarm(ca.Alarm, first.RaisedAt)
		if len(v.Alarms) == 0 {
			a.RaisedAt = timeText(first.RaisedAt)
		}
		v.Alarms = append(v.Alarms, a)
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
		Name: Clean(a.Name(), maxText), Text: Clean(a.Text, maxText), Priority: a.Priority, FirstOut: a.FirstOut,
		AtS: seconds(a.RaisedAt.Sub(zero)), Safety: a.Safety, Values: viewValues(a.Values),
	}
	if a.SourceText != a.Text {
		v.Source = Clean(a.SourceText, maxText)
	}
	if a.ClearedAt != nil {
		s := seconds(a.ClearedAt.Sub(zero))
		v.Cleared = &s
	}
	if a.Observed != edgeagent.ObservedLive {
		v.Observed = string(a.Observed)
	}
	if t := a.LastTime; t != nil && (t.Cause != "" || t.FixedBy != "") {
		v.LastTime = &viewLastTime{At: timeText(t.At), Cause: Clean(t.Cause, maxText), FixedBy: Clean(t.FixedBy, maxText)}
	}
	return v
}

func viewValues(values map[string]edgeagent.Value) map[string]any {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	out := map[string]any{}
	for _, name := range names[:min(len(names), maxValues)] {
		out[Clean(name, maxText)] = viewValue(values[name])
	}
	return out
}

// viewValue returns a value as JSON takes it: floats shortened, texts cleaned,
// NaN and infinities as null.
func viewValue(v edgeagent.Value) any {
	switch x := v.Any().(type) {
	case float64:
		if !v.Finite() {
			return nil
		}
		return short(x)
	case string:
		return Clean(x, maxText)
	default:
		return v
	}
}

// addTags merges the evidence of all alarms, the first one's leading.
func (v *view) addTags(c edgeagent.Case, first edgeagent.CaseAlarm) {
	tags, moved, omitted := caseTags(c)
	if n := len(tags) + len(moved) - maxTags; n > 0 {
		cutMoved := min(n, len(moved))
		moved, tags = moved[:len(moved)-cutMoved], tags[:len(tags)-(n-cutMoved)]
		omitted += n
	}
	for _, f := range tags {
		v.Tags = append(v.Tags, newViewTag(f, first.Alarm.RaisedAt))
	}
	for _, f := range moved {
		v.Moved = append(v.Moved, newViewTag(f, first.Alarm.RaisedAt))
	}
	v.TagsOmitted = omitted
}

// caseTags returns the tags of a case, each once: those of the alarms in their
// order, then those that moved, most first; and how many the agent left out.
func caseTags(c edgeagent.Case) (tags, moved []edgeagent.Feature, omitted int) {
	seen := map[string]bool{}
	collect := func(to *[]edgeagent.Feature, from []edgeagent.Feature) {
		for _, f := range from {
			if !seen[f.Tag] {
				seen[f.Tag] = true
				*to = append(*to, f)
			}
		}
	}
	all := FirstOutFirst(c)
	for _, a := range all {
		if a.Evidence != nil {
			collect(&tags, a.Evidence.Tags)
			omitted = max(omitted, a.Evidence.Omitted)
		}
	}
	for _, a := range all {
		if a.Evidence != nil {
			collect(&moved, a.Evidence.Moved)
		}
	}
	slices.SortStableFunc(moved, func(a, b edgeagent.Feature) int { return cmp.Compare(b.Moved, a.Moved) })
	return tags, moved, omitted
}

func newViewTag(f edgeagent.Feature, zero time.Time) viewTag {
	t := viewTag{
		Tag: Clean(f.Tag, maxText), Value: viewValue(f.Value), Text: Clean(f.Text, maxText), Unit: Clean(f.EngUnit, 20),
		Min: shortPtr(f.Min), Max: shortPtr(f.Max), Mean: shortPtr(f.Mean), SlopePerMin: shortPtr(f.SlopePerMin),
		Changes: f.Changes, LimitLow: shortPtr(f.LimitLow), LimitHigh: shortPtr(f.LimitHigh), Safety: f.Safety,
	}
	if f.Quality != edgeagent.QualityGood {
		t.Quality, t.Reason, t.AgeS = f.Quality.String(), Clean(f.Reason.String(), maxText), short(f.AgeS)
	}
	if f.LastChange != nil && !zero.IsZero() {
		s := seconds(f.LastChange.Sub(zero))
		t.ChangedS = &s
	}
	return t
}

// addRelated keeps the latest: what rose just before says more than what rose
// ten minutes ago.
func (v *view) addRelated(related []edgeagent.Alarm, zero time.Time) {
	if n := len(related) - maxRelated; n > 0 {
		related, v.RelatedOmitted = related[n:], n
	}
	for _, a := range related {
		v.Related = append(v.Related, viewRelated{Name: Clean(a.Name(), maxText), Text: Clean(a.Text, maxText), AtS: seconds(a.RaisedAt.Sub(zero))})
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
			v.addGap(Clean(g, maxText))
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
	return "history starts " + ev.HistorySince.Format("15:04:05") + ", " + strconv.Itoa(int(max(have, 0))) + " s before the alarm"
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// seconds rounds to a tenth; a clock that jumped makes no number that JSON or
// a reader could not take.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }

// short rounds to four significant digits: what a model needs of a measurement.
func short(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 4, 64), 64)
	if err != nil { // cannot be: it was written a moment ago
		return f
	}
	return r
}

func shortPtr(f *float64) *float64 {
	if f == nil || math.IsNaN(*f) || math.IsInf(*f, 0) {
		return nil
	}
	r := short(*f)
	return &r
}
