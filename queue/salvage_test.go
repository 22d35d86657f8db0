package queue_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

func TestAClonedCardBeginsANewEpoch(t *testing.T) {
	path := dataFile(t)
	o := options(path)
	o.Hardware = &queue.Hardware{Machine: "m", Board: "b1"}
	db := open(t, o)
	record(t, db, raise("L", "A1", 1))
	first := db.Epoch()
	reopen := func(h *queue.Hardware) *queue.DB {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		o.Hardware = h
		db = open(t, o)
		return db
	}
	if got := reopen(&queue.Hardware{Machine: "m", Board: "b1", Links: []string{"l"}}).Epoch(); got != first {
		t.Error("the same machine began a new epoch")
	}
	if got := reopen(nil).Epoch(); got != first {
		t.Error("a machine that says nothing began a new epoch")
	}
	if got := reopen(&queue.Hardware{Machine: "m", Board: "b2"}).Epoch(); got <= first {
		t.Errorf("epoch %s after %s: two machines would number one stream", got, first)
	}
	if got := pending(t, db, "historian"); len(got) != 1 || got[0].Epoch != first || got[0].Sequence != 1 {
		t.Errorf("pending = %+v, want the event of before as it was", got)
	}
}

func TestAClockOf1970DoesNotPutTheNewEpochFirst(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	late := raise("L", "A1", 1)
	record(t, db, late)
	first := db.Epoch()
	for range 3 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		o := options(path)
		o.Agent += "x"
		db = open(t, o)
		if db.Epoch() <= first {
			t.Fatalf("epoch %s does not sort behind %s", db.Epoch(), first)
		}
	}
}

