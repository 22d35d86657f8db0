package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// behindVPN prepares an agent whose cloud is behind the VPN and whose local
// model is beside it.
func behindVPN(t *testing.T) (*vpn, *model, *agent) {
	t.Helper()
	v := newVPN(t)
	v.nameServer()
	cloud := &model{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", cloud.ask(openAIAnswer))
	mux.HandleFunc("GET /v1/models", cloud.probe)
	ca := v.secure(v.listen(v.cloud, cloudAddr+":443"), "models.example", mux)
	local := newOllama(t, v.listen(v.plant, "127.0.0.1:11434"))
	a := newAgent(t, plan{cloud: "https://models.example/v1", cloudKeys: fmt.Sprintf("ca_file = %q", ca), local: local.url}.toml(t))
	a.prefix = []string{"ip", "netns", "exec", v.plant}
	return v, cloud, a
}

// backInTime holds that the cloud answers again within one probe period, and
// what it takes to find that out.
func backInTime(t *testing.T, a *agent) {
	t.Helper()
	back := time.Now()
	a.eventually(35*time.Second, "the cloud is used again", func() bool { return a.status().Provider[0].Breaker == "closed" })
	took := time.Since(back)
	if limit := 35*time.Second + lateness; took > limit {
		t.Errorf("the cloud is used again after %v, want %v", took, limit)
	}
	answeredBy(t, a.diagnosed("line-1", "N4", "after the return", 20*time.Second), "cloud")
	t.Logf("cloud answers again %v after its return", took.Round(100*time.Millisecond))
}

// lateness is by how much a time that a person was promised may be missed by a
// machine that is busy with other things.
const lateness = 10 * time.Second

func inBudget(t *testing.T, j jobDoc) {
	t.Helper()
	answeredBy(t, j, "local")
	took := j.FinishedAt.Sub(j.CreatedAt)
	t.Logf("answered after %v, calls %s", took.Round(100*time.Millisecond), outcomes(j))
	if limit := 27*time.Second + lateness; took > limit { // the cloud's budget of 25 s and the local answer
		t.Errorf("answered after %v, the cloud's budget is 25 s", took)
	}
}

// The agent starts at 03:00 while the VPN is down: no connection was ever made,
// no name ever resolved.
func TestVPNIsGoneAtTheStart(t *testing.T) {
	mostlyWaits(t)
	v, cloud, a := behindVPN(t)
	v.drop()
	a.start()
	inBudget(t, a.diagnosed("line-1", "N1", "the VPN was never there", 60*time.Second))
	if n := len(cloud.questions()); n != 0 {
		t.Errorf("the cloud saw %d questions through a VPN that is down", n)
	}
	a.eventually(60*time.Second, "the breaker is open", func() bool { return a.status().Provider[0].Breaker == "open" })
	v.restore()
	backInTime(t, a)
}

// The VPN drops in the middle of an answer, without a word: what has arrived is
// half a diagnosis, and nothing more will.
func TestVPNDropsInTheMiddleOfAnAnswer(t *testing.T) {
	mostlyWaits(t)
	v, cloud, a := behindVPN(t)
	a.start()
	answeredBy(t, a.diagnosed("line-1", "N1", "before the drop", 30*time.Second), "cloud")
	begun := make(chan struct{}, 8)
	cloud.set(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		w.Header().Set("Content-Type", "text/event-stream")
		chunk(w, map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{"content": goodAnswer[:40]}}}, "model": "test-model"})
		begun <- struct{}{}
		<-r.Context().Done()
		return true
	})
	d, err := a.raise("line-1", "N2", "half an answer", "")
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	v.drop()
	j := a.finished(d.ID, 60*time.Second)
	inBudget(t, j)
	if j.Calls[0].Outcome != "transient" || j.Calls[0].CostUSD <= 0 {
		t.Errorf("the half answer is the call %+v, want it transient and paid", j.Calls[0])
	}
	cloud.set(nil)
	v.restore()
	backInTime(t, a)
}
