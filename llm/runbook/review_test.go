package runbook

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// Who is to be called and whether the paper is old must stand in the answer.
func TestAnswerSaysWhoStandsByIt(t *testing.T) {
	for name, tt := range map[string]struct{ matter, en, de string }{
		"owner and review": {"owner: Electrical maintenance\nreviewed: 2026-10-05", "Owner: Electrical maintenance; reviewed 2026-10-05, 48 days ago.", "Verantwortlich: Electrical maintenance; geprüft 2026-10-05, vor 48 Tagen."},
		"German day":       {"owner: E-Werkstatt\nreviewed: 5.10.2026", "Owner: E-Werkstatt; reviewed 2026-10-05, 48 days ago.", "Verantwortlich: E-Werkstatt; geprüft 2026-10-05, vor 48 Tagen."},
		"today":            {"reviewed: 2026-11-22", "reviewed 2026-11-22, today.", "geprüft 2026-11-22, heute."},
		"overdue":          {"reviewed: 2025-05-22", "reviewed 2025-05-22, 18 months ago, review overdue.", "geprüft 2025-05-22, vor 18 Monaten, Prüfung überfällig."},
		"old but allowed":  {"reviewed: 2023-01-01\nreview_every: 5y", "reviewed 2023-01-01, 3 years ago.", "geprüft 2023-01-01, vor 3 Jahren."},
		"overdue soon":     {"reviewed: 2026-10-05\nreview_every: 4w", "reviewed 2026-10-05, 48 days ago, review overdue.", "geprüft 2026-10-05, vor 48 Tagen, Prüfung überfällig."},
		"clock is wrong":   {"reviewed: 2027-10-05", "reviewed 2027-10-05.", "geprüft 2027-10-05."},
		"nobody":           {"title: x", "", ""},
		"hostile owner":    {"owner: \"\u202eevil\x07 **x**\"", "Owner: evil x.", "Verantwortlich: evil x."},
	} {
		t.Run(name, func(t *testing.T) {
			b := folder(t, map[string]string{"a.md": "---\n" + tt.matter + "\n---\n## F212 Level\n1. Look.\n"})
			for language, want := range map[string]string{"en": tt.en, "de": tt.de} {
				c := oneAlarm(alarm("filler", "F212"), nil)
				c.Language = language
				entry := map[string]string{"en": "Runbook entry for filler/F212: Level.", "de": "Runbook-Eintrag zu filler/F212: Level."}[language]
				if got := b.Diagnose(c).Summary; got != strings.TrimSpace(entry+" "+want) {
					t.Errorf("%s: %q", language, got)
				}
			}
		})
	}
}

func TestTableSaysWhoStandsByIt(t *testing.T) {
	b := folder(t, map[string]string{"a.csv": "code;cause;owner;reviewed;review_every;status\nF212;Foam;Electrical;05.10.2026;2y;\nF213;Foam;;;;draft\n"})
	if got := b.Diagnose(oneAlarm(alarm("filler", "F212"), nil)).Summary; !strings.HasSuffix(got, "Owner: Electrical; reviewed 2026-10-05, 48 days ago.") {
		t.Errorf("summary %q", got)
	}
	if answering, drafts := b.Entries(); answering != 1 || drafts != 1 {
		t.Errorf("%d entries, %d drafts", answering, drafts)
	}
}

// A draft is what somebody typed at night: it is not the plant's word until an
// engineer has read it. One whose mark is not understood is kept back as well.
func TestDraftsAreNotQuoted(t *testing.T) {
	for status, quoted := range map[string]bool{
		"": true, "approved": true, "Freigegeben": true, "draft": false, "DRAFT": false, "Entwurf": false, "\"draft\"": false, "draft # until read": false,
		"approvd": false, "[draft]": false,
	} {
		b := folder(t, map[string]string{"a.md": "---\ncodes: [F212]\nstatus: " + status + "\n---\n# Level sensor unstable\n- Foam on the level sensor\n"})
		a := alarm("filler", "F212")
		a.Text = "Level sensor unstable"
		d := b.Hint(a, nil, "Line-1")
		if d.InsufficientEvidence == quoted || (len(d.Causes) > 0) != quoted {
			t.Errorf("status %q: %+v", status, d)
		}
		if p := b.Passages(oneAlarm(a, nil), 3); (len(p) > 0) != quoted {
			t.Errorf("status %q: passages %+v", status, p)
		}
		understood := !strings.Contains(status, "approvd")
		if understood != (len(b.Problems) == 0) {
			t.Errorf("status %q: problems %q", status, b.Problems)
		}
	}
}

func TestPeriodsAndDays(t *testing.T) {
	day := 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"180d": 180 * day, "1 day": day, "26w": 182 * day, "2 Years": 17532 * time.Hour, "6mo": 4383 * time.Hour,
		"6m": 0, "0d": 0, "-3d": 0, "": 0, "1e9y": 0, "99999d": 0, "1h": 0,
	} {
		if got, ok := parsePeriod(in); got != want && ok || ok != (want > 0) {
			t.Errorf("parsePeriod(%q) = %v, %v; want %v", in, got, ok, want)
		}
	}
	for in, want := range map[string]string{
		"2026-10-05": "2026-10-05", "5.10.2026": "2026-10-05", "05.10.2026": "2026-10-05", "2026-10": "2026-10-01", "5 October 2026": "2026-10-05",
		"10/05/2026": "", "2026-13-01": "", "31.2.2026": "", "yesterday": "", "0001-01-01": "",
	} {
		got, ok := parseDay(in)
		if ok != (want != "") || ok && got.Format(time.DateOnly) != want {
			t.Errorf("parseDay(%q) = %v, %v; want %q", in, got, ok, want)
		}
	}
}

