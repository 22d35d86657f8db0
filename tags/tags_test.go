package tags

import (
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

var lines = map[string]string{"filler": "L1", "capper": "L1", "oven": "L2"}

func tag(device, name string) edgeagent.Tag {
	return edgeagent.Tag{Device: device, Name: name, Address: "holding:1", Type: edgeagent.TypeFloat32, StaleAfter: 3 * time.Second}
}

func table() *Table {
	return New([]edgeagent.Tag{tag("filler", "level"), tag("filler", "flow"), tag("capper", "torque"), tag("oven", "heat")}, lines)
}

func put(t *Table, device, name string, v edgeagent.Value) {
	t.Put(edgeagent.Scan{Device: device, Samples: []edgeagent.Sample{good(name, v)}})
}

func good(name string, v edgeagent.Value) edgeagent.Sample {
	return edgeagent.Sample{Tag: name, Value: v, Quality: edgeagent.QualityGood, At: time.Now()}
}

func bad(name, reason string) edgeagent.Sample {
	return edgeagent.Sample{Tag: name, At: time.Now(), Reason: edgeagent.NewNote(reason, reason)}
}

func reading(t *testing.T, tb *Table, device, name string) edgeagent.Reading {
	t.Helper()
	r, ok := tb.Reading(device, name)
	if !ok {
		t.Fatalf("%s.%s is not there", device, name)
	}
	return r
}

func want(t *testing.T, r edgeagent.Reading, q edgeagent.Quality, reason string, v edgeagent.Value) {
	t.Helper()
	got := ""
	if r.Reason != nil {
		got = r.Reason.Code
	}
	if r.Quality != q || got != reason || !r.Value.Equal(v) {
		t.Errorf("%s = %v %v %q, want %v %v %q", r.Tag, r.Value, r.Quality, got, v, q, reason)
	}
}

func TestNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityBad, edgeagent.ReasonNeverRead, edgeagent.Value{})
		if r.At != nil || r.LastGood != nil || r.AgeS != 0 {
			t.Errorf("a tag that was never read has a time: %+v", r)
		}
		if _, ok := tb.Reading("filler", "nothing"); ok {
			t.Error("a tag that is not configured is there")
		}
		if _, ok := tb.Reading("nobody", "level"); ok {
			t.Error("a device that is not configured is there")
		}
	})
}

func TestValueGrowsStaleAndKeepsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		at := *reading(t, tb, "filler", "level").At
		time.Sleep(3 * time.Second)
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityGood, "", edgeagent.Float(72))
		time.Sleep(time.Millisecond)
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityUncertain, edgeagent.ReasonStale, edgeagent.Float(72))
		if !r.At.Equal(at) || r.AgeS != 3.001 {
			t.Errorf("at %v age %v, want %v and 3.001", r.At, r.AgeS, at)
		}
		put(tb, "filler", "level", edgeagent.Float(73))
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityGood, "", edgeagent.Float(73))
	})
}

// A wall clock that jumps shows as a sample time without a monotonic reading, or
// as one that is still to come. Neither may age or rejuvenate a value.
func TestWallClockDoesNotAge(t *testing.T) {
	for name, skew := range map[string]time.Duration{"back to 1970": -56 * 365 * 24 * time.Hour, "an hour on": time.Hour, "none": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tb := table()
				s := good("level", edgeagent.Float(1))
				s.At = s.At.Round(0).Add(skew)
				tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{s}})
				time.Sleep(2 * time.Second)
				r := reading(t, tb, "filler", "level")
				want(t, r, edgeagent.QualityGood, "", edgeagent.Float(1))
				if r.AgeS != 2 {
					t.Errorf("age %v s, want 2", r.AgeS)
				}
				time.Sleep(2 * time.Second)
				want(t, reading(t, tb, "filler", "level"), edgeagent.QualityUncertain, edgeagent.ReasonStale, edgeagent.Float(1))
				if ps := tb.History("filler", "level", time.Time{}); len(ps) != 1 || time.Since(ps[0].At) != 4*time.Second {
					t.Errorf("history %v, want one point 4 s ago", ps)
				}
			})
		})
	}
}

func TestBadValueIsNullAndKeepsTheLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		at := time.Now()
		time.Sleep(time.Second)
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{bad("level", edgeagent.ReasonException)}})
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityBad, edgeagent.ReasonException, edgeagent.Value{})
		if r.LastGood == nil || !r.LastGood.Equal(edgeagent.Float(72)) || !r.LastGoodAt.Equal(at) {
			t.Errorf("last good %v at %v, want 72 at %v", r.LastGood, r.LastGoodAt, at)
		}
	})
}

func TestNotANumberIsBadWhateverTheDriverSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			put(tb, "filler", "level", edgeagent.Float(f))
			want(t, reading(t, tb, "filler", "level"), edgeagent.QualityBad, edgeagent.ReasonNotANumber, edgeagent.Value{})
		}
		if ps := tb.History("filler", "level", time.Time{}); len(ps) != 1 || ps[0].Max != 72 {
			t.Errorf("history %v, want the number alone", ps)
		}
	})
}

func TestOutOfRangeKeepsItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		s := good("level", edgeagent.Float(140))
		s.Quality, s.Reason = edgeagent.QualityUncertain, edgeagent.NewNote(edgeagent.ReasonOutOfRange, "above 100")
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{s}})
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityUncertain, edgeagent.ReasonOutOfRange, edgeagent.Float(140))
		if !r.Usable() {
			t.Error("an over-range value is not usable")
		}
	})
}

func TestNoAnswerChangesQualityAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		at := time.Now()
		time.Sleep(time.Second)
		silence := edgeagent.Sample{Tag: "level", Value: edgeagent.Float(72), Quality: edgeagent.QualityUncertain,
			Reason: edgeagent.NewNote(edgeagent.ReasonNoAnswer, "timeout"), At: time.Now()}
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{silence}})
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityUncertain, edgeagent.ReasonNoAnswer, edgeagent.Float(72))
		if !r.At.Equal(at) || r.AgeS != 1 {
			t.Errorf("the old value has a new time: %v, age %v", r.At, r.AgeS)
		}
		silence.Tag = "flow"
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{silence}})
		want(t, reading(t, tb, "filler", "flow"), edgeagent.QualityBad, edgeagent.ReasonNoAnswer, edgeagent.Value{})
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{bad("level", edgeagent.ReasonException)}})
		silence.Tag = "level"
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{silence}})
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityBad, edgeagent.ReasonNoAnswer, edgeagent.Value{})
	})
}

func TestStoppedDeviceIsBadUntilItIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		time.Sleep(time.Second)
		tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{{Kind: edgeagent.DeviceEventStopped, At: time.Now()}}})
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityBad, edgeagent.ReasonDeviceStopped, edgeagent.Value{})
		if r.LastGood == nil {
			t.Error("the last good value is gone")
		}
		if c := tb.Counts("filler"); c != (edgeagent.TagCount{Bad: 2}) {
			t.Errorf("counts %+v, want 2 bad", c)
		}
		time.Sleep(time.Hour)
		tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{{Kind: edgeagent.DeviceEventResumed, At: time.Now()}}})
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityUncertain, edgeagent.ReasonStale, edgeagent.Float(72))
		put(tb, "filler", "level", edgeagent.Float(70))
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityGood, "", edgeagent.Float(70))
	})
}

func TestOldAndForeignSamplesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		old := good("level", edgeagent.Float(1))
		time.Sleep(time.Second)
		put(tb, "filler", "level", edgeagent.Float(2))
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{old, good("nothing", edgeagent.Float(3))}})
		put(tb, "nobody", "level", edgeagent.Float(4))
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityGood, "", edgeagent.Float(2))
		if n := len(tb.Readings("")); n != 4 {
			t.Errorf("%d readings, want 4", n)
		}
	})
}

func TestConfigureKeepsWhatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		put(tb, "filler", "flow", edgeagent.Float(140))
		put(tb, "capper", "torque", edgeagent.Float(2))
		level, flow := tag("filler", "level"), tag("filler", "flow")
		level.StaleAfter, flow.Address = time.Minute, "holding:2"
		tb.Configure([]edgeagent.Tag{flow, level, tag("filler", "new")}, lines)
		time.Sleep(10 * time.Second)
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityGood, "", edgeagent.Float(72))
		want(t, reading(t, tb, "filler", "flow"), edgeagent.QualityBad, edgeagent.ReasonNeverRead, edgeagent.Value{})
		if _, ok := tb.Reading("capper", "torque"); ok {
			t.Error("a device that went is still there")
		}
		if len(tb.History("filler", "level", time.Time{})) != 1 || len(tb.History("filler", "flow", time.Time{})) != 0 {
			t.Error("history was not kept with its tag")
		}
		if rs := tb.Readings("filler"); len(rs) != 3 || rs[0].Tag != "flow" {
			t.Errorf("readings %v are not in the configured order", rs)
		}
	})
}

func TestADeviceIsHeardOnceAScanOfItCame(t *testing.T) {
	tb := table()
	if tb.Heard("filler") || !tb.Heard("a device without tags") {
		t.Error("heard before anything came, or waited for without tags")
	}
	tb.Put(edgeagent.Scan{Device: "filler", Err: errors.New("no answer")})
	tb.Configure([]edgeagent.Tag{tag("filler", "new"), tag("capper", "torque")}, lines)
	if !tb.Heard("filler") || tb.Heard("capper") {
		t.Error("a reload forgets it, or hears another")
	}
}

func TestEnumGivesTheWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := tag("filler", "state")
		def.Enum = map[int64]string{6: "Execute", -1: "Unknown"}
		tb := New([]edgeagent.Tag{def}, lines)
		for v, word := range map[edgeagent.Value]string{
			edgeagent.Uint(6): "Execute", edgeagent.Int(-1): "Unknown", edgeagent.Float(6.5): "", edgeagent.Uint(7): "", edgeagent.String("6"): "",
		} {
			put(tb, "filler", "state", v)
			if r := reading(t, tb, "filler", "state"); r.Text != word {
				t.Errorf("%v has the word %q, want %q", v, r.Text, word)
			}
		}
	})
}

func TestReadersAndWriterTogether(t *testing.T) {
	tb := table()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 60 {
				_ = tb.Readings("")
				_ = tb.Counts("filler")
				_ = tb.Evidence("filler", []string{"level"}, time.Now())
				_ = tb.History("filler", "level", time.Time{})
			}
		})
	}
	for i := range 101 {
		put(tb, "filler", "level", edgeagent.Float(float64(i)))
		if i%50 == 0 {
			tb.Configure([]edgeagent.Tag{tag("filler", "level")}, lines)
		}
	}
	wg.Wait()
	want(t, reading(t, tb, "filler", "level"), edgeagent.QualityGood, "", edgeagent.Float(100))
}
