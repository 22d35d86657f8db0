package status

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

var update = flag.Bool("update", false, "write the golden files anew")

// mainPart is what differs between pages: the golden files hold no hashes of
// assets.
var mainPart = regexp.MustCompile(`(?s)<body>.*</body>`)

func TestGoldenPages(t *testing.T) {
	for name, path := range map[string]string{
		"now": "/", "alarms": "/alarms", "history": "/alarms?state=history", "alarm": "/alarms/" + string(idPressure),
		"stopped": "/alarms/" + string(idStopped), "devices": "/devices", "device": "/devices/filler", "jobs": "/jobs",
		"failed": "/jobs?state=failed", "job": "/jobs/" + string(idJob), "system": "/system", "missing": "/nope",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(time.Now())
				got := mainPart.Find(ask(t, newServer(p), "GET", path, "").Body.Bytes())
				compareGolden(t, name, got)
			})
		})
	}
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden.html")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with go test ./status -update", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what was agreed; look at it, then go test ./status -update\n%s", file, firstDifference(string(got), string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got  " + g[i] + "\nwant " + w[i]
		}
	}
	return "one is the beginning of the other"
}

// What people must be able to rely on at three in the morning, apart from how
// it is laid out.
var pagesSay = []struct {
	name, path string
	alter      func(*plant)
	says       []string
	never      []string
}{
	{"a stopped device never reads as a stopped machine", "/devices", nil,
		[]string{"NOT BEING READ since", "machine state unknown", "i/o timeout", "edgeagent devices resume capper"}, []string{">stopped<", "STOPPED"}},
	{"a bad value is no number", "/devices/filler", nil,
		[]string{"<s><bdi>93.5 bar</bdi></s>", "exception 2, illegal data address", "42B7 A000", "40101 = wire 0x0064"}, nil},
	{"the alarm's page", "/alarms/" + string(idPressure), nil,
		[]string{"advisory: does not operate the machine", "Lock out the filler", "local model qwen2.5:1.5b", "cloud: not answering", "LVL SENS",
			"bridge the door switch: would defeat a guard", "4 of 5 citations found", "The first hint", `aria-label="trend of filler.level`,
			"edgeagent alarms ack " + string(idPressure), "rinsed the probe", "history begins only"}, []string{"%</b> likely", "<form", "<button"}},
	{"waiting for an answer there is the hint", "/alarms/" + string(idPressure), func(p *plant) {
		j := p.jobs[idJob]
		j.State, j.Diagnosis = edgeagent.JobPending, nil
		p.jobs[idJob] = j
	}, []string{"A diagnosis is on its way", "Foam on the level probe after a product change", "First hint"}, nil},
	{"an unreadable answer is shown whole", "/alarms/" + string(idPressure), func(p *plant) {
		j := p.jobs[idJob]
		d := edgeagent.Diagnosis{Unstructured: "I think\nthe   probe", By: edgeagent.Provenance{Kind: "openai", Model: "m"}}
		j.Diagnosis = &d
		p.jobs[idJob] = j
	}, []string{"<pre class=\"raw\"><bdi>I think\nthe   probe</bdi></pre>", "Nothing of it was checked", "cloud model m"}, nil},
	{"a lost value is marked", "/alarms", func(p *plant) {
		a := p.alarms[idPressure]
		a.ValueLostSince = &a.RaisedAt
		p.alarms[idPressure] = a
	}, []string{"value lost"}, nil},
	{"a failed job", "/jobs/" + string(idFailed), nil,
		[]string{"model qwen2.5:1.5b not found", "edgeagent jobs retry " + string(idFailed), "no longer kept", "1 cut off by a restart"}, nil},
	{"a refused configuration", "/system", func(p *plant) { p.status.Agent.ConfigError = "config.toml:14:1: unknown key" },
		[]string{"config.toml:14:1: unknown key", "The last accepted configuration runs"}, nil},
	{"an unsynchronised clock", "/system", func(p *plant) { p.status.Agent.ClockSynced = false }, []string{"not synchronised"}, nil},
	{"a device is not said twice", "/", func(*plant) {}, []string{"Capper is not being read any more", "edgeagent devices resume capper"},
		[]string{`href="/devices/capper"`}},
}

// spoken leaves out where a command may break over two lines.
func spoken(body string) string {
	return strings.NewReplacer("<span>", "", "</span>", "").Replace(body)
}

func TestPagesSay(t *testing.T) {
	for _, tt := range pagesSay {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(time.Now())
			if tt.alter != nil {
				tt.alter(p)
			}
			w := ask(t, newServer(p), "GET", tt.path, "")
			body := spoken(w.Body.String())
			if w.Code != 200 {
				t.Fatalf("%d", w.Code)
			}
			for _, text := range tt.says {
				if !strings.Contains(body, text) {
					t.Errorf("does not say %q", text)
				}
			}
			for _, text := range tt.never {
				if strings.Contains(body, text) {
					t.Errorf("says %q", text)
				}
			}
		})
	}
}

