package exports

import (
	"fmt"
	"strings"
	"testing"

	"edgeagent"
)

func ignitionTag(item, dataType, more string) string {
	return fmt.Sprintf(`{"name":"t","tagType":"AtomicTag","valueSource":"opc","opcItemPath":%q,"dataType":%q%s}`, item, dataType, more)
}

func TestIgnitionAddresses(t *testing.T) {
	cases := []struct {
		item, dataType, want string
		wantType             edgeagent.DataType
	}{
		{"[D]HR1", "Int2", "holding:0", "int16"},
		{"[D]hrus1", "Int4", "holding:0", "uint16"},
		{"ns=1;s=[D]HRI3", "Int4", "holding:2", "int32"},
		{"[D]7.HRUI_6410", "Int8", "holding:9", "uint64"},
		{"[D]HRI6410", "Int4", "holding:6409", "int32"},
		{"[D]HRBCD5", "Int4", "holding:4", "bcd16"},
		{"[D]HRBCD_325", "Int4", "holding:4", "bcd32"},
		{"[D]IRD65533", "Float8", "input:65532", "float64"},
		{"[D]HRS10:4", "String", "holding:9", "string"},
		{"[D]HR4.15", "Boolean", "holding:3.15", "bool"},
		{"[D]HRUI4.31", "Boolean", "holding:3.31", "bool"},
		{"[D]C65536", "Boolean", "coil:65535", "bool"},
		{"[D]HR0", "Int2", "holding:0", "int16"}, // there is no address 0 unless addresses begin with it
		{"[D]IRD65534", "Float8", "", ""},
		{"[D]HR4.16", "Boolean", "", ""},
		{"[D]HRF4.3", "Boolean", "", ""},
		{"[D]HRBCD4.3", "Boolean", "", ""},
		{"[D]C4.3", "Boolean", "", ""},
		{"[D]HR4", "String", "", ""},
		{"[D]HRS10:4", "Int2", "", ""},
		{"[D]HRS10:3", "String", "", ""},
		{"[D]HR65537", "Int2", "", ""},
		{"[D]HRX4", "Int2", "", ""},
		{"[D]Program:Main.Speed", "Float4", "", ""},
		{"[D]N7:0", "Int2", "", ""},
		{"", "Int2", "", ""},
		{"ns=2;s=Line.Speed", "DateTime", "", ""},
		{"free text", "Int2", "", ""},
	}
	for _, c := range cases {
		t.Run(c.item+" "+c.dataType, func(t *testing.T) {
			r := read(t, "ignition", ignitionTag(c.item, c.dataType, ""), Options{})
			if c.want == "" {
				if len(r.Tags) != 0 || len(r.Skipped) != 1 {
					t.Errorf("tags %+v, skipped %+v", r.Tags, r.Skipped)
				}
				return
			}
			if len(r.Tags) != 1 {
				t.Fatalf("skipped %+v", r.Skipped)
			}
			a, err := edgeagent.ParseAddress(r.Tags[0].Address, false)
			if err != nil || a.String() != c.want || r.Tags[0].Type != c.wantType {
				t.Errorf("%s is %v, %s, %v; want %s, %s", r.Tags[0].Address, a, r.Tags[0].Type, err, c.want, c.wantType)
			}
		})
	}
}

func TestIgnitionNodesOfOtherServers(t *testing.T) {
	for _, item := range []string{"ns=2;s=Line.Speed", "nsu=urn:plant;i=7", "ns=3;s=[PLC]HR1"} {
		r := read(t, "ignition", ignitionTag(item, "Float4", `,"opcServer":"Plant server"`), Options{})
		if len(r.Tags) != 1 || r.Tags[0].Address != item || r.Tags[0].Type != "float32" {
			t.Errorf("%s: tags %+v, skipped %+v", item, r.Tags, r.Skipped)
		}
	}
}

// Two devices in one file would be two devices' values under one name.
func TestIgnitionAsksForTheDevice(t *testing.T) {
	text := "[" + strings.Join([]string{
		ignitionTag("[A]HR1", "Int2", ""), ignitionTag("[A]HR2", "Int2", ""), ignitionTag("[B]1.HR1", "Int2", ""), ignitionTag("[B]2.HR0", "Int2", ""),
	}, ",") + "]"
	_, err := Read("ignition", "f", strings.NewReader(text), Options{})
	if err == nil || !strings.Contains(err.Error(), "A (2), B.1 (1), B.2 (1)") {
		t.Errorf("error %v", err)
	}
	if _, err := Read("ignition", "f", strings.NewReader(text), Options{Device: "C"}); err == nil {
		t.Error("a device that is not there was taken")
	}
	r := read(t, "ignition", text, Options{Device: "B.1"})
	if len(r.Tags) != 1 || r.Tags[0].Address != "400001" || len(r.Skipped) != 0 {
		t.Errorf("tags %+v, skipped %+v", r.Tags, r.Skipped)
	}
}

// One address of another driver means that none of the device is Modbus: C5 may
// be a tag of that name.
func TestIgnitionDeviceOfAnotherDriver(t *testing.T) {
	text := "[" + ignitionTag("[L]C5", "Boolean", "") + "," + ignitionTag("[L]Motor.Speed", "Float4", "") + "]"
	r := read(t, "ignition", text, Options{})
	if len(r.Tags) != 0 || len(r.Skipped) != 2 {
		t.Errorf("tags %+v, skipped %+v", r.Tags, r.Skipped)
	}
}

