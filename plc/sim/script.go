package sim

import "time"

// The script repeats after this; more than half of it nothing happens.
const round = 240 * time.Second

// episode is one fault: it announces itself, is there, and goes. Times count
// from the start of a round.
type episode struct {
	code        string
	begin       time.Duration // the first trace in the measurements
	trip, clear time.Duration // the PLC's own bit, or the measurement beyond its limit
}

// episodes are the faults of a round. The first alarm must be up within 15 s of
// the start, after its on-delay of 2 s: nobody watches a demo for longer.
var episodes = []episode{
	{code: "A101", begin: 7 * time.Second, trip: 10 * time.Second, clear: 32 * time.Second},
	{code: "F212", begin: 33 * time.Second, trip: 33 * time.Second, clear: 50 * time.Second},
	{code: "A305", begin: 42 * time.Second, trip: 60 * time.Second, clear: 88 * time.Second},
}

// script is the clock of the plant, and what is forced beside it.
type script struct {
	tick   int
	forced map[string]bool
}

func (s *script) force(code string, on bool) {
	if s.forced == nil {
		s.forced = map[string]bool{}
	}
	s.forced[code] = on
}

func ticks(d time.Duration) int { return int(d / Tick) }

// phase returns how far the fault of an alarm code has grown, from 0 to 1, and
// whether it has tripped.
func (s *script) phase(code string) (float64, bool) {
	if s.forced[code] {
		return 1, true
	}
	for _, e := range episodes {
		if e.code != code {
			continue
		}
		at := s.tick % ticks(round)
		return e.growth(at), at >= ticks(e.trip) && at < ticks(e.clear)
	}
	return 0, false
}

func (e episode) growth(at int) float64 {
	begin, trip, clear := ticks(e.begin), ticks(e.trip), ticks(e.clear)
	switch {
	case at < begin || at >= clear:
		return 0
	case at >= trip:
		return 1
	default:
		return float64(at-begin) / float64(trip-begin)
	}
}
