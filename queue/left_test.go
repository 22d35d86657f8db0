package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// told is everything that a page says of a data file.
type told struct {
	Alarms  map[string][]edgeagent.Alarm
	Counts  edgeagent.AlarmCounts
	Jobs    []edgeagent.Job
	States  edgeagent.JobCounts
	Device  edgeagent.DeviceMemory
	Parked  []edgeagent.ParkedEvent
	Backlog edgeagent.Backlog
	Epoch   edgeagent.ID
	Judged  []edgeagent.Accuracy
	Memory  edgeagent.Memory
	Sent    []edgeagent.Exchange
	Before  *edgeagent.Occurrence
}

// telling is an open data file, whoever has it open.
type telling interface {
	Alarms(queue.AlarmFilter) ([]edgeagent.Alarm, edgeagent.ID, error)
	AlarmCounts() edgeagent.AlarmCounts
	Jobs(queue.JobFilter) ([]edgeagent.Job, edgeagent.ID, error)
	JobCounts() edgeagent.JobCounts
	LoadDevice(string) (edgeagent.DeviceMemory, bool)
	Parked(string, int) ([]edgeagent.ParkedEvent, error)
	Backlog(string) edgeagent.Backlog
	Epoch() edgeagent.ID
	Accuracy() []edgeagent.Accuracy
	Memory(device, line, code string) (edgeagent.Memory, error)
	Exchanges(edgeagent.ID) ([]edgeagent.Exchange, error)
	LastTime(device, line, code string, before edgeagent.ID) *edgeagent.Occurrence
}

// tell asks for all of it and returns it as JSON.
func tell(t *testing.T, f telling, job edgeagent.ID) string {
	t.Helper()
	all := told{Alarms: map[string][]edgeagent.Alarm{}, Counts: f.AlarmCounts(), States: f.JobCounts(), Backlog: f.Backlog("historian"), Epoch: f.Epoch(), Judged: f.Accuracy()}
	var errs [7]error
	for i, state := range []string{"active", "shelved", "history"} {
		all.Alarms[state], _, errs[i] = f.Alarms(queue.AlarmFilter{State: state})
	}
	all.Jobs, _, errs[3] = f.Jobs(queue.JobFilter{})
	all.Parked, errs[4] = f.Parked("historian", 100)
	all.Memory, errs[5] = f.Memory("filler", "L1", "A")
	all.Sent, errs[6] = f.Exchanges(job)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	all.Device, _ = f.LoadDevice("filler")
	all.Before = f.LastTime("filler", "L1", "A", edgeagent.NewID(time.Now().Add(time.Hour)))
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// lived is a data file of which there is something of everything to tell, the
// newest of it in its journal alone.
func lived(t *testing.T) (db *queue.DB, path string, job edgeagent.ID) {
	t.Helper()
	path = dataFile(t)
	db, _ = refusing(t, options(path), 4)
	up := raise("L1", "A", 1)
	later := time.Now().Add(time.Hour).UTC()
	shelved := raise("L2", "B", 2)
	shelved.Alarm.ShelvedUntil = &later
	record(t, db, up, shelved)
	l := lease(t, db)
	if err := db.Complete(t.Context(), l, answer("foam")); err != nil {
		t.Fatal(err)
	}
	said := edgeagent.Feedback{Verdict: edgeagent.VerdictWrong, Cause: "wet plug", By: "erika", At: time.Now()}
	if err := db.Feedback(t.Context(), l.Case.Job, said); err != nil {
		t.Fatal(err)
	}
	lease(t, db) // and is killed with it
	stopped := edgeagent.DeviceMemory{Device: "filler", Key: "k", State: edgeagent.DeviceStopped, Attempt: 6, Since: time.Now().UTC()}
	if err := db.SaveDevice(t.Context(), stopped); err != nil {
		t.Fatal(err)
	}
	return db, path, l.Case.Job
}

// A file tells the same whether its agent was killed or ended, and as the agent
// itself told; and nothing of it or of its journal is touched for that.
func TestAReaderTellsWhatTheAgentTold(t *testing.T) {
	db, path, job := lived(t)
	want := tell(t, db, job)
	killed := asKilled(t, path)
	long := time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	before := map[string][]byte{}
	times := map[string]time.Time{killed: long, killed + ".journal": long.Add(time.Hour)}
	for name, at := range times {
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
		before[name] = readFile(t, name)
	}
	r, err := queue.OpenReader(t.Context(), killed)
	if err != nil {
		t.Fatal(err)
	}
	got := tell(t, r, job)
	at, err := r.WrittenAt()
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the reader tells\n%s\nthe agent told\n%s", got, want)
	}
	if want := times[killed+".journal"]; !at.Equal(want) {
		t.Errorf("written last at %v, want %v, when the journal was", at, want)
	}
	for name, was := range before {
		info, err := os.Stat(name)
		if err != nil || !info.ModTime().Equal(times[name]) || !bytes.Equal(was, readFile(t, name)) {
			t.Errorf("%s was touched by a reader: %v, %v", name, info.ModTime(), err)
		}
	}
}