func TestHostileJSON(t *testing.T) {
	for name, text := range map[string]string{
		"deep":      strings.Repeat(`{"tags":[`, 1000),
		"cut":       `{"name":"a","tags":[{"name":`,
		"no object": `[1,2]`,
		"no list":   `{"tags":{"a":1}}`,
		"no JSON":   `{"name" "a"}`,
		"very deep": strings.Repeat("[", 100_000),
	} {
		if r, err := Read("ignition", "f", strings.NewReader(text), Options{}); err == nil {
			t.Errorf("%s: read %+v", name, r)
		}
	}
	r := read(t, "ignition", `{"tags":null,"name":7,"tagType":[]}`, Options{})
	if len(r.Tags) != 0 {
		t.Errorf("tags %+v", r.Tags)
	}
}

// What is null is not there: it is no zero.
func TestIgnitionNullIsNoNumber(t *testing.T) {
	r := read(t, "ignition", ignitionTag("[D]HR1", "Int2", `,"scaleMode":"Linear","rawLow":0,"rawHigh":null,"scaledLow":0,"scaledHigh":100`), Options{})
	if len(r.Tags) != 0 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Why, "not whole") {
		t.Errorf("tags %+v, skipped %+v", r.Tags, r.Skipped)
	}
}

func TestIgnitionNamesEveryTagThatIsNotTaken(t *testing.T) {
	r := read(t, "ignition", `{"name":"","tagType":"Provider","tags":[{"name":"empty","tagType":"Folder","tags":[]},
		{"name":"setpoint","tagType":"AtomicTag","dataType":"Int4"},`+ignitionTag("[D]HR1", "Int2", "")+`]}`, Options{})
	if len(r.Tags) != 1 || len(r.Skipped) != 1 || r.Skipped[0].What != "setpoint" {
		t.Errorf("tags %+v, skipped %+v", r.Tags, r.Skipped)
	}
}

func TestIgnitionNamesDelaysThatAreLeftOut(t *testing.T) {
	for alarm, left := range map[string]bool{
		`{"name":"a","timeOnDelaySeconds":2.5}`:                          false,
		`{"name":"a","timeOnDelaySeconds":null,"timeOffDelaySeconds":0}`: false,
		`{"name":"a","timeOnDelaySeconds":{"bindType":"Expression"}}`:    true,
		`{"name":"a","timeOffDelaySeconds":90000}`:                       true,
		`{"name":"a","mode":"Bit","timeOnDelaySeconds":2}`:               true,
		`{"name":"a","mode":"Bit"}`:                                      false,
	} {
		r := read(t, "ignition", ignitionTag("[D]HR1", "Int2", `,"alarms":[`+alarm+`]`), Options{})
		if got := strings.Contains(strings.Join(r.Notes, "\n"), "1 alarms have a delay"); got != left || len(r.Skipped) != 0 {
			t.Errorf("%s: notes %q, skipped %+v", alarm, r.Notes, r.Skipped)
		}
	}
}

func TestIgnitionAlarms(t *testing.T) {
	cases := []struct{ dataType, item, alarm, want string }{
		{"Int2", "[D]HR1", `{"name":"a","setpointA":5}`, "t == 5"},
		{"Int2", "[D]HR1", `{"name":"a","mode":"Inequality","setpointA":"-5.5"}`, "t != -5.5"},
		{"Int2", "[D]HR1", `{"name":"a","mode":"BetweenValues","setpointA":1,"setpointB":2,"inclusiveB":false}`, "t >= 1 and t < 2"},
		{"Boolean", "[D]C1", `{"name":"a"}`, "not t"},
		{"Boolean", "[D]C1", `{"name":"a","setpointA":true}`, "t"},
		{"Boolean", "[D]C1", `{"name":"a","mode":"AboveValue"}`, ""},
		{"Int2", "[D]HR1", `{"name":"a","mode":"AnyChange"}`, ""},
		{"Int2", "[D]HR1", `{"name":"a","mode":{"bindType":"Expression"}}`, ""},
		{"Int2", "[D]HR1", `{"name":"a","enabled":{"bindType":"Tag"}}`, ""},
		{"Int2", "[D]HR1", `{"name":"a","mode":"AboveValue","setpointA":1e300}`, "t >= 1" + strings.Repeat("0", 300)},
		{"Int2", "[D]HR1", `7`, ""},
		{"String", "[D]HRS1:2", `{"name":"a"}`, ""},
	}
	for _, c := range cases {
		t.Run(c.alarm, func(t *testing.T) {
			r := read(t, "ignition", ignitionTag(c.item, c.dataType, `,"alarms":[`+c.alarm+`]`), Options{})
			switch {
			case c.want == "" && (len(r.Alarms) != 0 || len(r.Skipped) != 1):
				t.Errorf("alarms %+v, skipped %+v", r.Alarms, r.Skipped)
			case c.want != "" && (len(r.Alarms) != 1 || r.Alarms[0].When != c.want):
				t.Errorf("alarms %+v, skipped %+v; want %q", r.Alarms, r.Skipped, c.want)
			}
			sound(t, r)
		})
	}
}
