package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"edgeagent"
)

// strict is an upstream that refuses what names a word, until it is mended.
type strict struct {
	word []byte

	mu     sync.Mutex
	mended bool
	stored bytes.Buffer
}

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := gzip.NewReader(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	batch, err := io.ReadAll(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || !s.mended && bytes.Contains(batch, s.word) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, "no such line")
		return
	}
	s.stored.Write(batch)
}

func (s *strict) has(word string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.stored.Bytes(), []byte(word))
}

// From the refusal to the receiver that was mended, as a person goes through it.
func TestRefusedEventsAreShownAndSentAgain(t *testing.T) {
	up := &strict{word: []byte(`"code":"BAD"`)}
	server := httptest.NewServer(up)
	t.Cleanup(server.Close)
	r := newRig(t, syncTo(server.URL)+"receipt = \"status\"\n").start()
	upstream := func() edgeagent.UpstreamStatus { return get[edgeagent.Status](r, "/api/v1/status").Upstreams[0] }

	if out, errOut, code := r.run("upstreams", "parked", "historian"); code != exitOK || out != "historian has refused nothing\n" {
		t.Errorf("before: exit %d, %s%s", code, out, errOut)
	}
	r.outside("BAD")
	r.outside("GOOD")
	eventually(t, "the alarm is refused", func() bool { u := upstream(); return u.Parked > 0 && u.Backlog == 0 })
	if !up.has(`"code":"GOOD"`) {
		t.Error("a refused alarm held up another")
	}
	refused := upstream().Parked
	if out, errOut, code := r.run("upstreams", "parked", "historian"); code != exitOK || !strings.Contains(out, "alarm.raised.v1") || !strings.Contains(out, "422") {
		t.Errorf("parked: exit %d\n%s%s", code, out, errOut)
	}
	if out, _, code := r.run("upstreams", "parked", "historian", "--json"); code != exitOK || !strings.Contains(out, `"asked_at": null`) {
		t.Errorf("parked --json: exit %d\n%s", code, out)
	}
	if out, _, _ := r.run("status"); !strings.Contains(out, "refused") {
		t.Errorf("status says nothing of it:\n%s", out)
	}
	up.mu.Lock()
	up.mended = true
	up.mu.Unlock()
	out, errOut, code := r.run("upstreams", "resend", "historian", "--reason", "column added")
	if code != exitOK || !strings.HasPrefix(out, "historian: ") || !strings.Contains(out, "sent again") {
		t.Errorf("resend: exit %d, %s%s", code, out, errOut)
	}
	eventually(t, "everything is stored", func() bool { return upstream().Parked == 0 })
	if !up.has(`"code":"BAD"`) {
		t.Errorf("%d refused events are gone and were not stored", refused)
	}
	if out, _, _ := r.run("upstreams", "resend", "historian"); out != "historian: nothing to send again\n" {
		t.Errorf("a second time: %s", out)
	}
	if _, errOut, code := r.run("upstreams", "resend", "mes"); code != exitFailed || !strings.Contains(errOut, "no [[sync]] of that name") {
		t.Errorf("unknown: exit %d, %s", code, errOut)
	}
	if !strings.Contains(r.log.String(), "column added") {
		t.Error("who wanted it, and why, is not in the log")
	}
}
