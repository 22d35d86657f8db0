package llm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"edgeagent"
)

// sayings are the sentences that code writes into a diagnosis.
type sayings struct {
	safety       string
	safetyOnly   string // %s: the alarm
	unstructured string // %s: the alarm
	noSummary    string
	removed      string // %s: where, %s: the words
	doubtful     string // %s: where, %s: the safety function
	removedOn    string // %s: where, %s: the safety function
	operates     string // %s: where, %s: the words
	foreign      string // %s: where
	echo         string // %s: where
}

var texts = map[string]sayings{
	"en": {
		safety:       "This concerns a safety function. Do not work around it. Follow the lockout procedure; only people qualified for it may work on it.",
		safetyOnly:   "%s concerns a safety function: no advice of a model is shown. Follow the safety text.",
		unstructured: "The answer for %s could not be read; it is shown as it came.",
		noSummary:    "The answer had no summary that can be shown.",
		removed:      "%s removed: it would defeat a safety function (%s)",
		doubtful:     "%s removed: it works on a safety function (%s) in a way that is not plainly harmless",
		removedOn:    "%s removed: it concerns the safety function %s, on which no model advises",
		operates:     "%s removed: it would write to the machine's control (%s)",
		foreign:      "%s removed: it is in a language in which it cannot be checked",
		echo:         "%s removed: it repeats a text of the plant that tells its reader what to say",
	},
	"de": {
		safety:       "Dies betrifft eine Sicherheitsfunktion. Umgehen Sie sie nicht. Halten Sie das Freischaltverfahren ein; nur dafür befähigte Personen dürfen daran arbeiten.",
		safetyOnly:   "%s betrifft eine Sicherheitsfunktion: Ratschläge eines Modells werden nicht gezeigt. Beachten Sie den Sicherheitshinweis.",
		unstructured: "Die Antwort zu %s war nicht lesbar; sie steht hier, wie sie kam.",
		noSummary:    "Die Antwort hatte keine Zusammenfassung, die gezeigt werden kann.",
		removed:      "%s entfernt: es würde eine Sicherheitsfunktion außer Kraft setzen (%s)",
		doubtful:     "%s entfernt: es greift in eine Sicherheitsfunktion ein (%s), nicht offensichtlich harmlos",
		removedOn:    "%s entfernt: es betrifft die Sicherheitsfunktion %s, zu der kein Modell rät",
		operates:     "%s entfernt: es würde in die Steuerung der Maschine schreiben (%s)",
		foreign:      "%s entfernt: die Sprache lässt sich nicht prüfen",
		echo:         "%s entfernt: es wiederholt einen Text der Anlage, der seinem Leser etwas aufträgt",
	},
}

// SafetyText returns the fixed text for whatever concerns a safety function,
// in English or German.
func SafetyText(language string) string { return texts[LanguageOf(language)].safety }

// safety writes the safety text: what the runbook's entries for this alarm say,
// and the fixed text when an alarm or a cited tag is a safety function.
func (j *judgement) safety() string {
	var out []string
	for _, p := range j.passages {
		if p.Exact && p.Safety != "" && !slices.Contains(out, p.Safety) {
			out = append(out, p.Safety)
		}
	}
	if j.concernsSafety() {
		out = append(out, texts[j.language].safety)
	}
	return strings.Join(out, " ")
}

func (j *judgement) concernsSafety() bool {
	for _, a := range j.c.Alarms {
		if a.Alarm.Safety {
			return true
		}
	}
	for name := range j.cited {
		if j.facts.safety[name] {
			return true
		}
	}
	return j.screen.safety
}

// safetyFunction returns the safety function that a claim is about: one that it
// cites, or one that its text names.
func (j *judgement) safetyFunction(text string, cited []string) string {
	for _, name := range cited {
		if j.facts.safety[name] {
			return name
		}
	}
	found := ""
	for name := range j.facts.safety {
		if containsName(text, name) && (found == "" || name < found) {
			found = name
		}
	}
	return found
}

// containsName reports whether a text holds a name as a whole, or the tag's
// part of it where that cannot be a word of the language.
func containsName(text, name string) bool {
	short := name
	if i := strings.IndexAny(name, "./"); i >= 0 && strings.ContainsAny(name[i+1:], "_0123456789") {
		short = name[i+1:]
	}
	return regexp.MustCompile(`(?i)(^|[^\w])` + regexp.QuoteMeta(short) + `($|[^\w])`).MatchString(text)
}

