package queue_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// An image is a data file at one moment, with what was true then.
type image struct {
	data, mark []byte // mark is that of a clean stop; nil after a kill
	journal    []byte // beside it, never damaged here: see journal_damage_test.go
	places     map[string]queue.Place
	pages      queue.Pages
	detours    []queue.Detour
	truth      truth
}

// truth is all that can be asked of a file.
type truth struct {
	epoch     edgeagent.ID
	alarms    map[edgeagent.ID]edgeagent.Alarm
	evidence  map[edgeagent.ID]*edgeagent.Evidence
	jobs      map[edgeagent.ID]edgeagent.Job
	events    map[string][]byte // by [eventName]
	next      map[edgeagent.Stream]uint64
	confirmed map[edgeagent.Stream]uint64
}

func eventName(epoch edgeagent.ID, stream edgeagent.Stream, seq uint64) string {
	return fmt.Sprintf("%s/%s/%d", epoch, stream, seq)
}

// images are files with a past: alarms that were acknowledged since, jobs in
// every state, cases of many pages, events that were confirmed and deleted. The
// second had a longer one, of which nothing is left but what pages that are free
// still hold. Each as a kill leaves it, and as a clean stop does.
func images(t *testing.T) []image {
	t.Helper()
	var all []image
	for _, lives := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) { all = append(all, imagesOf(t, lives)...) })
	}
	return all
}

func imagesOf(t *testing.T, lives int) []image {
	t.Helper()
	path := dataFile(t)
	o := agedOptions(path)
	db := open(t, o)
	random := rand.New(rand.NewPCG(damageSeed, 2))
	for life := range lives {
		for n := 0; n < 128; n += 8 {
			history(t, db, random, life*1000+n)
		}
		if life < lives-1 {
			forget(t, db)
		}
	}
	for _, m := range []string{"filler", "capper"} {
		if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: m, State: edgeagent.DeviceStopped}); err != nil {
			t.Fatal(err)
		}
	}
	lease(t, db) // is running when the end comes
	killed := shot(t, db, path)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	clean := killed
	clean.data, clean.mark, clean.journal = readFile(t, path), readFile(t, path+".clean"), readFile(t, path+".journal")
	place(t, &clean)
	return []image{killed, clean}
}

// agedOptions keep nothing that was confirmed, and the rest not for long.
func agedOptions(path string) queue.Options {
	o := options(path)
	o.Destinations = []queue.Destination{{Name: "historian", Required: true}}
	o.Retain = time.Hour
	return o
}

