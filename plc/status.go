package plc

import (
	"slices"
	"strings"
	"time"

	"edgeagent"
)

// Status returns the state of every device, in the order of the
// configuration. It is safe from any goroutine and never waits for a PLC.
func (c *Connection) Status() []edgeagent.DeviceStatus {
	var stale uint64
	if counts, ok := c.driver.(interface{ StaleFrames() uint64 }); ok {
		stale = counts.StaleFrames()
	}
	var security string
	if secured, ok := c.driver.(interface{ Security() string }); ok {
		security = secured.Security()
	}
	out := c.status()
	for i := range out {
		out[i].StaleFrames, out[i].Security = stale, security
	}
	return out
}

func (r *roster) status() []edgeagent.DeviceStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]edgeagent.DeviceStatus, len(r.devices))
	for i, d := range r.devices {
		out[i] = d.status()
	}
	return out
}

func (d *device) status() edgeagent.DeviceStatus {
	s := edgeagent.DeviceStatus{
		Name: d.spec.Name, Line: d.spec.Line, URL: d.spec.URL, Protocol: d.spec.Protocol, Unit: int(d.spec.Unit),
		State: d.state, Since: edgeagent.TimePtr(d.since), Link: d.link, Attempt: d.attempt,
		LastOKAt: edgeagent.TimePtr(d.lastOK), Resume: d.resume(),
		ScanMS: float64(d.took.Microseconds()) / 1000, Requests: d.sent, Errors: d.errors, Overruns: d.overruns,
		Gaps: d.gaps, Security: d.security, Recent: string(d.recent), Log: slices.Clone(d.log),
	}
	if at, ever := d.due(); ever && d.state != edgeagent.DevicePolling {
		s.NextTryAt = edgeagent.TimePtr(at)
	}
	if d.state == edgeagent.DeviceMaintenance {
		s.Until = edgeagent.TimePtr(d.until)
	}
	switch {
	case d.err != nil:
		s.Error = d.err.Error()
	case d.state == edgeagent.DeviceStopped:
		s.Error = d.reason.String()
	}
	for _, q := range d.quality {
		count(&s.Tags, q)
	}
	for _, r := range d.requests() {
		s.Plan = append(s.Plan, r.String())
	}
	s.RequestsPerScan = len(s.Plan)
	return s
}

// Left returns the status of a device that nobody reads, as far as its memory
// tells it; the rest is as before the first scan.
func Left(spec DeviceSpec, m edgeagent.DeviceMemory, now time.Time) edgeagent.DeviceStatus {
	d := newDevice(spec)
	d.restore(m, now)
	return d.status()
}

func count(c *edgeagent.TagCount, q edgeagent.Quality) {
	switch q {
	case edgeagent.QualityGood:
		c.Good++
	case edgeagent.QualityUncertain:
		c.Uncertain++
	default:
		c.Bad++
	}
}

// resume returns who ends a stop: "operator", or a probe every "5m".
func (d *device) resume() string {
	if d.spec.ResumeEvery <= 0 || d.barred() {
		return "operator"
	}
	return short(d.spec.ResumeEvery)
}

// short writes a duration as the configuration does: 5m, not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
