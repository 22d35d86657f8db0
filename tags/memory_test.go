package tags

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// mixed are tags as plants have them: of ten four words, three floats, one
// scaled by tenths, one bit and one that never changes.
func mixed(n int) []edgeagent.Tag {
	out := make([]edgeagent.Tag, n)
	for i := range out {
		out[i] = tag("filler", fmt.Sprintf("tag_%05d", i))
		out[i].StaleAfter = time.Hour // what is put below is told to have been read in another time
	}
	return out
}

// mixedValue is the value of tag i in a scan.
func mixedValue(i int, r *rand.Rand) edgeagent.Value {
	switch i % 10 {
	case 0, 1, 2, 3:
		return edgeagent.Uint(uint64(r.Uint32() & 0xffff))
	case 4, 5, 6:
		return edgeagent.Float(float64(r.Float32() * 100))
	case 7:
		return edgeagent.Float(float64(r.IntN(65536)) * 0.1)
	case 8:
		return edgeagent.Bool(r.IntN(2) == 1)
	default:
		return edgeagent.Uint(7)
	}
}

// fill plays ten minutes, a value a second, on the clock of the bubble.
func fill(t *Table, n int, d time.Duration) {
	r := rand.New(rand.NewPCG(1, 2))
	scan := edgeagent.Scan{Device: "filler", Samples: make([]edgeagent.Sample, n)}
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(time.Second) {
		for i := range scan.Samples {
			scan.Samples[i] = edgeagent.Sample{Tag: t.devices["filler"].entries[i].def.Name, Value: mixedValue(i, r), Quality: edgeagent.QualityGood, At: time.Now()}
		}
		t.Put(scan)
	}
}

// TestMemoryPerTag holds what ten minutes of a plant take, its tags' definitions
// included: 10,000 of them fit beside the agent in 64 MB.
func TestMemoryPerTag(t *testing.T) {
	const n, most = 300, 2200
	synctest.Test(t, func(t *testing.T) {
		all := mixed(n)
		used := heap(func() *Table {
			tb := New(all, lines)
			fill(tb, n, 11*time.Minute)
			return tb
		}) / n
		t.Logf("%.0f bytes a tag: %.1f MiB for 10,000", used, used*10_000/(1<<20))
		if used > most {
			t.Errorf("a tag takes %.0f bytes, want at most %d", used, most)
		}
		runtime.KeepAlive(all)
	})
}

// A scan of a plant at work allocates nothing: garbage would double the heap.
func TestPutAllocatesNothing(t *testing.T) {
	const n = 200
	synctest.Test(t, func(t *testing.T) {
		tb := New(mixed(n), lines)
		fill(tb, n, 11*time.Minute)
		r := rand.New(rand.NewPCG(3, 4))
		scan := edgeagent.Scan{Device: "filler", Samples: make([]edgeagent.Sample, n)}
		allocs := testing.AllocsPerRun(20, func() {
			for i := range scan.Samples {
				scan.Samples[i] = edgeagent.Sample{Tag: tb.devices["filler"].entries[i].def.Name, Value: mixedValue(i, r), Quality: edgeagent.QualityGood, At: time.Now()}
			}
			tb.Put(scan)
			time.Sleep(time.Second)
		})
		if allocs >= 1 {
			t.Errorf("%v allocations a scan, want none", allocs)
		}
	})
}

// Readings of thousands of tags take a few large allocations, not many small.
func TestReadingsAllocateTogether(t *testing.T) {
	const n = 500
	synctest.Test(t, func(t *testing.T) {
		tb := New(mixed(n), lines)
		fill(tb, n, 3*time.Second)
		if allocs := testing.AllocsPerRun(20, func() { tb.Readings("filler") }); allocs > 10 {
			t.Errorf("%v allocations for %d readings", allocs, n)
		}
		time.Sleep(2 * time.Hour)
		if allocs := testing.AllocsPerRun(20, func() { tb.Readings("filler") }); allocs > 10 {
			t.Errorf("%v allocations for %d stale readings", allocs, n)
		}
	})
}

// oracle remembers everything, and answers as the history must.
type oracle struct{ points []point }

func (o *oracle) add(off time.Duration, v float64) {
	o.points = append(o.points, point{off, v, v, v})
}

func (o *oracle) extremes(from, to time.Duration) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	newest := o.points[len(o.points)-1].off / bucketSize
	for _, p := range o.points {
		if slot := p.off.Truncate(bucketSize); slot <= to && slot+bucketSize >= from && slot/bucketSize > newest-buckets {
			low, high = min(low, p.last), max(high, p.last)
		}
	}
	return low, high
}

