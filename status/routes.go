package status

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// methods is what a path answers; HEAD comes with GET.
type methods map[string]http.HandlerFunc

// routes is the whole outside of the agent, a line a path.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for path, m := range map[string]methods{
		"/{$}":            {"GET": s.page(s.nowPage, s.apiStatus)},
		"/alarms":         {"GET": s.page(s.alarmsPage, s.apiAlarms)},
		"/alarms/{id}":    {"GET": s.page(s.alarmPage, s.apiAlarm)},
		"/devices":        {"GET": s.page(s.devicesPage, s.apiDevices)},
		"/devices/{name}": {"GET": s.page(s.devicePage, s.apiDevice)},
		"/jobs":           {"GET": s.page(s.jobsPage, s.apiJobs)},
		"/jobs/{id}":      {"GET": s.page(s.jobPage, s.apiJob)},
		"/system":         {"GET": s.page(s.systemPage, s.apiStatus)},

		"/healthz": {"GET": probe(s.opt.Healthy)},
		"/readyz":  {"GET": probe(s.opt.Ready)},
		"/metrics": {"GET": s.metrics},

		"/api/v1/status":      {"GET": s.apiStatus},
		"/api/v1/devices":     {"GET": s.apiDevices},
		"/api/v1/tags":        {"GET": s.apiTags},
		"/api/v1/alarms":      {"GET": s.apiAlarms, "POST": s.act(s.raise)},
		"/api/v1/alarms/{id}": {"GET": s.apiAlarm},
		"/api/v1/jobs":        {"GET": s.apiJobs},
		"/api/v1/jobs/{id}":   {"GET": s.apiJob},
		"/api/v1/events":      {"GET": s.events},
		"/api/v1/accuracy":    {"GET": s.apiAccuracy},

		"/api/v1/upstreams/{name}/parked": {"GET": s.apiParked},
		"/api/v1/upstreams/{name}/resend": {"POST": s.act(s.resend)},

		"/api/v1/alarms/{id}/ack":            {"POST": s.act(s.acknowledge)},
		"/api/v1/alarms/{id}/shelve":         {"POST": s.act(s.shelve)},
		"/api/v1/alarms/{id}/unshelve":       {"POST": s.act(s.unshelve)},
		"/api/v1/alarms/{id}/clear":          {"POST": s.act(s.clear)},
		"/api/v1/devices/{name}/resume":      {"POST": s.act(s.resume)},
		"/api/v1/devices/{name}/maintenance": {"POST": s.act(s.maintain)},
		"/api/v1/devices/{name}/ask":         {"POST": s.act(s.ask)},
		"/api/v1/jobs/{id}/retry":            {"POST": s.act(s.retryJob)},
		"/api/v1/jobs/{id}/discard":          {"POST": s.act(s.discardJob)},
		"/api/v1/jobs/{id}/feedback":         {"POST": s.act(s.feedback)},
		"/api/v1/jobs/{id}/confirm":          {"POST": s.act(s.confirm)},
		"/api/v1/reload":                     {"POST": s.act(s.reload)},
		"/api/v1/backup":                     {"GET": s.backup},
		"/api/v1/compact":                    {"POST": s.act(s.compact)},
		"/api/v1/diagnose":                   {"POST": s.act(s.askCase)},
	} {
		mux.Handle(path, m)
	}
	for path, a := range assets() {
		mux.Handle(path, methods{"GET": a.serve})
	}
	mux.HandleFunc("/", s.notFound)
	return secured(http.NewCrossOriginProtection(), mux)
}

// ServeHTTP picks the method.
func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if h, ok := m[method]; ok {
		h(w, r)
		return
	}
	allow := slices.Sorted(maps.Keys(m))
	w.Header().Set("Allow", strings.Join(allow, ", "))
	fail(w, http.StatusMethodNotAllowed, "method_not_allowed",
		r.URL.Path+" answers "+strings.Join(allow, " and ")+", not "+r.Method)
}

// secured puts the headers on every answer and refuses what another site's page
// makes a browser send.
func secured(cross *http.CrossOriginProtection, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if err := cross.Check(r); err != nil {
			fail(w, http.StatusForbidden, "cross_site", "another site's page may not act here: "+err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// page answers a page, or the same data as JSON with ?format=json.
func (s *Server) page(html, data http.HandlerFunc) http.HandlerFunc {
	zipped := compress(html)
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("format") {
		case "json":
			data(w, r)
		default:
			zipped.ServeHTTP(w, r)
		}
	}
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Query().Get("format") == "json" {
		fail(w, http.StatusNotFound, "not_found", "there is nothing at "+r.URL.Path)
		return
	}
	compress(http.HandlerFunc(s.missingPage)).ServeHTTP(w, r)
}

// probe answers a health check in one line of text.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := "ok\n"
		if check != nil {
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				text = err.Error() + "\n"
			}
		}
		// A reader that is gone cannot be told so.
		_, _ = w.Write([]byte(text))
	}
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	s.opt.Metrics.write(w, s.opt.Source)
}
