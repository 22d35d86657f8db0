package status

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// ask sends one request through everything a TCP listener has in front.
func ask(t *testing.T, s *Server, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8484"+path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.guard.wrap(s.handler).ServeHTTP(w, r)
	return w
}

func newServer(p *plant) *Server {
	return New(Options{Source: p, Actions: p, Location: time.UTC, Log: slog.New(slog.DiscardHandler)})
}

// keysOf returns the keys of a JSON object, at a path of keys and indexes.
func fields(t *testing.T, data []byte, path ...any) map[string]any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("not JSON: %v in %s", err, data)
	}
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
	}
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%v is no object in %s", path, data)
	}
	return m
}

func wantKeys(t *testing.T, m map[string]any, keys string) {
	t.Helper()
	for key := range strings.FieldsSeq(keys) {
		if _, ok := m[key]; !ok {
			t.Errorf("key %q is missing", key)
		}
	}
}

func TestShapes(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	tests := []struct {
		name, path string
		at         []any
		keys       string
	}{
		{"status", "/api/v1/status", nil, "agent headline devices alarms jobs providers upstreams spend storage"},
		{"agent", "/api/v1/status", []any{"agent"}, "id site version uptime_s epoch config_hash"},
		{"headline", "/api/v1/status", []any{"headline"}, "level text"},
		{"device", "/api/v1/status", []any{"devices", 0}, "name line protocol state link attempt next_try_at last_ok_at error scan_ms requests_per_scan tags"},
		{"devices", "/api/v1/devices", []any{"devices", 0}, "name state plan log"},
		{"tags of one", "/api/v1/tags?device=filler", []any{"tags", 0}, "device tag value eng_unit quality reason at source_at age_s raw"},
		{"bad tag", "/api/v1/tags?device=filler", []any{"tags", 2}, "last_good last_good_at"},
		{"alarms", "/api/v1/alarms", nil, "alarms next"},
		{"alarm of the list", "/api/v1/alarms?state=active", []any{"alarms", 0}, "id device line code text priority state hint job last_time values first_out observed"},
		{"alarm", "/api/v1/alarms/" + string(idPressure), nil, "id source_text evidence hint shelved_until suppressed_by value_lost_since"},
		{"jobs", "/api/v1/jobs", nil, "jobs next"},
		{"job", "/api/v1/jobs/" + string(idJob), nil, "id state alarms line priority attempts interrupts max_attempts next_try_at last_error created_at finished_at diagnosis reviews feedback timeline calls"},
		{"diagnosis", "/api/v1/jobs/" + string(idJob), []any{"diagnosis"}, "summary causes checks urgency safety missing grounded filtered unstructured by"},
		{"page as JSON", "/?format=json", nil, "headline devices"},
		{"list page as JSON", "/alarms?state=history&format=json", []any{"alarms", 2}, "id"},
		{"device page as JSON", "/devices/filler?format=json", nil, "device tags"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(t, s, "GET", tt.path, "")
			if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
				t.Fatalf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			wantKeys(t, fields(t, w.Body.Bytes(), tt.at...), tt.keys)
		})
	}
}

func TestListsAreNeverNull(t *testing.T) {
	s := newServer(&plant{status: edgeagent.Status{Storage: edgeagent.StorageStatus{State: edgeagent.StorageOK}}})
	for path, key := range map[string]string{
		"/api/v1/devices": "devices", "/api/v1/tags": "tags", "/api/v1/alarms": "alarms", "/api/v1/jobs": "jobs",
		"/api/v1/status": "devices",
	} {
		if _, ok := fields(t, ask(t, s, "GET", path, "").Body.Bytes())[key].([]any); !ok {
			t.Errorf("%s: %s is not a list", path, key)
		}
	}
}

// A value of OPC UA has no registers.
func TestTagsHaveTheirRegisters(t *testing.T) {
	p := newPlant(time.Now())
	name := p.status.Devices[0].Name
	p.readings[name] = []edgeagent.Reading{{Device: name, Tag: "told"}}
	s := newServer(p)
	for _, path := range []string{"/api/v1/tags?device=" + name, "/devices/" + name + "?format=json"} {
		if tag := fields(t, ask(t, s, "GET", path, "").Body.Bytes(), "tags", 0); !reflect.DeepEqual(tag["raw"], []any{}) {
			t.Errorf("%s: raw is %v", path, tag["raw"])
		}
	}
}

