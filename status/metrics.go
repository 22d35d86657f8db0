package status

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"edgeagent"
)

// Metrics counts what happens. Its methods are the hooks of the other rooms;
// all are safe from any goroutine. What is a state and no event is taken from
// the [Source] when somebody asks.
type Metrics struct {
	series *series
}

// Upper bounds in seconds. A PLC answers in milliseconds, a local model in
// minutes.
var (
	fastBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	slowBounds = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 600}
)

// NewMetrics returns metrics that start at zero.
func NewMetrics() *Metrics {
	m := &Metrics{series: newSeries()}
	m.series.declare("scan_seconds", fastBounds)
	m.series.declare("db_commit_seconds", fastBounds)
	m.series.declare("job_seconds", slowBounds)
	m.series.declare("llm_seconds", slowBounds)
	// Shown from the start: a rate needs the zero before the first event.
	m.series.observe("scan_seconds", noValue)
	m.series.observe("db_commit_seconds", noValue)
	m.series.observe("job_seconds", noValue)
	m.series.add("db_commit_operations_total", 0)
	return m
}

// ScanDone observes one pass over a device's tags.
func (m *Metrics) ScanDone(_ string, took time.Duration, _ error) {
	m.series.observe("scan_seconds", took.Seconds())
}

// RequestDone counts one request to a device and, by class, how it failed.
func (m *Metrics) RequestDone(device string, _ time.Duration, err error) {
	m.series.add("requests_total", 1, "device", device)
	if err != nil {
		m.series.add("read_errors_total", 1, "device", device, "class", errorClass(err))
	}
}

// CallDone counts one request to a provider, its tokens and its price.
func (m *Metrics) CallDone(c edgeagent.Call) {
	m.series.add("llm_calls_total", 1, "provider", c.Provider, "outcome", string(c.Outcome))
	m.series.observe("llm_seconds", float64(c.TookMS)/1000, "provider", c.Provider)
	m.series.add("llm_tokens_total", float64(c.TokensIn), "provider", c.Provider, "direction", "in")
	m.series.add("llm_tokens_total", float64(c.TokensOut), "provider", c.Provider, "direction", "out")
	m.series.add("llm_cost_usd_total", c.CostUSD, "provider", c.Provider)
}

// JobDone counts one attempt at a job by its outcome.
func (m *Metrics) JobDone(outcome string, took time.Duration) {
	m.series.add("job_attempts_total", 1, "outcome", outcome)
	m.series.observe("job_seconds", took.Seconds())
}

// CommitDone observes one commit of the data file and the operations in it.
func (m *Metrics) CommitDone(took time.Duration, ops int) {
	m.series.observe("db_commit_seconds", took.Seconds())
	m.series.add("db_commit_operations_total", float64(ops))
}

// AlarmRaised counts one alarm; an alarm of a line has no device.
func (m *Metrics) AlarmRaised(device string) {
	m.series.add("alarms_raised_total", 1, "device", device)
}

// write writes everything in the Prometheus text format.
// It renders first and sends then: the counters are locked while they are
// written, and a reader that takes nothing must not hold up a scan.
func (m *Metrics) write(w io.Writer, src Source) {
	var buf bytes.Buffer
	m.series.write(&buf)
	g := gauges{w: &buf}
	g.write(src)
	// A reader that is gone cannot be told so.
	_, _ = w.Write(buf.Bytes())
}

// errorClass sorts an error of a request into a handful of words: a label must
// stay bounded. A driver's own error may say its class itself.
func errorClass(err error) string {
	var own interface{ Class() string }
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &own):
		return own.Class()
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "closed"
	default:
		return "protocol"
	}
}

// gauges writes the states as they are now, the head before each family.
type gauges struct {
	w    io.Writer
	last string
}

func (g *gauges) put(kind, name string, value float64, labels ...string) {
	if g.last != name {
		head(g.w, name, kind)
		g.last = name
	}
	fmt.Fprintf(g.w, "%s %s\n", named(name, labels...), figure(value))
}

func (g *gauges) write(src Source) {
	s := src.Status()
	g.devices(s.Devices)
	g.alarms(src)
	g.jobs(s)
	g.providers(s.Providers)
	g.feedback(src)
	g.upstreams(s.Upstreams)
	g.put("gauge", "db_bytes", float64(s.Storage.FileBytes))
	g.put("gauge", "db_free_bytes", float64(s.Storage.FreeBytes))
	g.put("gauge", "db_max_bytes", float64(s.Storage.MaxBytes))
	g.put("gauge", "db_reserve_bytes", float64(s.Storage.ReserveBytes))
	g.put("gauge", "disk_free_bytes", float64(s.Storage.DiskFreeBytes))
	g.put("counter", "jobs_refused_total", float64(s.Storage.JobsRefused))
	g.put("gauge", "transitions_waiting", float64(s.Storage.Waiting))
	g.put("counter", "samples_merged_total", float64(s.Agent.SamplesMerged))
	g.put("gauge", "clock_synced", truth(s.Agent.ClockSynced))
	g.process()
	g.put("gauge", "build_info", 1, "version", s.Agent.Version)
}

var deviceStates = []edgeagent.DeviceState{
	edgeagent.DeviceConnecting, edgeagent.DevicePolling, edgeagent.DeviceRetrying,
	edgeagent.DeviceStopped, edgeagent.DeviceMaintenance, edgeagent.DeviceDisabled,
}

