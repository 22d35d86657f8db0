package queue_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// refusing returns a file of n alarms, of which the historian has refused every
// second one and confirmed the rest, gaps and all.
func refusing(t *testing.T, o queue.Options, n int) (*queue.DB, []edgeagent.Outgoing) {
	t.Helper()
	db := open(t, o)
	for range n {
		record(t, db, raise("L", "A1", 2))
	}
	all, err := db.Pending("historian", n, n<<12)
	if err != nil {
		t.Fatal(err)
	}
	var refused []edgeagent.Outgoing
	for _, ev := range all {
		if ev.Stream == edgeagent.StreamAlarm && ev.Sequence%2 == 0 {
			refused = append(refused, ev)
			if err := db.Park(t.Context(), "historian", ev, edgeagent.NewNote("refused_upstream", "422: unknown line")); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := edgeagent.Receipt{Epoch: db.Epoch(), Contig: map[edgeagent.Stream]uint64{edgeagent.StreamAlarm: uint64(n), edgeagent.StreamEvent: uint64(n / 2)}}
	if err := db.Confirm(t.Context(), "historian", r); err != nil {
		t.Fatal(err)
	}
	return db, refused
}

func asked(t *testing.T, db *queue.DB, dest string) (numbers []uint64) {
	t.Helper()
	all, err := db.Asked(dest, 100, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range all {
		numbers = append(numbers, ev.Sequence)
	}
	return numbers
}

func resend(t *testing.T, db *queue.DB, dest string, want int) {
	t.Helper()
	if n, err := db.Resend(t.Context(), dest, "erika"); err != nil || n != want {
		t.Fatalf("%d events of %s are sent again, %v; want %d", n, dest, err, want)
	}
}

func parkedOf(t *testing.T, db *queue.DB) []edgeagent.ParkedEvent {
	t.Helper()
	all, err := db.Parked("historian", 100)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What was refused is shown with why, sent again on a person's word over a
// restart, byte for byte, and forgotten as refused only when it is stored.
func TestARefusedEventIsSentAgainWhenAPersonSaysSo(t *testing.T) {
	o := options(dataFile(t))
	db, refused := refusing(t, o, 4)
	all := parkedOf(t, db)
	if len(all) != 2 || all[0].Sequence != 2 || all[0].ID != refused[0].ID || all[0].Type != edgeagent.EventAlarmRaised ||
		all[0].Reason.Text != "422: unknown line" || all[0].At == nil || all[0].ParkedAt.IsZero() || all[0].AskedAt != nil {
		t.Fatalf("parked = %+v", all)
	}
	if got := asked(t, db, "historian"); len(got) != 0 {
		t.Errorf("%v are sent again and nobody has asked", got)
	}
	resend(t, db, "historian", 2)
	resend(t, db, "historian", 0) // they are on their way
	resend(t, db, "mes", 0)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, o)
	if all = parkedOf(t, db); len(all) != 2 || all[1].AskedBy != "erika" || all[1].AskedAt == nil {
		t.Errorf("parked after a restart = %+v", all)
	}
	got, err := db.Asked("historian", 100, 1<<20)
	if err != nil || len(got) != 2 || string(got[0].Body) != string(refused[0].Body) {
		t.Fatalf("asked = %+v, %v; want the same bytes", got, err)
	}
	before := db.Backlog("historian")
	if before.Parked != 2 || before.Again != 2 {
		t.Errorf("backlog = %+v", before)
	}
	for range 2 { // booked once
		if err := db.Unpark(t.Context(), "historian", got[:1]); err != nil {
			t.Fatal(err)
		}
	}
	if b := db.Backlog("historian"); b.Parked != 1 || b.Again != 1 || b.Confirmed != before.Confirmed+1 || b.Events != before.Events {
		t.Errorf("backlog = %+v after %+v", b, before)
	}
	if got := asked(t, db, "historian"); fmt.Sprint(got) != "[4]" {
		t.Errorf("still to be sent: %v", got)
	}
	if db.IsParked("historian", db.Epoch(), edgeagent.StreamAlarm, 2) {
		t.Error("a stored event is held for refused")
	}
}

// Refused again it waits for the next word, with the new reason; its gap was
// told the first time.
func TestWhatIsRefusedAgainWaitsAgain(t *testing.T) {
	o := options(dataFile(t))
	db, refused := refusing(t, o, 2)
	next := db.Backlog("historian").Next[edgeagent.StreamEvent]
	resend(t, db, "historian", 1)
	if err := db.Park(t.Context(), "historian", refused[0], edgeagent.NewNote("refused_upstream", "400: no such column")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		all := parkedOf(t, db)
		if len(all) != 1 || all[0].Reason.Text != "400: no such column" || all[0].AskedAt != nil {
			t.Errorf("parked = %+v", all)
		}
		if got := asked(t, db, "historian"); len(got) != 0 {
			t.Errorf("%v are sent for ever", got)
		}
		if b := db.Backlog("historian"); b.Next[edgeagent.StreamEvent] != next || b.Again != 0 || b.Parked != 1 {
			t.Errorf("backlog = %+v, want no second gap", b)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, o)
	}
	resend(t, db, "historian", 1)
}

// An event that is still ahead of the cursor is not sent out of its turn, and
// one that is damaged on disk cannot be sent at all: it is shown by its number.
func TestOnlyWhatCanBeSentIsSentAgain(t *testing.T) {
	db := open(t, options(dataFile(t)))
	for range 3 {
		record(t, db, raise("L", "A1", 2))
	}
	all := pending(t, db, "historian")
	for _, ev := range all[1:3] {
		if err := db.Park(t.Context(), "historian", ev, edgeagent.NewNote("refused_upstream", "422")); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.DamageEvent(t.Context(), edgeagent.StreamAlarm, 3); err != nil {
		t.Fatal(err)
	}
	resend(t, db, "historian", 1)
	if got := asked(t, db, "historian"); len(got) != 0 {
		t.Errorf("%v overtake alarm 1, which is not confirmed", got)
	}
	if err := db.Confirm(t.Context(), "historian", receipt(db, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := asked(t, db, "historian"); fmt.Sprint(got) != "[2]" {
		t.Errorf("sent again: %v, want alarm 2", got)
	}
	shown := parkedOf(t, db)
	if len(shown) != 2 || shown[1].Sequence != 3 || shown[1].ID != "" || shown[1].At != nil || shown[1].Reason == nil {
		t.Errorf("parked = %+v", shown)
	}
	if err := db.DamageEvent(t.Context(), edgeagent.StreamAlarm, 2); err != nil {
		t.Fatal(err)
	}
	asked(t, db, "historian") // meets the damage
	if b := db.Backlog("historian"); b.Again != 0 || b.Parked != 2 {
		t.Errorf("backlog = %+v, want nothing that waits for ever", b)
	}
}

// Of a refused event that a person wants sent again, a salvage may save no more
// than that: it counts as damaged, and stops neither those behind it nor the rest.
func TestARefusedEventThatIsGoneIsNotSentForEver(t *testing.T) {
	for name, lost := range map[string][]uint64{"one of them": {2}, "the whole stream": {1, 2, 3, 4, 5, 6}} {
		t.Run(name, func(t *testing.T) {
			o := options(dataFile(t))
			db, _ := refusing(t, o, 6)
			resend(t, db, "historian", 3)
			epoch := db.Epoch()
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := queue.LoseEvents(o.Path, epoch, edgeagent.StreamAlarm, lost...); err != nil {
				t.Fatal(err)
			}
			db = open(t, o)
			if got := asked(t, db, "historian"); len(got) != max(0, 3-len(lost)) {
				t.Errorf("%v are sent again without %v", got, lost)
			}
			all := parkedOf(t, db)
			if len(all) != 3 || all[0].AskedAt != nil || all[0].Reason.Text != "it was damaged on disk" {
				t.Errorf("refused = %+v, want the first one as damaged", all)
			}
			if b := db.Backlog("historian"); b.Again != max(0, 3-len(lost)) {
				t.Errorf("%d are being sent again for ever", b.Again)
			}
		})
	}
}

// Thousands are marked in a few commits, here two, and come in batches of their order.
func TestManyRefusedEventsAreSentAgain(t *testing.T) {
	db, refused := refusing(t, options(dataFile(t)), 2*queue.ResendAtOnce+20)
	resend(t, db, "historian", len(refused))
	n := 0
	for last := uint64(0); ; {
		got, err := db.Asked("historian", 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			break
		}
		for _, ev := range got {
			if ev.Sequence <= last {
				t.Fatalf("alarm %d comes after %d", ev.Sequence, last)
			}
			last, n = ev.Sequence, n+1
		}
		if err := db.Unpark(t.Context(), "historian", got); err != nil {
			t.Fatal(err)
		}
	}
	if b := db.Backlog("historian"); n != len(refused) || b.Parked != 0 || b.Events != 0 {
		t.Errorf("%d of %d came, backlog %+v", n, len(refused), b)
	}
}

// A refused event is kept from when it was refused, however late that was, and one
// that is sent again from when a person said so: nobody else will say it twice.
func TestRefusedEventsAreKeptFromTheLastWord(t *testing.T) {
	daily := func(t *testing.T) queue.Options {
		o := options(dataFile(t))
		o.Retain = 24 * time.Hour
		return o
	}
	tick := func(t *testing.T, db *queue.DB, d time.Duration, times int) {
		for range times {
			time.Sleep(d)
			record(t, db, raise("Z", "TICK", 4))
		}
	}
	t.Run("refused after a long outage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db := open(t, daily(t))
			record(t, db, raise("L", "A1", 2))
			time.Sleep(25 * time.Hour)
			ev := pending(t, db, "historian")[0]
			if err := db.Park(t.Context(), "historian", ev, edgeagent.NewNote("refused_upstream", "422")); err != nil {
				t.Fatal(err)
			}
			tick(t, db, time.Hour, 23)
			if all := parkedOf(t, db); len(all) != 1 || all[0].ID != ev.ID {
				t.Errorf("parked after 23 hours = %+v", all)
			}
			tick(t, db, time.Hour, 2)
			if n := len(parkedOf(t, db)); n != 0 {
				t.Errorf("%d refused events are kept for ever", n)
			}
		})
	})
	t.Run("sent again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db, _ := refusing(t, daily(t), 4)
			time.Sleep(23 * time.Hour)
			resend(t, db, "historian", 2)
			tick(t, db, time.Hour, 23)
			if got := asked(t, db, "historian"); len(got) != 2 {
				t.Errorf("%v are left of 2 that a person wants sent again", got)
			}
			tick(t, db, time.Hour, 2)
			if b := db.Backlog("historian"); b.Parked != 0 || b.Again != 0 {
				t.Errorf("backlog = %+v, want nothing that is kept for ever", b)
			}
		})
	})
}
