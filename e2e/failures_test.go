package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What models do wrong, over a real socket, and what must come of it. In every
// case the requests that the server saw are the calls that the job records.
func TestModelFailures(t *testing.T) {
	type verdict struct {
		outcomes string // of the cloud's calls, in order
		provider string // who answered in the end
		held     string // part of the provider's hold
	}
	say := func(status int, header, body string) func(http.ResponseWriter, *http.Request, []byte) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			if name, value, ok := strings.Cut(header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	cases := []struct {
		name   string
		script func(http.ResponseWriter, *http.Request, []byte) bool
		want   verdict
	}{
		{"429 for a second, then an answer", once(say(429, "Retry-After: 1", `{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}`)),
			verdict{"throttled ok", "cloud", ""}},
		{"429 for ten minutes", say(429, "Retry-After: 600", `{"error":{"message":"slow down"}}`), verdict{"throttled", "runbook", "too many requests"}},
		{"500 for ever", say(500, "", `{"error":{"message":"oops"}}`), verdict{"transient transient transient", "runbook", ""}},
		{"401", say(401, "", `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`), verdict{"auth", "runbook", "API key"}},
		{"cut JSON, then an answer", once(cutStream), verdict{"transient ok", "cloud", ""}},
		{"cites a tag that does not exist, repaired", once(citesNothing), verdict{"output ok", "cloud", ""}},
		{"cites what does not exist, twice", citesNothing, verdict{"output output", "cloud", ""}},
		{"redirect", say(302, "Location: http://127.0.0.1:1/login", ""), verdict{"unreachable", "runbook", ""}},
		{"a portal's 200", say(200, "Content-Type: text/html", "<html><body>Please sign in</body></html>"), verdict{"unreachable", "runbook", ""}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cloud := newOpenAI(t, listenLoopback(t))
			cloud.set(c.script)
			a := newAgent(t, plan{cloud: cloud.url, cloudKeys: `retry = { first = "50ms", max = "200ms", attempts = 4 }`}.toml(t))
			a.start()
			j := a.diagnosed("line-1", "T1", "something is wrong", time.Minute)
			if j.State != "completed" || j.Diagnosis == nil {
				t.Fatalf("job %s, %+v", j.State, j.Diagnosis)
			}
			if seen := len(cloud.questions()); seen != len(j.Calls) {
				t.Errorf("the server saw %d requests, the job records %d calls", seen, len(j.Calls))
			}
			a.countsWhatIsRecorded(j)
			if got := outcomes(j); got != c.want.outcomes {
				t.Errorf("calls: %s, want %s", got, c.want.outcomes)
				for _, call := range j.Calls {
					t.Logf("call: %s %d %+v", call.Outcome, call.Status, call.Error)
				}
			}
			if j.Diagnosis.By.Provider != c.want.provider {
				t.Errorf("answered by %s (%s), want %s", j.Diagnosis.By.Provider, j.Diagnosis.By.WhyNotFirst, c.want.provider)
			}
			if c.want.provider != "cloud" && j.Diagnosis.By.WhyNotFirst == "" {
				t.Error("nothing says why the first provider did not answer")
			}
			if hold := a.status().Provider[0].Hold; !strings.Contains(hold, c.want.held) || (hold != "") != (c.want.held != "") {
				t.Errorf("hold %q, want %q", hold, c.want.held)
			}
			for _, cause := range j.Diagnosis.Causes {
				if j.Diagnosis.By.Provider == "cloud" && strings.Contains(fmt.Sprint(cause.Evidence), "ghost") {
					t.Errorf("the answer still cites what does not exist: %+v", cause)
				}
			}
		})
	}
}

// once misbehaves at the first request and is right afterwards.
func once(f func(http.ResponseWriter, *http.Request, []byte) bool) func(http.ResponseWriter, *http.Request, []byte) bool {
	n := 0
	return func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		n++
		return n == 1 && f(w, r, body)
	}
}

// cutStream ends the connection in the middle of the answer.
func cutStream(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
	w.Header().Set("Content-Type", "text/event-stream")
	chunk(w, map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{"content": `{"summary":"The sens`}}}})
	panic(http.ErrAbortHandler)
}

// citesNothing answers with evidence that is not in the case.
func citesNothing(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
	openAIAnswer(w, strings.Replace(goodAnswer, `"likely","evidence":[]`, `"likely","evidence":["ghost.level"]`, 1))
	return true
}

func outcomes(j jobDoc) string {
	var all []string
	for _, c := range j.Calls {
		all = append(all, c.Outcome)
	}
	return strings.Join(all, " ")
}

// An Ollama whose answer is an empty 200: its own client library calls that a
// success.
func TestEmptyAnswerOfOllama(t *testing.T) {
	local := newOllama(t, listenLoopback(t))
	local.set(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.WriteHeader(http.StatusOK)
		return true
	})
	a := newAgent(t, plan{local: local.url}.toml(t))
	a.start()
	j := a.diagnosed("line-1", "T1", "something is wrong", time.Minute)
	if j.State != "completed" || j.Diagnosis.By.Provider != "runbook" {
		t.Fatalf("job %s by %+v", j.State, j.Diagnosis.By)
	}
	if len(j.Calls) == 0 || len(j.Calls) != len(local.questions()) {
		t.Errorf("the server saw %d requests, the job records %d", len(local.questions()), len(j.Calls))
	}
	for _, c := range j.Calls {
		if c.Outcome == "ok" {
			t.Error("an empty answer counts as a success")
		}
	}
}

// What stands between the agent and the upstream may answer in its stead. None
// of it is a receipt: everything stays, and arrives once the way is free.
func TestUpstreamThatIsNotTheUpstream(t *testing.T) {
	cases := map[string]func(http.ResponseWriter, *http.Request) bool{
		"302": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/login", http.StatusFound)
			return true
		},
		"a portal's 200": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>Welcome to the guest network</html>")
			return true
		},
		"an empty 200": func(http.ResponseWriter, *http.Request) bool { return true },
		"401": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
	}
	for name, wrong := range cases {
		t.Run(name, func(t *testing.T) {
			up := newReceiver(t)
			up.set(wrong)
			a := newAgent(t, plan{upstreams: []string{up.url}}.toml(t))
			a.start()
			d, err := a.raise("line-1", "T1", "something is wrong", "k1")
			if err != nil {
				t.Fatal(err)
			}
			a.finished(d.ID, time.Minute)
			a.eventually(30*time.Second, "the upstream is not called up", func() bool {
				u := a.status().Upstream[0]
				return u.State != "up" && u.Error != "" && u.Backlog >= 3
			})
			if u := a.status().Upstream[0]; u.Confirmed != 0 || u.Parked != 0 {
				t.Errorf("confirmed %d, parked %d by somebody who is not the upstream", u.Confirmed, u.Parked)
			}
			up.set(nil)
			if err := a.stop(); err != nil { // a paused upstream is asked again every five minutes, and at a start
				t.Errorf("stop: %v", err)
			}
			a.start()
			a.eventually(time.Minute, "everything arrives", func() bool {
				return a.status().Upstream[0].Backlog == 0 && up.diagnoses()[d.ID] == 1
			})
			if bad := up.gaps(); len(bad) > 0 {
				t.Errorf("gaps: %v", bad)
			}
		})
	}
}