// forget ends everything there is, and lets it become too old to be kept.
func forget(t *testing.T, db *queue.DB) {
	t.Helper()
	for _, j := range append(jobs(t, db, edgeagent.JobPending), jobs(t, db, edgeagent.JobFailed)...) {
		if err := db.Discard(t.Context(), j.ID, "chief", "over"); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range db.OpenAlarms() {
		now := time.Now()
		a.State, a.ClearedAt, a.Revision = edgeagent.AlarmNormal, &now, a.Revision+1
		record(t, db, edgeagent.Transition{Kind: edgeagent.TransitionCleared, At: now, Alarm: a})
	}
	drained(t, db)
	for range 200 { // a commit tidies a little
		time.Sleep(2 * time.Minute)
		if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: "filler", Since: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// history is a few minutes of a plant.
func history(t *testing.T, db *queue.DB, random *rand.Rand, n int) {
	t.Helper()
	var ts []edgeagent.Transition
	for i := range 8 {
		up := raise(fmt.Sprintf("line-%d", (n+i)%40), fmt.Sprintf("A%d", n+i), 1+i%4)
		up.Alarm.Text = text(random, 40+random.IntN(300))
		if i == 3 {
			up.Evidence.Gaps = []string{text(random, 9000+random.IntN(9000))} // of several pages
		}
		if i == 5 {
			up.Key, up.KeyHash = fmt.Sprintf("key-%d", n), "hash"
		}
		ts = append(ts, up)
	}
	stored := record(t, db, ts...)
	for i := range 4 {
		a := stored[i]
		a.State, a.AckedBy, a.Revision = edgeagent.AlarmAcked, "shift-leader", a.Revision+1
		record(t, db, edgeagent.Transition{Kind: edgeagent.TransitionAcked, At: time.Now(), Alarm: a})
	}
	for i := range 5 {
		l := lease(t, db)
		o := answer(text(random, 200))
		var err error
		switch i {
		case 0:
			err = db.Retry(t.Context(), l, o, edgeagent.NewNote("transient", "no answer"), time.Hour)
		case 1:
			err = db.Discard(t.Context(), l.Job, "chief", "known")
		case 2:
			if err = db.Complete(t.Context(), l, o); err == nil {
				err = db.Feedback(t.Context(), l.Job, edgeagent.Feedback{Verdict: "right", By: "chief"})
			}
		default:
			o.Prompt = text(random, 5000)
			err = db.Complete(t.Context(), l, o)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n%40 == 0 {
		confirmSome(t, db)
	}
}

// text does not pack: what is measured here is pages.
func text(random *rand.Rand, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = "abcdefghijklmnopqrstuvwxyz0123456789 -_.,:;ABCDEFGHIJKLMNOPQRSTUVWXYZ"[random.IntN(68)]
	}
	return string(out)
}

func confirmSome(t *testing.T, db *queue.DB) {
	t.Helper()
	all := pending(t, db, "historian")
	r := edgeagent.Receipt{Epoch: db.Epoch(), Contig: make(map[edgeagent.Stream]uint64)}
	for _, e := range all[:len(all)*2/3] {
		r.Contig[e.Stream] = e.Sequence
	}
	if err := db.Confirm(t.Context(), "historian", r); err != nil {
		t.Fatal(err)
	}
}

// shot copies the file as a kill would leave it, and asks it everything.
func shot(t *testing.T, db *queue.DB, path string) image {
	t.Helper()
	if err := db.Rest(t.Context()); err != nil { // no kill sees two files at two moments
		t.Fatal(err)
	}
	img := image{data: readFile(t, path), journal: readFile(t, path+".journal"), truth: ask(t, db)}
	img.truth.epoch = db.Epoch()
	img.truth.next = db.Backlog("historian").Next
	img.truth.confirmed = make(map[edgeagent.Stream]uint64)
	for stream, next := range img.truth.next {
		img.truth.confirmed[stream] = next - 1
	}
	waiting, err := db.Pending("historian", 1<<20, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range waiting {
		img.truth.confirmed[e.Stream] = min(e.Sequence-1, img.truth.confirmed[e.Stream])
	}
	place(t, &img)
	return img
}

// place finds out where everything lies.
func place(t *testing.T, img *image) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	for name, content := range map[string][]byte{copied: img.data, copied + ".journal": img.journal} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if img.places, err = queue.Places(copied); err != nil {
		t.Fatal(err)
	}
	if img.pages, err = queue.PagesOf(copied); err != nil {
		t.Fatal(err)
	}
	if img.detours, err = queue.Detours(copied); err != nil {
		t.Fatal(err)
	}
}

// ask reads everything of a file.
func ask(t *testing.T, db *queue.DB) truth {
	t.Helper()
	all := truth{
		alarms: make(map[edgeagent.ID]edgeagent.Alarm), evidence: make(map[edgeagent.ID]*edgeagent.Evidence),
		jobs: make(map[edgeagent.ID]edgeagent.Job), events: make(map[string][]byte),
	}
	f := queue.AlarmFilter{State: "history", Limit: 1000}
	for next := edgeagent.ID("x"); next != ""; f.After = next {
		var list []edgeagent.Alarm
		var err error
		if list, next, err = db.Alarms(f); err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			all.alarms[a.ID] = a
			if all.evidence[a.ID], err = db.Evidence(a.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, j := range jobs(t, db, "") {
		all.jobs[j.ID] = j
	}
	for _, e := range kept(t, db, db.Epoch()) {
		all.events[eventName(e.Epoch, e.Stream, e.Sequence)] = e.Body
	}
	return all
}

func kept(t *testing.T, db *queue.DB, epoch edgeagent.ID) []edgeagent.Outgoing {
	t.Helper()
	var out []edgeagent.Outgoing
	for _, s := range edgeagent.Streams {
		for from := uint64(1); ; {
			some, err := db.Range(epoch, edgeagent.Range{Stream: s, From: from, To: 1 << 40})
			if err != nil {
				t.Fatal(err)
			}
			if len(some) == 0 {
				break
			}
			out = append(out, some...)
			from = some[len(some)-1].Sequence + 1
		}
	}
	return out
}
