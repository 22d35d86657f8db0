package tags

import (
	"encoding/binary"
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

	// fineHold is how far back fine points can be asked for: the border of the
	// bucket in which fineReach begins. No two points are further apart.
	fineHold = int64((fineReach + bucketSize) / time.Millisecond)
)

// history is what is remembered of one tag: fine points of the last minute, and
// buckets of ten. It grows only as far as a tag needs it: a value that never
// changed takes no more than its times (TestMemoryPerTag measures what it comes
// to). Offsets count from the table's start on the monotonic clock, here in
// milliseconds; numbers are exact, see [form].
type history struct {
	form  form
	lost  bool  // the ring has pushed points out
	head  uint8 // the oldest point in the ring
	n     uint8 // points in the ring
	value float64

	oldest int64 // times of the first and last point in the ring
	newest int64
	slot   int64 // number of the newest bucket
	seen   [2]uint64
	// fine is the ring: for each point the time since the one before it, and its
	// number. coarse holds least, greatest and last of each bucket; none while
	// the value is constant. changes is made with the first change.
	fine    []byte
	coarse  []byte
	changes []uint16
}

const stampSize = 2 // bytes of the time in a point

// fineSizes are the sizes of the ring, in points: the third is a minute and a
// bucket at one value a second.
var fineSizes = [...]int{8, 24, 68, finePoints}

// add books a value at off. A text has no number and is only counted.
func (h *history) add(off time.Duration, v float64, numeric, changed bool) {
	b := h.turn(int64(off / bucketSize))
	if changed {
		h.count(b)
	}
	if !numeric {
		return
	}
	h.fit(v)
	h.addCoarse(b, v)
	h.addFine(off.Milliseconds(), v)
}

func (h *history) count(b int) {
	if h.changes == nil {
		h.changes = make([]uint16, buckets)
	}
	if h.changes[b] < math.MaxUint16 {
		h.changes[b]++
	}
}

// turn moves on to the bucket of a slot, empties those that were skipped, and
// returns its index. A slot that has passed is booked into the newest.
func (h *history) turn(slot int64) int {
	for next := max(h.slot+1, slot-buckets+1); next <= slot; next++ {
		b := next % buckets
		h.seen[b/64] &^= 1 << (b % 64)
		if h.changes != nil {
			h.changes[b] = 0
		}
	}
	h.slot = max(h.slot, slot)
	return int(h.slot % buckets)
}

// has reports whether a bucket holds a number.
func (h *history) has(b int) bool { return h.seen[b/64]&(1<<(b%64)) != 0 }

func (h *history) addCoarse(b int, v float64) {
	first := !h.has(b)
	h.seen[b/64] |= 1 << (b % 64)
	if h.form == constant {
		return
	}
	low, high, last := h.places(b)
	if first || v < h.form.get(low) {
		h.form.put(low, v)
	}
	if first || v > h.form.get(high) {
		h.form.put(high, v)
	}
	h.form.put(last, v)
}

// places returns where the numbers of a bucket stand; not of a constant.
func (h *history) places(b int) (low, high, last []byte) {
	w := shapes[h.form].width
	at := h.coarse[3*w*b : 3*w*(b+1)]
	return at, at[w:], at[2*w:]
}

func (h *history) bucket(b int) (low, high, last float64) {
	if h.form == constant {
		return h.value, h.value, h.value
	}
	l, g, e := h.places(b)
	return h.form.get(l), h.form.get(g), h.form.get(e)
}

// room is how many points the ring can hold now.
func (h *history) room() int { return len(h.fine) / (stampSize + shapes[h.form].width) }

// at returns the bytes of a point, counted from the oldest.
func (h *history) at(i int) []byte {
	size := stampSize + shapes[h.form].width
	k := (int(h.head) + i) % (len(h.fine) / size)
	return h.fine[k*size : (k+1)*size]
}

func (h *history) fineValue(i int) float64 {
	if h.form == constant {
		return h.value
	}
	return h.form.get(h.at(i)[stampSize:])
}

// step is the time from the point before to point i.
func (h *history) step(i int) int64 { return int64(binary.LittleEndian.Uint16(h.at(i))) }

// addFine appends a point. Points are never nearer to their predecessor than
// fineSpacing, so that a fast scan cannot push the minute out of the ring.
func (h *history) addFine(ms int64, v float64) {
	ms = max(ms, h.newest)
	if h.n > 0 && ms-h.newest > fineHold {
		h.head, h.n, h.lost = 0, 0, false // nobody can ask for them any more
	}
	last := int(h.n) - 1
	if last >= 1 && ms-(h.newest-h.step(last)) < fineSpacing.Milliseconds() {
		h.putFine(last, h.step(last)+ms-h.newest, v)
		h.newest = ms
		return
	}
	h.makeRoom(ms)
	if h.n == 0 {
		h.oldest, h.newest = ms, ms
	}
	h.n++
	h.putFine(int(h.n)-1, ms-h.newest, v)
	h.newest = ms
}

