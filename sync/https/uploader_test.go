package https

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	upsync "edgeagent/sync"
)

// alarms is an outbox of one stream in memory.
type alarms struct {
	mu     sync.Mutex
	events []edgeagent.Outgoing
	cursor uint64
	done   chan struct{} // closed when all is confirmed
}

func (a *alarms) Pending(_ string, n, _ int) ([]edgeagent.Outgoing, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.events[a.cursor:]
	return left[:min(n, len(left))], nil
}

func (a *alarms) Confirm(_ context.Context, _ string, r edgeagent.Receipt) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cursor = max(a.cursor, r.Contig[edgeagent.StreamAlarm]); a.cursor == uint64(len(a.events)) {
		close(a.done)
	}
	return nil
}

func (a *alarms) Park(context.Context, string, edgeagent.Outgoing, *edgeagent.Note) error {
	return fmt.Errorf("nothing is to be parked here")
}

func (a *alarms) Backlog(string) edgeagent.Backlog {
	a.mu.Lock()
	defer a.mu.Unlock()
	return edgeagent.Backlog{Epoch: epoch, Events: len(a.events) - int(a.cursor), Oldest: time.Now(), Confirmed: a.cursor,
		Next: map[edgeagent.Stream]uint64{edgeagent.StreamAlarm: uint64(len(a.events)) + 1}}
}

func (a *alarms) Range(edgeagent.ID, edgeagent.Range) ([]edgeagent.Outgoing, error) {
	return a.events[:1], nil
}

func (a *alarms) IsParked(string, edgeagent.ID, edgeagent.Stream, uint64) bool { return false }

// ingest is a receiver that stores, with a list of what goes wrong before.
type ingest struct {
	t *testing.T

	mu     sync.Mutex
	wrongs []func(w http.ResponseWriter)
	stored map[string]string // by sequence
	order  []string
}

func (in *ingest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in.mu.Lock()
	defer in.mu.Unlock()
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		in.t.Errorf("body: %v", err)
		return
	}
	raw, err := io.ReadAll(zip)
	if err != nil {
		in.t.Errorf("body: %v", err)
	}
	var batch []json.RawMessage
	if err = json.Unmarshal(raw, &batch); err != nil {
		in.t.Errorf("body %q: %v", raw, err)
		return
	}
	if len(in.wrongs) > 0 {
		wrong := in.wrongs[0]
		in.wrongs = in.wrongs[1:]
		if wrong != nil {
			wrong(w)
			return
		}
	}
	in.store(batch)
	_, _ = fmt.Fprintf(w, `{"epoch":%q,"contig":{"alarm":%d}}`, epoch, len(in.order))
}

func (in *ingest) store(batch []json.RawMessage) {
	for _, body := range batch {
		var ev edgeagent.Event
		if err := json.Unmarshal(body, &ev); err != nil {
			in.t.Errorf("event %s: %v", body, err)
		}
		if ev.Type == edgeagent.EventHeartbeat {
			continue
		}
		if old, known := in.stored[ev.Sequence]; !known {
			in.order = append(in.order, ev.Sequence)
		} else if old != string(body) {
			in.t.Errorf("%s came again as other bytes: %s, was %s", ev.Sequence, body, old)
		}
		in.stored[ev.Sequence] = string(body)
	}
}

func status(code int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Location", "/login")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// TestBacklogArrivesThroughEverythingThatGoesWrong runs the uploader against a
// real server. A paused upstream is tried again as a person would.
func TestBacklogArrivesThroughEverythingThatGoesWrong(t *testing.T) {
	in := &ingest{t: t, stored: map[string]string{}}
	abort := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	for _, wrong := range []func(http.ResponseWriter){
		status(302, ""), status(200, "<html>Welcome"), status(503, ""), status(429, ""), abort, status(401, ""),
		status(200, `{"epoch":"01K0000000000000000000000B","contig":{"alarm":60}}`), status(404, ""),
	} {
		in.wrongs = append(in.wrongs, wrong, nil, wrong, nil) // a probe each, and a batch each
	}
	srv := httptest.NewServer(in)
	defer srv.Close()

	box := &alarms{done: make(chan struct{})}
	for n := uint64(1); n <= 60; n++ {
		body := fmt.Sprintf(`{"specversion":"1.0","type":"edgeagent.alarm.raised.v1","sequence":%q,  "data":{"n":%d}}`, edgeagent.FormatSequence(n), n)
		box.events = append(box.events, edgeagent.Outgoing{Epoch: epoch, Stream: edgeagent.StreamAlarm, Sequence: n, Body: []byte(body)})
	}
	u := upsync.New(upsync.Options{Name: "historian", Destination: dest(t, Options{URL: srv.URL}), Outbox: box, Book: box, Source: "/plant-a/gw",
		Batch: 5, Receipt: "body", Retry: retry.Backoff{First: time.Millisecond, Max: 4 * time.Millisecond}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	until(t, box.done, u)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if !slices.IsSorted(in.order) || len(in.order) != 60 || len(in.wrongs) > 0 {
		t.Errorf("%d events arrived, sorted %v, %d faults unused", len(in.order), slices.IsSorted(in.order), len(in.wrongs))
	}
	if first := slices.Min(slices.Collect(maps.Keys(in.stored))); !strings.Contains(in.stored[first], `,  "data"`) {
		t.Errorf("bytes were rewritten: %s", in.stored[first])
	}
}

// until waits for done, and probes whenever the uploader is paused.
func until(t *testing.T, done <-chan struct{}, u *upsync.Uploader) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if u.Status().State == edgeagent.UpstreamPaused {
				u.ProbeNow()
			}
		case <-limit:
			t.Fatalf("not drained: %+v", u.Status())
		}
	}
}
