package queue_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

const rolePeople = "people"

func peopleOptions(path string) queue.Options {
	o := outsideOptions(path)
	o.CrashCostUSD = 0.01
	return o
}

// people is a child whose answers are reviewed, judged and confirmed until it is
// killed.
func people() int {
	o := peopleOptions(os.Getenv("QUEUE_TEST_FILE"))
	o.BootID = os.Getenv("QUEUE_TEST_BOOT")
	db, err := queue.Open(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say := acknowledger()
	say("OPEN")
	go until(func() error { // other commits, for these to share and to be cut off in
		return recordOne(db, "line-other", func(string, ...any) {})
	})
	until(func() error { return judgeOne(db, say) })
	return 1
}

// judgeOne takes a job through all that people and a better provider do to it.
func judgeOne(db *queue.DB, say func(string, ...any)) error {
	ctx := context.Background()
	if _, err := db.Record(ctx, []edgeagent.Transition{raise("L", fmt.Sprint("C", rand.IntN(5)), 1)}); err != nil {
		return err
	}
	l, err := db.Lease(ctx)
	if err != nil || l == nil {
		return err
	}
	if err := db.Complete(ctx, *l, by("local", "qwen", "dirty lens")); err != nil {
		return err
	}
	say("ANSWERED %s", l.Job)
	again, err := db.Reviewable()
	if err != nil || len(again) == 0 {
		return err
	}
	id := again[0].ID // one that a kill cut off comes first
	if _, err := db.BeginReview(ctx, id, "cloud", true); err != nil {
		return err
	}
	say("ASKED %s", id)
	if err := db.Review(ctx, id, second(0.01)); err != nil {
		return err
	}
	say("REVIEWED %s", id)
	verdict := []edgeagent.Verdict{"right", "partly", "wrong"}[rand.IntN(3)]
	for range 2 { // and changes its mind
		if err := db.Feedback(ctx, id, edgeagent.Feedback{Verdict: verdict, Cause: "loose plug", By: "ann"}); err != nil {
			return err
		}
		verdict = edgeagent.VerdictWrong
	}
	say("JUDGED %s", id)
	if err := db.ConfirmFeedback(ctx, id, "eva"); err != nil {
		return err
	}
	say("CONFIRMED %s", id)
	return nil
}

// heard is what was said of each job: how often it was asked about, and what was
// acknowledged.
type heard struct {
	asked                       int
	reviewed, judged, confirmed bool
}

func TestKillMinusNineWhilePeopleJudge(t *testing.T) {
	path := dataFile(t)
	said := make(map[edgeagent.ID]*heard)
	random := rand.New(rand.NewPCG(killSeed, 7))
	const kills = 15
	reviews := func() bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(said)), func(h *heard) bool { return h.reviewed })
	}
	for round := 0; round < kills || !reviews() && round < kills+lateKills; round++ {
		cmd, lines := child(t, rolePeople, path, fmt.Sprint("boot", round))
		killer := time.AfterFunc(20*time.Millisecond+afterwards(random, round, kills), func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			if round%3 == 0 && round < kills && strings.HasPrefix(lines.Text(), "ASKED") {
				_ = cmd.Process.Kill() // in the middle of it, as far as that can be aimed at
			}
			hearPeople(t, said, strings.Fields(lines.Text()))
		}
		killer.Stop()
		_ = cmd.Wait() // killed: always an error
	}
	db := open(t, peopleOptions(path))
	reviewed, cut := verifyPeople(t, db, said)
	if reviewed == 0 {
		t.Error("the children reviewed nothing: this test proved nothing")
	}
	t.Logf("%d jobs, %d reviewed, %d asked about twice", len(said), reviewed, cut)
}

func hearPeople(t *testing.T, said map[edgeagent.ID]*heard, f []string) {
	t.Helper()
	if len(f) != 2 {
		return
	}
	id := edgeagent.ID(f[1])
	if said[id] == nil {
		said[id] = &heard{}
	}
	h := said[id]
	switch f[0] {
	case "ASKED":
		if h.asked++; h.reviewed || h.asked > 2 {
			t.Errorf("job %s is asked about for the %d. time, reviewed: %v", id, h.asked, h.reviewed)
		}
	case "REVIEWED":
		h.reviewed = true
	case "JUDGED":
		h.judged = true
	case "CONFIRMED":
		h.confirmed = true
	}
}

// verifyPeople holds the file to what was said, and its counts to its jobs.
func verifyPeople(t *testing.T, db *queue.DB, said map[edgeagent.ID]*heard) (reviewed, cut int) {
	t.Helper()
	superseded := make(map[edgeagent.ID]int)
	for _, e := range wholeStream(t, db, edgeagent.StreamDiagnosis) {
		if e.Type == edgeagent.EventDiagnosisSuperseded {
			superseded[jobOf(t, e).ID]++
		}
	}
	counted := map[edgeagent.Verdict]int{}
	for _, j := range jobs(t, db, edgeagent.JobCompleted) {
		if n := superseded[j.ID]; n != len(j.Reviews) || n > 1 {
			t.Errorf("job %s has %d reviews and %d events of them", j.ID, len(j.Reviews), n)
		}
		if j.Feedback != nil {
			counted[j.Feedback.Verdict]++
		}
		h := said[j.ID]
		if h == nil {
			continue
		}
		if h.reviewed && len(j.Reviews) != 1 || h.judged && j.Feedback == nil || h.confirmed && j.Feedback.ConfirmedBy == "" {
			t.Errorf("job %s: of %+v is left: %d reviews, feedback %+v", j.ID, *h, len(j.Reviews), j.Feedback)
		}
		if h.reviewed {
			reviewed++
		}
		if h.asked == 2 {
			cut++
		}
	}
	var sum edgeagent.Accuracy
	for _, a := range db.Accuracy() {
		sum.Right, sum.Partly, sum.Wrong = sum.Right+a.Right, sum.Partly+a.Partly, sum.Wrong+a.Wrong
	}
	if sum.Right != counted["right"] || sum.Partly != counted["partly"] || sum.Wrong != counted["wrong"] {
		t.Errorf("counted %+v, the jobs say %v", sum, counted)
	}
	return reviewed, cut
}
