package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"edgeagent"
)

// folder writes files into a fresh directory and returns the path of its
// config.toml, which begins with the minimal configuration.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	path := written(t, "")
	for name, text := range files {
		file := filepath.Join(filepath.Dir(path), name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if name == "config.toml" {
			text = strings.Replace(text, "MINIMAL", minimal, 1)
		}
		overwrite(t, file, text)
	}
	return path
}

func mustLoad(t *testing.T, path string) *Config {
	t.Helper()
	c, err := Load(path, checks)
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return c
}

const tagsTOML = `
  [[device.tag]]
  name = "level"
  address = "holding:100"
  type = "float32"
  order = "CDAB"
  scaling = { raw = [0, 27648], eng = [0, 12.5], clamp = true }
  eng_unit = "m³/h; gross"
  deadband = 0.5
  min = -1.5
  max = 12.5
  scan = "500ms"
  safety = true
  [[device.tag]]
  name = "recipe"
  address = "40010"
  type = "string"
  length = 8
  string = { encoding = "utf8", header = "s7", pad = "space" }
  [[device.tag]]
  name = "state"
  address = "holding:40001"
  raw_address = true
  type = "int16"
  scale = 1
  enum = { 6 = "Execute", -2 = "Stopped" }
  [[device.tag]]
  name = "temperature"
  address = "%MW7"
  type = "uint16"
  scale = 0.1
  offset = -40
`

var tagsCSV = []string{
	"Name,COMMENT,address,type,order,raw_low,raw_high,eng_low,eng_high,clamp,eng_unit,deadband,min,max,scan,safety,length,encoding,header,pad,enum,raw_address,scale,offset",
	`level,"two` + "\n" + `lines",holding:100,float32,CDAB,0,27648,0,12.5,TRUE,"m³/h; gross",0.5,-1.5,12.5,500ms,yes,,,,,,,,`,
	"recipe,,40010,string,,,,,,,,,,,,,8,utf8,s7,space,,,,",
	"",
	"# state of the machine",
	"state,,holding:40001,int16,,,,,,,,,,,,no,,,,,6=Execute | -2=Stopped,1,1,",
	"temperature,,%MW7,uint16,,,,,,,,,,,,,,,,,,,0.1,-40",
	",,,,,,,,,,,,,,,,,,,,,,,",
}

func utf16Bytes(text string, big bool) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return string(out)
}

