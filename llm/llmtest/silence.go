package llmtest

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/llm"
)

// Patient makes a provider of a cloud that waits so long for the first token and
// between two; zero means its defaults. transport is that of its connections.
type Patient func(first, stall time.Duration) (p llm.Provider, transport func() (*http.Transport, error))

// The waits of a cloud when nothing is configured.
const (
	firstToken = 15 * time.Second
	stall      = 10 * time.Second
)

// RunSilence holds a cloud's provider to the times in which it notices that
// nothing comes any more, whatever keeps the connection alive.
func RunSilence(t *testing.T, wire Wire, newProvider Patient) {
	tests := []struct {
		name         string
		step         Step
		first, stall time.Duration
		want         time.Duration
		code         string
	}{
		{"no headers", Hang(), 0, 0, firstToken, "first_token"},
		{"no headers, own time", Hang(), 3 * time.Minute, 0, 3 * time.Minute, "first_token"},
		{"headers, then nothing", opened(func(http.ResponseWriter, *http.Request) {}), 0, 0, firstToken, "first_token"},
		{"headers, then pings", opened(wire.drip), 0, 0, firstToken, "first_token"},
		{"headers, then blanks", opened(drip("\n")), 0, 0, firstToken, "first_token"},
		{"half an answer, then nothing", wire.Stall("half"), 0, 0, stall, "stall"},
		{"half an answer, then pings", wire.after("half", wire.drip), 0, 0, stall, "stall"},
		{"half an answer, then letter by letter of a line", wire.after("half", drip("d")), 0, 0, stall, "stall"},
		{"half an answer, own time", wire.Stall("half"), 0, time.Minute, time.Minute, "stall"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, transport := newProvider(tt.first, tt.stall)
				InMemory(t, transport, http.HandlerFunc(tt.step))
				start := time.Now()
				_, err := p.Ask(t.Context(), question)
				e := failure(t, err)
				if took := time.Since(start); took != tt.want || e.Class != edgeagent.CallTransient || e.Code != tt.code || !e.Billable || e.Retries != 1 {
					t.Errorf("after %v: %+v, want %v and %s", took, e, tt.want, tt.code)
				}
			})
		})
	}
	t.Run("slow but steady", func(t *testing.T) { testSteady(t, wire, newProvider) })
}

// opened sends the headers, then goes on by then.
func opened(then Step) Step {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		flush(w)
		then(w, r)
		<-r.Context().Done()
	}
}

// after begins an answer and goes on by then.
func (wire Wire) after(text string, then Step) Step {
	return func(w http.ResponseWriter, r *http.Request) {
		wire.reply(w, Reply{Text: text}, false)
		then(w, r)
	}
}

// drip sends s again and again, one a second, until the client leaves.
func drip(s string) Step {
	return func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, s)
			flush(w)
			rest(r, time.Second)
		}
	}
}

func rest(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// drip sends what this wire's front ends send to keep a connection open.
func (wire Wire) drip(w http.ResponseWriter, r *http.Request) {
	ping := ": PROCESSING\n\n"
	if wire.Name == Anthropic.Name {
		ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n"
	}
	drip(ping)(w, r)
}

// testSteady lets an answer take longer than any of the times, piece by piece.
func testSteady(t *testing.T, wire Wire, newProvider Patient) {
	synctest.Test(t, func(t *testing.T) {
		p, transport := newProvider(0, 0)
		InMemory(t, transport, func(w http.ResponseWriter, r *http.Request) {
			rest(r, firstToken-time.Second)
			for range 5 {
				wire.reply(w, Reply{Text: "aa"}, false)
				rest(r, stall-time.Second)
			}
			wire.Say(Reply{Text: "bb"})(w, r)
		})
		if a, err := p.Ask(t.Context(), question); err != nil || a.Text != "aaaaaaaaaabb" {
			t.Errorf("%q, %v", a.Text, err)
		}
	})
}
