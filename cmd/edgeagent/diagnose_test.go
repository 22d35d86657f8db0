package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/llm/llmtest"
	"edgeagent/queue"
	"edgeagent/status"
)

const foamText = `{"evidence":[],"causes":[{"cause":"Foam on the level probe","likelihood":"likely","evidence":["filler.level"],"sources":[]}],` +
	`"checks":["Look at the probe"],"urgency":"shift","missing":[],"insufficient_evidence":false,"summary":"Foam on the level probe."}`

// askRig is a plant of one panel with a cloud that answers by a script.
func askRig(t *testing.T, p panel, more string, script ...llmtest.Step) (*rig, *llmtest.Server) {
	t.Helper()
	t.Setenv("TEST_CLOUD_KEY", "sk-hush-hush")
	if len(script) == 0 {
		script = []llmtest.Step{llmtest.OpenAI.Say(llmtest.Reply{Text: foamText, TokensIn: 1000, TokensOut: 100})}
	}
	s := llmtest.NewServer(t, llmtest.OpenAI, script...)
	return newRig(t, "[llm]\ndiagnose_stop = \"runbook\"\n"+more, cloudProvider("openai", s.BaseURL(), `price = { input = 10, output = 10 }`), p.device("filler")), s
}

func decodeAnswer(t *testing.T, out string) status.AnsweredCase {
	t.Helper()
	var a status.AnsweredCase
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return a
}

func TestDiagnoseThroughTheAgent(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "")
	r.start()
	out, errOut, code := r.run("diagnose", "--alarm", "F212", "--json")
	a := decodeAnswer(t, out)
	if code != exitOK || a.From != status.CaseDefinition || a.Diagnosis == nil || a.Diagnosis.By.Provider != "openai" || len(a.Calls) != 1 || errOut != "" {
		t.Fatalf("exit %d, %s\n%s", code, out, errOut)
	}
	if tags := a.Case.First().Evidence.Tags; len(tags) != 1 || tags[0].Tag != "filler.level" || tags[0].Quality != edgeagent.QualityGood {
		t.Errorf("the present value is no evidence: %+v", tags)
	}
	if s := get[edgeagent.Status](r, "/api/v1/status"); s.Spend.TodayUSD != a.Calls[0].CostUSD || a.Calls[0].CostUSD == 0 || s.Jobs != (edgeagent.JobCounts{}) {
		t.Errorf("spend %+v, jobs %+v, call %+v", s.Spend, s.Jobs, a.Calls[0])
	}
	if len(cloud.Asked()) != 1 {
		t.Errorf("the cloud was asked %d times", len(cloud.Asked()))
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if s := get[edgeagent.Status](r, "/api/v1/status"); s.Spend.TodayUSD != a.Calls[0].CostUSD {
		t.Errorf("after a restart %v USD are spent, want %v", s.Spend.TodayUSD, a.Calls[0].CostUSD)
	}
	out, errOut, code = r.run("diagnose", "--alarm", "F212", "--provider", "runbook")
	if code != exitOK || !strings.Contains(out, "definition in the configuration") || !strings.Contains(out, "by runbook") || len(cloud.Asked()) != 1 {
		t.Errorf("exit %d, %d asked: %s\n%s", code, len(cloud.Asked()), out, errOut)
	}
}

