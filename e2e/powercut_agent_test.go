package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edgeagent/e2e/powercut"
)

// The whole agent on a disk that records everything: alarms come over its
// socket, events go to a receiver. After each power cut it starts on what is
// left and has to bring to an end whatever it had answered to.
func TestPowerCutAgent(t *testing.T) {
	needsFUSE(t)
	disk := powercut.NewDisk(nil)
	data, _, leave := fileFolder(t, disk)
	recordAgent(t, disk, data)
	leave()
	rec := disk.Recording()
	cuts := sized(40, 200)
	random := rand.New(rand.NewPCG(uint64(*seed), 11))
	replay := powercut.NewReplay(rec)
	at := make([]int, cuts)
	for i := range at {
		at[i] = rec.Cut(0, len(rec.Entries), random)
	}
	slices.Sort(at)
	t.Logf("%d power cuts among %d entries and %d promises, seed %d", cuts, len(rec.Entries), rec.Count(powercut.Ack), *seed)
	for _, cut := range at {
		replay.To(cut)
		fate := powercut.Fates[random.IntN(len(powercut.Fates))]
		t.Run(fmt.Sprint("cut before ", cut, ", ", fate), func(t *testing.T) {
			judgeAgent(t, replay.Crash(fate, random), rec.Promises(cut))
		})
	}
}

// recordAgent lets an agent work on the disk: a first life ended by kill -9, a
// second one by a stop, a third one that begins after that.
func recordAgent(t *testing.T, disk *powercut.Disk, data string) {
	t.Helper()
	books := newBooks(t, disk.Promise)
	a := newAgent(t, "")
	a.writeConfig(plan{agent: fmt.Sprintf("data_dir = %q\nsocket = %q", data, filepath.Join(a.dir, "data", "edgeagent.sock")),
		upstreams: []string{books.url}}.toml(t))
	for life := range 3 {
		a.start()
		var wg sync.WaitGroup
		for line := range 2 {
			wg.Go(func() {
				for n := range 25 {
					raisePromised(a, disk, fmt.Sprintf("line-%d", line), fmt.Sprintf("key-%d-%d-%d", life, line, n))
				}
			})
		}
		wg.Wait()
		promiseJobs(t, a, disk)
		if life == 1 {
			if err := a.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			continue
		}
		a.kill()
	}
}

// raisePromised raises an alarm; a 2xx is a promise.
func raisePromised(a *agent, disk *powercut.Disk, line, key string) {
	d, err := a.raise(line, "X1", "outside alarm "+key, key)
	if err != nil {
		a.t.Errorf("raise: %v", err)
		return
	}
	disk.Promise("ALARM " + d.ID)
}

// promiseJobs reads what is completed: what was shown must not be taken back.
func promiseJobs(t *testing.T, a *agent, disk *powercut.Disk) {
	t.Helper()
	var list struct{ Jobs []jobDoc }
	if err := a.get("/api/v1/jobs?state=completed&limit=200", &list); err != nil {
		t.Error(err)
	}
	for _, j := range list.Jobs {
		disk.Promise("JOB " + j.ID)
	}
}