// TestHistoryIsExact plays every kind of number through the history and holds
// each point, each extreme and the last value to what was put.
func TestHistoryIsExact(t *testing.T) {
	kinds := map[string]func(r *rand.Rand, i int) float64{
		"constant":         func(*rand.Rand, int) float64 { return 0.1 },
		"bits":             func(r *rand.Rand, _ int) float64 { return float64(r.IntN(2)) },
		"words":            func(r *rand.Rand, _ int) float64 { return float64(r.IntN(65536)) },
		"signed words":     func(r *rand.Rand, _ int) float64 { return float64(r.IntN(65536) - 32768) },
		"both signs":       func(r *rand.Rand, _ int) float64 { return float64(r.IntN(100_000) - 32768) },
		"tenths":           func(r *rand.Rand, _ int) float64 { return float64(r.IntN(65536)) * 0.1 },
		"parts of ten":     func(r *rand.Rand, _ int) float64 { return float64(r.IntN(65536)) / 10 },
		"signed cents":     func(r *rand.Rand, _ int) float64 { return float64(r.IntN(65536)-32768) * 0.01 },
		"parts of hundred": func(r *rand.Rand, _ int) float64 { return float64(r.IntN(65536)-32768) / 100 },
		"float32":          func(r *rand.Rand, _ int) float64 { return float64(math.Float32frombits(r.Uint32() & 0xbf7fffff)) },
		"counters":         func(_ *rand.Rand, i int) float64 { return float64(1<<30 + 7*i + 1) },
		"uint32":           func(r *rand.Rand, _ int) float64 { return float64(r.Uint32()) },
		"int64":            func(r *rand.Rand, _ int) float64 { return float64(r.Int64()) },
		"float64":          func(r *rand.Rand, _ int) float64 { return r.NormFloat64() * math.Pow(10, float64(r.IntN(600)-300)) },
		"huge":             func(r *rand.Rand, _ int) float64 { return math.MaxFloat64 * (1 - 2*r.Float64()) },
		"growing wild": func(r *rand.Rand, i int) float64 {
			return []float64{5, 70_000, 0.5, -3, 0.1 * 3, 1e300, math.Pi, 5}[min(i/40, 7)] * float64(1+r.IntN(2))
		},
	}
	for name, f := range kinds {
		for _, step := range []time.Duration{100 * time.Millisecond, 700 * time.Millisecond, time.Second, 7 * time.Second, 90 * time.Second} {
			t.Run(fmt.Sprint(name, " every ", step), func(t *testing.T) { playExact(t, f, step) })
		}
	}
}

func playExact(t *testing.T, f func(*rand.Rand, int) float64, step time.Duration) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, 12))
	var h history
	var o oracle
	off := headStart
	for i := range 800 {
		v := f(r, i)
		h.add(off, v, true, i > 0)
		o.add(off, v)
		if i%50 == 49 || i < 5 {
			checkExact(t, &h, &o, off)
		}
		off += step + time.Duration(r.IntN(40))*time.Millisecond
		if r.IntN(200) == 0 {
			off += time.Duration(r.IntN(300)) * time.Second
		}
	}
}

func checkExact(t *testing.T, h *history, o *oracle, now time.Duration) {
	t.Helper()
	from := now - Window
	low, high := o.extremes(from, now)
	if l, g, ok := h.extremes(from, now); !ok || l != low || g != high {
		t.Fatalf("at %v: extremes %v to %v, want %v to %v (form %d)", now, l, g, low, high, h.form)
	}
	ps := h.appendPoints(nil, from, now)
	if len(ps) == 0 || ps[len(ps)-1].last != o.points[len(o.points)-1].last {
		t.Fatalf("at %v: the last of %v is not %v", now, ps, o.points[len(o.points)-1].last)
	}
	known := map[float64]bool{}
	for _, p := range o.points {
		known[p.last] = true
	}
	for i, p := range ps {
		if !known[p.min] || !known[p.max] || !known[p.last] || p.min > p.max || p.last < p.min || p.last > p.max {
			t.Fatalf("at %v: point %+v was never put (form %d)", now, p, h.form)
		}
		if i > 0 && p.off <= ps[i-1].off {
			t.Fatalf("at %v: point %d at %v is not after %v", now, i, p.off, ps[i-1].off)
		}
	}
	checkFine(t, ps, o, now)
}

// checkFine holds the last half minute to what was put: every value that no
// fast scan pushed out, in its millisecond.
func checkFine(t *testing.T, ps []point, o *oracle, now time.Duration) {
	t.Helper()
	at := map[time.Duration]float64{}
	n := 0
	for _, p := range ps {
		at[p.off] = p.last
	}
	for i, p := range o.points {
		if p.off < now-30*time.Second || i > 0 && i+1 < len(o.points) && o.points[i+1].off-o.points[i-1].off < 2*fineSpacing {
			continue
		}
		n++
		if v, there := at[p.off]; !there || v != p.last {
			t.Fatalf("at %v: %v of %v is %v, %v", now, p.last, p.off, v, there)
		}
	}
	if n == 0 {
		t.Fatalf("at %v: nothing was checked", now)
	}
}

// FuzzHistory feeds any numbers at any pace: what comes out was put in.
func FuzzHistory(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 10, 0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		var h history
		var o oracle
		off := headStart
		for ; len(data) >= 9; data = data[9:] {
			v := math.Float64frombits(uint64(data[0]) | uint64(data[1])<<8 | uint64(data[2])<<16 | uint64(data[3])<<24 |
				uint64(data[4])<<32 | uint64(data[5])<<40 | uint64(data[6])<<48 | uint64(data[7])<<56)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			h.add(off, v, true, false)
			o.add(off, v)
			low, high := o.extremes(off-Window, off)
			if l, g, ok := h.extremes(off-Window, off); !ok || l != low || g != high {
				t.Fatalf("extremes %v to %v, want %v to %v", l, g, low, high)
			}
			if ps := h.appendPoints(nil, off-Window, off); len(ps) == 0 || ps[len(ps)-1].last != v {
				t.Fatalf("the last of %v is not %v", ps, v)
			}
			off += time.Duration(data[8]) * time.Duration(data[8]) * 5 * time.Millisecond
		}
	})
}