// hostile is what a PLC's text, a runbook or a model may hold.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</title><script>alert(1)</script>`,
	`javascript:alert(1)`, `</pre></bdi><svg onload=alert(1)>`, `{{.Status}}`, `<!--`, `]]>`, "\u202egnp.exe\u202c", "\u2066\u202b", "a\x00b\x1b[31m",
	`</code><iframe srcdoc="x">`, `<style>*{display:none}</style>`, "\xff\xfe",
}

func poison(p *plant, text string) {
	note := edgeagent.NewNote("x", text)
	d := edgeagent.Diagnosis{Summary: text, Safety: text, Checks: []string{text}, Missing: []string{text}, Filtered: []string{text}, Unstructured: text,
		Causes: []edgeagent.Cause{{Cause: text, Likelihood: edgeagent.Likelihood(text), Evidence: []string{text}, Sources: []string{text}}},
		By:     edgeagent.Provenance{Provider: text, Kind: "openai", Model: text, WhyNotFirst: text}}
	for id, a := range p.alarms {
		a.Text, a.SourceText, a.Code, a.Area, a.Line, a.AckedBy, a.SuppressedBy, a.ShelveReason = text, text+"!", text, text, text, text, text, text
		a.Values = map[string]edgeagent.Value{"filler.level": edgeagent.String(text), text: edgeagent.String(text)}
		a.ShelvedUntil, a.Hint = &a.RaisedAt, &d
		a.LastTime = &edgeagent.Occurrence{ID: idOld, At: a.RaisedAt, Cause: text, FixedBy: text}
		p.alarms[id] = a
	}
	for id, j := range p.jobs {
		j.Line, j.LastError, j.Diagnosis, j.Reviews = text, note, &d, []edgeagent.Diagnosis{d}
		j.Feedback = &edgeagent.Feedback{Verdict: edgeagent.Verdict(text), Cause: text, FixedBy: text, By: text, Provider: text, Model: text, ConfirmedBy: text}
		j.Timeline = []edgeagent.TimelineEntry{{Event: text, Detail: note}}
		j.Calls = []edgeagent.Call{{Provider: text, Model: text, Outcome: edgeagent.CallOutcome(text), RequestID: text, Error: note}}
		p.faulty = []edgeagent.FaultyAnswer{{Fault: note, Raw: text}}
		p.jobs[id] = j
	}
	p.judged = []edgeagent.Accuracy{{Provider: text, Model: text, Right: 1}}
	p.memory = edgeagent.Memory{Judged: p.judged, Before: []edgeagent.Precedent{{Alarm: idBefore, Cause: text, FixedBy: text, Verdict: edgeagent.Verdict(text)}}}
	p.evidence[idPressure] = &edgeagent.Evidence{Gaps: []string{text}, Tags: []edgeagent.Feature{{Tag: text, Text: text, EngUnit: text, Reason: note}}}
	p.readings["filler"] = []edgeagent.Reading{{Device: "filler", Tag: text, Text: text, EngUnit: text, Reason: note, Address: text, Type: edgeagent.DataType(text),
		Value: edgeagent.String(text), Quality: edgeagent.QualityUncertain}}
	for i := range p.status.Devices {
		d := &p.status.Devices[i]
		d.Line, d.URL, d.Error, d.Protocol, d.Resume, d.Recent = text, text, text, text, text, text
		d.Plan, d.Log = []string{text}, []edgeagent.LogEntry{{Event: text, Detail: note}}
	}
	p.status.Providers[0] = edgeagent.ProviderStatus{Name: text, Kind: text, Model: text, Hold: text, Error: text, Breaker: text}
	p.status.Upstreams[0] = edgeagent.UpstreamStatus{Name: text, URL: text, State: edgeagent.UpstreamState(text), Error: text, Backlog: 1}
	p.status.Agent.ConfigError, p.status.Storage.Error = text, text
}

// tagOpen finds what a browser would take for a tag.
var tagOpen = regexp.MustCompile(`<[a-zA-Z!/][^>]*>`)

