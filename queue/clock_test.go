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
