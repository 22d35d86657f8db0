package status

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tape is a connection that notes when each event was written.
type tape struct {
	mu     sync.Mutex
	start  time.Time
	header http.Header
	events []string
}

func (w *tape) Header() http.Header              { return w.header }
func (w *tape) WriteHeader(int)                  {}
func (w *tape) Flush()                           {}
func (w *tape) SetReadDeadline(time.Time) error  { return nil }
func (w *tape) SetWriteDeadline(time.Time) error { return nil }

func (w *tape) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s %s", time.Since(w.start), strings.TrimSpace(string(p))))
	return len(p), nil
}

// watch opens a stream in the bubble and returns its tape.
func watch(ctx context.Context, s *Server, wg *sync.WaitGroup) *tape {
	w := &tape{start: time.Now(), header: http.Header{}}
	r := httptest.NewRequestWithContext(ctx, "GET", "/api/v1/events", nil)
	wg.Go(func() { s.events(w, r) })
	synctest.Wait()
	return w
}

func (w *tape) changes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, e := range w.events {
		if !strings.Contains(e, "heartbeat") {
			out = append(out, e)
		}
	}
	return out
}

func (w *tape) beats() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(strings.Join(w.events, "\n"), "event: heartbeat")
}

func TestStreamIsCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(newPlant(time.Now()))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w := watch(ctx, s, &wg)
		// A tag that changes every 100 ms for 2.95 s: one event a second.
		for range 30 {
			s.Changed(KindTag, "filler")
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		cancel()
		wg.Wait()
		got := w.changes()
		want := []string{`0s data: {"type":"tag","id":"filler"}`, `1s data: {"type":"tag","id":"filler"}`,
			`2s data: {"type":"tag","id":"filler"}`, `3s data: {"type":"tag","id":"filler"}`}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestHeartbeatComesWithinFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(newPlant(time.Now()))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w := watch(ctx, s, &wg)
		if w.beats() != 1 {
			t.Errorf("%d heartbeats at once, want 1", w.beats())
		}
		for second := range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if want := 1 + (second+1)/5; w.beats() < want {
				t.Fatalf("%d heartbeats after %d s, want at least %d", w.beats(), second+1, want)
			}
		}
		cancel()
		wg.Wait()
	})
}

// A storm must cost a stream no more memory than a quiet day.
func TestStormKeepsTheKindsAndDropsTheIDs(t *testing.T) {
	h := newHub(1)
	s, _ := h.join()
	for i := range 10_000 {
		h.publish(change{KindAlarm, fmt.Sprint(i)})
		h.publish(change{KindJob, fmt.Sprint(i)})
		if n := len(s.pending); n > maxPending {
			t.Fatalf("%d changes wait", n)
		}
	}
	if got := fmt.Sprint(s.take()); got != "[{alarm } {job }]" {
		t.Errorf("got %s", got)
	}
	if len(s.take()) != 0 {
		t.Error("a change is told twice")
	}
}

func TestChangedWithoutReadersCostsNothing(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	if n := testing.AllocsPerRun(100, func() { s.Changed(KindTag, "filler") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
