package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/config"
	"edgeagent/internal/retry"
	"edgeagent/llm"
	"edgeagent/llm/ollama"
	"edgeagent/llm/openai"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/queue"
)

// This file turns the configuration into the options of each room, which know
// nothing of it.

// checks are what the configuration cannot judge itself.
func checks() config.Checks { return config.Checks{Expr: alarm.Check} }

func tagSpecs(tags []config.Tag) []plc.TagSpec {
	specs := make([]plc.TagSpec, 0, len(tags))
	for _, t := range tags {
		s := plc.TagSpec{
			Tag: t.Tag, Addr: t.Addr, Order: t.Order, Length: t.Length,
			Encoding: t.String.Encoding, Header: t.String.Header, Pad: t.String.Pad,
			Scale: t.Scale, Offset: t.Offset, Scan: t.Scan,
		}
		if t.Scaling != nil {
			s.Scaling = &plc.Scaling{Raw: t.Scaling.Raw, Eng: t.Scaling.Eng, Clamp: t.Scaling.Clamp}
		}
		specs = append(specs, s)
	}
	return specs
}

func deviceSpec(d config.Device) plc.DeviceSpec {
	protocol, _, _ := strings.Cut(d.URL, "://")
	return plc.DeviceSpec{
		Name: d.Name, Line: d.Line, URL: d.URL, Protocol: protocol, Unit: uint8(d.Unit),
		Scan: d.Scan, Timeout: d.Timeout, Pause: d.Pause,
		MaxRegisters: d.MaxRegisters, MaxBits: d.MaxBits, MaxGap: d.MaxGap, NeverRead: ranges(d.NeverRead),
		Retry:       retry.Backoff{First: d.Retry.First, Max: d.Retry.Max},
		ResumeEvery: d.Resume, Enabled: d.Enabled, Key: connectionKey(d), Tags: tagSpecs(d.Tags),
	}
}

func ranges(spans []config.Span) []plc.AddressRange {
	out := make([]plc.AddressRange, 0, len(spans))
	for _, s := range spans {
		out = append(out, plc.AddressRange{Area: s.Area, From: s.First, To: s.Last})
	}
	return out
}

// connectionKey identifies what a stopped device was stopped on: another
// address or unit is another device and starts anew.
func connectionKey(d config.Device) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%d", d.URL, d.Unit))
	return hex.EncodeToString(sum[:8])
}

// connections groups the devices by endpoint: units behind one gateway share
// its connection. Every OPC UA device has a session of its own.
func connections(cfg *config.Config, o plc.Options) []connection {
	byHost := map[string][]plc.DeviceSpec{}
	first := map[string]config.Device{}
	var order []string
	for _, d := range cfg.Devices {
		if _, known := first[d.Host]; !known {
			first[d.Host] = d
			order = append(order, d.Host)
		}
		byHost[d.Host] = append(byHost[d.Host], deviceSpec(d))
	}
	all := make([]connection, 0, len(order))
	for _, host := range order {
		d := first[host]
		link := modbus.New(modbus.Options{Addr: host, Timeout: d.Timeout, Pause: d.Pause, Log: o.Log})
		all = append(all, plc.NewConnection(link, byHost[host], o))
	}
	return all
}

// plainTags returns every tag as all rooms know it, and the line of each device.
func plainTags(cfg *config.Config) ([]edgeagent.Tag, map[string]string) {
	var tags []edgeagent.Tag
	lines := map[string]string{}
	for _, d := range cfg.Devices {
		lines[d.Name] = d.Line
		for _, t := range d.Tags {
			tags = append(tags, t.Seen())
		}
	}
	return tags, lines
}

func alarmRules(cfg *config.Config) []alarm.Rule {
	var rules []alarm.Rule
	for _, d := range cfg.Devices {
		if !d.Enabled {
			continue
		}
		for _, a := range d.Alarms {
			rules = append(rules, alarm.Rule{
				Device: d.Name, Line: d.Line, Area: cfg.Line(d.Line).Area, Code: a.Code, When: a.When, Clear: a.Clear,
				OnDelay: a.OnDelay, OffDelay: a.OffDelay, Priority: a.Priority, Text: a.Text,
				Context: a.Context, InhibitedBy: a.InhibitedBy, Diagnose: a.Diagnose, Safety: onSafety(a, d.Tags),
			})
		}
	}
	return rules
}

var words = regexp.MustCompile(`[a-z_][a-z0-9_]*`)

// onSafety reports whether an alarm speaks of a safety function: a tag of its
// expressions is one. Then no model's advice is shown.
func onSafety(a config.Alarm, tags []config.Tag) bool {
	named := words.FindAllString(a.When+" "+a.Clear, -1)
	return slices.ContainsFunc(tags, func(t config.Tag) bool { return t.Safety && slices.Contains(named, t.Name) })
}

// areas returns the area of every line that a device stands in.
func areas(cfg *config.Config) map[string]string {
	out := map[string]string{}
	for _, l := range cfg.Lines {
		out[l.Name] = l.Area
	}
	return out
}

func queueOptions(cfg *config.Config) queue.Options {
	o := queue.Options{
		Path: dataFile(cfg), Site: cfg.Agent.Site, Agent: cfg.Agent.ID,
		MaxSize: cfg.Queue.MaxSize, MaxAttempts: cfg.Queue.MaxAttempts, GroupWindow: cfg.Queue.GroupWindow, Retain: cfg.Queue.Retain,
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

// providers returns the network providers in their order; the runbook is the
// router's fallback.
func providers(cfg *config.Config) []llm.ProviderOptions {
	var all []llm.ProviderOptions
	for _, p := range cfg.LLM.Providers {
		if p.Kind == config.KindRunbook {
			continue
		}
		all = append(all, llm.ProviderOptions{
			Name: p.Name, Kind: p.Kind, Model: p.Model, Outside: p.Kind == config.KindOpenAI && !isLoopback(p.BaseURL),
			Timeout: p.Timeout, Budget: p.Budget,
			Retry:    retry.Backoff{First: p.Retry.First, Max: p.Retry.Max, Jitter: 0.25},
			Attempts: p.Retry.Attempts, BreakerFailures: uint32(p.Breaker.Failures), BreakerOpenFor: p.Breaker.OpenFor,
			Price:           llm.Price{Input: p.Price.Input, Output: p.Price.Output, CachedInput: p.Price.CachedInput},
			MaxOutputTokens: p.MaxOutputTokens, Temperature: p.Temperature, ContextTokens: p.ContextTokens,
			Provider: provider(p),
		})
	}
	return all
}

func provider(p config.Provider) llm.Provider {
	if p.Kind == config.KindOllama {
		return ollama.New(ollama.Options{
			BaseURL: p.BaseURL, Model: p.Model, ContextTokens: p.ContextTokens, KeepAlive: p.KeepAlive,
			FirstToken: p.FirstTokenTimeout, Stall: p.StallTimeout, CAFile: p.CAFile,
		})
	}
	o := openai.Options{BaseURL: p.BaseURL, Model: p.Model, CAFile: p.CAFile}
	if p.APIKey.IsSet() {
		o.APIKey = p.APIKey.Read
	}
	return openai.New(o)
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

// jobRetry is the wait after the k-th failed attempt of a job. The router has
// retried already; what is left is a fault of our own or a deadline.
func jobRetry(k int) time.Duration {
	return retry.Backoff{First: 30 * time.Second, Max: 10 * time.Minute, Jitter: 0.25}.Jittered(k)
}
