package status

import (
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// reviewed gives the job of the fixture a second answer and a person's word.
func reviewed(p *plant, now time.Time, second edgeagent.Cause) {
	j := p.jobs[idJob]
	j.Reviews = []edgeagent.Diagnosis{{Summary: "The probe's plug is wet.", Language: "en", Causes: []edgeagent.Cause{second},
		By: edgeagent.Provenance{Provider: "cloud", Kind: "openai", Model: "gpt-4o-mini", At: now.Add(-time.Minute), CostUSD: 0.0007}}}
	p.jobs[idJob] = j
}

func TestBothAnswersAreShownTheNewerFirst(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name   string
		second edgeagent.Cause
		agree  string
	}{
		{"the same, otherwise written", edgeagent.Cause{Cause: "foam on the level-probe."}, "Both name the same first cause."},
		{"by the same passage", edgeagent.Cause{Cause: "Froth at the sensor", Sources: []string{"runbook/filler.md#f212"}}, "rest on the same passage"},
		{"another", edgeagent.Cause{Cause: "Wet plug"}, "Their first causes differ: compare them before you act."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(now)
			reviewed(p, now, tt.second)
			for _, path := range []string{"/jobs/" + string(idJob), "/alarms/" + string(idPressure)} {
				body := ask(t, newServer(p), "GET", path, "").Body.String()
				newer, first := strings.Index(body, "Newer answer</h3>"), strings.Index(body, "First answer, superseded</h3>")
				if newer < 0 || first < newer || !strings.Contains(body, tt.agree) || !strings.Contains(body, "The probe&#39;s plug is wet.") || !strings.Contains(body, "the probe sees foam") {
					t.Errorf("%s: newer at %d, first at %d, %q: %v", path, newer, first, tt.agree, strings.Contains(body, tt.agree))
				}
			}
			if body := ask(t, newServer(p), "GET", "/", "").Body.String(); !strings.Contains(body, tt.second.Cause) {
				t.Error("the first page shows the answer that was superseded")
			}
			if body := ask(t, newServer(p), "GET", "/jobs", "").Body.String(); !strings.Contains(body, "cloud model gpt-4o-mini") {
				t.Error("the list of jobs names the answer that was superseded")
			}
		})
	}
}

func TestAWordAndItsConfirmationAreShownAndAskedFor(t *testing.T) {
	now := time.Now()
	f := edgeagent.Feedback{Verdict: edgeagent.VerdictWrong, Cause: "wet plug", FixedBy: "dried it", By: "ann", At: now.Add(-time.Hour), Provider: "local"}
	confirmed := f
	confirmed.ConfirmedBy, confirmed.ConfirmedAt = "eva", &now
	for _, tt := range []struct {
		name string
		word *edgeagent.Feedback
		has  []string
		not  []string
	}{
		{"nobody", nil, []string{"Was the diagnosis right?", "jobs feedback " + string(idJob)}, []string{"jobs confirm", "Judged <b>"}},
		{"a technician", &f, []string{"Judged <b><bdi>wrong</bdi></b> by <bdi>ann</bdi>", "wet plug", "dried it", "not confirmed by an engineer yet", "jobs confirm " + string(idJob)}, []string{"Was the diagnosis right?"}},
		{"an engineer too", &confirmed, []string{"confirmed by <bdi>eva</bdi>"}, []string{"jobs confirm", "not confirmed", "Was the diagnosis right?"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(now)
			j := p.jobs[idJob]
			j.Feedback = tt.word
			p.jobs[idJob] = j
			for _, path := range []string{"/jobs/" + string(idJob), "/alarms/" + string(idPressure)} {
				body := spoken(ask(t, newServer(p), "GET", path, "").Body.String())
				for _, text := range tt.has {
					if !strings.Contains(body, text) {
						t.Errorf("%s does not say %q", path, text)
					}
				}
				for _, text := range tt.not {
					if strings.Contains(body, text) {
						t.Errorf("%s says %q", path, text)
					}
				}
			}
		})
	}
}

func TestAccuracy(t *testing.T) {
	p := newPlant(time.Now())
	body := ask(t, newServer(p), "GET", "/api/v1/accuracy", "").Body.String()
	for _, text := range []string{`"providers":[{"provider":"cloud","model":"gpt-4o-mini","right":12,"partly":3,"wrong":2}`, `"confirmed":true`, `"judged":[{"provider":"runbook"`} {
		if !strings.Contains(body, text) {
			t.Errorf("no %s in %s", text, body)
		}
	}
	p.judged, p.memory = nil, edgeagent.Memory{}
	if body := ask(t, newServer(p), "GET", "/api/v1/accuracy", "").Body.String(); strings.Contains(body, "null") {
		t.Errorf("a list is null: %s", body)
	}
	p.err = edgeagent.ErrFull
	if w := ask(t, newServer(p), "GET", "/api/v1/accuracy", ""); w.Code < 500 {
		t.Errorf("%d without a data file", w.Code)
	}
}

func TestFeedbackMetricsAreBounded(t *testing.T) {
	p := newPlant(time.Now())
	body := ask(t, newServer(p), "GET", "/metrics", "").Body.String()
	for _, line := range []string{"# TYPE edgeagent_feedback_total gauge", `edgeagent_feedback_total{provider="cloud",verdict="right"} 12`, `edgeagent_feedback_total{provider="runbook",verdict="wrong"} 1`} {
		if strings.Count(body, line+"\n") != 1 {
			t.Errorf("%d times %s", strings.Count(body, line+"\n"), line)
		}
	}
	p.judged = nil
	for n := range 100 {
		p.judged = append(p.judged, edgeagent.Accuracy{Provider: string(rune('a'+n%26)) + string(rune('a'+n/26)), Model: "m", Right: 1})
	}
	body = ask(t, newServer(p), "GET", "/metrics", "").Body.String()
	if n := strings.Count(body, "edgeagent_feedback_total{"); n != 3*17 {
		t.Errorf("%d series, want those of 16 providers and the others", n)
	}
	if !strings.Contains(body, `edgeagent_feedback_total{provider="others",verdict="right"} 84`) {
		t.Error("the others are not counted together")
	}
}

func TestEarlierTimesLinkOnlyToWhatIsKept(t *testing.T) {
	p := newPlant(time.Now())
	kept := `<a class="tap" href="/alarms/` + string(idBefore)
	if body := ask(t, newServer(p), "GET", "/alarms/"+string(idPressure), "").Body.String(); strings.Contains(body, kept) || !strings.Contains(body, "rinsed the probe") {
		t.Error("a link leads to an alarm that is no longer kept")
	}
	p.alarms[idBefore] = edgeagent.Alarm{ID: idBefore, RaisedAt: time.Now()}
	if body := ask(t, newServer(p), "GET", "/alarms/"+string(idPressure), "").Body.String(); !strings.Contains(body, kept) {
		t.Error("no link leads to the earlier alarm")
	}
}
