package queue_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

func receipt(db *queue.DB, alarm, diagnosis uint64) edgeagent.Receipt {
	return edgeagent.Receipt{Epoch: db.Epoch(), Contig: map[edgeagent.Stream]uint64{"alarm": alarm, "diagnosis": diagnosis}}
}

func TestALyingReceiptMovesNothing(t *testing.T) {
	db := open(t, options(dataFile(t)))
	for range 3 {
		record(t, db, raise("L", "A1", 2))
	}
	other := receipt(db, 1, 0)
	other.Epoch = edgeagent.NewID(time.Now())
	for name, r := range map[string]edgeagent.Receipt{
		"beyond what was written": receipt(db, 4, 0),
		"another stream beyond":   receipt(db, 2, 1),
		"another epoch":           other,
		"no epoch":                {Contig: map[edgeagent.Stream]uint64{"alarm": 1}},
	} {
		if err := db.Confirm(t.Context(), "historian", r); !errors.Is(err, edgeagent.ErrConflict) {
			t.Errorf("%s = %v, want ErrConflict", name, err)
		}
	}
	if got := len(pending(t, db, "historian")); got != 3 {
		t.Fatalf("%d events pending, want all 3", got)
	}
	if err := db.Confirm(t.Context(), "historian", receipt(db, 2, 0)); err != nil {
		t.Fatal(err)
	}
	before := db.Storage().Commits
	if err := db.Confirm(t.Context(), "historian", receipt(db, 1, 0)); err != nil {
		t.Errorf("an old receipt = %v, want ignored", err)
	}
	if got := pending(t, db, "historian"); len(got) != 1 || got[0].Sequence != 3 {
		t.Errorf("pending = %+v, want number 3: a cursor never goes back", got)
	}
	if got := db.Storage().Commits; got != before {
		t.Errorf("a receipt without news cost %d commits", got-before)
	}
}

func TestPendingKeepsOrderAndLimits(t *testing.T) {
	db := open(t, options(dataFile(t)))
	for range 5 {
		record(t, db, raise("L", "A1", 2))
	}
	if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
		t.Fatal(err)
	}
	all := pending(t, db, "historian")
	if len(all) != 6 || all[5].Stream != edgeagent.StreamDiagnosis {
		t.Fatalf("%d events, want 5 alarms and then the diagnosis", len(all))
	}
	for name, c := range map[string]struct{ events, bytes, want int }{
		"by number":               {4, 1 << 20, 4},
		"by size":                 {100, len(all[0].Body) + len(all[1].Body), 2},
		"one larger than a batch": {100, 1, 1},
	} {
		some, err := db.Pending("historian", c.events, c.bytes)
		if err != nil || len(some) != c.want {
			t.Errorf("%s: %d events, %v, want %d", name, len(some), err, c.want)
		}
	}
	again := pending(t, db, "historian")
	for i := range all {
		if string(all[i].Body) != string(again[i].Body) {
			t.Errorf("event %d has other bytes the second time", i)
		}
	}
}

