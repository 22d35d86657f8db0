package llm

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"edgeagent"
)

// Lesson is a refusal that means "I do not take this".
type Lesson struct {
	Words []string // any of them in the refusal
	Means uint32   // the bit of the dialect that does without
}

// Dialect is what a server turned out not to take, one bit a parameter. The zero
// value takes everything.
type Dialect struct {
	now    atomic.Uint32
	proved atomic.Uint32 // the one that was answered last
}

// Now is the dialect to ask in.
func (d *Dialect) Now() uint32 { return d.now.Load() }

// Answered says that the dialect used got an answer.
func (d *Dialect) Answered(used uint32) { d.proved.Store(used) }

// Learn turns the refusal of a parameter into another dialect, and into one more
// attempt: at most as many as there are lessons. used is the dialect that was
// refused. What was learned counts once it is answered: a refusal may name a
// parameter because the case does, and be about something else.
func (d *Dialect) Learn(used uint32, lessons []Lesson, fail *Error) {
	if fail.Shrink || fail.Then != ThenNext { // a length or a content is refused, whatever parameter it names
		return
	}
	if fail.Class != edgeagent.CallRequest || fail.Status != http.StatusBadRequest && fail.Status != http.StatusUnprocessableEntity {
		return
	}
	text := strings.ToLower(fail.Code + " " + fail.Message)
	for _, l := range lessons {
		if used&l.Means == 0 && slices.ContainsFunc(l.Words, func(w string) bool { return strings.Contains(text, w) }) {
			d.now.Or(l.Means)
			fail.Policy = Policy{Retries: len(lessons)}
			return
		}
	}
	d.now.CompareAndSwap(used, d.proved.Load())
}
