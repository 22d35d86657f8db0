package queue_test

import (
	"bytes"
	"context"
	"encoding/binary"
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
	"testing/synctest"
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

// A wound is one way to damage a file; it returns the damaged bytes.
type wound struct {
	name string
	deal func(r *rand.Rand, img image, b []byte) []byte
}

// newPage is how large the pages of new files are.
const newPage = 8 << 10

// pick returns where one of some pages begins.
func (img image) pick(r *rand.Rand, ids []uint64) int { return int(ids[r.IntN(len(ids))]) * img.page() }

// page is how many bytes one has.
func (img image) page() int { return int(img.pages.Size) }

var wounds = []wound{
	{"a bit flipped", func(r *rand.Rand, img image, b []byte) []byte {
		b[img.pick(r, img.pages.Used)+r.IntN(img.page())] ^= 1 << r.IntN(8)
		return b
	}},
	{"a bit flipped in a head", func(r *rand.Rand, img image, b []byte) []byte {
		b[img.pick(r, img.pages.Used)+r.IntN(16)] ^= 1 << r.IntN(8)
		return b
	}},
	{"bytes flipped in tables", func(r *rand.Rand, img image, b []byte) []byte {
		for range 4 {
			b[img.pick(r, img.pages.Used)+r.IntN(200)] = byte(r.Uint32())
		}
		return b
	}},
	{"a page zeroed", func(r *rand.Rand, img image, b []byte) []byte {
		p := img.pick(r, img.pages.Used)
		clear(b[p : p+img.page()])
		return b
	}},
	{"a sector of garbage", func(r *rand.Rand, img image, b []byte) []byte {
		p := img.pick(r, img.pages.Used) + 512*r.IntN(8)
		for i := range 512 {
			b[p+i] = byte(r.Uint32())
		}
		return b
	}},
	{"a page of garbage", func(r *rand.Rand, img image, b []byte) []byte {
		p := img.pick(r, img.pages.Used)
		for i := range img.page() {
			b[p+i] = byte(r.Uint32())
		}
		return b
	}},
	{"two pages swapped", func(r *rand.Rand, img image, b []byte) []byte {
		p, q := img.pick(r, img.pages.Used), img.pick(r, img.pages.Used)
		old := bytes.Clone(b[p : p+img.page()])
		copy(b[p:p+img.page()], b[q:q+img.page()])
		copy(b[q:q+img.page()], old)
		return b
	}},
	{"a page over another", func(r *rand.Rand, img image, b []byte) []byte {
		p, q := img.pick(r, img.pages.Used), img.pick(r, img.pages.Used)
		copy(b[p:p+img.page()], b[q:q+img.page()])
		return b
	}},
	{"a page of before over one in use", func(r *rand.Rand, img image, b []byte) []byte {
		p, q := img.pick(r, img.pages.Used), img.pick(r, img.pages.Free)
		copy(b[p:p+img.page()], b[q:q+img.page()])
		return b
	}},
	{"a branch gone", func(r *rand.Rand, img image, b []byte) []byte {
		p := img.pick(r, img.pages.Branches)
		clear(b[p : p+img.page()])
		return b
	}},
	{"a bit flipped in a branch", func(r *rand.Rand, img image, b []byte) []byte {
		b[img.pick(r, img.pages.Branches)+r.IntN(img.page()/2)] ^= 1 << r.IntN(8)
		return b
	}},
	{"the root gone", func(_ *rand.Rand, img image, b []byte) []byte {
		p := int(img.pages.Root) * img.page()
		clear(b[p : p+img.page()])
		return b
	}},
	{"the root and a meta page gone", func(r *rand.Rand, img image, b []byte) []byte {
		for _, p := range []int{int(img.pages.Root) * img.page(), r.IntN(2) * img.page()} {
			clear(b[p : p+img.page()])
		}
		return b
	}},
	{"the last page cut", func(r *rand.Rand, img image, b []byte) []byte {
		last := int(img.pages.Used[len(img.pages.Used)-1])*img.page() + r.IntN(img.page())
		return b[:last]
	}},
	{"a third cut off", func(r *rand.Rand, img image, b []byte) []byte { return b[:len(b)*2/3+r.IntN(img.page())] }},
	{"both meta pages gone", func(_ *rand.Rand, img image, b []byte) []byte {
		clear(b[:2*img.page()])
		return b
	}},
	{"a meta page gone", func(r *rand.Rand, img image, b []byte) []byte {
		p := r.IntN(2) * img.page()
		clear(b[p : p+img.page()])
		return b
	}},
	{"a bit flipped in a meta page", func(r *rand.Rand, img image, b []byte) []byte {
		b[r.IntN(2)*img.page()+16+r.IntN(64)] ^= 1 << r.IntN(8)
		return b
	}},
	{"the start of the file gone", func(r *rand.Rand, img image, b []byte) []byte {
		for i := range 3*img.page() + r.IntN(img.page()) {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
	{"one page in fifty gone", func(r *rand.Rand, img image, b []byte) []byte {
		for _, id := range img.pages.Used {
			if r.IntN(50) == 0 {
				clear(b[int(id)*img.page():][:img.page()])
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
	imgs := images(t)
	for _, img := range imgs {
		t.Logf("%d kB, %d records, %d pages in use, %d of them branches, %d free; seed %d",
			len(img.data)/1024, len(img.places), len(img.pages.Used), len(img.pages.Branches), len(img.pages.Free), damageSeed)
	}
	replaced := 0
	for i := range n {
		w, img := wounds[i%len(wounds)], imgs[i/len(wounds)%len(imgs)]
		t.Run(fmt.Sprintf("%03d %s", i, w.name), func(t *testing.T) {
			random := rand.New(rand.NewPCG(damageSeed, uint64(1000+i)))
			synctest.Test(t, func(t *testing.T) { // the clock of a box that has forgotten the time
				if treat(t, img, w.deal(random, img, bytes.Clone(img.data))) {
					replaced++
				}
			})
		})
	}
	if replaced == 0 {
		t.Error("no file was replaced: the damage hits nothing")
	}
	t.Logf("%d copies, %d of them replaced", n, replaced)
}

// Where the root does not say any more which frames the file has, what one frame
// holds and a later one deletes stays deleted.
func TestARootThatIsDamagedBringsNothingDeletedBack(t *testing.T) {
	var cases []func()
	for n, img := range images(t)[2:] { // with a longer past
		for _, at := range span(16, 112) {
			cases = append(cases, func() {
				t.Run(fmt.Sprintf("image %d, byte %d", n, at), func(t *testing.T) {
					damaged := bytes.Clone(img.data)
					damaged[int(img.pages.Root)*img.page()+at] ^= 0xff
					synctest.Test(t, func(t *testing.T) { treat(t, img, damaged) })
				})
			})
		}
	}
	some(t, cases)
}

// Whatever bit of a page's head is flipped, the page is known for what it is: all that
// it says is said by its table too, or by what leads to it.
func TestAHeadThatIsDamagedLosesNothing(t *testing.T) {
	img := images(t)[3]
	bits := slices.Concat(span(0, 16), span(64, 72), span(80, 104)) // not the high bytes, which lead out of every file
	var cases []func()
	for name, at := range img.kinds() {
		for _, bit := range bits {
			cases = append(cases, func() {
				t.Run(fmt.Sprintf("%s, byte %d, bit %d", name, bit/8, bit%8), func(t *testing.T) {
					damaged := bytes.Clone(img.data)
					damaged[at+bit/8] ^= 1 << (bit % 8)
					synctest.Test(t, func(t *testing.T) { treat(t, img, damaged) })
				})
			})
		}
	}
	some(t, cases)
}

// span returns the numbers from one to before another.
func span(from, to int) (out []int) {
	for n := from; n < to; n++ {
		out = append(out, n)
	}
	return out
}

// some plays as many cases as there are damaged copies, evenly picked.
func some(t *testing.T, cases []func()) {
	t.Helper()
	for i := 0; i < len(cases); i += 1 + len(cases)/copies(t) {
		cases[i]()
	}
}

// The last row of a page's table says how long the page is: what a damaged one says
// of pages behind it counts for nothing.
func TestALastRowThatIsDamagedClaimsNothing(t *testing.T) {
	var cases []func()
	for n, img := range images(t)[2:] {
		for name, at := range img.kinds() {
			row := at + 16*int(binary.NativeEndian.Uint16(img.data[at+10:]))
			for _, bit := range span(0, 128) {
				cases = append(cases, func() {
					t.Run(fmt.Sprintf("image %d, %s, byte %d, bit %d", n, name, bit/8, bit%8), func(t *testing.T) {
						damaged := bytes.Clone(img.data)
						damaged[row+bit/8] ^= 1 << (bit % 8)
						synctest.Test(t, func(t *testing.T) { treat(t, img, damaged) })
					})
				})
			}
		}
	}
	some(t, cases)
}

// kinds returns where a page of each kind begins, those that the file has.
func (img image) kinds() map[string]int {
	kinds := map[string]int{"a branch": int(img.pages.Branches[0]) * img.page(), "the root": int(img.pages.Root) * img.page()}
	for _, id := range img.pages.Used {
		at := int(id) * img.page()
		if head := img.data[at:]; binary.NativeEndian.Uint64(head) != id || head[8] != 2 || id == img.pages.Root {
			continue
		}
		kinds[fmt.Sprintf("a leaf of %d pages", 1+img.data[at+12])] = at
	}
	return kinds
}

// A pointer that leads to what a page was before leads to nothing damaged, and one that
// leads into another leaf is not that leaf's fault. What was meant is found all the same.
func TestAPointerToAnotherPage(t *testing.T) {
	found := 0
	var cases []func()
	for n, img := range images(t) {
		for _, d := range img.detours {
			cases = append(cases, func() {
				t.Run(fmt.Sprintf("image %d, %d at %d", n, d.To, d.At), func(t *testing.T) {
					damaged := bytes.Clone(img.data)
					binary.NativeEndian.PutUint64(damaged[d.At:], d.To)
					synctest.Test(t, func(t *testing.T) {
						if treat(t, img, damaged) { // what a copy of the same leaf leads to is no damage
							found++
						}
					})
				})
			})
		}
	}
	some(t, cases)
	if found == 0 {
		t.Error("none was found")
	}
}

// A page that is gone takes no other one with it that lies behind it.
func TestPagesBesideEachOtherThatAreGone(t *testing.T) {
	img := images(t)[3]
	var cases []func()
	for _, n := range []int{2, 3} {
		for _, first := range img.pages.Used[:len(img.pages.Used)-n] {
			cases = append(cases, func() {
				t.Run(fmt.Sprintf("%d from %d on", n, first), func(t *testing.T) {
					damaged := bytes.Clone(img.data)
					clear(damaged[int(first)*img.page() : (int(first)+n)*img.page()])
					synctest.Test(t, func(t *testing.T) { treat(t, img, damaged) })
				})
			})
		}
	}
	some(t, cases)
}

// treat opens a damaged copy and compares it with the truth.
func treat(t *testing.T, img image, damaged []byte) (replaced bool) {
	t.Helper()
	path := dataFile(t)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".journal", img.journal, 0o600); err != nil {
		t.Fatal(err)
	}
	if img.mark != nil {
		if err := os.WriteFile(path+".clean", img.mark, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := agedOptions(path)
	o.Check = checkInChild
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db, err := queue.Open(ctx, o)
	if err != nil {
		t.Fatalf("it does not open: %v", err)
	}
	defer func() { _ = db.Close() }()
	whole := wholeOf(img, damaged, img.journal)
	replaced = db.Storage().State == edgeagent.StorageSalvaged
	said(t, db, path, damaged, replaced)
	sameAlarms(t, db, img, whole)
	sameJobs(t, db, img, whole)
	sameEvents(t, db, img, whole, replaced)
	return replaced
}

// wholeOf returns the records whose bytes are as they were.
func wholeOf(img image, damaged, journal []byte) map[string]bool {
	whole := make(map[string]bool, len(img.places))
	for name, p := range img.places {
		if p.Journal {
			whole[name] = bytes.Equal(img.journal[p.At:p.To], journal[p.At:p.To])
			continue
		}
		whole[name] = p.To <= int64(len(damaged)) && bytes.Equal(img.data[p.At:p.To], damaged[p.At:p.To])
	}
	return whole
}

// said checks that the damaged file is kept as it was, and the page says so.
func said(t *testing.T, db *queue.DB, path string, damaged []byte, replaced bool) {
	t.Helper()
	keptFiles, err := filepath.Glob(path + ".corrupt-*Z")
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
