package config

import (
	"slices"
	"strings"
	"time"
)

// laterUpstreams are protocols that the product names and this version does not speak.
var laterUpstreams = []string{"mqtts", "mqtt", "nats+tls", "nats"}

func (r *reader) syncs(sections []*section) []Sync {
	var out []Sync
	unique := names{}
	for _, s := range sections {
		u := Sync{
			Name:      s.required("name", providerName, "1 to 63 of a-z, 0-9, _ and -", `"historian"`),
			Receipt:   s.choice("receipt", []string{"body", "status"}),
			Required:  s.boolean("required", true),
			Keep:      s.duration("keep", 7*day, 0, 3650*day),
			Heartbeat: s.duration("heartbeat", time.Minute, 0, day),
			Token:     s.secret("token"),
			CAFile:    s.path("ca_file", ""),
			Batch:     s.integer("batch", 200, 1, 1000),
			Timeout:   s.duration("timeout", 15*time.Second, 100*time.Millisecond, 10*time.Minute),
			Retry:     s.retry(Retry{First: time.Second, Max: time.Minute}),
			Content:   s.choice("content", []string{"full", "minimal"}),
		}
		u.URL = s.upstreamURL("url")
		unique.claim(s, "name", u.Name)
		out = append(out, u)
	}
	return out
}

func (s *section) upstreamURL(key string) string {
	if !s.set(key) {
		s.missing(key, `"https://ingest.example/events"`)
		return ""
	}
	scheme, _, _ := strings.Cut(s.text(key, ""), ":")
	if slices.Contains(laterUpstreams, scheme) {
		s.fail(key, "%s is not supported by this version; use https", scheme)
		return ""
	}
	if !s.good(key) {
		return ""
	}
	return s.webURL(key, "")
}
