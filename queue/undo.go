package queue

// What a batch changes in memory can be taken back, the last change first. How all
// was is noted by type, in memory that the next batch uses again: a raise changes
// a dozen things, and a closure for each was a third of its garbage.

// An undoable is a change, and knows how to take itself back.
type undoable interface{ takeBack() }

// A history is the changes of one type, in their order.
type history[C undoable] struct{ all []C }

func (h *history[C]) takeBack() {
	last := len(h.all) - 1
	h.all[last].takeBack()
	clear(h.all[last:])
	h.all = h.all[:last]
}

// empty lets go of what can no longer be taken back.
func (h *history[C]) empty() {
	clear(h.all)
	if h.all = h.all[:0]; cap(h.all) > maxKeptChanges {
		h.all = nil
	}
}

// maxKeptChanges bounds what is kept of a batch that was larger than others.
const maxKeptChanges = maxBatch

// histories are those of all types, a dozen or two.
type histories []interface {
	undoable
	empty()
}

// changed notes a change.
func changed[C undoable](b *batch, c C) {
	h := historyOf[C](b)
	h.all = append(h.all, c)
	b.undo = append(b.undo, h)
}

func historyOf[C undoable](b *batch) *history[C] {
	for _, h := range b.histories {
		if h, same := h.(*history[C]); same {
			return h
		}
	}
	h := &history[C]{}
	b.histories = append(b.histories, h)
	return h
}

// done is what follows a batch that cannot be taken back any more, or that was.
func (b *batch) done() {
	for _, h := range b.histories {
		h.empty()
	}
	b.w.spare, b.histories, b.undo = b.histories, nil, nil
}

// set puts v into m, and back what was there when the batch is taken back.
func set[K comparable, V any](b *batch, m map[K]V, k K, v V) {
	old, had := m[k]
	m[k] = v
	changed(b, entryWas[K, V]{m, k, old, had})
}

// remove deletes k from m, likewise.
func remove[K comparable, V any](b *batch, m map[K]V, k K) {
	old, had := m[k]
	delete(m, k)
	changed(b, entryWas[K, V]{m, k, old, had})
}

// assign sets *p, likewise.
func assign[V any](b *batch, p *V, v V) {
	changed(b, valueWas[V]{p, *p})
	*p = v
}

// undoWith has undo called when the batch is taken back.
func (b *batch) undoWith(undo func()) { b.undo = append(b.undo, call(undo)) }

// An entryWas is how one of a map was.
type entryWas[K comparable, V any] struct {
	m   map[K]V
	k   K
	old V
	had bool
}

func (e entryWas[K, V]) takeBack() {
	if e.had {
		e.m[e.k] = e.old
		return
	}
	delete(e.m, e.k)
}

// A valueWas is how one was.
type valueWas[V any] struct {
	p   *V
	old V
}

func (v valueWas[V]) takeBack() { *v.p = v.old }

// A call is a change that is none of these.
type call func()

func (f call) takeBack() { f() }

// rollback takes back everything after mark, the last change first.
func (b *batch) rollback(mark int) {
	b.db.raisedMu.Lock()
	defer b.db.raisedMu.Unlock()
	for i := len(b.undo) - 1; i >= mark; i-- {
		b.undo[i].takeBack()
	}
	b.undo = b.undo[:mark]
}
