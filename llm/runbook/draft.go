package runbook

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"time"

	"edgeagent"
	"edgeagent/llm"
)

// PersonSaid is what somebody at the machine said of a job: what it was, and
// what fixed it.
type PersonSaid struct {
	Job      edgeagent.ID    // empty when it is no longer kept
	Alarm    edgeagent.Alarm // the one that the job is about
	Feedback edgeagent.Feedback
	Found    string // the diagnosis' first cause, which counts where the verdict was right and no other cause was named
}

// Draft is an entry made of what people said, for an engineer to read.
type Draft struct {
	File      string         `json:"file"` // a name for it, unlike that of any other draft
	Code      string         `json:"code"`
	AppliesTo string         `json:"applies_to"`
	Confirmed bool           `json:"confirmed"` // an engineer stands by some of it already
	Jobs      []edgeagent.ID `json:"jobs"`
	Markdown  string         `json:"markdown"` // status: draft
}

// Remembered returns what is still known of what somebody said once the job is
// gone: neither who said it nor the alarm's text.
func Remembered(m edgeagent.Memory, p edgeagent.Precedent) PersonSaid {
	s := PersonSaid{
		Alarm:    edgeagent.Alarm{ID: p.Alarm, Device: m.Device, Line: m.Line, Code: m.Code, RaisedAt: p.At},
		Feedback: edgeagent.Feedback{Verdict: p.Verdict, FixedBy: p.FixedBy, At: p.At},
	}
	if p.ByPerson {
		s.Feedback.Cause = p.Cause
	} else {
		s.Found = p.Cause
	}
	if p.Confirmed {
		s.Feedback.ConfirmedBy = "an engineer"
	}
	return s
}

// maxSaid bounds what one draft quotes; the newest are kept.
const maxSaid = 12

// Drafts makes an entry of what people said of each alarm, where the runbook
// does not say it yet, as an entry or as a draft. Confirmed ones come first.
func (b *Book) Drafts(all []PersonSaid) []Draft {
	groups := map[string][]PersonSaid{}
	var order []string
	for _, s := range all {
		s = s.cleaned()
		if s.Feedback.Cause == "" && s.Feedback.FixedBy == "" || b.says(s) {
			continue
		}
		key := s.scope() + "\x00" + normalCode(s.Alarm.Code)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], s)
	}
	out := []Draft{}
	for _, key := range order {
		out = append(out, b.draftOf(groups[key]))
	}
	slices.SortStableFunc(out, func(x, y Draft) int {
		if x.Confirmed != y.Confirmed {
			return map[bool]int{true: -1, false: 1}[x.Confirmed]
		}
		return strings.Compare(x.File, y.File)
	})
	return out
}

// cleaned makes one harmless line of every word that somebody typed.
func (s PersonSaid) cleaned() PersonSaid {
	f := &s.Feedback
	if f.Cause == "" && f.Verdict == edgeagent.VerdictRight {
		f.Cause = s.Found
	}
	f.Cause, f.FixedBy, f.By, f.ConfirmedBy = typed(f.Cause), typed(f.FixedBy), typed(f.By), typed(f.ConfirmedBy)
	s.Alarm.Code, s.Alarm.Text, s.Alarm.Line = typed(s.Alarm.Code), typed(s.Alarm.Text), typed(s.Alarm.Line)
	return s
}

var (
	tagBegin   = regexp.MustCompile("<([a-zA-Z/!?])")
	commentEnd = regexp.MustCompile("-+>")
)

// typed is a person's text as Markdown that means nothing but its words: one
// line, so that it can be no heading and no front matter, without emphasis,
// links, tags and comments.
func typed(s string) string {
	s = plainText(llm.Clean(s, maxShown))
	s = commentEnd.ReplaceAllString(tagBegin.ReplaceAllString(s, "‹$1"), "›")
	return strings.TrimSpace(strings.ReplaceAll(s, `"`, "'")) // quotes hold it in the front matter
}

// scope is the machine, or the line of an alarm from outside.
func (s PersonSaid) scope() string {
	if s.Alarm.Device != "" {
		return "device:" + scopeName(s.Alarm.Device)
	}
	return "line:" + scopeName(s.Alarm.Line)
}

