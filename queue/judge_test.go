package queue_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"edgeagent"
	"edgeagent/queue"
)

// judge reads folders, one a line, and answers each with one line: ok, or what
// is lost of the promises that lie beside the data file.
func judge() int {
	folders := bufio.NewScanner(os.Stdin)
	for folders.Scan() {
		verdict := "ok"
		if err := judgeFolder(folders.Text()); err != nil {
			verdict = firstLine(err)
		}
		fmt.Println(verdict)
	}
	return 0
}

func firstLine(err error) string {
	first, rest, more := strings.Cut(err.Error(), "\n")
	if !more {
		return first
	}
	return fmt.Sprintf("%s (and %d lines more)", first, strings.Count(rest, "\n")+1)
}

func judgeFolder(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "promises"))
	if err != nil {
		return err
	}
	o := forAges(options(filepath.Join(dir, "agent.db")))
	o.BootID = "after the cut"
	db, err := queue.Open(context.Background(), o)
	if err != nil {
		return err
	}
	said := strings.Split(strings.TrimSpace(string(text)), "\n")
	err = errors.Join(judgeStorage(db), judgeEither(db, said), judgeFinish(db))
	found, readErr := readStreams(db, said)
	return errors.Join(err, readErr, judgeHalves(db, found), db.Close())
}

// judgeEither holds the file to the promises that count. After a restore those
// are the backup's and what was said since; one that was cut off has left the old
// file or the restored one, whole either way, with what was said on it since.
func judgeEither(db *queue.DB, said []string) error {
	backup, begun, done := slices.Index(said, "BACKUP"), slices.Index(said, "RESTORING"), slices.Index(said, "RESTORED")
	switch {
	case begun < 0:
		return judgePromises(db, said)
	case done >= 0:
		return judgePromises(db, slices.Concat(said[:backup], said[done:]))
	}
	old, restored := judgePromises(db, said), judgePromises(db, slices.Concat(said[:backup], said[begun:]))
	if old == nil || restored == nil {
		return nil
	}
	return fmt.Errorf("neither the old file (%s) nor the restored one (%s)", firstLine(old), firstLine(restored))
}

func judgePromises(db *queue.DB, said []string) error {
	found, err := readStreams(db, said)
	errs := []error{err, judgeHalves(db, found)}
	for _, line := range said {
		errs = append(errs, found.judgePromise(db, strings.Fields(line)))
	}
	return errors.Join(append(errs, judgeLeases(db, said))...)
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
		if err == nil && (j.State != edgeagent.JobCompleted || j.Diagnosis == nil) {
			err = fmt.Errorf("completed job %s reads %s", said[1], j.State)
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
	return nil // of leases says leases.judge
}

func number(text string) (n uint64) {
	_, _ = fmt.Sscan(text, &n) // zero is no number of a stream
	return n
}

// hurry lets no job wait for its time.
func hurry(db *queue.DB) error {
	waiting, _, err := db.Jobs(queue.JobFilter{State: edgeagent.JobPending, Limit: 1000})
	for _, j := range waiting {
		err = errors.Join(err, db.RetryJob(context.Background(), j.ID, "judge"))
	}
	return err
}

// judgeDone: nothing is left that nobody will ever work on.
func judgeDone(db *queue.DB) error {
	for _, state := range []edgeagent.JobState{edgeagent.JobPending, edgeagent.JobRunning, edgeagent.JobFailed} {
		left, _, err := db.Jobs(queue.JobFilter{State: state})
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("%d jobs are %s when all are worked off, first %s", len(left), state, left[0].ID)
		}
	}
	return nil
}

// leased is what was said of the leases of one job.
type leased struct {
	leases     int
	open       bool // LEASED, and nothing since
	interrupts int  // leases that the end of a process ended
	retried    int  // attempts that ended without an answer
	retrying   int  // of which the last word was never heard
	heard      bool // something was said of it
	before     int  // attempts that a file of long ago came with
}

// judgeLeases: what a cut interrupted is counted as that, and costs no attempt.
func judgeLeases(db *queue.DB, all []string) error {
	book := make(map[string]*leased)
	for _, line := range append(slices.Clone(all), "OPEN") {
		said := strings.Fields(line)
		if len(said) == 0 {
			continue
		}
		if len(said) == 1 { // OPEN and the like: the life before has ended
			for _, l := range book {
				l.end()
			}
			continue
		}
		if book[said[1]] == nil {
			book[said[1]] = &leased{}
		}
		book[said[1]].hear(said)
	}
	for id, l := range book {
		if err := l.judge(db, edgeagent.ID(id)); err != nil {
			return err
		}
	}
	return nil
}

