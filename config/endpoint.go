package config

import (
	"maps"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The protocols of devices.
const (
	ModbusTCP     = "modbus-tcp"
	ModbusTLS     = "modbus-tls"
	ModbusRTUTCP  = "modbus-rtu-tcp"
	ModbusRTU     = "modbus-rtu"
	OPCUAProtocol = "opcua"
)

// scheme is how the URL of a protocol looks.
type scheme struct {
	protocol string
	port     string // when the URL has none; "": the URL is a path
	path     bool   // behind the port
	want     string
	example  string
}

var schemes = map[string]scheme{
	"modbus-tcp":     {ModbusTCP, "502", false, "modbus-tcp://HOST:PORT", `"modbus-tcp://192.168.10.21:502"`},
	"modbus-tls":     {ModbusTLS, "802", false, "modbus-tls://HOST:PORT", `"modbus-tls://192.168.10.21:802"`},
	"modbus-rtu-tcp": {ModbusRTUTCP, "502", false, "modbus-rtu-tcp://HOST:PORT", `"modbus-rtu-tcp://192.168.10.21:4001"`},
	"modbus-rtu": {
		ModbusRTU, "", true, "modbus-rtu:///dev/serial/by-id/NAME?baud=19200&parity=even&stop=1",
		`"modbus-rtu:///dev/serial/by-id/NAME?baud=19200&parity=even&stop=1"`,
	},
	"opc.tcp": {OPCUAProtocol, "4840", true, "opc.tcp://HOST:PORT/PATH", `"opc.tcp://192.168.10.22:4840"`},
}

// endpoint reads the URL of a device.
func (s *section) endpoint(key string, d *Device) {
	if !s.set(key) {
		s.missing(key, schemes[ModbusTCP].example)
		return
	}
	d.URL = s.text(key, "")
	if !s.good(key) {
		return
	}
	name, _, _ := strings.Cut(d.URL, ":")
	sc, known := schemes[strings.ToLower(name)]
	if !known {
		s.fail(key, "url %s is no address of a device; want %s, such as %s%s", hideUser(d.URL), list(wants()), schemes[ModbusTCP].example,
			didYouMean(name, slices.Sorted(maps.Keys(schemes))))
		return
	}
	d.Protocol = sc.protocol
	u, err := url.Parse(d.URL)
	switch {
	case err != nil:
		s.fail(key, "url %s is not complete; want %s, such as %s", hideUser(d.URL), sc.want, sc.example)
	case u.User != nil || u.Fragment != "":
		s.fail(key, "url %s has a user or a #; want %s, users and secrets have their own keys", hideUser(d.URL), sc.want)
	case sc.port == "":
		s.serialPort(key, u, d)
	default:
		s.networkHost(key, sc, u, d)
	}
}

func wants() []string {
	var out []string
	for _, name := range []string{ModbusTCP, ModbusTLS, ModbusRTUTCP, ModbusRTU, "opc.tcp"} {
		want, _, _ := strings.Cut(schemes[name].want, "?")
		out = append(out, want)
	}
	return out
}

func (s *section) networkHost(key string, sc scheme, u *url.URL, d *Device) {
	port := u.Port()
	if port == "" {
		port = sc.port
	}
	switch {
	case u.Hostname() == "" || !validPort(port, 1) || strings.HasSuffix(u.Host, ":"):
		s.fail(key, "url %s is not complete; want %s with a port from 1 to 65535, such as %s", hideUser(d.URL), sc.want, sc.example)
	case u.RawQuery != "" || !sc.path && strings.Trim(u.Path, "/") != "":
		s.fail(key, "url %s has more than %s; all else has its own key, as the unit id", hideUser(d.URL), sc.want)
	default:
		d.Host = net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	}
}

// The settings of a serial line. The Modbus specification begins with 19200 8E1.
var (
	bauds = []string{
		"300", "600", "1200", "1800", "2400", "4800", "9600", "19200", "38400", "57600", "115200", "230400", "460800", "500000",
		"576000", "921600", "1000000",
	}
	serialKeys = map[string][]string{
		"baud": bauds, "parity": {"none", "even", "odd"}, "stop": {"1", "2"}, "data": {"8"},
	}
	serialDefaults = map[string]string{"baud": "19200", "parity": "even", "stop": "1", "data": "8"}
)

func (s *section) serialPort(key string, u *url.URL, d *Device) {
	sc := schemes[ModbusRTU]
	if u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) == "/" {
		s.fail(key, "url %s names no serial port; want %s, with three slashes", quote(d.URL), sc.want)
		return
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		s.fail(key, "what stands behind ? in url %s cannot be read; want %s", quote(d.URL), sc.want)
		return
	}
	set := maps.Clone(serialDefaults)
	for _, k := range slices.Sorted(maps.Keys(query)) {
		options, known := serialKeys[k]
		switch {
		case !known:
			s.fail(key, "%s is no setting of a serial line; known are baud, parity, stop and data%s", quote(k),
				didYouMean(k, slices.Sorted(maps.Keys(serialKeys))))
		case len(query[k]) > 1:
			s.fail(key, "%s is in the url twice; keep one", k)
		case k == "data" && query[k][0] == "7":
			s.fail(key, "data=7 is Modbus ASCII, which is not supported; Modbus RTU has 8 data bits")
		case !slices.Contains(options, query[k][0]):
			s.fail(key, "%s=%s is not known; want %s", k, strings.Trim(quote(query[k][0]), `"`), list(options))
		default:
			set[k] = query[k][0]
		}
	}
	d.Host, d.Serial = path.Clean(u.Path), &Serial{Parity: set["parity"], DataBits: 8}
	d.Serial.Baud, _ = strconv.Atoi(set["baud"])
	d.Serial.Stop, _ = strconv.Atoi(set["stop"])
}

