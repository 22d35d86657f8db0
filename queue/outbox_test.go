package queue_test

import (
	"encoding/json"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// wholeStream returns all events of a stream, which must be numbered from 1
// without a gap.
func wholeStream(t *testing.T, db *queue.DB, s edgeagent.Stream) []edgeagent.Outgoing {
	t.Helper()
	var out []edgeagent.Outgoing
	last := db.Backlog("historian").Next[s] - 1
	for n := uint64(1); n <= last; n += 500 {
		some, err := db.Range(db.Epoch(), edgeagent.Range{Stream: s, From: n, To: min(last, n+499)})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, some...)
	}
	if len(out) != int(last) {
		t.Errorf("stream %s: %d events, want %d", s, len(out), last)
	}
	for i, e := range out {
		if e.Sequence != uint64(i+1) || eventOf(t, e).Sequence != edgeagent.FormatSequence(e.Sequence) {
			t.Errorf("stream %s: event %d has number %d", s, i+1, e.Sequence)
		}
	}
	return out
}

func eventOf(t *testing.T, o edgeagent.Outgoing) edgeagent.Event {
	t.Helper()
	var e edgeagent.Event
	if err := json.Unmarshal(o.Body, &e); err != nil {
		t.Fatalf("event %d of %s: %v", o.Sequence, o.Stream, err)
	}
	return e
}

func dataOf[T any](t *testing.T, o edgeagent.Outgoing) (v T) {
	t.Helper()
	if err := json.Unmarshal(eventOf(t, o).Data, &v); err != nil {
		t.Fatalf("data of event %d of %s: %v", o.Sequence, o.Stream, err)
	}
	return v
}

func jobOf(t *testing.T, o edgeagent.Outgoing) edgeagent.Job { return dataOf[edgeagent.Job](t, o) }
func alarmOf(t *testing.T, o edgeagent.Outgoing) edgeagent.Alarm {
	return dataOf[edgeagent.Alarm](t, o)
}
