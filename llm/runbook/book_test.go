package runbook

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgeagent"
)

// folder writes files and loads them.
func folder(t *testing.T, files map[string]string) *Book {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSampleRunbookIsSound(t *testing.T) {
	b, err := Load("../../runbook")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range b.Problems {
		t.Error(p)
	}
	for code, device := range map[string]string{"A101": "packaging", "A305": "packaging", "F212": "filler", "C310": "capper", "A110": "packaging"} {
		d := b.Hint(edgeagent.Alarm{Device: device, Code: code, Priority: 2}, nil, "Line-1")
		if d.InsufficientEvidence || len(d.Causes) < 2 || len(d.Checks) < 2 || len(d.Filtered) > 0 {
			t.Errorf("%s: %+v", code, d)
		}
		if strings.HasPrefix(code, "A1") && code != "A101" {
			continue // rows of the table
		}
		if d.Safety == "" {
			t.Errorf("%s has no safety text", code)
		}
	}
}

func alarm(device, code string) edgeagent.Alarm {
	return edgeagent.Alarm{ID: edgeagent.ID(device + code), Device: device, Line: "Line-1", Code: code, Text: "Something", Priority: 3}
}

func TestNoFolderIsAnEmptyBook(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "missing")} {
		b, err := Load(dir)
		if err != nil || len(b.entries) != 0 || len(b.Problems) != 0 {
			t.Fatalf("Load(%q) = %+v, %v", dir, b, err)
		}
		if d := b.Hint(alarm("filler", "F212"), nil, "Line-1"); d.Summary == "" || !d.InsufficientEvidence {
			t.Errorf("an empty book has no answer: %+v", d)
		}
	}
	if d := new(Book).Hint(alarm("filler", "F212"), nil, ""); d.Summary == "" {
		t.Error("the zero book has no answer")
	}
}

func TestFileForFolderIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runbook.md")
	if err := os.WriteFile(file, []byte("# F212"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "read runbook "+file) {
		t.Errorf("error %v", err)
	}
}

// TestShapesOfMarkdown are all the ways to write the same entry.
func TestShapesOfMarkdown(t *testing.T) {
	for name, text := range map[string]string{
		"headings":          "# Filler\n## F212 Level unstable\nText.\n### Causes\n- Foam (likely)\n- Plug\n### Checks\n1. Look.\n2. Wipe.\n### Safety\nRelieve it.\n",
		"crlf and bom":      "\ufeff## F212 Level unstable\r\n### Causes\r\n- Foam (likely)\r\n- Plug\r\n### Checks\r\n1. Look.\r\n2. Wipe.\r\n### Safety\r\nRelieve it.\r\n",
		"front matter":      "---\ncodes: [F212]\nsafety: Relieve it.\n---\n# Level unstable\n- Foam (likely)\n- Plug\n\n1. Look.\n2. Wipe.\n",
		"list in lines":     "---\ncodes:\n- F-212\n- F213\nsafety: \"Relieve it.\"\n---\n# Level unstable\n* Foam (likely)\n* Plug\n\n1) Look.\n2) Wipe.\n",
		"no brackets":       "---\ncode: f 212\nsafety: 'Relieve it.'\n---\n# Level unstable\n- Foam (likely)\n- Plug\n\n1. Look.\n2. Wipe.\n",
		"german":            "## F212: Level unstable\n### Ursachen\n- Foam (wahrscheinlich)\n- Plug\n### Prüfungen\n1. Look.\n2. Wipe.\n### Sicherheit\n- Relieve it.\n",
		"labels":            "## F212 – Level unstable\n**Causes:**\n- Foam (often)\n- Plug\n\nChecks:\n- Look.\n- Wipe.\n\n**Safety**:\nRelieve it.\n",
		"wrapped lines":     "## F212 Level unstable\n### Causes\n- Foam\n  (likely)\n- Plug\n### Checks\n1. Look.\n2.  Wipe.\n### Safety\nRelieve\nit.\n",
		"several codes":     "## F211, F212 / F213 Level unstable\n### Causes\n- Foam (likely)\n- Plug\n### Checks\n1. Look.\n2. Wipe.\n### Safety\nRelieve it.",
		"emphasis and link": "## F212 Level unstable\n### Causes\n- **Foam** (likely)\n- [Plug](x.md)\n### Checks\n1. `Look.`\n2. __Wipe.__\n### Safety\nRelieve it.\n<!-- a\nnote -->\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := folder(t, map[string]string{"a.md": text})
			d := b.Hint(alarm("filler", "F212"), nil, "Line-1")
			if len(b.Problems) > 0 || d.InsufficientEvidence {
				t.Fatalf("problems %q, %+v", b.Problems, d)
			}
			if len(d.Causes) != 2 || d.Causes[0].Cause != "Foam" || d.Causes[0].Likelihood != edgeagent.Likely || d.Causes[1].Cause != "Plug" || d.Causes[1].Likelihood != edgeagent.Possible {
				t.Errorf("causes %+v", d.Causes)
			}
			if strings.Join(d.Checks, "|") != "Look.|Wipe." || d.Safety != "Relieve it." {
				t.Errorf("checks %q, safety %q", d.Checks, d.Safety)
			}
			if want := "Runbook entry for filler/F212: Level unstable."; d.Summary != want {
				t.Errorf("summary %q, want %q", d.Summary, want)
			}
		})
	}
}

