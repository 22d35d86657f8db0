package queue

import "slices"

// entries are a heap in some order. It is not container/heap's: that one makes
// garbage of every entry that it is given, and a start gives it all that wait.
type entries struct {
	all  []entry
	less func(a, b entry) int
}

// leastEntries are those for which memory is held even when none wait.
const leastEntries = 1 << 10

func (h *entries) push(e entry) {
	h.all = append(h.all, e)
	h.up(len(h.all) - 1)
}

// order makes a heap of entries that were appended in any order.
func (h *entries) order() {
	for i := len(h.all)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// remove takes the i-th out. What a long outage has left is given back when it
// is worked off.
func (h *entries) remove(i int) entry {
	e, last := h.all[i], len(h.all)-1
	h.all[i] = h.all[last]
	h.all = h.all[:last]
	if i < last && !h.down(i) {
		h.up(i)
	}
	if cap(h.all) > leastEntries && last < cap(h.all)/4 {
		h.all = append(make([]entry, 0, cap(h.all)/2), h.all...)
	}
	return e
}

// take removes a job. It is looked for among the first, where those are that are
// leased, and then from the end, where those are that came last.
func (h *entries) take(id rawID) (entry, bool) {
	if len(h.all) > 0 && h.all[0].id == id {
		return h.remove(0), true
	}
	for i, e := range slices.Backward(h.all) {
		if e.id == id {
			return h.remove(i), true
		}
	}
	return entry{}, false
}

func (h *entries) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h.less(h.all[i], h.all[parent]) >= 0 {
			return
		}
		h.all[i], h.all[parent] = h.all[parent], h.all[i]
		i = parent
	}
}

// down reports whether the i-th has moved.
func (h *entries) down(i int) bool {
	from := i
	for child := 2*i + 1; child < len(h.all); child = 2*i + 1 {
		if right := child + 1; right < len(h.all) && h.less(h.all[right], h.all[child]) < 0 {
			child = right
		}
		if h.less(h.all[child], h.all[i]) >= 0 {
			break
		}
		h.all[i], h.all[child] = h.all[child], h.all[i]
		i = child
	}
	return i > from
}