// damaged makes a data file of which a page of records is gone.
func damaged(t *testing.T, path string) (alarms []edgeagent.ID) {
	t.Helper()
	db := open(t, options(path))
	for n := range 40 {
		alarms = append(alarms, record(t, db, raise("L", string(rune('A'+n)), 1))[0].ID)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	pages, err := queue.PagesOf(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := readFile(t, path)
	p := pages.Used[len(pages.Used)/2] * newPage
	clear(whole[p : p+newPage])
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	return alarms
}

func TestOnlyTheNewestDamagedFilesAreKept(t *testing.T) {
	path := dataFile(t)
	for _, at := range []string{"20200101T000000.000Z", "20200102T000000.000Z", "20200103T000000.000Z", "20200104T000000.000Z"} {
		if err := os.WriteFile(path+".corrupt-"+at, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newer := path + ".newer-20200101T000000.000Z"
	if err := os.WriteFile(newer, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged(t, path)
	open(t, options(path))
	kept, err := filepath.Glob(path + ".corrupt-*Z")
	if err != nil || len(kept) != 3 || !strings.Contains(kept[0], "20200103") {
		t.Errorf("kept %v, %v, want the newest three", kept, err)
	}
	if _, err := os.Stat(newer); err != nil {
		t.Errorf("a file of a newer version was deleted: %v", err)
	}
}

// salvagedAgain opens a file with so many alarms and expects most of them.
func salvagedAgain(t *testing.T, path string, alarms int) {
	t.Helper()
	db := open(t, options(path))
	if s := db.Storage(); s.State != edgeagent.StorageSalvaged {
		t.Errorf("storage = %+v, want salvaged", s)
	}
	if got := len(db.OpenAlarms()); got < alarms/2 {
		t.Errorf("%d of %d alarms are there", got, alarms)
	}
}

func TestAPowerCutDuringASalvageIsSalvagedAgain(t *testing.T) {
	path := dataFile(t)
	alarms := damaged(t, path)
	// As a cut before the swap leaves it: the second name is there, and a new
	// file that nobody has finished.
	if err := errors.Join(os.Link(path, path+".corrupt-20200101T000000.000Z"), os.WriteFile(path+".new", []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	salvagedAgain(t, path, len(alarms))
}

// Where there are no hard links a file is set aside by giving its only name away.
func TestAPowerCutWithoutHardLinksIsSalvagedAgain(t *testing.T) {
	path := dataFile(t)
	alarms := damaged(t, path)
	kept := path + ".corrupt-20260101T000000.000Z"
	for _, err := range []error{
		os.WriteFile(path+".corrupt-20250101T000000.000Z", []byte("another time"), 0o600), os.WriteFile(path+".newer-20250601T000000.000Z", nil, 0o600),
		os.Rename(path, kept), os.Rename(path+".journal", kept+".journal"), os.WriteFile(path+".new", []byte("half"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	salvagedAgain(t, path, len(alarms))
}

// Who takes the data file away wants a new one, whatever was set aside before.
func TestADataFileThatAPersonTookAwayStaysAway(t *testing.T) {
	path := dataFile(t)
	damaged(t, path)
	kept := path + ".corrupt-20260101T000000.000Z"
	if err := errors.Join(os.Rename(path, kept), os.Remove(path+".journal")); err != nil {
		t.Fatal(err)
	}
	db := open(t, options(path))
	if n := len(db.OpenAlarms()); n != 0 {
		t.Errorf("%d alarms in a new file", n)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func TestACheckWithoutAVerdictIsMadeHere(t *testing.T) {
	unable := func(path string) queue.Options {
		o := options(path)
		o.Check = func(context.Context, string) error { return queue.ErrUnchecked }
		return o
	}
	path := dataFile(t)
	if s := open(t, unable(path)).Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("a whole file: %+v", s)
	}
	path = dataFile(t)
	damaged(t, path)
	if s := open(t, unable(path)).Storage(); s.State != edgeagent.StorageSalvaged {
		t.Errorf("a damaged file: %+v", s)
	}
}

func TestANewerFileIsAFault(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := queue.MakeNewer(path); err != nil {
		t.Fatal(err)
	}
	want := readFile(t, path)
	db = open(t, options(path))
	if s := db.Storage(); s.State != edgeagent.StorageOK || !strings.Contains(s.Error, "newer version") {
		t.Errorf("storage = %+v, want a fault", s)
	}
	kept, _ := filepath.Glob(path + ".newer-*Z")
	if len(kept) != 1 || string(readFile(t, kept[0])) != string(want) {
		t.Errorf("kept %v: the newer file was changed", kept)
	}
	record(t, db, raise("L", "A1", 1))
	restarted := func() string {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = open(t, options(path))
		return db.Storage().Error
	}
	if said := restarted(); !strings.Contains(said, filepath.Base(kept[0])) {
		t.Errorf("after a restart: %q, and nobody has decided yet what becomes of %s", said, kept[0])
	}
	if err := os.Remove(kept[0]); err != nil {
		t.Fatal(err)
	}
	if said := restarted(); said != "" {
		t.Errorf("after it was deleted: %q", said)
	}
}

// What a salvage has to tell is told once, over any number of starts.
func TestGapsAreToldOnce(t *testing.T) {
	path := dataFile(t)
	damaged(t, path)
	for start := range 3 {
		db := open(t, options(path))
		for _, e := range pending(t, db, "historian") {
			if e.Type == edgeagent.EventGap && start > 0 {
				t.Errorf("start %d tells again: %s", start+1, e.Body)
			}
		}
		drained(t, db)
		if s := db.Storage().State; (s == edgeagent.StorageSalvaged) != (start == 0) {
			t.Errorf("start %d: storage is %s", start+1, s)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The alarm of an idempotency key is lost, the key is not. Who repeats it, for he
// never had an answer, has an alarm to tell: it is not refused for ever.
func TestAKeyWhoseAlarmIsLostIsFree(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	first := record(t, db, keyedRaise("body"), raise("L", "OTHER", 2))[0]
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	spoilAlarm(t, path, first.ID)
	db = open(t, options(path))
	if _, err := db.Alarm(first.ID); !errors.Is(err, edgeagent.ErrNotFound) {
		t.Fatalf("the alarm reads %v: this proves nothing", err)
	}
	if id, _, known := db.ByKey("key"); known {
		t.Errorf("the key is known, of alarm %s which is not there", id)
	}
	if again := record(t, db, keyedRaise("body"))[0]; again.ID == first.ID || again.Job == "" {
		t.Errorf("again: alarm %+v, want a new one", again)
	}
	if id, _, known := db.ByKey("key"); !known || id == first.ID {
		t.Errorf("the key is alarm %s's (%v), want the new one's", id, known)
	}
}

// Events that were confirmed are lost at the end of a stream: they are no backlog, and
// take nothing from the one there is.
func TestABacklogBehindLostEventsIsCounted(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	old := db.Epoch()
	record(t, db, raise("L", "A1", 2), raise("L", "A2", 2), raise("L", "A3", 2), raise("L", "A4", 2))
	if err := db.Confirm(t.Context(), "historian", receipt(db, 4, 0)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data := readFile(t, path)
	for at := range data[:len(data)-100] {
		if string(data[at:at+4]) == "EA\x01o" && string(data[at+16:at+43]) == string(old)+"a" && data[at+50] > 1 {
			data[at+60] ^= 1
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db = open(t, options(path))
	record(t, db, raise("L", "B", 2))
	if got, want := db.Backlog("historian"), len(pending(t, db, "historian")); got.Events != want || want == 0 || got.Oldest.IsZero() {
		t.Errorf("backlog = %+v, want the %d events that wait", got, want)
	}
}

// Whoever comes with another body was told that the key is free, and has raised the
// alarm: it is not refused for a body that nobody has any more.
func TestAKeyWhoseAlarmIsLostIsFreeForAnotherBody(t *testing.T) {
	path := dataFile(t)
	db := open(t, options(path))
	lost := record(t, db, keyedRaise("body"), raise("L", "OTHER", 2))[0].ID
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	spoilAlarm(t, path, lost)
	db = open(t, options(path))
	if _, _, known := db.ByKey("key"); known {
		t.Fatal("the key is known: this proves nothing")
	}
	if again := record(t, db, keyedRaise("another body"))[0]; again.ID == lost || again.Job == "" {
		t.Errorf("another body: alarm %+v, want a new one", again)
	}
	if _, hash, known := db.ByKey("key"); !known || hash != "another body" {
		t.Errorf("the key is of %q (%v), want the new body", hash, known)
	}
}

// keyedRaise is an alarm from outside that came with an idempotency key.
func keyedRaise(body string) edgeagent.Transition {
	up := raise("L", "OUTSIDE", 2)
	up.Alarm.Origin, up.Key, up.KeyHash = edgeagent.OriginOutside, "key", body
	return up
}

// spoilAlarm damages every copy of an alarm in a file that nobody has open.
func spoilAlarm(t *testing.T, path string, id edgeagent.ID) {
	t.Helper()
	data := readFile(t, path)
	for at := range data[:len(data)-100] {
		if string(data[at:at+4]) == "EA\x01a" && string(data[at+16:at+42]) == string(id) {
			data[at+60] ^= 1
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
