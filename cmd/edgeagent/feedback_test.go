package main

import (
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/status"
)

// A technician judges, an engineer confirms, and the next time the alarm rises
// both are known: all through the socket, as people do it.
func TestFeedbackOnTheCommandLine(t *testing.T) {
	r, act := outsideRig(t)
	alarm := status.OutsideAlarm{Line: "Filler-2", Code: "X1", Text: "Air pressure low", By: "scada"}
	first, _, err := act.Raise(t.Context(), alarm, "", "")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its job is done", func() bool { return len(get[jobsAnswer](r, "/api/v1/jobs?state=completed").Jobs) == 1 })
	id := string(get[edgeagent.Alarm](r, "/api/v1/alarms/"+string(first.ID)).Job)
	for _, step := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no verdict", []string{"jobs", "feedback", id}, exitUsage, "needs --verdict"},
		{"another verdict", []string{"jobs", "feedback", id, "--verdict", "perhaps"}, exitUsage, "needs --verdict"},
		{"confirm before anybody judged", []string{"jobs", "confirm", id}, exitFailed, "nobody has judged"},
		{"judge", []string{"jobs", "feedback", id, "--verdict", "wrong", "--cause", "filter\x1b[31m clogged", "--fixed-by", "new filter"}, exitOK, "judged wrong"},
		{"confirm", []string{"jobs", "confirm", id}, exitOK, "fixed by: new filter; confirmed by"},
		{"an answer that is not there", []string{"jobs", "feedback", id, "--verdict", "right", "--provider", "cloud"}, exitFailed, `no answer of provider "cloud"`},
		{"show", []string{"jobs", "show", id}, exitOK, "the cause was: filter [31m clogged"},
		{"show as JSON", []string{"jobs", "show", id, "--json"}, exitOK, `"confirmed_by"`},
		{"a job that is not there", []string{"jobs", "feedback", "01K0000000000000000000000Z", "--verdict", "right"}, exitFailed, "not found"},
	} {
		out, errOut, code := r.run(step.args...)
		if code != step.code || !strings.Contains(out+errOut, step.says) {
			t.Errorf("%s: exit %d, want %d with %q\n%s%s", step.name, code, step.code, step.says, out, errOut)
		}
	}
	accuracy := get[struct {
		Providers []edgeagent.Accuracy
		Alarms    []edgeagent.Memory
	}](r, "/api/v1/accuracy")
	if len(accuracy.Providers) != 1 || accuracy.Providers[0].Provider != "runbook" || accuracy.Providers[0].Wrong != 1 || len(accuracy.Alarms) != 1 || accuracy.Alarms[0].Code != "X1" {
		t.Errorf("accuracy = %+v", accuracy)
	}
	again, _, err := act.Raise(t.Context(), alarm, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if o := again.LastTime; o == nil || o.ID != first.ID || o.FixedBy != "new filter" {
		t.Errorf("last time = %+v", o)
	}
}

func TestBothAnswersAreShownOnTheCommandLine(t *testing.T) {
	var out strings.Builder
	printJob(&out, edgeagent.Job{
		State:     edgeagent.JobCompleted,
		Diagnosis: &edgeagent.Diagnosis{Summary: "first thought", By: edgeagent.Provenance{Provider: "local"}},
		Reviews:   []edgeagent.Diagnosis{{Summary: "second thought", By: edgeagent.Provenance{Provider: "cloud"}}},
	})
	got := out.String()
	if newer, first := strings.Index(got, "second thought"), strings.Index(got, "first thought"); newer < 0 || first < newer || !strings.Contains(got, "superseded") {
		t.Errorf("printed:\n%s", got)
	}
}
