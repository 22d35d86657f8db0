package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"time"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/config"
	"edgeagent/internal/retry"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/plc/opcua"
)

// This file turns the plant of the configuration into connections and alarms.

func tagSpecs(tags []config.Tag) []plc.TagSpec {
	specs := make([]plc.TagSpec, 0, len(tags))
	for _, t := range tags {
		s := plc.TagSpec{
			Tag: t.Tag, Addr: t.Addr, Node: t.Node, Index: t.Index, Order: t.Order, Length: t.Length,
			Encoding: t.String.Encoding, Header: t.String.Header, Pad: t.String.Pad,
			Scale: t.Scale, Offset: t.Offset, Scan: t.Scan,
		}
		if t.Scaling != nil {
			s.Scaling = &plc.Scaling{Raw: t.Scaling.Raw, Eng: t.Scaling.Eng, Clamp: t.Scaling.Clamp}
		}
		specs = append(specs, s)
	}
	return specs
}

func deviceSpec(d config.Device) plc.DeviceSpec {
	spec := plc.DeviceSpec{
		Name: d.Name, Line: d.Line, URL: d.URL, Protocol: d.Protocol, Unit: uint8(d.Unit),
		Scan: d.Scan, Timeout: d.Timeout, Pause: d.Pause, ConnectDelay: d.ConnectDelay, CloseAfterScan: d.CloseAfterScan,
		MaxRegisters: d.MaxRegisters, MaxBits: d.MaxBits, MaxGap: d.MaxGap, NeverRead: ranges(d.NeverRead),
		Retry:       retry.Backoff{First: d.Retry.First, Max: d.Retry.Max},
		ResumeEvery: d.Resume, Enabled: d.Enabled, Key: connectionKey(d), Tags: tagSpecs(d.Tags),
	}
	if d.Protocol == config.OPCUAProtocol {
		spec.Unit = 0 // has none
	}
	if d.Heartbeat != nil {
		spec.Heartbeat = &plc.Heartbeat{Tag: d.Heartbeat.Tag, Within: d.Heartbeat.Within}
	}
	return spec
}

func ranges(spans []config.Span) []plc.AddressRange {
	out := make([]plc.AddressRange, 0, len(spans))
	for _, s := range spans {
		out = append(out, plc.AddressRange{Area: s.Area, From: s.First, To: s.Last})
	}
	return out
}

