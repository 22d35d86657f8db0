package status

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// exposition holds a scrape to the text format 0.0.4 more strictly than a
// scraper does: one that takes everything would prove nothing.
type exposition struct {
	kind   map[string]string // family → type
	help   map[string]bool
	now    string // the family whose samples come now
	seen   map[string]bool
	labels map[string]map[string]bool // family → label names
	last   map[string]float64         // bucket count so far, by series without le
	counts map[string]float64
}

var (
	metricName = regexp.MustCompile(`^edgeagent_[a-z][a-z0-9_]*$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	onePair    = regexp.MustCompile(`^([a-z_][a-z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)`)
)

func parseExposition(text string) (*exposition, error) {
	e := &exposition{kind: map[string]string{}, help: map[string]bool{}, seen: map[string]bool{}, labels: map[string]map[string]bool{},
		last: map[string]float64{}, counts: map[string]float64{}}
	if !strings.HasSuffix(text, "\n") {
		return e, errors.New("does not end with a line feed")
	}
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if err := e.line(line); err != nil {
			return e, fmt.Errorf("line %d %q: %w", n+1, line, err)
		}
	}
	for series, buckets := range e.last {
		if count, ok := e.counts[series]; !ok || count != buckets {
			return e, fmt.Errorf("%s: +Inf has %v, _count %v", series, buckets, count)
		}
	}
	return e, nil
}

func (e *exposition) line(line string) error {
	switch {
	case strings.HasPrefix(line, "# HELP "):
		name, text, _ := strings.Cut(strings.TrimPrefix(line, "# HELP "), " ")
		if e.help[name] || e.kind[name] != "" || text == "" {
			return errors.New("HELP is empty, stands twice, or after TYPE")
		}
		e.help[name] = true
		return nil
	case strings.HasPrefix(line, "# TYPE "):
		name, kind, _ := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " ")
		return e.begin(name, kind)
	default:
		return e.sample(line)
	}
}

func (e *exposition) begin(name, kind string) error {
	switch {
	case e.kind[name] != "":
		return errors.New("a family stands twice or in two places")
	case !e.help[name]:
		return errors.New("no HELP before TYPE")
	case !metricName.MatchString(name):
		return errors.New("not a name of ours")
	case kind != "counter" && kind != "gauge" && kind != "histogram":
		return errors.New("no such type")
	case kind == "counter" && !strings.HasSuffix(name, "_total"):
		return errors.New("a counter ends in _total")
	}
	e.kind[name], e.now = kind, name
	return nil
}

func (e *exposition) sample(line string) error {
	m := sampleLine.FindStringSubmatch(line)
	if m == nil {
		return errors.New("neither comment nor sample")
	}
	suffix, of := strings.CutPrefix(m[1], e.now)
	if e.now == "" || !of || suffix != "" && e.kind[e.now] != "histogram" {
		return fmt.Errorf("stands among the samples of %q", e.now)
	}
	value, err := strconv.ParseFloat(m[3], 64)
	if err != nil || value != value || e.kind[e.now] != "gauge" && value < 0 {
		return errors.New("not a figure that can be")
	}
	names, le, rest, err := pairs(m[2])
	if err != nil {
		return err
	}
	key := m[1] + "{" + m[2]
	if e.seen[key] {
		return errors.New("the same series twice")
	}
	e.seen[key] = true
	for _, name := range names {
		if e.labels[e.now] == nil {
			e.labels[e.now] = map[string]bool{}
		}
		e.labels[e.now][name] = true
	}
	return e.part(suffix, le, rest, value)
}

// part checks one sample of a histogram: buckets rise and end in +Inf.
func (e *exposition) part(suffix, le, rest string, value float64) error {
	series := e.now + "{" + rest
	switch {
	case e.kind[e.now] != "histogram":
		if le != "" {
			return errors.New("le outside of a histogram")
		}
	case suffix == "_bucket":
		if le == "" || value < e.last[series] {
			return errors.New("a bucket without le, or fewer than in the one before")
		}
		e.last[series] = value
	case suffix == "_count":
		e.counts[series] = value
	case suffix != "_sum":
		return errors.New("no part of a histogram")
	}
	return nil
}

func pairs(text string) (names []string, le, rest string, err error) {
	for text != "" {
		m := onePair.FindStringSubmatch(text)
		if m == nil || strings.HasSuffix(m[0], ",") && len(m[0]) == len(text) {
			return nil, "", "", fmt.Errorf("labels %q", text)
		}
		text = text[len(m[0]):]
		if m[1] == "le" {
			le = m[2]
			continue
		}
		names, rest = append(names, m[1]), rest+m[1]+"="+m[2]+";"
	}
	return names, le, rest, nil
}

// What has to be refused: a checker that takes these would take anything.
func TestExpositionCheckerRefuses(t *testing.T) {
	const head = "# HELP edgeagent_x_total x\n# TYPE edgeagent_x_total counter\n"
	for name, text := range map[string]string{
		"no HELP":          "# TYPE edgeagent_x_total counter\nedgeagent_x_total 1\n",
		"HELP after TYPE":  "# TYPE edgeagent_x_total counter\n# HELP edgeagent_x_total x\n",
		"no TYPE":          "edgeagent_x_total 1\n",
		"twice":            head + "edgeagent_x_total 1\nedgeagent_x_total 1\n",
		"family twice":     head + "edgeagent_x_total 1\n" + head,
		"other family":     head + "edgeagent_y_total 1\n",
		"foreign suffix":   head + "edgeagent_x_total_sum 1\n",
		"negative counter": head + "edgeagent_x_total -1\n",
		"no figure":        head + "edgeagent_x_total one\n",
		"quote":            head + "edgeagent_x_total{a=\"b\"c\"} 1\n",
		"escape":           head + "edgeagent_x_total{a=\"\\d\"} 1\n",
		"comma":            head + "edgeagent_x_total{a=\"b\",} 1\n",
		"no end":           head + "edgeagent_x_total 1",
		"empty line":       head + "\nedgeagent_x_total 1\n",
		"counter's name":   "# HELP edgeagent_x x\n# TYPE edgeagent_x counter\n",
		"falling buckets":  "# HELP edgeagent_h h\n# TYPE edgeagent_h histogram\nedgeagent_h_bucket{le=\"1\"} 2\nedgeagent_h_bucket{le=\"+Inf\"} 1\nedgeagent_h_count 1\n",
		"count differs":    "# HELP edgeagent_h h\n# TYPE edgeagent_h histogram\nedgeagent_h_bucket{le=\"+Inf\"} 1\nedgeagent_h_count 2\n",
	} {
		if _, err := parseExposition(text); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := parseExposition(head + "edgeagent_x_total{a=\"b\\\"\\\\\\n\",c=\"\"} 1\n"); err != nil {
		t.Error(err)
	}
}

func TestMetricsAreWellFormedWhateverNamesHold(t *testing.T) {
	for _, text := range append([]string{"filler"}, hostile...) {
		p := newPlant(time.Now())
		p.status.Agent.Version = text
		for i := range p.status.Devices {
			p.status.Devices[i].Name = fmt.Sprint(i) + text
		}
		for i := range p.status.Providers {
			p.status.Providers[i].Name = fmt.Sprint(i) + text
		}
		p.status.Upstreams[0].Name = text
		p.judged = []edgeagent.Accuracy{{Provider: text, Right: 1}}
		m := NewMetrics()
		for range 2 {
			m.ScanDone(text, time.Millisecond, nil)
			m.RequestDone(text, time.Millisecond, errors.New(text))
			m.CallDone(edgeagent.Call{Provider: text, Outcome: edgeagent.CallOutcome(text), TookMS: 5})
			m.JobDone(text, time.Second)
			m.CommitDone(time.Millisecond, 1)
			m.AlarmRaised(text)
		}
		e, err := parseExposition(ask(t, New(Options{Source: p, Metrics: m}), "GET", "/metrics", "").Body.String())
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for family, labels := range e.labels {
			for label := range labels {
				if !strings.Contains(" device state class quality priority outcome provider direction kind verdict upstream version ", " "+label+" ") {
					t.Errorf("%s has the label %q: is it bounded?", family, label)
				}
			}
		}
		for family := range e.kind {
			delete(e.help, family)
		}
		if len(e.help) > 0 {
			t.Errorf("HELP without a family: %v", e.help)
		}
	}
}

// Every family has its help, and no help is left of one that is gone.
func TestEveryMetricIsExplained(t *testing.T) {
	p := newPlant(time.Now())
	m := NewMetrics()
	m.RequestDone("filler", 0, errors.New("x"))
	m.CallDone(edgeagent.Call{Provider: "cloud", Outcome: edgeagent.CallOK})
	m.JobDone("completed", 0)
	m.AlarmRaised("filler")
	e, err := parseExposition(ask(t, New(Options{Source: p, Metrics: m}), "GET", "/metrics", "").Body.String())
	if err != nil {
		t.Fatal(err)
	}
	for name := range metricHelp {
		if e.kind["edgeagent_"+name] == "" {
			t.Errorf("help of %s, which is not there", name)
		}
	}
}
