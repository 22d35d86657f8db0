package llm_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/internal/retry"
	"edgeagent/llm"
)

func pair(cloud, box *model) *llm.Router {
	return llm.New(llm.Options{Providers: []llm.ProviderOptions{cloud.options(), box.local()}, Runbook: book{}})
}

// Who is asked alone answers alone: nobody steps in for it.
func TestOneProviderAlone(t *testing.T) {
	inside, safety, stopped := caseF212(), caseF212(), caseF212()
	inside.Outside = false
	safety.Alarms[0].Alarm.Safety = true
	stopped.Alarms[0].Alarm.Code = edgeagent.CodeDeviceStopped
	prose := func(context.Context) (llm.Answer, error) { return llm.Answer{Text: "prose", Status: 200}, nil }
	tests := []struct {
		name, provider string
		c              edgeagent.Case
		ask            func(context.Context) (llm.Answer, error)
		calls, fails   string
	}{
		{"the cloud answers", "cloud", caseF212(), nil, "cloud:ok", ""},
		{"the box answers", "local", inside, nil, "local:ok", ""},
		{"the runbook answers", "runbook", safety, nil, "", ""},
		{"the cloud fails", "cloud", caseF212(), failing(unreachable), "cloud:unreachable cloud:unreachable", "cloud: no route"},
		{"an answer nobody can read", "cloud", caseF212(), prose, "cloud:output cloud:output", "could not be used"},
		{"must stay inside", "cloud", inside, nil, "", "must not leave the site"},
		{"of a safety function", "local", safety, nil, "", "safety function"},
		{"of a stopped device", "local", stopped, nil, "", "answered by the runbook"},
		{"nobody of that name", "clout", caseF212(), nil, "", "cloud, local, runbook"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, box := newModel(), newModel()
				cloud.set(tt.ask, nil)
				out, err := pair(cloud, box).DiagnoseWith(t.Context(), tt.provider, tt.c)
				if got := outcomes(out); got != tt.calls {
					t.Errorf("calls %q, want %q", got, tt.calls)
				}
				switch {
				case tt.fails != "":
					if err == nil || !strings.Contains(err.Error(), tt.fails) || out.Diagnosis != nil {
						t.Errorf("diagnosis %v, error %v, want %q in it", out.Diagnosis, err, tt.fails)
					}
				case err != nil || out.Diagnosis == nil || out.Diagnosis.By.Provider != tt.provider:
					t.Errorf("%+v, %v, want an answer by %s", out.Diagnosis, err, tt.provider)
				}
			})
		})
	}
}

// A caller that leaves costs the provider nothing, and the request is kept.
func TestOneProviderAloneGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, box := newModel(), newModel()
		cloud.took = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := pair(cloud, box)
		out, err := r.DiagnoseWith(ctx, "cloud", caseF212())
		if err == nil || outcomes(out) != "cloud:aborted" || len(box.times(&box.asked)) != 0 {
			t.Errorf("%s, %v, want one aborted call and nobody else asked", outcomes(out), err)
		}
		if !r.Ready("cloud") {
			t.Error("our own cancellation is held against the provider")
		}
	})
}

func TestPreviewSendsNothing(t *testing.T) {
	inside := caseF212()
	inside.Outside = false
	cloud, box := newModel(), newModel()
	r := pair(cloud, box)
	p, err := r.Preview("cloud", caseF212())
	if err != nil || !strings.Contains(p.User, "F212") || p.System == "" || p.Tokens == 0 || p.Version != llm.PromptVersion {
		t.Errorf("preview %+v, %v", p, err)
	}
	if len(cloud.times(&cloud.asked))+len(cloud.times(&cloud.probed)) != 0 {
		t.Error("a preview was sent")
	}
	for name, c := range map[string]edgeagent.Case{"runbook": caseF212(), "cloud": inside, "nobody": caseF212()} {
		if p, err := r.Preview(name, c); err == nil {
			t.Errorf("preview for %s: %+v, want an error", name, p)
		}
	}
}

func TestReadyMeansNothingIsKnownAgainstIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, box := newModel(), newModel()
		r := pair(cloud, box)
		stop := running(t, r)
		defer stop()
		if !r.Ready("cloud") || !r.Ready("runbook") || r.Ready("nobody") {
			t.Fatal("a probed provider and the runbook are ready, an unknown one is not")
		}
		cloud.set(failing(func() *llm.Error { return limited(40 * time.Second) }), nil)
		diagnose(t, r, caseF212())
		if r.Ready("cloud") {
			t.Error("ready while held")
		}
		_ = retry.Sleep(t.Context(), 41*time.Second)
		if synctest.Wait(); !r.Ready("cloud") {
			t.Error("not ready after the hold and a good probe")
		}
		cloud.set(failing(unreachable), dead(unreachable))
		diagnose(t, r, caseF212())
		if r.Ready("cloud") {
			t.Error("ready while a failure is looked into")
		}
		_ = retry.Sleep(t.Context(), 20*time.Second)
		if r.Ready("cloud") || r.Status()[0].Breaker != "open" {
			t.Errorf("ready with the breaker %s", r.Status()[0].Breaker)
		}
	})
}
