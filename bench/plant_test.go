// Package bench measures the data file against the queues that others would
// take, and against the disk. It is a module of its own, so that none of them
// becomes a dependency of the agent.
//
//	cd bench && go test -run '^$' -bench . -benchtime 2s
package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// A floor is the least that a disk takes for something durable: one page
// written and synced, in a file whose blocks are there already.
type floor struct {
	b    *testing.B
	file *os.File
	page int64
}

const (
	pageSize   = 4096
	floorPages = 4096
)

func newFloor(b *testing.B) *floor {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	must(b, err)
	b.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(make([]byte, floorPages*pageSize))
	must(b, err)
	must(b, f.Sync())
	return &floor{b: b, file: f}
}

// write makes n pages durable, with one sync.
func (f *floor) write(n int) {
	page := slices.Repeat([]byte{byte(f.page)}, pageSize)
	for range n {
		_, err := f.file.WriteAt(page, f.page%floorPages*pageSize)
		must(f.b, err)
		f.page++
	}
	must(f.b, syscall.Fdatasync(int(f.file.Fd())))
}

// group is the floor of a group commit: writers wait for a committer that writes
// a page for each of them and syncs once.
func (f *floor) group(writers, each int) {
	asked := make(chan chan struct{})
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				done := make(chan struct{})
				asked <- done
				<-done
			}
		})
	}
	go func() { all.Wait(); close(asked) }()
	for first := range asked {
		batch := []chan struct{}{first}
		for more := true; more; {
			select {
			case next, open := <-asked:
				if more = open; open {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		f.write(len(batch))
		for _, done := range batch {
			close(done)
		}
	}
}

func must(tb testing.TB, err error) {
	if err != nil {
		tb.Error(err)
	}
}

// words make texts that repeat themselves as much as texts do, and no more.
var words = strings.Fields(`the level sensor of filler reads above its limit while flow stays normal check valve lens
 dirty clean compare sight glass pressure drop pump cavitation belt loose motor current rises before alarm temperature
 probable cause wiring connector moisture replace calibrate wait until product drained no other line shows same`)

func prose(r *rand.Rand, bytes int) string {
	var b strings.Builder
	for b.Len() < bytes {
		fmt.Fprintf(&b, "%s %s %s %d. ", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(1000))
	}
	return b.String()[:bytes]
}

// raise is an alarm as alarms are: 12 tags of evidence, a hint from the runbook.
func raise(r *rand.Rand, line string) edgeagent.Transition {
	now := time.Now()
	hint := &edgeagent.Diagnosis{
		Summary: prose(r, 120), Language: "en", Causes: []edgeagent.Cause{{Cause: prose(r, 80), Likelihood: edgeagent.Likely, Sources: []string{"runbook/filler.md#f212"}}},
		Checks: []string{prose(r, 90), prose(r, 90), prose(r, 90)}, By: edgeagent.Provenance{Provider: "runbook", Kind: "runbook", At: now},
	}
	return edgeagent.Transition{
		Kind: edgeagent.TransitionRaised, At: now,
		Alarm: edgeagent.Alarm{
			ID: edgeagent.NewID(now), Device: "filler", Line: line, Code: fmt.Sprint("F", r.IntN(300)), Text: "Level sensor unstable during fill cycle",
			Origin: edgeagent.OriginTag, Priority: 2, State: edgeagent.AlarmUnacked, RaisedAt: now, FirstOut: true, Observed: edgeagent.ObservedLive,
			Values:   map[string]edgeagent.Value{"filler.level": edgeagent.Float(80 + 20*r.Float64())},
			Diagnose: true, Revision: 1, Hint: hint,
		},
		Evidence: &edgeagent.Evidence{At: now, WindowS: 600, HistorySince: now.Add(-10 * time.Minute), Tags: features(r, 4), Moved: features(r, 8), Omitted: 31},
	}
}

func features(r *rand.Rand, n int) []edgeagent.Feature {
	out := make([]edgeagent.Feature, n)
	for i := range out {
		low, high, mean, slope := 40*r.Float64(), 60+40*r.Float64(), 50*r.Float64(), r.NormFloat64()
		changed := time.Now().Add(-time.Duration(r.Int64N(int64(10 * time.Minute))))
		out[i] = edgeagent.Feature{
			Tag: fmt.Sprint("filler.", words[r.IntN(len(words))], "_", i), Value: edgeagent.Float(high), EngUnit: "%", Quality: edgeagent.QualityGood,
			AgeS: r.Float64(), Min: &low, Max: &high, Mean: &mean, SlopePerMin: &slope, Changes: r.IntN(600), LastChange: &changed, Moved: r.Float64(),
		}
	}
	return out
}

// answer is that of a model: a prompt of 3 KB, an answer of 1 KB.
func answer(r *rand.Rand) edgeagent.Outcome {
	d := &edgeagent.Diagnosis{
		Summary: prose(r, 200), Language: "en", Causes: []edgeagent.Cause{{Cause: prose(r, 120), Likelihood: edgeagent.Likely, Evidence: []string{"filler.level"}}},
		Checks: []string{prose(r, 100), prose(r, 100), prose(r, 100)}, Urgency: edgeagent.UrgencyNow,
		By: edgeagent.Provenance{Provider: "cloud", Kind: "openai", Model: "gpt-4o-mini", At: time.Now(), TookMS: 2100, TokensIn: 812, TokensOut: 230},
	}
	raw, _ := json.Marshal(d) // of plain texts: never fails
	return edgeagent.Outcome{
		Diagnosis: d, Prompt: prose(r, 3000), Raw: string(raw),
		Calls: []edgeagent.Call{{Provider: "cloud", Model: "gpt-4o-mini", At: time.Now(), TookMS: 2100, Outcome: edgeagent.CallOK, Status: 200, TokensIn: 812, TokensOut: 230, CostUSD: 0.0003, RequestID: "req-1"}},
	}
}

// A plant is a data file under measurement.
type plant struct {
	tb     testing.TB
	db     *queue.DB
	alarms uint64
}

func openPlant(tb testing.TB, path string) *plant {
	db, err := queue.Open(tb.Context(), queue.Options{
		Path: path, Site: "plant-a", Agent: "gw", MaxSize: 4 << 30, Location: time.UTC, Language: "en",
		Destinations: []queue.Destination{{Name: "historian", Required: true, Keep: time.Hour}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return &plant{tb: tb, db: db}
}

// life is that of one alarm with nothing beside it, in four commits.
func (p *plant) life(up edgeagent.Transition, o edgeagent.Outcome) {
	p.alarms++
	_, err := p.db.Record(p.tb.Context(), []edgeagent.Transition{up})
	must(p.tb, err)
	l, err := p.db.Lease(p.tb.Context())
	if err != nil || l == nil {
		p.tb.Fatalf("lease: %v, %v", l, err)
	}
	must(p.tb, p.db.Complete(p.tb.Context(), *l, o))
	p.confirm(p.alarms)
}

func (p *plant) confirm(n uint64) {
	r := edgeagent.Receipt{Epoch: p.db.Epoch(), Contig: map[edgeagent.Stream]uint64{"alarm": n, "diagnosis": n}}
	must(p.tb, p.db.Confirm(p.tb.Context(), "historian", r))
}

// storm records n alarms like those given from many goroutines at once.
func (p *plant) storm(writers, n int, like []edgeagent.Transition) {
	shares(writers, n, func(i int) {
		up := like[i%len(like)]
		up.At = time.Now()
		up.Alarm.ID, up.Alarm.RaisedAt, up.Alarm.Code = edgeagent.NewID(up.At), up.At, fmt.Sprint("F", rand.IntN(300))
		_, err := p.db.Record(p.tb.Context(), []edgeagent.Transition{up})
		must(p.tb, err)
	})
}

// recorded records n alarms like those given, so many at a time.
func (p *plant) recorded(n, most int, like []edgeagent.Transition) {
	for i := 0; i < n; {
		ts := make([]edgeagent.Transition, 0, most)
		for ; i < n && len(ts) < most; i++ {
			up := like[i%len(like)]
			up.At = time.Now()
			up.Alarm.ID, up.Alarm.RaisedAt, up.Alarm.Code = edgeagent.NewID(up.At), up.At, fmt.Sprint("F", rand.IntN(300))
			ts = append(ts, up)
		}
		_, err := p.db.Record(p.tb.Context(), ts)
		must(p.tb, err)
	}
}

// shares calls do for 0 to n-1, from so many goroutines.
func shares(writers, n int, do func(int)) {
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < n; i += writers {
				do(i)
			}
		})
	}
	all.Wait()
}

// wchar is how many bytes this process has handed to write calls.
func wchar(tb testing.TB) float64 { return procField(tb, "/proc/self/io", "wchar:") }

func procField(tb testing.TB, path, field string) (n float64) {
	text, err := os.ReadFile(path)
	must(tb, err)
	_, after, _ := strings.Cut(string(text), field)
	_, err = fmt.Sscan(after, &n)
	must(tb, err)
	return n
}

// cpu is what this process has worked so far.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	must(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// series are the measurements of one thing; their median is reported.
type series []float64

func (s *series) time(do func()) {
	begin := time.Now()
	do()
	*s = append(*s, float64(time.Since(begin)))
}

func (s series) median() float64 {
	slices.Sort(s)
	return s[len(s)/2]
}