func (l *leased) hear(said []string) {
	first := !l.heard
	l.heard = true
	switch said[0] {
	case "KNOWN":
		if first {
			l.before, _ = strconv.Atoi(said[2])
		}
	case "LEASED":
		l.leases++
		l.open = true
	case "ENDING":
		l.open = false
		if said[2] == "RETRIED" {
			l.retrying++
		}
	case "RETRIED":
		l.retrying--
		l.retried++
	}
}

func (l *leased) end() {
	if l.open {
		l.interrupts++
	}
	l.open = false
}

func (l *leased) judge(db *queue.DB, id edgeagent.ID) error {
	if l.leases == 0 {
		return nil // an alarm, a stream
	}
	j, err := db.Job(id)
	if err != nil {
		return err
	}
	ended := 0
	if j.State == edgeagent.JobCompleted {
		ended = 1
	}
	if least := l.before + l.retried + ended; j.Attempts < least || j.Attempts > least+l.retrying {
		return fmt.Errorf("job %s counts %d attempts after %d that ended", id, j.Attempts, least)
	}
	happened := make(map[string]int)
	for _, entry := range j.Timeline {
		happened[entry.Event]++
	}
	if j.Interrupts < l.interrupts || j.Interrupts != happened["interrupted"] || happened["leased"] < l.leases {
		return fmt.Errorf("job %s counts %d interrupts after %d, and tells of %d and of %d leases of %d",
			id, j.Interrupts, l.interrupts, happened["interrupted"], happened["leased"], l.leases)
	}
	if open := happened["leased"] - happened["interrupted"] - happened["released"] - happened["retry"] - happened["completed"]; open != 0 {
		return fmt.Errorf("job %s: %d of its leases have no end: %v", id, open, happened)
	}
	return nil
}

// judgeFinish works off what is left, and begins anew: the file is not only
// readable.
func judgeFinish(db *queue.DB) error {
	quiet := func(string, ...any) {}
	if err := recordOne(db, "line-new", quiet); err != nil {
		return err
	}
	if err := hurry(db); err != nil {
		return err
	}
	for {
		l, err := db.Lease(context.Background())
		if err != nil {
			return err
		}
		if l == nil {
			return judgeDone(db)
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

// readStreams reads all events of this epoch and of those that were promised:
// numbers from 1 without a hole, each id once.
func readStreams(db *queue.DB, said []string) (streams, error) {
	f := streams{make(map[string]string), make(map[string]uint64), make(map[edgeagent.EventType]map[edgeagent.ID]int)}
	ids := make(map[string]bool)
	for epoch := range epochsOf(db, said) {
		for _, stream := range edgeagent.Streams {
			next, err := f.read(db, epoch, stream, ids)
			if err != nil {
				return f, err
			}
			if want := db.Backlog("historian").Next[stream]; epoch == db.Epoch() && next != want {
				return f, fmt.Errorf("%s ends before %d, and its next number is %d", stream, next, want)
			}
		}
	}
	waiting, err := db.Pending("historian", 1<<20, 1<<30)
	for _, e := range slices.Backward(waiting) {
		f.waiting[name(e)] = e.Sequence
	}
	return f, err
}

func epochsOf(db *queue.DB, said []string) map[edgeagent.ID]bool {
	epochs := map[edgeagent.ID]bool{db.Epoch(): true}
	for _, line := range said {
		if sent, ok := strings.CutPrefix(line, "SENT "); ok {
			epoch, _, _ := strings.Cut(sent, "/")
			epochs[edgeagent.ID(epoch)] = true
		}
	}
	return epochs
}

// read notes all events of one stream and returns the number after the last.
func (f streams) read(db *queue.DB, epoch edgeagent.ID, stream edgeagent.Stream, ids map[string]bool) (next uint64, err error) {
	next = 1
	for {
		some, err := db.Range(epoch, edgeagent.Range{Stream: stream, From: next, To: math.MaxUint64})
		if err != nil || len(some) == 0 {
			return next, err
		}
		for _, e := range some {
			if e.Sequence != next || ids[e.ID] {
				return next, fmt.Errorf("%s: %d with id %s stands where %d should, or a second time", stream, e.Sequence, e.ID, next)
			}
			ids[e.ID] = true
			next++
			f.note(e)
		}
	}
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
