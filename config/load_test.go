package config

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// problemsOf parses what has to be refused.
func problemsOf(t *testing.T, data []byte) []Problem {
	t.Helper()
	_, err := Parse("config.toml", data, checks)
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("error is %v, want *Invalid", err)
	}
	return invalid.Problems
}

func TestContractExample(t *testing.T) {
	text := minimal + strings.Repeat("\n", 4) + `[[device]]
name = "d"
url = "modbus-tcp://h"
 [[device.tag]]
 name = "t"
 type = "uint16"
adress = "holding:1"
`
	_, err := Parse("config.toml", []byte(text), checks)
	want := `config.toml:14:1: unknown key "adress" in [[device.tag]]; did you mean "address"?`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestEveryErrorAtOnce puts one mistake of each kind into one file: syntax,
// unknown key, type, range, name, address, reference. All are found, in order.
func TestEveryErrorAtOnce(t *testing.T) {
	found := problemsOf(t, []byte(`[agent]
id = "GW"
site = "plant"
colour = 1
[queue]
workers = "2"
retain = "1s"
[[device]]
name = "d"
url = "modbus-tcp://h"
timeout = "11s"
  [[device.tag]]
  name = "t"
  address = "holding:70000"
  type = "uint16"
  [[device.tag]]
  name = "t"
  address = "coil:1"
  [[device.alarm]]
  code = "A"
  when = "x > 1"
  context = ["y"]
`))
	lines := make([]int, len(found))
	for i, p := range found {
		lines[i] = p.Line
	}
	if want := []int{2, 4, 6, 7, 11, 14, 17, 21, 22}; !reflect.DeepEqual(lines, want) {
		t.Errorf("problems in lines %v, want %v:\n%v", lines, want, &Invalid{found})
	}
}

func TestSyntaxErrorHidesNoOther(t *testing.T) {
	found := problemsOf(t, []byte("[agent]\nid = \"gw\nsite = \"plant\"\n[queue]\nwrkers = 1\nretain = 5\n[log]\nlevel = \"loud\"\n"))
	if len(found) != 4 || found[0].Line != 2 || found[3].Line != 8 {
		t.Errorf("got:\n%v", &Invalid{found})
	}
	for _, p := range found {
		if strings.Contains(p.Text, "needs") {
			t.Errorf("what could not be read is called missing: %s", p)
		}
	}
}

func TestEncodings(t *testing.T) {
	bom := append([]byte("\ufeff"), minimal...)
	tests := map[string]struct {
		data []byte
		want string // "" is accepted
	}{
		"plain":            {data: []byte(minimal)},
		"byte order mark":  {data: bom},
		"carriage returns": {data: bytes.ReplaceAll(bom, []byte("\n"), []byte("\r\n"))},
		"tabs":             {data: []byte("\t[agent]\n\tid\t=\t\"gw\"\n\tsite\t=\t\"p\"\t# x\n")},
		"no last newline":  {data: bytes.TrimSpace([]byte(minimal))},
		"only a mark":      {data: []byte("\ufeff"), want: "1:1: the file is empty"},
		"only space":       {data: []byte(" \r\n\t\n"), want: "1:1: the file is empty"},
		"UTF-32 mark":      {data: []byte{0xff, 0xfe, 0, 0, '[', 0, 0, 0}, want: "1:1: the file is UTF-16"},
		"too large":        {data: bytes.Repeat([]byte("# comment\n"), 1<<20), want: "1:1: the file is larger than 4MiB"},
		"zeros":            {data: make([]byte, 4096), want: "1:1: a NUL byte"},
		"binary":           {data: []byte("\x7fELF\x02\x01\x01\x00"), want: "1:8: a NUL byte"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("config.toml", tt.data, checks)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "config.toml:"+tt.want)):
				t.Errorf("error is %v, want %s", err, tt.want)
			}
		})
	}
}

