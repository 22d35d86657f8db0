package main

import (
	"errors"
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/status"
)

// A card that has cost one file goes on failing: what is wrong now is a fault,
// however the file came about.
func TestATroubleAfterASalvageIsAFault(t *testing.T) {
	r := newRig(t)
	r.file("data/edgeagent.db", strings.Repeat("no data file ", 1000))
	r.start()
	if s := (source{r.a}).Status(); s.Storage.State != edgeagent.StorageSalvaged || status.Headline(s).Level != edgeagent.LevelAttention {
		t.Fatalf("nothing was salvaged: %+v", s.Storage)
	}
	r.a.rec.report(errors.New("input/output error"), 1, 1)
	h := status.Headline(source{r.a}.Status())
	if h.Level != edgeagent.LevelFault || !strings.Contains(h.Text, "input/output error") || strings.Contains(h.Text, "had to be replaced") {
		t.Errorf("%s: %s", h.Level, h.Text)
	}
	r.a.rec.report(nil, 0, 0)
	if s := (source{r.a}).Status(); s.Storage.State != edgeagent.StorageSalvaged {
		t.Errorf("that the file was replaced is forgotten: %+v", s.Storage)
	}
}