func TestHostileTextIsEscapedEverywhere(t *testing.T) {
	paths := []string{"/", "/alarms", "/alarms?state=history", "/alarms?state=shelved", "/alarms/" + string(idPressure), "/devices", "/devices/filler",
		"/jobs", "/jobs/" + string(idJob), "/jobs/" + string(idFailed), "/system", "/nope"}
	harmless := map[string]bool{"rect": true} // drawn for every | . x in a text
	clean := newPlant(time.Now())
	poison(clean, "harmless")
	for _, path := range paths {
		for _, tag := range tagOpen.FindAllString(ask(t, newServer(clean), "GET", path, "").Body.String(), -1) {
			harmless[strings.FieldsFunc(tag, func(r rune) bool { return strings.ContainsRune("< />", r) })[0]] = true
		}
	}
	for _, text := range hostile {
		p := newPlant(time.Now())
		poison(p, text)
		s := newServer(p)
		for _, path := range paths {
			w := ask(t, s, "GET", path, "")
			body := w.Body.String()
			if w.Code >= 500 {
				t.Errorf("%q on %s: %d", text, path, w.Code)
			}
			for _, tag := range tagOpen.FindAllString(body, -1) {
				name := strings.FieldsFunc(tag, func(r rune) bool { return strings.ContainsRune("< />", r) })[0]
				if !harmless[name] || strings.Contains(tag, "alert(1)") && !strings.Contains(tag, `"`) {
					t.Errorf("%q became a tag on %s: %s", text, path, tag)
				}
			}
			if strings.Contains(body, "ZgotmplZ") {
				t.Errorf("%q stands where no text may stand, on %s", text, path)
			}
			if n := strings.Count(body, "<script"); n != 2 {
				t.Errorf("%q on %s: %d scripts", text, path, n)
			}
		}
	}
}

// A right-to-left override must not turn the sentence around it: each foreign
// text stands in its own <bdi>.
func TestForeignTextIsIsolated(t *testing.T) {
	const text = "\u202eFOREIGN"
	p := newPlant(time.Now())
	poison(p, text)
	for _, path := range []string{"/", "/alarms", "/alarms/" + string(idPressure), "/devices", "/devices/filler", "/jobs", "/jobs/" + string(idJob), "/system"} {
		body := ask(t, newServer(p), "GET", path, "").Body.String()
		rest := regexp.MustCompile(`(?s)<bdi>.*?</bdi>|<svg.*?</svg>|<title>.*?</title>|\sid="[^"]*"`).ReplaceAllString(body, "")
		if i := strings.Index(rest, text); i >= 0 {
			t.Errorf("%s: not isolated: …%s", path, rest[max(0, i-80):min(len(rest), i+40)])
		}
	}
}

func TestTemplatesKeepTheStrictPolicy(t *testing.T) {
	files, err := filepath.Glob("web/*.html")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	inline := regexp.MustCompile(`(?i)\sstyle\s*=|\son[a-z]+\s*=|<style|javascript:|<script(?:[^>]*[^>/])?>[^<\s]`)
	picture := regexp.MustCompile(`<(svg|img)[^>]*>`)
	away := regexp.MustCompile(`(?i)(src|href|action)="(https?:)?//`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := inline.Find(data); found != nil {
			t.Errorf("%s: the policy forbids %q", file, found)
		}
		if found := away.Find(data); found != nil {
			t.Errorf("%s: loads from elsewhere: %q", file, found)
		}
		for _, tag := range picture.FindAllString(string(data), -1) {
			if !strings.Contains(tag, `aria-label=`) || !strings.Contains(tag, `role="img"`) {
				t.Errorf("%s: a picture without a name: %s", file, tag)
			}
		}
		if strings.Contains(string(data), "|safe") || bytes.Contains(data, []byte("<form")) {
			t.Errorf("%s: no form works without sign-in", file)
		}
	}
}

func TestEveryPageStandsOnItsOwn(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	for _, path := range []string{"/", "/alarms", "/alarms/" + string(idPressure), "/devices", "/devices/filler", "/jobs", "/jobs/" + string(idJob), "/system", "/nope"} {
		body := ask(t, s, "GET", path, "").Body.String()
		for _, want := range []string{`<noscript><meta http-equiv="refresh" content="10"></noscript>`, `<html lang="en">`, `name="viewport"`,
			`href="data:image/svg`, "<title>▲2 ", `id="live"`, `id="stale"`, "UTC&#43;00:00", "never operates the machine</p>"} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s", path, want)
			}
		}
		for _, twice := range duplicateIDs(body) {
			t.Errorf("%s: id %q stands twice: morphing would mix them up", path, twice)
		}
	}
}