// safetyOnly is the diagnosis of an alarm that is itself a safety function.
func (j *judgement) safetyOnly(d edgeagent.Diagnosis, a answer) edgeagent.Diagnosis {
	name := j.c.First().Alarm.Name()
	for i := range a.Causes {
		j.screen.removeSafety(fmt.Sprintf("cause %d", i+1), name)
	}
	for i := range a.Checks {
		j.screen.removeSafety(fmt.Sprintf("check %d", i+1), name)
	}
	d.Summary = fmt.Sprintf(texts[j.language].safetyOnly, j.title())
	d.Urgency, d.InsufficientEvidence = edgeagent.UrgencyNow, true
	d.Filtered, d.Grounded, d.Safety = j.screen.removed, j.grounded, j.safety()
	if d.Filtered == nil {
		d.Filtered = []string{}
	}
	j.faults = nil // nothing of the answer is used, so nothing of it needs repair
	return d
}

// Screen removes from a diagnosis what would defeat a safety function and names
// it in Filtered. Judge and Drop have done so, and stricter; it is for what
// people wrote, the runbook above all.
func Screen(d *edgeagent.Diagnosis) {
	s := screen{language: LanguageOf(d.Language)}
	d.Summary = s.prose(d.Summary, "summary")
	causes, checks := d.Causes[:0:0], d.Checks[:0:0]
	for i, c := range d.Causes {
		if c.Cause = s.prose(c.Cause, fmt.Sprintf("cause %d", i+1)); c.Cause != "" {
			causes = append(causes, c)
		}
	}
	for i, c := range d.Checks {
		if s.check(c, fmt.Sprintf("check %d", i+1)) {
			checks = append(checks, c)
		}
	}
	d.Causes, d.Checks, d.Filtered = causes, checks, append(d.Filtered, s.removed...)
}

// screen removes forbidden advice and remembers what it removed. It reads the
// texts of one diagnosis in order: "locate the light curtain", "bridge it".
type screen struct {
	language string
	site     *Forbidden
	strict   bool // a model wrote it: a check on a safety function must be plainly harmless
	carried  int  // for how many sentences more a pronoun may mean a safety function
	safety   bool // something was removed
	removed  []string
}

func (s *screen) removeSafety(where, name string) {
	s.remove(fmt.Sprintf(s.words().removedOn, where, Clean(name, maxText)))
}

func (s *screen) remove(note string) {
	s.safety = true
	s.note(note)
}

func (s *screen) note(note string) {
	if len(s.removed) < 16 {
		s.removed = append(s.removed, note)
	}
}

func (s *screen) words() sayings { return texts[LanguageOf(s.language)] }

// check reports whether a check may be shown whole.
func (s *screen) check(text, where string) bool {
	if s.foreign(text, where) {
		return false
	}
	for _, sentence := range sentences(text) {
		if found := s.operates(sentence, false); found != "" {
			s.note(fmt.Sprintf(s.words().operates, where, found))
			return false
		}
		if found := s.defeats(sentence, false); found != "" {
			s.remove(fmt.Sprintf(s.words().removed, where, found))
			return false
		}
		if !s.strict {
			continue // what people wrote, they stand by
		}
		if found := s.doubtful(sentence); found != "" {
			s.remove(fmt.Sprintf(s.words().doubtful, where, found))
			return false
		}
	}
	return true
}

func isClauseEnd(r rune) bool { return strings.ContainsRune(clauseEnds, r) }

// leads reports a clause whose first verb, or whose last in German, is plain work.
// One in the middle may be anything: "power it from the test socket".
func leads(text string) bool {
	text = strings.Trim(text, " .!?")
	for _, m := range plainWork.FindAllStringIndex(text, -1) {
		before, after := text[:m[0]], strings.TrimSpace(text[m[1]:])
		if strings.HasSuffix(before, "to ") { // "…, to see whether it runs" is the reason, not the work
			continue
		}
		if len(strings.Fields(before)) <= leadWords || after == "" || after == "lassen" {
			return true
		}
	}
	return false
}

// leadWords may stand before the first verb: "have an electrician check", "then
// carefully clean".
const leadWords = 3

// asksAbout reports that what follows is a question: "check whether …".
func asksAbout(before string) bool {
	return inspecting.MatchString(before) && whether.MatchString(before) && !onCondition.MatchString(before)
}

// foreign drops a model's text that is neither English nor German: no list of
// forbidden advice can be held against it.
func (s *screen) foreign(text, where string) bool {
	if !s.strict || !foreign(text) {
		return false
	}
	s.note(fmt.Sprintf(s.words().foreign, where))
	return true
}

