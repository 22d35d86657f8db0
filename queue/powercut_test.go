package queue_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// Two children of the power-cut rig (e2e/powercut): one works on a data file
// and writes down each promise at the moment it is kept, the other judges what
// a power cut left.
const (
	roleCut   = "cut"
	roleJudge = "judge"
)

// cut works until it is killed, or until its input ends: then it closes the
// file as a stopped agent does.
func cut() int {
	o := options(os.Getenv("QUEUE_TEST_FILE"))
	o.BootID = os.Getenv("QUEUE_TEST_BOOT")
	acks, err := os.OpenFile(os.Getenv("QUEUE_TEST_ACKS"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return complain(err)
	}
	db, err := queue.Open(context.Background(), o)
	if err != nil {
		return complain(err)
	}
	promise := func(format string, args ...any) {
		if _, err := fmt.Fprintf(acks, format+"\n", args...); err != nil { // one write each: never half a promise
			os.Exit(complain(err))
		}
	}
	promise("OPEN")
	fmt.Println("OPEN")
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return complain(errors.Join(cutLoops(ctx, db, promise), db.Close()))
}

func complain(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// cutLoops raises, diagnoses and sends until ctx ends.
func cutLoops(ctx context.Context, db *queue.DB, promise func(string, ...any)) error {
	steps := []func() error{
		func() error { return recordOne(db, fmt.Sprintf("line-%d", rand.IntN(500)), promise) },
		func() error { return recordOne(db, "line-0", promise) },
		func() error { return workOne(db, promise) },
		func() error { return workOne(db, promise) },
		func() error { return sendNoted(db, promise) },
	}
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps {
		wg.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = step()
				time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond) // a plant, and alarms that come alone among others
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sendNoted promises the bytes that it sent, then what was confirmed: a number
// that has left the site must never come back with other bytes.
func sendNoted(db *queue.DB, promise func(string, ...any)) error {
	events, err := db.Pending("historian", 50, 1<<20)
	if err != nil || len(events) == 0 {
		return err
	}
	r := edgeagent.Receipt{Epoch: events[0].Epoch, Contig: make(map[edgeagent.Stream]uint64)}
	for _, e := range events {
		promise("SENT %s %d %s", name(e), e.Sequence, sum(e))
		r.Contig[e.Stream] = e.Sequence
	}
	if err := db.Confirm(context.Background(), "historian", r); err != nil {
		return err
	}
	for s, n := range r.Contig {
		promise("CONFIRMED %s/%s %d", r.Epoch, s, n)
	}
	return nil
}

// judge reads folders, one a line, and answers each with one line: ok, or what
// is lost of the promises that lie beside the data file.
func judge() int {
	folders := bufio.NewScanner(os.Stdin)
	for folders.Scan() {
		verdict := "ok"
		if err := judgeFolder(folders.Text()); err != nil {
			first, rest, _ := strings.Cut(err.Error(), "\n")
			verdict = fmt.Sprintf("%s (and %d lines more)", first, len(strings.Split(rest, "\n")))
		}
		fmt.Println(verdict)
	}
	return 0
}

func judgeFolder(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "promises"))
	if err != nil {
		return err
	}
	o := options(filepath.Join(dir, "agent.db"))
	o.BootID = "after the cut"
	db, err := queue.Open(context.Background(), o)
	if err != nil {
		return err
	}
	errs := []error{judgeStorage(db)}
	found, err := readStreams(db)
	errs = append(errs, err, judgeHalves(db, found))
	for line := range strings.Lines(string(text)) {
		errs = append(errs, found.judgePromise(db, strings.Fields(line)))
	}
	errs = append(errs, judgeFinish(db))
	found, err = readStreams(db)
	errs = append(errs, err, judgeHalves(db, found))
	return errors.Join(append(errs, db.Close())...)
}

// judgeStorage: a power cut is no damage. What was flushed is whole.
func judgeStorage(db *queue.DB) error {
	if s := db.Storage(); s.State != edgeagent.StorageOK {
		return fmt.Errorf("storage is %s: %+v", s.State, s)
	}
	return nil
}

func (f streams) judgePromise(db *queue.DB, said []string) error {
	switch {
	case len(said) == 2 && said[0] == "RAISED":
		_, err := db.Alarm(edgeagent.ID(said[1]))
		return err
	case len(said) == 2 && said[0] == "COMPLETED":
		j, err := db.Job(edgeagent.ID(said[1]))
		if err == nil && (j.State != edgeagent.JobCompleted || j.Diagnosis == nil || j.Attempts != 1) {
			err = fmt.Errorf("completed job %s reads %s after %d attempts", said[1], j.State, j.Attempts)
		}
		return err
	case len(said) == 4 && said[0] == "SENT":
		if sum := f.sums[said[1]+" "+said[2]]; sum != said[3] {
			return fmt.Errorf("%s %s was sent as %s and is %q now", said[1], said[2], said[3], sum)
		}
	case len(said) == 3 && said[0] == "CONFIRMED":
		if first, waits := f.waiting[said[1]]; waits && first <= number(said[2]) {
			return fmt.Errorf("%s is confirmed up to %s and %d waits again", said[1], said[2], first)
		}
	}
	return nil // OPEN, LEASED: nothing that must still be so
}

func number(text string) (n uint64) {
	_, _ = fmt.Sscan(text, &n) // zero is no number of a stream
	return n
}

// judgeFinish works off what is left, and begins anew: the file is not only
// readable. Nothing that a cut interrupted has cost an attempt.
func judgeFinish(db *queue.DB) error {
	quiet := func(string, ...any) {}
	if err := recordOne(db, "line-new", quiet); err != nil {
		return err
	}
	for {
		l, err := db.Lease(context.Background())
		if err != nil || l == nil {
			return err
		}
		if l.Attempt != 1 {
			return fmt.Errorf("job %s is at attempt %d without one that ended", l.Job, l.Attempt)
		}
		if err := db.Complete(context.Background(), *l, answer("after the cut")); err != nil {
			return err
		}
	}
}

// streams is what the outbox holds.
type streams struct {
	sums    map[string]string // epoch/stream and number → checksum of the bytes
	waiting map[string]uint64 // epoch/stream → first number that is not confirmed
	about   map[edgeagent.EventType]map[edgeagent.ID]int
}

// readStreams reads all events: numbers from 1 without a hole, each id once.
func readStreams(db *queue.DB) (streams, error) {
	f := streams{make(map[string]string), make(map[string]uint64), make(map[edgeagent.EventType]map[edgeagent.ID]int)}
	ids := make(map[string]bool)
	for _, stream := range edgeagent.Streams {
		last := db.Backlog("historian").Next[stream] - 1
		for want := uint64(1); want <= last; {
			some, err := db.Range(db.Epoch(), edgeagent.Range{Stream: stream, From: want, To: last})
			if err != nil || len(some) == 0 {
				return f, errors.Join(err, fmt.Errorf("%s %d of %d is missing", stream, want, last))
			}
			for _, e := range some {
				if e.Sequence != want || ids[e.ID] {
					return f, fmt.Errorf("%s: %d with id %s stands where %d should, or a second time", stream, e.Sequence, e.ID, want)
				}
				ids[e.ID] = true
				want++
				f.note(e)
			}
		}
	}
	waiting, err := db.Pending("historian", 1<<20, 1<<30)
	for _, e := range slices.Backward(waiting) {
		f.waiting[name(e)] = e.Sequence
	}
	return f, err
}

func name(e edgeagent.Outgoing) string { return string(e.Epoch) + "/" + string(e.Stream) }

func sum(e edgeagent.Outgoing) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(e.Body)) }