// Alone, in a list or after an action, a job has its lists.
func TestJobsHaveTheirLists(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	for path, at := range map[string][]any{"/api/v1/jobs?state=failed": {"jobs", 0}, "/api/v1/jobs/" + string(idFailed): nil} {
		job := fields(t, ask(t, s, "GET", path, "").Body.Bytes(), at...)
		for _, key := range []string{"alarms", "reviews", "timeline", "calls"} {
			if _, ok := job[key].([]any); !ok {
				t.Errorf("%s: %s is %v", path, key, job[key])
			}
		}
	}
}

func TestPagingGivesEveryRowOnce(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	var seen []string
	for after, turns := "", 0; turns < 5; turns++ {
		m := fields(t, ask(t, s, "GET", "/api/v1/alarms?state=history&limit=2&after="+after, "").Body.Bytes())
		for _, a := range m["alarms"].([]any) {
			seen = append(seen, a.(map[string]any)["id"].(string))
		}
		if after = m["next"].(string); after == "" {
			break
		}
	}
	if want := []string{string(idOld), string(idStopped), string(idPressure)}; !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestRefusals(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	tests := []struct {
		name, method, path string
		status             int
		code               string
	}{
		{"unknown path", "GET", "/api/v1/nope", 404, "not_found"},
		{"no such version", "GET", "/api/v2/status", 404, "not_found"},
		{"unknown alarm", "GET", "/api/v1/alarms/" + string(idNobody), 404, "not_found"},
		{"no id at all", "GET", "/api/v1/alarms/..%2f..%2fetc", 404, "not_found"},
		{"unknown job", "GET", "/api/v1/jobs/" + string(idNobody), 404, "not_found"},
		{"unknown device", "GET", "/api/v1/tags?device=nobody", 404, "not_found"},
		{"wrong state", "GET", "/api/v1/alarms?state=open", 400, "bad_request"},
		{"wrong job state", "GET", "/api/v1/jobs?state=done", 400, "bad_request"},
		{"limit of zero", "GET", "/api/v1/jobs?limit=0", 400, "bad_request"},
		{"limit in words", "GET", "/api/v1/jobs?limit=all", 400, "bad_request"},
		{"after is no id", "GET", "/api/v1/jobs?after=7", 400, "bad_request"},
		{"wrong method", "DELETE", "/api/v1/alarms", 405, "method_not_allowed"},
		{"get of an action", "GET", "/api/v1/alarms/" + string(idPressure) + "/ack", 405, "method_not_allowed"},
		{"post to a page", "POST", "/alarms", 405, "method_not_allowed"},
		{"action over TCP", "POST", "/api/v1/alarms/" + string(idPressure) + "/ack", 401, "sign_in_required"},
		{"alarm over TCP", "POST", "/api/v1/alarms", 401, "sign_in_required"},
		{"reload over TCP", "POST", "/api/v1/reload", 401, "sign_in_required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(t, s, tt.method, tt.path, "{}")
			if w.Code != tt.status {
				t.Fatalf("%d, want %d: %s", w.Code, tt.status, w.Body)
			}
			e := fields(t, w.Body.Bytes(), "error")
			if e["code"] != tt.code || e["message"] == "" {
				t.Errorf("%v", e)
			}
		})
	}
}

func TestRefusedActionNamesTheCommand(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	alarm, job := "/api/v1/alarms/"+string(idPressure), "/api/v1/jobs/"+string(idFailed)
	const curl = "curl --unix-socket …/edgeagent.sock --json '{…}' http://localhost"
	for path, command := range map[string]string{
		alarm + "/ack":                  "edgeagent alarms ack " + string(idPressure),
		alarm + "/shelve":               "edgeagent alarms shelve " + string(idPressure) + ` --for 8h --reason "…"`,
		alarm + "/unshelve":             "edgeagent alarms unshelve " + string(idPressure),
		alarm + "/clear":                curl + alarm + "/clear",
		"/api/v1/alarms":                curl + "/api/v1/alarms",
		"/api/v1/devices/capper/resume": "edgeagent devices resume capper",
		"/api/v1/devices/capper/ask":    "edgeagent doctor capper",
		job + "/retry":                  "edgeagent jobs retry " + string(idFailed),
		job + "/discard":                "edgeagent jobs discard " + string(idFailed) + ` --reason "…"`,
		job + "/feedback":               "edgeagent jobs feedback " + string(idFailed) + " --verdict right|partly|wrong",
		job + "/confirm":                "edgeagent jobs confirm " + string(idFailed),
		"/api/v1/reload":                "edgeagent reload",
	} {
		w := ask(t, s, "POST", path, "{}")
		got, _ := fields(t, w.Body.Bytes(), "error")["message"].(string)
		if w.Code != 401 || !strings.Contains(got, "`"+command+"`") {
			t.Errorf("%s: %d %s", path, w.Code, got)
		}
	}
}

