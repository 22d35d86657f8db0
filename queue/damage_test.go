package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// damagedCopies is how many copies are damaged; EDGEAGENT_DAMAGE sets another
// number, 500 before a release.
const (
	damagedCopies = 50
	damageSeed    = 20261122
)

// An image is a data file at one moment, with what was true then.
type image struct {
	data, mark []byte // mark is that of a clean stop; nil after a kill
	places     map[string]queue.Place
	used, free []uint64
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

// images makes a file with a past: alarms that were acknowledged since, jobs in
// every state, cases of many pages, events that were confirmed and deleted.
func images(t *testing.T, alarms int) []image {
	t.Helper()
	path := dataFile(t)
	o := options(path)
	o.Destinations[0].Keep = 0
	db := open(t, o)
	random := rand.New(rand.NewPCG(damageSeed, 2))
	for n := 0; n < alarms; n += 8 {
		history(t, db, random, n)
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
	clean.data, clean.mark = readFile(t, path), readFile(t, path+".clean")
	return []image{killed, clean}
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
	img := image{data: readFile(t, path), truth: ask(t, db)}
	img.truth.epoch = db.Epoch()
	img.truth.next = db.Backlog("historian").Next
	img.truth.confirmed = make(map[edgeagent.Stream]uint64)
	for _, e := range pending(t, db, "historian") {
		if _, seen := img.truth.confirmed[e.Stream]; !seen {
			img.truth.confirmed[e.Stream] = e.Sequence - 1
		}
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, img.data, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if img.places, err = queue.Places(copied); err != nil {
		t.Fatal(err)
	}
	if img.used, img.free, err = queue.UsedPages(copied); err != nil {
		t.Fatal(err)
	}
	return img
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

// A wound is one way to damage a file; it returns the damaged bytes.
type wound struct {
	name string
	deal func(r *rand.Rand, img image, b []byte) []byte
}

const page = 4096

func pick(r *rand.Rand, ids []uint64) int { return int(ids[r.IntN(len(ids))]) * page }

var wounds = []wound{
	{"a bit flipped", func(r *rand.Rand, img image, b []byte) []byte {
		b[pick(r, img.used)+r.IntN(page)] ^= 1 << r.IntN(8)
		return b
	}},
	{"a bit flipped in a head", func(r *rand.Rand, img image, b []byte) []byte {
		b[pick(r, img.used)+r.IntN(16)] ^= 1 << r.IntN(8)
		return b
	}},
	{"bytes flipped in tables", func(r *rand.Rand, img image, b []byte) []byte {
		for range 4 {
			b[pick(r, img.used)+r.IntN(200)] = byte(r.Uint32())
		}
		return b
	}},
	{"a page zeroed", func(r *rand.Rand, img image, b []byte) []byte {
		p := pick(r, img.used)
		clear(b[p : p+page])
		return b
	}},
	{"a sector of garbage", func(r *rand.Rand, img image, b []byte) []byte {
		p := pick(r, img.used) + 512*r.IntN(8)
		for i := range 512 {
			b[p+i] = byte(r.Uint32())
		}
		return b
	}},
	{"a page of garbage", func(r *rand.Rand, img image, b []byte) []byte {
		p := pick(r, img.used)
		for i := range page {
			b[p+i] = byte(r.Uint32())
		}
		return b
	}},
	{"two pages swapped", func(r *rand.Rand, img image, b []byte) []byte {
		p, q := pick(r, img.used), pick(r, img.used)
		old := bytes.Clone(b[p : p+page])
		copy(b[p:p+page], b[q:q+page])
		copy(b[q:q+page], old)
		return b
	}},
	{"a page over another", func(r *rand.Rand, img image, b []byte) []byte {
		p, q := pick(r, img.used), pick(r, img.used)
		copy(b[p:p+page], b[q:q+page])
		return b
	}},
	{"a page of before over one in use", func(r *rand.Rand, img image, b []byte) []byte {
		p, q := pick(r, img.used), pick(r, img.free)
		copy(b[p:p+page], b[q:q+page])
		return b
	}},
	{"the last page cut", func(r *rand.Rand, img image, b []byte) []byte {
		last := int(img.used[len(img.used)-1])*page + r.IntN(page)
		return b[:last]
	}},
	{"a third cut off", func(r *rand.Rand, _ image, b []byte) []byte { return b[:len(b)*2/3+r.IntN(page)] }},
	{"both meta pages gone", func(_ *rand.Rand, _ image, b []byte) []byte {
		clear(b[:2*page])
		return b
	}},
	{"a meta page gone", func(r *rand.Rand, _ image, b []byte) []byte {
		p := r.IntN(2) * page
		clear(b[p : p+page])
		return b
	}},
	{"a bit flipped in a meta page", func(r *rand.Rand, _ image, b []byte) []byte {
		b[r.IntN(2)*page+16+r.IntN(64)] ^= 1 << r.IntN(8)
		return b
	}},
	{"the start of the file gone", func(r *rand.Rand, _ image, b []byte) []byte {
		for i := range 3*page + r.IntN(page) {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
	{"one page in fifty gone", func(r *rand.Rand, img image, b []byte) []byte {
		for _, id := range img.used {
			if r.IntN(50) == 0 {
				clear(b[id*page : id*page+page])
			}
		}
		return b
	}},
}

func copies(t *testing.T) int {
	t.Helper()
	text := os.Getenv("EDGEAGENT_DAMAGE")
	if text == "" {
		return damagedCopies
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("EDGEAGENT_DAMAGE=%q: want a number of copies", text)
	}
	return n
}

// Every damaged copy opens; what is whole of it is there, nothing else is, and
// whoever counts the events gets each once or is told that it is lost.
func TestDamagedCopies(t *testing.T) {
	n := copies(t)
	imgs := images(t, 240)
	t.Logf("%d kB, %d records, %d pages in use, %d free; seed %d",
		len(imgs[0].data)/1024, len(imgs[0].places), len(imgs[0].used), len(imgs[0].free), damageSeed)
	replaced := 0
	for i := range n {
		w, img := wounds[i%len(wounds)], imgs[i/len(wounds)%len(imgs)]
		t.Run(fmt.Sprintf("%03d %s", i, w.name), func(t *testing.T) {
			random := rand.New(rand.NewPCG(damageSeed, uint64(1000+i)))
			if treat(t, img, w.deal(random, img, bytes.Clone(img.data))) {
				replaced++
			}
		})
	}
	if replaced == 0 {
		t.Error("no file was replaced: the damage hits nothing")
	}
	t.Logf("%d copies, %d of them replaced", n, replaced)
}

// treat opens a damaged copy and compares it with the truth.
func treat(t *testing.T, img image, damaged []byte) (replaced bool) {
	t.Helper()
	path := dataFile(t)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if img.mark != nil {
		if err := os.WriteFile(path+".clean", img.mark, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := options(path)
	o.Check = checkInChild
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := queue.Open(ctx, o)
	if err != nil {
		t.Fatalf("it does not open: %v", err)
	}
	defer func() { _ = db.Close() }()
	whole := wholeOf(img, damaged)
	replaced = db.Storage().State == edgeagent.StorageSalvaged
	said(t, db, path, damaged, replaced)
	sameAlarms(t, db, img, whole)
	sameJobs(t, db, img, whole)
	sameEvents(t, db, img, whole, replaced)
	return replaced
}

// wholeOf returns the records whose bytes are as they were.
func wholeOf(img image, damaged []byte) map[string]bool {
	whole := make(map[string]bool, len(img.places))
	for name, p := range img.places {
		whole[name] = p.To <= int64(len(damaged)) && bytes.Equal(img.data[p.At:p.To], damaged[p.At:p.To])
	}
	return whole
}

// said checks that the damaged file is kept as it was, and the page says so.
func said(t *testing.T, db *queue.DB, path string, damaged []byte, replaced bool) {
	t.Helper()
	keptFiles, err := filepath.Glob(path + ".corrupt-*")
	if err != nil || len(keptFiles) == 1 != replaced {
		t.Fatalf("replaced = %t, kept %v, %v", replaced, keptFiles, err)
	}
	if !replaced {
		return
	}
	if got := readFile(t, keptFiles[0]); !bytes.Equal(got, damaged) {
		t.Error("the damaged file was changed")
	}
	if s := db.Storage(); !strings.Contains(s.Error, filepath.Base(keptFiles[0])) {
		t.Errorf("the page says %q, not what the damaged file is called", s.Error)
	}
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func sameAlarms(t *testing.T, db *queue.DB, img image, whole map[string]bool) {
	t.Helper()
	got := ask(t, db)
	for id, a := range got.alarms {
		if want, ok := img.truth.alarms[id]; !ok || !sameJSON(a, want) {
			t.Errorf("alarm %s reads\n%+v\nwant\n%+v", id, a, want)
		}
		if e := got.evidence[id]; e != nil && !sameJSON(e, img.truth.evidence[id]) {
			t.Errorf("evidence of %s is another", id)
		}
	}
	for id := range img.truth.alarms {
		if _, ok := got.alarms[id]; whole["a"+string(id)] && !ok {
			t.Errorf("alarm %s is lost, and its bytes are whole", id)
		} else if ok && whole["b"+string(id)+"e"] && got.evidence[id] == nil {
			t.Errorf("the evidence of %s is lost, and its bytes are whole", id)
		}
	}
}

func sameJobs(t *testing.T, db *queue.DB, img image, whole map[string]bool) {
	t.Helper()
	got := make(map[edgeagent.ID]edgeagent.Job)
	for _, j := range jobs(t, db, "") {
		got[j.ID] = j
	}
	for id, j := range got {
		want, ok := img.truth.jobs[id]
		if !ok {
			t.Errorf("job %s was never there", id)
			continue
		}
		if state := want.State; j.State != state && (state != edgeagent.JobRunning || j.State != edgeagent.JobPending) {
			t.Errorf("job %s is %s, was %s", id, j.State, state)
		}
		if j.Diagnosis != nil && !sameJSON(j.Diagnosis, want.Diagnosis) {
			t.Errorf("job %s has another diagnosis", id)
		}
		for _, a := range j.Alarms {
			if !slices.Contains(want.Alarms, a) {
				t.Errorf("job %s has alarm %s, which is not its own", id, a)
			}
		}
		if allWhole(whole, string(id)) && want.State != edgeagent.JobRunning && !sameJSON(j, want) {
			t.Errorf("job %s is whole and reads\n%+v\nwant\n%+v", id, j, want)
		}
	}
	for id, want := range img.truth.jobs {
		j, ok := got[id]
		if !ok && whole["j"+string(id)] {
			t.Errorf("job %s is lost, and its header is whole", id)
		}
		if whole["b"+string(id)+"d"] && want.Diagnosis != nil && (j.Diagnosis == nil || j.State != edgeagent.JobCompleted) {
			t.Errorf("job %s has a diagnosis that is whole, and reads %s, %v", id, j.State, j.Diagnosis)
		}
	}
}

// allWhole reports whether every record of a job is.
func allWhole(whole map[string]bool, id string) bool {
	for name, ok := range whole {
		if len(name) >= 27 && name[1:27] == id && !ok {
			return false
		}
	}
	return true
}

// sameEvents is the receiver: it has what was confirmed, and more that it never
// could confirm.
func sameEvents(t *testing.T, db *queue.DB, img image, whole map[string]bool, replaced bool) {
	t.Helper()
	has := make(map[string][]byte)
	told := make(map[string]bool)
	for _, e := range drained(t, db) {
		name := eventName(e.Epoch, e.Stream, e.Sequence)
		if _, twice := has[name]; twice {
			t.Errorf("%s was sent twice", name)
		}
		has[name] = e.Body
		if want, ok := img.truth.events[name]; e.Epoch == img.truth.epoch && (!ok || !bytes.Equal(want, e.Body)) && replaced {
			t.Errorf("%s has other bytes", name)
		}
		if e.Type == edgeagent.EventGap {
			gapOf(t, e, told)
		}
	}
	if replaced && db.Epoch() <= img.truth.epoch {
		t.Errorf("the epoch is %s after %s: numbers would be used twice", db.Epoch(), img.truth.epoch)
	}
	for stream, next := range img.truth.next {
		for seq := img.truth.confirmed[stream] + 1; seq < next; seq++ {
			name := eventName(img.truth.epoch, stream, seq)
			switch _, ok := has[name]; {
			case !ok && whole[queue.EventKey(string(img.truth.epoch), string(stream), seq)]:
				t.Errorf("%s is lost, and its bytes are whole", name)
			case !ok && !told[name]:
				t.Errorf("%s is lost, and no gap names it", name)
			case ok && told[name]:
				t.Errorf("%s is there, and a gap says that it is lost", name)
			}
		}
	}
}

func gapOf(t *testing.T, e edgeagent.Outgoing, told map[string]bool) {
	t.Helper()
	var event edgeagent.Event
	var g edgeagent.Gap
	if err := json.Unmarshal(e.Body, &event); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(event.Data, &g); err != nil {
		t.Fatal(err)
	}
	if g.To-g.From > 1<<20 {
		t.Fatalf("a gap of %d events", g.To-g.From)
	}
	for seq := g.From; seq <= g.To; seq++ {
		told[eventName(g.Epoch, g.Stream, seq)] = true
	}
}

// drained takes everything that waits for the historian, as an upstream would
// that confirms what it gets.
func drained(t *testing.T, db *queue.DB) []edgeagent.Outgoing {
	t.Helper()
	var all []edgeagent.Outgoing
	for {
		some := pending(t, db, "historian")
		if len(some) == 0 {
			return all
		}
		all = append(all, some...)
		r := edgeagent.Receipt{Epoch: some[0].Epoch, Contig: make(map[edgeagent.Stream]uint64)}
		for _, e := range some {
			r.Contig[e.Stream] = e.Sequence
		}
		before := db.Backlog("historian")
		if err := db.Confirm(t.Context(), "historian", r); err != nil {
			t.Fatal(err)
		}
		if after := db.Backlog("historian"); reflect.DeepEqual(before, after) {
			t.Fatalf("confirming moves nothing: %v", slices.Sorted(maps.Keys(r.Contig)))
		}
	}
}
