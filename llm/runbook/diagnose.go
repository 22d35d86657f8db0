package runbook

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgeagent"
	"edgeagent/llm"
)

// How much of what was found is shown.
const (
	maxCauses  = 5
	maxChecks  = 12
	maxSimilar = 2 // entries quoted that are not for this machine
	maxMoved   = 5
	maxMissing = 6
	maxShown   = 1000 // characters of one cause or check: a hint is stored with every alarm
)

// Hint is the first answer to an alarm, given when it rises: the same as
// Diagnose says of it alone.
func (b *Book) Hint(a edgeagent.Alarm, ev *edgeagent.Evidence, line string) edgeagent.Diagnosis {
	return b.Diagnose(edgeagent.Case{
		At: a.RaisedAt, Line: line, Area: a.Area, Alarms: []edgeagent.CaseAlarm{{Alarm: a, Evidence: ev}}, Language: b.Language,
	})
}

// Diagnose answers from the runbook: from the entry for the very alarm within
// its scope, else from entries that share its words, marked as such, and from
// the tags that moved before it. It does no I/O and always has an answer.
func (b *Book) Diagnose(c edgeagent.Case) edgeagent.Diagnosis {
	begin := time.Now()
	w := b.newWriter(c)
	first := c.First()
	exact, alarm := b.exactFor(c)
	switch {
	case len(exact) > 0:
		w.entries(exact, alarm)
	case first.Alarm.Code == edgeagent.CodeDeviceStopped:
		w.stopped(first.Alarm)
	default:
		w.noEntry(b.similarTo(c))
	}
	w.context()
	w.d.By.At, w.d.By.TookMS = begin, time.Since(begin).Milliseconds()
	return w.finish()
}

// Passages returns up to n entries for a prompt: those for the alarms of the
// case first, then the ones that share most words with it.
func (b *Book) Passages(c edgeagent.Case, n int) []llm.Passage {
	var out []llm.Passage
	seen := map[*entry]bool{}
	for _, a := range llm.FirstOutFirst(c) {
		for _, e := range b.exact(a.Alarm, c) {
			if len(out) < n && !seen[e] {
				seen[e] = true
				p := e.passage(true)
				p.Safety = cmp.Or(p.Safety, strings.Join(b.safetyFor(a.Alarm, c), " "))
				out = append(out, p)
			}
		}
	}
	if len(out) >= n {
		return out
	}
	for _, e := range b.similarTo(c) {
		if len(out) < n && !seen[e] {
			out = append(out, e.passage(false))
		}
	}
	return out
}

// exactFor returns the entries for the first alarm, or else for the first of
// the others that has any, and that alarm.
func (b *Book) exactFor(c edgeagent.Case) ([]*entry, edgeagent.Alarm) {
	for _, a := range llm.FirstOutFirst(c) {
		if found := b.exact(a.Alarm, c); len(found) > 0 {
			return found, a.Alarm
		}
	}
	return nil, edgeagent.Alarm{}
}

// exact returns the entries for an alarm's code in whose scope it is. Only the
// most special scope speaks: what is written for this device replaces what is
// written for all.
func (b *Book) exact(a edgeagent.Alarm, c edgeagent.Case) []*entry {
	var out []*entry
	best := scopeKind(0)
	where := b.placeOf(a, c)
	for _, e := range b.byCode[normalCode(a.Code)] {
		kind := e.matches(where)
		switch {
		case kind == 0 || kind < best:
		case kind > best:
			best, out = kind, []*entry{e}
		default:
			out = append(out, e)
		}
	}
	return out
}

// safetyFor returns the safety notes for an alarm: those of the most special scope
// that has any. Who writes causes for one device has not said that the pressure that
// the entry for all of them warns of is not there.
func (b *Book) safetyFor(a edgeagent.Alarm, c edgeagent.Case) []string {
	var out []string
	best := scopeKind(0)
	where := b.placeOf(a, c)
	for _, e := range b.byCode[normalCode(a.Code)] {
		kind := e.matches(where)
		switch {
		case e.safety == "" || kind == 0 || kind < best:
		case kind > best:
			best, out = kind, []string{e.safety}
		default:
			out = append(out, e.safety)
		}
	}
	return out
}