func TestParkedEventIsSkippedCountedAndTold(t *testing.T) {
	o := options(dataFile(t))
	o.Destinations = append(o.Destinations, queue.Destination{Name: "mes"})
	db := open(t, o)
	for range 3 {
		record(t, db, raise("L", "A1", 2))
	}
	refused := pending(t, db, "historian")[1]
	why := edgeagent.NewNote("refused", "422: unknown line")
	for range 2 { // the second time is a repetition
		if err := db.Park(t.Context(), "historian", refused, why); err != nil {
			t.Fatal(err)
		}
	}
	if b := db.Backlog("historian"); b.Parked != 1 || b.Events != 3 {
		t.Errorf("backlog = %+v, want 2 alarms, the gap, and one parked", b)
	}
	got := pending(t, db, "historian")
	if len(got) != 3 || got[1].Sequence != 3 || got[2].Type != edgeagent.EventGap {
		t.Fatalf("pending = %+v, want alarms 1 and 3 and the gap", got)
	}
	if g := dataOf[edgeagent.Gap](t, got[2]); g.From != 2 || g.To != 2 || g.Stream != "alarm" || g.Reason.Text != why.Text {
		t.Errorf("gap = %+v", g)
	}
	if err := db.Confirm(t.Context(), "historian", receipt(db, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if b := db.Backlog("historian"); b.Events != 2 || b.Confirmed != 1 {
		t.Errorf("backlog = %+v, want the cursor past the parked one, and one confirmed", b)
	}
	if got := len(pending(t, db, "mes")); got != 4 {
		t.Errorf("%d events for the other destination, want all 4", got)
	}
	if got, err := db.Range(db.Epoch(), edgeagent.Range{Stream: "alarm", From: 2, To: 2}); err != nil || len(got) != 1 {
		t.Errorf("the parked event = %v, %v, want it kept", got, err)
	}
}

func TestADamagedEventHoldsUpNobody(t *testing.T) {
	db := open(t, options(dataFile(t)))
	for range 3 {
		record(t, db, raise("L", "A1", 2))
	}
	if err := db.DamageEvent(t.Context(), edgeagent.StreamAlarm, 2); err != nil {
		t.Fatal(err)
	}
	pending(t, db, "historian") // meets it
	got := pending(t, db, "historian")
	if len(got) != 3 || got[0].Sequence != 1 || got[1].Sequence != 3 || got[2].Type != edgeagent.EventGap {
		t.Fatalf("pending = %+v, want alarms 1 and 3 and the gap", got)
	}
	if g := dataOf[edgeagent.Gap](t, got[2]); g.From != 2 || g.To != 2 || !g.Reason.Is("damaged") {
		t.Errorf("gap = %+v", g)
	}
	if again, err := db.Range(db.Epoch(), edgeagent.Range{Stream: "alarm", From: 1, To: 3}); err != nil || len(again) != 2 {
		t.Errorf("%d events again, %v, want the two that can be read", len(again), err)
	}
	if err := db.Confirm(t.Context(), "historian", receipt(db, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if b := db.Backlog("historian"); b.Events != 2 || b.Parked != 1 || b.Oldest.IsZero() {
		t.Errorf("backlog = %+v, want alarm 3, the gap, and one parked", b)
	}
}

func TestParkedStaysParkedOverARestart(t *testing.T) {
	o := options(dataFile(t))
	db := open(t, o)
	record(t, db, raise("L", "A1", 2), raise("L", "A2", 2))
	ev := pending(t, db, "historian")[1]
	if err := db.Park(t.Context(), "historian", ev, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, o)
	if b := db.Backlog("historian"); b.Parked != 1 || b.Events != 2 {
		t.Errorf("backlog = %+v, want one parked, an alarm and the gap", b)
	}
	if !db.IsParked("historian", ev.Epoch, ev.Stream, ev.Sequence) {
		t.Error("a parked event is forgotten")
	}
	if db.IsParked("historian", ev.Epoch, ev.Stream, ev.Sequence+1) || db.IsParked("other", ev.Epoch, ev.Stream, ev.Sequence) {
		t.Error("an event is held for parked that is not")
	}
}

func TestEventsGoWhenTheyAreConfirmedAndOldEnough(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		o.Destinations = append(o.Destinations, queue.Destination{Name: "mes", Keep: 2 * time.Hour})
		db := open(t, o)
		record(t, db, raise("L", "A1", 2), raise("L", "A2", 2), raise("L", "A3", 2))
		kept := func() int {
			t.Helper()
			record(t, db, raise("M", "B", 2)) // housekeeping rides on a commit
			got, err := db.Range(db.Epoch(), edgeagent.Range{Stream: "alarm", From: 1, To: 3})
			if err != nil {
				t.Fatal(err)
			}
			return len(got)
		}
		time.Sleep(3 * time.Hour)
		if got := kept(); got != 3 {
			t.Fatalf("%d events left, want all: the historian has none of them", got)
		}
		if err := db.Confirm(t.Context(), "historian", receipt(db, 2, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := kept(); got != 1 {
			t.Fatalf("%d events left, want the one that is not confirmed", got)
		}
		gaps := wholeGaps(t, db)
		if len(gaps) != 1 || gaps[0].From != 1 || gaps[0].To != 2 || gaps[0].Reason.Params["upstream"] != "mes" {
			t.Errorf("gaps = %+v, want 1 to 2 for the destination that nobody waits for", gaps)
		}
		if got := pending(t, db, "mes")[0].Sequence; got != 3 {
			t.Errorf("the other destination goes on with %d, want 3", got)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
		if got := db.Backlog("mes").Next["alarm"]; got != 6 {
			t.Errorf("next number = %d after a restart, want 6", got)
		}
	})
}

func wholeGaps(t *testing.T, db *queue.DB) []edgeagent.Gap {
	t.Helper()
	var gaps []edgeagent.Gap
	for _, e := range wholeStream(t, db, edgeagent.StreamEvent) {
		if e.Type == edgeagent.EventGap {
			gaps = append(gaps, dataOf[edgeagent.Gap](t, e))
		}
	}
	return gaps
}

func TestALaterDestinationIsToldWhatItWillNeverGet(t *testing.T) {
	path := dataFile(t)
	synctest.Test(t, func(t *testing.T) {
		o := options(path)
		db := open(t, o)
		record(t, db, raise("L", "A1", 2), raise("L", "A2", 2), raise("L", "A3", 2))
		if err := db.Confirm(t.Context(), "historian", receipt(db, 3, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		record(t, db, raise("L", "A4", 2))
		o.Destinations = append(o.Destinations, queue.Destination{Name: "lake", Required: true})
		db.Configure(o)
		if gaps := wholeGaps(t, db); len(gaps) != 1 || gaps[0].From != 1 || gaps[0].To != 3 {
			t.Errorf("gaps = %+v, want 1 to 3", gaps)
		}
		if got := pending(t, db, "lake"); len(got) != 2 || got[0].Sequence != 4 {
			t.Errorf("pending = %+v, want alarm 4 and the gap", got)
		}
		if b := db.Backlog("lake"); b.Confirmed != 0 || b.Events != 2 || time.Since(b.Oldest) != 0 {
			t.Errorf("backlog = %+v, want 2 events and none confirmed", b)
		}
	})
}

func TestWithoutDestinationsNothingIsWrittenAndNumbersBeginAtOne(t *testing.T) {
	o := options(dataFile(t))
	o.Destinations = nil
	db := open(t, o)
	record(t, db, raise("L", "A1", 2))
	if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
		t.Fatal(err)
	}
	if err := db.AgentStarted(t.Context(), map[string]string{"version": "1"}); err != nil {
		t.Fatal(err)
	}
	if n := db.Backlog("historian").Next; n["alarm"] != 1 || n["diagnosis"] != 1 || n["event"] != 1 {
		t.Errorf("next numbers = %v, want 1 everywhere", n)
	}
	o.Destinations = upstream
	db.Configure(o)
	ready, stop := db.OutboxReady()
	defer stop()
	record(t, db, raise("L", "A2", 2))
	select {
	case <-ready:
	default:
		t.Error("nobody was woken for a new event")
	}
	if got := pending(t, db, "historian"); len(got) != 1 || got[0].Sequence != 1 {
		t.Errorf("pending = %+v, want number 1", got)
	}
}

func TestEventsSayWhatTheContractAsksFor(t *testing.T) {
	db := open(t, options(dataFile(t)))
	up := raise("Filler-2", edgeagent.CodeDeviceStopped, 1)
	up.Device = &edgeagent.DeviceEvent{Kind: edgeagent.DeviceEventStopped, At: up.At, Reason: edgeagent.NewNote("no_answer", "i/o timeout")}
	a := record(t, db, up)[0]
	got := pending(t, db, "historian")
	if len(got) != 2 || got[1].Type != edgeagent.EventDeviceStopped {
		t.Fatalf("events = %+v, want the alarm and the stop", got)
	}
	e := eventOf(t, got[0])
	if e.SpecVersion != "1.0" || e.Source != "/plant-a/gw" || e.Subject != "Filler-2" || e.Epoch != db.Epoch() ||
		e.Boot != "boot-1" || e.Mono == "" || !e.Time.Equal(up.At) || e.ID != edgeagent.EventID(e.Source, e.Type, a.ID, 1) {
		t.Errorf("event = %+v", e)
	}
	if sent := alarmOf(t, got[0]); sent.Hint == nil || sent.Job != a.Job {
		t.Errorf("data = %+v, want the alarm with hint and job", sent)
	}
	if dev := dataOf[map[string]any](t, got[1]); dev["name"] != "filler" || dev["state"] != "stopped" {
		t.Errorf("device = %v", dev)
	}
}

func TestMinimalContentHasNoPromptAndNoRawAnswer(t *testing.T) {
	for minimal, want := range map[bool]int{false: 2, true: 0} {
		o := options(dataFile(t))
		o.Minimal = minimal
		db := open(t, o)
		record(t, db, raise("L", "A1", 2))
		if err := db.Complete(t.Context(), lease(t, db), answer("x")); err != nil {
			t.Fatal(err)
		}
		data := dataOf[map[string]any](t, wholeStream(t, db, edgeagent.StreamDiagnosis)[0])
		got := 0
		for _, key := range []string{"prompt", "raw"} {
			if _, there := data[key]; there {
				got++
			}
		}
		if got != want {
			t.Errorf("minimal %v: %d of prompt and raw, want %d", minimal, got, want)
		}
	}
}