func TestDiagnoseOfAnOpenAlarmAndItsReplay(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "")
	r.start()
	p.SetHolding(0, 90)
	eventually(t, "the alarm is diagnosed", func() bool {
		return get[edgeagent.Status](r, "/api/v1/status").Jobs.Completed == 1
	})
	asked := len(cloud.Asked())
	out, _, code := r.run("diagnose", "--alarm", "F212")
	if code != exitOK || !strings.Contains(out, "the open alarm, as it was recorded") || !strings.Contains(out, "Foam on the level probe") || len(cloud.Asked()) != asked+1 {
		t.Errorf("exit %d: %s", code, out)
	}
	j := get[jobsAnswer](r, "/api/v1/jobs").Jobs[0]
	before, _ := json.Marshal(j)
	t.Setenv("COLUMNS", "100")
	wide, _, code := r.run("replay", string(j.ID))
	if code != exitOK || !strings.Contains(wide, "STORED: openai cloud-1") || !strings.Contains(wide, " | NOW: openai") || !strings.Contains(wide, "first cause: the same") {
		t.Errorf("exit %d: %s", code, wide)
	}
	for line := range strings.SplitSeq(wide, "\n") {
		if strings.Contains(line, " | ") && len([]rune(line)) > 100 {
			t.Errorf("wider than the terminal: %q", line)
		}
	}
	t.Setenv("COLUMNS", "60")
	small, _, _ := r.run("replay", strings.ToLower(string(j.ID)), "--provider", "runbook")
	if strings.Contains(small, " | ") || strings.Index(small, "STORED") > strings.Index(small, "NOW: runbook") || !strings.Contains(small, "worded differently") && !strings.Contains(small, "none now") {
		t.Errorf("on a phone: %s", small)
	}
	out, _, code = r.run("replay", string(j.ID), "--json")
	var both replayed
	if err := json.Unmarshal([]byte(out), &both); err != nil || code != exitOK || both.Stored == nil || both.Diagnosis == nil || len(both.Changed) == 0 || both.Case.Job != j.ID {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	if after, _ := json.Marshal(get[jobsAnswer](r, "/api/v1/jobs").Jobs[0]); string(after) != string(before) {
		t.Errorf("a replay changed the job:\n%s\n%s", before, after)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	spent := len(cloud.Asked())
	out, errOut, code := r.run("replay", string(j.ID))
	if code != exitOK || !strings.Contains(errOut, "no agent runs") || !strings.Contains(out, "NOW: openai") || len(cloud.Asked()) != spent+1 {
		t.Errorf("without an agent: exit %d: %s%s", code, out, errOut)
	}
}

func TestDryRunSendsNothing(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "")
	check := func(where string) {
		out, _, code := r.run("diagnose", "--alarm", "F212", "--dry-run")
		for _, want := range []string{"=== openai", "--- system", "You are an industrial fault analysis assistant", `"filler/F212"`, `schema "diagnosis"`, "=== runbook", "has no prompt"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in %s", where, want, out)
			}
		}
		if code != exitOK || len(cloud.Asked()) != 0 || r.a == nil && cloud.Probes() != 0 { // the agent probes for itself
			t.Errorf("%s: exit %d, %d asked, %d probes", where, code, len(cloud.Asked()), cloud.Probes())
		}
	}
	check("without an agent")
	if _, err := os.Stat(dataFile(r.load())); err == nil {
		t.Error("a dry run made a data file")
	}
	r.start()
	check("through the agent")
	out, _, _ := r.run("diagnose", "--alarm", "F212", "--dry-run", "--json", "--provider", "openai")
	if a := decodeAnswer(t, out); len(a.Prompts) != 1 || a.Prompts[0].Tokens == 0 || len(a.Prompts[0].Schema) == 0 || a.Prompts[0].Version == "" || !a.Prompts[0].Fits {
		t.Errorf("as JSON: %+v", a.Prompts)
	}
	if s := get[edgeagent.Status](r, "/api/v1/status"); s.Spend.TodayUSD != 0 {
		t.Errorf("a dry run cost %v", s.Spend.TodayUSD)
	}
}

func TestDiagnoseRefusals(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "")
	r.file("config.toml", strings.Replace(readText(t, r.path), "[[device]]", startPanel(t).device("capper")+"\n[[device]]", 1))
	for _, running := range []bool{false, true} {
		if running {
			r.start()
		}
		for _, c := range []struct {
			args []string
			code int
			want string
		}{
			{[]string{"diagnose"}, exitUsage, "--alarm CODE"},
			{[]string{"diagnose", "--alarm", "F212", "extra"}, exitUsage, "no arguments"},
			{[]string{"diagnose", "--alarm", "F212"}, exitFailed, "name one with --device"},
			{[]string{"diagnose", "--alarm", "F213"}, exitFailed, "not found"},
			{[]string{"diagnose", "--alarm", "F212", "--device", "nobody"}, exitFailed, "of device nobody"},
			{[]string{"diagnose", "--alarm", "F212", "--device", "capper", "--provider", "clown"}, exitFailed, `no provider "clown"`},
			{[]string{"replay", "x"}, exitUsage, "jobs list"},
			{[]string{"replay", string(edgeagent.NewID(time.Now()))}, exitFailed, ""},
		} {
			out, errOut, code := r.run(c.args...)
			if code != c.code || out != "" || !strings.Contains(errOut, c.want) || strings.Contains(errOut, "internal") {
				t.Errorf("running %v: %v: exit %d, want %d: %s%s", running, c.args, code, c.code, out, errOut)
			}
		}
	}
	if len(cloud.Asked()) != 0 {
		t.Errorf("asked %d times for nothing", len(cloud.Asked()))
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Who names one provider hears why it did not answer, and what was tried.
func TestDiagnoseSaysWhyNobodyAnswered(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "", llmtest.OpenAI.Refuse(http.StatusUnauthorized, "bad key sk-hush-hush"))
	r.start()
	out, errOut, code := r.run("diagnose", "--alarm", "F212", "--provider", "openai")
	if code != exitFailed || !strings.Contains(out, "call openai cloud-1: auth, status 401") || !strings.Contains(errOut, "openai") || strings.Contains(out+errOut, "hush") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	if strings.Contains(errOut, "about job") {
		t.Errorf("a job that nobody has: %s", errOut)
	}
	out, _, code = r.run("diagnose", "--alarm", "F212") // held now: the runbook answers
	if code != exitOK || !strings.Contains(out, "by runbook") || len(cloud.Asked()) != 1 {
		t.Errorf("exit %d, %d asked: %s", code, len(cloud.Asked()), out)
	}
}

