package tags

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"edgeagent"
)

const (
	maxMoved = 8                // others that are named in evidence
	recently = 30 * time.Second // what moved in this time before an alarm moved "before it"
	noise    = 0.05             // movement of less than this share of what a tag did is none
	trifle   = 0.01             // nor is one of less than this share of its configured range
)

// Evidence describes the named tags (of device, or DEVICE.TAG) as they were up
// to at, and the others of the same line that moved most before it. Names that
// are not configured are left out. It is never nil.
func (t *Table) Evidence(device string, tags []string, at time.Time) *edgeagent.Evidence {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v := t.view(at)
	ev := &edgeagent.Evidence{At: at.Round(0), WindowS: Window.Seconds(), Tags: []edgeagent.Feature{}, Moved: []edgeagent.Feature{}}
	named := map[*entry]bool{}
	for _, name := range tags {
		if d, e := t.find(device, name); e != nil && !named[e] {
			named[e] = true
			ev.Tags = append(ev.Tags, v.feature(d, e))
		}
	}
	var line []*deviceTags
	if d := t.devices[device]; d != nil {
		line = t.line(d.line)
		ev.Moved, ev.Omitted = v.moved(line, t.ranking(v, d.line, line), named)
	}
	ev.HistorySince = t.wall(v.now, v.since(line))
	for _, d := range line {
		ev.Gaps = append(ev.Gaps, d.describe(v.from, v.to, func(off time.Duration) time.Time { return t.wall(v.now, off) })...)
	}
	return ev
}

func (t *Table) find(device, name string) (*deviceTags, *entry) {
	if d, tag, found := strings.Cut(name, "."); found {
		device, name = d, tag
	}
	d := t.devices[device]
	return d, d.entry(name)
}

// view is a window of the table's history, and scratch space to look at one tag
// after the other: a line may have thousands.
type view struct {
	table    *Table
	now      time.Time
	from, to time.Duration
	scratch  []point
}

func (t *Table) view(at time.Time) *view {
	now := time.Now()
	to := min(at.Sub(t.start), now.Sub(t.start))
	return &view{table: t, now: now, from: to - Window, to: to}
}

// since is where the history of a line begins within the window: later than
// its start after a restart.
func (v *view) since(line []*deviceTags) time.Duration {
	first := v.to
	for _, d := range line {
		if d.firstAt > 0 {
			first = min(first, d.firstAt)
		}
	}
	return max(first, v.from)
}

func (v *view) points(e *entry) []point {
	v.scratch = e.history.appendPoints(v.scratch[:0], v.from, v.to)
	return v.scratch
}

// candidate is a tag that moved, and how far.
type candidate struct {
	d     *deviceTags
	e     *entry
	share float64
}

// ranking is the tags of a line that moved, most first. It is kept until a
// value comes in: a scan that raises hundreds of alarms on a line of thousands
// of tags asks for the same one each time, and the loop must not stand still.
type ranking struct {
	sync.Mutex
	line  string
	to    time.Duration
	known bool
	all   []candidate
}

func (t *Table) ranking(v *view, name string, line []*deviceTags) []candidate {
	r := &t.ranked
	r.Lock()
	defer r.Unlock()
	if !r.known || r.line != name || r.to != v.to {
		r.line, r.to, r.known, r.all = name, v.to, true, v.rank(line)
	}
	return r.all
}

func (v *view) rank(line []*deviceTags) []candidate {
	var all []candidate
	for _, d := range line {
		for _, e := range d.entries {
			if share := v.movement(e); share > noise {
				all = append(all, candidate{d, e, share})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.share, a.share) })
	return all
}

// moved returns the features of the tags that moved most, and how many tags of
// the line are in neither list.
func (v *view) moved(line []*deviceTags, ranked []candidate, named map[*entry]bool) ([]edgeagent.Feature, int) {
	out := []edgeagent.Feature{}
	for _, c := range ranked {
		if len(out) < maxMoved && !named[c.e] {
			out = append(out, v.feature(c.d, c.e))
		}
	}
	others := 0
	for _, d := range line {
		for _, e := range d.entries {
			if !named[e] {
				others++
			}
		}
	}
	return out, others - len(out)
}

