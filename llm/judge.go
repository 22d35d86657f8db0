package llm

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"edgeagent"
)

// Codes of faults.
const (
	FaultEmpty    = "empty"
	FaultNotJSON  = "not_json"
	FaultSeveral  = "several_objects"
	FaultSchema   = "schema"
	FaultEvidence = "unknown_evidence"
	FaultSource   = "unknown_source"
	FaultNumber   = "unknown_number"
	FaultFiltered = "forbidden_advice"
	FaultLanguage = "language"
)

// Fault says what is wrong with an answer, in words fit to be sent back to the
// model for the one repair.
type Fault struct {
	Code string
	Text string
}

const (
	maxUnstructured = 8 << 10 // bytes of an unparsable answer that are shown
	maxFaultText    = 700     // bytes of faults that are sent back
)

// Judge turns a model's answer into a diagnosis. A fault means that the answer
// could not be read, or claims what is not in its case: ask the model once to
// repair it, then use [Drop]. Advice that would defeat a safety function is no
// fault: it is removed and named in Filtered, unless nothing else was said.
func Judge(c edgeagent.Case, passages []Passage, raw, language string) (edgeagent.Diagnosis, *Fault) {
	return judgeWith(nil, c, passages, raw, language)
}

func judgeWith(f *Forbidden, c edgeagent.Case, passages []Passage, raw, language string) (edgeagent.Diagnosis, *Fault) {
	object, fault := extract(raw)
	if fault != nil {
		return edgeagent.Diagnosis{Language: LanguageOf(language, c.Language), Urgency: urgencyOf(c)}, fault
	}
	a, faults := read(object)
	if len(faults) == 0 {
		faults = a.check()
	}
	a.trim() // what is beyond the limits is a fault already
	j := newJudgement(f, c, passages, language)
	d := j.diagnosis(a)
	return d, join(append(faults, j.faults...))
}

// Drop makes the best of an answer that stayed faulty: claims without ground
// are left out and grounded counts them; an answer that cannot be read is kept
// whole as Unstructured. It reports false when nothing is left.
func Drop(c edgeagent.Case, passages []Passage, raw, language string) (edgeagent.Diagnosis, bool) {
	return dropWith(nil, c, passages, raw, language)
}

func dropWith(f *Forbidden, c edgeagent.Case, passages []Passage, raw, language string) (edgeagent.Diagnosis, bool) {
	j := newJudgement(f, c, passages, language)
	object, fault := extract(raw)
	if fault != nil && fault.Code != FaultSeveral {
		return j.unstructured(raw)
	}
	if object == nil { // several objects: the last is as likely as the first, so show what was said
		return j.unstructured(raw)
	}
	a, _ := read(object)
	a.trim()
	j.dropping = true
	d := j.diagnosis(a)
	return d, len(d.Causes) > 0 || len(d.Checks) > 0 || len(d.Filtered) > 0 || a.Insufficient && d.Summary != ""
}

// join makes one fault of several, for one repair.
func join(faults []Fault) *Fault {
	if len(faults) == 0 {
		return nil
	}
	text := faults[0].Text
	for _, f := range faults[1:] {
		if len(text)+len(f.Text) > maxFaultText {
			break
		}
		text += " " + f.Text
	}
	return &Fault{Code: faults[0].Code, Text: clip(text, maxFaultText)}
}

// trim cuts what is too long to what may be shown.
func (a *answer) trim() {
	a.Summary = cutAtWord(a.Summary, maxSummary)
	a.Causes = a.Causes[:min(len(a.Causes), maxCauses)]
	for i := range a.Causes {
		a.Causes[i].Cause = cutAtWord(a.Causes[i].Cause, maxCauseText)
	}
	a.Checks = a.Checks[:min(len(a.Checks), maxChecks)]
	for i := range a.Checks {
		a.Checks[i] = cutAtWord(a.Checks[i], maxCheckText)
	}
	a.Missing = a.Missing[:min(len(a.Missing), maxMissing)]
	for i := range a.Missing {
		a.Missing[i] = cutAtWord(a.Missing[i], maxMissingText)
	}
	a.Evidence = a.Evidence[:min(len(a.Evidence), maxEvidence)]
}

func cutAtWord(s string, limit int) string {
	if !tooLong(s, limit) {
		return s
	}
	s = strings.TrimSuffix(edgeagent.Shorten(s, limit), "…")
	if i := strings.LastIndexByte(s, ' '); i > 0 {
		s = s[:i]
	}
	return s + " …"
}

// judgement is the work on one answer.
type judgement struct {
	c        edgeagent.Case
	passages []Passage
	facts    *facts
	lures    lures
	language string
	dropping bool
	screen   screen
	faults   []Fault
	grounded edgeagent.Grounded
	cited    map[string]bool // names of the case that the answer rests on
}

func newJudgement(f *Forbidden, c edgeagent.Case, passages []Passage, language string) *judgement {
	language = LanguageOf(language, c.Language)
	return &judgement{
		c: c, passages: passages, facts: newFacts(c, passages), lures: newLures(c, passages), language: language,
		screen: screen{language: language, strict: true, site: f}, cited: map[string]bool{},
	}
}

