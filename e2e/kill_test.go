package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The built binary is killed at random moments while alarms come from outside
// and from a PLC. Whatever was answered to must be there afterwards: every
// alarm in exactly one diagnosis, every stream without a gap, no paid answer
// paid again.
func TestKilledAtRandomMoments(t *testing.T) {
	kills := 20
	if full() {
		kills = 100
	}
	plc := startLibmodbus(t)
	cloud := newOpenAI(t, listenLoopback(t))
	cloud.delay = 20 * time.Millisecond
	up := newReceiver(t)
	a := newAgent(t, plan{devices: peerDevice("press", plc.tap.addr(), "line-plc", ""), cloud: cloud.url, upstreams: []string{up.url}}.toml(t))
	random := rand.New(rand.NewPCG(uint64(*seed), 1))
	t.Logf("%d kills, seed %d", kills, *seed)

	posts := &poster{a: a}
	for i := range kills {
		a.launch("run", "-c", a.config())
		stop := posts.run(i)
		plc.set("holding", 500, i%2)
		if i%2 == 0 { // in the midst of work; the other half is left to chance, and may lie in the start
			known := posts.answered()
			a.eventually(patience, "an alarm is acknowledged", func() bool { return posts.answered() > known })
		}
		time.Sleep(time.Duration(50+random.IntN(1500)) * time.Millisecond) // the random moment itself
		a.kill()
		stop()
	}
	a.start()
	posts.again()
	a.eventually(2*time.Minute, "everything is diagnosed and confirmed", func() bool {
		s := a.status()
		return s.Jobs.Pending+s.Jobs.Running == 0 && s.Upstream[0].Backlog == 0 && len(posts.lost(up)) == 0
	})
	posts.judge(t, up)
	judgeMoney(t, cloud, up)
	if kept, _ := filepath.Glob(filepath.Join(a.dir, "data", "*.corrupt-*")); len(kept) > 0 {
		t.Errorf("a data file was held for damaged: %v", kept)
	}
	if err := a.stop(); err != nil {
		t.Errorf("after all this the agent does not end by itself: %v", err)
	}
	if _, err := os.Stat(filepath.Join(a.dir, "data", "edgeagent.db")); err != nil {
		t.Error(err)
	}
}

// poster raises alarms from outside as a system does that retries with the
// same key until it is answered.
type poster struct {
	a     *agent
	mu    sync.Mutex
	acked map[string]string // key -> alarm id
	open  []string          // keys that were sent and not answered
	n     int
}

// run posts until stopped.
func (p *poster) run(round int) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				p.post(fmt.Sprintf("key-%d-%d", round, p.next()))
				time.Sleep(10 * time.Millisecond) // a plant, not a benchmark
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func (p *poster) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	return p.n
}

// answered counts the alarms that were acknowledged so far.
func (p *poster) answered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

func (p *poster) post(key string) {
	d, err := p.a.raise(fmt.Sprintf("line-%d", len(key)%3), "X1", "outside alarm <"+key+">", key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acked == nil {
		p.acked = map[string]string{}
	}
	switch {
	case err == nil:
		p.acked[key] = d.ID
	case strings.Contains(err.Error(), "POST /api"):
		// refused while starting: nothing was promised
	case strings.Contains(err.Error(), "connect:") || strings.Contains(err.Error(), "no such file"):
		time.Sleep(5 * time.Millisecond)
	default:
		p.open = append(p.open, key)
	}
}

// again repeats what was never answered: the key makes it the same alarm.
func (p *poster) again() {
	p.mu.Lock()
	open := p.open
	p.open = nil
	p.mu.Unlock()
	for _, key := range open {
		p.post(key)
	}
}

// lost returns the acknowledged alarms that are in no diagnosis at the receiver.
func (p *poster) lost(up *receiver) []string {
	counts := up.diagnoses()
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost []string
	for key, id := range p.acked {
		if counts[id] == 0 {
			lost = append(lost, key)
		}
	}
	return lost
}

func (p *poster) judge(t *testing.T, up *receiver) {
	t.Helper()
	if len(p.acked) == 0 {
		t.Fatal("no alarm was ever acknowledged: the test proved nothing")
	}
	t.Logf("%d alarms acknowledged, %d events in PostgreSQL", len(p.acked), len(up.events("edgeagent.alarm.raised.v1")))
	raised := map[string]bool{}
	for _, e := range up.events("edgeagent.alarm.raised.v1") {
		var d alarmDoc
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		raised[d.ID] = true
	}
	counts := up.diagnoses()
	for key, id := range p.acked {
		if !raised[id] {
			t.Errorf("alarm %s (%s) was acknowledged and never arrived", id, key)
		}
	}
	for id := range raised {
		if counts[id] != 1 {
			t.Errorf("alarm %s is in %d diagnoses, want exactly one", id, counts[id])
		}
	}
	if bad := up.gaps(); len(bad) > 0 {
		t.Errorf("gaps: %v", bad)
	}
	if n := up.doubled(); n > 0 {
		t.Errorf("%d event ids were applied twice", n)
	}
	if up.conflicts > 0 {
		t.Errorf("%d numbers came with other bytes", up.conflicts)
	}
}

// judgeMoney holds every request that the endpoint saw against the moment at
// which the receiver stored the diagnosis of that job: after it, asking again
// would be paying twice for an answer that was kept.
func judgeMoney(t *testing.T, cloud *model, up *receiver) {
	t.Helper()
	finished := map[string]time.Time{}
	for _, e := range up.events("edgeagent.diagnosis.completed.v1") {
		var j jobDoc
		if err := json.Unmarshal(e.Data, &j); err != nil {
			t.Fatal(err)
		}
		finished[j.ID] = *j.FinishedAt
	}
	questions := cloud.questions()
	for _, q := range questions {
		end, known := finished[q.job]
		if !known {
			t.Errorf("a request for job %q, which has no diagnosis", q.job)
		}
		if q.at.After(end) {
			t.Errorf("job %s was paid again %v after its answer was committed", q.job, q.at.Sub(end))
		}
	}
	t.Logf("%d requests paid for %d jobs", len(questions), len(finished))
}
