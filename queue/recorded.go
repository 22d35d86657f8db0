package queue

import "bytes"

// recorded tells of an alarm that is new that it is, without looking for it in
// the file: in a storm all are, and to find nothing takes as long as to find
// something. Ids rise with time, but for those that overtake each other on their
// way here, and for a clock that was set back. It is never taken back with a
// batch: who is told that an alarm may be there looks for it.
type recorded struct {
	upTo  rawID // what is stored above it is in one of these
	older map[rawID]struct{}
	young map[rawID]struct{}
}

// maxYoung bounds each of the two: so many alarms may overtake one.
const maxYoung = 1 << 10

// mayBe reports whether an alarm may have been recorded; false is certain.
func (r *recorded) mayBe(id rawID) bool {
	if bytes.Compare(id[:], r.upTo[:]) <= 0 {
		return true
	}
	if _, is := r.young[id]; is {
		return true
	}
	_, is := r.older[id]
	return is
}

// add notes an alarm.
func (r *recorded) add(id rawID) {
	if len(r.young) >= maxYoung {
		for old := range r.older {
			r.raise(old)
		}
		r.older, r.young = r.young, r.older
		clear(r.young)
	}
	if r.young == nil {
		r.young = make(map[rawID]struct{})
	}
	r.young[id] = struct{}{}
}

// raise notes that all up to an id may have been recorded.
func (r *recorded) raise(id rawID) {
	if bytes.Compare(id[:], r.upTo[:]) > 0 {
		r.upTo = id
	}
}
