package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// What was frozen without job and last time is, with them, the JSON of the alarm.
func TestFrozenAlarmIsTheAlarm(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	hostile := missing + `,"revision":1}`
	a := edgeagent.Alarm{
		ID: edgeagent.NewID(at), Line: hostile, Code: `"job":""`, Text: hostile, RaisedAt: at, State: edgeagent.AlarmUnacked, Revision: 7,
		Values: map[string]edgeagent.Value{"job": edgeagent.String(""), "last_time": {}}, Hint: &edgeagent.Diagnosis{Summary: hostile},
	}
	f, err := freezeAlarm(a)
	if err != nil {
		t.Fatal(err)
	}
	a.Job, a.LastTime = edgeagent.NewID(at), &edgeagent.Occurrence{ID: a.ID, At: at, Cause: hostile}
	parts, err := f.with(a.Job, a.LastTime)
	if err != nil {
		t.Fatal(err)
	}
	stored := slices.Concat(parts[:]...)
	want, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := thaw(stored); err != nil || string(got) != string(want) {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	for n := range stored {
		if _, err := thaw(stored[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("cut to %d bytes: %v, want damage", n, err)
		}
	}
}

// An event is the same bytes for as long as it is kept: written by this version or
// read by a later one.
func TestTheBytesOfAnEventDoNotChange(t *testing.T) {
	const want = `{"specversion":"1.0","id":"5e1f","source":"/plant-\u003ca\u003e/gw","type":"edgeagent.alarm.raised.v1","subject":"Füller 2",` +
		`"time":"2026-11-22T03:04:05.123456789+01:00","datacontenttype":"application/json","eaepoch":"01ARZ3NDEKTSV4RRFFQ69G5FAV",` +
		`"eastream":"alarm","sequence":"00000000000000000042","eaboot":"b-1","eamono":"987654321","data":{"id":"A"}}`
	alarm := append([]byte{0, 0}, `{"id":"A"}`...) // nothing was missing
	var q quill
	for _, text := range []string{"/plant-<a>/gw", "Füller 2", "b-1", "987654321"} {
		q.text(text)
	}
	q.time(time.Date(2026, 11, 22, 3, 4, 5, 123456789, time.FixedZone("", 3600)))
	body := append(append(binary.AppendUvarint([]byte{told}, uint64(len(q.out))), q.out...), alarm...)
	e := eventOf(streamKey{"01ARZ3NDEKTSV4RRFFQ69G5FAV", edgeagent.StreamAlarm}, 42, "5e1f", edgeagent.EventAlarmRaised)
	got, err := eventText(e, body)
	if err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	const written = "0d2f706c616e742d3c613e2f67770946c3bc6c6c657220320"
	if hex := fmt.Sprintf("%x", q.out); !strings.HasPrefix(hex, written) {
		t.Errorf("%s\nwant it to begin with %s: files have it", hex, written)
	}
	for n := range len(q.out) {
		if _, err := beginning(e, q.out[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("cut to %d bytes: %v, want damage", n, err)
		}
	}
}

func FuzzThaw(f *testing.F) {
	f.Add([]byte{1, 1, 'x', '{', '}'})
	f.Fuzz(func(_ *testing.T, stored []byte) {
		_, _ = thaw(stored)
		_, _ = eventText(edgeagent.Event{}, append([]byte{frozen}, stored...))
		_, _ = eventText(edgeagent.Event{}, append([]byte{told}, stored...))
		_, _ = plain(bucketAlarms, append([]byte{frozen}, stored...))
		_, _ = readHead([]byte("key"), append([]byte{frozen}, stored...))
	})
}

// A line of the timeline that says which alarm came in is read by later versions, and
// cut off anywhere it is damage.
func TestALineOfTheTimelineIsReadAsItWasWritten(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)
	a := &edgeagent.Alarm{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Device: "filler", Code: "F212", Text: `level "unsteady"`}
	line, ok := appendNoted(nil, at, "joined", a)
	const written = "06000f010000000ee29452a500000000ffff066a6f696e656401563e3ab5d3d6764c61efb99302bd5b0b66696c6c65722f46323132"
	if hex := fmt.Sprintf("%x", line); !ok || !strings.HasPrefix(hex, written) {
		t.Errorf("%s\nwant it to begin with %s: files have it", hex, written)
	}
	const want = `{"at":"2026-11-22T03:04:05Z","event":"joined","detail":{"code":"alarm","params":{"alarm":"01ARZ3NDEKTSV4RRFFQ69G5FAV"},"text":"filler/F212: level \"unsteady\""}}`
	if text, err := plain(bucketBodies, line); err != nil || string(text) != want {
		t.Errorf("%s, %v\nwant %s", text, err, want)
	}
	for n := 1; n < len(line); n++ {
		if _, err := readNoted(line[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("cut to %d bytes: %v, want damage", n, err)
		}
	}
}