func (h *history) putFine(i int, since int64, v float64) {
	at := h.at(i)
	binary.LittleEndian.PutUint16(at, uint16(since))
	h.form.put(at[stampSize:], v)
}

// makeRoom lets the oldest point go, or the ring grow if that one may still be
// asked for.
func (h *history) makeRoom(ms int64) {
	room := h.room()
	if int(h.n) < room {
		return
	}
	if room > 0 && (room == finePoints || ms-h.oldest > fineHold) {
		h.oldest += h.step(1)
		h.head, h.n, h.lost = uint8((int(h.head)+1)%room), h.n-1, true
		return
	}
	for _, size := range fineSizes {
		if size > room {
			h.rewrite(h.form, size)
			return
		}
	}
}

// fit widens the form until it holds v and all that is remembered.
func (h *history) fit(v float64) {
	switch {
	case h.form == constant && (v == h.value || h.n == 0 && h.seen == [2]uint64{}):
		h.value = v
		return
	case h.form != constant && h.form.holds(v):
		return
	}
	for f := h.form + 1; ; f++ {
		if f.holds(v) && h.allFit(f) {
			h.rewrite(f, h.room())
			return
		}
	}
}

func (h *history) allFit(f form) bool {
	if h.form == constant {
		return f.holds(h.value)
	}
	for i := range int(h.n) {
		if !f.holds(h.fineValue(i)) {
			return false
		}
	}
	for b := range buckets {
		if !h.has(b) {
			continue
		}
		if low, high, last := h.bucket(b); !f.holds(low) || !f.holds(high) || !f.holds(last) {
			return false
		}
	}
	return true
}

// rewrite copies all to a form that holds it, and a ring of so many points.
func (h *history) rewrite(f form, room int) {
	was := *h
	h.form, h.head, h.fine = f, 0, make([]byte, room*(stampSize+shapes[f].width))
	for i := range int(was.n) {
		h.putFine(i, was.step(i), was.fineValue(i))
	}
	if f == was.form {
		return
	}
	h.coarse = make([]byte, buckets*3*shapes[f].width)
	for b := range buckets {
		if !was.has(b) {
			continue
		}
		low, high, last := was.bucket(b)
		l, g, e := h.places(b)
		f.put(l, low)
		f.put(g, high)
		f.put(e, last)
	}
}

// point is a value, or the extremes of several, at an offset.
type point struct {
	off            time.Duration
	min, max, last float64
}

// appendPoints adds the points from..to to into, oldest first: buckets as long
// as there is nothing finer, and never a value twice.
func (h *history) appendPoints(into []point, from, to time.Duration) []point {
	ms := h.oldest
	edge := h.border((to - fineReach).Truncate(bucketSize), ms)
	into = h.appendBuckets(into, from, edge)
	for i := range int(h.n) {
		if i > 0 {
			ms += h.step(i)
		}
		if off := time.Duration(ms) * time.Millisecond; off >= edge && off >= from && off <= to {
			v := h.fineValue(i)
			into = append(into, point{off, v, v, v})
		}
	}
	return into
}

// border is the end of the last bucket that is used, and where fine points
// begin. Where the ring has already lost a part of a bucket, the bucket is used.
func (h *history) border(wanted time.Duration, oldest int64) time.Duration {
	if off := time.Duration(oldest) * time.Millisecond; h.lost && off > wanted {
		return off.Truncate(bucketSize) + bucketSize
	}
	return wanted
}

// slots calls do with every bucket that reaches into from..to, oldest first.
func (h *history) slots(from, to time.Duration, do func(b int, end time.Duration)) {
	for slot := max(0, h.slot-buckets+1); slot <= h.slot; slot++ {
		if begin := time.Duration(slot) * bucketSize; begin <= to && begin+bucketSize >= from {
			do(int(slot%buckets), begin+bucketSize)
		}
	}
}

// appendBuckets adds the buckets that reach into from and end by edge.
func (h *history) appendBuckets(into []point, from, edge time.Duration) []point {
	h.slots(from, edge, func(b int, end time.Duration) {
		if end > edge || end <= from || !h.has(b) {
			return
		}
		low, high, last := h.bucket(b)
		into = append(into, point{end - 1, low, high, last})
	})
	return into
}

// extremes returns the least and greatest value of the buckets that reach into
// from..to: complete at any scan rate.
func (h *history) extremes(from, to time.Duration) (low, high float64, ok bool) {
	low, high = math.Inf(1), math.Inf(-1)
	h.slots(from, to, func(b int, _ time.Duration) {
		if h.has(b) {
			l, g, _ := h.bucket(b)
			low, high = min(low, l), max(high, g)
		}
	})
	return low, high, low <= high
}

// changesIn counts the changes in the buckets that reach into from..to.
func (h *history) changesIn(from, to time.Duration) int {
	n := 0
	if h.changes == nil {
		return 0
	}
	h.slots(from, to, func(b int, _ time.Duration) { n += int(h.changes[b]) })
	return n
}