func TestHeadAndAllow(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	if w := ask(t, s, "HEAD", "/api/v1/status", ""); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
	if w := ask(t, s, "PUT", "/api/v1/alarms", ""); w.Header().Get("Allow") != "GET, POST" {
		t.Errorf("Allow: %q", w.Header().Get("Allow"))
	}
}

// The page comes up before the data file is open, and says so.
func TestBeforeTheDataFileIsOpen(t *testing.T) {
	p := &plant{err: errors.New("not open"), status: edgeagent.Status{Storage: edgeagent.StorageStatus{State: edgeagent.StorageChecking}}}
	s := newServer(p)
	for _, path := range []string{"/", "/alarms", "/jobs", "/devices", "/system"} {
		w := ask(t, s, "GET", path, "")
		if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, "Checking the data file") || strings.Contains(body, "No active alarms") {
			t.Errorf("%s: %d, and nothing is known of alarms:\n%s", path, w.Code, body)
		}
	}
	for path, status := range map[string]int{
		"/alarms/" + string(idPressure): 503, "/api/v1/alarms": 503, "/api/v1/jobs/" + string(idJob): 503,
		"/api/v1/status": 200, "/metrics": 200,
	} {
		if w := ask(t, s, "GET", path, ""); w.Code != status {
			t.Errorf("%s: %d, want %d", path, w.Code, status)
		}
	}
}

// A data file that fails later is a fault that the page shows, with all it can
// still show.
func TestWhenTheDataFileFails(t *testing.T) {
	p := newPlant(time.Now())
	p.err = errors.New("read alarm: checksum does not match")
	s := newServer(p)
	w := ask(t, s, "GET", "/", "")
	body := w.Body.String()
	if w.Code != 200 || !strings.Contains(body, "checksum does not match") || !strings.Contains(body, "2 of 3 reading") {
		t.Errorf("%d\n%s", w.Code, body)
	}
	if strings.Contains(body, "No active alarms") {
		t.Error("alarms that cannot be read must not read as none")
	}
	if w := ask(t, s, "GET", "/api/v1/alarms", ""); w.Code != 500 {
		t.Errorf("API: %d", w.Code)
	}
}

func TestProbes(t *testing.T) {
	p := newPlant(time.Now())
	ready := errors.New("filler was not tried yet")
	s := New(Options{Source: p, Actions: p, Ready: func() error { return ready }, Healthy: func() error { return nil }})
	if w := ask(t, s, "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := ask(t, s, "GET", "/readyz", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "filler was not tried yet") {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	ready = nil
	if w := ask(t, s, "GET", "/readyz", ""); w.Code != 200 {
		t.Errorf("readyz: %d", w.Code)
	}
}

func TestForeignHost(t *testing.T) {
	p := newPlant(time.Now())
	s := New(Options{Source: p, Actions: p, Hosts: []string{"Gateway.plant.example"}})
	s.guard.own = func() string { return "line-3" }
	for host, ok := range map[string]bool{
		"localhost": true, "LOCALHOST:8484": true, "127.0.0.1:8484": true, "[::1]:8484": true, "[fe80::1]": true, "192.168.10.5": true,
		"gateway.plant.example:8484": true, "gateway.plant.example.": true, "line-3:8484": true,
		"evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "": false, "evil.example:8484": false,
		"gateway": false, "[": false,
	} {
		for _, path := range []string{"/", "/api/v1/status", "/metrics", "/healthz", "/static/live.js", "/nope"} {
			r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			s.guard.wrap(s.handler).ServeHTTP(w, r)
			if got := w.Code != http.StatusMisdirectedRequest; got != ok {
				t.Errorf("host %q, %s: %d", host, path, w.Code)
			}
		}
	}
}

func TestCrossSite(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	path := "/api/v1/alarms/" + string(idPressure) + "/ack"
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"},
	} {
		if w := ask(t, s, "POST", path, "{}", header...); w.Code != http.StatusForbidden {
			t.Errorf("%v: %d", header, w.Code)
		}
	}
	if w := ask(t, s, "POST", path, "{}", "Sec-Fetch-Site", "same-origin"); w.Code != http.StatusUnauthorized {
		t.Errorf("same origin: %d", w.Code)
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	for _, path := range []string{"/", "/nope", "/api/v1/status", "/api/v1/nope", "/metrics", "/static/style.css", "/alarms?state=x"} {
		h := ask(t, s, "GET", path, "").Header()
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" ||
			!strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") {
			t.Errorf("%s: %v", path, h)
		}
		for _, lax := range []string{"unsafe-inline", "unsafe-eval", "*"} {
			if strings.Contains(h.Get("Content-Security-Policy"), lax) {
				t.Errorf("%s: policy allows %s", path, lax)
			}
		}
	}
}

