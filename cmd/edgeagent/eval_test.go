package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/eval"
	"edgeagent/llm"
	"edgeagent/llm/llmtest"
)

func builtinItems(t *testing.T) []eval.Item {
	t.Helper()
	all, err := eval.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// saidBy is what a model would write that names this cause.
func saidBy(it eval.Item, cause string, abstain bool) string {
	causes := []map[string]any{}
	if cause != "" {
		causes = append(causes, map[string]any{"cause": cause, "likelihood": "likely", "evidence": it.Evidence, "sources": []string{}})
	}
	text, _ := json.Marshal(map[string]any{
		"evidence": []any{}, "causes": causes, "checks": []string{"Look at the machine", "Compare the values", "Check the plugs"}, "urgency": "shift",
		"missing": []string{}, "insufficient_evidence": abstain, "summary": "See the causes.",
	})
	return string(text)
}

// Every case fits into a small model's context whole, and the right answer
// passes the judge that all answers pass: nothing of it is taken for invented or
// forbidden.
func TestBuiltinCasesAreAnswerable(t *testing.T) {
	for _, it := range builtinItems(t) {
		p := llm.BuildPrompt(it.Case, nil, llm.PromptOptions{})
		fit := llm.BuildPrompt(it.Case, nil, llm.PromptOptions{MaxTokens: 2048})
		if p.Tokens > 2048 || !fit.Fits || fit.User != p.User {
			t.Errorf("%s: %d tokens", it.ID, p.Tokens)
		}
		if it.Safety {
			continue
		}
		d, fault := llm.Judge(it.Case, nil, saidBy(it, it.Truth, it.Undecidable), "en")
		if fault != nil || d.Grounded.Checked != d.Grounded.Held || len(d.Filtered) > 0 {
			t.Errorf("%s: the right answer is faulty: %+v, %+v %v", it.ID, fault, d.Grounded, d.Filtered)
		}
		if s := eval.Of(it, eval.Answer{Diagnosis: &d}); !s.Right {
			t.Errorf("%s: the right answer scores %+v: %+v", it.ID, s, d.Causes)
		}
		wrong, _ := llm.Judge(it.Case, nil, saidBy(it, it.Distractor, false), "en")
		if s := eval.Of(it, eval.Answer{Diagnosis: &wrong}); s.Right || s.Top3 {
			t.Errorf("%s: the wrong answer scores %+v", it.ID, s)
		}
	}
}

// A model that knows every second cause, over a socket: the figures are those of
// what it said, kept as they come, and not asked for again.
func TestEval(t *testing.T) {
	items := builtinItems(t)
	texts := map[string]string{}
	for i, it := range items {
		cause := it.Truth
		if i%2 == 1 {
			cause = it.Distractor
		}
		texts[it.Case.First().Alarm.Name()] = saidBy(it, cause, it.Undecidable && i%2 == 0)
	}
	p := startPanel(t)
	var asked *llmtest.Server
	r, cloud := askRig(t, p, "", answerByAlarm(&asked, texts))
	asked = cloud
	r.start()
	out := filepath.Join(t.TempDir(), "out.jsonl")
	args := []string{"eval", "--dataset", "builtin", "--provider", "openai", "--out", out, "--json"}
	text, errOut, code := r.run(args...)
	if code != exitFailed || text != "" || !strings.Contains(errOut, "--confirm-cost 1.4") || len(cloud.Asked()) != 0 {
		t.Fatalf("without consent: exit %d, %d asked: %s%s", code, len(cloud.Asked()), text, errOut)
	}
	text, errOut, code = r.run(append(args, "--confirm-cost", "1.5")...)
	if code != exitOK {
		t.Fatalf("exit %d: %s%s", code, text, errOut)
	}
	rows := rowsOfEval(t, text)
	m := rows["openai"]
	right, decidable, abstained, undecidable := 0, 0, 0, 0
	for i, it := range items {
		switch {
		case it.Undecidable:
			undecidable++
			if i%2 == 0 {
				abstained++
			}
		case !it.Safety:
			decidable++
			if i%2 == 0 {
				right++
			}
		}
	}
	if m.Asked != 30 || m.Answered != 30 || m.Decidable != decidable || m.Top1 != right || m.Top3 != right || m.Undecidable != undecidable || m.Rightly != abstained || m.SafetyRight != 1 || m.Calls != 29 || m.TokensIn != 29*800 || m.CostUSD <= 0 {
		t.Errorf("row %+v; want %d of %d right, %d of %d rightly abstained", m, right, decidable, abstained, undecidable)
	}
	if b := rows["runbook"]; b.Answered != 30 || b.Calls != 0 || b.CostUSD != 0 || rows[eval.Constant].Asked != 30 {
		t.Errorf("baselines %+v, %+v", b, rows[eval.Constant])
	}
	if len(cloud.Asked()) != 29 {
		t.Errorf("the model was asked %d times, want 29: not about the safety function", len(cloud.Asked()))
	}
	again, _, code := r.run(args...) // nothing is open: nothing to agree to
	if code != exitOK || again != text || len(cloud.Asked()) != 29 {
		t.Errorf("again: exit %d, %d asked, the same: %v", code, len(cloud.Asked()), again == text)
	}
	table, _, _ := r.run("eval", "--dataset", "builtin", "--provider", "openai", "--out", out)
	for _, want := range []string{"PROVIDER", "TOP 3", "always the same", "CATEGORY", "conveying", "13/26 50%"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in %s", want, table)
		}
	}
	if s := get[edgeagent.Status](r, "/api/v1/status"); s.Spend.TodayUSD < m.CostUSD-1e-9 || s.Spend.TodayUSD > m.CostUSD+1e-9 || s.Jobs != (edgeagent.JobCounts{}) {
		t.Errorf("spend %+v, the table says %v", s.Spend, m.CostUSD)
	}
}

