package llm

import (
	"fmt"
	"slices"
	"strings"

	"edgeagent"
)

// A text of the plant that speaks to whoever reads it is a lure: nobody
// writes to a model on a panel without a purpose. It stays in the case, for it
// may be why the alarm rose; but no word of it may come back as advice.
var (
	// speaksToModel is about instructions, answers and roles; no runbook does so.
	speaksToModel = phrases(
		`(?:ignor\w+|disregard|forget|override|skip) (?:all |any |the |your |every )*(?:previous|prior|above|earlier|other|rules?|instructions?|safety rules?|system prompt)`,
		`system ?prompt`, `(?:new|first|final|updated|hidden) (?:rule|instruction|order)s?(?: \d+)? ?:`, `you are (?:now|an? |the |no longer|free)`, `(?:assistant|system|user|human|developer|model|ki|ai|llm) ?:`, `as an ai`, `(?:large )?language model`,
		`(?:answer|respond|reply|output|say) (?:only|exactly|nothing|with|in|this|the following|twice|as)\b`, `your (?:answer|reply|response|output|instructions|task|json)`, `(?:note|message|instruction)s? (?:to|for) (?:the )?(?:ai|model|assistant)`,
		`im start`, `im end`, `endoftext`, `eot id`, `start of turn`, `inst\]`, `tool call`, `end of (?:case|data|prompt)`, `(?:answer|say|reply|cite|cite source|add|append|repeat without end|write \w+) ?:`,
		`(?:ignorier\w*|vergiss|vergessen sie|missacht\w*) (?:alle|die|deine|ihre|saemtliche|jede|vorherige|bisherige)\w*`, `anweisungen (?:oben|vorher|zuvor)`, `du bist (?:jetzt|nun|ein)`, `(?:deine|die) (?:antwort|aufgabe|regeln|ausgabe)`, `antworte\w*`, `sprachmodell`, `neue regel`, `(?:schreib|sag)e? ?:`,
	)
	// speaksToReader asks that people be told something. A runbook may.
	speaksToReader = phrases(
		`(?:tell|instruct|advise|inform|ask|order) (?:the |every |all )?(?:operators?|technicians?|users?|readers?|engineers?|staff|them)`, `(?:always |please )?(?:recommend|suggest|advise|propose)(?:ing)?\b`, `(?:operators?|technicians?) (?:must|should|shall|has to|have to)`,
		`(?:sag|sage|empfiehl|empfehle\w*|rate|teile?|weise) (?:dem|der|den|allen|an)`, `empfiehl`, `(?:bediener|techniker|anwender) (?:muss|soll|sollen|muessen)`,
	)
)

// lureStems are pieces of which every phrase of the two lists has one.
var lureStems = append(strings.Fields(`: ignor forget overrid skip disreg prompt answer respon reply output say model instruct endoftext inst]
tell advis inform order recommend suggest propos operator technician vergiss vergess missacht anweis aufgabe regel antwort sprach sage empf rate teil weis bedien techniker anwender`),
	"you are", "your ", "im start", "im end", "eot id", "start of", "tool call", "end of", " ai", "ask ", "du bist", "deine", "sag ")

// phrases match from the beginning of a word on.
func phrases(alternatives ...string) pattern {
	return newPattern(func() string { return `\b(?:` + strings.Join(alternatives, "|") + `)` })
}

// lures are the runs of words that the case's lures consist of.
type lures map[string]bool

// lureWords is how many words in a row make an echo.
const lureWords = 3

func newLures(c edgeagent.Case, passages []Passage) lures {
	l := lures{}
	for _, a := range c.Alarms {
		l.addAlarm(a.Alarm)
		if a.Evidence != nil {
			l.addEvidence(a.Evidence)
		}
	}
	for _, a := range c.Related {
		l.addAlarm(a)
	}
	for _, p := range c.Before {
		l.add(true, p.Cause, p.FixedBy)
	}
	for _, p := range passages {
		l.add(false, p.ID, p.Title, p.Text)
	}
	l.add(true, c.Line, c.Area)
	return l
}

func (l lures) addAlarm(a edgeagent.Alarm) {
	l.add(true, a.Device, a.Code, a.Text, a.SourceText)
	for name, v := range a.Values {
		l.add(true, name)
		l.addValue(v)
	}
	if t := a.LastTime; t != nil {
		l.add(true, t.Cause, t.FixedBy)
	}
}

func (l lures) addEvidence(ev *edgeagent.Evidence) {
	l.add(true, ev.Gaps...)
	l.add(true, ev.Mode)
	for _, list := range [][]edgeagent.Feature{ev.Tags, ev.Moved} {
		for _, t := range list {
			l.add(true, t.Tag, t.Text, t.EngUnit, t.Reason.String())
			l.addValue(t.Value)
		}
	}
}

func (l lures) addValue(v edgeagent.Value) {
	if s, ok := v.Any().(string); ok {
		l.add(true, s)
	}
}

// add takes the texts that speak to their reader; of a runbook only those that
// speak to a model.
func (l lures) add(plant bool, texts ...string) {
	for _, t := range texts {
		if !strings.Contains(strings.TrimSpace(t), " ") && len(t) < 40 {
			continue // a name
		}
		text := normal(Clean(t, maxPassageText))
		if !slices.ContainsFunc(lureStems, func(stem string) bool { return strings.Contains(text, stem) }) {
			continue
		}
		if speaksToModel.MatchString(text) || plant && speaksToReader.MatchString(text) {
			l.learn(text)
		}
	}
}

func (l lures) learn(text string) {
	for _, run := range runs(text) {
		l[run] = true
	}
}

// runs returns every run of lureWords words of a normal text.
func runs(text string) []string {
	all := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" .,:;!?()[]{}|<>‹›#=", r) })
	var out []string
	for i := 0; i+lureWords <= len(all); i++ {
		out = append(out, strings.Join(all[i:i+lureWords], " "))
	}
	return out
}

// echoes reports a text that repeats a lure.
func (l lures) echoes(text string) bool {
	if len(l) == 0 {
		return false
	}
	for _, run := range runs(normal(text)) {
		if l[run] {
			return true
		}
	}
	return false
}

// echo removes a text of the answer that repeats a lure.
func (j *judgement) echo(text, where string) bool {
	if !j.lures.echoes(text) {
		return false
	}
	j.screen.note(fmt.Sprintf(texts[j.language].echo, where))
	return true
}
