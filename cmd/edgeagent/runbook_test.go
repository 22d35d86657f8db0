package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

// bowl is a template, and of makes a device of it.
const bowl = `
[[template]]
name = "bowl"
  [[template.tag]]
  name = "level"
  address = "holding:0"
  type = "uint16"
  [[template.alarm]]
  code = "F212"
  when = "level > 80"
  text = "Level unstable"
`

func (p panel) of(template, name string) string {
	return "\n[[device]]\ntemplate = \"" + template + "\"\nname = \"" + name + "\"\nline = \"Filler-2\"\nurl = \"modbus-tcp://" + p.server.Addr() + "\"\nscan = \"200ms\"\ntimeout = \"2s\"\n"
}

// An entry for a template answers for the machines that are made of it, also
// for one that a reload adds.
func TestRunbookKnowsTemplates(t *testing.T) {
	one, two := startPanel(t), startPanel(t)
	r := newRig(t, bowl, one.of("bowl", "filler"))
	r.file("runbook/bowl.md", "---\ncodes: [F212]\napplies_to: [template:bowl]\n---\n# Bowl\n- Foam\n")
	r.start()
	one.SetHolding(0, 90)
	eventually(t, "the alarm is stored", func() bool { return len(r.alarms("active")) == 1 })
	if h := r.alarms("active")[0].Hint; h == nil || len(h.Causes) != 1 || h.Causes[0].Cause != "Foam" {
		t.Fatalf("hint %+v", h)
	}
	r.write(bowl, one.of("bowl", "filler"), two.of("bowl", "capper"))
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	two.SetHolding(0, 90)
	hintOf := func(device string) *edgeagent.Diagnosis {
		for _, a := range r.alarms("active") {
			if a.Device == device {
				return a.Hint
			}
		}
		return nil
	}
	eventually(t, "the alarm of the new device is stored", func() bool { return hintOf("capper") != nil })
	if h := hintOf("capper"); !strings.HasPrefix(h.Summary, "Runbook entry for capper/F212") {
		t.Errorf("hint %+v", h)
	}
}

func TestRunbookLint(t *testing.T) {
	p := startPanel(t)
	r := newRig(t, p.device("filler"))
	if _, errOut, code := r.run("runbook", "lint"); code != exitFailed || !strings.Contains(errOut, "make the folder, or correct path") {
		t.Errorf("no folder: exit %d: %s", code, errOut)
	}
	r.file("runbook/filler.md", "---\nowner: E\nreviewed: 2020-01-01\nreview_every: 90y\n---\n## F212 Level\n1. Look.\n## X1 Other\n1. Look.\n")
	out, errOut, code := r.run("runbook", "lint")
	folder := filepath.Join(r.dir, "runbook")
	want := folder + "/filler.md:8:1: warning: no alarm of the configuration has the code X1; take the entry away, unless an OPC UA condition or an alarm from outside has it\n"
	if code != exitOK || out != want || errOut != "2 entries, 0 drafts: 0 errors, 1 warnings\n" {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	r.file("runbook/filler.md", "---\nowner: E\napplies_to: [device:fillers]\nreviewd: x\n---\n## F212 Level\n1. Look.\n")
	out, _, code = r.run("runbook", "lint")
	for _, want := range []string{
		folder + `/filler.md:3:14: error: applies_to names device "fillers", which is not in the configuration; did you mean "filler"?`,
		folder + `/filler.md:4:1: error: front matter: "reviewd: x" is not understood; want codes, `,
		folder + ": warning: alarm F212 of filler has no entry that applies there; write one, or add to applies_to\n",
	} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("exit %d, want %s in\n%s", code, want, out)
		}
	}
	var answer lintAnswer
	out, _, code = r.run("runbook", "lint", "--json")
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitFailed || answer.Entries != 1 || answer.Folder != folder || len(answer.Findings) != 5 || answer.Findings[0].Line != 3 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	r.file("config.toml", "x = 1\n")
	if _, _, code := r.run("runbook", "lint"); code != exitConfig {
		t.Errorf("broken configuration: exit %d", code)
	}
}

// The sample fits the plant that it is shipped with.
func TestSampleRunbookFitsTheSamplePlant(t *testing.T) {
	var out, errOut strings.Builder
	if code := mainRun(t.Context(), []string{"runbook", "lint", "-c", "../../config.toml"}, nil, &out, &errOut); code != exitOK {
		t.Errorf("exit %d\n%s%s", code, out.String(), errOut.String())
	}
	if strings.Contains(out.String(), "no machine that applies_to names") {
		t.Error(out.String())
	}
}

