package tags

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// scene plays ten minutes of a line whose tags each behave in one way, and
// returns the evidence of its end.
func scene(t *testing.T, alarm []string, d time.Duration, signals map[string]func(s float64) float64) *edgeagent.Evidence {
	t.Helper()
	var defs []edgeagent.Tag
	for name := range signals {
		defs = append(defs, tag("filler", name))
	}
	defs = append(defs, tag("oven", "heat"))
	tb := New(defs, lines)
	for s := 0.0; s < d.Seconds(); s++ {
		scan := edgeagent.Scan{Device: "filler"}
		for name, f := range signals {
			scan.Samples = append(scan.Samples, good(name, edgeagent.Float(f(s))))
		}
		tb.Put(scan)
		time.Sleep(time.Second)
	}
	return tb.Evidence("filler", alarm, time.Now())
}

func names(fs []edgeagent.Feature) string {
	var out []string
	for _, f := range fs {
		out = append(out, strings.TrimPrefix(f.Tag, "filler."))
	}
	return strings.Join(out, " ")
}

func TestEvidenceNamesWhatMoved(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	signals := map[string]func(float64) float64{
		"alarm":     func(s float64) float64 { return float64(int(s / 598)) },
		"still":     func(float64) float64 { return 5 },
		"counter":   func(s float64) float64 { return 1e6 + 3*s },
		"cycle":     func(s float64) float64 { return math.Sin(s / 3) },
		"noise":     func(float64) float64 { return math.Mod(r.NormFloat64(), 2) },
		"heartbeat": func(s float64) float64 { return float64(int(s) % 60) },
		"ramp":      func(s float64) float64 { return max(0, s-570) },
		"half":      func(s float64) float64 { return math.Sin(s/3) + max(0, s-580)/20 },
		"old_step":  func(s float64) float64 { return float64(int(s / 300)) },
	}
	synctest.Test(t, func(t *testing.T) {
		ev := scene(t, []string{"alarm"}, 600*time.Second, signals)
		if got := names(ev.Tags); got != "alarm" {
			t.Errorf("tags %q, want the alarm's", got)
		}
		if got := names(ev.Moved); got != "ramp half" {
			t.Errorf("moved %q, want ramp and half", got)
		}
		if ev.Omitted != 6 {
			t.Errorf("omitted %d, want 6", ev.Omitted)
		}
		if ev.Moved[0].Moved < 0.9 || ev.Moved[0].Moved > 1 || ev.Moved[1].Moved > 0.6 {
			t.Errorf("moved by %v and %v", ev.Moved[0].Moved, ev.Moved[1].Moved)
		}
		if ev.WindowS != 600 || len(ev.Gaps) != 0 {
			t.Errorf("window %v gaps %q", ev.WindowS, ev.Gaps)
		}
	})
}

func TestEvidenceSoonAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ev := scene(t, []string{"eye"}, 12*time.Second, map[string]func(float64) float64{
			"eye":     func(s float64) float64 { return float64(int(s / 10)) },
			"speed":   func(s float64) float64 { return min(24, 24-5*(s-7)) },
			"counter": func(s float64) float64 { return 3 * s },
		})
		if got := names(ev.Moved); got != "speed" {
			t.Errorf("moved %q, want the speed", got)
		}
		if !ev.HistorySince.Equal(begin) {
			t.Errorf("history since %v, want %v", ev.HistorySince, begin)
		}
	})
}

func TestFeatureOfARamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := scene(t, []string{"ramp"}, 300*time.Second, map[string]func(float64) float64{
			"ramp": func(s float64) float64 { return s / 10 },
		})
		f := ev.Tags[0]
		if *f.Min != 0 || *f.Max != 29.9 || math.Abs(*f.Mean-15) > 0.4 || math.Abs(*f.SlopePerMin-6) > 0.01 {
			t.Errorf("min %v max %v mean %v slope %v, want 0 29.9 15 6", *f.Min, *f.Max, *f.Mean, *f.SlopePerMin)
		}
		if f.Changes != 299 || f.LastChange == nil || time.Since(*f.LastChange) != time.Second {
			t.Errorf("%d changes, the last at %v; want 299, a second ago", f.Changes, f.LastChange)
		}
	})
}

func TestDeadbandHidesSmallChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := tag("filler", "level")
		def.Deadband = 1
		low, high := 0.0, 100.0
		def.Min, def.Max = &low, &high
		tb := New([]edgeagent.Tag{def}, lines)
		for _, v := range []float64{50, 50.6, 51, 49.5, 51.1, 51.5, 49.9} { // 51.1 and 49.9 are changes
			put(tb, "filler", "level", edgeagent.Float(v))
			time.Sleep(time.Second)
		}
		f := tb.Evidence("filler", []string{"level"}, time.Now()).Tags[0]
		if f.Changes != 2 || !f.Value.Equal(edgeagent.Float(49.9)) || *f.LimitHigh != 100 || *f.LimitLow != 0 {
			t.Errorf("%+v, want 2 changes and the value of now", f)
		}
	})
}

func TestTextsAndBitsHaveChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := New([]edgeagent.Tag{tag("filler", "recipe"), tag("filler", "run")}, lines)
		for _, v := range []string{"a", "a", "b", "a"} {
			put(tb, "filler", "recipe", edgeagent.String(v))
			put(tb, "filler", "run", edgeagent.Bool(v == "a"))
			time.Sleep(time.Second)
		}
		fs := tb.Evidence("filler", []string{"recipe", "run"}, time.Now()).Tags
		if fs[0].Changes != 2 || fs[0].Min != nil || fs[0].Mean != nil {
			t.Errorf("text %+v, want 2 changes and no numbers", fs[0])
		}
		if fs[1].Changes != 2 || *fs[1].Min != 0 || *fs[1].Max != 1 || fs[1].Mean != nil || fs[1].SlopePerMin != nil {
			t.Errorf("bit %+v, want 2 changes from 0 to 1", fs[1])
		}
		time.Sleep(20 * time.Minute)
		put(tb, "filler", "recipe", edgeagent.String("a"))
		if f := tb.Evidence("filler", []string{"recipe"}, time.Now()).Tags[0]; f.Changes != 0 || f.LastChange != nil {
			t.Errorf("%+v: a change before the window counts", f)
		}
	})
}

func TestEvidenceOfManyNamesEightAndCountsTheRest(t *testing.T) {
	signals := map[string]func(float64) float64{}
	for i := range 12 {
		signals[fmt.Sprintf("t%02d", i)] = func(s float64) float64 { return math.Sin(s/3) + max(0, s-80)*float64(i+1)/10 }
	}
	synctest.Test(t, func(t *testing.T) {
		ev := scene(t, nil, 100*time.Second, signals)
		if got := names(ev.Moved); got != "t11 t10 t09 t08 t07 t06 t05 t04" || ev.Omitted != 4 {
			t.Errorf("moved %q, omitted %d", got, ev.Omitted)
		}
	})
}

func TestMovementThatIsATrifleOfTheRangeIsNone(t *testing.T) {
	for limit, moved := range map[float64]int{500: 0, 50: 1} {
		synctest.Test(t, func(t *testing.T) {
			low, high := 0.0, limit
			def := tag("filler", "heat")
			def.Min, def.Max = &low, &high
			tb := New([]edgeagent.Tag{def}, lines)
			play(tb, "filler", "heat", 120*time.Second, time.Second, func(s float64) float64 { return 20 + max(0, s-100)/10 })
			if ev := tb.Evidence("filler", nil, time.Now()); len(ev.Moved) != moved || ev.Omitted != 1-moved {
				t.Errorf("2 of %v: %d moved, want %d", limit, len(ev.Moved), moved)
			}
		})
	}
}

func TestEvidenceOfUnknownNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "oven", "heat", edgeagent.Float(1))
		ev := tb.Evidence("filler", []string{"nothing", "level", "level", "oven.heat", "nobody.x"}, time.Now())
		if len(ev.Tags) != 2 || ev.Tags[0].Tag != "filler.level" || ev.Tags[1].Tag != "oven.heat" {
			t.Errorf("tags %+v, want level and heat", ev.Tags)
		}
		if ev.Tags[0].Min != nil || ev.Tags[0].Reason.Code != edgeagent.ReasonNeverRead || ev.Omitted != 2 {
			t.Errorf("%+v omitted %d", ev.Tags[0], ev.Omitted)
		}
		if ev := tb.Evidence("nobody", nil, time.Now()); ev == nil || len(ev.Tags)+len(ev.Moved)+ev.Omitted != 0 {
			t.Errorf("evidence of nobody: %+v", ev)
		}
	})
}

func TestGapThatHasNotEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := New([]edgeagent.Tag{tag("filler", "level")}, lines)
		play(tb, "filler", "level", 10*time.Second, time.Second, func(float64) float64 { return 1 })
		time.Sleep(time.Minute)
		ev := tb.Evidence("filler", nil, time.Now())
		if len(ev.Gaps) != 1 || !strings.Contains(ev.Gaps[0], "filler: nothing read since ") {
			t.Errorf("gaps %q", ev.Gaps)
		}
		play(tb, "filler", "level", 10*time.Second, time.Second, func(float64) float64 { return 1 })
		if ev := tb.Evidence("filler", nil, time.Now()); len(ev.Gaps) != 1 || !strings.Contains(ev.Gaps[0], " to ") {
			t.Errorf("gaps %q", ev.Gaps)
		}
	})
}

// The ranking is kept for the alarms of one scan, each with its own named tags,
// and never beyond a value that came in.
func TestKeptRankingIsNeverStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := New([]edgeagent.Tag{tag("filler", "a"), tag("filler", "b")}, lines)
		put := func(a, b float64) {
			tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{good("a", edgeagent.Float(a)), good("b", edgeagent.Float(b))}})
		}
		for s := range 100 {
			put(math.Sin(float64(s)), math.Sin(float64(s)))
			time.Sleep(time.Second)
		}
		put(50, 20)
		at := time.Now()
		if got := names(tb.Evidence("filler", nil, at).Moved); got != "a b" {
			t.Errorf("moved %q, want a before b", got)
		}
		if got := names(tb.Evidence("filler", []string{"a"}, at).Moved); got != "b" {
			t.Errorf("with a named: moved %q, want b", got)
		}
		put(50, 900) // at the same instant
		if got := names(tb.Evidence("filler", nil, at).Moved); got != "b a" {
			t.Errorf("after another value: moved %q, want b before a", got)
		}
	})
}
