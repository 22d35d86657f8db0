package alarm

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"edgeagent"
)

// versus times two ways to do the same turn and turn about, after prepare, and
// returns the medians in nanoseconds: a noisy neighbour spoils single rounds,
// and both.
func versus(b *testing.B, prepare func(), ours, peer func() int) (o, p float64) {
	b.Helper()
	var took [2][]float64
	for b.Loop() {
		prepare()
		for i, do := range []func() int{ours, peer} {
			begin := time.Now()
			found := do()
			took[i] = append(took[i], float64(time.Since(begin)))
			if found != 0 {
				b.Fatalf("found %d, want nothing: all values are below the limits", found)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	slices.Sort(took[0])
	slices.Sort(took[1])
	return took[0][len(took[0])/2], took[1][len(took[1])/2]
}

// costs is a device with as many tags as rules, and the scans that move it.
type costs struct {
	engine *Engine
	tags   []string
	values map[string]edgeagent.Reading
	scan   edgeagent.Scan
	now    time.Time
	round  int
}

// Reading and Evidence make it the engine's view, as cheap as a view can be.
func (c *costs) Reading(_, tag string) (edgeagent.Reading, bool) {
	r, ok := c.values[tag]
	return r, ok
}

func (c *costs) Evidence(string, []string, time.Time) *edgeagent.Evidence { return nil }

func newCosts(b *testing.B, rules int) *costs {
	b.Helper()
	c := &costs{values: map[string]edgeagent.Reading{}, scan: edgeagent.Scan{Device: "filler"}, now: began}
	var all []edgeagent.Tag
	var list []Rule
	for i := range rules {
		name := fmt.Sprint("level_", i)
		r := high()
		r.Code, r.When, r.Clear = fmt.Sprint("F", i), name+" > 80", name+" < 75"
		list = append(list, r)
		c.tags = append(c.tags, name)
		all = append(all, edgeagent.Tag{Device: "filler", Name: name, Type: edgeagent.TypeFloat32, StaleAfter: time.Hour})
		c.scan.Samples = append(c.scan.Samples, edgeagent.Sample{Tag: name, Quality: edgeagent.QualityGood})
	}
	var err error
	if c.engine, err = New(list, all, Options{At: began}); err != nil {
		b.Fatal(err)
	}
	c.move(0)
	return c
}

// move makes the next scan, below all limits; by 0 repeats the values.
func (c *costs) move(by float64) {
	c.round++
	c.now = c.now.Add(time.Second)
	at := c.now
	for i, name := range c.tags {
		v := edgeagent.Float(40 + by*float64(c.round%7))
		c.scan.Samples[i].Value, c.scan.Samples[i].At = v, at
		c.values[name] = edgeagent.Reading{Device: "filler", Tag: name, Value: v, Quality: edgeagent.QualityGood, At: &at}
	}
	c.scan.At = at
}

// apply evaluates the scan and returns how many transitions there were.
func (c *costs) apply() int { return len(c.engine.Apply(c.scan, c, c.now)) }

// byHand is what a program would do that knows its one condition: read the
// value, compare it.
func (c *costs) byHand() (high int) {
	for _, s := range c.scan.Samples {
		r, ok := c.Reading(c.scan.Device, s.Tag)
		if v, number := r.Value.Float64(); ok && r.Usable() && number && v > 80 {
			high++
		}
	}
	return high
}

// BenchmarkApply evaluates 300 rules on 300 tags, of a plant that stands still
// and of one in which every value changes with every scan.
func BenchmarkApply(b *testing.B) {
	const rules = 300
	for name, by := range map[string]float64{"still": 0, "moving": 1} {
		b.Run(name, func(b *testing.B) {
			c := newCosts(b, rules)
			ours, peer := versus(b, func() { c.move(by) }, c.apply, c.byHand)
			b.ReportMetric(ours/rules, "ns/rule")
			b.ReportMetric(ours/peer, "x-written-by-hand")
			allocs := testing.AllocsPerRun(10, func() { c.move(by); c.apply() }) - testing.AllocsPerRun(10, func() { c.move(by) })
			b.ReportMetric(allocs/rules, "allocs/rule")
		})
	}
}

// BenchmarkWords reads 200 words of 32 bits, of which none is set and of which
// each has one set that stands, against reading the words alone.
func BenchmarkWords(b *testing.B) {
	const words = 200
	for name, value := range map[string]int64{"quiet": 0, "one bit stands": 4} {
		b.Run(name, func(b *testing.B) {
			c := newWords(b, words)
			c.set(value)
			c.engine.Apply(c.scan, c, c.now)
			ours, peer := versus(b, func() { c.set(value) }, c.apply, c.byHand)
			b.ReportMetric(ours/words/32, "ns/bit")
			b.ReportMetric(ours/peer, "x-read-alone")
			allocs := testing.AllocsPerRun(10, func() { c.set(value); c.apply() }) - testing.AllocsPerRun(10, func() { c.set(value) })
			b.ReportMetric(allocs/words, "allocs/word")
			b.ReportMetric(float64(c.next()), "ns/next")
		})
	}
}

func newWords(tb testing.TB, words int) *costs {
	tb.Helper()
	c := &costs{values: map[string]edgeagent.Reading{}, scan: edgeagent.Scan{Device: "filler"}, now: began}
	var all []edgeagent.Tag
	var o Options
	for i := range words {
		name := fmt.Sprint("alm_", i)
		o.Words = append(o.Words, Word{Device: "filler", Line: "L1", Tag: name, Bits: 32})
		c.tags = append(c.tags, name)
		all = append(all, edgeagent.Tag{Device: "filler", Name: name, Type: edgeagent.TypeUint32, StaleAfter: time.Hour})
		c.scan.Samples = append(c.scan.Samples, edgeagent.Sample{Tag: name, Quality: edgeagent.QualityGood})
	}
	o.At = began
	var err error
	if c.engine, err = New(nil, all, o); err != nil {
		tb.Fatal(err)
	}
	return c
}

func (c *costs) set(v int64) {
	c.now = c.now.Add(time.Second)
	at := c.now
	for i, name := range c.tags {
		value := edgeagent.Uint(uint64(v))
		c.scan.Samples[i].Value, c.scan.Samples[i].At = value, at
		c.values[name] = edgeagent.Reading{Device: "filler", Tag: name, Value: value, Quality: edgeagent.QualityGood, At: &at}
	}
}

// next times the question that the loop asks after every scan.
func (c *costs) next() time.Duration {
	begin := time.Now()
	for range 100 {
		c.engine.Next()
	}
	return time.Since(begin) / 100
}
