package queue_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

func TestRecordMayBeRepeated(t *testing.T) {
	db := open(t, options(dataFile(t)))
	up := raise("L", "A1", 2)
	first := record(t, db, up)[0]
	commits := db.Storage().Commits
	again := record(t, db, up)[0]
	if again.Job != first.Job || db.Storage().Commits != commits || len(pending(t, db, "historian")) != 1 {
		t.Errorf("the repetition made job %s and %d commits", again.Job, db.Storage().Commits-commits)
	}
	acked := up
	acked.Kind, acked.Alarm.State, acked.Alarm.AckedBy, acked.Alarm.Revision = edgeagent.TransitionAcked, edgeagent.AlarmAcked, "erika", 2
	record(t, db, acked)
	if old := record(t, db, up)[0]; old.State != edgeagent.AlarmAcked || old.Revision != 2 {
		t.Errorf("an old revision overwrote a newer one: %+v", old)
	}
}

func TestRaisedAndClearedInOneCall(t *testing.T) {
	db := open(t, options(dataFile(t)))
	up := raise("L", "A1", 2)
	down := up
	down.Kind, down.Alarm.State, down.Alarm.Revision, down.Evidence = edgeagent.TransitionCleared, edgeagent.AlarmNormal, 2, nil
	out := record(t, db, up, down)
	if out[1].Job != out[0].Job || out[1].State != edgeagent.AlarmNormal || out[1].Hint == nil {
		t.Errorf("stored %+v", out[1])
	}
	events := wholeStream(t, db, edgeagent.StreamAlarm)
	if len(events) != 2 || events[0].Type != edgeagent.EventAlarmRaised || events[1].Type != edgeagent.EventAlarmCleared {
		t.Errorf("events = %+v", events)
	}
	if e, err := db.Evidence(up.Alarm.ID); err != nil || e == nil {
		t.Errorf("evidence = %v, %v", e, err)
	}
}

func TestIdempotencyKeyOfAnOutsideAlarm(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	keyed := func(key, hash string) edgeagent.Transition {
		up := raise("L", "A1", 2)
		up.Key, up.KeyHash, up.Alarm.Origin = key, hash, edgeagent.OriginOutside
		return up
	}
	first := record(t, db, keyed("key", "body"))[0]
	if again := record(t, db, keyed("key", "body"))[0]; again.ID != first.ID {
		t.Errorf("the same body made another alarm %s", again.ID)
	}
	if _, err := db.Record(t.Context(), []edgeagent.Transition{keyed("key", "other")}); !errors.Is(err, edgeagent.ErrConflict) {
		t.Errorf("another body = %v, want ErrConflict", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, options(path))
	if id, hash, ok := db.ByKey("key"); !ok || id != first.ID || hash != "body" {
		t.Errorf("ByKey = %s, %s, %v", id, hash, ok)
	}
	if _, _, ok := db.ByKey("unknown"); ok {
		t.Error("an unknown key is known")
	}
	if got := len(db.OpenAlarms()); got != 1 {
		t.Errorf("%d alarms, want 1", got)
	}
}

func TestAlarmIsKeptWhenItsEvidenceCannotBeWritten(t *testing.T) {
	db := open(t, options(dataFile(t)))
	nan := math.NaN()
	up := raise("L", "A1", 2)
	up.Evidence.Tags = []edgeagent.Feature{{Tag: "filler.level", Mean: &nan}}
	a := record(t, db, up)[0]
	if e, err := db.Evidence(a.ID); err != nil || len(e.Gaps) != 1 || len(e.Tags) != 0 {
		t.Errorf("evidence = %+v, %v, want a word about the gap", e, err)
	}
}

func TestHostileTextComesBackAsItWas(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	hostile := "</script>\x00\u202e{{.}} ' OR 1=1 \U0001F4A5"
	up := raise(hostile, hostile, 2)
	up.Alarm.Text, up.Alarm.SourceText, up.Alarm.Device = hostile, hostile, hostile
	a := record(t, db, up)[0]
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, options(path))
	got, err := db.Alarm(a.ID)
	if err != nil || got.Text != hostile || got.Line != hostile || got.SourceText != hostile {
		t.Errorf("alarm = %+v, %v", got, err)
	}
	if j := job(t, db, a.Job); j.Line != hostile {
		t.Errorf("line of the job = %q", j.Line)
	}
}

