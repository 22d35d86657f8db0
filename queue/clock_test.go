package queue

import (
	"testing"
	"time"
)

func TestClockTakesOverOnlyWhatStandsByItsWord(t *testing.T) {
	const step, decade = 10 * time.Minute, 10 * 365 * 24 * time.Hour
	for _, c := range []struct {
		name      string
		jump      time.Duration
		run, want time.Duration // how long it runs on the other time; how far the clock is by then
	}{
		{"an hour back is believed", -time.Hour, 2 * time.Hour, time.Hour},
		{"a day off is believed", 24 * time.Hour, time.Hour, 25 * time.Hour},
		{"ten years on are not", decade, 3 * time.Hour, 3 * time.Hour},
		{"ten years back are not", -decade, 3 * time.Hour, 3 * time.Hour},
		{"ten years on are after a day", decade, 25 * time.Hour, decade + 25*time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
			k := clock{at: start}
			for passed := step; passed <= c.run; passed += step {
				k.advance(step, start.Add(passed+c.jump))
			}
			if got := k.at.Sub(start); got != c.want {
				t.Errorf("after %v the clock is %v on, want %v", c.run, got, c.want)
			}
		})
	}
}

func TestClockThatIsSetBackInTimeHasLostNothing(t *testing.T) {
	start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	k := clock{at: start}
	for range 23 {
		k.advance(time.Hour, start.AddDate(10, 0, 0))
	}
	k.advance(time.Hour, start.Add(24*time.Hour))
	if want := start.Add(24 * time.Hour); !k.at.Equal(want) || k.held != 0 {
		t.Errorf("clock = %v, held for %v, want %v and nothing held", k.at, k.held, want)
	}
}

func TestTheSpendDayNeverGoesBack(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l := ledger{}
	for _, c := range []struct {
		name string
		now  time.Time
		want string
	}{
		{"before midnight", noon.Add(11 * time.Hour), "2026-11-22"},
		{"after it", noon.Add(13 * time.Hour), "2026-11-23"},
		{"an hour back", noon.Add(11*time.Hour + 30*time.Minute), "2026-11-23"},
		{"in 1970, which is no day", time.Unix(60, 0).UTC(), "2026-11-23"},
		{"and on", noon.AddDate(0, 0, 2), "2026-11-24"},
		{"ten years ahead", noon.AddDate(10, 0, 0), "2036-11-22"},
		{"and right again", noon.AddDate(0, 0, 2), "2026-11-24"},
	} {
		if got := l.dayAt(c.now); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// A time server that was years ahead for a week leaves days behind that are newer
// than today: what is spent today counts all the same.
func TestSpendIsCountedThoughNewerDaysAreKnown(t *testing.T) {
	l := ledger{location: time.UTC, days: make(map[string]float64)}
	for day := range ledgerDays {
		l.days[time.Now().UTC().AddDate(10, 0, day).Format(time.DateOnly)] = 1
	}
	l.add(0.25)
	l.add(0.25)
	if got := l.days[time.Now().UTC().Format(time.DateOnly)]; got != 0.5 || len(l.days) != ledgerDays {
		t.Errorf("spent today: %v on one of %d days, want 0.5 and %d", got, len(l.days), ledgerDays)
	}
}
