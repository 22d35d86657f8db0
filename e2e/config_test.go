package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// plan is what a test wants in its configuration.
type plan struct {
	devices   string
	cloud     string // base_url, empty for none
	local     string // base_url of an Ollama, empty for none
	upstreams []string
	agent     string // further keys of [agent]
	llm       string // further keys of [llm]
	cloudKeys string // further keys of the cloud provider
	window    string // group_window
	listen    string
	runbook   string
}

func (p plan) toml(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("[agent]\nid = \"gw-1\"\nsite = \"plant-a\"\ntimezone = \"UTC\"\n%s", p.agent)
	line("[log]\nformat = \"json\"")
	line("[status]\nlisten = %q", or(p.listen, "127.0.0.1:0"))
	line("[queue]\ngroup_window = %q", or(p.window, "100ms"))
	line("[llm]\n%s", or(p.llm, "daily_cap_usd = 100.0\njob_cap_usd = 1.0"))
	if p.cloud != "" {
		line("[[llm.provider]]\nname = \"cloud\"\nkind = \"openai\"\nbase_url = %q\nmodel = \"test-model\"\napi_key_env = \"E2E_KEY\"", p.cloud)
		line("price = { input = 1.0, output = 4.0 }\n%s", p.cloudKeys)
	}
	if p.local != "" {
		line("[[llm.provider]]\nname = \"local\"\nkind = \"ollama\"\nbase_url = %q\nmodel = \"test-local\"", p.local)
	}
	line("[[llm.provider]]\nname = \"runbook\"\nkind = \"runbook\"\npath = %q", or(p.runbook, "runbook"))
	for i, url := range p.upstreams {
		line("[[sync]]\nname = \"up%d\"\nurl = %q\nrequired = true\nheartbeat = \"5s\"\nretry = { first = \"1s\", max = \"5s\" }", i+1, url)
	}
	b.WriteString(p.devices)
	return b.String()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// peerDevice is one of the independent servers as a device of the
// configuration: every area, every order of a float, and an alarm. A server that
// stands still for a second or two with the whole machine is borne.
func peerDevice(name, addr, line, more string) string {
	return fmt.Sprintf(`
[[device]]
name = %q
line = %q
url = "modbus-tcp://%s"
unit = 1
scan = "200ms"
timeout = "2s"
stale_after = "10s"
%s
`, name, line, addr, more) + `
  [[device.tag]]
  name = "r0"
  address = "40001"
  type = "uint16"
  [[device.tag]]
  name = "r9"
  address = "holding:9"
  type = "int16"
  [[device.tag]]
  name = "in3"
  address = "30004"
  type = "uint16"
  [[device.tag]]
  name = "c3"
  address = "coil:3"
  type = "bool"
  [[device.tag]]
  name = "c4"
  address = "00005"
  type = "bool"
  [[device.tag]]
  name = "d5"
  address = "discrete:5"
  type = "bool"
  [[device.tag]]
  name = "f_abcd"
  address = "holding:100"
  type = "float32"
  order = "ABCD"
  [[device.tag]]
  name = "f_cdab"
  address = "holding:102"
  type = "float32"
  order = "CDAB"
  [[device.tag]]
  name = "f_badc"
  address = "holding:104"
  type = "float32"
  order = "BADC"
  [[device.tag]]
  name = "f_dcba"
  address = "holding:106"
  type = "float32"
  order = "DCBA"
  [[device.tag]]
  name = "fault"
  address = "holding:500"
  type = "uint16"
  [[device.alarm]]
  code = "E500"
  when = "fault > 0"
  priority = 2
  text = "Drive fault word set"
  context = ["fault", "r9"]
`
}
