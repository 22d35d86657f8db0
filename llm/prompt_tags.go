package llm

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"edgeagent"
)

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
		return shown(x)
	default:
		return v
	}
}

// addTags merges the evidence of all alarms, the first one's leading.
func (v *view) addTags(c edgeagent.Case, first edgeagent.CaseAlarm) {
	tags, moved, left := caseTags(c)
	if n := len(tags) + len(moved) - maxTags; n > 0 {
		cutMoved := min(n, len(moved))
		moved, tags = moved[:len(moved)-cutMoved], tags[:len(tags)-(n-cutMoved)]
		left += n
	}
	for _, f := range tags {
		v.Tags = append(v.Tags, newViewTag(f, first.Alarm.RaisedAt))
	}
	for _, f := range moved {
		v.Moved = append(v.Moved, newViewTag(f, first.Alarm.RaisedAt))
	}
	v.lose(func(o *omitted) *int { return &o.Tags }, left)
	v.SkewS = skew(tags)
}

// leastSkew is how far apart values may be without a word about it, in seconds:
// a usual scan reads its requests within it.
const leastSkew = 0.5

// skew returns how far apart the good values of a case were read, in seconds, 0
// where it does not matter. A scan takes several requests and devices have
// their own scans: two values that contradict may only be of two moments.
func skew(tags []edgeagent.Feature) float64 {
	oldest, newest := 0.0, math.Inf(1)
	for _, f := range tags {
		if f.Quality == edgeagent.QualityGood && !math.IsNaN(f.AgeS) {
			oldest, newest = max(oldest, f.AgeS), min(newest, f.AgeS)
		}
	}
	if apart := oldest - newest; apart >= leastSkew {
		return short(apart)
	}
	return 0
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
	return tags, mostMoved(moved), omitted
}

// mostMoved sorts by pointers: features are large, and a flood has hundreds.
func mostMoved(features []edgeagent.Feature) []edgeagent.Feature {
	order := make([]*edgeagent.Feature, len(features))
	for i := range features {
		order[i] = &features[i]
	}
	slices.SortStableFunc(order, func(a, b *edgeagent.Feature) int { return cmp.Compare(b.Moved, a.Moved) })
	out := make([]edgeagent.Feature, len(order))
	for i, f := range order {
		out[i] = *f
	}
	return out
}

// leastOld is from what age on a good value says it, in seconds.
const leastOld = 2

func newViewTag(f edgeagent.Feature, zero time.Time) viewTag {
	t := viewTag{
		Tag: shown(f.Tag), Value: viewValue(f.Value), Text: shown(f.Text), Unit: cutTokens(Clean(f.EngUnit, 20), maxTextTokens/4),
		Min: shortPtr(f.Min), Max: shortPtr(f.Max), Mean: shortPtr(f.Mean), SlopePerMin: shortPtr(f.SlopePerMin),
		Changes: f.Changes, LimitLow: shortPtr(f.LimitLow), LimitHigh: shortPtr(f.LimitHigh), Safety: f.Safety,
	}
	if f.Quality != edgeagent.QualityGood {
		t.Quality, t.Reason = f.Quality.String(), shown(f.Reason.String())
	}
	if f.Quality != edgeagent.QualityGood || f.AgeS >= leastOld {
		t.AgeS = short(f.AgeS)
	}
	if f.LastChange != nil && !zero.IsZero() {
		s := seconds(f.LastChange.Sub(zero))
		t.ChangedS = &s
	}
	return t
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
// Digits before the point stay: of 101325 Pa, limited to 101320, both would else be
// 101300, and whoever quotes that names a number that is not in the case.
func short(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	if size := math.Abs(f); size >= 1e4 && size < 1e15 {
		return math.Round(f)
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
