package main

import "sync"

// fanout tells every subscriber that something happened; tellings that nobody
// has taken yet merge into one.
type fanout struct {
	mu   sync.Mutex
	subs map[chan struct{}]struct{}
}

func newFanout() *fanout { return &fanout{subs: map[chan struct{}]struct{}{}} }

func (f *fanout) subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[c] = struct{}{}
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs, c)
	}
}

func (f *fanout) poke() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
