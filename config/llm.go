package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The kinds of providers.
const (
	KindOpenAI    = "openai"
	KindAzure     = "azure"
	KindAnthropic = "anthropic"
	KindOllama    = "ollama"
	KindRunbook   = "runbook"
)

// clouds are the kinds whose requests are paid and need a key.
var clouds = []string{KindOpenAI, KindAzure, KindAnthropic}

// defaultAPIVersion is Azure's last one that is no preview.
const defaultAPIVersion = "2024-10-21"

var providerName = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)

// keyKinds says for which kinds a key of [[llm.provider]] has a meaning; keys
// that are not here have one for every kind but the runbook.
var keyKinds = map[string][]string{
	"api_key_env": clouds, "api_key_file": clouds, "price": clouds, "api_version": {KindAzure},
	"context_tokens": {KindOllama}, "keep_alive": {KindOllama},
	"path": {KindRunbook},
}

// runbookKeys are all that a runbook has.
var runbookKeys = []string{"name", "kind", "path"}

func (r *reader) llm(s *section) LLM {
	l := LLM{
		MaxConcurrent: s.integer("max_concurrent", 2, 1, 16),
		Language:      s.choice("language", []string{"en", "de"}),
		DailyCapUSD:   s.number("daily_cap_usd", 2, 0, 1e6),
		JobCapUSD:     s.number("job_cap_usd", 0.05, 0, 1e6),
		DiagnoseStop:  s.choice("diagnose_stop", []string{"runbook", "all"}),
		ReviewLocal:   s.boolean("review_local", false),
		Redact:        s.patterns("redact"),
		Forbidden:     s.patterns("forbidden"),
		SafetyNames:   s.safetyNames(),
	}
	if s.good("daily_cap_usd", "job_cap_usd") && l.DailyCapUSD > 0 && l.JobCapUSD > l.DailyCapUSD {
		s.fail("job_cap_usd", "job_cap_usd %g is more than daily_cap_usd %g; lower it, or raise the cap of the day", l.JobCapUSD, l.DailyCapUSD)
	}
	l.Providers = r.providers(s.tables("provider"))
	if l.ReviewLocal && l.Providers[0].Kind == KindRunbook && s.good("review_local") {
		s.fail("review_local", "review_local = true has nobody to ask again: no [[llm.provider]] stands before the runbook; add one, or remove it")
	}
	return l
}

// leastName is how long the name of a safety function is at least: "K1" would be
// found in every second check.
const leastName = 3

func (s *section) safetyNames() []string {
	var out []string
	for _, w := range s.words("safety_names") {
		if name := strings.TrimSpace(w.text); utf8.RuneCountInString(name) < leastName {
			s.failAt("safety_names", w.pos, "safety_names %s is too short for a name; write at least %d characters, as they stand on the machine", quote(w.text), leastName)
		} else {
			out = append(out, name)
		}
	}
	return out
}

// providers reads the providers and puts the runbook last if it is not listed:
// there is always an answer.
func (r *reader) providers(sections []*section) []Provider {
	var out []Provider
	unique := names{}
	runbook := 0
	for _, s := range sections {
		p := r.provider(s)
		unique.claim(s, "name", p.Name)
		switch {
		case runbook > 0 && p.Kind == KindRunbook:
			s.fail("kind", "a runbook is in line %d already; keep one", runbook)
		case runbook > 0:
			s.fail("kind", "the provider stands after the runbook in line %d and would never be asked, a runbook always answers; move it up", runbook)
		case p.Kind == KindRunbook && s.good("kind"):
			runbook = s.line(s.t.pos)
		}
		out = append(out, p)
	}
	if runbook == 0 {
		name := KindRunbook
		for n := 2; unique[name] > 0; n++ {
			name = fmt.Sprintf("%s-%d", KindRunbook, n)
		}
		out = append(out, Provider{Name: name, Kind: KindRunbook, Path: under(r.dir, KindRunbook)})
	}
	return out
}

func (r *reader) provider(s *section) Provider {
	p := Provider{
		Name: s.required("name", providerName, "1 to 63 of a-z, 0-9, _ and -", `"cloud"`),
		Kind: KindOpenAI,
	}
	if !s.set("kind") {
		s.missing("kind", `"openai" or "ollama"`)
	} else {
		p.Kind = s.choice("kind", append(slices.Clone(clouds), KindOllama, KindRunbook))
	}
	d := providerDefaults[p.Kind]
	s.network(&p, d)
	s.local(&p)
	p.Path = s.path("path", KindRunbook)
	if s.good("kind") {
		s.fitKind(p.Kind)
	}
	if p.Kind != KindRunbook {
		s.providerLimits(p)
		return p
	}
	return Provider{Name: p.Name, Kind: p.Kind, Path: p.Path}
}

// providerDefaults are the defaults that differ by kind: a cloud answers in
// seconds or not at all, a model on a small computer takes minutes. The model
// is only an example, for the message that it is missing.
var providerDefaults = map[string]Provider{
	KindOpenAI:    cloudDefaults("https://api.openai.com/v1", "gpt-4o-mini"),
	KindAzure:     cloudDefaults("", "gpt-4o-mini"),
	KindAnthropic: cloudDefaults("https://api.anthropic.com", "claude-haiku-4-5"),
	KindOllama: {
		BaseURL: "http://127.0.0.1:11434", Model: "qwen2.5:1.5b", Timeout: 5 * time.Minute, Budget: 5 * time.Minute,
		FirstTokenTimeout: 4 * time.Minute, StallTimeout: 20 * time.Second,
	},
	KindRunbook: {BaseURL: "http://127.0.0.1", Timeout: time.Second, Budget: time.Second},
}

