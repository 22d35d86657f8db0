package upsync

import (
	"testing"
	"time"
)

var bigBang = time.Unix(1_700_000_000, 0)

func TestPace(t *testing.T) {
	var p pace
	if p.size(200) != 200 || p.gap(200) != 0 {
		t.Errorf("without an outage nothing is limited: size %d, gap %v", p.size(200), p.gap(200))
	}
	p.begin()
	steps := []struct {
		name string
		do   func()
		rate float64
	}{
		{"start", func() {}, 10},
		{"good adds", func() { p.good(50 * time.Millisecond) }, 15},
		{"good adds again", func() { p.good(80 * time.Millisecond) }, 20},
		{"slow answers add nothing", func() { p.good(time.Second) }, 20},
		{"refusal halves", func() { p.bad() }, 10},
		{"and halves", func() { p.bad(); p.bad(); p.bad() }, 1.25},
		{"down to one a second", func() { p.bad(); p.bad() }, 1},
	}
	for _, s := range steps {
		if s.do(); p.rate != s.rate {
			t.Errorf("%s: %v events/s, want %v", s.name, p.rate, s.rate)
		}
	}
	if p.size(200) != 1 || p.gap(3) != 3*time.Second {
		t.Errorf("size %d, gap %v; want 1, 3s", p.size(200), p.gap(3))
	}
	p.end()
	if p.bad(); p.rate != paceStart {
		t.Errorf("a refusal out of the blue starts at %v, got %v", paceStart, p.rate)
	}
}
