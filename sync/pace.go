package upsync

import "time"

// Pacing: after an outage a fleet comes back together, and only senders that
// grow slowly and shrink fast share an upstream without refused batches.
const (
	paceStart = 10.0 // events per second
	paceStep  = 5.0  // more for each good batch
	paceFloor = 1.0
)

// pace limits the flow of events: additive increase, multiplicative decrease.
// The zero value does not limit.
type pace struct {
	rate float64 // events per second, 0 for no limit
	best time.Duration
}

func (p *pace) begin() { *p = pace{rate: paceStart} }

// end lifts the limit: the backlog is drained.
func (p *pace) end() { *p = pace{} }

// size bounds a batch to what may flow in one second.
func (p *pace) size(limit int) int {
	if p.rate == 0 {
		return limit
	}
	return max(1, min(limit, int(p.rate)))
}

// gap is the time that n events take.
func (p *pace) gap(n int) time.Duration {
	if p.rate == 0 {
		return 0
	}
	return time.Duration(float64(n) / p.rate * float64(time.Second))
}

// good raises the rate, unless the upstream has become slow: a growing answer
// time is the queue that a refusal follows.
func (p *pace) good(took time.Duration) {
	if p.rate == 0 {
		return
	}
	if p.best == 0 || took < p.best {
		p.best = took
	}
	if took <= 2*p.best+100*time.Millisecond {
		p.rate += paceStep
	}
}

// bad halves the rate, and begins to limit if nothing did.
func (p *pace) bad() {
	if p.rate == 0 {
		p.begin()
		return
	}
	p.rate = max(p.rate/2, paceFloor)
}
