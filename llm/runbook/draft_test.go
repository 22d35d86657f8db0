package runbook

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func said(device, code, cause, fixed, by string, at int) PersonSaid {
	return PersonSaid{
		Job: edgeagent.ID("J" + code), Alarm: alarm(device, code),
		Feedback: edgeagent.Feedback{Verdict: edgeagent.VerdictPartly, Cause: cause, FixedBy: fixed, By: by, At: raised.Add(time.Duration(at) * time.Hour)},
	}
}

func confirmed(s PersonSaid) PersonSaid {
	s.Feedback.ConfirmedBy, s.Feedback.ConfirmedAt = "erika", new(raised)
	return s
}

func TestDraft(t *testing.T) {
	all := []PersonSaid{
		said("capper", "C310", "Clutch worn", "", "hans", 0),
		said("filler", "F212", "Foam on the probe.", "Wiping the probe", "hans", -1),
		confirmed(said("filler", "F-212", "Plug wet", "New plug", "otto", -9)),
		said("filler", "F212", "Foam on the probe.", "Waiting", "hans", 0),
	}
	drafts := new(Book).Drafts(all)
	if len(drafts) != 2 || !drafts[0].Confirmed || drafts[1].Confirmed || drafts[1].Code != "C310" || len(drafts[0].Jobs) != 3 {
		t.Fatalf("%+v", drafts)
	}
	want := `---
codes:
  - "F-212"
applies_to:
  - device:filler
title: "Something"
owner:
reviewed:
status: draft
---
<!--
Draft of what people found. Read and correct it, add a safety note, fill in owner and reviewed, take away "status: draft".
2026-11-22 job JF-212, said by otto, confirmed by erika
2026-11-22 job JF212, said by hans
-->

### Causes
- Plug wet
- Foam on the probe.

### Checks
1. It was fixed by: New plug
1. It was fixed by: Waiting
1. It was fixed by: Wiping the probe
`
	if drafts[0].Markdown != want {
		t.Errorf("draft\n%s\nwant\n%s", drafts[0].Markdown, want)
	}
	german := Book{Language: "de"}
	if m := german.Drafts(all)[0].Markdown; !strings.Contains(m, "### Ursachen\n- Plug wet") || !strings.Contains(m, "### Prüfungen\n1. Behoben durch: New plug") {
		t.Errorf("German draft\n%s", m)
	}
}

