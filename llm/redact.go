package llm

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"edgeagent"
)

// redacted stands where something was blanked: visibly, so that neither the
// model nor who reads the stored prompt takes the rest for the whole.
const redacted = "[redacted]"

// redaction blanks what must not leave the site.
type redaction []*regexp.Regexp

// prompt blanks the case of p. Each text is looked at by itself and as the plant
// wrote it, not in JSON's spelling: so an expression ends with its text, however
// greedy it is, and no escape hides anything from it.
func (r redaction) prompt(p Prompt) Prompt {
	if len(r) == 0 {
		return p
	}
	head, body, found := strings.Cut(p.User, "\n")
	if !found {
		head, body = "", p.User
	} else {
		head += "\n"
	}
	p.User = head + r.json(body)
	p.Tokens = max(p.Tokens, EstimateTokens(p.System)+EstimateTokens(p.User))
	return p
}

// repair blanks what goes along with a question to correct an answer.
func (r redaction) repair(x *Repair) *Repair {
	if len(r) == 0 || x == nil {
		return x
	}
	return &Repair{Answer: r.text(x.Answer), Fault: r.text(x.Fault)}
}

// of blanks the texts of a case and its passages before a prompt cuts them: what
// a limit has cut in two no expression finds.
func (r redaction) of(c edgeagent.Case, passages []Passage) (edgeagent.Case, []Passage) {
	if len(r) == 0 {
		return c, passages
	}
	c.Alarms, c.Related, c.Before, passages = slices.Clone(c.Alarms), slices.Clone(c.Related), slices.Clone(c.Before), slices.Clone(passages)
	for i := range c.Alarms {
		a := &c.Alarms[i]
		a.Alarm = r.alarm(a.Alarm)
		if a.Evidence != nil {
			e := *a.Evidence
			e.Tags, e.Moved, e.Gaps = r.features(e.Tags), r.features(e.Moved), r.texts(e.Gaps)
			a.Evidence = &e
		}
	}
	for i := range c.Related {
		c.Related[i] = r.alarm(c.Related[i])
	}
	for i := range c.Before {
		c.Before[i].Cause, c.Before[i].FixedBy = r.text(c.Before[i].Cause), r.text(c.Before[i].FixedBy)
	}
	for i := range passages {
		passages[i].Title, passages[i].Text = r.text(passages[i].Title), r.text(passages[i].Text)
	}
	return c, passages
}

func (r redaction) alarm(a edgeagent.Alarm) edgeagent.Alarm {
	a.Text, a.SourceText = r.text(a.Text), r.text(a.SourceText)
	if a.LastTime != nil {
		last := *a.LastTime
		last.Cause, last.FixedBy = r.text(last.Cause), r.text(last.FixedBy)
		a.LastTime = &last
	}
	if len(a.Values) > 0 {
		a.Values = maps.Clone(a.Values)
		for name, v := range a.Values {
			a.Values[name] = r.value(v)
		}
	}
	return a
}

func (r redaction) features(all []edgeagent.Feature) []edgeagent.Feature {
	all = slices.Clone(all)
	for i := range all {
		f := &all[i]
		f.Value, f.Text = r.value(f.Value), r.text(f.Text)
		if f.Reason != nil {
			f.Reason = edgeagent.NewNote(f.Reason.Code, r.text(f.Reason.Text))
		}
	}
	return all
}

func (r redaction) texts(all []string) []string {
	all = slices.Clone(all)
	for i := range all {
		all[i] = r.text(all[i])
	}
	return all
}

// value blanks a text of the plant; numbers are looked at as they are written.
func (r redaction) value(v edgeagent.Value) edgeagent.Value {
	if text, ok := v.Any().(string); ok {
		return edgeagent.String(r.text(text))
	}
	return v
}

func (r redaction) text(s string) string {
	for _, re := range r {
		s = re.ReplaceAllLiteralString(s, redacted)
	}
	return s
}

// json blanks the texts and numbers of a JSON value and leaves its structure.
func (r redaction) json(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := tokenEnd(s)
		b.WriteString(r.token(s[:n]))
		s = s[n:]
	}
	return b.String()
}

// token blanks one text or number. Of a number nothing is left: a part of it
// would be a wrong value that looks right.
func (r redaction) token(s string) string {
	switch {
	case s[0] == '"':
		var text string
		if json.Unmarshal([]byte(s), &text) != nil {
			return `"` + redacted + `"`
		}
		if clean := r.text(text); clean != text {
			return quoteJSON(clean)
		}
	case beginsNumber(s[0]) && r.text(s) != s:
		return `"` + redacted + `"`
	}
	return s
}

// tokenEnd returns where the text, the number or the single byte ends that s
// begins with.
func tokenEnd(s string) int {
	if s[0] == '"' {
		return textEnd(s)
	}
	n := 1
	for beginsNumber(s[0]) && n < len(s) && inNumber(s[n]) {
		n++
	}
	return n
}

func textEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

func beginsNumber(c byte) bool { return c >= '0' && c <= '9' || c == '-' }

func inNumber(c byte) bool { return beginsNumber(c) || c == '+' || c == '.' || c == 'E' || c == 'e' }

func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a text can always be written
		return `"` + redacted + `"`
	}
	return string(b)
}
