package status

import (
	"fmt"
	"strings"
	"time"

	"edgeagent"
)

// Headline returns the state of everything in one sentence: the worst level,
// and what makes it so, worst first. Times are printed in the zone they carry.
//
// Working without the cloud, the local model or an upstream is what the agent
// was built for: it is degraded, a level below everything a person must act on
// at the gateway. Alarms of the plant are acknowledged on the plant's panel: they
// are always named, and never change the level (docs/adr/0003).
func Headline(s edgeagent.Status) edgeagent.Headline {
	level, worst, rest := ladder(s)
	return edgeagent.Headline{Level: level, Text: strings.Join(append(worst, rest...), " · ")}
}

// ladder returns the worst level, what makes it so, and what there is besides.
func ladder(s edgeagent.Status) (level edgeagent.Level, worst, rest []string) {
	for _, rung := range []struct {
		level edgeagent.Level
		parts []string
	}{
		{edgeagent.LevelFault, faults(s)},
		{edgeagent.LevelAttention, attentions(s)},
		{edgeagent.LevelDegraded, degradations(s)},
		{edgeagent.LevelOK, plantAlarms(s)},
	} {
		if len(worst) > 0 {
			rest = append(rest, rung.parts...)
		} else if len(rung.parts) > 0 {
			level, worst = rung.level, rung.parts
		}
	}
	switch {
	case len(worst) == 0:
		return edgeagent.LevelOK, []string{"All quiet: " + reading(s) + ", no active alarms"}, nil
	case level == edgeagent.LevelOK:
		rest = append(rest, reading(s))
	}
	return level, worst, rest
}

func faults(s edgeagent.Status) []string {
	var parts []string
	switch {
	case s.Storage.State == edgeagent.StorageFull:
		parts = append(parts, "Data file full: new alarms are not stored"+because(s.Storage.Error))
	case s.Storage.Error != "" && s.Storage.State != edgeagent.StorageSalvaged:
		parts = append(parts, "Data file in trouble"+because(s.Storage.Error))
	}
	if s.Agent.ConfigError != "" {
		parts = append(parts, "Configuration refused, the last accepted one runs"+because(s.Agent.ConfigError))
	}
	return parts
}

func attentions(s edgeagent.Status) []string {
	var parts []string
	if n := countDevices(s, func(d edgeagent.DeviceStatus) bool { return d.State == edgeagent.DeviceStopped }); n > 0 {
		parts = append(parts, count(n, "device")+" not being read")
	}
	for _, d := range s.Devices {
		switch {
		case d.State == edgeagent.DevicePolling && d.Link == edgeagent.LinkFrozen:
			parts = append(parts, d.Name+" answers, but its heartbeat stands still")
		case tellsNothing(d):
			parts = append(parts, d.Name+" answers, but none of its values is good")
		}
	}
	for _, p := range s.Providers {
		if wantsPerson(p) {
			parts = append(parts, p.Name+" is not asked: "+clip(p.Hold))
		}
	}
	if n := s.Alarms.Own; n > 0 {
		parts = append(parts, count(n, "alarm")+" of the agent to acknowledge")
	}
	if s.Storage.Refusing != "" && s.Storage.State != edgeagent.StorageFull {
		parts = append(parts, "Data file almost full: "+s.Storage.Refusing)
	}
	if s.Storage.State == edgeagent.StorageSalvaged {
		parts = append(parts, "Data file was damaged and had to be replaced"+because(s.Storage.Error))
	}
	return parts
}

// settling is how long a device that begins to answer has for its first values.
const settling = 10 * time.Second

// tellsNothing reports whether a device answers, and nothing of it can be relied on:
// every value is bad, for a program was changed or a base is wrong, or three scans in
// a row brought nothing new, for it says that it is busy. It is connected, and
// nothing of it is read.
func tellsNothing(d edgeagent.DeviceStatus) bool {
	if d.State != edgeagent.DevicePolling || d.Link == edgeagent.LinkFrozen || d.Tags.Good > 0 {
		return false
	}
	if d.Tags.Uncertain > 0 { // a value out of its range is one, and its scan a good one
		return strings.HasSuffix(d.Recent, "...")
	}
	return d.Tags.Bad > 0 && (d.Since == nil || time.Since(*d.Since) > settling)
}

// plantAlarms says what the plant has raised.
func plantAlarms(s edgeagent.Status) []string {
	var parts []string
	if s.Alarms.Flood {
		parts = append(parts, "Alarm flood: more than 10 in 10 minutes")
	}
	unseen := max(s.Alarms.Unacked-s.Alarms.Own, 0)
	switch {
	case unseen > 0 && s.Alarms.Active > unseen:
		parts = append(parts, fmt.Sprintf("%s active, %d not seen yet", count(s.Alarms.Active, "alarm"), unseen))
	case unseen > 0:
		parts = append(parts, count(unseen, "alarm")+" active, not seen yet")
	case s.Alarms.Active > 0:
		parts = append(parts, count(s.Alarms.Active, "alarm")+" active")
	}
	return parts
}