func TestNothingRedirectsByParameter(t *testing.T) {
	s := newServer(newPlant(time.Now()))
	for _, path := range []string{"/?next=https://evil.example", "/alarms?return=//evil.example", "//evil.example/alarms", "/jobs/../alarms"} {
		w := ask(t, s, "GET", path, "")
		if to := w.Header().Get("Location"); strings.HasPrefix(to, "//") || strings.Contains(to, "://evil") {
			t.Errorf("%s redirects to %s", path, to)
		}
	}
}

func TestMetricsNames(t *testing.T) {
	p := newPlant(time.Now())
	m := NewMetrics()
	s := New(Options{Source: p, Actions: p, Metrics: m})
	m.ScanDone("filler", 12*time.Millisecond, nil)
	m.RequestDone("filler", time.Millisecond, nil)
	m.RequestDone("filler", time.Millisecond, io.EOF)
	m.CallDone(edgeagent.Call{Provider: "local", Outcome: edgeagent.CallOK, TookMS: 18400, TokensIn: 812, TokensOut: 141, CostUSD: 0.25})
	m.JobDone("completed", time.Second)
	m.CommitDone(9*time.Millisecond, 3)
	m.AlarmRaised("filler")
	got := ask(t, s, "GET", "/metrics", "").Body.String()
	for line := range strings.Lines(`device_up{device="filler"} 1
device_up{device="capper"} 0
device_state{device="capper",state="stopped"} 1
device_state{device="capper",state="polling"} 0
scan_seconds_count 1
scan_overruns_total{device="filler"} 0
requests_total{device="filler"} 2
read_errors_total{device="filler",class="closed"} 1
tags{device="filler",quality="bad"} 1
alarms_active{priority="1"} 1
alarms_active{priority="4"} 0
alarms_raised_total{device="filler"} 1
transitions_waiting 0
samples_merged_total 2
jobs{state="completed"} 12
jobs_refused_total 3
job_attempts_total{outcome="completed"} 1
job_seconds_count 1
llm_calls_total{provider="local",outcome="ok"} 1
llm_seconds_count{provider="local"} 1
llm_tokens_total{provider="local",direction="out"} 141
llm_cost_usd_total{provider="local"} 0.25
breaker_state{provider="cloud",state="open"} 1
llm_local_tokens_per_second{provider="local",kind="answer"} 7.5
llm_local_tokens_per_second{provider="local",kind="prompt"} 40
llm_local_load_seconds{provider="local"} 12
outbox_events{upstream="historian"} 17
outbox_oldest_seconds{upstream="historian"} 2460
outbox_parked{upstream="historian"} 0
sync_confirmed_total{upstream="historian"} 812
db_bytes 40894464
db_commit_seconds_count 1
clock_synced 1
build_info{version="0.1.0"} 1
`) {
		if !strings.Contains(got, "\nedgeagent_"+line) {
			t.Errorf("missing: edgeagent_%s", line)
		}
	}
}

// A scrape must stay readable whatever a name holds, and have each family once.
func TestMetricsText(t *testing.T) {
	p := newPlant(time.Now())
	p.status.Agent.Version = "0.1\"}\n evil 1\n\\"
	m := NewMetrics()
	m.AlarmRaised("a\"b\nc\\d\u202e")
	got := ask(t, New(Options{Source: p, Metrics: m}), "GET", "/metrics", "").Body.String()
	families := map[string]int{}
	for line := range strings.Lines(got) {
		if kind, found := strings.CutPrefix(line, "# TYPE "); found {
			families[strings.Fields(kind)[0]]++
		} else if !strings.HasPrefix(line, "#") && strings.HasPrefix(strings.TrimSpace(line), "evil") {
			t.Errorf("a version became a series: %q", line)
		}
	}
	for name, n := range families {
		if n > 1 {
			t.Errorf("family %s stands %d times", name, n)
		}
	}
	if !strings.Contains(got, `device="a\"b\nc\\d`) {
		t.Error("label value is not escaped as the text format wants it")
	}
}
