package tags

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// keepAlive is a scan that says only that nothing has changed.
func keepAlive(names ...string) edgeagent.Scan {
	return edgeagent.Scan{Device: "filler", At: time.Now(), Confirmed: names}
}

func TestConfirmedValueIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		at := time.Now()
		for range 10 {
			time.Sleep(2500 * time.Millisecond)
			tb.Put(keepAlive("level", "flow", "nothing"))
		}
		confirmed := time.Now()
		time.Sleep(time.Second)
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityGood, "", edgeagent.Float(72))
		if !r.At.Equal(at) || r.ConfirmedAt == nil || !r.ConfirmedAt.Equal(confirmed) || r.AgeS != 1 {
			t.Errorf("at %v, confirmed at %v, age %v; want %v, %v and 1", r.At, r.ConfirmedAt, r.AgeS, at, confirmed)
		}
		want(t, reading(t, tb, "filler", "flow"), edgeagent.QualityBad, edgeagent.ReasonNeverRead, edgeagent.Value{})
		time.Sleep(2001 * time.Millisecond)
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityUncertain, edgeagent.ReasonStale, edgeagent.Float(72))
		put(tb, "filler", "level", edgeagent.Float(73))
		if r := reading(t, tb, "filler", "level"); r.ConfirmedAt != nil || r.AgeS != 0 {
			t.Errorf("a new value is confirmed already: %+v", r)
		}
	})
}

// A keep-alive says that nothing changed. It says nothing of what was lost
// before, and mends no value that was bad.
func TestConfirmationMendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		put(tb, "filler", "flow", edgeagent.Float(1))
		silence := edgeagent.Sample{Tag: "level", Quality: edgeagent.QualityUncertain, Reason: edgeagent.NewNote(edgeagent.ReasonNoAnswer, "lost"), At: time.Now()}
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{silence, bad("flow", edgeagent.ReasonStatus)}})
		time.Sleep(time.Second)
		tb.Put(keepAlive("level", "flow"))
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityUncertain, edgeagent.ReasonNoAnswer, edgeagent.Float(72))
		if r.ConfirmedAt != nil || r.AgeS != 1 {
			t.Errorf("a lost value was confirmed: %+v", r)
		}
		want(t, reading(t, tb, "filler", "flow"), edgeagent.QualityBad, edgeagent.ReasonStatus, edgeagent.Value{})
	})
}

// A late keep-alive does not confirm the value that came after it.
func TestConfirmationOfBeforeTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		late := keepAlive("level")
		time.Sleep(time.Second)
		put(tb, "filler", "level", edgeagent.Float(72))
		tb.Put(late)
		if r := reading(t, tb, "filler", "level"); r.ConfirmedAt != nil {
			t.Errorf("confirmed at %v, read at %v", r.ConfirmedAt, r.At)
		}
	})
}

// Evidence of a value that stood for minutes must not say that there is none.
func TestConfirmedValueHasATrend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(50))
		for range 400 {
			time.Sleep(2 * time.Second)
			tb.Put(keepAlive("level"))
		}
		put(tb, "filler", "level", edgeagent.Float(80))
		f := tb.Evidence("filler", []string{"level"}, time.Now()).Tags[0]
		if f.Min == nil || *f.Min != 50 || *f.Max != 80 || f.Mean == nil || *f.Mean > 51 || f.Changes != 1 {
			t.Errorf("feature %+v", f)
		}
		if f.Moved < 0.9 {
			t.Errorf("a value that stood and then jumped moved by %v", f.Moved)
		}
	})
}

func gaps(tb *Table) []string {
	var out []string
	for _, g := range tb.Evidence("filler", nil, time.Now()).Gaps {
		if strings.HasPrefix(g, "filler") {
			out = append(out, g)
		}
	}
	return out
}

func TestValueThatStandsIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(50))
		for range 60 {
			time.Sleep(2 * time.Second)
			tb.Put(keepAlive("level"))
		}
		put(tb, "filler", "level", edgeagent.Float(51))
		if got := gaps(tb); len(got) != 0 {
			t.Errorf("gaps %q, want none", got)
		}
	})
}

