package status

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// series holds counters and histograms by name and labels. It is our own
// hundred lines because the metrics libraries at hand panic on a bad name or
// write to standard error when a program that imports them merely starts.
type series struct {
	mu       sync.Mutex
	bounds   map[string][]float64          // of the families that are histograms
	counters map[string]map[string]float64 // name → labels → value
	spreads  map[string]map[string]*spread // name → labels → distribution
}

// spread is one distribution: how many values fell under each bound.
type spread struct {
	under []uint64
	count uint64
	sum   float64
}

// maxSeries is how many label values one family may have. Labels are names of
// the configuration; a label that grows beyond is a mistake that must not eat
// the gateway's memory.
const maxSeries = 2000

// noValue makes a distribution appear without a value in it.
var noValue = math.NaN()

func newSeries() *series {
	return &series{bounds: map[string][]float64{}, counters: map[string]map[string]float64{}, spreads: map[string]map[string]*spread{}}
}

// declare gives a histogram its upper bounds, ascending.
func (s *series) declare(name string, bounds []float64) { s.bounds[name] = bounds }

// add raises a counter; a counter never falls.
func (s *series) add(name string, by float64, labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	family := s.counters[name]
	if family == nil {
		family = make(map[string]float64)
		s.counters[name] = family
	}
	key := labelText(labels...)
	if _, known := family[key]; known || len(family) < maxSeries {
		family[key] += max(by, 0)
	}
}

// observe puts a value into a distribution.
func (s *series) observe(name string, v float64, labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	family := s.spreads[name]
	if family == nil {
		family = make(map[string]*spread)
		s.spreads[name] = family
	}
	key := labelText(labels...)
	d := family[key]
	if d == nil {
		if len(family) >= maxSeries {
			return
		}
		d = &spread{under: make([]uint64, len(s.bounds[name]))}
		family[key] = d
	}
	d.put(s.bounds[name], v)
}

func (d *spread) put(bounds []float64, v float64) {
	if math.IsNaN(v) || v < 0 {
		return
	}
	d.count++
	d.sum += v
	for i, bound := range bounds {
		if v <= bound {
			d.under[i]++
		}
	}
}

// write writes every family with its type, sorted, so that two scrapes differ
// in figures alone.
func (s *series) write(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.counters)) {
		head(w, name, "counter")
		for _, labels := range slices.Sorted(maps.Keys(s.counters[name])) {
			fmt.Fprintf(w, "edgeagent_%s%s %s\n", name, braced(labels), figure(s.counters[name][labels]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.spreads)) {
		head(w, name, "histogram")
		for _, labels := range slices.Sorted(maps.Keys(s.spreads[name])) {
			s.spreads[name][labels].write(w, "edgeagent_"+name, labels, s.bounds[name])
		}
	}
}

// head stands before the first sample of a family.
func head(w io.Writer, name, kind string) {
	if help := metricHelp[name]; help != "" {
		fmt.Fprintf(w, "# HELP edgeagent_%s %s\n", name, help)
	}
	fmt.Fprintf(w, "# TYPE edgeagent_%s %s\n", name, kind)
}

func (d *spread) write(w io.Writer, name, labels string, bounds []float64) {
	sep := ""
	if labels != "" {
		sep = ","
	}
	for i, bound := range bounds {
		fmt.Fprintf(w, "%s_bucket{%s%sle=\"%s\"} %d\n", name, labels, sep, figure(bound), d.under[i])
	}
	fmt.Fprintf(w, "%s_bucket{%s%sle=\"+Inf\"} %d\n", name, labels, sep, d.count)
	fmt.Fprintf(w, "%s_sum%s %s\n%s_count%s %d\n", name, braced(labels), figure(d.sum), name, braced(labels), d.count)
}

func figure(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// labelValue escapes what the text format wants escaped, and nothing else.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labelText writes pairs of name and value as they stand between the braces.
func labelText(labels ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(labels); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(labels[i] + `="` + labelValue.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	return b.String()
}

func braced(labels string) string {
	if labels == "" {
		return ""
	}
	return "{" + labels + "}"
}

// named is the whole name of one series.
func named(name string, labels ...string) string {
	return "edgeagent_" + name + braced(labelText(labels...))
}