// userInfo is what stands before the host: all of it until the last @, for
// a password may hold any character.
var userInfo = regexp.MustCompile(`(?s)//.*@`)

// hideUser quotes a URL without the password it may hold.
func hideUser(raw string) string { return quote(userInfo.ReplaceAllString(raw, "//…@")) }

// modbusKeys have no meaning for OPC UA, with what is there instead.
var modbusKeys = []struct{ key, instead string }{
	{"unit", "remove it"},
	{"pause", "remove it"},
	{"connect_delay", "remove it"},
	{"close_after_scan", "remove it"},
	{"order", "remove it, the server knows its own order"},
	{"max_registers", "remove it, the server tells its limits"},
	{"max_bits", "remove it, the server tells its limits"},
	{"max_gap", "remove it"},
	{"never_read", "remove it"},
}

var tlsKeys = []string{"ca_file", "client_cert_file", "client_key_file", "server_name"}

// protocolKeys reads and books what belongs to one protocol and not to another.
func (s *section) protocolKeys(d *Device, dataDir string) {
	events := s.t.get("events")
	switch d.Protocol {
	case "":
		s.get("opcua")
		s.get("events")
		if e := s.t.get("opcua"); e != nil && e.value.kind == kindTable {
			s.opcua(dataDir) // its own slips are said all the same
		}
	case OPCUAProtocol:
		for _, k := range modbusKeys {
			s.notFor(d.Protocol, k.key, k.instead)
		}
		for _, key := range tlsKeys {
			s.notFor(d.Protocol, key, "certificates of OPC UA stand in [device.opcua]")
		}
		d.OPCUA = s.opcua(dataDir)
	default:
		s.notFor(d.Protocol, "opcua", `remove it, or write url = "opc.tcp://HOST:PORT"`)
		s.notFor(d.Protocol, "events", `remove it, or write url = "opc.tcp://HOST:PORT"`)
		s.modbusSecurity(d)
		return
	}
	if events != nil {
		d.Events = s.events()
	}
}

// notFor books a key that means nothing for the protocol of the device.
func (s *section) notFor(protocol, key, instead string) {
	if s.set(key) && s.good(key) {
		s.bad[key] = true
		s.add(s.t.get(key).at(), "%s has no meaning for %s; %s", key, protocol, instead)
	}
}

