package config

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"edgeagent"
)

const (
	resumeOperator = "operator"
	staleScans     = 3 // a value older than so many scans is stale
)

var (
	deviceName = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)
	byteOrders = []string{string(edgeagent.OrderABCD), string(edgeagent.OrderCDAB), string(edgeagent.OrderBADC), string(edgeagent.OrderDCBA)}
)

func (r *reader) devices(sections []*section, c *Config) []Device {
	out := make([]Device, 0, len(sections))
	unique, shared := names{}, connections{}
	for _, s := range sections {
		d := r.device(s, c)
		unique.claim(s, "name", d.Name)
		s.knownLine(d.Line, c.Lines)
		shared.claim(s, d)
		out = append(out, d)
	}
	return out
}

// device reads one device; what its keys mean follows from its URL.
func (r *reader) device(s *section, c *Config) Device {
	d := Device{
		Name:           s.required("name", deviceName, "1 to 63 of a-z, 0-9, _ and -", `"filler"`),
		Template:       s.text("template", ""),
		Unit:           s.integer("unit", 1, 0, 255),
		Scan:           s.duration("scan", time.Second, 50*time.Millisecond, time.Hour),
		Timeout:        s.duration("timeout", time.Second, 10*time.Millisecond, time.Minute),
		Pause:          s.duration("pause", 0, 0, 10*time.Second),
		ConnectDelay:   s.duration("connect_delay", 0, 0, time.Minute),
		CloseAfterScan: s.boolean("close_after_scan", false),
		Order:          edgeagent.ByteOrder(s.choice("order", byteOrders)),
		MaxRegisters:   s.integer("max_registers", 125, 1, 125),
		MaxBits:        s.integer("max_bits", 2000, 1, 2000),
		MaxGap:         s.integer("max_gap", 16, 0, 124),
		NeverRead:      s.spans("never_read"),
		Retry:          s.retry(Retry{First: 2 * time.Second, Max: 30 * time.Second}),
		Resume:         s.resume("resume"),
		Enabled:        s.boolean("enabled", true),
		Sim:            s.boolean("sim", false),
		CAFile:         s.path("ca_file", ""),
		ClientCertFile: s.path("client_cert_file", ""),
		ClientKeyFile:  s.path("client_key_file", ""),
		ServerName:     s.text("server_name", ""),
	}
	s.ofTemplate()
	d.Line = s.label("line", d.Name)
	s.endpoint("url", &d)
	d.StaleAfter = s.duration("stale_after", staleScans*d.Scan, 50*time.Millisecond, day)
	s.text("tags_file", "")
	s.deviceLimits(d)
	s.protocolKeys(&d, c.Agent.DataDir)
	tags := r.tags(s, &d)
	d.Heartbeat = s.heartbeat(d, tags)
	r.deviceAlarms(s, &d, tags, c.Line(d.Line))
	return d
}

// ofTemplate books vars without a template; what is in them was used before.
func (s *section) ofTemplate() {
	vars := s.get("vars")
	switch {
	case vars == nil:
	case vars.kind != kindTable:
		s.fail("vars", "%q wants a table, not %s", "vars", kindWords[vars.kind])
	case !s.set("template"):
		s.fail("vars", `vars fill the placeholders of a template, and there is none; add template = "NAME", or remove vars`)
	}
}

// deviceLimits books limits of one device that contradict each other.
func (s *section) deviceLimits(d Device) {
	if s.good("scan", "timeout") && d.Timeout > 10*d.Scan {
		s.fail("timeout", "timeout %q is more than ten scans of %q; a dead device would hold up the line, lower timeout or raise scan",
			formatDuration(d.Timeout), formatDuration(d.Scan))
	}
	if s.good("scan", "stale_after") && d.StaleAfter < d.Scan {
		s.fail("stale_after", "stale_after %q is shorter than scan %q: every value would be stale; raise it, the default is three scans",
			formatDuration(d.StaleAfter), formatDuration(d.Scan))
	}
}

func (s *section) resume(key string) time.Duration {
	if v := s.get(key); v != nil && v.kind == kindString && v.text == resumeOperator {
		return 0
	}
	if v := s.get(key); v != nil && v.kind == kindString {
		if _, err := parseDuration(v.text); err != nil {
			s.fail(key, `resume %s is not known; want a period such as "5m", or "operator"`, quote(v.text))
			return 5 * time.Minute
		}
	}
	return s.duration(key, 5*time.Minute, time.Second, 30*day)
}

// retry reads a back-off without a number of attempts.
func (s *section) retry(def Retry) Retry {
	r, _ := s.backoff(def)
	return r
}

// backoff reads first and max; more keys may be read from the section.
func (s *section) backoff(def Retry) (Retry, *section) {
	t := s.table("retry")
	r := Retry{
		First: t.duration("first", def.First, 10*time.Millisecond, time.Hour),
		Max:   t.duration("max", def.Max, 10*time.Millisecond, day),
	}
	if t.good("first", "max") && r.First > r.Max {
		t.fail("first", "first %q is more than max %q; the waits grow from first to max", formatDuration(r.First), formatDuration(r.Max))
	}
	return r, t
}

// notation is what stands before the number of an address. The end of a span
// is read in the notation of its beginning: 40201-40220 are twenty registers.
var notation = regexp.MustCompile(`^\s*(\w+:|%[A-Za-z]+)?`)

// spans reads addresses that are never touched: "holding:200-219".
func (s *section) spans(key string) []Span {
	var out []Span
	for _, w := range s.words(key) {
		first, to, isRange := strings.Cut(w.text, "-")
		a, err := edgeagent.ParseAddress(first, true)
		last := a
		if err == nil && isRange {
			last, err = edgeagent.ParseAddress(notation.FindString(first)+strings.TrimSpace(to), true)
		}
		if err != nil || a.Bit >= 0 || last.Bit >= 0 || last.Area != a.Area || last.Offset < a.Offset {
			s.failAt(key, w.pos, `%s %s is no range of addresses; want "holding:200-219" or "coil:7"`, key, quote(w.text))
			continue
		}
		if _, err := edgeagent.ParseAddress(first, false); err != nil { // it would protect what nobody reads
			s.failAt(key, w.pos, "%s %s looks one-based; write the manual's numbers without %q, or six digits where %s is meant",
				key, quote(w.text), strings.TrimSpace(notation.FindString(first)), a.Notations())
		}
		out = append(out, Span{Area: a.Area, First: a.Offset, Last: last.Offset})
	}
	return out
}

// knownLine books a line that has no [[line]] when there are any: without one
// the names of the devices are all there is.
func (s *section) knownLine(line string, lines []Line) {
	if len(lines) == 0 || !s.set("line") || !s.good("line") || s.broken {
		return
	}
	known := make([]string, len(lines))
	for i, l := range lines {
		known[i] = l.Name
	}
	if !slices.Contains(known, line) {
		s.fail("line", "line %s has no [[line]]; add one%s", quote(line), didYouMean(line, known))
	}
}
