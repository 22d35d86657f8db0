package exports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// source is one tag of an Ignition export, from JSON or CSV alike.
type source struct {
	line                       int
	path                       string // folder/name
	dataType, item, server     string
	unit, documentation        string
	scaleMode, clampMode       string
	rawLow, rawHigh            *float64
	scaledLow, scaledHigh      *float64
	alarms                     []json.RawMessage
	valueSource, tagType, bind string // bind: why the address is not fixed
}

// readIgnition reads a tag export of Ignition: JSON, or the CSV of version 7.
func readIgnition(in *reading) error {
	text, _ := decode(in.data)
	var sources []source
	var err error
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		sources, err = in.ignitionJSON(text)
	} else {
		sources, err = in.ignitionCSV()
	}
	if err != nil {
		return err
	}
	return in.takeIgnition(sources)
}

// endpoint tells the devices of one export apart: the name in brackets of the
// gateway's own drivers, with the unit id if the address has one, or the name
// of another OPC UA server.
func (s *source) endpoint() (string, string, ignitionAddress, bool) {
	item := strings.TrimSpace(s.item)
	body := item
	if isNode(body) {
		if _, after, found := strings.Cut(body, ";s="); found {
			body = after
		}
	}
	device, address, bracketed := strings.Cut(strings.TrimPrefix(body, "["), "]")
	own := s.server == "" || strings.HasPrefix(strings.ToLower(s.server), "ignition opc")
	if !own || !strings.HasPrefix(body, "[") || !bracketed {
		return cmp.Or(s.server, "OPC UA"), item, ignitionAddress{}, false
	}
	a, ok := parseIgnition(address)
	if ok && a.unit != "" {
		return device + "." + a.unit, address, a, true
	}
	return device, address, a, ok
}

// takeIgnition takes the tags of the one device that Options names, or that is
// the only one.
func (in *reading) takeIgnition(sources []source) error {
	devices, foreign, first, last := map[string]int{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range sources {
		s := &sources[i]
		if why := s.unreadable(); why != "" {
			continue
		}
		device, address, a, modbus := s.endpoint()
		devices[device]++
		first[device] = first[device] || modbus && a.number == 0
		last[device] = last[device] || modbus && a.number == 1<<16
		if !modbus && address != strings.TrimSpace(s.item) {
			foreign[device] = true // a bracket, and no address of the Modbus driver behind it
		}
	}
	if in.options.Device == "" && len(devices) > 1 {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(devices)) {
			names = append(names, fmt.Sprintf("%s (%d)", oneLine(name, 60), devices[name]))
		}
		return fmt.Errorf("the export holds tags of several devices; name one with --device: %s", strings.Join(names, ", "))
	}
	if name := in.options.Device; name != "" && devices[name] == 0 {
		return fmt.Errorf("no tag of device %q is in the export; there are %s", name, strings.Join(slices.Sorted(maps.Keys(devices)), ", "))
	}
	t := &ignition{reading: in, foreign: foreign, first: first, last: last, codes: coder{}}
	for i := range sources {
		t.take(&sources[i])
	}
	t.notes()
	return nil
}

// unreadable says why a tag has no address of a device.
func (s *source) unreadable() string {
	switch {
	case strings.HasPrefix(s.tagType, "Udt"):
		return fmt.Sprintf("it is a UDT (%s): its addresses come from parameters; export its tags resolved", s.tagType)
	case s.bind != "":
		return s.bind
	case s.valueSource != "" && !strings.EqualFold(s.valueSource, "opc"):
		return fmt.Sprintf("it is no OPC tag but %s", oneLine(s.valueSource, 40))
	case strings.TrimSpace(s.item) == "":
		return "it has no OPC item path"
	}
	return ""
}

// finite reads a number of the export; none is nil, and null is none.
func finite(raw json.RawMessage) *float64 {
	var f *float64
	if json.Unmarshal(raw, &f) != nil {
		return nil
	}
	return f
}