// The caps hold for what people ask too, with and without an agent.
func TestDiagnoseIsCapped(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "daily_cap_usd = 0.1\njob_cap_usd = 0.0001\n")
	for range 2 {
		out, _, code := r.run("diagnose", "--alarm", "F212", "--json")
		if a := decodeAnswer(t, out); code != exitOK || a.Diagnosis.By.Kind != "runbook" || !strings.Contains(a.Diagnosis.By.WhyNotFirst, "job cap") {
			t.Errorf("exit %d: %s", code, out)
		}
		if r.a == nil {
			r.start()
		}
	}
	if len(cloud.Asked()) != 0 {
		t.Errorf("asked %d times", len(cloud.Asked()))
	}
}

// Whoever gives up ends the request to the model, and a reload does not wait
// for a model that thinks.
func TestAskingEndsWithWhoAsksAndWithAReload(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "", llmtest.Hang())
	r.start()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	ask := func(ctx context.Context) {
		var a status.AnsweredCase
		err := throughSocketOf(r).post(ctx, "/api/v1/diagnose", status.AskedCase{Alarm: "F212", Provider: "openai"}, &a)
		if err == nil && a.Error != "" {
			err = &exitError{code: exitFailed, err: errString(a.Error)}
		}
		ended <- err
	}
	go ask(ctx)
	eventually(t, "the cloud is asked", func() bool { return len(cloud.Asked()) == 1 })
	cancel()
	if err := <-ended; err == nil {
		t.Error("nobody was told")
	}
	go ask(t.Context())
	eventually(t, "the cloud is asked again", func() bool { return len(cloud.Asked()) == 2 })
	r.file("config.toml", strings.Replace(readText(t, r.path), `diagnose_stop = "runbook"`, `diagnose_stop = "all"`, 1))
	if _, errOut, code := r.run("reload"); code != exitOK {
		t.Errorf("reload: exit %d: %s", code, errOut)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "ask once more") {
		t.Errorf("told %v", err)
	}
}

// Without an agent the data file is held while the case is read, and no longer:
// an agent that starts while a model thinks must have it.
func TestAModelThatThinksHoldsNoDataFile(t *testing.T) {
	p := startPanel(t)
	var opened error
	var path string
	r, cloud := askRig(t, p, "", func(w http.ResponseWriter, q *http.Request) {
		var db *queue.DB
		if db, opened = queue.Open(q.Context(), queue.Options{Path: path, Site: "s", Agent: "a"}); opened == nil {
			opened = db.Close()
		}
		llmtest.OpenAI.Say(llmtest.Reply{Text: foamText, TokensIn: 1000, TokensOut: 100})(w, q)
	})
	path = dataFile(r.start().load())
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := r.run("diagnose", "--alarm", "F212"); code != exitOK || len(cloud.Asked()) != 1 || opened != nil {
		t.Errorf("exit %d, asked %d times, while it thought the file: %v\n%s%s", code, len(cloud.Asked()), opened, out, errOut)
	}
}

type errString string

func (e errString) Error() string { return string(e) }

func throughSocketOf(r *rig) *client {
	cl := clientOn(r.load().Agent.Socket)
	cl.http.Timeout = 0
	return cl
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"one two", "one|two"}, {"äöüßé x", "äöüßé|x"}, {"abcdefghijk lm", "abcde|fghij|k lm"}, {"  a  b ", "a b"},
	} {
		if got := strings.Join(wrap(tt.in, 5), "|"); got != tt.want {
			t.Errorf("wrap(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
