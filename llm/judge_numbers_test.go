package llm

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// numberCase knows 2.5 bar, 80 °C, 1200 rpm, 6 m³/h, 90 s, -18 °C, 4.2 mA, 0.35 mm, the
// bare number 17 and the code F212; nothing else.
func numberCase() (edgeagent.Case, []Passage) {
	f := func(name, unit string, v float64) edgeagent.Feature {
		return edgeagent.Feature{Tag: "d." + name, EngUnit: unit, Value: edgeagent.Float(v), Quality: edgeagent.QualityGood}
	}
	ev := &edgeagent.Evidence{Tags: []edgeagent.Feature{
		f("p", "bar", 2.5), f("t", "degC", 80), f("n", "1/min", 1200), f("q", "m3/h", 6), f("cold", "°C", -18), f("i", "mA", 4.2), f("gap", "mm", 0.35), f("count", "", 17),
	}}
	a := edgeagent.Alarm{Device: "d", Code: "F212", Text: "F212 on drive M5"}
	return edgeagent.Case{Alarms: []edgeagent.CaseAlarm{{Alarm: a, Evidence: ev}}},
		[]Passage{{ID: "r#1", Text: "1. Open the valve. 2) Wait for 90 s at 3,000 hPa, step 9 again. 3. Close it."}}
}

func TestNumbersOfTheCase(t *testing.T) {
	c, passages := numberCase()
	f := newFacts(c, passages)
	for _, tt := range []struct {
		held bool
		text string
	}{
		{true, "2.5 bar"}, {true, "2,5 bar"}, {true, "2.5bar"}, {true, "2.5 Bar"}, {true, "a 2.5-bar supply"}, {true, "2.50 bar"}, {true, "3 bar"}, {true, "about 2500 mbar"}, {true, "0.25 MPa"}, {true, "250 kPa"}, {true, "36 psi"},
		{false, "2.6 bar"}, {false, "2.5 V"}, {false, "25 bar"}, {false, "5 bar"}, {false, "2.5 mbar"}, {false, "5 Bar"}, {false, "5 BAR"}, {false, "5-bar"}, {false, "5 barg"},
		{true, "80 °C"}, {true, "80°C"}, {true, "80 degC"}, {true, "80 degrees"}, {true, "80 Grad"}, {true, "80 Celsius"}, {true, "80 C"}, {false, "81 °C"}, {false, "80 °F"}, {false, "80 K"}, {false, "80 degrees/min"},
		{true, "1200 rpm"}, {true, "1,200 rpm"}, {true, "1.200 U/min"}, {true, "1 200 1/min"}, {true, "1’200 rpm"}, {false, "1,300 rpm"}, {false, "12,000 rpm"}, {false, "1.300 U/min"},
		{true, "6 m³/h"}, {true, "6 m3/h"}, {true, "100 l/min"}, {true, "100 litres per minute"}, {false, "6 l/min"}, {false, "6 m³"}, {false, "200 Liter pro Minute"},
		{true, "90 s"}, {true, "1.5 min"}, {true, "90 seconds"}, {true, "90 Sek."}, {true, "ninety seconds"}, {true, "neunzig Sekunden"}, {false, "91 s"}, {false, "five seconds"}, {false, "fünfundzwanzig Minuten"}, {false, "twenty-five minutes"},
		{true, "-18 °C"}, {true, "−18 °C"}, {true, "minus 18 °C"}, {false, "-19 °C"},
		{true, "4.2 mA"}, {false, "4.2 A"}, {false, "4 A"}, {true, "4-4.2 mA"}, {false, "3-4.2 mA"}, {false, "4.2–20 mA"}, {false, "4.2 to 20 mA"}, {false, "zwischen 4,2 und 20 mA"}, {false, "between 7 and 4.2 mA"},
		{true, "0.35 mm"}, {true, "350 µm"}, {true, ".35 mm is no number that is looked for"},
		{true, "17 bottles"}, {true, "17 bar"}, // a number without a unit may be of any
		{false, "212 bar"}, {false, "1 bar"}, {false, "2 V"}, {false, "3 V"}, // a code and the steps of a list prove nothing
		{true, "9 bottles"}, // as "step 9" does, for want of its unit
		{true, "3 bar"},     // 3,000 hPa
		{false, "５ bar"}, {false, "٥ bar"}, {true, "２.５ bar"},
		{true, "0 bar"}, {true, "M5 screw"}, {true, "alarm 4711"}, {true, "IP65"}, {true, "see 3.2.1"}, {true, "on 24.12."}, {true, "one minute"}, {true, "a second sensor"},
		{false, "24 V DC"}, {false, "24VDC"}, {false, "230 VAC"}, {false, "3 days"}, {false, "5 bottles per minute"},
	} {
		ok := true
		for _, q := range quantities(tt.text) {
			ok = ok && f.holds(q)
		}
		if ok != tt.held {
			t.Errorf("%q holds: %v, want %v (%v)", tt.text, ok, tt.held, quantities(tt.text))
		}
	}
}

