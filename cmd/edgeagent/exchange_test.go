package main

import (
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/llm/llmtest"
)

// ghostText cites a tag that is nowhere and asks for what nobody should do.
const ghostText = `{"evidence":[{"name":"filler.ghost","observation":"high"}],"causes":[{"cause":"The probe sees foam","likelihood":"likely","evidence":["filler.ghost"],"sources":[]}],` +
	`"checks":["Look at the probe.","Bridge the door switch."],"urgency":"shift","missing":[],"insufficient_evidence":false,"summary":"Foam at filler.ghost."}`

// The answer that was not taken can be seen beside its call, as far as it may;
// word for word, and what was asked, it is told on the gateway alone.
func TestAnAnswerOfNoUseIsShownBesideItsCall(t *testing.T) {
	t.Setenv("TEST_CLOUD_KEY", "sk-hush-hush")
	said := func(text string) llmtest.Step {
		return llmtest.OpenAI.Say(llmtest.Reply{Text: text, TokensIn: 100, TokensOut: 50})
	}
	good := strings.NewReplacer(`{"name":"filler.ghost","observation":"high"}`, "", "filler.ghost", "filler.level", "Bridge the door switch.", "Clean it.").Replace(ghostText)
	cloud := llmtest.NewServer(t, llmtest.OpenAI, said(ghostText), said(good))
	p := startPanel(t)
	r := newRig(t, cloudProvider("openai", cloud.BaseURL(), ""), p.device("filler")).start()
	p.SetHolding(0, 90)
	var j shownJob
	eventually(t, "the alarm is diagnosed", func() bool {
		all := get[jobsAnswer](r, "/api/v1/jobs?state=completed").Jobs
		if len(all) == 1 {
			j.ID = all[0].ID
		}
		return len(all) == 1
	})
	j = get[shownJob](r, "/api/v1/jobs/"+string(j.ID))
	if len(j.Calls) != 2 || j.Calls[0].Outcome != edgeagent.CallOutput || len(j.Faulty) != 1 || j.Exchanges != nil {
		t.Fatalf("%d calls, faulty %+v, exchanges %+v", len(j.Calls), j.Faulty, j.Exchanges)
	}
	f := j.Faulty[0]
	if f.Call != 0 || !strings.Contains(f.Fault.String(), "filler.ghost") || !strings.Contains(f.Raw, "Look at the probe") || strings.Contains(f.Raw, "ridge the door") {
		t.Errorf("faulty = %+v, %s", f, f.Fault)
	}
	out, errOut, code := r.run("jobs", "show", string(j.ID), "--exchanges")
	for _, want := range []string{"sent:\nYou are an industrial fault analysis assistant", "not taken", "Bridge the door switch.", "answer, unfiltered:"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, without %q:\n%s%s", code, want, out, errOut)
		}
	}
	if out, _, _ := r.run("jobs", "show", string(j.ID)); strings.Contains(out, "industrial fault analysis") {
		t.Errorf("without being asked:\n%s", out)
	}
	online, _, _ := r.run("jobs", "show", string(j.ID), "--json", "--exchanges")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	offline, errOut, code := r.run("jobs", "show", string(j.ID), "--json", "--exchanges")
	if code != exitOK || offline != online || strings.Contains(strings.SplitN(offline, `"exchanges"`, 2)[0], "ridge the door") {
		t.Errorf("without the agent: exit %d\n%s%swith it\n%s", code, offline, errOut, online)
	}
}
