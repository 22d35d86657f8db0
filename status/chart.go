package status

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// chart is a trend, drawn on the server: coordinates are ready to print. A
// reader without JavaScript, and a printer, see the same.
type chart struct {
	W, H     int
	Line     []string // polylines; more than one where values are missing between
	Band     []string // polygons between minimum and maximum
	Mark     string   // x of the moment that matters, empty for none
	Limits   []string // y of the limits that lie in the picture
	Low, Top string   // the scale's ends in words
	From, To string
	Label    string // what a screen reader says
}

// plot is what a chart is made of.
type plot struct {
	points    []Point
	from, to  time.Time
	mark      time.Time
	limits    []float64
	w, h      int
	name, eng string
	// gap is the longest pause that is still drawn as a line.
	gap time.Duration
}

// draw returns nil when there is nothing to show.
func (l lens) draw(p plot) *chart {
	p.points = inside(p.points, p.from, p.to)
	if len(p.points) == 0 || !p.to.After(p.from) {
		return nil
	}
	p.from = begin(p)
	p.limits = near(p.points, p.limits)
	low, top := bounds(p.points, p.limits)
	c := &chart{W: p.w, H: p.h, Low: number(low), Top: number(top),
		From: l.abs(p.from.In(l.zone)), To: l.abs(p.to.In(l.zone))}
	x := func(t time.Time) float64 { return float64(t.Sub(p.from)) / float64(p.to.Sub(p.from)) * float64(p.w) }
	y := func(v float64) float64 { return 2 + (top-v)/(top-low)*float64(p.h-4) }
	for _, run := range runs(p.points, p.gap) {
		c.Line = append(c.Line, polyline(run, x, y))
		c.Band = append(c.Band, polygon(run, x, y))
	}
	for _, limit := range p.limits {
		c.Limits = append(c.Limits, coord(y(limit)))
	}
	if !p.mark.IsZero() && !p.mark.Before(p.from) && !p.mark.After(p.to) {
		c.Mark = coord(x(p.mark))
	}
	last := p.points[len(p.points)-1]
	c.Label = strings.TrimSpace(fmt.Sprintf("trend of %s from %s to %s: lowest %s, highest %s, last %s %s",
		p.name, c.From, c.To, number(lowest(p.points)), number(highest(p.points)), number(last.Last), p.eng))
	return c
}

// inside keeps the points of the window that can be drawn.
func inside(all []Point, from, to time.Time) []Point {
	var kept []Point
	for _, p := range all {
		if !p.At.Before(from) && !p.At.After(to) && drawable(p.Min) && drawable(p.Max) && drawable(p.Last) {
			kept = append(kept, p)
		}
	}
	return kept
}

// drawable leaves out NaN, infinities and what would overflow a scale: four
// registers read in the wrong byte order give such numbers.
func drawable(f float64) bool { return math.Abs(f) <= 1e300 }

// begin leaves out the time before the first point, where nothing is known:
// after a restart the picture would be an empty frame with a tick at its end.
func begin(p plot) time.Time {
	first := p.points[0].At
	if late := p.to.Add(-time.Minute); first.After(late) {
		first = late
	}
	if first.Before(p.from) {
		return p.from
	}
	return first
}

// near keeps the limits that the curve comes close to. A sensor's whole range
// would press a curve that matters into a flat line.
func near(all []Point, limits []float64) []float64 {
	low, top := bounds(all, nil)
	var kept []float64
	for _, limit := range limits {
		if limit >= low-2*(top-low) && limit <= top+2*(top-low) {
			kept = append(kept, limit)
		}
	}
	return kept
}

func lowest(all []Point) float64 {
	low := math.Inf(1)
	for _, p := range all {
		low = min(low, p.Min, p.Last)
	}
	return low
}

func highest(all []Point) float64 {
	top := math.Inf(-1)
	for _, p := range all {
		top = max(top, p.Max, p.Last)
	}
	return top
}

// bounds is the scale: all values and limits, and never no height.
func bounds(all []Point, limits []float64) (low, top float64) {
	low, top = lowest(all), highest(all)
	for _, limit := range limits {
		low, top = math.Min(low, limit), math.Max(top, limit)
	}
	if top <= low {
		pad := math.Max(math.Abs(low)*0.05, 0.5)
		return low - pad, low + pad
	}
	return low, top
}

// runs cuts a trend where nothing was read for longer than gap: a straight
// line there would be an invention.
func runs(all []Point, gap time.Duration) [][]Point {
	if gap <= 0 {
		return [][]Point{all}
	}
	var out [][]Point
	start := 0
	for i := 1; i <= len(all); i++ {
		if i == len(all) || all[i].At.Sub(all[i-1].At) > gap {
			out = append(out, all[start:i])
			start = i
		}
	}
	return out
}

func polyline(run []Point, x func(time.Time) float64, y func(float64) float64) string {
	var b strings.Builder
	for _, p := range run {
		b.WriteString(coord(x(p.At)) + "," + coord(y(p.Last)) + " ")
	}
	if len(run) == 1 {
		// One point alone would be invisible.
		b.WriteString(coord(x(run[0].At)+1) + "," + coord(y(run[0].Last)))
	}
	return strings.TrimSpace(b.String())
}

func polygon(run []Point, x func(time.Time) float64, y func(float64) float64) string {
	var b strings.Builder
	for _, p := range run {
		b.WriteString(coord(x(p.At)) + "," + coord(y(p.Max)) + " ")
	}
	for _, r := range slices.Backward(run) {
		b.WriteString(coord(x(r.At)) + "," + coord(y(r.Min)) + " ")
	}
	return strings.TrimSpace(b.String())
}

func coord(f float64) string { return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) }

// bars is the last scans of a device at a glance.
type bars struct {
	Bars  []bar
	W     int
	Label string
}

type bar struct {
	X    int
	Kind string // good | partly | failed
}

func scanBars(recent string) *bars {
	if recent == "" {
		return nil
	}
	kinds := map[rune]string{'|': "good", '.': "partly", 'x': "failed"}
	n := map[string]int{}
	b := &bars{W: 240}
	all := []rune(recent)
	if len(all) > 60 {
		all = all[len(all)-60:]
	}
	for i, r := range all {
		kind, known := kinds[r]
		if !known {
			continue
		}
		n[kind]++
		b.Bars = append(b.Bars, bar{X: (60 - len(all) + i) * 4, Kind: kind})
	}
	b.Label = fmt.Sprintf("last %d scans: %d good, %d partly, %d failed", len(all), n["good"], n["partly"], n["failed"])
	return b
}