// TestTagsFileEqualsTOML: however a spreadsheet writes them, the tags are those
// of the same keys in TOML.
func TestTagsFileEqualsTOML(t *testing.T) {
	device := "MINIMAL[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\norder = \"DCBA\"\n"
	want := mustLoad(t, folder(t, map[string]string{"config.toml": device + tagsTOML})).Devices[0].Tags
	if len(want) != 4 || want[0].Scaling == nil || want[2].Enum[-2] != "Stopped" {
		t.Fatalf("tags are %+v", want)
	}
	plain := strings.Join(tagsCSV, "\n")
	german := strings.NewReplacer("m³/h; gross", "m³/h; gross", ",", ";", "12.5", "12,5", "0.1", "0,1", "0.5", "0,5", "-1.5", "-1,5", "TRUE", "WAHR", "yes", "ja", "no;", "nein;").Replace(plain)
	for name, csv := range map[string]string{
		"commas":             plain,
		"semicolons":         german,
		"tabs":               strings.ReplaceAll(plain, ",", "\t"),
		"CRLF and mark":      "\ufeff" + strings.ReplaceAll(plain, "\n", "\r\n"),
		"separator line":     "sep=;\r\n" + german,
		"UTF-16 with a mark": utf16Bytes("\ufeff"+german, false),
		"UTF-16 big-endian":  utf16Bytes("\ufeff"+strings.ReplaceAll(plain, "\n", "\r\n"), true),
		"UTF-16 unmarked":    utf16Bytes(plain, false),
	} {
		t.Run(name, func(t *testing.T) {
			path := folder(t, map[string]string{"config.toml": device + "tags_file = \"sub/tags.csv\"\n", "sub/tags.csv": csv})
			if got := mustLoad(t, path).Devices[0].Tags; !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// TestTagColumnsAreComplete: each column stands for a key of a tag, and each key
// has a column.
func TestTagColumnsAreComplete(t *testing.T) {
	row := []cell{}
	f := &csvFile{}
	for _, c := range TagColumns {
		f.header, row = append(f.header, cell{text: c}), append(row, cell{text: "1"})
	}
	l := &loader{problems: &problems{}}
	l.open(newSource("x.csv", ".", nil), "")
	at := l.columns(f, func(c string) bool { return slices.Contains(TagColumns, c) }, TagColumns)
	got := (&rowMaker{loader: l, csvFile: f, at: at}).tag(row)
	r := &reader{problems: l.problems}
	s := r.section(newTable("", 0), "device.tag", nil)
	r.tag(s, r.section(newTable("", 0), "device", nil), Device{})
	for _, key := range s.asked {
		if key != "enum" && got.get(key) == nil { // "1" is no enum
			t.Errorf("no column makes %q", key)
		}
	}
	for _, e := range got.entries {
		if !s.knows(e.key) {
			t.Errorf("a column makes %q, which no tag has", e.key)
		}
	}
}

const pumps = `MINIMAL
[[line]]
name = "L"

[[template]]
name = "pump"
scan = "{scan}"
never_read = ["holding:{base+20}-{base+29}"]
tags_file = "pump.csv"
  [[template.tag]]
  name = "pressure"
  address = "holding:{base}"
  type = "float32"
  max = "{limit}"
  [[template.alarm]]
  code = "P{no}"
  when = "pressure"
  text = { en = "Pump {name} {{raw}}", de = "Pumpe {name}" }
  [[template.alarm_word]]
  tag = "alm"
  texts_file = "alarms.csv"
`

// TestTemplates makes the same device from a row, from vars and by hand.
func TestTemplates(t *testing.T) {
	files := map[string]string{
		"pump.csv":   "name,address,type\nalm,holding:{base + 2},uint16\nspeed,holding:{base+10-7},uint16\n",
		"alarms.csv": "bit;code;text\n0;P{no}.0;{name} blocked\n",
		"pumps.csv":  "NAME;line;url;unit;base;no;scan;limit;comment\np7;L;modbus-tcp://h;7;0x64;7;200ms;8,5;the old one\n",
		"config.toml": pumps + `
[[device_list]]
template = "pump"
file = "pumps.csv"
`,
	}
	list := mustLoad(t, folder(t, files)).Devices[0]
	files["config.toml"] = pumps + `
[[device]]
name = "p7"
line = "L"
url = "modbus-tcp://h"
unit = 7
template = "pump"
vars = { base = 100, no = 7, scan = "200ms", limit = 8.5 }
`
	vars := mustLoad(t, folder(t, files)).Devices[0]
	files["config.toml"] = `MINIMAL
[[device]]
name = "p7"
line = "L"
url = "modbus-tcp://h"
unit = 7
scan = "200ms"
never_read = ["holding:120-129"]
  [[device.tag]]
  name = "pressure"
  address = "holding:100"
  type = "float32"
  max = 8.5
  [[device.tag]]
  name = "alm"
  address = "holding:102"
  type = "uint16"
  [[device.tag]]
  name = "speed"
  address = "holding:103"
  type = "uint16"
  [[device.alarm]]
  code = "P7"
  when = "pressure"
  text = "Pump p7 {raw}"
  [[device.alarm_word]]
  tag = "alm"
  texts_file = "texts.csv"
`
	files["texts.csv"] = "bit,code,text\n0,P7.0,p7 blocked\n"
	want := mustLoad(t, folder(t, files)).Devices[0]
	want.Template = "pump"
	for i := range want.Tags { // holding:0x64 is the same place written otherwise
		if list.Tags[i].Addr != want.Tags[i].Addr || list.Tags[i].Fetch != want.Tags[i].Fetch {
			t.Errorf("tag %s of the list is at %s", want.Tags[i].Name, list.Tags[i].Addr)
		}
		list.Tags[i].Address = want.Tags[i].Address
	}
	if !reflect.DeepEqual(list, want) || !reflect.DeepEqual(vars, want) {
		t.Errorf("the list makes\n%+v\nvars make\n%+v\nwant\n%+v", list, vars, want)
	}
	if got := list.Words[0].Rows[0]; got.Code != "P7.0" || got.Text != "p7 blocked" || got.Priority != 3 {
		t.Errorf("row is %+v", got)
	}
}

// TestOwnKeysGoFirst: what a device or a row says itself, the template does not.
func TestOwnKeysGoFirst(t *testing.T) {
	c := mustLoad(t, folder(t, map[string]string{
		"config.toml": `MINIMAL
[[template]]
name = "drive"
scan = "5s"
timeout = "2s"
retry = { first = "1s", max = "10s" }
  [[template.tag]]
  name = "speed"
  address = "holding:0"
  type = "uint16"

[[device]]
name = "a"
url = "modbus-tcp://h"
template = "drive"
scan = "1s"
retry = { max = "20s" }
  [[device.tag]]
  name = "extra"
  address = "holding:5"
  type = "uint16"

[[device_list]]
template = "drive"
file = "drives.csv"
`,
		"drives.csv": "name\turl\tunit\tscan\nb\tmodbus-tcp://h\t2\t\nc\tmodbus-tcp://h\t3\t3s\n",
	}))
	if len(c.Devices) != 3 {
		t.Fatalf("%d devices", len(c.Devices))
	}
	a, b, third := c.Devices[0], c.Devices[1], c.Devices[2]
	if a.Scan != time.Second || a.Timeout != 2*time.Second || a.Retry != (Retry{First: time.Second, Max: 20 * time.Second}) {
		t.Errorf("a is %+v", a)
	}
	if len(a.Tags) != 2 || a.Tags[0].Name != "speed" || a.Tags[1].Name != "extra" {
		t.Errorf("tags of a are %+v", a.Tags)
	}
	if b.Scan != 5*time.Second || third.Scan != 3*time.Second || b.Template != "drive" || b.Tags[0].Device != "b" {
		t.Errorf("b is %+v, c scans every %s", b, third.Scan)
	}
}

// TestTemplateAcrossFiles: a template, its list and its tables stand in different
// files, and each names the next relative to itself.
func TestTemplateAcrossFiles(t *testing.T) {
	c := mustLoad(t, folder(t, map[string]string{
		"config.toml":       "include = [\"plant/*.toml\"]\nMINIMAL",
		"plant/a-pump.toml": "[[template]]\nname = \"pump\"\nurl = \"modbus-tcp://{host}\"\ntags_file = \"pump.csv\"\n",
		"plant/pump.csv":    "name,address,type\nspeed,holding:1,uint16\n",
		"plant/b/list.csv":  "name,host\np1,h1\np2,h2\n",
		"plant/b.toml":      "[[device_list]]\ntemplate = \"pump\"\nfile = \"b/list.csv\"\n[[device]]\nname = \"x\"\nurl = \"modbus-tcp://h3\"\n",
		"plant/.c.toml":     "not read",
	}))
	var got []string
	for _, d := range c.Devices {
		got = append(got, d.Name+" "+d.Host)
	}
	if want := []string{"x h3:502", "p1 h1:502", "p2 h2:502"}; !reflect.DeepEqual(got, want) || len(c.Devices[2].Tags) != 1 {
		t.Errorf("devices are %q, want %q", got, want)
	}
}

func TestAlarmTexts(t *testing.T) {
	c := mustLoad(t, folder(t, map[string]string{
		"config.toml": `MINIMAL
[[line]]
name = "L"
  [[line.mode]]
  name = "cip"
  when = "d.alm > 0"

[[device]]
name = "d"
line = "L"
url = "modbus-tcp://h"
heartbeat = { tag = "alm" }
  [[device.tag]]
  name = "alm"
  address = "holding:1"
  type = "int32"
  [[device.tag]]
  name = "fault"
  address = "holding:3"
  type = "int16"
  [[device.alarm]]
  code = "A"
  when = "alm"
  inhibited_by = ["W1", "F-3"]
  active_in = ["cip", "unknown"]
  settle = "5s"
  [[device.alarm_word]]
  tag = "alm"
  first_bit = 1
  swap = "words"
  texts_file = "w.csv"
  priority = 2
  on_delay = "1s"
  off_delay = "2s"
  context = ["fault"]
  diagnose = false
  [[device.alarm_code]]
  tag = "fault"
  none = [0, -1]
  texts_file = "c.csv"

[llm]
language = "de"
`,
		"w.csv": "bit,code,priority,active_in,text_en,text_de\n1,W1,1,cip | unknown,one,eins\n32,,,,only English,\n0x10,W16,,,,\n",
		"c.csv": "text,text_fr,value,code\nplain,un,-3,F-3\n,deux,4,F4\n",
	}))
	d := c.Devices[0]
	word := AlarmWord{
		Tag: "alm", FirstBit: 1, Swap: "words", Priority: 2, OnDelay: time.Second, OffDelay: 2 * time.Second, Context: []string{"fault"},
		Rows: []AlarmText{
			{Number: 1, Code: "W1", Priority: 1, ActiveIn: []string{"cip", "unknown"}, Text: "eins"},
			{Number: 32, Code: "ALM.32", Priority: 2, Text: "only English"},
			{Number: 16, Code: "W16", Priority: 2, Text: "W16"},
		},
	}
	code := AlarmCode{Tag: "fault", None: []int64{0, -1}, Priority: 3, Diagnose: true, Rows: []AlarmText{
		{Number: -3, Code: "F-3", Priority: 3, Text: "plain"}, {Number: 4, Code: "F4", Priority: 3, Text: "deux"},
	}}
	if !reflect.DeepEqual(d.Words, []AlarmWord{word}) || !reflect.DeepEqual(d.Codes, []AlarmCode{code}) {
		t.Errorf("words are\n%+v\nwant\n%+v\ncodes are\n%+v\nwant\n%+v", d.Words, word, d.Codes, code)
	}
	if a := d.Alarms[0]; !reflect.DeepEqual(a.ActiveIn, []string{"cip", "unknown"}) || a.Settle != 5*time.Second || a.Line != "L" {
		t.Errorf("alarm is %+v", a)
	}
	if *d.Heartbeat != (Heartbeat{Tag: "alm", Within: 10 * time.Second}) || !reflect.DeepEqual(c.Line("L").Modes, []Mode{{"cip", "d.alm > 0"}}) {
		t.Errorf("heartbeat %+v, modes %+v", d.Heartbeat, c.Line("L").Modes)
	}
}

// TestModesSeeEveryDevice: the expression of a mode may name the tags of any
// device, bits as bits.
func TestModesSeeEveryDevice(t *testing.T) {
	var seen []string
	_, err := Parse("config.toml", []byte(minimal+`[[line]]
name = "L"
[[line.mode]]
name = "cip"
when = "a.x"
[[device]]
name = "a"
line = "L"
url = "modbus-tcp://h"
[[device.tag]]
name = "x"
address = "holding:1.3"
[[device]]
name = "b"
line = "L"
url = "opc.tcp://h"
opcua = { security = "None" }
[[device.tag]]
name = "y"
address = "i=2258"
type = "int16"
`), Checks{Mode: func(expr string, tags []edgeagent.Tag) error {
		for _, tag := range tags {
			seen = append(seen, expr+" "+tag.ID()+" "+string(tag.Type))
		}
		return nil
	}})
	if want := []string{"a.x a.x bool", "a.x b.y int16"}; err != nil || !reflect.DeepEqual(seen, want) {
		t.Errorf("seen %q, %v; want %q", seen, err, want)
	}
}

// What a server tells of a value that stands still are keep-alives alone: three
// fast scans without a change do not make it stale.
func TestSubscribedValuesAreFreshBetweenKeepAlives(t *testing.T) {
	for _, c := range []struct {
		url, keys string
		want      time.Duration
	}{
		{"modbus-tcp://127.0.0.1", "", 600 * time.Millisecond},
		{"opc.tcp://127.0.0.1", "opcua = { security = \"None\", watchdog = \"2s\" }\n", 6 * time.Second},
		{"opc.tcp://127.0.0.1", "stale_after = \"1s\"\nopcua = { security = \"None\" }\n", time.Second},
	} {
		address, kind := "holding:1", "uint16"
		if c.keys != "" {
			address, kind = "ns=1;s=x", "float64"
		}
		cfg, err := Parse("config.toml", fmt.Appendf(nil, "[agent]\nid = \"a\"\nsite = \"s\"\n[[device]]\nname = \"d\"\nurl = %q\nscan = \"200ms\"\n%s"+
			"[[device.tag]]\nname = \"x\"\naddress = %q\ntype = %q\n", c.url, c.keys, address, kind), Checks{})
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Devices[0].Tags[0].StaleAfter; got != c.want {
			t.Errorf("%s %s: stale after %v, want %v", c.url, c.keys, got, c.want)
		}
	}
}