// What a clean end writes besides is for the next start: it changes no answer.
func TestAReaderTellsWhatACleanEndHasLeft(t *testing.T) {
	path := dataFile(t)
	db, err := queue.Open(t.Context(), options(path))
	if err != nil {
		t.Fatal(err)
	}
	record(t, db, raise("L1", "A", 1), raise("L2", "B", 2))
	l := lease(t, db)
	if err := db.Complete(t.Context(), l, answer("foam")); err != nil {
		t.Fatal(err)
	}
	want := tell(t, db, l.Case.Job)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := queue.OpenChecked(t.Context(), path, queueCheck)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := tell(t, r, l.Case.Job); got != want {
		t.Errorf("the reader tells\n%s\nthe agent told\n%s", got, want)
	}
}

// Nobody was there to end a shelving: the alarm must not stay hidden for that.
func TestAShelvingThatIsOverHidesNothingFromAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := dataFile(t)
		db, err := queue.Open(t.Context(), options(path))
		if err != nil {
			t.Fatal(err)
		}
		up := raise("L", "A", 1)
		until := time.Now().Add(time.Hour)
		up.Alarm.ShelvedUntil, up.Alarm.ShelveReason = &until, "new belt"
		record(t, db, up)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			wait            time.Duration
			active, shelved int
		}{{59 * time.Minute, 0, 1}, {time.Minute, 1, 0}} {
			time.Sleep(tt.wait)
			r, err := queue.OpenReader(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			active, _, err1 := r.Alarms(queue.AlarmFilter{})
			shelved, _, err2 := r.Alarms(queue.AlarmFilter{State: "shelved"})
			if err := errors.Join(err1, err2); err != nil || len(active) != tt.active || len(shelved) != tt.shelved || r.AlarmCounts().Shelved != tt.shelved {
				t.Errorf("after %v: active %v, shelved %v, %v", tt.wait, active, shelved, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// What an agent writes while it is checked would look like damage.
func TestAFileIsNotCheckedWhileAnAgentHasIt(t *testing.T) {
	path := dataFile(t)
	open(t, options(path))
	_, err := queue.OpenChecked(t.Context(), path, func(context.Context, string) error {
		t.Error("it was checked")
		return nil
	})
	if !errors.Is(err, queue.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened beside the agent: %v", err)
	}
}

// endedFile is an empty data file whose agent has ended well.
func endedFile(t *testing.T) (path string) {
	t.Helper()
	path = dataFile(t)
	db, err := queue.Open(t.Context(), options(path))
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A check that finds damage leaves no lock behind.
func TestAReaderOfADamagedFileLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := endedFile(t)
		damage := errors.New("torn")
		if _, err := queue.OpenChecked(t.Context(), path, func(context.Context, string) error { return damage }); !errors.Is(err, damage) {
			t.Errorf("opened: %v", err)
		}
		began := time.Now()
		open(t, options(path))
		if waited := time.Since(began); waited > 0 {
			t.Errorf("the next start waited %v for it", waited)
		}
	})
}

// Somebody looks at what the last agent has left while the next one starts: that
// one waits, and starts.
func TestAStartWaitsForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := endedFile(t)
		for _, tt := range []struct {
			reads, took time.Duration
			opens       bool
		}{{10 * time.Second, 10 * time.Second, true}, {time.Hour, 30 * time.Second, false}} {
			r, err := queue.OpenReader(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan error)
			go func() { time.Sleep(tt.reads); read <- r.Close() }()
			began := time.Now()
			db, err := queue.Open(t.Context(), options(path))
			if took := time.Since(began); (err == nil) != tt.opens || took < tt.took || took > tt.took+time.Second {
				t.Errorf("a reader of %v: opened after %v: %v", tt.reads, took, err)
			}
			if err == nil {
				err = db.Close()
			} else if errors.Is(err, queue.ErrInUse) {
				err = nil
			}
			if err := errors.Join(err, <-read); err != nil {
				t.Error(err)
			}
		}
	})
}