// TestHostile feeds what is meant to exhaust a parser or to deceive a reader of
// its messages.
func TestHostile(t *testing.T) {
	tests := map[string]string{
		"nested lists":    "x = " + strings.Repeat("[", 1<<20),
		"nested tables":   "x = " + strings.Repeat("{a=", 1<<18),
		"nested headers":  "[" + strings.Repeat("a.", 1<<16) + "a]",
		"many headers":    strings.Repeat("[[device]]\n", 1<<14),
		"one long line":   "x = \"" + strings.Repeat("y", 1<<20),
		"forged messages": minimal + "\"x\\nconfig.toml:1:1: all is well\\u001b[2J\" = 1",
		"right to left":   minimal + "\"\\u202egnp\" = 1",
		"long key":        minimal + strings.Repeat("k", 1<<20) + " = 1",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			for _, p := range problemsOf(t, []byte(text)) {
				if strings.ContainsAny(p.Text, "\n\x1b\u202e") || len(p.Text) > 1000 {
					t.Fatalf("message is %.200q", p.Text)
				}
			}
		})
	}
}

func TestLoadWithoutContent(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"missing": filepath.Join(dir, "none.toml"), "a directory": dir} {
		_, err := Load(path, checks)
		var invalid *Invalid
		if err == nil || errors.As(err, &invalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error is %v, want a plain one that names %s", name, err, path)
		}
	}
	if _, err := Load("/dev/zero", checks); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a file that never ends: %v", err)
	}
}