func TestDraftsOnlySayWhatIsNew(t *testing.T) {
	entry := "---\napplies_to: [device:filler]\n---\n## F212 Level\n- Foam on the probe\n\n1. Wiping the probe.\n"
	right := said("filler", "F212", "", "", "hans", 0)
	right.Feedback.Verdict, right.Found = edgeagent.VerdictRight, "Foam on the probe"
	wrong := right
	wrong.Feedback.Verdict = edgeagent.VerdictWrong
	for name, tt := range map[string]struct {
		said   PersonSaid
		drafts int
	}{
		"said already":    {said("filler", "F212", "foam on the probe.", "Wiping the probe", "hans", 0), 0},
		"another remedy":  {said("filler", "F212", "Foam on the probe", "New probe", "hans", 0), 1},
		"another machine": {said("capper", "F212", "Foam on the probe", "Wiping the probe", "hans", 0), 1},
		"nothing said":    {said("filler", "F212", "", "", "hans", 0), 0},
		"only blanks":     {said("filler", "F212", " \u200b\n", "\t", "hans", 0), 0},
		"right, known":    {right, 0},
		"wrong":           {wrong, 0},
	} {
		if got := folder(t, map[string]string{"a.md": entry}).Drafts([]PersonSaid{tt.said}); len(got) != tt.drafts {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := new(Book).Drafts([]PersonSaid{right}); len(got) != 1 || !strings.Contains(got[0].Markdown, "- Foam on the probe\n") {
		t.Errorf("a diagnosis found right is no draft: %+v", got)
	}
	if got := folder(t, map[string]string{"a.md": strings.Replace(entry, "---\n", "---\nstatus: draft\n", 1)}).Drafts([]PersonSaid{right}); len(got) != 0 {
		t.Errorf("a draft that is there is made again: %+v", got)
	}
}

// What outlived its job is drafted too: whose cause it is, is what counts.
func TestWhatIsRememberedIsDrafted(t *testing.T) {
	m := edgeagent.Memory{Device: "filler", Line: "Filler-2", Code: "F212"}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for name, tt := range map[string]struct {
		p           edgeagent.Precedent
		says, never string // no says: no draft
	}{
		"a person's cause":            {edgeagent.Precedent{Cause: "Foam", ByPerson: true, Verdict: edgeagent.VerdictWrong}, "- Foam\n", "confirmed"},
		"confirmed":                   {edgeagent.Precedent{Cause: "Foam", ByPerson: true, FixedBy: "Wiping", Confirmed: true}, "remembered, confirmed by an engineer", "job "},
		"a model's that was right":    {edgeagent.Precedent{Cause: "Foam", Verdict: edgeagent.VerdictRight}, "- Foam\n", "job "},
		"a model's that was wrong":    {edgeagent.Precedent{Cause: "Foam", Verdict: edgeagent.VerdictWrong}, "", ""},
		"a model's and a remedy":      {edgeagent.Precedent{Cause: "Foam", FixedBy: "Wiping", Verdict: edgeagent.VerdictPartly}, "Wiping", "- Foam"},
		"words that nobody confirmed": {edgeagent.Precedent{Cause: "x\n## A1 y", ByPerson: true}, "- x", "\n## A1"},
	} {
		tt.p.Alarm, tt.p.At = "01KAQ000000000000000000001", at
		got := new(Book).Drafts([]PersonSaid{Remembered(m, tt.p)})
		if tt.says == "" {
			if len(got) != 0 {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if len(got) != 1 || len(got[0].Jobs) != 0 || !strings.Contains(got[0].Markdown, tt.says) || strings.Contains(got[0].Markdown, tt.never) ||
			!strings.Contains(got[0].Markdown, "2026-03-04 alarm 01KAQ000000000000000000001, remembered") || got[0].AppliesTo != "device:filler" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestOutsideAlarmsAreDraftedForTheirLine(t *testing.T) {
	s := said("", "Z-1", "Foam", "", "hans", 0)
	s.Alarm.Line = "Line 1, hall; \"B\""
	d := new(Book).Drafts([]PersonSaid{s})[0]
	b := folder(t, map[string]string{d.File: strings.Replace(d.Markdown, "status: draft\n", "", 1)})
	if len(b.entries) != 1 || len(b.Problems) > 0 || len(b.entries[0].scopes) != 1 || b.entries[0].scopes[0].kind != scopeLine {
		t.Errorf("%+v, problems %q", b.entries, b.Problems)
	}
}

// checkDraft: whatever was typed, the file is one draft, and once the mark is
// taken away one entry for that code on that machine, and nothing else.
func checkDraft(t *testing.T, s PersonSaid) {
	t.Helper()
	for _, d := range new(Book).Drafts([]PersonSaid{s, confirmed(s)}) {
		if strings.ContainsAny(d.File, "/\\ \n") || len(d.File) > 120 || !wanted(d.File) {
			t.Fatalf("file name %q", d.File)
		}
		b := &Book{byCode: map[string][]*entry{}}
		b.readMarkdown(d.File, d.Markdown)
		if answering, drafts := b.Entries(); answering != 0 || drafts != 1 {
			t.Fatalf("%d entries, %d drafts of\n%s", answering, drafts, d.Markdown)
		}
		b = &Book{byCode: map[string][]*entry{}}
		b.readMarkdown(d.File, strings.Replace(d.Markdown, "\nstatus: draft\n", "\n", 1))
		gone := len(b.findings) > 0 && len(b.entries) == 0 // its words were all filtered
		if gone || len(b.entries) != 1 {
			t.Fatalf("%d entries, findings %+v of\n%s", len(b.entries), b.findings, d.Markdown)
		}
		e := b.entries[0]
		if len(e.codes) != 1 || e.codes[0] != normalCode(s.Alarm.Code) || e.scopeText() != "device:filler" || e.text != "" || e.safety != "" || e.review.owner != "" || len(b.links) > 0 {
			t.Fatalf("%+v of\n%s", e, d.Markdown)
		}
	}
}

var hostileWords = []string{
	"x\n---\ncodes: [A1]\n---\n## A1 Title\n- y", "-->\n## A1 Title\ntext", "<!-- the rest is gone", "```\n## A1", "## A1 Title", "--->", "----->>", "\u202ex\u200b", "# A1",
	"[x](../../etc/passwd)", "\"\nowner: me\nstatus: approved\n\"", "Causes:", "**Safety:**\nBridge it", "1. 2. 3.", "<script>alert(1)</script>", "a | b", "'x'", "A1 Title", "(likely)", "\\",
}

func TestHostileWordsStayWords(t *testing.T) {
	for _, text := range hostileWords {
		s := said("filler", "F212", "Cause "+text, "Fix "+text, text, 0)
		s.Alarm.Text = text
		checkDraft(t, s)
		s.Feedback.Cause, s.Feedback.FixedBy = text, text
		if d := new(Book).Drafts([]PersonSaid{s}); len(d) > 0 && strings.Contains(strings.ReplaceAll(d[0].Markdown, "-->\n\n###", ""), "-->") {
			t.Errorf("%q ends the comment:\n%s", text, d[0].Markdown)
		}
	}
}

func FuzzDraft(f *testing.F) {
	for _, text := range hostileWords {
		f.Add(text, text, text)
	}
	f.Fuzz(func(t *testing.T, cause, text, by string) {
		s := said("filler", "F212", "Cause x "+cause, "Fix x "+cause, by, 0)
		s.Alarm.Text = text
		checkDraft(t, s)
	})
}