func duplicateIDs(body string) []string {
	seen, twice := map[string]bool{}, []string(nil)
	for _, m := range regexp.MustCompile(`\sid="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		if seen[m[1]] {
			twice = append(twice, m[1])
		}
		seen[m[1]] = true
	}
	return twice
}

// The first look must come quickly over a bad radio link.
func TestFirstLoadIsSmall(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	for _, path := range []string{"/", "/alarms", "/alarms/" + string(idPressure), "/devices/filler", "/jobs", "/system"} {
		w := ask(t, s, "GET", path, "", "Accept-Encoding", "gzip")
		total, requests := w.Body.Len(), 2 // the page and its event stream
		for _, m := range regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`).FindAllStringSubmatch(unzip(t, w.Body), -1) {
			asset := ask(t, s, "GET", m[1], "", "Accept-Encoding", "gzip")
			if asset.Code != http.StatusOK || asset.Header().Get("Content-Encoding") != "gzip" {
				t.Errorf("%s: %d %s", m[1], asset.Code, asset.Header().Get("Content-Encoding"))
			}
			total += asset.Body.Len()
			requests++
		}
		if total > 30_000 || requests > 5 {
			t.Errorf("%s: %d bytes in %d requests, want at most 30000 in 5", path, total, requests)
		}
	}
}

func unzip(t *testing.T, r io.Reader) string {
	t.Helper()
	zip, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAssetsAreCached(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	first := ask(t, s, "GET", "/static/style.css", "")
	if w := ask(t, s, "GET", "/static/style.css", "", "If-None-Match", first.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
	if w := ask(t, s, "GET", "/static/now.html", ""); w.Code != http.StatusNotFound {
		t.Errorf("a template is served: %d", w.Code)
	}
}

func TestChart(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l := lens{now: at, zone: time.UTC}
	draw := func(points ...Point) *chart {
		return l.draw(plot{points: points, from: at.Add(-time.Minute), to: at, mark: at.Add(-30 * time.Second), limits: []float64{80}, w: 100, h: 50, name: "x", gap: 10 * time.Second})
	}
	p := func(s int, v float64) Point {
		return Point{At: at.Add(time.Duration(s) * time.Second), Min: v, Max: v, Last: v}
	}
	if draw() != nil || draw(p(-90, 1)) != nil || draw(p(-5, math.NaN())) != nil || draw(p(-5, math.Inf(1))) != nil {
		t.Error("a picture of nothing")
	}
	c := draw(p(-60, 0), p(-55, 40), p(-20, 100), p(-15, 60))
	if len(c.Line) != 2 {
		t.Errorf("%d lines: a gap of 35 s must not be bridged", len(c.Line))
	}
	if c.Low != "0" || c.Top != "100" || c.Mark != "50" || c.Line[0] != "0,48 8.3,29.6" || c.Limits[0] != "11.2" {
		t.Errorf("%+v", c)
	}
	if c := draw(p(-20, 79), p(-10, 79.5)); len(c.Limits) != 1 || c.From != "11:59:00" {
		t.Errorf("a limit close by is drawn, a window is a minute at least: %+v", c)
	}
	if c := draw(p(-20, 1), p(-10, 2)); len(c.Limits) != 0 || c.Top != "2" {
		t.Errorf("a limit far away flattens the curve: %+v", c)
	}
	flat := draw(p(-10, 80))
	if strings.Contains(strings.Join(flat.Line, " "), "NaN") || flat.Low == flat.Top {
		t.Errorf("%+v", flat)
	}
	if draw(p(-10, -math.MaxFloat64), p(-5, math.MaxFloat64)) != nil {
		t.Error("a scale that overflows")
	}
	wide := draw(p(-10, -1e300), p(-5, 1e300))
	if text := strings.Join(wide.Line, " "); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("%+v", wide)
	}
}

func TestWords(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l := lens{now: at, zone: time.UTC}
	for d, want := range map[time.Duration]string{
		0: "just now", time.Second: "just now", 42 * time.Second: "42 s ago", 2*time.Minute + 59*time.Second: "2 min ago", time.Hour: "1 h ago",
		3*time.Hour + 5*time.Minute: "3 h 5 min ago", 50 * time.Hour: "2 d 2 h ago", -8 * time.Second: "in 8 s",
	} {
		if got := l.ago(at.Add(-d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for f, want := range map[float64]string{0: "0", 91.8125: "91.81", 1234.5: "1234.5", 100: "100", 0.0123: "0.0123", -3.14159: "-3.142", 1e9: "1e+09"} {
		if got := number(f); got != want {
			t.Errorf("%v: %q, want %q", f, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 ms", 400 * time.Microsecond: "under 1 ms", 44 * time.Millisecond: "44 ms", 1500 * time.Millisecond: "1.5 s"} {
		if got := words(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1536: "1.5 KiB", 256 << 20: "256 MiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	past, soon := at.Add(-time.Second), at.Add(8*time.Second)
	if got := l.due(&past).Ago + ", " + l.due(&soon).Ago; got != "any moment, in 8 s" || l.due(nil).Set() {
		t.Errorf("due: %q", got)
	}
	if got := l.stamp(at.Add(-48 * time.Hour)).Abs; got != "20 Nov 12:00:00" {
		t.Errorf("another day needs its date: %q", got)
	}
}
