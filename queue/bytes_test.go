//go:build linux

package queue_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"edgeagent"
	"edgeagent/queue"
)

// What flash has to bear, in bytes handed to write for an alarm's whole life.
// The bounds are a tenth above what is measured: who passes one has made every
// box write more.
const (
	mostAlone = 31_500
	mostStorm = 16_200
	mostDrain = 32 << 10 // a commit of a file from which a hundred thousand records are gone
)

// fullSize is an alarm as alarms are: 12 tags, numbers of many digits, a hint.
func fullSize(r *rand.Rand, line string) edgeagent.Transition {
	up := raise(line, fmt.Sprint("F", r.IntN(300)), 2)
	up.Evidence.Tags, up.Evidence.Moved = measured(r, 4), measured(r, 8)
	up.Alarm.Hint.Checks = []string{prose(r, 90), prose(r, 90), prose(r, 90), prose(r, 90)}
	return up
}

func measured(r *rand.Rand, n int) []edgeagent.Feature {
	out := make([]edgeagent.Feature, n)
	for i := range out {
		low, high, mean, slope := r.Float64(), 100*r.Float64(), 50*r.Float64(), r.NormFloat64()
		out[i] = edgeagent.Feature{
			Tag: fmt.Sprint("filler.", prose(r, 9), i), Value: edgeagent.Float(high), EngUnit: "%", Quality: edgeagent.QualityGood,
			AgeS: r.Float64(), Min: &low, Max: &high, Mean: &mean, SlopePerMin: &slope, Changes: r.IntN(600), Moved: r.Float64(),
		}
	}
	return out
}

var words = strings.Fields("level sensor filler reads above its limit while flow stays normal check valve lens dirty pump belt motor current")

// prose repeats itself as much as texts do, and no more.
func prose(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %s %s %d. ", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(1000))
	}
	return b.String()[:n]
}

// fullAnswer has a prompt of 3 KB and an answer of 1 KB.
func fullAnswer(r *rand.Rand) edgeagent.Outcome {
	o := answer(prose(r, 200))
	o.Diagnosis.Checks = []string{prose(r, 150), prose(r, 150), prose(r, 150)}
	o.Prompt, o.Raw = prose(r, 3000), prose(r, 1000)
	return o
}

func TestBytesOfAnAlarmAlone(t *testing.T) {
	r, db := rand.New(rand.NewPCG(1, 2)), open(t, options(dataFile(t)))
	const lives = 60
	before, commits := written(t, db), db.Storage().Commits
	for i := range uint64(lives) {
		record(t, db, fullSize(r, fmt.Sprint("line-", i)))
		if err := db.Complete(t.Context(), lease(t, db), fullAnswer(r)); err != nil {
			t.Fatal(err)
		}
		if err := db.Confirm(t.Context(), "historian", receipt(db, i+1, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	each := (written(t, db) - before) / lives
	t.Logf("%d bytes an alarm, %d commits", each, (db.Storage().Commits-commits)/lives)
	if each > mostAlone {
		t.Errorf("%d bytes are written for an alarm alone, want at most %d", each, mostAlone)
	}
	if got := db.Storage().Commits - commits; got != 4*lives {
		t.Errorf("%d commits for %d alarms, want four each", got, lives)
	}
}

func TestBytesOfAStorm(t *testing.T) {
	r, o := rand.New(rand.NewPCG(3, 4)), options(filepath.Join(t.TempDir(), "agent.db"))
	o.MaxSize = 1 << 30
	db := open(t, o)
	const alarms = 1024
	ups, answers := make([]edgeagent.Transition, alarms), make([]edgeagent.Outcome, alarms)
	for i := range ups {
		ups[i], answers[i] = fullSize(r, fmt.Sprint("line-", i)), fullAnswer(r)
	}
	before := written(t, db)
	together(t, db, ups, answers)
	for n := uint64(128); n <= alarms; n += 128 {
		if err := db.Confirm(t.Context(), "historian", receipt(db, n, n)); err != nil {
			t.Fatal(err)
		}
	}
	if each := (written(t, db) - before) / alarms; each > mostStorm {
		t.Errorf("%d bytes are written for an alarm of a storm, want at most %d", each, mostStorm)
	} else {
		t.Logf("%d bytes an alarm", each)
	}
}

// together records alarms and works them off, always 64 at once: whoever is
// released by a commit shares the next one.
func together(t *testing.T, db *queue.DB, ups []edgeagent.Transition, answers []edgeagent.Outcome) {
	t.Helper()
	step := func(do func(i int) error) {
		for from := 0; from < len(ups); from += 64 {
			held, release := make(chan struct{}), make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				if err := db.Hold(t.Context(), held, release); err != nil {
					t.Error(err)
				}
			})
			<-held
			for i := from; i < from+64; i++ {
				all.Go(func() {
					if err := do(i); err != nil {
						t.Error(err)
					}
				})
			}
			db.Await(64)
			close(release)
			all.Wait()
		}
	}
	step(func(i int) error { _, err := db.Record(t.Context(), ups[i:i+1]); return err })
	leases := make([]*edgeagent.Lease, len(ups))
	step(func(i int) (err error) { leases[i], err = db.Lease(t.Context()); return err })
	step(func(i int) error { return db.Complete(t.Context(), *leases[i], answers[i]) })
}

// The free list is not written: however much was deleted, a commit stays small,
// its share of the checkpoint included.
func TestBytesOfACommitAfterADrain(t *testing.T) {
	o := options(dataFile(t))
	o.MaxSize = 1 << 30
	db := open(t, o)
	if err := errors.Join(db.FillAndDrain(t.Context(), 100_000), db.Checkpoint(t.Context())); err != nil {
		t.Fatal(err)
	}
	const commits = 10
	before := written(t, db)
	for i := range commits {
		if err := db.SaveDevice(t.Context(), edgeagent.DeviceMemory{Device: fmt.Sprint("device-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := db.Storage(); s.FreeBytes < 50<<20 {
		t.Fatalf("%d bytes are free: nothing was drained", s.FreeBytes)
	}
	each := (written(t, db) - before) / commits
	if t.Logf("%d bytes a commit", each); each > mostDrain {
		t.Errorf("%d bytes a commit after a drain, want at most %d", each, mostDrain)
	}
}

// written returns how many bytes this process has handed to the kernel, when db has
// nothing left to do.
func written(t *testing.T, db *queue.DB) (n uint64) {
	t.Helper()
	if err := db.Rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "wchar:")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
