package llm

import "time"

// standsIn reports whether t is a model on the box that the next alarm will be
// answered by, because every provider before it cannot be asked. Loading it
// takes up to a minute, which is better spent before that alarm.
func (t *tier) standsIn(now time.Time) bool {
	if t.o.Kind != kindOllama || len(t.before) == 0 {
		return false
	}
	for _, b := range t.before {
		if b.refuses(now) == (refusal{}) {
			return false
		}
	}
	return true
}

// coldAt returns when the model has to be spoken to for it to stay loaded: a
// fifth of its time before it would go. The caller holds the lock.
func (t *tier) coldAt(now time.Time) time.Time {
	switch {
	case t.usedAt.IsZero():
		return now
	case t.o.KeepAlive <= 0:
		return t.usedAt.Add(idleCheck)
	default:
		return t.usedAt.Add(t.o.KeepAlive * 4 / 5)
	}
}

// alert wakes the probers of those who may have to stand in for t now.
func (t *tier) alert() {
	for _, later := range t.after {
		if later.o.Kind == kindOllama {
			later.wake()
		}
	}
}
