package queue

import "sync/atomic"

// A commit costs the same however many share it, and those who were answered
// together come again together. So the committer, when it has carried out all
// operations that came, waits for who is about to ask: who prepares one, and who has
// just been answered. All of them have a processor, or wait for one as it does itself;
// those who wait for room in the queue are more than it takes to wake it.

// askers are they, in number.
type askers struct {
	number atomic.Int64
	some   chan struct{} // receives when there are none any more, or some have come; holds one wake-up
}

// someCame is how many operations wake a committer that waits for them: to wake it
// for each takes as long as a third of them.
const someCame = 8

// An asker is counted while it is asking or answered.
type asker struct {
	of    *askers
	state atomic.Int32
}

const (
	asking   = iota // it prepares an operation
	waiting         // for the answer
	answered        // and has not looked
	gone
)

func (s *askers) join() *asker {
	s.number.Add(1)
	return &asker{of: s}
}

// submit says that the operation is in the queue.
func (a *asker) submit() { a.state.Store(waiting); a.of.leave() }

// answer says that there is an answer.
func (a *asker) answer() {
	if a.state.CompareAndSwap(waiting, answered) {
		a.of.number.Add(1)
	}
}

// end says that nobody waits any more, whatever has become of it.
func (a *asker) end() {
	if was := a.state.Swap(gone); was == asking || was == answered {
		a.of.leave()
	}
}

func (s *askers) leave() {
	if s.number.Add(-1) == 0 {
		signal(s.some)
	}
}
