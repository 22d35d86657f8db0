package llm

import (
	"math"
	"sync"
	"time"
)

// Speed is what a model on the box turned out to be able to do. Zero values
// have not been measured yet.
type Speed struct {
	TokensPerSecond       float64       // of its answers
	PromptTokensPerSecond float64       // of reading a question
	Load                  time.Duration // into memory
	Wait                  time.Duration // behind the questions of others
}

// Timing is how long one answer took, as the server counted it.
type Timing struct {
	PromptTokens, Tokens          int
	Load, Wait, Prompt, Answering time.Duration
}

// Limits are the times that a request to a model of a known speed gets.
type Limits struct {
	FirstToken time.Duration // loading and reading included
	Total      time.Duration
}

// What a measured speed may make of the limits. A model that was fast for a
// hundred questions still has to be loaded anew some day.
const (
	leastLimit = time.Minute
	mostLimit  = 5 * time.Minute
	patience   = 3 // times as slow as measured is still alive
)

// Measured keeps the speed of one model: moving averages that a single odd
// answer cannot carry far, because a question whose beginning is still in the
// model's cache seems to be read a hundred times faster than it would be. It is
// safe for concurrent use.
type Measured struct {
	mu  sync.Mutex
	now Speed
}

// Speed returns what has been measured so far.
func (m *Measured) Speed() Speed {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Fewer tokens or less time than these say nothing of a speed.
const (
	enoughTokens = 8
	enoughTime   = time.Millisecond
)

// Add books one answer.
func (m *Measured) Add(t Timing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	blend(&m.now.TokensPerSecond, t.Tokens, t.Answering)
	blend(&m.now.PromptTokensPerSecond, t.PromptTokens, t.Prompt)
	m.now.Load = highest(m.now.Load, t.Load)
	m.now.Wait = highest(m.now.Wait, t.Wait)
}

// How far one sample may lie from the average, and how much of it is taken.
const (
	outlier   = 4.0
	oneSample = 0.25
)

// blend moves an average by one sample, in ratios: half as fast and twice as
// fast are equally far away.
func blend(average *float64, tokens int, took time.Duration) {
	if tokens < enoughTokens || took < enoughTime {
		return
	}
	rate := float64(tokens) / took.Seconds()
	if *average == 0 {
		*average = rate
		return
	}
	ratio := min(max(rate / *average, 1/outlier), outlier)
	*average *= math.Pow(ratio, oneSample)
}

// highest keeps the largest times: a model that is loaded already takes no time
// to load, which says nothing of the next time. Only a time of the same order
// brings it down.
func highest(known, took time.Duration) time.Duration {
	took = min(max(took, 0), mostLimit)
	switch {
	case took >= known:
		return took
	case float64(took)*outlier > float64(known):
		return known - time.Duration(float64(known-took)*oneSample)
	}
	return known
}

// Limits returns the times for a question, three times what was measured, within
// one and five minutes. What has not been measured is 0: the configured times
// stand.
func (s Speed) Limits(promptTokens, answerTokens int) (l Limits) {
	if s.PromptTokensPerSecond <= 0 {
		return l
	}
	first := s.Load + s.Wait + lasting(promptTokens, s.PromptTokensPerSecond)
	l.FirstToken = within(patience * first)
	if s.TokensPerSecond > 0 {
		l.Total = within(patience * (first + lasting(answerTokens, s.TokensPerSecond)))
	}
	return l
}

func within(d time.Duration) time.Duration { return min(max(d, leastLimit), mostLimit) }

// lasting is bounded: a speed near nothing is no reason for a negative time.
func lasting(tokens int, rate float64) time.Duration {
	return time.Duration(min(float64(tokens)/rate, mostLimit.Seconds()) * float64(time.Second))
}

// Forget drops what was measured: a limit made of it has ended a request, and
// only one that is answered can correct it. The configured times stand again.
func (m *Measured) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = Speed{}
}