// diagnosis builds the diagnosis from what can be shown of a.
func (j *judgement) diagnosis(a answer) edgeagent.Diagnosis {
	d := edgeagent.Diagnosis{
		Language: j.language, Urgency: j.urgency(a.Urgency), InsufficientEvidence: a.Insufficient,
		Causes: []edgeagent.Cause{}, Checks: []string{}, Missing: []string{}, Filtered: []string{},
	}
	j.observations(a.Evidence)
	d.Language = j.spoken(a)
	if j.c.First().Alarm.Safety {
		return j.safetyOnly(d, a)
	}
	d.Summary = j.prose(a.Summary, "summary")
	for i, c := range a.Causes {
		if cause, ok := j.cause(c, i+1); ok {
			d.Causes = append(d.Causes, cause)
		}
	}
	for i, text := range a.Checks {
		if j.check(text, i+1) {
			d.Checks = append(d.Checks, text)
		}
	}
	for _, m := range a.Missing {
		if m = j.prose(m, "missing"); m != "" {
			d.Missing = append(d.Missing, m)
		}
	}
	return j.finish(d)
}

// spoken returns the language an answer is in. One in the other language of the
// two is a fault, and shown for what it is if it stays one.
func (j *judgement) spoken(a answer) string {
	all := []string{a.Summary}
	for _, c := range a.Causes {
		all = append(all, c.Cause)
	}
	all = append(all, a.Checks...)
	other := inOther(strings.Join(all, " "), j.language)
	if other == "" {
		return j.language
	}
	j.fault(FaultLanguage, "The texts are in %s. Write them in %s.", languageNames[other], languageNames[j.language])
	return other
}

// finish adds what code alone decides.
func (j *judgement) finish(d edgeagent.Diagnosis) edgeagent.Diagnosis {
	d.Filtered, d.Grounded, d.Safety = j.screen.removed, j.grounded, j.safety()
	if d.Filtered == nil {
		d.Filtered = []string{}
	}
	if len(d.Filtered) > 0 && len(d.Causes) == 0 && len(d.Checks) == 0 {
		j.fault(FaultFiltered, "Every cause and check was removed because it would defeat a safety function. Give checks that do not.")
	}
	if len(d.Causes) == 0 {
		d.InsufficientEvidence = true
	}
	if d.Summary == "" && (len(d.Causes) > 0 || len(d.Checks) > 0 || len(d.Filtered) > 0) {
		d.Summary = j.summary(d)
	}
	return d
}

// summary stands in for one that was missing or had to go. The plant's own
// words go through the filter too: here they would read as advice.
func (j *judgement) summary(d edgeagent.Diagnosis) string {
	first := j.c.First().Alarm
	s := plain(Clean(first.Name()+": "+first.Text, maxText))
	if len(d.Causes) > 0 {
		s = d.Causes[0].Cause
	}
	if !j.showable(s) {
		return texts[j.language].noSummary
	}
	return s
}

// showable reports whether a text of the plant may stand where advice does.
func (j *judgement) showable(s string) bool {
	filter := screen{language: j.language, strict: true, site: j.screen.site}
	return !j.lures.echoes(s) && filter.prose(s, "") == s
}

// title is the alarm's name, or its id where the name is no name: servers send
// any text for one.
func (j *judgement) title() string {
	first := j.c.First().Alarm
	if name := plain(Clean(first.Name(), maxText)); j.showable(name) {
		return name
	}
	return string(first.ID)
}

// urgency falls back to the alarm's priority.
func (j *judgement) urgency(word string) edgeagent.Urgency {
	for _, u := range urgencies {
		if word == string(u) {
			return u
		}
	}
	return urgencyOf(j.c)
}

func urgencyOf(c edgeagent.Case) edgeagent.Urgency { return UrgencyOf(c.First().Alarm) }

// UrgencyOf returns how urgent an alarm is by its priority, or because it
// concerns a safety function: what code says where no model does.
func UrgencyOf(a edgeagent.Alarm) edgeagent.Urgency {
	switch {
	case a.Safety || a.Priority == 1:
		return edgeagent.UrgencyNow
	case a.Priority == 2:
		return edgeagent.UrgencyShift
	default:
		return edgeagent.UrgencyPlanned
	}
}

// observations checks what the model says it looked at. They are not shown, but
// a verdict that rests on a tag which does not exist is not worth much.
func (j *judgement) observations(list []observation) {
	for i, o := range list {
		j.names([]string{o.Name}, fmt.Sprintf("evidence %d", i+1))
	}
}

// names checks cited tags and alarms and returns those of the case.
func (j *judgement) names(cited []string, where string) []string {
	held, unknown := known(cited, j.facts.names)
	j.count(len(cited), len(held))
	for _, n := range unknown {
		j.fault(FaultEvidence, "%s names %q, which is not in the case.", where, Clean(n, 80))
	}
	for _, n := range held {
		j.cited[n] = true
	}
	return slices.DeleteFunc(unique(held), func(n string) bool { return !j.showable(plain(n)) })
}

