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

// Learn turns the refusal of a parameter into another dialect, and into one more
// attempt: at most as many as there are lessons. used is the dialect that was
// refused.
func Learn(dialect *atomic.Uint32, used uint32, lessons []Lesson, fail *Error) {
	if fail.Shrink || fail.Then != ThenNext { // a length or a content is refused, whatever parameter it names
		return
	}
	if fail.Class != edgeagent.CallRequest || fail.Status != http.StatusBadRequest && fail.Status != http.StatusUnprocessableEntity {
		return
	}
	text := strings.ToLower(fail.Code + " " + fail.Message)
	for _, l := range lessons {
		if used&l.Means == 0 && slices.ContainsFunc(l.Words, func(w string) bool { return strings.Contains(text, w) }) {
			dialect.Or(l.Means)
			fail.Policy = Policy{Retries: len(lessons)}
			return
		}
	}
}
