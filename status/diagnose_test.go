package status

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// clerk answers what it is asked, and remembers it.
type clerk struct{ asked []AskedCase }

func (c *clerk) AskCase(_ context.Context, q AskedCase) (AnsweredCase, error) {
	c.asked = append(c.asked, q)
	if q.Alarm == "F404" {
		return AnsweredCase{}, fmt.Errorf("no alarm F404: %w", edgeagent.ErrNotFound)
	}
	return AnsweredCase{From: CaseDefinition, Error: "cloud: breaker open"}, nil
}

func TestDiagnoseOverTheSocketAlone(t *testing.T) {
	p, c := newPlant(time.Now()), &clerk{}
	s := New(Options{Source: p, Actions: p, Cases: c, Log: slog.New(slog.DiscardHandler)})
	if rec := ask(t, s, "POST", "/api/v1/diagnose", `{"alarm":"F212"}`); rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Body.String(), "edgeagent diagnose --alarm CODE") {
		t.Errorf("over TCP: %d %s", rec.Code, rec.Body)
	}
	client, base, stop := serve(t, s, "unix")
	defer stop()
	for _, tt := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"an alarm", `{"alarm":"F212","device":"filler","provider":"cloud"}`, http.StatusOK, `"calls":[]`},
		{"why nobody answered", `{"alarm":"F212"}`, http.StatusOK, `"diagnosis":null,"error":"cloud: breaker open"`},
		{"a case", `{"case":{"line":"L","alarms":[{"alarm":{"code":"X"}}]}}`, http.StatusOK, `"notes":[]`},
		{"a job", `{"job":"01KAQ000000000000000000011"}`, http.StatusOK, `"from"`},
		{"unknown", `{"alarm":"F404"}`, http.StatusNotFound, "no alarm F404"},
		{"nothing", `{}`, http.StatusBadRequest, "want one of the fields"},
		{"two things", `{"alarm":"F212","job":"01KAQ000000000000000000011"}`, http.StatusBadRequest, "want one of the fields"},
		{"a device without an alarm", `{"job":"01KAQ000000000000000000011","device":"filler"}`, http.StatusBadRequest, "go with"},
		{"an empty case", `{"case":{"line":"L"}}`, http.StatusBadRequest, "holds no alarm"},
		{"no id", `{"job":"../../etc"}`, http.StatusNotFound, "etc"},
		{"a slip", `{"alram":"F212"}`, http.StatusBadRequest, "unknown field"},
		{"too much", `{"alarm":"` + strings.Repeat("x", 65) + `"}`, http.StatusBadRequest, "longer than 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, body := post(t, client, base+"/api/v1/diagnose", tt.body); code != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("%d %s", code, body)
			}
		})
	}
	if len(c.asked) != 5 {
		t.Errorf("%d questions came through, want 5: %+v", len(c.asked), c.asked)
	}
}
