package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"edgeagent/plc"
)

// What concerns a safety function never gets a model's advice, so an alarm
// must inherit it from the tags that raise it.
func TestAlarmsOnSafetyTags(t *testing.T) {
	r := newRig(t, `
[[device]]
name = "filler"
url = "modbus-tcp://127.0.0.1:15999"
  [[device.tag]]
  name = "guard"
  address = "coil:0"
  safety = true
  [[device.tag]]
  name = "guard_count"
  address = "holding:0"
  type = "uint16"
  [[device.alarm]]
  code = "OPEN"
  when = "not guard"
  [[device.alarm]]
  code = "CLEARS"
  when = "guard_count > 9"
  clear = "guard and guard_count < 5"
  [[device.alarm]]
  code = "COUNT"
  when = "guard_count > 5"
  context = ["guard"]
`)
	want := map[string]bool{"OPEN": true, "CLEARS": true, "COUNT": false}
	rules, _ := definitions(r.load())
	for _, rule := range rules {
		if rule.Safety != want[rule.Code] {
			t.Errorf("%s: safety is %v", rule.Code, rule.Safety)
		}
	}
}

// Units behind one gateway share its connection; a disabled device raises
// nothing.
func TestConnectionsShareAnEndpoint(t *testing.T) {
	gateway, alone := startPanel(t), startPanel(t)
	second := gateway.device("second") + "\n"
	r := newRig(t, gateway.device("first"), alone.device("alone"))
	cfg := r.load()
	if n := len(connections(cfg, plc.Options{})); n != 2 {
		t.Errorf("%d connections to 2 endpoints", n)
	}
	r.write(gateway.device("first"), alone.device("alone"), unit2(second))
	cfg = r.load()
	conns := connections(cfg, plc.Options{})
	if len(conns) != 2 || len(conns[0].Status()) != 2 {
		t.Errorf("%d connections, the first with %d units", len(conns), len(conns[0].Status()))
	}
	cfg.Devices[0].Enabled = false
	if rules, o := definitions(cfg); len(rules) != 2 || !slices.Equal(o.Disabled, []string{cfg.Devices[0].Name}) {
		t.Errorf("%d rules of 2 enabled devices, disabled %q", len(rules), o.Disabled)
	}
}

// Another address or unit is another device: what it was stopped on is gone.
func TestConnectionKey(t *testing.T) {
	cfg := newRig(t, startPanel(t).device("filler")).load()
	d := cfg.Devices[0]
	key := connectionKey(d)
	renamed, moved := d, d
	renamed.Name, renamed.Scan = "other", 0
	moved.Unit = 2
	if connectionKey(renamed) != key || connectionKey(moved) == key {
		t.Error("the key follows something else than url and unit")
	}
}

func unit2(device string) string { return strings.Replace(device, "scan =", "unit = 2\nscan =", 1) }

// Who pays for every byte of a link sets "0s", which an uploader takes for its
// default of a minute.
func TestNoHeartbeatIsNone(t *testing.T) {
	a := &agent{}
	for text, want := range map[string]func(time.Duration) bool{
		`heartbeat = "0s"`:  func(d time.Duration) bool { return d > 365*24*time.Hour },
		`heartbeat = "90s"`: func(d time.Duration) bool { return d == 90*time.Second },
		``:                  func(d time.Duration) bool { return d == time.Minute },
	} {
		cfg := newRig(t, "[[sync]]\nname = \"up\"\nurl = \"https://127.0.0.1:1/\"\n"+text).load()
		if o := uploaderOptions(cfg, cfg.Sync[0], nil, nil, nil, a); !want(o.Heartbeat) {
			t.Errorf("%s: every %v", text, o.Heartbeat)
		}
	}
}
