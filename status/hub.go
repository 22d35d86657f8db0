package status

import (
	"slices"
	"sync"
)

// change is one event of the stream: something of a type changed.
type change struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// maxPending is how many different changes wait for one stream. Beyond it the
// ids of the busiest second are dropped: the type alone says what to read again.
const maxPending = 256

// hub hands changes to every open stream. A publisher never waits; a slow
// stream costs a set that cannot grow.
type hub struct {
	mu      sync.Mutex
	streams map[*stream]struct{}
	most    int
}

func newHub(most int) *hub { return &hub{streams: make(map[*stream]struct{}), most: most} }

// stream is what one client has not been told yet.
type stream struct {
	wake chan struct{} // one token: there is something to tell

	mu      sync.Mutex
	pending []change
}

// join opens a stream; false when there are as many as allowed.
func (h *hub) join() (*stream, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) >= h.most {
		return nil, false
	}
	s := &stream{wake: make(chan struct{}, 1)}
	h.streams[s] = struct{}{}
	return s, true
}

func (h *hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s)
}

func (h *hub) publish(c change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		s.add(c)
	}
}

func (s *stream) add(c change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.pending, c) || slices.Contains(s.pending, change{Type: c.Type}) {
		return
	}
	s.pending = append(s.pending, c)
	if len(s.pending) > maxPending {
		s.pending = withoutIDs(s.pending)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns what waits, and forgets it.
func (s *stream) take() []change {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.pending
	s.pending = nil
	return all
}

// withoutIDs keeps one change a type, in the order of their first.
func withoutIDs(all []change) []change {
	var kinds []change
	for _, c := range all {
		if c = (change{Type: c.Type}); !slices.Contains(kinds, c) {
			kinds = append(kinds, c)
		}
	}
	return kinds
}
