package e2e

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgeagent/e2e/ollama"
)

// box is an agent whose only model is served by a real Ollama, through a tap
// that sees what it asks for.
type box struct {
	*agent

	server *ollama.Server
	tap    *ollama.Tap
}

// newBox starts a server with a model and an agent that asks it. The tokens of
// these models are single bytes, so that a case needs a large context.
func newBox(t *testing.T, m ollama.Model, keys string) *box {
	t.Helper()
	program := ollama.Find(root)
	needs(t, "Ollama", program != "")
	b := &box{server: ollama.Start(t, program, "127.0.0.1:"+freePort(t))}
	eventually(t, patience, "Ollama is up", b.server.Up)
	if m.Name != "missing" {
		b.server.Create(m)
	}
	b.tap = ollama.NewTap(t, b.server.URL)
	if !strings.Contains(keys, "context_tokens") {
		keys += "\ncontext_tokens = 16384"
	}
	provider := fmt.Sprintf("daily_cap_usd = 1.0\n[[llm.provider]]\nname = \"local\"\nkind = \"ollama\"\nbase_url = %q\nmodel = %q\n%s", b.tap.URL, m.Name, keys)
	b.agent = newAgent(t, plan{llm: provider}.toml(t))
	b.start()
	return b
}

// spoken is goodAnswer in the order in which a model has to speak: a grammar
// made of the schema holds it to that.
const spoken = `{"evidence":[],"causes":[{"cause":"dirty sensor","likelihood":"likely","evidence":[],"sources":[]}],` +
	`"checks":["Clean the sensor.","Check its alignment.","Look at its cable."],"urgency":"shift","missing":[],"insufficient_evidence":false,"summary":"The sensor is dirty."}`

// local returns what the status says of the model.
func (b *box) local() providerDoc {
	b.t.Helper()
	return b.status().Provider[0]
}

// settled waits until the first probe has loaded the model, or has failed.
func (b *box) settled() *box {
	b.t.Helper()
	b.eventually(60*time.Second, "the model is loaded, or it is known why not", func() bool {
		p := b.local()
		return p.LastOKAt != nil || p.Error != ""
	})
	return b
}

// asksForOne holds that the agent asked for one model with one set of options,
// one request at a time, and that every question is a call of a job.
func (b *box) asksForOne() {
	b.t.Helper()
	wants, most := b.tap.Wants()
	if len(wants) != 1 || most != 1 {
		b.t.Errorf("asked for %d sets of options, %d at a time: %v", len(wants), most, wants)
	}
}

// The model on the box answers, and how fast it is can be seen.
func TestOllamaAnswers(t *testing.T) {
	b := newBox(t, ollama.Script("fluent", spoken), "").settled()
	j := b.diagnosed("line-1", "F212", "Level sensor unstable", 90*time.Second)
	answeredBy(t, j, "local")
	if got := outcomes(j); got != "ok" || j.Diagnosis.Summary != "The sensor is dirty." || j.Diagnosis.By.Model != "fluent" {
		t.Errorf("calls %s, summary %q by %s", got, j.Diagnosis.Summary, j.Diagnosis.By.Model)
	}
	if p := b.local(); p.TokensPerSecond <= 0 || p.PromptTokensPerSecond <= 0 || p.ContextTokens != 16384 {
		t.Errorf("measured %+v", p)
	}
	b.asksForOne()
	t.Logf("%.3g tokens a second, reads %.3g, loaded in %.3g s", b.local().TokensPerSecond, b.local().PromptTokensPerSecond, b.local().LoadS)
}

// Whatever is wrong with the model, the runbook answers, and the page says what
// a person has to do.
func TestOllamaFailures(t *testing.T) {
	tests := []struct {
		name  string
		model ollama.Model
		keys  string
		calls string // of the first job; empty: none, it was known before
		says  string // in why the model did not answer
	}{
		{"an answer without end", ollama.Endless("endless", `{"evidence":[{"name":"`, "ab "), "max_output_tokens = 24", "output output", "longer than allowed"},
		{"no answer at all", ollama.Empty("empty"), "max_output_tokens = 24", "output output", "local: "},
		{"babble", ollama.Random("random"), "max_output_tokens = 24", "output output", "local: "},
		{"a missing model", ollama.Model{Name: "missing"}, "", "", "copy it to the box"},
		{"a prompt that is too long", ollama.Script("short", spoken), "context_tokens = 1400", "request request", "context_tokens"},
		{"more than the memory holds", ollama.Greedy("greedy"), "context_tokens = 262144", "", "memory"},
		{"no time", ollama.Endless("slow", `{"evidence":[{"name":"`, "ab ").Slow(24), "timeout = \"2s\"\nbudget = \"3s\"\nfirst_token_timeout = \"2s\"\nstall_timeout = \"2s\"", "", "local: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t, tt.model, tt.keys).settled()
			j := b.diagnosed("line-1", "F212", "Level sensor unstable", 90*time.Second)
			answeredBy(t, j, "runbook")
			if got := outcomes(j); tt.calls != "" && got != tt.calls {
				t.Errorf("calls %s, want %s", got, tt.calls)
			}
			if !strings.Contains(j.Diagnosis.By.WhyNotFirst, tt.says) {
				t.Errorf("why %q, want %q in it", j.Diagnosis.By.WhyNotFirst, tt.says)
			}
			if n := len(j.Calls); n != b.tap.Asked() {
				t.Errorf("%d calls are recorded, the server saw %d questions", n, b.tap.Asked())
			}
			b.asksForOne()
		})
	}
}

