package main

import (
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/config"
	"edgeagent/internal/retry"
	"edgeagent/llm"
	"edgeagent/llm/anthropic"
	"edgeagent/llm/ollama"
	"edgeagent/llm/openai"
	"edgeagent/queue"
)

// This file turns the configuration into the options of each room, which know
// nothing of it.

// checks are what the configuration cannot judge itself.
func checks() config.Checks { return config.Checks{Expr: alarm.Check, Mode: alarm.CheckMode} }

func queueOptions(cfg *config.Config) queue.Options {
	o := queue.Options{
		Path: dataFile(cfg), Site: cfg.Agent.Site, Agent: cfg.Agent.ID,
		MaxSize: cfg.Queue.MaxSize, MaxAttempts: cfg.Queue.MaxAttempts, GroupWindow: cfg.Queue.GroupWindow, FloodWindow: cfg.Queue.FloodWindow, Retain: cfg.Queue.Retain,
		Location: cfg.Agent.Timezone, DailyCapUSD: cfg.LLM.DailyCapUSD, CrashCostUSD: crashCost(cfg), Language: cfg.LLM.Language,
		Outside: func(line string) bool { return cfg.Line(line).DiagnoseOutside },
		Area:    func(line string) string { return cfg.Line(line).Area },
	}
	for _, s := range cfg.Sync {
		o.Destinations = append(o.Destinations, queue.Destination{Name: s.Name, Required: s.Required, Keep: s.Keep})
		o.Minimal = o.Minimal || s.Content == "minimal"
	}
	return o
}

// crashCost is booked for a job that a crash interrupted: at the worst it had
// asked every priced provider once.
func crashCost(cfg *config.Config) float64 {
	var sum float64
	for _, p := range providers(cfg) {
		sum += llm.WorstCaseUSD(p)
	}
	return sum
}

// routerOptions are those of the agent's router, and of a command's own.
func routerOptions(cfg *config.Config, book llm.Fallback, ledger llm.Ledger, log *slog.Logger, onCall func(edgeagent.Call)) llm.Options {
	return llm.Options{
		Providers: providers(cfg), Runbook: book, Ledger: ledger,
		MaxConcurrent: cfg.LLM.MaxConcurrent, JobCapUSD: cfg.LLM.JobCapUSD, DiagnoseStop: cfg.LLM.DiagnoseStop, Redact: cfg.LLM.Redact,
		Forbidden: llm.NewForbidden(cfg.LLM.Forbidden, cfg.LLM.SafetyNames),
		Language:  cfg.LLM.Language, Log: log, OnCall: onCall,
	}
}

// providers returns the network providers in their order; the runbook is the
// router's fallback.
func providers(cfg *config.Config) []llm.ProviderOptions {
	var all []llm.ProviderOptions
	for _, p := range cfg.LLM.Providers {
		if p.Kind == config.KindRunbook {
			continue
		}
		all = append(all, llm.ProviderOptions{
			Name: p.Name, Kind: p.Kind, Model: p.Model, Outside: outside(p),
			Timeout: p.Timeout, Budget: p.Budget,
			Retry:    retry.Backoff{First: p.Retry.First, Max: p.Retry.Max, Jitter: 0.25},
			Attempts: p.Retry.Attempts, BreakerFailures: uint32(p.Breaker.Failures), BreakerOpenFor: p.Breaker.OpenFor,
			Price:           llm.Price{Input: p.Price.Input, Output: p.Price.Output, CachedInput: p.Price.CachedInput},
			MaxOutputTokens: p.MaxOutputTokens, Temperature: p.Temperature, ContextTokens: p.ContextTokens, KeepAlive: p.KeepAlive,
			Provider: provider(p),
		})
	}
	return all
}

// outside reports whether what a provider is told leaves the site. Ollama is
// asked on the box or beside it, unless its address is a public one; whoever else
// is not on this machine may be anywhere, and behind a proxy even "this machine"
// is another one.
func outside(p config.Provider) bool {
	if p.Proxy != "" && p.Proxy != "environment" {
		return true
	}
	if p.Kind == config.KindOllama {
		return isPublic(p.BaseURL)
	}
	return !isLoopback(p.BaseURL)
}

// isPublic reports whether a URL names a host that is surely not of the plant: a
// public address, or the cloud that Ollama itself sells.
func isPublic(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsGlobalUnicast() && !ip.Unmap().IsPrivate()
	}
	return host == "ollama.com" || strings.HasSuffix(host, ".ollama.com")
}

func provider(p config.Provider) llm.Provider {
	switch p.Kind {
	case config.KindOllama:
		return ollama.New(ollama.Options{
			BaseURL: p.BaseURL, Model: p.Model, ContextTokens: p.ContextTokens, KeepAlive: p.KeepAlive,
			FirstToken: p.FirstTokenTimeout, Stall: p.StallTimeout, Transport: transport(p),
		})
	case config.KindAnthropic:
		return anthropic.New(anthropic.Options{
			BaseURL: p.BaseURL, Model: p.Model, APIKey: reader(p.APIKey),
			FirstToken: p.FirstTokenTimeout, Stall: p.StallTimeout, Transport: transport(p),
		})
	default: // Azure's is told by its version
		return openai.New(openai.Options{
			BaseURL: p.BaseURL, Model: p.Model, APIKey: reader(p.APIKey), APIVersion: p.APIVersion,
			FirstToken: p.FirstTokenTimeout, Stall: p.StallTimeout, Transport: transport(p),
		})
	}
}

// transport is how a provider is reached; certificates and the password are read
// by it, and again when they change.
func transport(p config.Provider) llm.TransportOptions {
	return llm.TransportOptions{
		CAFile: p.CAFile, ClientCertFile: p.ClientCertFile, ClientKeyFile: p.ClientKeyFile,
		Proxy: p.Proxy, ProxyUser: p.ProxyUser, ProxyPassword: reader(p.ProxyPassword),
	}
}

// reader reads a secret each time it is needed; nil means that there is none.
func reader(s config.Secret) func() (string, error) {
	if !s.IsSet() {
		return nil
	}
	return s.Read
}

// runbookPath is the folder of the plant's own runbook; empty when none is named.
func runbookPath(cfg *config.Config) string {
	for _, p := range cfg.LLM.Providers {
		if p.Kind == config.KindRunbook {
			return p.Path
		}
	}
	return ""
}

// templatesOf names the template that each device was made of: runbook entries
// may be written for one.
func templatesOf(cfg *config.Config) map[string]string {
	out := map[string]string{}
	for _, d := range cfg.Devices {
		if d.Template != "" {
			out[d.Name] = d.Template
		}
	}
	return out
}

// jobRetry is the wait after the k-th failed attempt of a job. The router has
// retried already; what is left is a fault of our own or a deadline.
func jobRetry(k int) time.Duration {
	return retry.Backoff{First: 30 * time.Second, Max: 10 * time.Minute, Jitter: 0.25}.Jittered(k)
}
