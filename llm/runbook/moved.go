package runbook

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"edgeagent"
)

// moved says which tags moved before the alarm, and asks to look at the first.
func (w *writer) moved(ev *edgeagent.Evidence) {
	if ev == nil {
		w.say(w.s.noEvidence)
		return
	}
	list := movers(ev)
	if len(list) == 0 {
		w.say(fmt.Sprintf(w.s.nothingMoved, w.s.window(ev.WindowS)))
		return
	}
	var parts []string
	for _, f := range list {
		parts = append(parts, w.movement(f, ev))
	}
	w.say(fmt.Sprintf(w.s.moved, strings.Join(parts, "; ")))
	w.d.Checks = append(w.d.Checks, fmt.Sprintf(w.s.lookFirst, list[0].Tag))
}

// movers returns the tags that moved, most first. A tag that stood still is not
// an answer to what happened.
func movers(ev *edgeagent.Evidence) []edgeagent.Feature {
	var out []edgeagent.Feature
	for _, list := range [][]edgeagent.Feature{ev.Tags, ev.Moved} {
		for _, f := range list {
			known := slices.ContainsFunc(out, func(g edgeagent.Feature) bool { return g.Tag == f.Tag })
			if !known && f.Moved > 0 && f.Quality != edgeagent.QualityBad {
				out = append(out, f)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b edgeagent.Feature) int { return cmp.Compare(b.Moved, a.Moved) })
	return out[:min(len(out), maxMoved)]
}

// movement describes one tag by its numbers: "filler.level 91.2 % (between 42 %
// and 93 %, 12 % per min, limits 0 % to 80 %)".
func (w *writer) movement(f edgeagent.Feature, ev *edgeagent.Evidence) string {
	text := f.Tag + " " + w.value(f)
	var in []string
	number := f.Value.Kind() != edgeagent.KindBool && f.Text == ""
	if number && finite(f.Min, f.Max) && *f.Min != *f.Max {
		in = append(in, fmt.Sprintf(w.s.from, w.s.with(*f.Min, f.EngUnit), w.s.with(*f.Max, f.EngUnit)))
	}
	if number && finite(f.SlopePerMin) && *f.SlopePerMin != 0 {
		in = append(in, fmt.Sprintf(w.s.slope, signed(w.s.with(*f.SlopePerMin, f.EngUnit))))
	}
	if !number && f.Changes > 0 && f.LastChange != nil {
		in = append(in, fmt.Sprintf(w.s.changed, f.Changes, w.s.number(max(ev.At.Sub(*f.LastChange).Seconds(), 0))))
	}
	if number && finite(f.LimitLow, f.LimitHigh) {
		in = append(in, fmt.Sprintf(w.s.limit, w.s.with(*f.LimitLow, f.EngUnit), w.s.with(*f.LimitHigh, f.EngUnit)))
	}
	if len(in) == 0 {
		return text
	}
	return text + " (" + strings.Join(in, ", ") + ")"
}

// finite reports whether all numbers are there and can be written.
func finite(numbers ...*float64) bool {
	return !slices.ContainsFunc(numbers, func(n *float64) bool { return n == nil || math.IsNaN(*n) || math.IsInf(*n, 0) })
}

func signed(s string) string {
	if strings.HasPrefix(s, "-") {
		return s
	}
	return "+" + s
}

func (w *writer) value(f edgeagent.Feature) string {
	if f.Text != "" {
		return clipped(f.Text)
	}
	if f.Value.IsNone() || !f.Value.Finite() {
		return w.s.noValue
	}
	if n, ok := f.Value.Float64(); ok && f.Value.Kind() != edgeagent.KindBool {
		return w.s.with(n, clipped(f.EngUnit))
	}
	return clipped(f.Value.String())
}

// missing names what the agent did not know when the alarm rose.
func (w *writer) missing(ev *edgeagent.Evidence) {
	if ev == nil {
		return
	}
	for _, f := range ev.Tags {
		if f.Quality == edgeagent.QualityGood {
			continue
		}
		text := fmt.Sprintf(w.s.badTag, f.Tag, f.Quality)
		if reason := clipped(f.Reason.String()); reason != "" {
			text += " (" + reason + ")"
		}
		w.d.Missing = append(w.d.Missing, text)
	}
	if !ev.HistorySince.IsZero() && ev.WindowS > 0 && ev.At.Sub(ev.HistorySince).Seconds() < ev.WindowS-1 {
		w.d.Missing = append(w.d.Missing, fmt.Sprintf(w.s.history, w.local(ev.HistorySince).Format("15:04:05")))
	}
	for _, g := range ev.Gaps {
		w.d.Missing = append(w.d.Missing, clipped(g))
	}
}