func (b *Book) placeOf(a edgeagent.Alarm, c edgeagent.Case) place {
	line := a.Line
	if line == "" {
		line = c.Line
	}
	return place{device: a.Device, line: line, template: b.Templates[a.Device]}
}

// maxQuery bounds the words that are searched for.
const maxQuery = 40

// similarTo returns entries that share words with the alarm, best first. The
// same code on another machine is more alike than any words can be.
func (b *Book) similarTo(c edgeagent.Case) []*entry {
	first := c.First()
	query := words(strings.Join([]string{first.Alarm.Code, clipped(first.Alarm.Text), clipped(first.Alarm.SourceText)}, " "))
	if first.Evidence != nil {
		for _, t := range first.Evidence.Tags {
			_, tag, _ := strings.Cut(t.Tag, ".")
			query = append(query, words(clipped(tag))...)
			if len(query) > maxQuery {
				break
			}
		}
	}
	out := slices.Clone(b.byCode[normalCode(first.Alarm.Code)])
	for _, h := range b.index.search(query[:min(len(query), maxQuery)]) {
		if e := b.entries[h.doc]; !slices.Contains(e.codes, normalCode(first.Alarm.Code)) {
			out = append(out, e)
		}
	}
	return out
}

func clipped(s string) string { return llm.Clean(s, 200) }

// writer fills one diagnosis.
type writer struct {
	b       *Book
	c       edgeagent.Case
	s       *sayings
	d       edgeagent.Diagnosis
	summary []string
	safety  []string
}

// local is t by the clock of the plant, which is the page's.
func (w *writer) local(t time.Time) time.Time {
	if w.b.Location == nil {
		return t
	}
	return t.In(w.b.Location)
}

func (b *Book) newWriter(c edgeagent.Case) *writer {
	language := llm.LanguageOf(c.Language, b.Language)
	return &writer{b: b, c: c, s: texts[language], d: edgeagent.Diagnosis{
		Language: language, Urgency: llm.UrgencyOf(c.First().Alarm), By: edgeagent.Provenance{Provider: "runbook", Kind: "runbook"},
	}}
}

func (w *writer) say(s string) { w.summary = append(w.summary, s) }

// entries answers from entries for an alarm.
func (w *writer) entries(list []*entry, a edgeagent.Alarm) {
	first := w.c.First().Alarm
	if a.Name() == first.Name() {
		w.say(fmt.Sprintf(w.s.entry, clipped(a.Name()), list[0].title))
	} else {
		w.say(fmt.Sprintf(w.s.entryOther, clipped(first.Name()), clipped(a.Name()), list[0].title))
	}
	w.sayStanding(list)
	evidence := w.evidenceOf(a)
	for _, e := range list {
		w.quote(e, evidence, asWritten)
	}
	w.safety = append(w.safety, w.b.safetyFor(a, w.c)...)
	if len(w.d.Causes) == 0 { // an entry of text and checks alone still has to be named as the source
		e := list[0]
		w.d.Causes = append(w.d.Causes, edgeagent.Cause{Cause: llm.Clean(cmp.Or(e.text, e.title), maxShown), Likelihood: edgeagent.Possible, Evidence: evidence, Sources: []string{e.id}})
	}
}

// asWritten is the frame of an entry for this very alarm.
const asWritten = "%s"

// quote adds causes, checks and safety text of an entry, each within frame.
func (w *writer) quote(e *entry, evidence []string, frame string) {
	for _, c := range e.causes {
		if frame != asWritten && c.Likelihood == edgeagent.Likely {
			c.Likelihood = edgeagent.Possible // likely there says little here
		}
		w.d.Causes = append(w.d.Causes, edgeagent.Cause{
			Cause: fmt.Sprintf(frame, llm.Clean(c.Cause, maxShown)), Likelihood: c.Likelihood, Evidence: evidence, Sources: []string{e.id},
		})
	}
	for _, c := range e.checks {
		w.d.Checks = append(w.d.Checks, fmt.Sprintf(frame, llm.Clean(c, maxShown)))
	}
	if e.drawing != "" || e.part != "" {
		w.d.Checks = append(w.d.Checks, fmt.Sprintf(frame, w.reference(e)))
	}
	if e.safety != "" {
		w.safety = append(w.safety, fmt.Sprintf(frame, e.safety))
	}
	w.d.Filtered = append(w.d.Filtered, e.filtered...)
}