// operates returns the words by which a model's sentence advises to write to
// the control, or nothing. People may: they stand by what they write.
func (s *screen) operates(sentence string, prose bool) string {
	if !s.strict {
		return ""
	}
	text := normal(sentence)
	if claimed := claims.FindString(text); claimed != "" {
		return claimed
	}
	if !strings.ContainsAny(text, "0123456789") && !slices.ContainsFunc(controlStems, func(stem string) bool { return strings.Contains(text, stem) }) {
		return ""
	}
	text = s.withoutHarmless(text)
	for _, v := range operating.FindAllStringIndex(text, -1) {
		if found := text[v[0]:v[1]]; !negator.MatchString(found) && !excused(text, v, prose) {
			return found
		}
	}
	return ""
}

// doubtful returns the safety function that a check is about when it asks for
// nothing that is plainly harmless. No list knows all ways to defeat a safety
// function; a check has to look like inspection, cleaning, closing or a call
// for help, or it goes.
func (s *screen) doubtful(sentence string) string {
	text := normal(sentence)
	if !s.site.stem(text) {
		return ""
	}
	text = s.withoutHarmless(text)
	all := s.site.objects(text)
	if len(all) == 0 {
		return ""
	}
	at := all[0]
	if forbidden.MatchString(text) || locked.MatchString(text) {
		return ""
	}
	if begin, end := clause(text, at[0], at[1]); negator.MatchString(text[begin:at[0]]) || barred.MatchString(text[at[1]:end]) {
		return ""
	}
	if h := handling.FindStringIndex(text); h != nil && !excused(text, h, false) && !asksAbout(text[:h[0]]) {
		return text[at[0]:at[1]]
	}
	if reporting.MatchString(text) || slices.ContainsFunc(strings.FieldsFunc(text, isClauseEnd), leads) {
		return ""
	}
	return text[at[0]:at[1]]
}

// prose returns a text without the sentences that advise the forbidden. A
// sentence that only reports it stays: "the door switch was bridged" is a cause.
func (s *screen) prose(text, where string) string {
	var kept []string
	if s.foreign(text, where) {
		return ""
	}
	for _, sentence := range sentences(text) {
		if found := s.operates(sentence, true); found != "" {
			s.note(fmt.Sprintf(s.words().operates, where, found))
			continue
		}
		if found := s.defeats(sentence, true); found != "" {
			s.remove(fmt.Sprintf(s.words().removed, where, found))
			continue
		}
		kept = append(kept, sentence)
	}
	return strings.Join(kept, " ")
}

// defeats returns the words by which a sentence advises to defeat a safety
// function, or nothing.
func (s *screen) defeats(sentence string, prose bool) string {
	text, before := normal(sentence), s.carried > 0
	if found := s.site.matches(sentence, text); found != "" {
		return found
	}
	if s.carried = max(0, s.carried-1); !before && !s.site.stem(text) {
		return ""
	}
	text = s.withoutHarmless(text)
	objects := s.site.objects(text)
	if len(objects) > 0 {
		s.carried = carriedFor
	}
	if m := inTheOpen.FindStringIndex(text); m != nil && !negated(text, m[0], m[1]) {
		return text[m[0]:m[1]]
	}
	for _, v := range strongVerb.FindAllStringIndex(text, -1) {
		object := nearest(text, objects, v)
		if object == "" && before && pronoun.MatchString(text) {
			object = pronoun.FindString(text)
		}
		if object != "" && !excused(text, v, prose) {
			return text[v[0]:v[1]] + " … " + object
		}
	}
	for _, v := range weakVerb.FindAllStringIndex(text, -1) {
		object := beside(text, objects, v)
		if object != "" && !excused(text, v, prose) && !locked.MatchString(text) && !undoes(text, v) {
			return text[v[0]:v[1]] + " … " + object
		}
	}
	return ""
}

// carriedFor is how many sentences later "bridge them" still means the door switch.
const carriedFor = 3

func nearest(text string, objects [][]int, verb []int) string {
	best, found := len(text)+1, ""
	for _, o := range objects {
		if o[0] > verb[0] && o[1] < verb[1] { // "take the door switch out of service"
			return text[o[0]:o[1]]
		}
		if d := max(o[0]-verb[1], verb[0]-o[1]); d < best && (o[0] >= verb[1] || verb[0] >= o[1]) {
			best, found = d, text[o[0]:o[1]]
		}
	}
	return found
}

// besideWords is how many words may stand between a weak verb and its object.
const besideWords = 3

func beside(text string, objects [][]int, verb []int) string {
	for _, o := range objects {
		between := ""
		switch {
		case o[0] >= verb[1]:
			between = text[verb[1]:o[0]]
		case verb[0] >= o[1]:
			between = text[o[1]:verb[0]]
		}
		if len(strings.Fields(between)) <= besideWords && !strings.ContainsAny(between, clauseEnds) {
			return text[o[0]:o[1]]
		}
	}
	return ""
}