func TestHeadingsThatAreNoCodes(t *testing.T) {
	for heading, want := range map[string]string{
		"F212 Level":         "F212",
		"F-212: Level":       "F212",
		"A 101 Photo-eye":    "A101",
		"device_stopped":     "DEVICESTOPPED",
		"4711 Number":        "4711", // listed
		"Step 1":             "",
		"3 things to know":   "",
		"Level sensor F212":  "",
		"CO2":                "CO2",
		"Überlauf":           "",
		"":                   "",
		"E5, E6 + E7 Drives": "E5 E6 E7",
	} {
		codes, _ := codesOf(heading, map[string]bool{"4711": true})
		if got := strings.Join(codes, " "); got != want {
			t.Errorf("codesOf(%q) = %q, want %q", heading, got, want)
		}
	}
}

func TestShapesOfTables(t *testing.T) {
	want := "Foam|Plug / Look|Wipe / Relieve it. / E-1"
	for name, text := range map[string]string{
		"commas":         "code,applies_to,cause,checks,safety,drawing,part\nF212,device:filler,Foam|Plug,Look|Wipe,Relieve it.,E-1,\n",
		"semicolons":     "code;applies_to;cause;checks;safety;drawing;part\r\nF212;device:filler;Foam|Plug;Look|Wipe;Relieve it.;E-1;\r\n",
		"bom and quotes": "\ufeff\"code\",\"applies_to\",\"cause\",\"checks\",\"safety\",\"drawing\"\n\"F-212\",\"device:filler, device:x\",\"Foam\nPlug\",\"1. Look 2. Wipe\",\"Relieve it.\",E-1\n",
		"other order":    "Part,Drawing,Safety,Checks,Causes,Scope,Code\n,E-1,Relieve it.,1) Look 2) Wipe,Foam|Plug,line:Line-1,f 212\n",
		"german":         "Code;Ursache;Prüfungen;Sicherheit;Zeichnung\nF212;Foam|Plug;Look|Wipe;Relieve it.;E-1\n",
		"short row":      "code,drawing,cause,checks,safety,applies_to,part\nF212,E-1,Foam|Plug,Look|Wipe,Relieve it.\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := folder(t, map[string]string{"faults.csv": text})
			if len(b.Problems) > 0 || len(b.entries) != 1 {
				t.Fatalf("%d entries, problems %q", len(b.entries), b.Problems)
			}
			e := b.entries[0]
			got := e.causes[0].Cause + "|" + e.causes[1].Cause + " / " + strings.Join(e.checks, "|") + " / " + e.safety + " / " + e.drawing
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if d := b.Hint(alarm("filler", "F212"), nil, "Line-1"); d.InsufficientEvidence || d.Causes[0].Sources[0] != "runbook/faults.csv#f212" {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestWindows1252TableIsRead(t *testing.T) {
	b := folder(t, map[string]string{"f.csv": "code;cause\nF212;F\xfcllstand \x96 Schaum\n"})
	if got := b.entries[0].causes[0].Cause; got != "Füllstand – Schaum" {
		t.Errorf("cause %q", got)
	}
}

// TestBrokenFilesHideNoOther: every problem is named, the good entry is there.
func TestBrokenFilesHideNoOther(t *testing.T) {
	good := "## F212 Level\n1. Look.\n"
	for name, tt := range map[string]struct{ file, text, says string }{
		"front matter open":    {"x.md", "---\ncodes: [X1]\n# Title\ntext\n", "x.md:1: front matter is not closed"},
		"front matter strange": {"x.md", "---\nanchors: &a\n---\n# Title\ntext\n", `"anchors: &a" is not understood`},
		"scope strange":        {"x.md", "---\ncodes: [X1]\napplies_to: [machine:filler]\n---\ntext\n", `applies_to "machine:filler" is not understood`},
		"code without heading": {"x.md", "---\ncodes: [X1, X2]\n---\n## X1 Title\ntext\n", "code X2 is listed but has no heading"},
		"empty":                {"x.md", "", "x.md:1: the file has no entry"},
		"empty entry":          {"x.md", "## X1 Title\n## X2 Title\ntext\n", "x.md:1: entry X1 says nothing"},
		"binary":               {"x.md", "MZ\x00\x00", "x.md: left out: not a text file"},
		"table without code":   {"x.csv", "alarmcode,cause\nX1,Foam\n", `no column "code"`},
		"empty table":          {"x.csv", "", "no header row"},
		"row without code":     {"x.csv", "code,cause\n,Foam\nX1,Foam\n", "x.csv:2: row has no code"},
		"row without content":  {"x.csv", "code,cause\nX1,\n", "x.csv:2: entry X1 says nothing"},
		"unknown column":       {"x.csv", "code,cause,colour\nX1,Foam,red\n", `column "colour" is not used`},
		"scope in a table":     {"x.csv", "code,applies_to,cause\nX1,filler,Foam\n", `x.csv:2: applies_to "filler" is not understood`},
		"bypass in a book":     {"x.md", "## X1 Guard\n1. Bridge the door switch.\n2. Look.\n", "x.md:1: check 1 removed: it would defeat a safety function"},
		"log as an entry":      {"x.md", "## X1 Title\n" + strings.Repeat("a line\n", maxEntry/4), "x.md:1: entry X1 is longer than"},
		"endless list":         {"x.md", "## X1 Title\n" + strings.Repeat("- b\n", maxEntry), "x.md:1: entry X1 is longer than"},
		"endless item":         {"x.md", "## X1 Title\n- b\n" + strings.Repeat("a line\n", maxEntry/4), "x.md:1: entry X1 is longer than"},
		"quote not closed":     {"x.csv", "code,cause\nX1,\"Foam\n" + strings.Repeat("X2,Foam\n", maxEntry/4), "x.csv:2: row left out: a cell begins with a quote"},
		"tildes without end":   {"x.md", "## X1 Title\n~~~ log\n```\n## X3 Title\ntext\n", "x.md:2: the code that begins here with ~~~ is never closed"},
		"code without end":     {"x.md", "## X1 Title\n```text```\n## X2 Title\n```\nlog\n## X3 Title\ntext\n", "x.md:4: the code that begins here with ``` is never closed"},
		"quote in the header":  {"x.csv", "code,\"cause\nX1,Foam\n", "x.csv:1: the header row cannot be read: a cell begins with a quote"},
		"quotes in every row":  {"x.csv", "code,cause\n" + strings.Repeat("X1,\"a\n", maxFile/32), "x.csv:2000: row left out: a cell begins with a quote"},
		"row that is a log":    {"x.csv", "code,cause\nX1," + strings.Repeat("Foam ", maxEntry), "x.csv:2: row left out: longer than"},
		"too large":            {"x.md", strings.Repeat("x", maxFile+1), "left out: larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			b := folder(t, map[string]string{"good.md": good, tt.file: tt.text})
			if all := strings.Join(b.Problems, "\n"); !strings.Contains(all, tt.says) {
				t.Errorf("problems %q do not say %q", all, tt.says)
			}
			if d := b.Hint(alarm("filler", "F212"), nil, "Line-1"); d.InsufficientEvidence {
				t.Errorf("the good entry is gone: %+v", d)
			}
		})
	}
}

// A row whose quote does not close must not take the rows below it, whose causes
// would stand under its code.
func TestOpenQuoteSwallowsNoRow(t *testing.T) {
	b := folder(t, map[string]string{"c.csv": "sep=;\r\ncode;cause;checks\r\n" +
		"X1;\"E-stop\" pressed;release it\r\n" +
		"\r\nX2; \"Pump \"\"P1\"\"\r\ndry; no water\";\"fill\"\r\n" +
		"X3;Bolt 3/8\" loose;tighten\r\n" +
		"X4;\u00a0\"Foam\r\n" +
		"X5;\"Seal; worn\";replace"})
	var got []string
	for _, e := range b.entries {
		for _, c := range e.causes {
			got = append(got, fmt.Sprintf("%d %s %s", e.line, e.codes[0], c.Cause))
		}
	}
	want := []string{`5 X2 Pump "P1"`, "5 X2 dry; no water", `7 X3 Bolt 3/8" loose`, "9 X5 Seal; worn"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if len(b.Problems) != 2 || !strings.HasPrefix(b.Problems[0], "c.csv:3: ") || !strings.HasPrefix(b.Problems[1], "c.csv:8: ") {
		t.Errorf("problems %q", b.Problems)
	}
}

func TestOnlyRunbookFilesAreRead(t *testing.T) {
	b := folder(t, map[string]string{
		"README.md": "## F212 Not this", ".git/x.md": "## F212 Not this", ".hidden.md": "## F212 Not this", "notes.txt": "## F212 Not this",
		"sub/deep/a.md": "## F212 This\ntext\n",
	})
	if len(b.entries) != 1 || b.entries[0].id != "runbook/sub/deep/a.md#f212" {
		t.Errorf("entries %+v", b.entries)
	}
}

func TestDoublesKeepTheirOwnID(t *testing.T) {
	b := folder(t, map[string]string{"a.csv": "code,applies_to,cause\nF212,device:a,One\nF212,device:b,Two\n"})
	for id, device := range map[string]string{"runbook/a.csv#f212": "a", "runbook/a.csv#f212-2": "b"} {
		if d := b.Hint(alarm(device, "F212"), nil, "Line-1"); len(d.Causes) != 1 || d.Causes[0].Sources[0] != id {
			t.Errorf("%s: %+v, want the source %s", device, d.Causes, id)
		}
	}
}

func TestScreenedChecksAreNamedInTheDiagnosis(t *testing.T) {
	b := folder(t, map[string]string{"x.md": "## X1 Guard\n1. Bridge the door switch.\n2. Look.\n"})
	d := b.Hint(alarm("filler", "X1"), nil, "Line-1")
	if strings.Join(d.Checks, "|") != "Look." || len(d.Filtered) != 1 {
		t.Errorf("checks %q, filtered %q", d.Checks, d.Filtered)
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, file := range []string{"filler.md", "packaging.md", "faults.csv"} {
		raw, err := os.ReadFile("../../runbook/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	f.Add("---\ncodes: [A\n---\n## A1\n- x (likely\n1. \n```\n")
	f.Add("code;cause\n\"A1;x\n")
	f.Add("---\ncodes:\n  - \"A1\"\nstatus: draft # x\nreviewed: 31.2.2026\nreview_every: 9999y\napplies_to: [device:x, , all\n---\n[a](b%zz.md)\n")
	f.Add("sep=;\ncode;status;reviewed;applies_to\nA1;;;line:\n")
	f.Fuzz(func(t *testing.T, text string) {
		b := &Book{byCode: map[string][]*entry{}}
		b.readMarkdown("a.md", text)
		b.readTable("a.csv", text)
		b.finish()
		d := b.Hint(alarm("filler", "F212"), nil, "Line-1")
		if d.Summary == "" || d.Urgency == "" || d.Causes == nil || d.Checks == nil {
			t.Fatalf("no answer: %+v", d)
		}
		lines := strings.Count(text, "\n") + 1
		for _, f := range b.Lint(lintPlant, raised) {
			if f.Text == "" || strings.ContainsAny(f.String(), "\n\r\x00") || f.Line > lines || f.Line > 0 && f.Column < 1 {
				t.Fatalf("finding %+v of %d lines", f, lines)
			}
		}
		for _, e := range b.entries {
			if e.id == "" || e.empty() && len(e.filtered) == 0 {
				t.Fatalf("empty entry %+v", e)
			}
		}
	})
}

// Editors write headings and blocks of code in two ways each.
func TestTheOtherWayToWriteMarkdown(t *testing.T) {
	b := folder(t, map[string]string{"a.md": "Filler\n======\n\nF212 Level unstable\n-------------------\n\nSafety\n---\nLock out.\n\nWear gloves.\n---\n\n" +
		"### Causes\n~~~ log\n## F300 no entry\n```\nF301 none\n---\n~~~\n\n- Foam\n---\n\nSee\nF302 none\n---\n\nF205, F206 Pressure\n---\n- Supply low\n"})
	if len(b.Problems) > 0 {
		t.Errorf("problems %q", b.Problems)
	}
	var got []string
	for _, e := range b.entries {
		got = append(got, strings.Join(e.codes, "+")+" "+e.title)
	}
	if want := []string{"F212 Level unstable", "F205+F206 Pressure"}; !slices.Equal(got, want) {
		t.Fatalf("entries %q, want %q", got, want)
	}
	e := b.entries[0]
	if e.safety != "Lock out. Wear gloves." || e.line != 4 || len(e.causes) != 1 || e.causes[0].Cause != "Foam" || len(b.entries[1].causes) != 1 {
		t.Errorf("entry %+v", e)
	}
}