func TestGapThatTheDriverTells(t *testing.T) {
	gap := func(from time.Time) edgeagent.DeviceEvent {
		return edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventGap, From: from, At: time.Now()}
	}
	tests := []struct {
		name string
		play func(tb *Table)
		want int
	}{
		{"a short one", func(tb *Table) {
			from := time.Now()
			time.Sleep(500 * time.Millisecond)
			tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{gap(from)}, Samples: []edgeagent.Sample{good("level", edgeagent.Float(2))}})
		}, 1},
		{"with the value that ends it", func(tb *Table) {
			from := time.Now()
			time.Sleep(time.Minute)
			tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{gap(from)}, Samples: []edgeagent.Sample{good("level", edgeagent.Float(2))}})
		}, 1},
		{"after the value that ended it", func(tb *Table) {
			from := time.Now()
			time.Sleep(time.Minute)
			put(tb, "filler", "level", edgeagent.Float(2))
			tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{gap(from)}})
		}, 1},
		{"two", func(tb *Table) {
			for range 2 {
				from := time.Now()
				time.Sleep(20 * time.Second)
				tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{gap(from)}, Samples: []edgeagent.Sample{good("level", edgeagent.Float(2))}})
				time.Sleep(time.Second)
				put(tb, "filler", "level", edgeagent.Float(3))
			}
		}, 2},
		{"from before the first value", func(tb *Table) {
			tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{{Kind: edgeagent.DeviceEventGap, At: time.Now()}}})
		}, 1},
		{"that ends before it begins", func(tb *Table) {
			tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{gap(time.Now().Add(time.Hour))}})
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tb := table()
				put(tb, "filler", "level", edgeagent.Float(1))
				time.Sleep(time.Second)
				tt.play(tb)
				if got := gaps(tb); len(got) != tt.want {
					t.Errorf("gaps %q, want %d", got, tt.want)
				}
			})
		})
	}
}

func TestTimesOfAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		source := time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC) // a hostile one: no nanoseconds since 1970 hold it
		server := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
		s := good("level", edgeagent.Float(1))
		s.SourceAt, s.ServerAt = source, server
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{s}})
		before := reading(t, tb, "filler", "level")
		s.SourceAt, s.ServerAt = server, time.Time{}
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{s}})
		after := reading(t, tb, "filler", "level")
		if !before.SourceAt.Equal(source) || !before.ServerAt.Equal(server) || !after.SourceAt.Equal(server) || after.ServerAt != nil {
			t.Errorf("times %v %v, then %v %v", before.SourceAt, before.ServerAt, after.SourceAt, after.ServerAt)
		}
	})
}

func TestMaintenanceIsBadUntilItIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		time.Sleep(time.Second)
		tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{{Kind: edgeagent.DeviceEventMaintenance, At: time.Now()}}})
		r := reading(t, tb, "filler", "level")
		want(t, r, edgeagent.QualityBad, edgeagent.ReasonMaintenance, edgeagent.Value{})
		if r.LastGood == nil || !r.LastGood.Equal(edgeagent.Float(72)) {
			t.Errorf("last good %v, want 72", r.LastGood)
		}
		tb.Put(edgeagent.Scan{Device: "filler", Events: []edgeagent.DeviceEvent{{Kind: edgeagent.DeviceEventResumed, At: time.Now()}}})
		want(t, reading(t, tb, "filler", "level"), edgeagent.QualityGood, "", edgeagent.Float(72))
	})
}

func TestFetchTellsWhetherATagStays(t *testing.T) {
	tests := []struct {
		name string
		edit func(*edgeagent.Tag)
		kept bool
	}{
		{"the same", func(*edgeagent.Tag) {}, true},
		{"another unit's name alone", func(g *edgeagent.Tag) { g.EngUnit = "bar" }, true},
		{"another order", func(g *edgeagent.Tag) { g.Fetch = "modbus-tcp://a holding:1 float32 CDAB" }, false},
		{"nobody says how", func(g *edgeagent.Tag) { g.Fetch = "" }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				def := tag("filler", "level")
				def.Fetch = "modbus-tcp://a holding:1 float32 ABCD"
				tb := New([]edgeagent.Tag{def}, lines)
				put(tb, "filler", "level", edgeagent.Float(72))
				tt.edit(&def)
				tb.Configure([]edgeagent.Tag{tag("filler", "other"), def}, lines)
				if got := reading(t, tb, "filler", "level").At != nil; got != tt.kept {
					t.Errorf("kept %v, want %v", got, tt.kept)
				}
				if n := len(tb.History("filler", "level", time.Time{})); (n == 1) != tt.kept {
					t.Errorf("%d points are left", n)
				}
			})
		})
	}
}

func TestTheLastGoodValueOutlivesDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := table()
		put(tb, "filler", "level", edgeagent.Float(72))
		at := time.Now()
		time.Sleep(time.Second)
		doubtful := good("level", edgeagent.Float(140))
		doubtful.Quality, doubtful.Reason = edgeagent.QualityUncertain, edgeagent.NewNote(edgeagent.ReasonOutOfRange, "above 100")
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{doubtful}})
		time.Sleep(time.Second)
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{bad("level", edgeagent.ReasonException)}})
		time.Sleep(time.Second)
		tb.Put(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{bad("level", edgeagent.ReasonException)}})
		if r := reading(t, tb, "filler", "level"); r.LastGood == nil || !r.LastGood.Equal(edgeagent.Float(72)) || !r.LastGoodAt.Equal(at) {
			t.Errorf("last good %v at %v, want 72 at %v", r.LastGood, r.LastGoodAt, at)
		}
	})
}
