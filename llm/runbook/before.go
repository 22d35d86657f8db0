package runbook

import (
	"fmt"
	"strings"

	"edgeagent"
)

// maxBefore is how many earlier alarms are told besides the last one.
const maxBefore = 2

// before tells what it was the last time, and the times before that a person
// spoke of. What a model said of them stays away: it would be quoted as known.
func (w *writer) before(a edgeagent.Alarm) {
	frame, told := w.s.lastTime, edgeagent.ID("")
	if t := a.LastTime; t != nil {
		told = t.ID
		p := edgeagent.Precedent{Alarm: t.ID, At: t.At, Cause: t.Cause, FixedBy: t.FixedBy}
		for _, q := range w.c.Before {
			if q.Alarm == t.ID && q.Alarm != "" {
				p.Confirmed = q.Confirmed
			}
		}
		if w.occurrence(frame, p) {
			frame = w.s.earlier
		}
	}
	said := 0
	for _, p := range w.c.Before {
		if said == maxBefore || p.Alarm == told && told != "" || !p.ByPerson && !p.Confirmed && p.FixedBy == "" {
			continue
		}
		if !p.ByPerson && p.Verdict == edgeagent.VerdictWrong {
			p.Cause = "" // that is what was wrong
		}
		if w.occurrence(frame, p) {
			said++
			frame = w.s.earlier
		}
	}
}

// occurrence says one earlier time; false when nothing is known of it.
func (w *writer) occurrence(frame string, p edgeagent.Precedent) bool {
	what := strings.TrimSuffix(clipped(p.Cause), ".")
	if fixed := strings.TrimSuffix(clipped(p.FixedBy), "."); fixed != "" {
		what = listed(what, fmt.Sprintf(w.s.wasFixed, fixed))
	}
	if what == "" {
		return false
	}
	if p.Confirmed {
		what += " (" + w.s.confirmed + ")"
	}
	w.say(fmt.Sprintf(frame, w.local(p.At).Format("2006-01-02 15:04"), what))
	return true
}

// listed joins two parts of a sentence.
func listed(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// sayStanding says of every entry that is quoted who stands by it, once each.
func (w *writer) sayStanding(list []*entry) {
	seen := map[string]bool{}
	for _, e := range list {
		if s := w.standing(e.review); s != "" && !seen[s] && len(seen) < maxBefore {
			seen[s] = true
			w.say(s)
		}
	}
}
