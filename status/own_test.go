package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func TestAHintThatThereIsNoEntryDoesNotHideTheAnswerOfTheGroup(t *testing.T) {
	p := newPlant(time.Now())
	j := p.jobs[idJob]
	j.Alarms = []edgeagent.ID{idStopped, idPressure}
	j.Diagnosis = &edgeagent.Diagnosis{Summary: "entry of the first alarm", Causes: []edgeagent.Cause{{Cause: "the pump lost its supply", Likelihood: edgeagent.Likely}}, By: edgeagent.Provenance{Kind: "runbook"}}
	p.jobs[idJob] = j
	a := p.alarms[idPressure]
	a.FirstOut = false
	a.Hint = &edgeagent.Diagnosis{Summary: "There is no entry for it.", InsufficientEvidence: true, By: edgeagent.Provenance{Kind: "runbook"}}
	p.alarms[idPressure] = a
	_, body, _ := strings.Cut(ask(t, newServer(p), "GET", "/", "").Body.String(), `id="a-`+string(idPressure))
	body, _, _ = strings.Cut(body, `id="a-`)
	if !strings.Contains(body, "the pump lost its supply") || strings.Contains(body, "There is no entry") {
		t.Error("a card says that there is no entry while the job has an answer")
	}
}

// What is over cannot be resumed: the command would only be refused.
func TestADeviceThatIsReadAgainOffersNoResume(t *testing.T) {
	p := newPlant(time.Now())
	offered := func(state edgeagent.AlarmState) bool {
		a := p.alarms[idStopped]
		a.State = state
		p.alarms[idStopped] = a
		_, body, found := strings.Cut(ask(t, newServer(p), "GET", "/", "").Body.String(), `id="a-`+string(idStopped))
		if !found {
			t.Fatalf("%s: no card", state)
		}
		body, _, _ = strings.Cut(body, `</article>`)
		return strings.Contains(body, "Resume")
	}
	if !offered(edgeagent.AlarmUnacked) || !offered(edgeagent.AlarmAcked) {
		t.Error("a device that is not being read cannot be resumed from its card")
	}
	if offered(edgeagent.AlarmClearedUnacked) {
		t.Error("a device that is read again is to be resumed")
	}
}

// What comes back from the data file has forgotten that it had no sign: "6 at the
// alarm, now Execute" would be a change that there was not.
func TestANumberOfAnAlarmHasTheWordThatItHasNow(t *testing.T) {
	p := newPlant(time.Now())
	p.readings["filler"][1].Value = edgeagent.Uint(6)
	var stored edgeagent.Value
	if err := json.Unmarshal([]byte("6"), &stored); err != nil {
		t.Fatal(err)
	}
	a := p.alarms[idPressure]
	a.Values = map[string]edgeagent.Value{"filler.state": stored}
	p.alarms[idPressure] = a
	for _, path := range []string{"/", "/alarms", "/alarms/" + string(idPressure)} {
		_, body, _ := strings.Cut(ask(t, newServer(p), "GET", path, "").Body.String(), "filler.state</bdi>")
		if body, _, _ = strings.Cut(body, "</b>"); !strings.Contains(body, "Execute") {
			t.Errorf("%s: filler.state is %q, want its word", path, body)
		}
	}
}
