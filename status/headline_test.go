package status

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func device(name string, state edgeagent.DeviceState, link edgeagent.Link) edgeagent.DeviceStatus {
	return edgeagent.DeviceStatus{Name: name, State: state, Link: link}
}

// What the headline is put together from.
var (
	since1102 = time.Date(2000, 1, 1, 11, 2, 0, 0, time.FixedZone("", 3600)) // under virtual time it is midnight UTC
	polling   = device("filler", edgeagent.DevicePolling, edgeagent.LinkUp)
	stopped   = device("capper", edgeagent.DeviceStopped, edgeagent.LinkDown)
	cloud     = edgeagent.ProviderStatus{Name: "cloud", Kind: "openai", Breaker: "closed"}
	cloudOpen = edgeagent.ProviderStatus{Name: "cloud", Kind: "openai", Breaker: "open", LastOKAt: &since1102}
	local     = edgeagent.ProviderStatus{Name: "local", Kind: "ollama", Breaker: "closed"}
	localHeld = edgeagent.ProviderStatus{Name: "local", Kind: "ollama", Breaker: "closed", Hold: "model missing"}
	runbook   = edgeagent.ProviderStatus{Name: "runbook", Kind: "runbook"}
)

var headlineTests = []struct {
	name  string
	alter func(*edgeagent.Status)
	level edgeagent.Level
	text  string
}{
	{"quiet", func(*edgeagent.Status) {}, "ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"no devices", func(s *edgeagent.Status) { s.Devices = nil }, "ok", "All quiet: no devices configured, no active alarms"},
	{"start", func(s *edgeagent.Status) {
		s.Devices = append(s.Devices, device("b", edgeagent.DeviceConnecting, edgeagent.LinkDown))
	}, "ok", "All quiet: 1 of 2 devices reading, 1 device connecting, no active alarms"},
	{"disabled does not count", func(s *edgeagent.Status) {
		s.Devices = append(s.Devices, device("b", edgeagent.DeviceDisabled, ""))
	}, "ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"acknowledged and active is not quiet", func(s *edgeagent.Status) { s.Alarms.Active = 1 },
		"ok", "1 alarm active · 1 of 1 device reading"},
	{"the plant's alarms are the plant's", func(s *edgeagent.Status) { s.Alarms = edgeagent.AlarmCounts{Active: 2, Unacked: 2} },
		"ok", "2 alarms active, not seen yet · 1 of 1 device reading"},
	{"some seen", func(s *edgeagent.Status) { s.Alarms = edgeagent.AlarmCounts{Active: 3, Unacked: 2} },
		"ok", "3 alarms active, 2 not seen yet · 1 of 1 device reading"},
	{"the agent's own alarm", func(s *edgeagent.Status) {
		s.Alarms = edgeagent.AlarmCounts{Active: 2, Unacked: 3, Own: 1}
		s.Providers = []edgeagent.ProviderStatus{cloudOpen, runbook}
	}, "attention", "1 alarm of the agent to acknowledge · Working without the cloud since 11:02: the runbook answers · 2 alarms active, not seen yet"},
	{"a dropped VPN never looks like an alarm", func(s *edgeagent.Status) {
		s.Alarms = edgeagent.AlarmCounts{Active: 2, Unacked: 2}
		s.Providers = []edgeagent.ProviderStatus{cloudOpen, local, runbook}
	}, "degraded", "Working without the cloud since 11:02: the local model answers · 2 alarms active, not seen yet"},
	{"a refused key wants a person", func(s *edgeagent.Status) {
		held := cloud
		held.Hold, held.HoldClass = "the API key is refused", edgeagent.CallAuth
		s.Providers = []edgeagent.ProviderStatus{held, runbook}
	}, "attention", "cloud is not asked: the API key is refused · Working without the cloud: the runbook answers"},
	{"too many requests pass by themselves", func(s *edgeagent.Status) {
		held := cloud
		held.Hold, held.HoldClass = "too many requests", edgeagent.CallThrottled
		s.Providers = []edgeagent.ProviderStatus{held, runbook}
	}, "degraded", "Working without the cloud (too many requests): the runbook answers"},
	{"flood", func(s *edgeagent.Status) { s.Alarms = edgeagent.AlarmCounts{Active: 20, Unacked: 20, Flood: true} },
		"ok", "Alarm flood: more than 10 in 10 minutes · 20 alarms active, not seen yet · 1 of 1 device reading"},
	{"stopped is never stopped alone", func(s *edgeagent.Status) { s.Devices = append(s.Devices, stopped) },
		"attention", "1 device not being read"},
	{"retrying is no alarm yet", func(s *edgeagent.Status) {
		s.Devices[0] = device("filler", edgeagent.DeviceRetrying, edgeagent.LinkDown)
	}, "degraded", "1 device not answering, being retried"},
	{"frozen", func(s *edgeagent.Status) { s.Devices[0].Link = edgeagent.LinkFrozen },
		"attention", "filler answers, but its heartbeat stands still"},
	{"connected, and nothing of it is read", func(s *edgeagent.Status) { s.Devices[0].Tags.Bad = 12 },
		"attention", "filler answers, but none of its values is good"},
	{"one value is some", func(s *edgeagent.Status) { s.Devices[0].Tags = edgeagent.TagCount{Uncertain: 1, Bad: 11} },
		"ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"busy for a moment", func(s *edgeagent.Status) { s.Devices[0].Tags.Uncertain, s.Devices[0].Recent = 3, "||||.." },
		"ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"busy all along", func(s *edgeagent.Status) { s.Devices[0].Tags.Uncertain, s.Devices[0].Recent = 3, "|||..." },
		"attention", "filler answers, but none of its values is good"},
	{"out of range is a value", func(s *edgeagent.Status) { s.Devices[0].Tags.Uncertain, s.Devices[0].Recent = 3, "||||||" },
		"ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"the first values are still on their way", func(s *edgeagent.Status) {
		now := time.Now()
		s.Devices[0].Tags.Bad, s.Devices[0].Since = 12, &now
	}, "ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"without the cloud", func(s *edgeagent.Status) {
		s.Providers = []edgeagent.ProviderStatus{cloudOpen, local, runbook}
	}, "degraded", "Working without the cloud since 11:02: the local model answers"},
	{"half-open is still without", func(s *edgeagent.Status) {
		half := cloudOpen
		half.Breaker = "half-open"
		s.Providers = []edgeagent.ProviderStatus{half, runbook}
	}, "degraded", "Working without the cloud since 11:02: the runbook answers"},
	{"one of two clouds is enough", func(s *edgeagent.Status) {
		s.Providers = []edgeagent.ProviderStatus{cloudOpen, cloud, runbook}
	}, "ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"nothing but the runbook", func(s *edgeagent.Status) {
		s.Providers = []edgeagent.ProviderStatus{cloudOpen, localHeld, runbook}
	}, "degraded", "Working without the cloud since 11:02 · Working without the local model (model missing): the runbook answers"},
	{"without the local model the cloud still answers", func(s *edgeagent.Status) {
		s.Providers = []edgeagent.ProviderStatus{cloud, localHeld, runbook}
	}, "degraded", "Working without the local model (model missing): the cloud answers"},
	{"runbook alone is what was asked for", func(s *edgeagent.Status) { s.Providers = []edgeagent.ProviderStatus{runbook} },
		"ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"upstream down", func(s *edgeagent.Status) {
		s.Upstreams = []edgeagent.UpstreamStatus{{Name: "historian", State: edgeagent.UpstreamDown, Since: &since1102, Backlog: 17}}
	}, "degraded", "Upstream historian offline since 11:02, 17 events waiting"},
	{"the day before yesterday is not today", func(s *edgeagent.Status) {
		old := time.Now().UTC().Add(-50 * time.Hour)
		s.Upstreams = []edgeagent.UpstreamStatus{{Name: "historian", State: edgeagent.UpstreamDown, Since: &old}}
	}, "degraded", "Upstream historian offline since 29 Dec 22:00"},
	{"upstream paused says why", func(s *edgeagent.Status) {
		s.Upstreams = []edgeagent.UpstreamStatus{{Name: "historian", State: edgeagent.UpstreamPaused, Error: "answered 302", Backlog: 1}}
	}, "degraded", "Upstream historian paused: answered 302, 1 event waiting"},
	{"parked", func(s *edgeagent.Status) {
		s.Upstreams = []edgeagent.UpstreamStatus{{Name: "historian", State: edgeagent.UpstreamUp, Parked: 1}}
	}, "degraded", "Upstream historian refused 1 event"},
	{"off is off", func(s *edgeagent.Status) {
		s.Upstreams = []edgeagent.UpstreamStatus{{Name: "historian", State: edgeagent.UpstreamOff}}
	}, "ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"budget spent", func(s *edgeagent.Status) { s.Spend = edgeagent.SpendStatus{TodayUSD: 2, DailyCapUSD: 2} },
		"degraded", "Today's budget is spent: priced providers are skipped until midnight"},
	{"what is left buys no question", func(s *edgeagent.Status) {
		s.Spend = edgeagent.SpendStatus{TodayUSD: 1.9993, DailyCapUSD: 2, Capped: true}
	},
		"degraded", "Today's budget is nearly spent: providers that cost more than is left are skipped until midnight"},
	{"no cap is no budget", func(s *edgeagent.Status) { s.Spend = edgeagent.SpendStatus{TodayUSD: 2} },
		"ok", "All quiet: 1 of 1 device reading, no active alarms"},
	{"checking", func(s *edgeagent.Status) { s.Storage.State = edgeagent.StorageChecking },
		"degraded", "Checking the data file: alarms and jobs show when it is open"},
	{"salvaged", func(s *edgeagent.Status) { s.Storage.State = edgeagent.StorageSalvaged },
		"attention", "Data file was damaged and had to be replaced"},
	{"full", func(s *edgeagent.Status) {
		s.Storage.State, s.Storage.Error = edgeagent.StorageFull, "no space left on device"
	},
		"fault", "Data file full: new alarms are not stored: no space left on device"},
	{"a check that failed is a fault, not a check", func(s *edgeagent.Status) {
		s.Storage.State, s.Storage.Error = edgeagent.StorageChecking, "written by a newer version"
	}, "fault", "Data file in trouble: written by a newer version"},
	{"configuration refused", func(s *edgeagent.Status) { s.Agent.ConfigError = "config.toml:14:1: unknown key" },
		"fault", "Configuration refused, the last accepted one runs: config.toml:14:1: unknown key"},
	{"worst first, nothing hidden", func(s *edgeagent.Status) {
		s.Agent.ConfigError = "x"
		s.Alarms = edgeagent.AlarmCounts{Active: 1, Unacked: 1}
		s.Providers = []edgeagent.ProviderStatus{cloudOpen, runbook}
	}, "fault", "Configuration refused, the last accepted one runs: x · Working without the cloud since 11:02: the runbook answers · 1 alarm active, not seen yet"},
}

func TestHeadline(t *testing.T) {
	for _, tt := range headlineTests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := edgeagent.Status{Devices: []edgeagent.DeviceStatus{polling}, Storage: edgeagent.StorageStatus{State: edgeagent.StorageOK}}
				tt.alter(&s)
				got := Headline(s)
				if got.Level != tt.level || got.Text != tt.text {
					t.Errorf("got  %s %q\nwant %s %q", got.Level, got.Text, tt.level, tt.text)
				}
			})
		})
	}
}

func TestHeadlineOfNothingIsNotQuiet(t *testing.T) {
	if got := Headline(edgeagent.Status{}); got.Level != edgeagent.LevelDegraded || !strings.Contains(got.Text, "Checking the data file") {
		t.Errorf("an empty status reads %q: nothing known must never read as all quiet", got.Text)
	}
}

func TestHeadlineKeepsAForeignErrorShort(t *testing.T) {
	s := edgeagent.Status{Agent: edgeagent.AgentInfo{ConfigError: strings.Repeat("ä\n", 5000)}}
	got := Headline(s).Text
	if n := len([]rune(got)); n > 400 || strings.Contains(got, "\n") {
		t.Errorf("%d characters, line breaks kept: %t", n, strings.Contains(got, "\n"))
	}
}
