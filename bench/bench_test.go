package bench

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"edgeagent"
)

// BenchmarkAlarmAlone is an alarm from raise to receipt, four commits, turn and
// turn about with four writes of one page and with goqite.
func BenchmarkAlarmAlone(b *testing.B) {
	f, peer := newFloor(b), newPeer(b)
	p := openPlant(b, filepath.Join(b.TempDir(), "agent.db"))
	r := rand.New(rand.NewPCG(1, 2))
	var floors, lives, peers series
	var written, theirs float64
	for b.Loop() {
		up, o := raise(r, fmt.Sprint("line-", p.alarms%40)), answer(r)
		floors.time(func() {
			for range 4 {
				f.write(1)
			}
		})
		at := wchar(b)
		lives.time(func() { p.life(up, o) })
		written += wchar(b) - at
		at = wchar(b)
		peers.time(func() { peer.life(up, o) })
		theirs += wchar(b) - at
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(lives.median()/floors.median(), "x-4-floor-writes")
	b.ReportMetric(peers.median()/floors.median(), "goqite-x-4-floor-writes")
	b.ReportMetric(lives.median()/peers.median(), "x-goqite")
	b.ReportMetric(lives.median()/1e6, "ms/life")
	b.ReportMetric(written/float64(len(lives)), "B-written/life")
	b.ReportMetric(theirs/float64(len(lives)), "goqite-B-written/life")
}

// A storm comes from 64 goroutines, over 500 lines. Its alarms are of a thousand
// kinds, for ten thousand kept in memory would cost the collector more than all
// else here.
const (
	writers = 64
	storm   = 10_000
	lines   = 500
	kinds   = 1_000
)

func raises(n int) []edgeagent.Transition {
	r := rand.New(rand.NewPCG(3, 4))
	ups := make([]edgeagent.Transition, n)
	for i := range ups {
		ups[i] = raise(r, fmt.Sprint("line-", i%lines))
	}
	return ups
}

// BenchmarkStorm records 10,000 alarms against a group commit of as many pages.
func BenchmarkStorm(b *testing.B) {
	f := newFloor(b)
	var floors, records, works series
	var written, commits float64
	for b.Loop() {
		ups := raises(kinds)
		p := openPlant(b, filepath.Join(b.TempDir(), "agent.db"))
		floors.time(func() { f.group(writers, storm/writers) })
		at, worked, committed := wchar(b), cpu(b), p.db.Storage().Commits
		records.time(func() { p.storm(writers, storm, ups) })
		written += wchar(b) - at
		works = append(works, float64(cpu(b)-worked))
		commits += float64(p.db.Storage().Commits - committed)
		must(b, p.db.Close())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*floors.median()/records.median(), "%-of-group-floor")
	b.ReportMetric(records.median()/1e3/storm, "us/alarm")
	b.ReportMetric(works.median()/1e3/storm, "CPU-us/alarm")
	b.ReportMetric(storm*float64(len(records))/commits, "alarms/commit")
	b.ReportMetric(written/float64(len(records))/storm, "B-written/alarm")
}

// BenchmarkStormRecorded is the same as the agent's recorder writes it: in the order
// in which they came, up to 256 at a time.
func BenchmarkStormRecorded(b *testing.B) {
	f := newFloor(b)
	var floors, records series
	for b.Loop() {
		ups := raises(kinds)
		p := openPlant(b, filepath.Join(b.TempDir(), "agent.db"))
		floors.time(func() { f.group(writers, storm/writers) })
		records.time(func() { p.recorded(storm, 256, ups) })
		must(b, p.db.Close())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*floors.median()/records.median(), "%-of-group-floor")
	b.ReportMetric(records.median()/1e3/storm, "us/alarm")
}

// BenchmarkStormPeers records 500 alarms from as many goroutines here and there.
func BenchmarkStormPeers(b *testing.B) {
	peer, lite := newPeer(b), newBacklite(b)
	var ours, goqites, backlites series
	for b.Loop() {
		ups := raises(500)
		p := openPlant(b, filepath.Join(b.TempDir(), "agent.db"))
		ours.time(func() { p.storm(writers, len(ups), ups) })
		goqites.time(func() { shares(writers, len(ups), func(i int) { peer.record(ups[i]) }) })
		backlites.time(func() {
			shares(writers, len(ups), func(i int) {
				_, err := lite.Add(task{text(ups[i])}).Ctx(b.Context()).Save()
				must(b, err)
			})
		})
		must(b, p.db.Close())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(goqites.median()/ours.median(), "x-faster-than-goqite")
	b.ReportMetric(backlites.median()/ours.median(), "x-faster-than-backlite")
}
