package runbook

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var lintPlant = Plant{
	Alarms: []PlantAlarm{
		{Device: "filler", Line: "Line-1", Code: "F212"}, {Device: "pump1", Line: "Line-2", Code: "P1"}, {Device: "pump2", Line: "Line-2", Code: "P1"},
		{Device: "filler", Line: "Line-1", Code: "ALM1.12"}, {Device: "robot", Line: "Line-1", Code: "R7", Safety: true},
	},
	Devices: []string{"filler", "pump1", "pump2", "robot"}, Lines: []string{"Line-1", "Line-2"}, Templates: []string{"pump"},
}

// sound is an entry for every alarm of lintPlant but R7.
const sound = "---\nowner: E\nreviewed: 2026-10-05\n---\n## F212 Level\n1. Look.\n## P1 Pump\n1. Look.\n## ALM1.12 Bit\n1. Look.\n## device_stopped\n1. Look.\n"

const robotNote = "---\nowner: E\nreviewed: 2026-10-05\n---\n## R7 Guard\n1. Look.\n### Safety\nLock out.\n"

func TestLint(t *testing.T) {
	head := "---\nowner: E\nreviewed: 2026-10-05\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"sound": {map[string]string{"a.md": sound, "r.md": robotNote}, nil},
		"codes without an entry": {map[string]string{"a.md": sound[:strings.Index(sound, "## P1")], "r.md": robotNote}, []string{
			"warning no_entry alarm P1 of pump1, pump2 has no entry; write one", "warning no_entry alarm ALM1.12 of filler has no entry; write one"}},
		"entry for one of two": {map[string]string{"a.md": strings.Replace(sound, "## P1 Pump\n1. Look.\n", "", 1), "p.md": head + "applies_to: [device:pump1]\n---\n## P1 Pump\n1. Look.\n", "r.md": robotNote}, []string{
			"warning no_entry alarm P1 of pump2 has no entry that applies there; write one, or add to applies_to"}},
		"entry for no alarm": {map[string]string{"a.md": sound, "r.md": robotNote, "x.md": head + "---\n## X9 Title\ntext\n"}, []string{
			"x.md:5:1 warning no_alarm no alarm of the configuration has the code X9; take the entry away, unless an OPC UA condition or an alarm from outside has it"}},
		"another bit": {map[string]string{"a.md": strings.Replace(sound, "ALM1.12", "ALM11.2", 1), "r.md": robotNote}, []string{
			"a.md:9:1 warning no_alarm no alarm of the configuration has the code ALM11.2; take the entry away, unless an OPC UA condition or an alarm from outside has it",
			"warning no_entry alarm ALM1.12 of filler has no entry; write one"}},
		"wrong machine": {map[string]string{"a.md": sound, "r.md": robotNote, "x.md": head + "applies_to: [line:Line-2]\n---\n## F212 Title\ntext\n"}, []string{
			"x.md:6:1 warning no_alarm no machine that applies_to names has an alarm F212; correct applies_to"}},
		"unknown names": {map[string]string{"a.md": sound, "r.md": robotNote, "x.md": head + "applies_to: [device:filer, line:line-1, template:zzzzzz]\n---\n## F212 Title\ntext\n## P1 Title\ntext\n"}, []string{
			`x.md:4:14 error unknown_name applies_to names device "filer", which is not in the configuration; did you mean "filler"?`,
			`x.md:4:41 error unknown_name applies_to names template "zzzzzz", which is not in the configuration; correct the name`,
			"x.md:8:1 warning no_alarm no machine that applies_to names has an alarm P1; correct applies_to"}},
		"doubles": {map[string]string{"a.md": sound, "r.md": robotNote, "x.csv": "code,applies_to,cause,owner,reviewed\nf-212,device:Filler,Foam,E,2026-10-05\nF212,device:filler,Plug,E,2026-10-05\n"}, []string{
			"x.csv:3:1 warning double F212 for device:filler stands at x.csv:2 already, and both are quoted; join them"}},
		"nobody's": {map[string]string{"a.md": strings.TrimPrefix(sound, head+"---\n"), "r.md": robotNote}, []string{
			"a.md:1:1 warning no_owner nobody owns entry F212; write owner: NAME (and 3 more of this file)",
			"a.md:1:1 warning no_review entry F212 was never reviewed; read it and write reviewed: 2026-11-22 (and 3 more of this file)"}},
		"reviews": {map[string]string{"a.md": sound, "r.md": strings.Replace(robotNote, "2026", "2025", 1), "x.csv": "code;applies_to;cause;owner;reviewed;review_every\nF212;device:filler;Foam;E;2027-01-01;\nP1;device:pump1;Foam;E;2026-10-05;4w\n"}, []string{
			"r.md:5:1 warning review_overdue the review of entry R7 was due on 2026-10-05; read it again and write reviewed: 2026-11-22",
			"x.csv:2:1 warning review_in_future entry F212 is said to be reviewed on 2027-01-01, which is still to come; correct the day or the clock",
			"x.csv:3:1 warning review_overdue the review of entry P1 was due on 2026-11-02; read it again and write reviewed: 2026-11-22"}},
		"safety note": {map[string]string{"a.md": sound, "r.md": strings.Replace(robotNote, "### Safety\nLock out.\n", "", 1)}, []string{
			"r.md:5:1 warning no_safety R7 speaks of a safety function and the entry has no safety note; write one under ### Safety"}},
		"links": {map[string]string{"a.md": sound, "sub/e.md": "x\n", "r.md": head + "drawing: E-9.pdf\n---\n## R7 Guard\n[sheet](sub/e.md#top) ![x](sub/no%20such.png) [out](https://x.invalid/) [here](#r7)\n### Safety\nLock out.\n"}, []string{
			`r.md:4:10 warning link "E-9.pdf" is not there; correct the link or put the file beside this one`,
			`r.md:7:28 warning link "sub/no%20such.png" is not there; correct the link or put the file beside this one`,
			`sub/e.md:1:1 warning no_owner nobody owns entry "e"; write owner: NAME`,
			`sub/e.md:1:1 warning no_review entry "e" was never reviewed; read it and write reviewed: 2026-11-22`}},
		"draft": {map[string]string{"a.md": sound, "r.md": strings.Replace(robotNote, "owner: E", "status: draft", 1)}, []string{
			`r.md:5:1 warning draft entry R7 is a draft and not quoted; read it, then take away "status: draft"`, "warning no_entry alarm R7 of robot has no entry; write one"}},
		"bypass": {map[string]string{"a.md": sound, "r.md": robotNote + "### Checks\n1. Bridge the door switch.\n"}, []string{
			"r.md:5:1 error bypass check 2 removed: it would defeat a safety function (bridge … door switch) of entry R7"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range folder(t, tt.files).Lint(lintPlant, raised) {
				got = append(got, strings.TrimPrefix(strings.Join([]string{f.Place(), string(f.Severity), f.Code, f.Text}, " "), " "))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("findings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// The sample is held against the configuration it is for by a test of
// cmd/edgeagent; here it is read by itself.
func TestSampleHasNoErrors(t *testing.T) {
	b, err := Load("../../runbook")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range b.Lint(Plant{Devices: []string{"filler", "capper", "packaging"}}, raised) {
		if f.Severity == SeverityError || f.Code == lintNoOwner && !strings.HasSuffix(f.File, ".csv") {
			t.Error(f)
		}
	}
}

func TestLintOfAnEmptyFolder(t *testing.T) {
	b, err := Load(filepath.Join(t.TempDir(), "missing"))
	if err != nil {
		t.Fatal(err)
	}
	if found := b.Lint(Plant{}, time.Now()); found == nil || len(found) != 0 {
		t.Errorf("%+v", found)
	}
	if found := b.Lint(lintPlant, raised); len(found) != 4 {
		t.Errorf("%+v", found)
	}
}

// A hostile folder cannot make lint speak without end.
func TestFindingsAreBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.md"), []byte("---\n"+strings.Repeat("x\n", 3*maxFindings)+"---\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Load(dir)
	if err != nil || len(b.findings) != maxFindings || len(b.Problems) != maxFindings {
		t.Errorf("%v, %d findings", err, len(b.findings))
	}
}