// connectionKey identifies what a stopped device was stopped on: another
// address, unit or identity is another connection and starts anew.
func connectionKey(d config.Device) string {
	text := fmt.Sprintf("%s|%d", d.URL, d.Unit)
	if u := d.OPCUA; u != nil {
		text += fmt.Sprintf("|%s|%s|%s|%s|%s|%s", u.Security, u.Mode, u.ServerCertFile, u.ClientCertFile, u.User, u.UserCertFile)
	}
	if d.Protocol == config.ModbusTLS {
		text += fmt.Sprintf("|%s|%s|%s", d.CAFile, d.ClientCertFile, d.ServerName)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// connections groups the devices by endpoint: units behind one gateway or on
// one serial line share its connection. Every OPC UA device has a session of
// its own.
func connections(cfg *config.Config, o plc.Options) []connection {
	var all []connection
	shared := map[string][]config.Device{}
	var order []string
	for _, d := range cfg.Devices {
		if d.Protocol == config.OPCUAProtocol {
			all = append(all, plc.NewSubscription(opcua.New(opcuaOptions(cfg, d, o.Log)), deviceSpec(d), o))
			continue
		}
		if shared[d.Host] == nil {
			order = append(order, d.Host)
		}
		shared[d.Host] = append(shared[d.Host], d)
	}
	for _, host := range order {
		all = append(all, polled(shared[host], o))
	}
	return all
}

// polled is one line with the units on it; their keys of the connection are
// equal.
func polled(devices []config.Device, o plc.Options) connection {
	specs := make([]plc.DeviceSpec, len(devices))
	for i, d := range devices {
		specs[i] = deviceSpec(d)
	}
	return plc.NewConnection(modbus.New(linkOptions(devices, o.Log)), specs, o)
}

func linkOptions(devices []config.Device, log *slog.Logger) modbus.Options {
	d := devices[0]
	o := modbus.Options{
		Addr: d.Host, Timeout: d.Timeout, Pause: d.Pause, ConnectDelay: d.ConnectDelay, Log: log,
		NeverRead: func(unit uint8, area edgeagent.Area, from, to uint16) bool {
			return forbidden(devices, unit, area, from, to)
		},
	}
	switch d.Protocol {
	case config.ModbusTLS:
		o.TLSFiles = &modbus.TLSFiles{CA: d.CAFile, ClientCert: d.ClientCertFile, ClientKey: d.ClientKeyFile, ServerName: d.ServerName}
	case config.ModbusRTUTCP:
		o.Framing = modbus.FramingRTU
	case config.ModbusRTU:
		o.Serial = &modbus.Serial{Baud: d.Serial.Baud, Parity: d.Serial.Parity, DataBits: d.Serial.DataBits, Stop: d.Serial.Stop}
	}
	return o
}

func forbidden(devices []config.Device, unit uint8, area edgeagent.Area, from, to uint16) bool {
	return slices.ContainsFunc(devices, func(d config.Device) bool {
		return d.Unit == int(unit) && slices.ContainsFunc(d.NeverRead, func(s config.Span) bool {
			return s.Area == area && s.First <= to && from <= s.Last
		})
	})
}

func opcuaOptions(cfg *config.Config, d config.Device, log *slog.Logger) opcua.Options {
	u := d.OPCUA
	o := opcua.Options{
		Endpoint: d.URL, Security: u.Security, Mode: u.Mode, ServerCertFile: u.ServerCertFile,
		ClientCertFile: u.ClientCertFile, ClientKeyFile: u.ClientKeyFile,
		User: u.User, UserCertFile: u.UserCertFile, UserKeyFile: u.UserKeyFile,
		Timeout: d.Timeout, Watchdog: u.Watchdog, ApplicationName: "edgeagent/" + cfg.Agent.ID,
		Tags: deviceSpec(d).Tags, Log: log, ClockSynced: clockSynced,
	}
	if u.Password.IsSet() {
		o.Password = u.Password.Read
	}
	if e := d.Events; e != nil {
		o.Events = &opcua.Events{Source: e.Source, MinSeverity: e.MinSeverity, Priorities: e.Priorities, CodeFrom: e.CodeFrom}
	}
	return o
}

// ensureCertificates makes the agent's own certificates that are not there
// yet. A device whose certificate is missing says so when it connects.
func ensureCertificates(cfg *config.Config, log *slog.Logger) {
	host, err := os.Hostname()
	if err != nil {
		host = cfg.Agent.ID
	}
	uri := "urn:edgeagent:" + cfg.Agent.Site + ":" + cfg.Agent.ID
	for _, d := range cfg.Devices {
		if d.OPCUA == nil || d.OPCUA.ClientCertFile == "" || !d.Enabled {
			continue
		}
		if err := opcua.EnsureCertificate(d.OPCUA.ClientCertFile, d.OPCUA.ClientKeyFile, uri, []string{host}, time.Now()); err != nil {
			log.Error("own certificate not ready", "device", d.Name, "error", err)
		}
	}
}

// plainTags returns every tag as all rooms know it, and the line of each device.
func plainTags(cfg *config.Config) ([]edgeagent.Tag, map[string]string) {
	var tags []edgeagent.Tag
	lines := map[string]string{}
	for _, d := range cfg.Devices {
		lines[d.Name] = d.Line
		for _, t := range d.Tags {
			tags = append(tags, t.Seen())
		}
	}
	return tags, lines
}

// newEngine builds the alarms of the plant.
func newEngine(cfg *config.Config, all []edgeagent.Tag, lines map[string]string) (*alarm.Engine, error) {
	rules, o := definitions(cfg)
	o.Devices = lines
	e, err := alarm.New(rules, all, o)
	if err != nil {
		return nil, fmt.Errorf("build the alarms: %w", err)
	}
	return e, nil
}

// definitions returns what can raise an alarm; a disabled device raises none.
func definitions(cfg *config.Config) ([]alarm.Rule, alarm.Options) {
	o := alarm.Options{Lines: areas(cfg), MaxShelve: cfg.Alarms.MaxShelve, Modes: modes(cfg)}
	var rules []alarm.Rule
	for _, d := range cfg.Devices {
		if !d.Enabled {
			o.Disabled = append(o.Disabled, d.Name)
			continue
		}
		area := cfg.Line(d.Line).Area
		rules = append(rules, alarmRules(d, area)...)
		o.Words = append(o.Words, alarmWords(d, area)...)
		o.Codes = append(o.Codes, alarmCodes(d, area)...)
		if d.Events != nil {
			o.Servers = append(o.Servers, alarm.Server{Device: d.Name, Line: d.Line, Area: area, Diagnose: d.Events.Diagnose})
		}
	}
	return rules, o
}

func alarmRules(d config.Device, area string) []alarm.Rule {
	rules := make([]alarm.Rule, 0, len(d.Alarms))
	for _, a := range d.Alarms {
		rules = append(rules, alarm.Rule{
			Device: d.Name, Line: d.Line, Area: area, Code: a.Code, When: a.When, Clear: a.Clear,
			OnDelay: a.OnDelay, OffDelay: a.OffDelay, Priority: a.Priority, Text: a.Text, Context: a.Context,
			InhibitedBy: a.InhibitedBy, ActiveIn: a.ActiveIn, Settle: a.Settle, Diagnose: a.Diagnose, Safety: onSafety(a, d.Tags),
		})
	}
	return rules
}

func alarmWords(d config.Device, area string) []alarm.Word {
	out := make([]alarm.Word, 0, len(d.Words))
	for _, w := range d.Words {
		t := tagOf(d, w.Tag)
		out = append(out, alarm.Word{
			Device: d.Name, Line: d.Line, Area: area, Tag: w.Tag, Bits: 16 * cmp.Or(t.Registers(), 1), FirstBit: w.FirstBit, Swap: w.Swap,
			Rows: alarmTexts(w.Rows), Priority: w.Priority, Diagnose: w.Diagnose, Safety: t.Safety, Context: w.Context,
			OnDelay: w.OnDelay, OffDelay: w.OffDelay,
		})
	}
	return out
}

func alarmCodes(d config.Device, area string) []alarm.Code {
	out := make([]alarm.Code, 0, len(d.Codes))
	for _, c := range d.Codes {
		out = append(out, alarm.Code{
			Device: d.Name, Line: d.Line, Area: area, Tag: c.Tag, None: c.None, Rows: alarmTexts(c.Rows),
			Priority: c.Priority, Diagnose: c.Diagnose, Safety: tagOf(d, c.Tag).Safety, Context: c.Context,
		})
	}
	return out
}

func alarmTexts(rows []config.AlarmText) []alarm.Text {
	out := make([]alarm.Text, 0, len(rows))
	for _, r := range rows {
		out = append(out, alarm.Text{Number: r.Number, Code: r.Code, Priority: r.Priority, Text: r.Text, ActiveIn: r.ActiveIn})
	}
	return out
}

// tagOf returns a tag that the configuration has checked to be there.
func tagOf(d config.Device, name string) config.Tag {
	i := slices.IndexFunc(d.Tags, func(t config.Tag) bool { return t.Name == name })
	if i < 0 {
		return config.Tag{}
	}
	return d.Tags[i]
}

func modes(cfg *config.Config) map[string][]alarm.Mode {
	out := map[string][]alarm.Mode{}
	for _, l := range cfg.Lines {
		for _, m := range l.Modes {
			out[l.Name] = append(out[l.Name], alarm.Mode{Name: m.Name, When: m.When})
		}
	}
	return out
}

var words = regexp.MustCompile(`[a-z_][a-z0-9_]*`)

// onSafety reports whether an alarm speaks of a safety function: a tag of its
// expressions is one. Then no model's advice is shown.
func onSafety(a config.Alarm, tags []config.Tag) bool {
	named := words.FindAllString(a.When+" "+a.Clear, -1)
	return slices.ContainsFunc(tags, func(t config.Tag) bool { return t.Safety && slices.Contains(named, t.Name) })
}

// areas returns the area of every line that a device stands in.
func areas(cfg *config.Config) map[string]string {
	out := map[string]string{}
	for _, l := range cfg.Lines {
		out[l.Name] = l.Area
	}
	return out
}