// undoes reports a weak verb that takes a bypass away: "remove the jumper from
// the safety relay".
func undoes(text string, verb []int) bool {
	if !undoing.MatchString(text[verb[0]:verb[1]]) {
		return false
	}
	rest := strings.Fields(text[verb[1]:])
	return slices.ContainsFunc(rest[:min(len(rest), besideWords)], strongVerb.MatchString)
}

const clauseEnds = ",.;:!?()–—\n"

var clauseWords = words(`but`, `instead`, `then`, `sondern`, `aber`, `dann`, `stattdessen`, `otherwise`, `sonst`)

// clause returns the bounds of the clause that holds text[from:to].
func clause(text string, from, to int) (int, int) {
	begin, end := 0, len(text)
	if i := strings.LastIndexAny(text[:from], clauseEnds); i >= 0 {
		begin = i + 1
	}
	for _, m := range clauseWords.FindAllStringIndex(text[begin:from], -1) {
		if text[begin+m[0]:begin+m[1]] != "instead" || !strings.HasPrefix(text[begin+m[1]:], " of") {
			begin += m[1]
			break
		}
	}
	if i := strings.IndexAny(text[to:], clauseEnds); i >= 0 {
		end = to + i
	}
	return begin, end
}

// excused reports whether the verb at v is no advice: negated, forbidden, taken
// back, looked for, or (in prose) told of the past.
func excused(text string, v []int, prose bool) bool {
	if negated(text, v[0], v[1]) || reverted(text, v) || lookedFor(text, v) {
		return true
	}
	return prose && participle.MatchString(text[v[0]:v[1]]) && describing.MatchString(text) && !wanting.MatchString(text) && !onCondition.MatchString(text[:v[0]])
}

// negated looks for a negation in the verb's clause: one before it with nothing
// but fillers between, a German one behind it, or a word that forbids.
func negated(text string, from, to int) bool {
	begin, end := clause(text, from, to)
	if forbidden.MatchString(text[to:end]) {
		return true
	}
	if notReally.MatchString(text[begin:end]) {
		return false
	}
	if m := negator.FindAllStringIndex(text[begin:from], -1); m != nil {
		for _, n := range m {
			if onlyFillers(text[begin+n[1] : from]) {
				return true
			}
		}
	}
	if n := laterNegator.FindStringIndex(text[to:end]); n != nil {
		return onlyFillers(text[to : to+n[0]])
	}
	return false
}

// onlyFillers reports whether nothing of weight stands in s: further verbs and
// safety functions share the negation, "never bypass or bridge the interlock".
func onlyFillers(s string) bool {
	s = safetyObject.ReplaceAllString(strongVerb.ReplaceAllString(s, " "), " ")
	s = weakVerb.ReplaceAllString(s, " ")
	for w := range strings.FieldsSeq(s) {
		if !fillers[w] {
			return false
		}
	}
	return true
}

// reverted reports a bypass that is to be removed or reported.
func reverted(text string, v []int) bool {
	if !nounForm.MatchString(text[v[0]:v[1]]) && !participle.MatchString(text[v[0]:v[1]]) {
		return false
	}
	before := strings.Fields(text[:v[0]])
	return undoing.MatchString(strings.Join(before[max(0, len(before)-besideWords):], " "))
}

// lookedFor reports a bypass that is looked for, or spoken of as a possibility:
// "check whether somebody has bridged the door switch".
func lookedFor(text string, v []int) bool {
	verb := text[v[0]:v[1]]
	if !participle.MatchString(verb) && !nounForm.MatchString(verb) {
		return false
	}
	begin, end := clause(text, v[0], v[1])
	m := whether.FindAllStringIndex(text[begin:v[0]], -1)
	if m == nil || onCondition.MatchString(text[begin+m[len(m)-1][1]:v[0]]) {
		return false
	}
	return inspecting.MatchString(text) || describing.MatchString(text[begin:end])
}

// withoutHarmless blanks uses of the words that concern no safety function,
// unless one stands in them or right behind: "bypass valve interlock", "for
// safety relay K1".
func (s *screen) withoutHarmless(text string) string {
	objects := s.site.objects(text)
	var b strings.Builder
	from := 0
	for _, m := range harmless.FindAllStringIndex(text, -1) {
		if slices.ContainsFunc(objects, func(o []int) bool { return m[0] <= o[0] && o[0] <= m[1]+1 && o[1] > m[1] }) {
			continue
		}
		b.WriteString(text[from:m[0]] + " , ")
		from = m[1]
	}
	return b.String() + text[from:]
}