// judgeAgent starts an agent on the files and holds it to the promises.
func judgeAgent(t *testing.T, files map[string][]byte, promises []string) {
	books := newBooks(t, func(string) {})
	a := newAgent(t, plan{upstreams: []string{books.url}}.toml(t))
	for name, content := range files {
		if err := os.MkdirAll(filepath.Join(a.dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(a.dir, "data", name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range promises {
		books.recall(p)
	}
	a.start()
	if s := a.status().Storage; s.State != "ok" {
		t.Errorf("the data file is %s: a power cut is no damage", s.State)
	}
	for _, p := range promises {
		judgePromised(t, a, p)
	}
	a.eventually(3*time.Minute, "everything is diagnosed and confirmed", func() bool {
		s := a.status()
		return s.Jobs.Pending+s.Jobs.Running == 0 && s.Upstream[0].Backlog == 0
	})
	books.judge(t, promises)
	if err := a.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func judgePromised(t *testing.T, a *agent, promise string) {
	t.Helper()
	if broken := breaks(a, promise); broken != "" {
		t.Error(broken)
	}
}

// breaks says how the agent breaks a promise; empty if it keeps it.
func breaks(a *agent, promise string) string {
	word, id, _ := strings.Cut(promise, " ")
	var d alarmDoc
	var j jobDoc
	switch word {
	case "ALARM":
		if err := a.get("/api/v1/alarms/"+id, &d); err != nil || d.ID != id {
			return fmt.Sprintf("alarm %s, which was answered, is gone: %v", id, err)
		}
	case "ACK":
		if err := a.get("/api/v1/alarms/"+id, &d); err != nil || d.State != "acked" {
			return fmt.Sprintf("alarm %s was acknowledged and is %s: %v", id, d.State, err)
		}
	case "JOB":
		if err := a.get("/api/v1/jobs/"+id, &j); err != nil || j.State != "completed" || j.Diagnosis == nil || j.Attempts != 1 {
			return fmt.Sprintf("job %s was completed and is %s after %d attempts: %v", id, j.State, j.Attempts, err)
		}
	}
	return ""
}

// books is an upstream that keeps what it was given in memory, across the power
// cuts of those who gave it.
type books struct {
	url     string
	promise func(string)

	mu     sync.Mutex
	events map[string]string         // epoch/stream/number → id and digest
	contig map[string]map[string]int // epoch → stream → number
	about  map[string]map[string]int // type → alarm → times
	faults []string
}

func newBooks(t *testing.T, promise func(string)) *books {
	t.Helper()
	b := &books{promise: promise, events: map[string]string{}, contig: map[string]map[string]int{}, about: map[string]map[string]int{}}
	l := listenLoopback(t)
	b.url = "http://" + l.Addr().String() + "/events"
	serveUntilDone(t, l, http.HandlerFunc(b.handle))
	return b
}

func (b *books) handle(w http.ResponseWriter, r *http.Request) {
	raw, err := readBatch(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	epoch := ""
	for _, body := range raw {
		var e eventDoc
		if err := json.Unmarshal(body, &e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		epoch = e.Epoch
		if e.Stream != "" {
			b.book(e, body)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"epoch": epoch, "contig": b.contig[epoch]})
}

// book stores an event. That it came at all is a promise: it was committed
// before it was sent.
func (b *books) book(e eventDoc, body []byte) {
	n, _ := strconv.Atoi(e.Sequence)
	sum := sha256.Sum256(body)
	line := fmt.Sprintf("EVENT %s/%s/%d %s %s %s %s", e.Epoch, e.Stream, n, e.ID, hex.EncodeToString(sum[:8]), e.Type, strings.Join(alarmsOf(e), ","))
	b.note(line)
	b.promise(line)
}

func alarmsOf(e eventDoc) []string {
	var d struct {
		ID     string
		Alarms []string
	}
	_ = json.Unmarshal(e.Data, &d) // an event about nothing has no alarms
	if e.Stream == "alarm" {
		return []string{d.ID}
	}
	return d.Alarms
}

// recall books what an upstream had before the power cut.
func (b *books) recall(promise string) {
	if strings.HasPrefix(promise, "EVENT ") {
		b.note(promise)
	}
}

func (b *books) note(line string) {
	f := strings.SplitN(line, " ", 6)
	place, is := f[1], f[2]+" "+f[3]
	if was, there := b.events[place]; there {
		if was != is {
			b.faults = append(b.faults, fmt.Sprintf("%s came as %s and comes as %s", place, was, is))
		}
		return
	}
	b.events[place] = is
	if b.about[f[4]] == nil {
		b.about[f[4]] = map[string]int{}
	}
	for _, id := range strings.Split(f[5], ",") {
		b.about[f[4]][id]++
	}
	part := strings.Split(place, "/")
	epoch, stream := part[0], part[1]
	if b.contig[epoch] == nil {
		b.contig[epoch] = map[string]int{}
	}
	for b.events[fmt.Sprintf("%s/%s/%d", epoch, stream, b.contig[epoch][stream]+1)] != "" {
		b.contig[epoch][stream]++
	}
}

// judge: one life of the file, no hole, no second number for an id, and each
// alarm that was answered raised once and diagnosed once.
func (b *books) judge(t *testing.T, promises []string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		t.Error(f)
	}
	total, ids := 0, map[string]bool{}
	for _, streams := range b.contig {
		for _, n := range streams {
			total += n
		}
	}
	for _, is := range b.events {
		ids[is] = true
	}
	if total != len(b.events) || len(ids) != len(b.events) {
		t.Errorf("%d events, %d of them without a hole before them, %d different ones", len(b.events), total, len(ids))
	}
	if len(b.contig) > 1 {
		t.Errorf("a power cut began a new epoch: %v", slices.Collect(maps.Keys(b.contig)))
	}
	for _, p := range promises {
		id, isAlarm := strings.CutPrefix(p, "ALARM ")
		raised, diagnosed := b.about["edgeagent.alarm.raised.v1"][id], b.about["edgeagent.diagnosis.completed.v1"][id]
		if isAlarm && (raised != 1 || diagnosed != 1) {
			t.Errorf("alarm %s: %d alarm.raised and %d diagnosis.completed, want one each", id, raised, diagnosed)
		}
	}
}
