package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgeagent"
)

const (
	resumeOperator = "operator"
	modbusPort     = "502"
	staleScans     = 3 // a value older than so many scans is stale
)

// laterSchemes are protocols that the product names and this version does not speak.
var laterSchemes = []string{"modbus-tls", "modbus-rtu-tcp", "modbus-rtu", "opc.tcp"}

var (
	deviceName = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)
	byteOrders = []string{string(edgeagent.OrderABCD), string(edgeagent.OrderCDAB), string(edgeagent.OrderBADC), string(edgeagent.OrderDCBA)}
)

func (r *reader) devices(sections []*section, c *Config) []Device {
	var out []Device
	unique, shared := names{}, connections{}
	for _, s := range sections {
		d := r.device(s)
		unique.claim(s, "name", d.Name)
		s.knownLine(d.Line, c.Lines)
		shared.claim(s, d)
		for i := range d.Alarms {
			d.Alarms[i].Line, d.Alarms[i].Area = d.Line, c.Line(d.Line).Area
		}
		out = append(out, d)
	}
	return out
}

func (r *reader) device(s *section) Device {
	d := Device{
		Name:         s.required("name", deviceName, "1 to 63 of a-z, 0-9, _ and -", `"filler"`),
		Unit:         s.integer("unit", 1, 0, 255),
		Scan:         s.duration("scan", time.Second, 50*time.Millisecond, time.Hour),
		Timeout:      s.duration("timeout", time.Second, 10*time.Millisecond, time.Minute),
		Pause:        s.duration("pause", 0, 0, 10*time.Second),
		Order:        edgeagent.ByteOrder(s.choice("order", byteOrders)),
		MaxRegisters: s.integer("max_registers", 125, 1, 125),
		MaxBits:      s.integer("max_bits", 2000, 1, 2000),
		MaxGap:       s.integer("max_gap", 16, 0, 124),
		NeverRead:    s.spans("never_read"),
		Retry:        s.retry(Retry{First: 2 * time.Second, Max: 30 * time.Second}),
		Resume:       s.resume("resume"),
		Enabled:      s.boolean("enabled", true),
		Sim:          s.boolean("sim", false),
	}
	d.Line = s.label("line", d.Name)
	d.URL, d.Host = s.deviceURL("url")
	d.Protocol = "modbus-tcp"
	d.StaleAfter = s.duration("stale_after", staleScans*d.Scan, 50*time.Millisecond, day)
	s.deviceLimits(d)
	tags := r.tags(s, &d)
	r.deviceAlarms(s, &d, tags)
	return d
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

// deviceURL returns the URL as it stands and its HOST:PORT.
func (s *section) deviceURL(key string) (raw, host string) {
	const example = `"modbus-tcp://192.168.10.21:502"`
	if !s.set(key) {
		s.missing(key, example)
		return "", ""
	}
	raw = s.text(key, "")
	if !s.good(key) {
		return "", ""
	}
	scheme, _, _ := strings.Cut(raw, ":")
	u, err := url.Parse(raw)
	switch {
	case slices.Contains(laterSchemes, scheme):
		s.fail(key, "%s is not supported by this version; use modbus-tcp://HOST:PORT", scheme)
	case scheme != "modbus-tcp":
		s.fail(key, "url %s is no address of a device; want modbus-tcp://HOST:PORT, such as %s", hideUser(raw), example)
	case err != nil || u.Hostname() == "" || u.Port() != "" && !validPort(u.Port(), 1):
		s.fail(key, "url %s is not complete; want modbus-tcp://HOST:PORT with a port from 1 to 65535, such as %s", hideUser(raw), example)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		s.fail(key, "url %s has more than a host and a port; want modbus-tcp://HOST:PORT, the unit id has its own key", hideUser(raw))
	default:
		port := u.Port()
		if port == "" {
			port = modbusPort
		}
		return raw, net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	}
	return raw, ""
}

var userInfo = regexp.MustCompile(`(?s)//.*@`)

// hideUser quotes a URL without the password it may hold.
func hideUser(raw string) string { return quote(userInfo.ReplaceAllString(raw, "//…@")) }

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

// connections are the devices that share a connection, by HOST:PORT.
type connections map[string][]connected

type connected struct {
	Device
	line int
}

// claim books a device that contradicts an earlier one on the same connection.
// A disabled device may keep the unit of the one that took its place, but not
// other keys of the connection: enabling it must not change its neighbours.
func (c connections) claim(s *section, d Device) {
	if d.Host == "" {
		return
	}
	for _, other := range c[d.Host] {
		if other.Unit == d.Unit && other.Enabled && d.Enabled {
			s.fail("unit", "unit %d at %s is device %s in line %d already; give each its own unit, or put the tags into one device",
				d.Unit, d.Host, quote(other.Name), other.line)
		}
	}
	if others := c[d.Host]; len(others) > 0 {
		s.sameConnection(d, others[0])
	}
	c[d.Host] = append(c[d.Host], connected{d, s.line(s.t.pos)})
}

func (s *section) sameConnection(d Device, first connected) {
	same := func(key, own, others string) {
		if own != others && s.good(key) {
			s.fail(key, "%s %s differs from the %s of device %s in line %d, which shares the connection to %s; make them equal",
				key, own, others, quote(first.Name), first.line, d.Host)
		}
	}
	same("timeout", quote(formatDuration(d.Timeout)), quote(formatDuration(first.Timeout)))
	same("pause", quote(formatDuration(d.Pause)), quote(formatDuration(first.Pause)))
	same("sim", strconv.FormatBool(d.Sim), strconv.FormatBool(first.Sim))
}
