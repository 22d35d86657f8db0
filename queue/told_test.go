package queue

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"edgeagent"
)

// What is copied together must be what the pages show of the same job.
func TestJobOfAnEventIsTheJob(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 5, time.UTC)
	id := edgeagent.NewID(at)
	note := edgeagent.NewNote("alarm", `filler/F212: </script> "event":"leased"`, paramAlarm, string(edgeagent.NewID(at)))
	entry := func(event string, detail *edgeagent.Note) any {
		return edgeagent.TimelineEntry{At: at, Event: event, Detail: detail}
	}
	for name, parts := range map[string]map[string]any{
		"fresh":  {numbered(id, partTimeline, 0): entry("opened", note)},
		"failed": {numbered(id, partTimeline, 0): entry("opened", note), numbered(id, partTimeline, 1): entry("failed", edgeagent.NewNote("crash", "x"))},
		"answered": {
			numbered(id, partTimeline, 0): entry("opened", note), numbered(id, partTimeline, 1): entry("joined", note),
			numbered(id, partTimeline, 2): entry("leased", nil), numbered(id, partTimeline, 3): entry("retry", edgeagent.NewNote("offline", "no route")),
			numbered(id, partTimeline, 4): entry("completed", nil),
			numbered(id, partCalls, 0):    []edgeagent.Call{{Provider: "cloud"}, {Provider: "local"}},
			numbered(id, partCalls, 1):    []edgeagent.Call{},
			numbered(id, partCalls, 2):    []edgeagent.Call{{Provider: "runbook"}},
			part(id, partDiagnosis):       &edgeagent.Diagnosis{Summary: "dirty <lens>"},
			part(id, partFeedback):        edgeagent.Feedback{Verdict: edgeagent.VerdictRight, By: "erika", At: at},
			part(id, partCase):            edgeagent.Case{Job: id},
		},
	} {
		bodies := make(map[string][]byte)
		for key, v := range parts {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			bodies[key] = pack(text)
		}
		j := job{id: id, header: header{Group: group{Line: "Filler-2"}, State: edgeagent.JobCompleted, Created: at, Finished: at}}
		full, err := assemble(id, j.header, bodies)
		if err != nil {
			t.Fatal(err)
		}
		full.Line = j.Group.Line
		for _, said := range []promptAndRaw{{}, {"what?", ""}, {"what?", `{"cause":"<"}`}} {
			want, err := json.Marshal(struct {
				edgeagent.Job
				promptAndRaw
			}{full, said})
			if err != nil {
				t.Fatal(err)
			}
			got, err := jobText(j, bodies, edgeagent.Outcome{Prompt: said.Prompt, Raw: said.Raw})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %+v: %v\n got %s\nwant %s", name, said, err, got, want)
			}
		}
	}
}
