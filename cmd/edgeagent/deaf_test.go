package main

import (
	"testing"
	"time"

	"edgeagent"
	"edgeagent/status"
)

// A PLC whose program was changed, or whose addresses were typed wrong, answers
// every question, and none with a value.
func TestADeviceThatDeliversNothingIsNotQuiet(t *testing.T) {
	p := startPanel(t)
	p.Allow(edgeagent.AreaHolding, 500, 600) // and so not holding:0
	r := newRig(t, p.device("filler")).start()
	eventually(t, "it is polled", func() bool { return r.device("filler").State == edgeagent.DevicePolling })
	s := source{r.a}.Status()
	*s.Devices[0].Since = s.Devices[0].Since.Add(-time.Minute)
	if h := status.Headline(s); h.Level != edgeagent.LevelAttention || h.Text != "filler answers, but none of its values is good" {
		t.Errorf("%s: %s", h.Level, h.Text)
	}
}
