package queue

import (
	"encoding/json"
	"errors"
	"slices"
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

func FuzzThaw(f *testing.F) {
	f.Add([]byte{1, 1, 'x', '{', '}'})
	f.Fuzz(func(_ *testing.T, stored []byte) {
		_, _ = thaw(stored)
		_, _ = eventText(append([]byte{frozen}, stored...))
		_, _ = plain(bucketAlarms, append([]byte{frozen}, stored...))
		_, _ = readHead([]byte("key"), append([]byte{frozen}, stored...))
	})
}
