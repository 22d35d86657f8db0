package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

const (
	kills      = 30
	killSeed   = 20261122
	roleLife   = "life"
	roleHolder = "holder"
	roleCheck  = "check"
)

// playRole is what a child does: it works on a data file until it is killed.
func playRole(role string) int {
	switch role {
	case roleCheck:
		return check(os.Getenv("QUEUE_TEST_FILE"))
	case roleCut:
		return cut()
	case roleJudge:
		return judge()
	case roleNarrow:
		return narrow()
	case rolePeople:
		return people()
	}
	o := options(os.Getenv("QUEUE_TEST_FILE"))
	o.BootID = os.Getenv("QUEUE_TEST_BOOT")
	db, err := queue.Open(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say := acknowledger()
	say("OPEN")
	if role == roleHolder {
		select {}
	}
	for range 3 { // many lines: on few of them this would be a flood, and wait
		go until(func() error { return recordOne(db, fmt.Sprintf("line-%d", rand.IntN(500)), say) })
	}
	for range 2 {
		go until(func() error { return workOne(db, say) })
	}
	go until(func() error {
		if rand.IntN(8) > 0 { // the others write meanwhile
			return db.Rest(context.Background())
		}
		return db.SettleBeside(context.Background())
	})
	until(func() error { return sendSome(db, say) })
	return 1
}

func check(path string) int {
	if err := queue.CheckFile(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// acknowledger prints what was committed, one write a line: the parent must not
// see half of one.
func acknowledger() func(string, ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
}

// until repeats a step for as long as it works; a child whose step fails ends.
func until(step func() error) {
	for {
		if err := step(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func recordOne(db *queue.DB, line string, say func(string, ...any)) error {
	up := raise(line, "A1", 1+rand.IntN(4))
	out, err := db.Record(context.Background(), []edgeagent.Transition{up})
	if err != nil {
		return err
	}
	say("RAISED %s", out[0].ID)
	return nil
}

func workOne(db *queue.DB, say func(string, ...any)) error {
	l, err := db.Lease(context.Background())
	if err != nil || l == nil {
		return err
	}
	say("LEASED %s", l.Job)
	if err := db.Complete(context.Background(), *l, answer("done")); err != nil {
		return err
	}
	say("COMPLETED %s", l.Job)
	return nil
}

func sendSome(db *queue.DB, say func(string, ...any)) error {
	events, err := db.Pending("historian", 50, 1<<20)
	if err != nil || len(events) == 0 {
		return err
	}
	r := edgeagent.Receipt{Epoch: events[0].Epoch, Contig: make(map[edgeagent.Stream]uint64)}
	for _, e := range events {
		r.Contig[e.Stream] = e.Sequence
	}
	if err := db.Confirm(context.Background(), "historian", r); err != nil {
		return err
	}
	for s, n := range r.Contig {
		say("CONFIRMED %s %d", s, n)
	}
	return nil
}

// child starts this test binary in a role and returns its lines.
func child(t *testing.T, role, path, boot string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "QUEUE_TEST_ROLE="+role, "QUEUE_TEST_FILE="+path, "QUEUE_TEST_BOOT="+boot)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "OPEN" {
		t.Fatalf("the child did not open the file: %q", lines.Text())
	}
	return cmd, lines
}

// promises is what children acknowledged before they were killed.
type promises struct {
	raised, completed map[edgeagent.ID]bool
	confirmed         map[edgeagent.Stream]uint64
}

func (p promises) hear(t *testing.T, line string) {
	t.Helper()
	f := strings.Fields(line)
	switch {
	case len(f) == 2 && f[0] == "RAISED":
		p.raised[edgeagent.ID(f[1])] = true
	case len(f) == 2 && f[0] == "LEASED":
		if p.completed[edgeagent.ID(f[1])] {
			t.Errorf("job %s was completed and is leased again: its answer would be paid twice", f[1])
		}
	case len(f) == 2 && f[0] == "COMPLETED":
		p.completed[edgeagent.ID(f[1])] = true
	case len(f) == 3 && f[0] == "CONFIRMED":
		var n uint64
		if _, err := fmt.Sscan(f[2], &n); err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		p.confirmed[edgeagent.Stream(f[1])] = max(n, p.confirmed[edgeagent.Stream(f[1])])
	}
}

// lateKills is how many children more get longer and longer, when those of a slow
// disk were killed before they had done anything.
const lateKills = 10

// afterwards is how long the child of a round lives.
func afterwards(random *rand.Rand, round, kills int) time.Duration {
	if late := round - kills; late >= 0 {
		return time.Duration(1+late) * time.Second
	}
	return time.Duration(1+random.IntN(100)) * time.Millisecond
}

func TestKillMinusNineLosesNothing(t *testing.T) {
	path := dataFile(t)
	p := promises{make(map[edgeagent.ID]bool), make(map[edgeagent.ID]bool), make(map[edgeagent.Stream]uint64)}
	random := rand.New(rand.NewPCG(killSeed, 1))
	worked := func() bool { return len(p.completed) > 0 && p.confirmed[edgeagent.StreamDiagnosis] > 0 }
	for round := 0; round < kills || !worked() && round < kills+lateKills; round++ {
		cmd, lines := child(t, roleLife, path, fmt.Sprint("boot", round))
		killer := time.AfterFunc(afterwards(random, round, kills), func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			p.hear(t, lines.Text())
		}
		killer.Stop()
		_ = cmd.Wait() // killed: always an error
		p.verify(t, path)
		if t.Failed() {
			t.Fatalf("after kill %d of %d, seed %d", round+1, kills, killSeed)
		}
	}
	if !worked() {
		t.Fatal("the children did no work: this test proved nothing")
	}
	t.Logf("%d alarms, %d diagnoses, confirmed %v", len(p.raised), len(p.completed), p.confirmed)
	everyAlarmIsAnsweredOnce(t, path, p)
}

// verify opens the file after a kill and asks for every promise.
func (p promises) verify(t *testing.T, path string) {
	t.Helper()
	o := options(path)
	o.BootID = "verify"
	db, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // the next child has to check the file itself
	defer func() { _ = os.Remove(path + ".clean") }()
	if s := db.Storage(); s.State != edgeagent.StorageOK {
		t.Errorf("storage = %+v, want ok", s)
	}
	for id := range p.raised {
		if _, err := db.Alarm(id); err != nil {
			t.Errorf("an acknowledged alarm is gone: %v", err)
		}
	}
	for id := range p.completed {
		if j, err := db.Job(id); err != nil || j.State != edgeagent.JobCompleted || j.Diagnosis == nil {
			t.Errorf("completed job %s reads %s, %v", id, j.State, err)
		}
	}
	for s, n := range p.confirmed {
		for _, e := range pending(t, db, "historian") {
			if e.Stream == s && e.Sequence <= n {
				t.Errorf("%s %d was confirmed up to %d and is pending again", s, e.Sequence, n)
			}
		}
	}
}

// everyAlarmIsAnsweredOnce finishes what the kills left over and reads all streams.
func everyAlarmIsAnsweredOnce(t *testing.T, path string, p promises) {
	t.Helper()
	db := open(t, options(path))
	for _, j := range jobs(t, db, edgeagent.JobPending) {
		if err := db.RetryJob(t.Context(), j.ID, "test"); err != nil { // those that a flood delayed
			t.Fatal(err)
		}
	}
	for {
		l, err := db.Lease(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if l == nil {
			break
		}
		if err := db.Complete(t.Context(), *l, answer("after the kills")); err != nil {
			t.Fatal(err)
		}
	}
	answers := make(map[edgeagent.ID]int)
	for _, e := range wholeStream(t, db, edgeagent.StreamDiagnosis) {
		if e.Type != edgeagent.EventDiagnosisCompleted {
			t.Errorf("diagnosis %d is %s", e.Sequence, e.Type)
		}
		for _, a := range jobOf(t, e).Alarms {
			answers[a]++
		}
	}
	raises := make(map[edgeagent.ID]int)
	for _, e := range wholeStream(t, db, edgeagent.StreamAlarm) {
		raises[alarmOf(t, e).ID]++
	}
	for id := range p.raised {
		if raises[id] != 1 || answers[id] != 1 {
			t.Errorf("alarm %s: %d alarm.raised and %d diagnosis.completed, want 1 and 1", id, raises[id], answers[id])
		}
	}
}
