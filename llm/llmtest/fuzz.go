package llmtest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgeagent"
	"edgeagent/llm"
)

// FuzzRead reads whatever body a server may send, with whatever status: nothing
// panics, an answer has words, and a failure has a class and words. It begins
// with each of the seeds, as an answer and with the status of a refusal.
func FuzzRead(f *testing.F, e *llm.Endpoint, w llm.Wire, refusal int, seeds ...string) {
	f.Helper()
	for _, s := range seeds {
		f.Add(http.StatusOK, []byte(s))
		f.Add(refusal, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 100 || status > 999 {
			return // net/http lets no such status through
		}
		ctx, watch := llm.NewWatch(t.Context(), 0, time.Minute)
		defer watch.Stop()
		resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
		a, fail := e.Read(ctx, resp, llm.NewHeard(w, "", watch))
		if fail == nil && strings.TrimSpace(a.Text) == "" {
			t.Error("an empty answer was taken for one")
		}
		if fail != nil && (fail.Class == "" || fail.Class == edgeagent.CallOK || fail.Error() == "") {
			t.Errorf("failure without a class or words: %+v", fail)
		}
	})
}
