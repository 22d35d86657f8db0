package tags

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"edgeagent"
)

// versus times two ways to do the same turn and turn about, and returns the
// medians in nanoseconds: a noisy neighbour spoils single rounds, and both.
func versus(b *testing.B, ours, peer func()) (o, p float64) {
	b.Helper()
	var took [2][]float64
	for b.Loop() {
		for i, do := range []func(){ours, peer} {
			begin := time.Now()
			do()
			took[i] = append(took[i], float64(time.Since(begin)))
		}
	}
	b.ReportMetric(0, "ns/op")
	slices.Sort(took[0])
	slices.Sort(took[1])
	return took[0][len(took[0])/2], took[1][len(took[1])/2]
}

// many returns n tags of one device.
func many(n int) []edgeagent.Tag {
	out := make([]edgeagent.Tag, n)
	for i := range out {
		out[i] = tag("filler", fmt.Sprintf("tag_%04d", i))
	}
	return out
}

// scansOf are scans in which every tag changes each time.
func scansOf(all []edgeagent.Tag, n int) []edgeagent.Scan {
	out := make([]edgeagent.Scan, n)
	for n := range out {
		out[n] = edgeagent.Scan{Device: "filler"}
		for i, def := range all {
			out[n].Samples = append(out[n].Samples, good(def.Name, edgeagent.Float(float64(n+i))))
		}
	}
	return out
}

// BenchmarkPut takes over ten scans of 100 tags, with history, changes and
// quality, against the least that is a last value: a map behind a lock.
func BenchmarkPut(b *testing.B) {
	const tags, scans = 100, 10
	all := many(tags)
	t, samples := New(all, lines), scansOf(all, scans)
	var mu sync.RWMutex
	last := make(map[string]edgeagent.Sample, tags)
	put := func() {
		for _, s := range samples {
			t.Put(s)
		}
	}
	bare := func() {
		for _, scan := range samples {
			mu.Lock()
			for _, s := range scan.Samples {
				last[s.Tag] = s
			}
			mu.Unlock()
		}
	}
	ours, peer := versus(b, func() { again(samples); put() }, func() { again(samples); bare() })
	b.ReportMetric(ours/(tags*scans), "ns/sample")
	b.ReportMetric(ours/peer, "x-bare-map")
	b.ReportMetric(testing.AllocsPerRun(10, func() { again(samples); put() })/(tags*scans), "allocs/sample")
}

// again makes the scans new: a table ignores what is older than what it knows.
func again(scans []edgeagent.Scan) {
	now := time.Now()
	for n := range scans {
		for i := range scans[n].Samples {
			scans[n].Samples[i].At = now.Add(time.Duration(n))
		}
	}
}

// heap returns how many bytes what build returns keeps alive.
func heap[T any](build func() T) float64 {
	var before, after runtime.MemStats
	for range 3 { // what is pooled or finalized outlives one
		runtime.GC()
	}
	runtime.ReadMemStats(&before)
	kept := build()
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

// BenchmarkMemory is ten minutes of tags as plants have them, one value a
// second, against the bare numbers and times.
func BenchmarkMemory(b *testing.B) {
	const tags = 2000
	type raw [2]float64 // time and value
	var ours, peer float64
	for b.Loop() {
		ours = heap(func() []history {
			out, r := make([]history, tags), rand.New(rand.NewPCG(1, 2))
			for s := range 600 {
				for i := range out {
					f, _ := mixedValue(i, r).Float64()
					out[i].add(headStart+time.Duration(s)*time.Second, f, true, true)
				}
			}
			return out
		})
		peer = heap(func() [][]raw {
			out := make([][]raw, tags)
			for i := range out {
				out[i] = make([]raw, 600)
			}
			return out
		})
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours/tags, "B/tag")
	b.ReportMetric(ours/peer, "x-600-raw-points")
}