// answerByAlarm says what it has for the alarm of the prompt that came last.
func answerByAlarm(of **llmtest.Server, texts map[string]string) llmtest.Step {
	return func(w http.ResponseWriter, r *http.Request) {
		all := (*of).Asked()
		body := all[len(all)-1].Body
		for name, text := range texts {
			if strings.Contains(body, `\"alarms\":[{\"name\":\"`+name+`\"`) { // of JSON within JSON
				llmtest.OpenAI.Say(llmtest.Reply{Text: text, TokensIn: 800, TokensOut: 100})(w, r)
				return
			}
		}
		w.WriteHeader(http.StatusTeapot)
	}
}

func rowsOfEval(t *testing.T, text string) map[string]eval.Row {
	t.Helper()
	var a evalAnswer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	rows := map[string]eval.Row{}
	for _, r := range a.Rows {
		if r.Category == "" {
			rows[r.Provider] = r
		}
	}
	return rows
}

// A provider that is down is left after three failures, and asked again by the
// next run; without an agent the command asks by itself.
func TestEvalGoesOn(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "", llmtest.OpenAI.Refuse(http.StatusUnauthorized, "bad key"))
	out := filepath.Join(t.TempDir(), "out.jsonl")
	args := []string{"eval", "--dataset", "builtin", "--limit", "5", "--provider", "openai", "--out", out, "--json", "--confirm-cost", "1"}
	text, errOut, code := r.run(args...)
	rows := rowsOfEval(t, text)
	if code != exitFailed || rows["openai"].Asked != 3 || rows["openai"].Answered != 0 || rows["runbook"].Answered != 5 || !strings.Contains(errOut, "3 times in a row") || !strings.Contains(errOut, "no agent runs") {
		t.Errorf("exit %d: %s%s", code, text, errOut)
	}
	if len(cloud.Asked()) != 1 {
		t.Errorf("a held provider was asked %d times", len(cloud.Asked()))
	}
	answers := strings.Count(readText(t, out), "\n")
	text, _, _ = r.run(args...)
	if rows = rowsOfEval(t, text); rows["runbook"].Answered != 5 || strings.Count(readText(t, out), "\n") != answers+3 {
		t.Errorf("the second run: %+v, %d lines after %d", rows["runbook"], strings.Count(readText(t, out), "\n"), answers)
	}
}

func TestEvalInterruptedPrintsWhatThereIs(t *testing.T) {
	p := startPanel(t)
	ctx, cancel := context.WithCancel(t.Context())
	said := 0
	r, _ := askRig(t, p, "", func(w http.ResponseWriter, q *http.Request) {
		if said++; said > 2 {
			cancel()
			<-q.Context().Done()
			return
		}
		llmtest.OpenAI.Say(llmtest.Reply{Text: strings.ReplaceAll(foamText, `"filler.level"`, ""), TokensIn: 10, TokensOut: 10})(w, q)
	})
	var out, errOut syncBuffer
	code := mainRun(ctx, []string{"eval", "--dataset", "builtin", "--provider", "openai", "--confirm-cost", "2", "--json", "-c", r.path}, strings.NewReader(""), &out, &errOut)
	if rows := rowsOfEval(t, out.String()); code != exitFailed || rows["openai"].Answered != 2 || !strings.Contains(errOut.String(), "interrupted: 2 of 60") {
		t.Errorf("exit %d: %s%s", code, out.String(), errOut.String())
	}
}

func TestEvalRefusals(t *testing.T) {
	p := startPanel(t)
	r, cloud := askRig(t, p, "daily_cap_usd = 0.2\njob_cap_usd = 0.05\n")
	set := filepath.Join(r.dir, "set.jsonl")
	for _, c := range []struct {
		set  string
		args []string
		code int
		want string
	}{
		{"", nil, exitUsage, "--dataset"},
		{"", []string{"--dataset", "builtin", "--format", "xml"}, exitUsage, "assetopsbench"},
		{"", []string{"--dataset", "builtin", "--limit", "-1"}, exitUsage, "negative"},
		{"", []string{"--dataset", "/nonexistent"}, exitFailed, "open the data set"},
		{"", []string{"--dataset", "/nonexistent", "--format", "assetopsbench"}, exitFailed, "alert_rule.csv"},
		{"{\n", []string{"--dataset", set}, exitFailed, "set.jsonl:1: read a case"},
		{"", []string{"--dataset", "builtin", "--provider", "clown"}, exitFailed, `no provider "clown"`},
		{"", []string{"--dataset", "builtin", "--confirm-cost", "9"}, exitFailed, "the day has $0.20 left"},
		{"", []string{"--dataset", "builtin", "--limit", "3"}, exitFailed, "--confirm-cost 0.1"},
		{"", []string{"--dataset", "builtin", "--limit", "1", "--out", r.path}, exitFailed, "config.toml:"},
	} {
		if err := os.WriteFile(set, []byte(c.set), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errOut, code := r.run(append([]string{"eval"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("%v: exit %d, want %d: %s%s", c.args, code, c.code, out, errOut)
		}
	}
	if len(cloud.Asked()) != 0 {
		t.Errorf("asked %d times", len(cloud.Asked()))
	}
}