// TestNumbersOfThePromptAreOfTheCase holds what a model is shown of a tag, and what
// it works out of that, against what it may say.
func TestNumbersOfThePromptAreOfTheCase(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		power := random.IntN(12) - 3
		scale := math.Pow10(power)
		number := func() float64 { return (random.Float64() - 0.5) * scale }
		f := edgeagent.Feature{
			Tag: "d.p", EngUnit: "Pa", Value: edgeagent.Float(number()), Quality: edgeagent.QualityGood, AgeS: 3 + math.Abs(number()),
			Min: new(number()), Max: new(number()), Mean: new(number()), LimitLow: new(number()), LimitHigh: new(number()),
		}
		facts := newFacts(edgeagent.Case{Alarms: []edgeagent.CaseAlarm{{Evidence: &edgeagent.Evidence{Tags: []edgeagent.Feature{f}}}}}, nil)
		v := newViewTag(f, time.Time{})
		said := []float64{v.Value.(float64), *v.Min, *v.Max, *v.Mean, *v.LimitLow, *v.LimitHigh, *v.Max - *v.Min, v.Value.(float64) - *v.LimitHigh}
		for _, n := range said {
			for _, q := range quantities(strconv.FormatFloat(n, 'f', 9-power, 64) + " Pa") {
				if !facts.holds(q) {
					t.Fatalf("%q is shown, or between two that are, and not held: %+v of %+v", q.text, v, f)
				}
			}
		}
		if q := quantities(strconv.FormatFloat(v.AgeS, 'f', -1, 64) + " s"); len(q) == 1 && !facts.holds(q[0]) {
			t.Fatalf("%q is the age that is shown of %v s, and not held", q[0].text, f.AgeS)
		}
	}
}

func TestNearALimitIsNotOnIt(t *testing.T) {
	f := edgeagent.Feature{Tag: "d.p", EngUnit: "Pa", Value: edgeagent.Float(101325.4), LimitHigh: new(101320.0), Quality: edgeagent.QualityGood}
	if v := newViewTag(f, time.Time{}); v.Value != 101325.0 || *v.LimitHigh != 101320 {
		t.Errorf("the model is told %v, limit %v", v.Value, *v.LimitHigh)
	}
}

func FuzzQuantities(f *testing.F) {
	for _, s := range []string{"2.5 bar", "1 200,5 l/min", "between 3 and 5 bar", "twenty five seconds", "٥…9 °C", "1.2.3,4 %", "’’ 000 bar", strings.Repeat("1 000", 50)} {
		f.Add(s)
	}
	c, passages := numberCase()
	facts := newFacts(c, passages)
	f.Fuzz(func(t *testing.T, s string) {
		western := westernDigits(s)
		for _, q := range quantities(s) {
			if q.from < 0 || q.to > len(western) || q.from > q.to || q.unit == "" || q.text == "" || len(q.readings) > 4 {
				t.Fatalf("%q: %+v", s, q)
			}
			facts.holds(q)
		}
		newFacts(c, passages).addText(s)
	})
}

