package tags

import (
	"encoding/json"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// A double whose words come in another order than is configured may be any
// number. What is reckoned from it must not cost the evidence of its alarm.
func TestEvidenceOfHugeNumbersCanBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := scene(t, []string{"level", "huge", "leaps", "late", "falls"}, 300*time.Second, map[string]func(float64) float64{
			"level": func(s float64) float64 { return s },
			"huge":  func(float64) float64 { return math.MaxFloat64 },
			"leaps": func(s float64) float64 { return math.Copysign(math.MaxFloat64, math.Sin(s)) },
			"late":  func(s float64) float64 { return math.MaxFloat64 * math.Floor(s/299) },
			"falls": func(s float64) float64 { return math.Copysign(math.MaxFloat64, 290-s) },
		})
		if _, err := json.Marshal(ev); err != nil {
			t.Error(err)
		}
		if len(ev.Tags) != 5 || ev.Tags[0].Mean == nil || ev.Tags[1].Mean != nil || *ev.Tags[1].Max != math.MaxFloat64 {
			t.Errorf("tags %+v, want the level's mean, and of the huge one what can be said", ev.Tags)
		}
		for _, f := range append(ev.Tags, ev.Moved...) {
			if math.IsNaN(f.Moved) || f.Moved < 0 || f.Moved > 1 {
				t.Errorf("%s moved %v", f.Tag, f.Moved)
			}
		}
	})
}