func (v *view) feature(d *deviceTags, e *entry) edgeagent.Feature {
	r := e.now(d, v.now)
	f := edgeagent.Feature{
		Tag: e.def.ID(), Value: r.Value, Text: r.Text, EngUnit: r.EngUnit, Quality: r.Quality, Reason: r.Reason, AgeS: r.AgeS,
		LimitLow: e.def.Min, LimitHigh: e.def.Max, Safety: e.def.Safety, Changes: e.history.changesIn(v.from, v.to),
	}
	if f.Changes > 0 {
		f.LastChange = edgeagent.TimePtr(v.table.wall(v.now, e.changed))
	}
	ps := v.points(e)
	if len(ps) == 0 {
		return f
	}
	if low, high, ok := e.history.extremes(v.from, v.to); ok {
		f.Min, f.Max = &low, &high
	}
	if e.base.Kind() != edgeagent.KindBool { // half a bit says nothing
		f.Mean, f.SlopePerMin = mean(ps), slope(ps, v.to-fineReach)
	}
	f.Moved = v.movement(e)
	return f
}

// mean weighs each value by how long it stood: a minute of points a second
// must not outvote nine minutes of points every five.
func mean(ps []point) *float64 {
	sum, total := ps[len(ps)-1].last, 1.0 // the last counts a second
	for i := 1; i < len(ps); i++ {
		w := (ps[i].off - ps[i-1].off).Seconds()
		sum += w * ps[i-1].last
		total += w
	}
	return finite(sum / total)
}

// finite leaves out what the numbers of a tag are too large to be reckoned with:
// JSON has no word for it, and one such number would cost the whole evidence.
func finite(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// slope fits a line by least squares through the points since from, and returns
// its rise a minute; nil with fewer than three points.
func slope(ps []point, from time.Duration) *float64 {
	var n, sx, sy, sxx, sxy float64
	for _, p := range ps {
		if p.off < from {
			continue
		}
		x := (p.off - from).Minutes()
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+p.last, sxx+x*x, sxy+x*p.last
	}
	if den := n*sxx - sx*sx; n >= 3 && den > 0 {
		return finite((n*sxy - sx*sy) / den)
	}
	return nil
}

// movement says how far a tag, in the last half minute, left the band that it
// had kept before: as a share of all that it did in the window, from 0 to 1.
// Noise stays within its band; what drifts as it has always drifted, as a
// counter does, is expected and subtracted.
func (v *view) movement(e *entry) float64 {
	ps := v.points(e)
	if len(ps) < 3 {
		return 0
	}
	edge := max(v.to-recently, (ps[0].off+v.to)/2)
	cut := slices.IndexFunc(ps, func(p point) bool { return p.off > edge })
	if cut < 1 {
		return 0
	}
	before, after := ps[:cut], ps[cut:]
	low, high := band(before)
	least, greatest := band(after)
	span := max(high, greatest) - min(low, least)
	if span <= e.def.Deadband || span == 0 || math.IsInf(span, 0) {
		return 0
	}
	expected := drift(before, v.to-before[len(before)-1].off)
	out := max(greatest-high-max(expected, 0), low-least-max(-expected, 0))
	if out < trifle*configuredRange(e.def) {
		return 0
	}
	return min(max(out/span, 0), 1)
}

// configuredRange is the width of the tag's limits, 0 without both.
func configuredRange(t edgeagent.Tag) float64 {
	if t.Min == nil || t.Max == nil {
		return 0
	}
	return *t.Max - *t.Min
}

func band(ps []point) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, p := range ps {
		low, high = min(low, p.min), max(high, p.max)
	}
	return low, high
}

// drift is how far the points would go in d if they went on as before.
func drift(ps []point, d time.Duration) float64 {
	first, last := ps[0], ps[len(ps)-1]
	if last.off <= first.off {
		return 0
	}
	return (last.last - first.last) * d.Seconds() / (last.off - first.off).Seconds()
}
