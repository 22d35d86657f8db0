package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// The machine runs in UTC and the plant does not: the page, the commands and what
// upstream is told have one clock.
func TestTimesAreShownInThePlantsZone(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	zone, err := time.LoadLocation("Pacific/Kiritimati")
	if err != nil {
		t.Fatal(err)
	}
	p := startPanel(t)
	r := newRig(t, `[[sync]]
name = "historian"
url = "`+gone.URL+`"
`, p.device("filler"))
	t.Cleanup(func() { shownIn.Store(nil) })
	text := strings.Replace(r.text(), "[status]", "timezone = \"Pacific/Kiritimati\"\n\n[status]", 1)
	r.file("config.toml", text)
	r.start()
	eventually(t, "the upstream is down", func() bool {
		u := r.a.page.Snapshot().Upstreams
		return len(u) == 1 && u[0].State == edgeagent.UpstreamDown && u[0].Since != nil && !r.a.page.Snapshot().Devices[0].LastOKAt.IsZero()
	})
	s := r.a.page.Snapshot()
	since := s.Upstreams[0].Since.In(zone).Format("15:04")
	if got := r.a.heartbeat().(heartbeatData).Headline.Text; !strings.Contains(got, "since "+since) {
		t.Errorf("upstream is told %q, want since %s", got, since)
	}
	answered := s.Devices[0].LastOKAt.In(zone).Format("15:")
	if out, _, _ := r.run("status"); !strings.Contains(out, "since "+since) || !strings.Contains(out, " "+answered) {
		t.Errorf("want the last answer at %s…\n%s", answered, out)
	}
}
