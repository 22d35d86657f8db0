//go:build linux

package queue_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/queue"
)

// A floor is the least that a disk takes for something durable: one page
// written and synced, in a file whose blocks are there already. Whatever the
// machine is doing at the moment, it does to the floor as well.
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
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(make([]byte, floorPages*pageSize)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return &floor{b: b, file: f}
}

// write makes n pages durable, with one sync.
func (f *floor) write(n int) {
	page := bytes.Repeat([]byte{byte(f.page)}, pageSize)
	for range n {
		if _, err := f.file.WriteAt(page, f.page%floorPages*pageSize); err != nil {
			f.b.Error(err)
		}
		f.page++
	}
	if err := syscall.Fdatasync(int(f.file.Fd())); err != nil {
		f.b.Error(err)
	}
}

// group is the floor of a group commit: writers wait for a committer that
// writes one page for each of them and syncs once.
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
		f.commit(first, asked)
	}
}

// commit serves whoever has asked by now.
func (f *floor) commit(first chan struct{}, asked <-chan chan struct{}) {
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

// plant is a data file under measurement.
type plant struct {
	b      *testing.B
	db     *queue.DB
	alarms atomic.Uint64
}

func newPlant(b *testing.B) *plant {
	b.Helper()
	o := options(filepath.Join(b.TempDir(), "agent.db"))
	o.MaxSize = 4 << 30 // housekeeping of a full file is not what is measured
	db, err := queue.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return &plant{b: b, db: db}
}

// anew closes a plant and returns an empty one.
func (p *plant) anew() *plant {
	p.b.Helper()
	if err := p.db.Close(); err != nil {
		p.b.Fatal(err)
	}
	return newPlant(p.b)
}

// record stores one alarm of the size that alarms have, on a line of its own:
// alarms of one line would share a job.
func (p *plant) record() {
	t := raise(fmt.Sprint("line-", p.alarms.Add(1)), "F212", 2)
	t.Evidence.Tags, t.Evidence.Moved = features(4), features(8)
	t.Alarm.Hint.Checks = []string{strings.Repeat("Compare the level with the sight glass. ", 12)}
	if _, err := p.db.Record(p.b.Context(), []edgeagent.Transition{t}); err != nil {
		p.b.Error(err)
	}
}

func features(n int) []edgeagent.Feature {
	low, high, slope := 42.0, 93.5, 12.25
	out := make([]edgeagent.Feature, n)
	for i := range out {
		out[i] = edgeagent.Feature{
			Tag: fmt.Sprint("filler.tag_", i), Value: edgeagent.Float(91.2), EngUnit: "%", Quality: edgeagent.QualityGood,
			AgeS: 0.4, Min: &low, Max: &high, Mean: &low, SlopePerMin: &slope, Changes: 61, Moved: 0.5,
		}
	}
	return out
}

func (p *plant) lease() *edgeagent.Lease {
	l, err := p.db.Lease(p.b.Context())
	if err != nil || l == nil {
		p.b.Errorf("lease: %v, %v", l, err)
		return nil
	}
	return l
}

// diagnose leases a job and completes it.
func (p *plant) diagnose() {
	l := p.lease()
	if l == nil {
		return
	}
	o := answer("dirty lens")
	o.Prompt, o.Raw = strings.Repeat("What is wrong? ", 200), strings.Repeat(`{"cause":"dirty lens"}`, 40)
	if err := p.db.Complete(p.b.Context(), *l, o); err != nil {
		p.b.Error(err)
	}
}

// confirm moves the cursor to what upstream has stored.
func (p *plant) confirm(alarms uint64) {
	if err := p.db.Confirm(p.b.Context(), "historian", receipt(p.db, alarms, alarms)); err != nil {
		p.b.Error(err)
	}
}

// life is that of one alarm with nothing beside it.
func (p *plant) life() {
	p.record()
	p.diagnose()
	p.confirm(p.alarms.Load())
}

// storm records alarms from many goroutines at once.
func (p *plant) storm(writers, each int) { atOnce(writers, each, p.record) }

// afterStorm works off what a storm has left: receipts come for 100 alarms at a
// time.
func (p *plant) afterStorm(writers, each int) {
	atOnce(writers, each, p.diagnose)
	last := p.alarms.Load()
	for n := last - uint64(writers*each); n < last; {
		n = min(n+100, last)
		p.confirm(n)
	}
}

func atOnce(writers, each int, do func()) {
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				do()
			}
		})
	}
	all.Wait()
}

// wchar is how many bytes this process has handed to write calls. The device's
// own counters would be better and belong to everybody on the machine.
func wchar(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	var n float64
	_, after, _ := strings.Cut(string(text), "wchar:")
	if _, err := fmt.Sscan(after, &n); err != nil {
		b.Fatal(err)
	}
	return n
}