// TestTimesOfThePromptAreOfTheCase holds every time that a model is shown against
// what it may say: they count from the first alarm, whichever they are of.
func TestTimesOfThePromptAreOfTheCase(t *testing.T) {
	c := fillerCase()
	at := raised.Add(4 * time.Second)
	c.At = raised.Add(time.Minute)
	c.Alarms[1].Alarm.ClearedAt = new(raised.Add(26500 * time.Millisecond))
	c.Alarms[1].Evidence = &edgeagent.Evidence{At: at, WindowS: 600, Tags: []edgeagent.Feature{
		{Tag: "packaging.eye", Value: edgeagent.Bool(true), Quality: edgeagent.QualityGood, AgeS: 7.7, LastChange: new(raised.Add(-13600 * time.Millisecond))},
	}}
	c.Alarms[0].Evidence.Tags[0].AgeS, c.Alarms[0].Evidence.Tags[2].AgeS = 3.3, 5
	c.Related[0].ClearedAt = new(raised.Add(-97700 * time.Millisecond))
	facts := newFacts(c, nil)
	var shown any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(BuildPrompt(c, nil, PromptOptions{}).User, caseHead)), &shown); err != nil {
		t.Fatal(err)
	}
	checked := 0
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(k, x)
			}
		case []any:
			for _, x := range v {
				walk(key, x)
			}
		case float64:
			if !strings.HasSuffix(key, "_s") {
				return
			}
			checked++
			for _, q := range quantities(strconv.FormatFloat(v, 'f', -1, 64) + " s") {
				if !facts.holds(q) {
					t.Errorf("%s %v is shown and not held", key, v)
				}
			}
		}
	}
	walk("", shown)
	if checked < 10 {
		t.Errorf("only %d times were shown", checked)
	}
}

// TestUnitsWithMoreBehindThem has a model repeat what it was shown, in the units
// of real plants: what follows bar or % must not make it another number.
func TestUnitsWithMoreBehindThem(t *testing.T) {
	for _, unit := range []string{
		"bar", "bar(g)", "bar (a)", "bar abs", "mbar(a)", "% rH", "%rH", "% vol", "Nm³/h", "Nm3/h", "m³/h", "m²", "m/s²", "mm/s", "kg/cm²", "g/kg", "N/mm²",
		"W/m²", "V DC", "A rms", "°C", "degC", "1/min", "U/min", "t/h", "mm Hg", "µS/cm", "bottles/min", "Stk", "kWh", "[bar]",
	} {
		f := edgeagent.Feature{Tag: "d.x", EngUnit: unit, Value: edgeagent.Float(123.4), Min: new(17.0), LimitHigh: new(120.0), Quality: edgeagent.QualityGood}
		facts := newFacts(edgeagent.Case{Alarms: []edgeagent.CaseAlarm{{Evidence: &edgeagent.Evidence{Tags: []edgeagent.Feature{f}}}}}, nil)
		for _, said := range []string{"123.4 " + unit, "123,4" + unit, "3.4 " + unit + " above the limit of 120 " + unit} {
			for _, q := range quantities(said) {
				if !facts.holds(q) {
					t.Errorf("%q of a tag in %s: %q is not held", said, unit, q.text)
				}
			}
		}
		if wrong := quantities("124.9 " + unit); len(wrong) > 0 && facts.holds(wrong[0]) {
			t.Errorf("124.9 %s is held", unit)
		}
	}
}

func TestHistoryIsAsLongAsItIsSaid(t *testing.T) {
	ev := &edgeagent.Evidence{At: raised, WindowS: 600, HistorySince: raised.Add(-240700 * time.Millisecond)}
	facts := newFacts(edgeagent.Case{Alarms: []edgeagent.CaseAlarm{{Evidence: ev}}}, nil)
	for _, q := range quantities(historyGap(ev)) {
		if !facts.holds(q) {
			t.Errorf("%q is told of 240.7 s and not held", q.text)
		}
	}
}