func (j *judgement) sources(cited []string, where string) []string {
	held, unknown := known(cited, j.facts.sources)
	j.count(len(cited), len(held))
	for _, s := range unknown {
		j.fault(FaultSource, "%s cites passage %q, which is not in the case.", where, Clean(s, 80))
	}
	return slices.DeleteFunc(unique(held), func(n string) bool { return !j.showable(plain(n)) })
}

// grounds checks the numbers and names within a text and reports whether all
// of them are the case's.
func (j *judgement) grounds(text, where string) bool {
	ok := true
	for _, q := range quantities(text) {
		if held := j.facts.holds(q); held {
			j.count(1, 1)
		} else {
			ok = false
			j.count(1, 0)
			j.fault(FaultNumber, "%s says %q, a number that is not in the case.", where, q.text)
		}
	}
	for _, n := range j.facts.strangers(text) {
		ok = false
		j.count(1, 0)
		j.fault(FaultEvidence, "%s names %q, which is not in the case.", where, Clean(n, 80))
	}
	return ok
}

func (j *judgement) count(checked, held int) {
	j.grounded.Checked += checked
	j.grounded.Held += held
}

func (j *judgement) fault(code, format string, args ...any) {
	j.faults = append(j.faults, Fault{code, fmt.Sprintf(format, args...)})
}

// cause returns a cause as it may be shown.
func (j *judgement) cause(a answerCause, n int) (edgeagent.Cause, bool) {
	where := fmt.Sprintf("cause %d", n)
	c := edgeagent.Cause{Cause: a.Cause, Likelihood: j.likelihood(a.Likelihood)}
	c.Evidence, c.Sources = j.names(a.Evidence, where), j.sources(a.Sources, where)
	grounded := j.grounds(a.Cause, where)
	if len(a.Evidence)+len(a.Sources) == 0 && c.Likelihood == edgeagent.Likely {
		// Nothing false was cited, so a repair is not worth its price: the claim
		// only loses the strength that nothing supports.
		j.count(1, 0)
		c.Likelihood = edgeagent.Possible
	}
	if name := j.safetyFunction(a.Cause, c.Evidence); name != "" {
		j.screen.removeSafety(where, name)
		return c, false
	}
	if j.echo(a.Cause, where) {
		return c, false
	}
	c.Cause = j.screen.prose(a.Cause, where)
	if c.Cause == "" {
		return c, false
	}
	lost := len(a.Evidence)+len(a.Sources) > 0 && len(c.Evidence)+len(c.Sources) == 0
	return c, !j.dropping || grounded && !lost
}

func (j *judgement) likelihood(word string) edgeagent.Likelihood {
	for _, l := range likelihoods {
		if word == string(l) {
			return l
		}
	}
	return edgeagent.Possible
}

// check reports whether a check may be shown.
func (j *judgement) check(text string, n int) bool {
	where := fmt.Sprintf("check %d", n)
	if text == "" {
		return false
	}
	grounded := j.grounds(text, where)
	if name := j.safetyFunction(text, nil); name != "" {
		j.screen.removeSafety(where, name)
		return false
	}
	if j.echo(text, where) {
		return false
	}
	return j.screen.check(text, where) && (grounded || !j.dropping)
}

// prose checks a text sentence by sentence and returns those that may be shown.
// The filter reads all of it first: a sentence that is dropped for another
// reason may be the one that names what the next one is about.
func (j *judgement) prose(text, where string) string {
	var kept []string
	for _, s := range sentences(j.screen.prose(text, where)) {
		if held := j.grounds(s, where); (held || !j.dropping) && !j.echo(s, where) {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, " ")
}

// unstructured keeps an answer that could not be read, still without advice to
// defeat a safety function.
func (j *judgement) unstructured(raw string) (edgeagent.Diagnosis, bool) {
	text := lines(withoutMarkup(clip(raw, 2*maxUnstructured)))
	if text == "" {
		return edgeagent.Diagnosis{}, false
	}
	d := edgeagent.Diagnosis{
		Language: j.language, Urgency: urgencyOf(j.c), InsufficientEvidence: true,
		Causes: []edgeagent.Cause{}, Checks: []string{}, Missing: []string{},
	}
	if j.c.First().Alarm.Safety {
		j.screen.removeSafety("answer", j.c.First().Alarm.Name())
	} else {
		d.Unstructured = clip(j.unechoed(j.screen.prose(text, "answer")), maxUnstructured)
	}
	d.Summary = fmt.Sprintf(texts[j.language].unstructured, j.title())
	d.Safety, d.Filtered = j.safety(), j.screen.removed
	if d.Filtered == nil {
		d.Filtered = []string{}
	}
	return d, true
}

// unechoed leaves out the sentences that repeat a lure.
func (j *judgement) unechoed(text string) string {
	return strings.Join(slices.DeleteFunc(sentences(text), func(s string) bool { return j.echo(s, "answer") }), " ")
}

// lines cleans a text line by line.
func lines(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		out = appendText(out, Clean(l, len(l)+1))
	}
	return strings.Join(out, "\n")
}

// clip cuts to limit bytes without cutting a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func unique(in []string) []string {
	out := []string{}
	seen := map[string]bool{}
	for _, s := range in {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