func TestOpenAlarmsAreTheSameAfterARestart(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	for i := range 5 {
		up := raise("L", fmt.Sprint("A", i), 2)
		until := time.Now().Add(time.Hour).UTC()
		if i == 4 {
			up.Alarm.ShelvedUntil = &until
		}
		record(t, db, up)
		if i == 0 {
			up.Kind, up.Alarm.State, up.Alarm.Revision = edgeagent.TransitionCleared, edgeagent.AlarmNormal, 2
			record(t, db, up)
		}
	}
	before := ids(db.OpenAlarms())
	counts := db.AlarmCounts()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, options(path))
	if after := ids(db.OpenAlarms()); len(after) != 4 || !reflect.DeepEqual(before, after) {
		t.Errorf("open alarms %v before and %v after a restart", before, after)
	}
	want := edgeagent.AlarmCounts{Active: 3, Unacked: 3, Shelved: 1}
	if got := db.AlarmCounts(); got != want || counts != want {
		t.Errorf("counts = %+v before, %+v after, want %+v", counts, got, want)
	}
	if db.OpenAlarms()[1].Hint == nil {
		t.Error("an open alarm lost its hint")
	}
}

func TestAShelvedNameIsRememberedOnceAndUntilItsTime(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.Retain = 2 * time.Hour
		db := open(t, o)
		until := time.Now().Add(time.Hour)
		var last edgeagent.Alarm
		for range 50 { // it chatters, which is why it was shelved
			up := raise("L", "A", 2)
			up.Alarm.ShelvedUntil, up.Alarm.Diagnose = &until, false
			down := up
			down.Kind, down.Alarm.State, down.Alarm.Revision = edgeagent.TransitionCleared, edgeagent.AlarmNormal, 2
			last = record(t, db, up, down)[1]
		}
		check := func(when string, want ...edgeagent.ID) {
			t.Helper()
			list, _, err := db.Alarms(queue.AlarmFilter{State: "shelved"})
			if err != nil || !slices.Equal(ids(list), want) || !slices.Equal(ids(db.OpenAlarms()), want) || db.AlarmCounts().Shelved != len(want) {
				t.Errorf("%s: shelved %v, at hand %v, counted %d; want %v", when, ids(list), ids(db.OpenAlarms()), db.AlarmCounts().Shelved, want)
			}
		}
		check("after 50 activations", last.ID)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		check("after a restart", last.ID)
		time.Sleep(time.Hour)
		check("after its time")
		time.Sleep(2 * time.Hour)
		for range 2 { // housekeeping rides on commits
			time.Sleep(time.Minute)
			record(t, db, raise("M", "B", 2))
		}
		if _, err := db.Alarm(last.ID); !errors.Is(err, edgeagent.ErrNotFound) {
			t.Errorf("the closed alarm reads %v, want it gone with its time", err)
		}
	})
}

func ids(alarms []edgeagent.Alarm) []edgeagent.ID {
	var out []edgeagent.ID
	for _, a := range alarms {
		out = append(out, a.ID)
	}
	return out
}

func TestListsArePagedNewestFirst(t *testing.T) {
	db := open(t, options(dataFile(t)))
	var want []edgeagent.ID
	for i := range 7 {
		up := raise(fmt.Sprint("L", i), "A", 2)
		until := time.Now().Add(time.Hour)
		if i%3 == 0 {
			up.Alarm.ShelvedUntil = &until
		}
		want = append([]edgeagent.ID{record(t, db, up)[0].ID}, want...)
	}
	for state, expect := range map[string][]edgeagent.ID{
		"history": want,
		"active":  {want[1], want[2], want[4], want[5]},
		"shelved": {want[0], want[3], want[6]},
	} {
		for limit := 1; limit <= 8; limit++ {
			if got := allAlarms(t, db, state, limit); !reflect.DeepEqual(got, expect) {
				t.Errorf("%s by %d: %v, want %v", state, limit, got, expect)
			}
		}
	}
}

func allAlarms(t *testing.T, db *queue.DB, state string, limit int) []edgeagent.ID {
	t.Helper()
	f := queue.AlarmFilter{State: state, Limit: limit}
	var out []edgeagent.ID
	for range 20 {
		list, next, err := db.Alarms(f)
		if err != nil || len(list) > limit {
			t.Fatalf("%d alarms, %v, want at most %d", len(list), err, limit)
		}
		out = append(out, ids(list)...)
		if f.After = next; next == "" {
			return out
		}
	}
	t.Fatalf("%s: the pages never end", state)
	return nil
}

func TestDeviceMemorySurvivesARestart(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	m := edgeagent.DeviceMemory{
		Device: "filler", Key: "hash", State: edgeagent.DeviceStopped, Attempt: 6,
		Since: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC), Reason: edgeagent.NewNote("no_answer", "i/o timeout"),
	}
	if err := db.SaveDevice(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, options(path))
	if got, ok := db.LoadDevice("filler"); !ok || !reflect.DeepEqual(got, m) {
		t.Errorf("device = %+v, %v, want %+v", got, ok, m)
	}
	if _, ok := db.LoadDevice("capper"); ok {
		t.Error("an unknown device has a memory")
	}
}
