package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEndpoints(t *testing.T) {
	tests := map[string]struct {
		keys, protocol, host string
		serial               *Serial
	}{
		"modbus-tcp://PLC.local":      {protocol: ModbusTCP, host: "plc.local:502"},
		"MODBUS-TCP://[fe80::1]:1502": {protocol: ModbusTCP, host: "[fe80::1]:1502"},
		"modbus-tls://h":              {protocol: ModbusTLS, host: "h:802", keys: `ca_file = "ca.pem"`},
		"modbus-rtu-tcp://h:4001":     {protocol: ModbusRTUTCP, host: "h:4001"},
		"opc.tcp://h":                 {protocol: OPCUAProtocol, host: "h:4840", keys: `opcua = { security = "None" }`},
		"opc.tcp://h:4841/UA/Server":  {protocol: OPCUAProtocol, host: "h:4841", keys: `opcua = { security = "None" }`},
		"modbus-rtu:///dev/serial/by-id/usb-FTDI_A-if00-port0": {
			protocol: ModbusRTU, host: "/dev/serial/by-id/usb-FTDI_A-if00-port0", serial: &Serial{Baud: 19200, Parity: "even", DataBits: 8, Stop: 1},
		},
		"modbus-rtu:/dev/ttyS1?stop=2&data=8&parity=none&baud=115200": {
			protocol: ModbusRTU, host: "/dev/ttyS1", serial: &Serial{Baud: 115200, Parity: "none", DataBits: 8, Stop: 2},
		},
		"modbus-rtu:///dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0?parity=odd": {
			protocol: ModbusRTU, host: "/dev/serial/by-path/pci-0000:00:14.0-usb-0:1:1.0-port0",
			serial: &Serial{Baud: 19200, Parity: "odd", DataBits: 8, Stop: 1},
		},
	}
	for url, tt := range tests {
		t.Run(url, func(t *testing.T) {
			d := mustParse(t, minimal+"[[device]]\nname = \"d\"\nurl = \""+url+"\"\n"+tt.keys+"\n").Devices[0]
			if d.URL != url || d.Protocol != tt.protocol || d.Host != tt.host || !reflect.DeepEqual(d.Serial, tt.serial) {
				t.Errorf("device is %+v", d)
			}
		})
	}
}

// TestUnitsOfOneBus: the settings of the line are the same however they are
// written; two sessions with one server are none of each other's business.
func TestUnitsOfOneBus(t *testing.T) {
	c := mustParse(t, minimal+`
[[device]]
name = "a"
url = "modbus-rtu:///dev/ttyS0"
unit = 1
[[device]]
name = "b"
url = "modbus-rtu:///dev/ttyS0?baud=19200&parity=even&stop=1&data=8"
unit = 2
[[device]]
name = "c"
url = "opc.tcp://h/x"
opcua = { security = "None" }
timeout = "2s"
[[device]]
name = "d"
url = "opc.tcp://h/x"
opcua = { security = "Basic256Sha256", server_cert_file = "s.der" }
timeout = "3s"
`)
	if c.Devices[0].Host != c.Devices[1].Host || *c.Devices[0].Serial != *c.Devices[1].Serial {
		t.Errorf("the bus is %+v and %+v", c.Devices[0], c.Devices[1])
	}
}

func TestOPCUA(t *testing.T) {
	text := `data_dir = "state"
[[device]]
name = "d"
url = "opc.tcp://h"
  [device.opcua]
  security = "Basic256Sha256"
  server_cert_file = "pki/d.der"
  user = "edge"
  password_env = "PW"
  watchdog = "5s"
  [device.events]
  [[device.tag]]
  name = "level"
  address = "nsu=urn:filler;s=Filler.Level;3"
  type = "float32"
  index = 2
  scale = 0.1
[[device]]
name = "e"
url = "opc.tcp://h"
  [device.opcua]
  security = "Aes256_Sha256_RsaPss"
  mode = "Sign"
  server_cert_file = "/abs/d.der"
  client_cert_file = "own.der"
  client_key_file = "own.pem"
  user_cert_file = "u.der"
  user_key_file = "u.pem"
  [device.events]
  source = "ns=3;s=Alarms"
  min_severity = 10
  priorities = { 1 = 900, 3 = 200 }
  code_from = "SourceName"
  diagnose = false
[[device]]
name = "f"
url = "opc.tcp://h"
opcua = { security = "None" }
`
	c, err := Parse("/etc/edgeagent/config.toml", []byte(minimal+text), checks)
	if err != nil {
		t.Fatal(err)
	}
	d, e, f := c.Devices[0], c.Devices[1], c.Devices[2]
	if !d.OPCUA.Password.IsSet() {
		t.Error("the password is lost")
	}
	d.OPCUA.Password, e.OPCUA.Password, f.OPCUA.Password = Secret{}, Secret{}, Secret{}
	own := "/etc/edgeagent/state/opcua/own."
	for name, pair := range map[string][2]any{
		"d": {*d.OPCUA, OPCUA{
			Security: "Basic256Sha256", Mode: "SignAndEncrypt", ServerCertFile: "/etc/edgeagent/pki/d.der",
			ClientCertFile: own + "der", ClientKeyFile: own + "pem", User: "edge", Watchdog: 5 * time.Second,
		}},
		"e": {*e.OPCUA, OPCUA{
			Security: "Aes256_Sha256_RsaPss", Mode: "Sign", ServerCertFile: "/abs/d.der", ClientCertFile: "/etc/edgeagent/own.der",
			ClientKeyFile: "/etc/edgeagent/own.pem", UserCertFile: "/etc/edgeagent/u.der", UserKeyFile: "/etc/edgeagent/u.pem", Watchdog: 3 * time.Second,
		}},
		"f":           {*f.OPCUA, OPCUA{Security: "None", Mode: "None", Watchdog: 3 * time.Second}},
		"events of d": {*d.Events, Events{Source: "i=2253", MinSeverity: 1, Priorities: [4]int{800, 600, 300, 1}, CodeFrom: "ConditionName", Diagnose: true}},
		"events of e": {*e.Events, Events{Source: "ns=3;s=Alarms", MinSeverity: 10, Priorities: [4]int{900, 0, 200, 1}, CodeFrom: "SourceName"}},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s is\n%+v, want\n%+v", name, pair[0], pair[1])
		}
	}
	tag := d.Tags[0]
	if tag.Node != "nsu=urn:filler;s=Filler.Level;3" || *tag.Index != 2 || tag.Seen().Type != "float32" || f.Events != nil {
		t.Errorf("tag is %+v", tag)
	}
	c.MoveDataDir("/tmp/demo")
	if d.OPCUA.ClientCertFile != "/tmp/demo/opcua/own.der" || e.OPCUA.ClientKeyFile != "/etc/edgeagent/own.pem" {
		t.Errorf("after the move: %s and %s", d.OPCUA.ClientCertFile, e.OPCUA.ClientKeyFile)
	}
}