func cloudDefaults(baseURL, model string) Provider {
	return Provider{
		BaseURL: baseURL, Model: model, Timeout: 20 * time.Second, Budget: 25 * time.Second,
		FirstTokenTimeout: 15 * time.Second, StallTimeout: 10 * time.Second,
	}
}

// network reads what every provider behind a socket has.
func (s *section) network(p *Provider, d Provider) {
	p.APIKey = s.secret("api_key") // before the URL: what is said of that names this key
	p.BaseURL = s.baseURL(d.BaseURL)
	p.Model = s.text("model", "")
	if p.Model == "" && p.Kind != KindRunbook && s.good("kind", "model") {
		s.missing("model", quote(d.Model))
	}
	s.way(p)
	p.APIVersion = s.apiVersion(p.Kind)
	p.Timeout = s.duration("timeout", d.Timeout, 100*time.Millisecond, time.Hour)
	p.Budget = s.duration("budget", max(d.Budget, p.Timeout), 100*time.Millisecond, 2*time.Hour)
	p.FirstTokenTimeout = s.duration("first_token_timeout", min(d.FirstTokenTimeout, p.Timeout), time.Second, time.Hour)
	p.StallTimeout = s.duration("stall_timeout", min(d.StallTimeout, p.Timeout), time.Second, time.Hour)
	var retry *section
	p.Retry, retry = s.backoff(Retry{First: 500 * time.Millisecond, Max: 8 * time.Second})
	p.Retry.Attempts = retry.integer("attempts", 4, 1, 20)
	b := s.table("breaker")
	p.Breaker = Breaker{
		Failures: b.integer("failures", 3, 1, 100),
		OpenFor:  b.duration("open_for", 30*time.Second, time.Second, day),
	}
	price := s.table("price")
	p.Price = Price{
		Input:  price.number("input", 0, 0, 1e6),
		Output: price.number("output", 0, 0, 1e6),
	}
	p.Price.CachedInput = price.number("cached_input", p.Price.Input, 0, 1e6)
	p.MaxOutputTokens = s.integer("max_output_tokens", 700, 16, 1<<20)
	p.Temperature = s.number("temperature", 0.1, 0, 2)
}

// baseURL returns where the provider is; a deployment of Azure has an address of
// its own.
func (s *section) baseURL(def string) string {
	if def == "" && !s.set("base_url") {
		s.missing("base_url", `"https://NAME.openai.azure.com"`)
		return ""
	}
	return s.webURL("base_url", def)
}

// local reads what a model on the own machine needs.
func (s *section) local(p *Provider) {
	p.ContextTokens = s.integer("context_tokens", 2048, 256, 1<<20)
	p.KeepAlive = s.duration("keep_alive", 10*time.Minute, time.Second, day)
	if p.Kind != KindOllama {
		p.ContextTokens, p.KeepAlive = 0, 0
	}
}

// fitKind books keys that mean nothing for the kind of the provider.
func (s *section) fitKind(kind string) {
	for _, e := range s.t.entries {
		want, special := keyKinds[e.key]
		switch {
		case special && !slices.Contains(want, kind):
			s.fail(e.key, "%s has no meaning for kind = %q, only for %s; remove it", e.key, kind, list(quoted(want)))
		case special || kind != KindRunbook:
		case s.knows(e.key) && !slices.Contains(runbookKeys, e.key):
			s.fail(e.key, "%s has no meaning for kind = %q; remove it", e.key, kind)
		}
	}
}

// providerLimits books limits of one provider that contradict each other.
func (s *section) providerLimits(p Provider) {
	within := func(key string, d time.Duration, limit string, most time.Duration, remedy string) {
		if s.good(key, limit) && d > most {
			s.fail(key, "%s %q is more than %s %q; %s", key, formatDuration(d), limit, formatDuration(most), remedy)
		}
	}
	within("timeout", p.Timeout, "budget", p.Budget, "the budget is the time of all attempts, raise it")
	within("first_token_timeout", p.FirstTokenTimeout, "timeout", p.Timeout, "it is part of the attempt, lower it")
	within("stall_timeout", p.StallTimeout, "timeout", p.Timeout, "it is part of the attempt, lower it")
	if p.Kind == KindOllama && s.good("max_output_tokens", "context_tokens") && p.MaxOutputTokens >= p.ContextTokens {
		s.fail("context_tokens", "context_tokens %d leaves no room for the question beside max_output_tokens %d; raise it",
			p.ContextTokens, p.MaxOutputTokens)
	}
}

// webURL returns an http or https URL without a password and a slash at its end.
func (s *section) webURL(key, def string) string {
	raw := s.text(key, def)
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() != "" && !validPort(u.Port(), 1):
		s.fail(key, `%s %s is no web address; want https://HOST/PATH or http://HOST:PORT/PATH`, key, hideUser(raw))
	case u.User != nil:
		s.fail(key, "%s holds a user or password, and a secret never stands in this file; %s", key, s.secretRemedy(""))
	case u.RawQuery != "" || u.Fragment != "":
		s.fail(key, "%s has a query or fragment behind its path; want only scheme, host and path", key)
	}
	return raw
}