// modbusSecurity books what is missing from, or too much for, the security of
// Modbus.
func (s *section) modbusSecurity(d *Device) {
	if d.Protocol != ModbusTLS {
		for _, key := range tlsKeys {
			s.notFor(d.Protocol, key, `remove it, or write url = "modbus-tls://HOST:PORT"`)
		}
	}
	switch {
	case d.Protocol == ModbusTLS && !s.set("ca_file"):
		s.missing("ca_file", `"pki/plant-ca.pem"`)
	case d.Protocol == ModbusTLS:
		s.pairOfFiles("client_cert_file", "client_key_file")
	case (d.Protocol == ModbusRTU || d.Protocol == ModbusRTUTCP) && d.Unit == 0 && s.good("unit"):
		s.fail("unit", "unit 0 is the broadcast of a serial line, which nobody answers; want 1 to 247")
	}
}

// pairOfFiles books a certificate without its key, or a key without its
// certificate.
func (s *section) pairOfFiles(cert, key string) {
	if s.set(cert) && !s.set(key) {
		s.missing(key, `"pki/own.pem"`)
	}
	if s.set(key) && !s.set(cert) {
		s.missing(cert, `"pki/own.crt"`)
	}
}

// connections are the devices that share a connection, by Host.
type connections map[string][]connected

type connected struct {
	*Device
	pos int
}

// claim books a device that contradicts an earlier one on the same connection.
// A disabled device may keep the unit of the one that took its place, but not
// other keys of the connection: enabling it must not change its neighbours.
// Devices of one OPC UA server have a session each and share nothing.
func (c connections) claim(s *section, d Device) {
	if d.Host == "" {
		return
	}
	for _, other := range c[d.Host] {
		if other.Protocol == OPCUAProtocol && d.Protocol == OPCUAProtocol {
			continue
		}
		if other.Protocol == d.Protocol && other.Unit == d.Unit && other.Enabled && d.Enabled {
			s.fail("unit", "unit %d at %s is device %s in %s already; give each its own unit, or put the tags into one device",
				d.Unit, d.Host, quote(other.Name), s.where(other.pos, s.pos("unit")))
			break // of a list without a unit, every row is in the way of every other
		}
	}
	if others := c[d.Host]; len(others) > 0 && (others[0].Protocol != OPCUAProtocol || d.Protocol != OPCUAProtocol) {
		s.sameConnection(d, others[0])
	}
	c[d.Host] = append(c[d.Host], connected{&d, s.t.pos})
}

func (s *section) sameConnection(d Device, first connected) {
	same := func(key, own, others string) {
		if own != others && s.good(key) {
			s.fail(key, "%s %s differs from the %s of device %s in %s, which shares the connection to %s; make them equal",
				key, own, others, quote(first.Name), s.where(first.pos, s.pos(key)), d.Host)
		}
	}
	if d.Protocol != first.Protocol {
		same("url", d.Protocol, first.Protocol)
		return
	}
	same("url", serialText(d.Serial), serialText(first.Serial))
	same("timeout", quote(formatDuration(d.Timeout)), quote(formatDuration(first.Timeout)))
	same("pause", quote(formatDuration(d.Pause)), quote(formatDuration(first.Pause)))
	same("connect_delay", quote(formatDuration(d.ConnectDelay)), quote(formatDuration(first.ConnectDelay)))
	same("close_after_scan", strconv.FormatBool(d.CloseAfterScan), strconv.FormatBool(first.CloseAfterScan))
	same("ca_file", quote(d.CAFile), quote(first.CAFile))
	same("client_cert_file", quote(d.ClientCertFile), quote(first.ClientCertFile))
	same("client_key_file", quote(d.ClientKeyFile), quote(first.ClientKeyFile))
	same("server_name", quote(d.ServerName), quote(first.ServerName))
	same("sim", strconv.FormatBool(d.Sim), strconv.FormatBool(first.Sim))
}

// serialText writes the settings of a serial line the way people say them:
// 19200 8E1.
func serialText(s *Serial) string {
	if s == nil {
		return ""
	}
	return strconv.Itoa(s.Baud) + " " + strconv.Itoa(s.DataBits) + strings.ToUpper(s.Parity[:1]) + strconv.Itoa(s.Stop)
}
