package tags

import (
	"math"
	"time"
)

const (
	finePoints  = 120                    // a minute at two values a second
	fineSpacing = 400 * time.Millisecond // faster values replace the last point; their extremes are in the buckets
	fineReach   = time.Minute
	bucketSize  = 5 * time.Second
	buckets     = 120
	// Window is how far the history reaches back.
	Window = buckets * bucketSize
)

// history is what is remembered of one tag, in fixed memory. With its entry a
// tag takes 5.9 kB, so that 10,000 of them take 56 MiB (TestMemoryPerTag measures it).
// Offsets count from the table's start on the monotonic clock.
type history struct {
	fine struct {
		at    [finePoints]time.Duration
		value [finePoints]float64
		n     int // ever written; the next goes to n % finePoints
	}
	slot    int64 // number of the newest bucket
	bucket  [buckets]bucket
	changes [buckets]uint16
}

// bucket is five seconds of a tag; without a value last is NaN.
type bucket struct{ min, max, last float64 }

var empty = bucket{math.Inf(1), math.Inf(-1), math.NaN()}

func newHistory() *history {
	h := &history{slot: -1}
	for i := range h.bucket {
		h.bucket[i] = empty
	}
	return h
}

// add books a value at off. A text has no number and is only counted.
func (h *history) add(off time.Duration, v float64, numeric, changed bool) {
	b := h.turn(int64(off / bucketSize))
	if changed && h.changes[b] < math.MaxUint16 {
		h.changes[b]++
	}
	if !numeric {
		return
	}
	h.bucket[b] = bucket{min(h.bucket[b].min, v), max(h.bucket[b].max, v), v}
	h.addFine(off, v)
}

// turn moves on to the bucket of a slot, empties those that were skipped, and
// returns its index. A slot that has passed is booked into the newest.
func (h *history) turn(slot int64) int {
	for next := max(h.slot+1, slot-buckets+1); next <= slot; next++ {
		h.bucket[next%buckets], h.changes[next%buckets] = empty, 0
	}
	h.slot = max(h.slot, slot)
	return int(h.slot % buckets)
}

// addFine appends a point. Points are never nearer to their predecessor than
// fineSpacing, so that a fast scan cannot push the minute out of the ring.
func (h *history) addFine(off time.Duration, v float64) {
	f := &h.fine
	if f.n >= 2 && off-f.at[(f.n-2)%finePoints] < fineSpacing {
		f.n--
	}
	f.at[f.n%finePoints], f.value[f.n%finePoints] = off, v
	f.n++
}

// point is a value, or the extremes of several, at an offset.
type point struct {
	off            time.Duration
	min, max, last float64
}

// appendPoints adds the points from..to to into, oldest first: buckets as long
// as there is nothing finer, and never a value twice.
func (h *history) appendPoints(into []point, from, to time.Duration) []point {
	if h == nil {
		return into
	}
	first, edge := h.fineFrom((to - fineReach).Truncate(bucketSize))
	into = h.appendBuckets(into, from, edge)
	for i := first; i < h.fine.n; i++ {
		off, v := h.fine.at[i%finePoints], h.fine.value[i%finePoints]
		if off >= from && off <= to {
			into = append(into, point{off, v, v, v})
		}
	}
	return into
}

// fineFrom returns the first fine point that is used, and the end of the last
// bucket that is: both meet on a bucket's border. Where the ring has already
// lost a part of a bucket, the bucket is used.
func (h *history) fineFrom(border time.Duration) (int, time.Duration) {
	oldest := max(0, h.fine.n-finePoints)
	if oldest > 0 && h.fine.at[oldest%finePoints] > border {
		border = h.fine.at[oldest%finePoints].Truncate(bucketSize) + bucketSize
	}
	first := oldest
	for first < h.fine.n && h.fine.at[first%finePoints] < border {
		first++
	}
	return first, border
}

// appendBuckets adds the buckets that reach into from and end by edge.
func (h *history) appendBuckets(into []point, from, edge time.Duration) []point {
	for slot := max(0, h.slot-buckets+1); slot <= h.slot; slot++ {
		end := time.Duration(slot+1) * bucketSize
		b := h.bucket[slot%buckets]
		if end > edge || end <= from || math.IsNaN(b.last) {
			continue
		}
		into = append(into, point{end - 1, b.min, b.max, b.last})
	}
	return into
}

// extremes returns the least and greatest value of the buckets that reach into
// from..to: complete at any scan rate.
func (h *history) extremes(from, to time.Duration) (low, high float64, ok bool) {
	low, high = math.Inf(1), math.Inf(-1)
	if h == nil {
		return 0, 0, false
	}
	for slot := max(0, h.slot-buckets+1); slot <= h.slot; slot++ {
		if begin := time.Duration(slot) * bucketSize; begin <= to && begin+bucketSize >= from {
			low, high = min(low, h.bucket[slot%buckets].min), max(high, h.bucket[slot%buckets].max)
		}
	}
	return low, high, low <= high
}

// changesIn counts the changes in the buckets that reach into from..to.
func (h *history) changesIn(from, to time.Duration) int {
	n := 0
	if h == nil {
		return 0
	}
	for slot := max(0, h.slot-buckets+1); slot <= h.slot; slot++ {
		if begin := time.Duration(slot) * bucketSize; begin <= to && begin+bucketSize >= from {
			n += int(h.changes[slot%buckets])
		}
	}
	return n
}