func TestEarlierTimes(t *testing.T) {
	at := func(days int) time.Time { return raised.Add(-time.Duration(days) * 24 * time.Hour) }
	last := &edgeagent.Occurrence{ID: "A2", At: at(2), Cause: "Foam.", FixedBy: "Wiping the probe."}
	for name, tt := range map[string]struct {
		last   *edgeagent.Occurrence
		before []edgeagent.Precedent
		want   string
	}{
		"nothing":           {nil, nil, ""},
		"last time":         {last, nil, " Last time on 2026-11-20 11:52: Foam, fixed by Wiping the probe."},
		"only what fixed":   {&edgeagent.Occurrence{At: at(2), FixedBy: "Wiping"}, nil, " Last time on 2026-11-20 11:52: fixed by Wiping."},
		"nothing was found": {&edgeagent.Occurrence{At: at(2)}, nil, ""},
		"confirmed": {last, []edgeagent.Precedent{{Alarm: "A2", At: at(2), Cause: "Foam.", FixedBy: "Wiping the probe.", Confirmed: true}},
			" Last time on 2026-11-20 11:52: Foam, fixed by Wiping the probe (confirmed by an engineer)."},
		"earlier ones": {last, []edgeagent.Precedent{
			{Alarm: "A2", At: at(2), Cause: "Foam"}, {Alarm: "A1", At: at(9), Cause: "Plug", ByPerson: true, Confirmed: true},
			{Alarm: "A0", At: at(10), Cause: "a model's guess"}, {Alarm: "B0", At: at(11), Cause: "a model's error", Verdict: edgeagent.VerdictWrong, FixedBy: "new probe"},
			{Alarm: "B1", At: at(12), Cause: "one too many", ByPerson: true},
		}, " Last time on 2026-11-20 11:52: Foam, fixed by Wiping the probe. Before, on 2026-11-13 11:52: Plug (confirmed by an engineer). Before, on 2026-11-11 11:52: fixed by new probe."},
		"no last time": {nil, []edgeagent.Precedent{{Alarm: "A1", At: at(9), Cause: "Plug", ByPerson: true}}, " Last time on 2026-11-13 11:52: Plug."},
	} {
		t.Run(name, func(t *testing.T) {
			a := alarm("filler", "F212")
			a.LastTime = tt.last
			c := oneAlarm(a, nil)
			c.Before = tt.before
			b := folder(t, map[string]string{"a.md": "## F212 Level\n1. Look.\n"})
			if got := b.Diagnose(c).Summary; got != "Runbook entry for filler/F212: Level."+tt.want {
				t.Errorf("summary %q", got)
			}
		})
	}
}

func TestFrontMatterAsPeopleWriteIt(t *testing.T) {
	text := "---\ncodes: [F212, \"F-213\"]   # of the manual\n# a note\napplies_to:\n  - device:filler\n  - line:Line-9\ndrawing: E-204 #7\npart: 'LT-100: new'\nowner: A, B # and C\n---\n# Level\n- Foam\n"
	fm, _, cut, problems := cutFrontMatter(text)
	if cut != 10 || len(problems) > 0 {
		t.Fatalf("cut %d, problems %+v", cut, problems)
	}
	for key, want := range map[string]string{
		"codes": "F212, F-213", "applies_to": "device:filler, line:Line-9", "drawing": "E-204 #7", "part": "LT-100: new", "owner": "A, B",
	} {
		if got := fm.text(key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	lines := strings.Split(text, "\n")
	for key, words := range fm {
		for _, w := range words {
			if rest := strings.TrimLeft(lines[w.line-1][w.column-1:], `"'`); !strings.HasPrefix(rest, w.text) {
				t.Errorf("%s %q is said to stand at %d:%d, where %q is", key, w.text, w.line, w.column, rest)
			}
		}
	}
}

func TestEveryFaultOfFrontMatterIsNamedWhereItIs(t *testing.T) {
	b := folder(t, map[string]string{"a.md": "---\ncodes: [F212]\nowners: x\nreviewed: 10/05/2026\n  review_every: 6m\napplies_to: [device:filler, filler]\n---\n# Level\n- Foam\n"})
	var got []string
	for _, f := range b.findings {
		got = append(got, f.Place()+" "+f.Code)
	}
	if want := "a.md:3:1 front_matter|a.md:4:11 front_matter|a.md:5:17 front_matter|a.md:6:29 applies_to"; strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

// What a safety note says goes to people as it stands, so it is filtered too.
func TestSafetyNotesAreScreened(t *testing.T) {
	b := folder(t, map[string]string{"a.md": "## F212 Guard\n1. Look.\n### Safety\nBridge the door switch while you work. Lock out first.\n"})
	d := b.Hint(alarm("filler", "F212"), nil, "Line-1")
	if d.Safety != "Lock out first." || len(d.Filtered) != 1 || len(b.Problems) != 1 {
		t.Errorf("safety %q, filtered %q, problems %q", d.Safety, d.Filtered, b.Problems)
	}
}