func TestDefaultPath(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("EDGEAGENT_CONFIG", "")
	step := func(flag, want string) {
		t.Helper()
		if got := DefaultPath(flag); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	step("", "/etc/edgeagent/config.toml")
	overwrite(t, "config.toml", "")
	step("", "config.toml")
	t.Setenv("EDGEAGENT_CONFIG", "/env.toml")
	step("", "/env.toml")
	step("flag.toml", "flag.toml")
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	c, err := Parse("/etc/edgeagent/config.toml", []byte(minimal+`data_dir = "state"
[[llm.provider]]
name = "cloud"
kind = "openai"
model = "m"
ca_file = "pki/ca.pem"
[[sync]]
name = "s"
url = "https://a.example"
ca_file = "/abs/ca.pem"
`), checks)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Agent.DataDir, c.Agent.Socket, c.LLM.Providers[0].CAFile, c.LLM.Providers[1].Path, c.Sync[0].CAFile}
	want := []string{
		"/etc/edgeagent/state", "/etc/edgeagent/state/edgeagent.sock", "/etc/edgeagent/pki/ca.pem",
		"/etc/edgeagent/runbook", "/abs/ca.pem",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	c.MoveDataDir("/tmp/demo")
	if c.Agent.DataDir != "/tmp/demo" || c.Agent.Socket != "/tmp/demo/edgeagent.sock" {
		t.Errorf("moved to %s and %s", c.Agent.DataDir, c.Agent.Socket)
	}
}

func TestSocketInRuntimeDirectory(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/edgeagent")
	if c := mustParse(t, minimal); c.Agent.Socket != "/run/edgeagent/edgeagent.sock" {
		t.Errorf("socket is %s", c.Agent.Socket)
	}
	if c := mustParse(t, minimal+"socket = \"/x/y.sock\"\n"); c.Agent.Socket != "/x/y.sock" {
		t.Errorf("a configured socket became %s", c.Agent.Socket)
	}
}

// everyType is a device that uses what is easily read wrong.
const everyType = minimal + `timezone = "Asia/Tokyo"
[log]
level = "warn"
[queue]
max_size = "1GiB"
retain = "1d12h"
[[device]]
name = "d"
url = "modbus-tcp://PLC.local"
unit = 7
order = "DCBA"
scan = "200ms"
resume = "operator"
never_read = ["holding:200-219", "40301"]
  [[device.tag]]
  name = "word"
  address = "holding:5.31"
  type = "uint32"
  scan = "2s"
  [[device.tag]]
  name = "line"
  address = "%MW9"
  type = "float32"
  order = "CDAB"
  min = -16
  max = 0x3e8
  scaling = { raw = [0, 10], eng = [5, 1.5], clamp = true }
  [[device.tag]]
  name = "mode"
  address = "30001"
  type = "int16"
  enum = { -1 = "fault", 2 = { en = "auto", de = "Automatik" } }
  [[device.alarm]]
  code = "A"
  when = "word"
  text = { fr = "un", de = "eins" }
`

func TestTypedResult(t *testing.T) {
	c := mustParse(t, everyType)
	d := c.Devices[0]
	want := Device{
		Name: "d", Line: "d", URL: "modbus-tcp://PLC.local", Protocol: "modbus-tcp", Host: "plc.local:502", Unit: 7, Scan: 200 * time.Millisecond,
		Timeout: time.Second, Order: edgeagent.OrderDCBA, MaxRegisters: 125, MaxBits: 2000, MaxGap: 16,
		NeverRead:  []Span{{edgeagent.AreaHolding, 200, 219}, {edgeagent.AreaHolding, 300, 300}},
		StaleAfter: 600 * time.Millisecond, Retry: Retry{First: 2 * time.Second, Max: 30 * time.Second}, Enabled: true,
		Tags: d.Tags, Alarms: d.Alarms,
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("device is\n%+v, want\n%+v", d, want)
	}
	word, line, mode := d.Tags[0], d.Tags[1], d.Tags[2]
	if word.StaleAfter != 6*time.Second || word.Type != edgeagent.TypeUint32 || word.Seen().Type != edgeagent.TypeBool || word.Registers() != 2 {
		t.Errorf("word is %+v", word)
	}
	if line.Order != edgeagent.OrderCDAB || *line.Min != -16 || *line.Max != 1000 || line.Address != "%MW9" || line.Seen().Type != line.Type ||
		*line.Scaling != (Scaling{Raw: [2]float64{0, 10}, Eng: [2]float64{5, 1.5}, Clamp: true}) {
		t.Errorf("line is %+v", line)
	}
	if mode.Order != edgeagent.OrderDCBA || !reflect.DeepEqual(mode.Enum, map[int64]string{-1: "fault", 2: "auto"}) {
		t.Errorf("mode is %+v", mode)
	}
	if c.Agent.Timezone.String() != "Asia/Tokyo" || c.Log.Level != slog.LevelWarn || c.Queue.MaxSize != 1<<30 || c.Queue.Retain != 36*time.Hour {
		t.Errorf("agent %+v, log %+v, queue %+v", c.Agent, c.Log, c.Queue)
	}
	if d.Resume != 0 {
		t.Errorf("resume is %s, want only a person", d.Resume)
	}
	if a := d.Alarms[0]; a.Text != "un" || a.Priority != 3 || !a.Diagnose || a.Clear != "" {
		t.Errorf("alarm is %+v, want the first text, priority 3", a)
	}
}

// TestNumbersAreDecimal holds that a leading zero makes nothing octal, and that
// a span's end is read in the notation of its beginning.
func TestNumbersAreDecimal(t *testing.T) {
	d := mustParse(t, minimal+`[[device]]
name = "d"
url = "modbus-tcp://h"
never_read = ["holding:0100-0119", "40201-40220", "%MW300 - 309", "input:0x10-0x1F", "coil:7"]
  [[device.tag]]
  name = "state"
  address = "holding:010"
  type = "uint16"
  enum = { 010 = "ten", 0x0B = "eleven" }
`).Devices[0]
	want := []Span{
		{edgeagent.AreaHolding, 100, 119}, {edgeagent.AreaHolding, 200, 219}, {edgeagent.AreaHolding, 300, 309},
		{edgeagent.AreaInput, 16, 31}, {edgeagent.AreaCoil, 7, 7},
	}
	if !reflect.DeepEqual(d.NeverRead, want) {
		t.Errorf("never_read is %v, want %v", d.NeverRead, want)
	}
	if tag := d.Tags[0]; tag.Addr.Offset != 10 || tag.Enum[10] != "ten" || tag.Enum[11] != "eleven" {
		t.Errorf("tag at %s with words %v", tag.Addr, tag.Enum)
	}
}

func TestTextFollowsTheLanguage(t *testing.T) {
	for language, want := range map[string]string{"en": "one", "de": "eins"} {
		c := mustParse(t, minimal+`[[device]]
name = "d"
url = "modbus-tcp://h"
[[device.alarm]]
code = "A"
when = "not not"
text = { de = "eins", en = "one" }
[llm]
language = "`+language+`"
`)
		if got := c.Devices[0].Alarms[0].Text; got != want {
			t.Errorf("%s: text is %q, want %q", language, got, want)
		}
	}
}

func TestRunbookIsAlwaysLast(t *testing.T) {
	c := mustParse(t, minimal)
	if p := c.LLM.Providers; len(p) != 1 || p[0].Kind != KindRunbook || p[0].Name != "runbook" {
		t.Errorf("providers are %+v", p)
	}
	c = mustParse(t, minimal+"[[llm.provider]]\nname = \"runbook\"\nkind = \"ollama\"\nmodel = \"m\"\n")
	if p := c.LLM.Providers; len(p) != 2 || p[1].Kind != KindRunbook || p[1].Name == p[0].Name {
		t.Errorf("providers are %+v", p)
	}
}

// A provider may have taken the runbook's name, and as many after it as it likes.
func TestRunbookFindsAName(t *testing.T) {
	text := minimal
	names := map[string]bool{}
	for _, name := range []string{"runbook", "runbook-2", "runbook-3", "runbook-4", "runbook-5", "runbook-6", "runbook-7", "runbook-8", "runbook-9"} {
		text += "[[llm.provider]]\nname = \"" + name + "\"\nkind = \"ollama\"\nmodel = \"m\"\n"
		names[name] = true
	}
	all := mustParse(t, text).LLM.Providers
	if last := all[len(all)-1].Name; !providerName.MatchString(last) || names[last] {
		t.Errorf("the runbook is called %q", last)
	}
}

// A URL that is refused is shown without its password, over however many lines.
func TestPasswordOverTwoLines(t *testing.T) {
	for _, p := range problemsOf(t, []byte(minimal+"[[device]]\nname = \"d\"\nurl = \"modbus-tcp://me:very\\nsecret@10.0.0.1\"\n")) {
		if strings.Contains(p.Text, "very") || strings.Contains(p.Text, "secret@") {
			t.Errorf("it is shown: %s", p)
		}
	}
}

func TestLineIsZeroValueSafe(t *testing.T) {
	var c Config
	if l := c.Line("x"); l.Name != "x" || !l.DiagnoseOutside {
		t.Errorf("line is %+v", l)
	}
	full := mustParse(t, minimal+"[[line]]\nname = \"x\"\narea = \"A\"\ndiagnose_outside = false\n")
	if l := full.Line("x"); l.Area != "A" || l.DiagnoseOutside {
		t.Errorf("line is %+v", l)
	}
}

func TestHashIsOfTheBytes(t *testing.T) {
	a, b := mustParse(t, minimal), mustParse(t, minimal+"# a comment\n")
	if len(a.Hash()) != 12 || a.Hash() == b.Hash() || a.Hash() != mustParse(t, minimal).Hash() {
		t.Errorf("hashes are %s and %s", a.Hash(), b.Hash())
	}
}

// TestParseKeepsItsOwnBytes: the caller may use its buffer again.
func TestParseKeepsItsOwnBytes(t *testing.T) {
	data := []byte(minimal)
	c, err := Parse("config.toml", data, checks)
	if err != nil {
		t.Fatal(err)
	}
	hash := c.Hash()
	clear(data)
	if c.Hash() != hash {
		t.Error("the hash changed with the caller's buffer")
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../config.toml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("config.toml", ".", data, keep(nil), checks) // what it includes is not there
		if err == nil {
			if len(c.Diff(c)) > 0 {
				t.Errorf("differs from itself: %q", c.Diff(c))
			}
			return
		}
		var invalid *Invalid
		if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
			t.Fatalf("error is %v, want problems", err)
		}
		lines := 1 + bytes.Count(data, []byte("\n"))
		for _, p := range invalid.Problems {
			if p.Line < 1 || p.Line > lines || p.Col < 1 || p.Text == "" || strings.ContainsAny(p.Text, "\n\x00\x1b") {
				t.Errorf("problem is %+v in a file of %d lines", p, lines)
			}
		}
	})
}