func degradations(s edgeagent.Status) []string {
	var parts []string
	if checking(s) && len(faults(s)) == 0 {
		parts = append(parts, "Checking the data file: alarms and jobs show when it is open")
	}
	if n := countDevices(s, func(d edgeagent.DeviceStatus) bool { return d.State == edgeagent.DeviceRetrying }); n > 0 {
		parts = append(parts, count(n, "device")+" not answering, being retried")
	}
	parts = append(parts, missingProviders(s.Providers)...)
	switch c := s.Spend.DailyCapUSD; {
	case c > 0 && s.Spend.TodayUSD >= c:
		parts = append(parts, "Today's budget is spent: priced providers are skipped until midnight")
	case s.Spend.Capped: // for one question; a cheaper provider may still answer
		parts = append(parts, "Today's budget is nearly spent: providers that cost more than is left are skipped until midnight")
	}
	for _, u := range s.Upstreams {
		if text := missingUpstream(u); text != "" {
			parts = append(parts, text)
		}
	}
	return parts
}

// checking reports whether the data file is not open yet.
func checking(s edgeagent.Status) bool {
	return s.Storage.State == "" || s.Storage.State == edgeagent.StorageChecking
}

// missingProviders says which of cloud and local model cannot be asked, and
// who answers instead: the first in order that can.
func missingProviders(all []edgeagent.ProviderStatus) []string {
	var parts []string
	for _, kind := range []struct{ is, name string }{{"cloud", "the cloud"}, {"local", "the local model"}} {
		gone, total := lost(all, kind.is)
		if total == 0 || len(gone) < total {
			continue
		}
		text := "Working without " + kind.name + sinceOf(gone[0].LastOKAt)
		if hold := gone[0].Hold; hold != "" && !wantsPerson(gone[0]) {
			text += " (" + clip(hold) + ")"
		}
		parts = append(parts, text+stand(all))
	}
	if len(parts) > 1 {
		// The stand-in is the same for both: said once, at the end.
		parts[0] = strings.TrimSuffix(parts[0], stand(all))
	}
	return parts
}

// lost returns the providers of a class that cannot be asked now.
func lost(all []edgeagent.ProviderStatus, class string) (gone []edgeagent.ProviderStatus, total int) {
	for _, p := range all {
		if providerClass(p.Kind) != class {
			continue
		}
		total++
		if !available(p) {
			gone = append(gone, p)
		}
	}
	return gone, total
}

// wantsPerson reports whether a provider is held for something that no waiting
// mends: a refused key, an empty account, a missing model, a wrong certificate.
func wantsPerson(p edgeagent.ProviderStatus) bool {
	switch p.HoldClass {
	case edgeagent.CallAuth, edgeagent.CallQuota, edgeagent.CallConfig:
		return p.Hold != ""
	default:
		return false
	}
}

func available(p edgeagent.ProviderStatus) bool {
	return p.Hold == "" && (p.Breaker == "" || p.Breaker == "closed")
}

func providerClass(kind string) string {
	switch kind {
	case "ollama":
		return "local"
	case "runbook":
		return "runbook"
	default:
		return "cloud"
	}
}

func stand(all []edgeagent.ProviderStatus) string {
	for _, p := range all {
		switch {
		case !available(p):
		case providerClass(p.Kind) == "local":
			return ": the local model answers"
		case providerClass(p.Kind) == "runbook":
			return ": the runbook answers"
		default:
			return ": the cloud answers"
		}
	}
	return ""
}

func missingUpstream(u edgeagent.UpstreamStatus) string {
	var text string
	switch u.State {
	case edgeagent.UpstreamDown, edgeagent.UpstreamProbing:
		text = "Upstream " + u.Name + " offline" + sinceOf(u.Since)
	case edgeagent.UpstreamPaused:
		text = "Upstream " + u.Name + " paused" + sinceOf(u.Since) + because(u.Error)
	default:
		if u.Parked > 0 {
			return fmt.Sprintf("Upstream %s refused %s", u.Name, count(u.Parked, "event"))
		}
		return ""
	}
	if u.Backlog > 0 {
		text += ", " + count(u.Backlog, "event") + " waiting"
	}
	return text
}

// reading says how many devices deliver.
func reading(s edgeagent.Status) string {
	off := countDevices(s, func(d edgeagent.DeviceStatus) bool {
		return d.State == edgeagent.DeviceDisabled || d.State == edgeagent.DeviceMaintenance
	})
	polling := countDevices(s, func(d edgeagent.DeviceStatus) bool { return d.State == edgeagent.DevicePolling })
	total := len(s.Devices) - off
	devices := fmt.Sprintf("%d of %s reading", polling, count(total, "device"))
	switch {
	case len(s.Devices) == 0:
		return "no devices configured"
	case polling < total:
		return devices + ", " + count(total-polling, "device") + " connecting"
	}
	return devices
}

func countDevices(s edgeagent.Status, is func(edgeagent.DeviceStatus) bool) int {
	n := 0
	for _, d := range s.Devices {
		if is(d) {
			n++
		}
	}
	return n
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func because(err string) string {
	if err == "" {
		return ""
	}
	return ": " + clip(err)
}

func sinceOf(t *time.Time) string { return sinceAt(t, time.Now()) }

// sinceAt says since when, in the zone of t: with the date once the time alone
// would be taken for one of today.
func sinceAt(t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return ""
	case now.Sub(*t) > 20*time.Hour:
		return t.Format(" since 2 Jan 15:04")
	default:
		return t.Format(" since 15:04")
	}
}

// clip keeps one foreign sentence from filling the headline of a phone.
func clip(s string) string {
	const most = 160
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
