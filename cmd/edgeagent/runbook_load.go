package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"edgeagent/config"
	"edgeagent/llm/runbook"
	"edgeagent/status"
)

// bookState is what a person should know of the runbook that answers.
type bookState struct {
	fault atomic.Pointer[string] // what was wrong when it was read; nil: nothing
	stale atomic.Bool            // its folder changed since
}

// String returns what to do about it, "" when there is nothing.
func (b *bookState) String() string {
	if b.stale.Load() {
		return "its folder changed since it was read: edgeagent reload takes the new words"
	}
	if f := b.fault.Load(); f != nil {
		return *f
	}
	return ""
}

func (b *bookState) loaded(book *runbook.Book, err error) {
	text := ""
	switch n := len(book.Problems); {
	case err != nil:
		text = err.Error() + "; mend it, then: edgeagent reload"
	case n > 0:
		text = fmt.Sprintf("%d problems: %s; edgeagent runbook lint lists all", n, book.Problems[0])
	}
	b.stale.Store(false)
	if b.fault.Store(&text); text == "" {
		b.fault.Store(nil)
	}
}

// loadRunbook reads the plant's runbook; what is wrong with it is said, and
// the rest of it used. A folder that cannot be read leaves the answers that were
// there.
func (a *agent) loadRunbook(cfg *config.Config) (changed bool) {
	book, err := runbook.Load(runbookPath(cfg))
	if err != nil {
		if book = a.book.Load(); book == nil {
			book, _ = runbook.Load("")
			a.log.Error("runbook not read, answers come from what moved before the alarm", "error", err)
		} else {
			a.log.Error("runbook not read, the one that was read before answers on", "error", err)
		}
		again := *book // what is shared is never written
		book = &again
	}
	book.Language, book.Templates, book.Location = cfg.LLM.Language, templatesOf(cfg), cfg.Agent.Timezone
	a.bookOf.loaded(book, err)
	if err == nil {
		sayProblems(a, book)
	}
	return !book.Equal(a.book.Swap(book))
}

// maxSaidProblems keeps a folder of garbage from filling the journal.
const maxSaidProblems = 50

func sayProblems(a *agent, book *runbook.Book) {
	for i, p := range book.Problems {
		if i == maxSaidProblems {
			a.log.Warn("runbook has more problems; edgeagent runbook lint lists all", "problems", len(book.Problems))
			return
		}
		a.log.Warn("runbook", "problem", p)
	}
}

// bookLooked is how often the runbook's folder is looked at.
const bookLooked = time.Minute

// watchRunbook notices that somebody wrote into the runbook's folder. It takes
// nothing over by itself: half of an edit is no answer to an alarm.
func (a *agent) watchRunbook(ctx context.Context) error {
	tick := time.NewTicker(bookLooked)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.lookAtRunbook()
		}
	}
}

func (a *agent) lookAtRunbook() {
	book := a.book.Load()
	stale := book.Changed()
	if a.book.Load() != book || a.bookOf.stale.Swap(stale) == stale {
		return
	}
	if stale {
		a.log.Info("the runbook's folder changed; edgeagent reload takes the new words")
	}
	a.page.Changed(status.KindProvider, "")
}