// says reports whether an entry or a draft for the alarm holds the words.
func (b *Book) says(s PersonSaid) bool {
	where := place{s.Alarm.Device, s.Alarm.Line, b.Templates[s.Alarm.Device]}
	code := normalCode(s.Alarm.Code)
	holds := func(e *entry) bool {
		if !slices.Contains(e.codes, code) || e.matches(where) == 0 {
			return false
		}
		body := fold(e.body())
		return strings.Contains(body, fold(strings.TrimSuffix(s.Feedback.Cause, "."))) && strings.Contains(body, fold(strings.TrimSuffix(s.Feedback.FixedBy, ".")))
	}
	return slices.ContainsFunc(b.byCode[code], holds) || slices.ContainsFunc(b.drafts, holds)
}

// draftOf writes one draft. Its title stands in the front matter: as a heading,
// an alarm's text that begins with another code would begin that code's entry.
func (b *Book) draftOf(said []PersonSaid) Draft {
	words := texts[llm.LanguageOf(b.Language)]
	slices.SortStableFunc(said, func(x, y PersonSaid) int {
		if x.confirmed() != y.confirmed() {
			return map[bool]int{true: -1, false: 1}[x.confirmed()]
		}
		return y.Feedback.At.Compare(x.Feedback.At)
	})
	said = said[:min(len(said), maxSaid)]
	a := said[0].Alarm
	d := Draft{Code: a.Code, AppliesTo: said[0].scope(), Confirmed: said[0].confirmed(), File: draftName(said[0]), Jobs: []edgeagent.ID{}}
	if i := slices.IndexFunc(said, func(s PersonSaid) bool { return s.Alarm.Text != "" }); i >= 0 {
		a.Text = said[i].Alarm.Text
	}
	var causes, checks, notes []string
	for _, s := range said {
		if s.Job != "" {
			d.Jobs = append(d.Jobs, s.Job)
		}
		causes = append(causes, s.Feedback.Cause)
		checks = append(checks, s.Feedback.FixedBy)
		notes = append(notes, s.note())
	}
	var m strings.Builder
	fmt.Fprintf(&m, "---\ncodes:\n  - \"%s\"\napplies_to:\n  - %s\ntitle: \"%s\"\nowner:\nreviewed:\nstatus: draft\n---\n", a.Code, d.AppliesTo, cmp.Or(a.Text, a.Code))
	m.WriteString("<!--\nDraft of what people found. Read and correct it, add a safety note, fill in owner and reviewed, take away \"status: draft\".\n")
	m.WriteString(strings.Join(compact(notes), "\n") + "\n-->\n")
	section(&m, "### "+words.causes, "- ", compact(causes))
	section(&m, "### "+words.checks, "1. "+words.wasFixedBy+": ", compact(checks))
	d.Markdown = m.String()
	return d
}

func (s PersonSaid) confirmed() bool { return s.Feedback.ConfirmedBy != "" }

// note says who said it, when and of which job.
func (s PersonSaid) note() string {
	text := fmt.Sprintf("%s job %s, said by %s", s.Feedback.At.UTC().Format(time.DateOnly), s.Job, cmp.Or(s.Feedback.By, "nobody"))
	if s.Job == "" {
		text = fmt.Sprintf("%s alarm %s, remembered", s.Feedback.At.UTC().Format(time.DateOnly), s.Alarm.ID)
	}
	if s.confirmed() {
		text += ", confirmed by " + s.Feedback.ConfirmedBy
	}
	return text
}

func section(m *strings.Builder, heading, mark string, items []string) {
	if len(items) == 0 {
		return
	}
	m.WriteString("\n" + heading + "\n")
	for _, i := range items {
		m.WriteString(mark + i + "\n")
	}
}

// draftName is a file's name for the machine and the code. What does not fit a
// name is told apart by a figure.
func draftName(s PersonSaid) string {
	plain := s.scope() + " " + s.Alarm.Code
	name := anchor(nil, plain)
	if runes := []rune(name); len(runes) > 80 {
		name = string(runes[:80])
	}
	h := fnv.New32a()
	fmt.Fprint(h, plain)
	return fmt.Sprintf("draft-%s-%08x.md", strings.TrimPrefix(strings.TrimPrefix(name, "device-"), "line-"), h.Sum32())
}