// series are the measurements of one thing; their median is reported, because a
// neighbour on the machine spoils single ones.
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

// A bill is what a plant has cost: bytes handed to write, bytes that stay in the
// file, commits.
type bill struct{ written, kept, commits float64 }

// bill makes a checkpoint: what is in the journal alone is not paid for yet.
func (p *plant) bill() bill {
	p.b.Helper()
	if err := p.db.Checkpoint(p.b.Context()); err != nil {
		p.b.Fatal(err)
	}
	s := p.db.Storage()
	return bill{wchar(p.b), float64(s.FileBytes - s.FreeBytes), float64(s.Commits)}
}

// add books what do costs.
func (s *bill) add(p *plant, do func()) {
	before := p.bill()
	do()
	after := p.bill()
	s.written += after.written - before.written
	s.kept += after.kept - before.kept
	s.commits += after.commits - before.commits
}

// report says what one of n has cost.
func (s *bill) report(b *testing.B, n float64, of string) {
	b.ReportMetric(s.written/n, "B-written/"+of)
	b.ReportMetric(s.written/s.kept, "x-bytes-kept")
	b.ReportMetric(s.commits/n, "commits/"+of)
}

// BenchmarkAlarmAlone is an alarm from raise to receipt, four commits, against
// four writes of one page. A case looks at the last ten minutes, so that the
// file is a fresh one every now and then: hundreds in ten minutes are not alone.
func BenchmarkAlarmAlone(b *testing.B) {
	f, p := newFloor(b), newPlant(b)
	var floors, lives series
	for b.Loop() {
		if p.alarms.Load() == 20 {
			p = p.anew()
		}
		floors.time(func() {
			for range 4 {
				f.write(1)
			}
		})
		lives.time(p.life)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(lives.median()/floors.median(), "x-4-floor-writes")
	b.ReportMetric(lives.median()/1e6, "ms/life")
}

// A storm is 256 alarms from 64 goroutines.
const writers, each = 64, 4

// BenchmarkStorm records a storm against a group commit of as many pages.
func BenchmarkStorm(b *testing.B) {
	f := newFloor(b)
	var floors, records series
	var cost bill
	p := newPlant(b)
	for b.Loop() {
		p = p.anew()
		floors.time(func() { f.group(writers, each) })
		cost.add(p, func() { records.time(func() { p.storm(writers, each) }) })
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(records.median()/floors.median(), "x-group-floor")
	b.ReportMetric(records.median()/1e3/(writers*each), "us/record")
	cost.report(b, float64(len(records)*writers*each), "record")
}

// BenchmarkStormLife says what a storm costs until its last receipt.
func BenchmarkStormLife(b *testing.B) {
	var cost bill
	lives := 0
	p := newPlant(b)
	for b.Loop() {
		p = p.anew()
		cost.add(p, func() { p.storm(writers, each); p.afterStorm(writers, each) })
		lives += writers * each
	}
	b.ReportMetric(0, "ns/op")
	cost.report(b, float64(lives), "life")
}

// BenchmarkTogether says what sharing commits is worth: 64 alarms one after
// the other against as many at once.
func BenchmarkTogether(b *testing.B) {
	var alone, together series
	p := newPlant(b)
	for b.Loop() {
		p = p.anew()
		alone.time(func() { atOnce(1, writers, p.record) })
		together.time(func() { p.storm(writers, 1) })
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(alone.median()/together.median(), "x-faster-together")
}

// BenchmarkLeaseInAStorm is a lease with 500 alarms in the last ten minutes
// against one with a few: what the search for related alarms costs.
func BenchmarkLeaseInAStorm(b *testing.B) {
	quiet, stormy := newPlant(b), newPlant(b)
	stormy.storm(50, 10)
	var calm, busy series
	for b.Loop() {
		if quiet.alarms.Load() == 5 {
			quiet = quiet.anew()
		}
		quiet.record()
		calm.time(func() { quiet.lease() })
		stormy.record()
		busy.time(func() { stormy.lease() })
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(busy.median()/calm.median(), "x-lease-alone")
	b.ReportMetric(busy.median()/1e6, "ms/lease")
}

// BenchmarkRecordAmidOpenAlarms is a lone record with 1,000 open alarms against
// one with a few: what the list of open alarms costs each commit.
func BenchmarkRecordAmidOpenAlarms(b *testing.B) {
	quiet, full := newPlant(b), newPlant(b)
	full.storm(50, 20)
	var calm, busy series
	for b.Loop() {
		if quiet.alarms.Load() == 10 {
			quiet = quiet.anew()
		}
		calm.time(quiet.record)
		busy.time(full.record)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(busy.median()/calm.median(), "x-few-open")
}