func TestRunbookImport(t *testing.T) {
	r := newRig(t)
	r.file("list.csv", "St\xf6rungs-Nr.;Ursache;Abhilfe\nF212;Foam;Look\nE1-E9;Foam;Look\n")
	list := filepath.Join(r.dir, "list.csv")
	out, errOut, code := r.run("runbook", "import", list, "--applies-to", "device:filler", "--draft")
	if want := "code,applies_to,title,cause,checks,safety,drawing,part,owner,reviewed,status\nF212,device:filler,,Foam,Look,,,,,,draft\n"; code != exitOK || out != want {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, want := range []string{list + `:3: not taken: E1-E9 Foam Look: "E1-E9" looks like a range`, `code from "Störungs-Nr."`, "1 rows taken, 1 not"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("want %q in\n%s", want, errOut)
		}
	}
	if out, _, code := r.run("runbook", "import", "--json", list); code != exitOK || !strings.Contains(out, `"code": "F212"`) || !strings.Contains(out, `"why": "\"E1-E9\" looks`) {
		t.Errorf("exit %d\n%s", code, out)
	}
	r.file("empty.csv", "Code;Cause\n;Foam\n")
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"missing.csv"}, exitFailed, "open the list: "},
		{[]string{r.path}, exitFailed, "headings for a code"},
		{[]string{filepath.Join(r.dir, "empty.csv")}, exitFailed, "nothing in "},
		{[]string{}, exitUsage, "one file"},
		{[]string{list, "--applies-to", "filler"}, exitUsage, "want device:NAME"},
	} {
		if out, errOut, code := r.run(append([]string{"runbook", "import"}, tt.args...)...); code != tt.code || !strings.Contains(errOut, tt.says) || out != "" {
			t.Errorf("%v: exit %d, %q, %q", tt.args, code, out, errOut)
		}
	}
}

// What the night shift typed is an engineer's draft in the morning, whether the
// agent runs or not, and is quoted to nobody until it was read.
func TestRunbookDrafts(t *testing.T) {
	p := startPanel(t)
	r := newRig(t, "[queue]\ngroup_window = \"100ms\"", p.device("filler"))
	r.start()
	p.SetHolding(0, 90)
	var job edgeagent.ID
	eventually(t, "the job is completed", func() bool {
		for _, a := range r.alarms("active") {
			job = a.Job
		}
		j, err := r.a.db.Load().Job(job)
		return err == nil && j.State == edgeagent.JobCompleted
	})
	if out, errOut, code := r.run("runbook", "drafts"); code != exitOK || out != "" || !strings.Contains(errOut, "nothing was said") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	body := map[string]string{"verdict": "wrong", "cause": "Foam\n---\nstatus: approved", "fixed_by": "Wiping the probe"}
	cl := clientOn(filepath.Join(r.dir, "a.sock"))
	if err := cl.post(t.Context(), "/api/v1/jobs/"+string(job)+"/feedback", body, nil); err != nil {
		t.Fatal(err)
	}
	online, errOut, code := r.run("runbook", "drafts")
	for _, want := range []string{"  - \"F212\"\n", "  - device:filler\n", "title: \"Level unstable\"\n", "- Foam --- status: approved\n", "1. It was fixed by: Wiping the probe\n", string(job)} {
		if code != exitOK || !strings.Contains(online, want) {
			t.Errorf("exit %d, want %q in\n%s%s", code, want, online, errOut)
		}
	}
	r.stop()
	offline, errOut, code := r.run("runbook", "drafts")
	if code != exitOK || offline != online || !strings.Contains(errOut, "as it was left") {
		t.Errorf("exit %d\n%s%s", code, offline, errOut)
	}
	folder := filepath.Join(r.dir, "runbook")
	if _, errOut, code := r.run("runbook", "drafts", "--write", folder); code != exitFailed || !strings.Contains(errOut, "make it first") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	r.file("runbook/other.md", "## X1 Other\n1. Look.\n")
	if _, errOut, code := r.run("runbook", "drafts", "--write", folder); code != exitOK || !strings.Contains(errOut, "1 drafts written") {
		t.Errorf("exit %d: %s", code, errOut)
	}
	if out, errOut, code := r.run("runbook", "drafts", "--json", "--write", folder); code != exitOK || out != "{\n  \"drafts\": []\n}\n" || !strings.Contains(errOut, "0 drafts written") {
		t.Errorf("a draft that is there is made again: exit %d\n%s%s", code, out, errOut)
	}
	if out, _, code := r.run("runbook", "lint"); code != exitOK || !strings.Contains(out, "F212 is a draft and not quoted") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestDraftsAreNeverWrittenOverAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "draft.md")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, "other"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