// reference names what to take along.
func (w *writer) reference(e *entry) string {
	var out []string
	if e.drawing != "" {
		out = append(out, w.s.drawing+" "+e.drawing)
	}
	if e.part != "" {
		out = append(out, w.s.part+" "+e.part)
	}
	return strings.Join(out, ", ") + "."
}

// evidenceOf names the alarm and the tags that its raise was recorded with.
func (w *writer) evidenceOf(a edgeagent.Alarm) []string {
	out := []string{a.Name()}
	for _, ca := range w.c.Alarms {
		if ca.Alarm.Name() != a.Name() || ca.Evidence == nil {
			continue
		}
		for _, t := range ca.Evidence.Tags {
			if len(out) < maxMoved+1 && !slices.Contains(out, t.Tag) {
				out = append(out, t.Tag)
			}
		}
	}
	if len(out) == 1 {
		names := make([]string, 0, len(a.Values))
		for name := range a.Values {
			names = append(names, name)
		}
		slices.Sort(names)
		out = append(out, names[:min(len(names), maxMoved)]...)
	}
	return out
}

// noEntry answers without an entry: from the tags, and from what is similar.
func (w *writer) noEntry(similar []*entry) {
	w.d.InsufficientEvidence = true
	first := w.c.First()
	w.say(fmt.Sprintf(w.s.noEntry, clipped(first.Alarm.Name())))
	w.moved(first.Evidence)
	evidence := []string{first.Alarm.Name()}
	for _, e := range similar[:min(len(similar), maxSimilar)] {
		frame := w.s.similar
		if e.matches(w.b.placeOf(first.Alarm, w.c)) != 0 {
			frame = w.s.byWords
		}
		w.quote(e, evidence, frame)
		if len(e.causes) == 0 {
			w.d.Causes = append(w.d.Causes, edgeagent.Cause{Cause: fmt.Sprintf(frame, e.title), Likelihood: edgeagent.Unlikely, Evidence: evidence, Sources: []string{e.id}})
		}
	}
}

// context adds what holds for every answer: first-out, last time, gaps, safety.
func (w *writer) context() {
	first := w.c.First()
	a := first.Alarm
	if len(w.c.Alarms) > 1 && a.FirstOut {
		w.say(fmt.Sprintf(w.s.firstOut, clipped(a.Name()), len(w.c.Alarms), clipped(w.c.Line)))
	}
	w.before(a)
	w.missing(first.Evidence)
	if a.Safety || hasSafetyTag(first.Evidence) {
		w.safety = append(w.safety, llm.SafetyText(w.d.Language))
	}
}

func hasSafetyTag(ev *edgeagent.Evidence) bool {
	return ev != nil && slices.ContainsFunc(ev.Tags, func(f edgeagent.Feature) bool { return f.Safety })
}

// finish joins the parts. Everything cited was taken from the case or the book
// a moment ago; it is counted as what it is, checked and held.
func (w *writer) finish() edgeagent.Diagnosis {
	d := &w.d
	d.Summary, d.Safety = strings.Join(w.summary, " "), strings.Join(compact(w.safety), " ")
	d.Causes, d.Checks = d.Causes[:min(len(d.Causes), maxCauses)], compact(d.Checks)
	d.Checks, d.Missing = d.Checks[:min(len(d.Checks), maxChecks)], compact(d.Missing)
	d.Missing, d.Filtered = d.Missing[:min(len(d.Missing), maxMissing)], compact(d.Filtered)
	if d.Causes == nil {
		d.Causes = []edgeagent.Cause{}
	}
	for _, c := range d.Causes {
		d.Grounded.Checked += len(c.Evidence) + len(c.Sources)
	}
	d.Grounded.Held = d.Grounded.Checked
	llm.Screen(d) // names and old feedback are words of the plant, not of the book
	d.Filtered = compact(d.Filtered)
	return *d
}

// compact drops repetitions and is never nil, for JSON's [].
func compact(in []string) []string {
	out := []string{}
	for _, s := range in {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
