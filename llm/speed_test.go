package llm

import (
	"math"
	"testing"
	"time"
)

func timing(tokens int, answering time.Duration, prompt int, reading time.Duration) Timing {
	return Timing{Tokens: tokens, Answering: answering, PromptTokens: prompt, Prompt: reading}
}

func TestSpeedIsLearned(t *testing.T) {
	pi := timing(240, 30*time.Second, 1000, 25*time.Second) // 8 and 40 a second
	tests := []struct {
		name              string
		add               []Timing
		answers, prompts  float64
		tolerance         float64
		firstOf1200, with time.Duration
	}{
		{"nothing yet", nil, 0, 0, 0, 0, 0},
		{"one answer", []Timing{pi}, 8, 40, 0.01, 90 * time.Second, 221*time.Second + 250*time.Millisecond},
		{"a question that was in the cache", []Timing{pi, timing(240, 30*time.Second, 1000, 2*time.Millisecond)}, 8, 56.6, 0.1, 63640 * time.Millisecond, 194890 * time.Millisecond},
		{"a blink", []Timing{pi, timing(1, time.Microsecond, 1, 0)}, 8, 40, 0.01, 90 * time.Second, 221*time.Second + 250*time.Millisecond},
		{"a clock that jumped", []Timing{pi, timing(240, -time.Hour, 1000, -time.Hour)}, 8, 40, 0.01, 90 * time.Second, 221*time.Second + 250*time.Millisecond},
		{"a box that is stuck", []Timing{timing(8, time.Hour, 8, time.Hour)}, 0.0022, 0.0022, 0.001, 5 * time.Minute, 5 * time.Minute},
		{"a fast one", []Timing{timing(300, time.Second, 1200, time.Second)}, 300, 1200, 0.01, time.Minute, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Measured
			for _, a := range tt.add {
				m.Add(a)
			}
			s := m.Speed()
			if math.Abs(s.TokensPerSecond-tt.answers) > tt.tolerance || math.Abs(s.PromptTokensPerSecond-tt.prompts) > tt.tolerance {
				t.Errorf("speed %+v, want %v and %v", s, tt.answers, tt.prompts)
			}
			l := s.Limits(1200, 350)
			if near := 100 * time.Millisecond; (l.FirstToken-tt.firstOf1200).Abs() > near || (l.Total-tt.with).Abs() > near {
				t.Errorf("limits %+v, want %v and %v", l, tt.firstOf1200, tt.with)
			}
		})
	}
}

// A hundred answers at another speed are believed, one is not.
func TestSpeedFollowsWhatLasts(t *testing.T) {
	var m Measured
	m.Add(timing(100, time.Second, 100, time.Second))
	m.Add(timing(100, 100*time.Second, 100, 100*time.Second))
	if s := m.Speed().TokensPerSecond; s < 70 {
		t.Errorf("one slow answer of 1 a second makes 100 to %v", s)
	}
	for range 30 {
		m.Add(timing(100, 100*time.Second, 100, 100*time.Second))
	}
	if s := m.Speed().TokensPerSecond; s > 1.1 {
		t.Errorf("after thirty more it is still %v", s)
	}
}

// A model that is loaded already says nothing of how long loading takes.
func TestLoadingIsRememberedWhileLoaded(t *testing.T) {
	var m Measured
	load := func(d time.Duration) time.Duration { m.Add(Timing{Load: d}); return m.Speed().Load }
	for _, step := range []struct{ took, want time.Duration }{
		{40 * time.Second, 40 * time.Second}, {100 * time.Millisecond, 40 * time.Second}, {20 * time.Second, 35 * time.Second},
		{50 * time.Second, 50 * time.Second}, {-time.Second, 50 * time.Second}, {time.Hour, 5 * time.Minute},
	} {
		if got := load(step.took); got != step.want {
			t.Errorf("after a load of %v = %v, want %v", step.took, got, step.want)
		}
	}
}