// TestFetchTellsValuesApart changes each key that a value depends on; what it
// does not depend on leaves the text as it is.
func TestFetchTellsValuesApart(t *testing.T) {
	const device = "[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\nunit = 1\n[[device.tag]]\nname = \"t\"\naddress = \"holding:100\"\ntype = \"uint32\"\n"
	const node = "[[device]]\nname = \"d\"\nurl = \"opc.tcp://h\"\nopcua = { security = \"None\" }\n[[device.tag]]\nname = \"t\"\naddress = \"ns=2;s=a\"\ntype = \"uint32\"\n"
	of := func(text string) string { return mustParse(t, minimal+text).Devices[0].Tags[0].Fetch }
	tests := []struct {
		base, old, new string
		same           bool
	}{
		{device, "//h", "//g", false},
		{device, "unit = 1", "unit = 2", false},
		{device, "holding:100", "holding:101", false},
		{device, "holding:100", "input:100", false},
		{device, "holding:100", "40101", true},
		{device, "holding:100", "0x64", true},
		{device, "uint32", "int32", false},
		{device, "unit = 1", "order = \"CDAB\"", false},
		{device, "\"uint32\"", "\"string\"\nlength = 2", false},
		{device, "\"uint32\"", "\"uint32\"\nscale = 2", false},
		{device, "\"uint32\"", "\"uint32\"\noffset = 2", false},
		{device, "\"uint32\"", "\"uint32\"\nscaling = { raw = [0, 1], eng = [0, 2] }", false},
		{device, "\"uint32\"", "\"uint32\"\nmin = 5\neng_unit = \"bar\"\nscan = \"5s\"\ndeadband = 3", true},
		{device, "unit = 1", "unit = 1\nscan = \"5s\"\ntimeout = \"2s\"", true},
		{node, "ns=2;s=a", "ns=2;s=b", false},
		{node, "\"uint32\"", "\"uint32\"\nindex = 0", false},
	}
	for _, tt := range tests {
		changed := strings.Replace(tt.base, tt.old, tt.new, 1)
		if tt.new == "0x64" {
			changed = strings.Replace(tt.base, "holding:100", "holding:0x64", 1)
		}
		if same := of(changed) == of(tt.base); same != tt.same {
			t.Errorf("%q instead of %q: same is %t", tt.new, tt.old, same)
		}
	}
}

// TestCredentialPaths: a key may stand where systemd puts it.
func TestCredentialPaths(t *testing.T) {
	text := minimal + "[[device]]\nname = \"a\"\nurl = \"modbus-tls://h\"\nca_file = \"ca.pem\"\n" +
		"client_cert_file = \"own.crt\"\nclient_key_file = \"$CREDENTIALS_DIRECTORY/own.key\"\n"
	for env, want := range map[string]string{"": "$CREDENTIALS_DIRECTORY/own.key", "/run/credentials/x": "/run/credentials/x/own.key"} {
		t.Setenv("CREDENTIALS_DIRECTORY", env)
		if got := mustParse(t, text).Devices[0].ClientKeyFile; got != want {
			t.Errorf("with %q it is %s, want %s", env, got, want)
		}
	}
}

func TestPathsOfAnIncludedFile(t *testing.T) {
	path := folder(t, map[string]string{
		"config.toml": "include = [\"plant/a.toml\"]\nMINIMAL",
		"plant/a.toml": `[[device]]
name = "a"
url = "modbus-tls://h"
ca_file = "pki/ca.pem"
[[template]]
name = "t"
ca_file = "pki/template.pem"
[[device_list]]
template = "t"
file = "lists/b.csv"
`,
		"plant/lists/b.csv": "name,url,client_cert_file,client_key_file\nb,modbus-tls://g,own.crt,../own.key\n",
	})
	c := mustLoad(t, path)
	got := []string{c.Devices[0].CAFile, c.Devices[1].CAFile, c.Devices[1].ClientCertFile, c.Devices[1].ClientKeyFile}
	plant := filepath.Join(filepath.Dir(path), "plant")
	want := []string{plant + "/pki/ca.pem", plant + "/pki/template.pem", plant + "/lists/own.crt", plant + "/own.key"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
