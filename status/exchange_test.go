package status

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func withExchanges(now time.Time) *plant {
	p := newPlant(now)
	fault := edgeagent.NewNote("unknown_evidence", "cites filler.ghost")
	p.faulty = []edgeagent.FaultyAnswer{{Call: 1, Fault: fault, Raw: "what may be shown"}, {Call: 7, Fault: fault, Raw: "of no call"}}
	p.sent = map[edgeagent.ID][]edgeagent.Exchange{idJob: {{Prompt: "all of the line", Raw: "as it came", Faulty: []edgeagent.FaultyAnswer{{Fault: fault, Raw: "unfiltered"}}}}}
	return p
}

// A prompt tells all of a line, and what a model said before it was filtered may
// be dangerous: neither is told over the network.
func TestExchangesAreToldOverTheSocketAlone(t *testing.T) {
	s := newServer(withExchanges(time.Now()))
	socket := context.WithValue(t.Context(), peerKey{}, "root")
	for name, tt := range map[string]struct {
		ctx   context.Context
		query string
		code  int
		says  []string
		never []string
	}{
		"a job over the network":       {t.Context(), "", 200, []string{"what may be shown", `"faulty":[{"call":1,`}, []string{"all of the line", "unfiltered", "as it came", "exchanges"}},
		"exchanges over the network":   {t.Context(), "?exchanges=true", 401, []string{"sign_in_required", "edgeagent jobs show " + string(idJob) + " --exchanges"}, []string{"all of the line", "unfiltered"}},
		"a job over the socket":        {socket, "", 200, []string{"what may be shown"}, []string{"all of the line", "unfiltered"}},
		"exchanges over the socket":    {socket, "?exchanges=true", 200, []string{"all of the line", "unfiltered", "as it came"}, nil},
		"another word than true":       {socket, "?exchanges=1", 200, nil, []string{"all of the line"}},
		"the page's own JSON asks too": {t.Context(), "?format=json&exchanges=true", 401, nil, []string{"all of the line"}},
	} {
		for _, path := range []string{"/api/v1/jobs/", "/jobs/"} {
			if path == "/jobs/" && !strings.Contains(tt.query, "format") {
				continue
			}
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, httptest.NewRequestWithContext(tt.ctx, http.MethodGet, path+string(idJob)+tt.query, nil))
			body := w.Body.String()
			if w.Code != tt.code || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: %d %s", name, w.Code, body)
			}
			for _, want := range tt.says {
				if !strings.Contains(body, want) {
					t.Errorf("%s: does not say %q: %s", name, want, body)
				}
			}
			for _, not := range tt.never {
				if strings.Contains(body, not) {
					t.Errorf("%s: says %q", name, not)
				}
			}
		}
	}
}

func TestTheJobPageFoldsWhatWasNotTaken(t *testing.T) {
	p := withExchanges(time.Now())
	body := ask(t, newServer(p), "GET", "/jobs/"+string(idJob), "").Body.String()
	_, after, found := strings.Cut(body, `<details id="said-1"><summary>What it said</summary>`)
	if !found || !strings.Contains(after, "what may be shown") || strings.Count(body, "<details id=\"said-") != 1 || strings.Contains(body, "unfiltered") {
		t.Errorf("page:\n%s", mainPart.FindString(body))
	}
	if text, _, _ := strings.Cut(after, "</details>"); !strings.Contains(text, "no advice") {
		t.Errorf("does not say that it is no advice: %s", text)
	}
	p.faulty[0].Raw = ""
	if body := ask(t, newServer(p), "GET", "/jobs/"+string(idJob), "").Body.String(); !strings.Contains(body, "Nothing of it may be shown here.") {
		t.Error("an answer of which nothing may be shown is passed over")
	}
}
