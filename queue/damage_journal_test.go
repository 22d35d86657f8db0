package queue_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"

	"edgeagent"
	"edgeagent/queue"
)

// journalWounds are dealt to frames that were acknowledged, and never to the last
// one: whether that was written whole nobody can know.
var journalWounds = []struct {
	name string
	deal func(r *rand.Rand, journal []byte, frames []int)
}{
	{"a bit flipped", func(r *rand.Rand, j []byte, at []int) { j[within(r, at)] ^= 1 << r.IntN(8) }},
	{"a block zeroed", func(r *rand.Rand, j []byte, at []int) { clear(j[within(r, at)&^4095:][:4096]) }},
	{"a sector of garbage", func(r *rand.Rand, j []byte, at []int) {
		for i, from := 0, within(r, at)&^511; i < 512; i++ {
			j[from+i] = byte(r.Uint32())
		}
	}},
	{"two frames swapped", func(r *rand.Rand, j []byte, at []int) {
		x, y := j[within(r, at)&^4095:][:4096], j[within(r, at)&^4095:][:4096]
		for i := range x {
			x[i], y[i] = y[i], x[i]
		}
	}},
	{"some frames gone", func(r *rand.Rand, j []byte, at []int) {
		for range 5 {
			clear(j[within(r, at)&^4095:][:4096])
		}
	}},
}

// within returns a place in any frame but the last.
func within(r *rand.Rand, frames []int) int {
	n := len(frames) - 1
	return frames[0] + r.IntN(frames[n]-frames[0])
}

// A journal with holes opens; what is whole in it and in the data file is there
// as it was last, and no event is lost in silence or has other bytes.
func TestDamagedJournals(t *testing.T) {
	var img image
	synctest.Test(t, func(t *testing.T) { img = imagesOf(t, 1)[0] })
	frames := framesOf(img.journal)
	t.Logf("%d frames", len(frames))
	for i := range max(25, copies(t)/4) {
		wound := journalWounds[i%len(journalWounds)]
		t.Run(fmt.Sprintf("%03d %s", i, wound.name), func(t *testing.T) {
			journal := bytes.Clone(img.journal)
			wound.deal(rand.New(rand.NewPCG(damageSeed, uint64(i))), journal, frames)
			synctest.Test(t, func(t *testing.T) { treatJournal(t, img, journal) })
		})
	}
}

func treatJournal(t *testing.T, img image, journal []byte) {
	t.Helper()
	path := dataFile(t)
	for name, content := range map[string][]byte{path: img.data, path + ".journal": journal} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := agedOptions(path)
	o.Check = checkInChild
	db := open(t, o)
	whole := wholeOf(img, img.data, journal)
	replaced := db.Storage().State == edgeagent.StorageSalvaged
	said(t, db, path, img.data, replaced)
	wholeAlarms(t, db, img, whole)
	sameEvents(t, db, img, whole, replaced)
}

// wholeAlarms checks what every frame is left of. Of others the data file may have
// what was true before.
func wholeAlarms(t *testing.T, db *queue.DB, img image, whole map[string]bool) {
	t.Helper()
	got := ask(t, db)
	for id := range got.alarms {
		if _, ok := img.truth.alarms[id]; !ok {
			t.Errorf("alarm %s was never there", id)
		}
	}
	for id, want := range img.truth.alarms {
		if a, ok := got.alarms[id]; whole["a"+string(id)] && (!ok || !sameJSON(a, want)) {
			t.Errorf("alarm %s is whole and reads\n%+v\nwant\n%+v", id, a, want)
		}
	}
	for id, want := range img.truth.jobs {
		if j, ok := got.jobs[id]; allWhole(whole, string(id)) && whole["j"+string(id)] && want.State != edgeagent.JobRunning && (!ok || !sameJSON(j, want)) {
			t.Errorf("job %s is whole and reads\n%+v\nwant\n%+v", id, j, want)
		}
	}
}