// asking raises an alarm and waits until its question is with the server.
func (b *box) asking() alarmDoc {
	b.t.Helper()
	before := b.tap.Asked()
	d, err := b.raise("line-1", "F212", "Level sensor unstable", "")
	if err != nil {
		b.t.Fatal(err)
	}
	b.eventually(30*time.Second, "the model is asked", func() bool { return b.tap.Asked() > before })
	return d
}

// hurried finds out soon that a model hangs, and still gives a slow one the time to
// read its question on a machine that is busy with other tests.
const hurried = "timeout = \"30s\"\nbudget = \"45s\"\nfirst_token_timeout = \"20s\"\nstall_timeout = \"6s\"\nbreaker = { failures = 3, open_for = \"2s\" }"

// The process that holds the model dies in the middle of an answer: Ollama loads
// it anew, and the alarm gets its answer.
func TestOllamaRunnerIsKilled(t *testing.T) {
	b := newBox(t, ollama.Script("fluent", spoken).Slow(4), hurried).settled()
	d := b.asking()
	if n := b.server.Signal(syscall.SIGKILL); n != 1 {
		t.Fatalf("%d processes hold a model", n)
	}
	j := b.finished(d.ID, 90*time.Second)
	answeredBy(t, j, "local")
	if got := outcomes(j); got != "transient ok" {
		t.Errorf("calls %s", got)
	}
	b.asksForOne()
}

// The model hangs while the server says that all is well: the alarm is answered
// by the runbook, the page says that Ollama wants a restart, and the model is
// used again when it is back.
func TestOllamaRunnerHangs(t *testing.T) {
	mostlyWaits(t)
	b := newBox(t, ollama.Script("fluent", spoken).Slow(4), hurried).settled()
	d := b.asking()
	if n := b.server.Signal(syscall.SIGSTOP); n != 1 {
		t.Fatalf("%d processes hold a model", n)
	}
	j := b.finished(d.ID, 90*time.Second)
	answeredBy(t, j, "runbook")
	if !strings.Contains(j.Diagnosis.By.WhyNotFirst, "restart Ollama") {
		t.Errorf("why %q", j.Diagnosis.By.WhyNotFirst)
	}
	if p := b.local(); !strings.Contains(p.Error, "restart Ollama") {
		t.Errorf("the page says %q", p.Error)
	}
	b.server.Signal(syscall.SIGCONT)
	b.eventually(60*time.Second, "the model is used again", func() bool { p := b.local(); return p.Breaker == "closed" && p.Error == "" })
	answeredBy(t, b.diagnosed("line-1", "F213", "afterwards", 90*time.Second), "local")
	b.asksForOne()
}

// The server dies in the middle of an answer and stays away; then it is started
// again, as a person would.
func TestOllamaServerIsKilled(t *testing.T) {
	b := newBox(t, ollama.Script("fluent", spoken).Slow(4), hurried).settled()
	d := b.asking()
	b.server.Kill()
	answeredBy(t, b.finished(d.ID, 90*time.Second), "runbook")
	b.server.Run()
	b.eventually(patience, "Ollama is up again", b.server.Up)
	b.eventually(60*time.Second, "the model is used again", func() bool { p := b.local(); return p.Breaker == "closed" && p.Error == "" })
	answeredBy(t, b.diagnosed("line-1", "F213", "afterwards", 90*time.Second), "local")
	b.asksForOne()
}

// Somebody else on the box asks for the same model with other options, again and
// again: Ollama may hang for good then. Every alarm is answered in its time all
// the same, and when the model does not answer, the page says why.
func TestOllamaIsSharedWithAForeigner(t *testing.T) {
	b := newBox(t, ollama.Script("fluent", spoken), hurried).settled()
	done := make(chan struct{})
	var foreigners sync.WaitGroup
	for n := range 3 {
		foreigners.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_, _ = b.server.Chat("fluent", 1024*(1+n), 5*time.Second)
				}
			}
		})
	}
	by := map[string]int{}
	for n := range sized(3, 20) {
		started := time.Now()
		j := b.diagnosed("line-1", fmt.Sprintf("F%d", n), "beside a foreigner", 100*time.Second)
		by[j.Diagnosis.By.Provider]++
		if took := time.Since(started); took > 95*time.Second {
			t.Errorf("alarm %d was answered after %v", n, took)
		}
		if why := j.Diagnosis.By.WhyNotFirst; j.Diagnosis.By.Provider == "runbook" && why == "" {
			t.Errorf("alarm %d: nobody knows why the model did not answer", n)
		}
	}
	close(done)
	foreigners.Wait()
	t.Logf("answered by %v; the page says %q", by, b.local().Error)
	b.asksForOne()
}

// Alarm after alarm, from several lines at once, never bring it to a halt.
func TestOllamaNeverWedges(t *testing.T) {
	b := newBox(t, ollama.Script("fluent", spoken), "budget = \"30m\"").settled()
	alarms := sized(12, 200)
	var jobs []string
	for n := range alarms {
		d, err := b.raise(fmt.Sprintf("line-%d", n%20), fmt.Sprintf("C%d", n), "one of many", "")
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, d.ID)
	}
	for _, id := range jobs {
		j := b.finished(id, 25*time.Minute)
		answeredBy(t, j, "local")
	}
	if p := b.local(); p.Breaker != "closed" || p.Error != "" {
		t.Errorf("afterwards: %+v", p)
	}
	b.asksForOne()
	t.Logf("%d alarms, %d questions", alarms, b.tap.Asked())
}