// devices writes family after family, as the text format demands.
func (g *gauges) devices(all []edgeagent.DeviceStatus) {
	for _, d := range all {
		g.put("gauge", "device_up", truth(d.State == edgeagent.DevicePolling && d.Link == edgeagent.LinkUp), "device", d.Name)
	}
	for _, d := range all {
		for _, state := range deviceStates {
			g.put("gauge", "device_state", truth(d.State == state), "device", d.Name, "state", string(state))
		}
	}
	for _, d := range all {
		g.put("counter", "scan_overruns_total", float64(d.Overruns), "device", d.Name)
	}
	for _, d := range all {
		g.put("counter", "data_gaps_total", float64(d.Gaps), "device", d.Name)
	}
	for _, d := range all {
		g.put("gauge", "tags", float64(d.Tags.Good), "device", d.Name, "quality", "good")
		g.put("gauge", "tags", float64(d.Tags.Uncertain), "device", d.Name, "quality", "uncertain")
		g.put("gauge", "tags", float64(d.Tags.Bad), "device", d.Name, "quality", "bad")
	}
}

// alarms writes nothing while the data file is not open: no figure is better
// than a zero that is not true.
func (g *gauges) alarms(src AlarmSource) {
	var by [5]int
	err := openAlarms(src, func(page []edgeagent.Alarm) {
		for _, a := range page {
			if a.State.Active() {
				by[min(max(a.Priority, 0), 4)]++
			}
		}
	})
	if err != nil {
		return
	}
	for p := 1; p <= 4; p++ {
		g.put("gauge", "alarms_active", float64(by[p]), "priority", strconv.Itoa(p))
	}
}

func (g *gauges) jobs(s edgeagent.Status) {
	if checking(s) {
		return
	}
	for _, state := range edgeagent.JobStates {
		g.put("gauge", "jobs", float64(jobCount(s.Jobs, state)), "state", string(state))
	}
}

func jobCount(c edgeagent.JobCounts, state edgeagent.JobState) int {
	return map[edgeagent.JobState]int{
		edgeagent.JobPending: c.Pending, edgeagent.JobRunning: c.Running, edgeagent.JobCompleted: c.Completed,
		edgeagent.JobFailed: c.Failed, edgeagent.JobDiscarded: c.Discarded,
	}[state]
}

func (g *gauges) providers(all []edgeagent.ProviderStatus) {
	g.speeds(all)
	for _, p := range all {
		if p.Breaker == "" {
			continue // a provider without a network has no breaker
		}
		for _, state := range []string{"closed", "half-open", "open"} {
			g.put("gauge", "breaker_state", truth(p.Breaker == state), "provider", p.Name, "state", state)
		}
	}
}

// mostJudged is how many providers have labels of their own.
const mostJudged = 16

// feedback writes how diagnoses are judged, by provider. It is a gauge, for a
// verdict that is changed moves from one to the other. Names of long ago are
// counted together: a label must stay bounded.
func (g *gauges) feedback(src MemorySource) {
	all, err := src.Accuracy()
	if err != nil {
		return
	}
	sums := make(map[string]edgeagent.Accuracy)
	for _, a := range all {
		name := a.Provider
		if _, known := sums[name]; !known && len(sums) >= mostJudged {
			name = "others"
		}
		sum := sums[name]
		sum.Right, sum.Partly, sum.Wrong = sum.Right+a.Right, sum.Partly+a.Partly, sum.Wrong+a.Wrong
		sums[name] = sum
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		sum := sums[name]
		g.put("gauge", "feedback_total", float64(sum.Right), "provider", name, "verdict", string(edgeagent.VerdictRight))
		g.put("gauge", "feedback_total", float64(sum.Partly), "provider", name, "verdict", string(edgeagent.VerdictPartly))
		g.put("gauge", "feedback_total", float64(sum.Wrong), "provider", name, "verdict", string(edgeagent.VerdictWrong))
	}
}

func (g *gauges) upstreams(all []edgeagent.UpstreamStatus) {
	for _, u := range all {
		g.put("gauge", "outbox_events", float64(u.Backlog), "upstream", u.Name)
	}
	for _, u := range all {
		g.put("gauge", "outbox_oldest_seconds", u.OldestS, "upstream", u.Name)
	}
	for _, u := range all {
		g.put("gauge", "outbox_parked", float64(u.Parked), "upstream", u.Name)
	}
	for _, u := range all {
		g.put("counter", "sync_confirmed_total", float64(u.Confirmed), "upstream", u.Name)
	}
}

// speeds writes what was measured of models on the box.
func (g *gauges) speeds(all []edgeagent.ProviderStatus) {
	for _, p := range all {
		if p.TokensPerSecond > 0 {
			g.put("gauge", "llm_local_tokens_per_second", p.TokensPerSecond, "provider", p.Name, "kind", "answer")
			g.put("gauge", "llm_local_tokens_per_second", p.PromptTokensPerSecond, "provider", p.Name, "kind", "prompt")
		}
	}
	for _, p := range all {
		if p.LoadS > 0 {
			g.put("gauge", "llm_local_load_seconds", p.LoadS, "provider", p.Name)
		}
	}
}

// process writes what a fleet watches of the agent itself.
func (g *gauges) process() {
	g.put("gauge", "goroutines", float64(runtime.NumGoroutine()))
	if rss, ok := residentBytes(); ok {
		g.put("gauge", "resident_memory_bytes", rss)
	}
}

// residentBytes reads the second figure of statm, in pages; only Linux has it.
func residentBytes() (float64, bool) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0, false
	}
	return resident * float64(os.Getpagesize()), true
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
