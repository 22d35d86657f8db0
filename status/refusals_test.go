package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// shelf is what one upstream has refused.
type shelf struct {
	parked []edgeagent.ParkedEvent
	asked  []string
	err    error
}

func (s *shelf) Parked(upstream string, _ int) ([]edgeagent.ParkedEvent, error) {
	if upstream != "historian" {
		return nil, fmt.Errorf("no [[sync]] of that name: %w", edgeagent.ErrNotFound)
	}
	return s.parked, s.err
}

func (s *shelf) Resend(_ context.Context, upstream, by, reason string) (int, error) {
	if _, err := s.Parked(upstream, 1); err != nil {
		return 0, err
	}
	s.asked = append(s.asked, by+": "+reason)
	return len(s.parked), nil
}

func TestRefusedEventsAreShownToAllAndSentAgainByWhoIsKnown(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	why := edgeagent.NewNote("refused_upstream", "historian refused it: 422 <script>")
	held := &shelf{parked: []edgeagent.ParkedEvent{{ID: "ab", Type: edgeagent.EventAlarmRaised, Stream: edgeagent.StreamAlarm, Sequence: 7, At: &at, ParkedAt: at, Reason: why}}}
	p := newPlant(time.Now())
	s := New(Options{Source: p, Actions: p, Refusals: held, Location: time.UTC, Log: slog.New(slog.DiscardHandler)})
	client, base, stop := serve(t, s, "unix")
	defer stop()
	const parked, again = "/api/v1/upstreams/historian/parked", "/api/v1/upstreams/historian/resend"

	if rec := ask(t, s, "GET", parked, ""); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"sequence":7`) || !strings.Contains(rec.Body.String(), `"asked_at":null`) {
		t.Errorf("over TCP: %d %s", rec.Code, rec.Body)
	}
	if rec := ask(t, s, "POST", again, `{}`); rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Body.String(), "edgeagent upstreams resend historian") {
		t.Errorf("an action over TCP: %d %s", rec.Code, rec.Body)
	}
	for _, tt := range []struct {
		name, path, body string
		status           int
		says             string
	}{
		{"with a reason", again, `{"reason":"column added"}`, http.StatusOK, `"events":1`},
		{"without", again, `{}`, http.StatusOK, `"events":1`},
		{"unknown", "/api/v1/upstreams/mes/resend", `{}`, http.StatusNotFound, "no [[sync]] of that name"},
		{"a slip", again, `{"raeson":"x"}`, http.StatusBadRequest, "unknown field"},
		{"too much", again, `{"reason":"` + strings.Repeat("x", maxReason+1) + `"}`, http.StatusBadRequest, "longer than"},
	} {
		if code, body := post(t, client, base+tt.path, tt.body); code != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %d %s", tt.name, code, body)
		}
	}
	if len(held.asked) != 2 || !strings.HasSuffix(held.asked[0], ": column added") {
		t.Errorf("asked: %q", held.asked)
	}
	held.parked = nil
	if rec := ask(t, s, "GET", parked, ""); strings.TrimSpace(rec.Body.String()) != `{"parked":[]}` {
		t.Errorf("nothing refused: %s", rec.Body)
	}
	held.err = errors.New("disk")
	if rec := ask(t, s, "GET", parked, ""); rec.Code != http.StatusInternalServerError {
		t.Errorf("a disk that fails: %d", rec.Code)
	}
	if rec := ask(t, s, "GET", "/api/v1/upstreams/mes/parked", ""); rec.Code != http.StatusNotFound {
		t.Errorf("of an unknown upstream: %d", rec.Code)
	}
}

// Who sees the count sees what to do about it.
func TestThePageSaysHowRefusedEventsAreSentAgain(t *testing.T) {
	p := newPlant(time.Now())
	const command = "edgeagent upstreams resend"
	if body := ask(t, newServer(p), "GET", "/system", "").Body.String(); strings.Contains(body, command) {
		t.Error("nothing was refused, and the page says how to send it again")
	}
	p.status.Upstreams[0].Parked, p.status.Upstreams[0].Again = 3, 2
	body := ask(t, newServer(p), "GET", "/system", "").Body.String()
	if !strings.Contains(body, command) || !strings.Contains(body, "edgeagent upstreams parked") || !strings.Contains(body, "2 being sent again") {
		t.Errorf("the page says: %s", body[strings.Index(body, `id="upstreams"`):])
	}
}