func (r *rig) runbookStatus() edgeagent.ProviderStatus {
	r.t.Helper()
	all := get[edgeagent.Status](r, "/api/v1/status").Providers
	return all[len(all)-1]
}

// Who edits the runbook and forgets the reload is told so on the page.
func TestPageSaysThatTheRunbookChanged(t *testing.T) {
	r := newRig(t)
	r.file("runbook/a.md", "## F212 Level\n1. Look.\n")
	r.start()
	look := func(want string) {
		t.Helper()
		r.a.lookAtRunbook()
		if got := r.runbookStatus(); got.Kind != "runbook" || got.Error != want {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	look("")
	r.file("runbook/b.md", "---\nowners: x\n---\n## F213 Level\n1. Look.\n")
	look("its folder changed since it was read: edgeagent reload takes the new words")
	if out, _, _ := r.run("status"); !strings.Contains(out, "runbook: ready (its folder changed") {
		t.Errorf("status:\n%s", out)
	}
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	const problem = `1 problems: b.md:2: front matter: "owners: x" is not understood; want codes, `
	if got := r.runbookStatus().Error; !strings.HasPrefix(got, problem) || !strings.HasSuffix(got, "; edgeagent runbook lint lists all") {
		t.Errorf("error %q", got)
	}
	r.file("runbook/b.md", "## F213 Level\n1. Look.\n")
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	look("")
}

// A folder that cannot be read at a reload costs no answer.
func TestUnreadableRunbookLeavesTheOldAnswers(t *testing.T) {
	r := newRig(t)
	r.file("runbook/a.md", "## F212 Level\n1. Look.\n")
	r.start()
	if err := os.Rename(filepath.Join(r.dir, "runbook"), filepath.Join(r.dir, "away")); err != nil {
		t.Fatal(err)
	}
	r.file("runbook", "no folder")
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Fatal(errOut)
	}
	if d := r.a.book.Load().Hint(edgeagent.Alarm{Device: "filler", Code: "F212"}, nil, ""); d.InsufficientEvidence {
		t.Errorf("the answers are gone: %+v", d)
	}
	if got := r.runbookStatus().Error; !strings.Contains(got, "read runbook "+filepath.Join(r.dir, "runbook")) {
		t.Errorf("error %q", got)
	}
}

// Reloads in the middle of alarms: each has the old answer or the new one.
func TestReloadWhileAlarmsRise(t *testing.T) {
	r := newRig(t, "[queue]\ngroup_window = \"100ms\"")
	r.file("runbook/a.md", "## F212 Level\n1. Look 0.\n")
	r.start()
	const alarms = 30
	end := make(chan struct{})
	var reloading sync.WaitGroup
	reloading.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-end:
				return
			default:
			}
			text := fmt.Sprintf("## F212 Level\n1. Look %d.\n", n)
			if err := os.WriteFile(filepath.Join(r.dir, "runbook", "a.md"), []byte(text), 0o600); err != nil {
				t.Error(err)
			}
			if _, errOut, code := r.run("reload"); code != exitOK {
				t.Error(errOut)
			}
		}
	})
	for range alarms {
		r.outside("F212")
	}
	close(end)
	reloading.Wait()
	all := r.alarms("history")
	for _, a := range all {
		if a.Hint == nil || len(a.Hint.Checks) == 0 || !strings.HasPrefix(a.Hint.Checks[0], "Look ") {
			t.Errorf("alarm %s: %+v", a.ID, a.Hint)
		}
	}
	if len(all) != alarms {
		t.Errorf("%d alarms", len(all))
	}
}

// The folder is looked at once a minute, and said once a change.
func TestRunbookIsWatched(t *testing.T) {
	r := newRig(t)
	r.file("runbook/a.md", "## F212 Level\n1. Look.\n")
	cfg := r.load()
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(cfg, slog.New(slog.NewTextHandler(r.log, nil)))
		a.loadRunbook(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.watchRunbook(ctx) }()
		r.file("runbook/b.md", "## F213 Level\n1. Look.\n")
		time.Sleep(bookLooked - time.Millisecond)
		if got := a.bookOf.String(); got != "" {
			t.Errorf("said before it was looked at: %q", got)
		}
		time.Sleep(10 * bookLooked)
		if n := strings.Count(r.log.String(), "the runbook's folder changed"); n != 1 || a.bookOf.String() == "" {
			t.Errorf("said %d times, then %q", n, a.bookOf.String())
		}
		if err := os.Remove(filepath.Join(r.dir, "runbook", "b.md")); err != nil {
			t.Error(err)
		}
		time.Sleep(bookLooked)
		synctest.Wait()
		if got := a.bookOf.String(); got != "" {
			t.Errorf("the change was taken back, yet %q", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