// note keeps what an event is and which alarms it is about.
func (f streams) note(e edgeagent.Outgoing) {
	f.sums[fmt.Sprint(name(e), " ", e.Sequence)] = sum(e)
	if f.about[e.Type] == nil {
		f.about[e.Type] = make(map[edgeagent.ID]int)
	}
	for _, id := range alarmsIn(e.Body) {
		f.about[e.Type][id]++
	}
}

// alarmsIn returns the alarms of an event: itself, or those of its job.
func alarmsIn(body []byte) []edgeagent.ID {
	var e struct {
		Type edgeagent.EventType
		Data struct {
			ID     edgeagent.ID
			Alarms []edgeagent.ID
		}
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return nil // then its alarm misses its event, which is said
	}
	if e.Type.Stream() == edgeagent.StreamAlarm {
		return []edgeagent.ID{e.Data.ID}
	}
	return e.Data.Alarms
}

// judgeHalves: an alarm, its job and its events came in one commit.
func judgeHalves(db *queue.DB, f streams) error {
	for id, n := range f.about[edgeagent.EventDiagnosisCompleted] {
		if n != 1 {
			return fmt.Errorf("alarm %s is in %d diagnoses", id, n)
		}
	}
	filter := queue.AlarmFilter{State: "history", Limit: 1000}
	for {
		some, next, err := db.Alarms(filter)
		if err != nil {
			return err
		}
		for _, a := range some {
			if n := f.about[edgeagent.EventAlarmRaised][a.ID]; n != 1 {
				return fmt.Errorf("alarm %s has %d alarm.raised", a.ID, n)
			}
			j, err := db.Job(a.Job)
			if err != nil {
				return fmt.Errorf("the job of alarm %s: %w", a.ID, err)
			}
			if done := f.about[edgeagent.EventDiagnosisCompleted][a.ID]; (done == 1) != (j.State == edgeagent.JobCompleted) {
				return fmt.Errorf("alarm %s: its job is %s, with %d diagnosis.completed", a.ID, j.State, done)
			}
		}
		if filter.After = next; next == "" {
			return nil
		}
	}
}
