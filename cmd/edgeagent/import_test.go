package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"edgeagent/config"
	"edgeagent/exports"
)

// kepwareExport is a controller of 300 tags, 5 of them words of 16 alarms.
func kepwareExport(device int) string {
	var b strings.Builder
	b.WriteString("Tag Name,Address,Data Type,Respect Data Type,Client Access,Scan Rate,Scaling,Raw Low,Raw High,Scaled Low,Scaled High,Scaled Data Type,Clamp Low,Clamp High,Eng. Units,Description,Negate Value\r\n")
	types := []string{"Word", "Short", "Float", "Long"}
	for i := range 295 {
		scaling := ",,,,,,,"
		if i%3 == 0 {
			scaling = "Linear,0,27648,0,100,Double,0,0"
		}
		fmt.Fprintf(&b, "\"Line %d.Value %d\",\"4%05d\",%s,1,R/W,100,%s,\"%%\",\"measured value\",\r\n", device, i, 1+2*i, types[i%4], scaling)
	}
	for w := range 5 {
		fmt.Fprintf(&b, "\"Alarms_Word%d\",\"4%05d\",Word,1,RO,100,,,,,,,,,,\"\",\r\n", w, 1001+w)
	}
	return b.String()
}

// alarmExport is the list of a panel with 80 alarms.
func alarmExport() string {
	var b strings.Builder
	b.WriteString("ID;Name;Event text [en-US], Alarm text;Event text [de-DE], Alarm text;Class;Trigger tag;Trigger bit\r\n")
	for i := range 80 {
		fmt.Fprintf(&b, "%d;Discrete_alarm_%d;Fault %d; \"Störung; %d\";Errors;Alarms_Word%d;%d\r\n", i+1, i+1, i, i, i/16, i%16)
	}
	return strings.ReplaceAll(b.String(), "; \"", ";\"")
}

// fenced are the blocks of docs/commissioning.md: their kind and their text.
var fenced = regexp.MustCompile("(?s)```(sh|toml)\n(.*?)```")

// The commands and files of docs/commissioning.md, as they stand there, make a
// configuration of 5 devices, 300 tags and 80 alarms each, out of exports alone.
func TestCommissioningPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "commissioning.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for d := 1; d <= 5; d++ {
		put(t, fmt.Sprintf("plc%d.csv", d), kepwareExport(d))
		put(t, fmt.Sprintf("plc%d-alarms.csv", d), alarmExport())
	}
	imports := 0
	for _, block := range fenced.FindAllStringSubmatch(string(page), -1) {
		for d := 1; d <= 5; d++ {
			text := strings.NewReplacer("plc1", fmt.Sprintf("plc%d", d), "10.21:", fmt.Sprintf("10.2%d:", d)).Replace(block[2])
			if block[1] == "toml" {
				name, _, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
				put(t, name, text)
				continue
			}
			for line := range strings.Lines(text) {
				imports += follow(t, strings.Fields(line))
			}
		}
	}
	cfg, err := config.Load("config.toml", checks())
	if err != nil {
		t.Fatal(err)
	}
	if imports != 10 || len(cfg.Devices) != 5 {
		t.Fatalf("%d imports, %d devices", imports, len(cfg.Devices))
	}
	for _, d := range cfg.Devices {
		rows := 0
		for _, w := range d.Words {
			rows += len(w.Rows)
		}
		if len(d.Tags) != 300 || rows != 80 {
			t.Errorf("%s: %d tags, %d alarms; want 300 and 80", d.Name, len(d.Tags), rows)
		}
	}
}

// follow does a line of the page that needs no controller, and counts imports.
func follow(t *testing.T, words []string) int {
	t.Helper()
	switch {
	case words[0] == "mkdir":
		for _, folder := range words[1:] {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	case slices.Equal(words, []string{"edgeagent", "check"}):
		if out, errOut, code := runCommand(t, "check"); code != exitOK {
			t.Fatalf("check: exit %d\n%s\n%s", code, out, errOut)
		}
	case words[1] == "import":
		imported(t, words[2:]...)
		return 1
	}
	return 0
}

// Whatever the importers' own fixtures give is a file that the configuration
// accepts, for a device of that protocol.
func TestImportedFilesAreAccepted(t *testing.T) {
	opcua := "url = \"opc.tcp://192.0.2.1:4840\"\n[device.opcua]\nsecurity = \"None\"\nmode = \"None\"\n"
	modbus := "url = \"modbus-tcp://192.0.2.1:502\"\n"
	cases := []struct{ format, file, device string }{
		{"kepware", "kepware.csv", modbus},
		{"ignition", "ignition.json", modbus},
		{"ignition", "ignition7.csv", modbus},
		{"l5x", "project.L5X", opcua},
		{"tia-tags", "tia-tags.xlsx", opcua},
		{"tia-tags", "tia-hmi-tags.xlsx", opcua},
	}
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			dir := t.TempDir()
			args := []string{"--format", c.format, filepath.Join("..", "..", "exports", "testdata", c.file), "--tags", filepath.Join(dir, "tags.csv"),
				"--texts", filepath.Join(dir, "{tag}.csv"), "--alarms", filepath.Join(dir, "alarms.toml")}
			if c.format == "l5x" {
				args = append(args, "--node", "ns=2;s=[PLC]{tag}")
			}
			imported(t, args...)
			alarms, err := os.ReadFile(filepath.Join(dir, "alarms.toml"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, "config.toml"), "[agent]\nid = \"gw\"\nsite = \"plant\"\n[[line]]\nname = \"L\"\n"+
				"[[device]]\nname = \"d\"\nline = \"L\"\ntags_file = \"tags.csv\"\n"+c.device+string(alarms)+wordsOf(t, dir))
			if _, err := config.Load(filepath.Join(dir, "config.toml"), checks()); err != nil {
				t.Error(err)
			}
		})
	}
}

// wordsOf makes an alarm_word of each text table that an import has left in dir.
func wordsOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil {
		t.Fatal(err)
	}
	var out string
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".csv"); name != "tags" {
			out += fmt.Sprintf("[[device.alarm_word]]\ntag = %q\ntexts_file = %q\n", name, name+".csv")
		}
	}
	return out
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func imported(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, code := runCommand(t, append([]string{"import"}, args...)...)
	if code != exitOK {
		t.Fatalf("import %v: exit %d\n%s", args, code, errOut)
	}
	return out
}

func TestImportCommand(t *testing.T) {
	dir := t.TempDir()
	tags, skipped, list := filepath.Join(dir, "a.csv"), filepath.Join(dir, "skipped.csv"), filepath.Join(dir, "alarms.csv")
	put(t, tags, "Tag Name,Address,Data Type\nLevel,400001,Word\nDay,400002,Date\n")
	put(t, skipped, "Tag Name,Address,Data Type\nDay,400002,Date\n")
	put(t, list, alarmExport())
	taken := filepath.Join(dir, "taken.csv")
	put(t, taken, "mine")
	cases := []struct {
		name        string
		args        []string
		code        int
		out, errOut string
	}{
		{"to standard output", []string{"--format", "kepware", tags}, exitOK, "level,400001,uint16", "a.csv:3: not taken: Day: type Date"},
		{"nothing taken", []string{"--format", "kepware", skipped}, exitFailed, "", "nothing in"},
		{"no such file", []string{"--format", "kepware", filepath.Join(dir, "none")}, exitFailed, "", "open the export"},
		{"no format", []string{tags}, exitUsage, "", "want kepware"},
		{"no file", []string{"--format", "kepware"}, exitUsage, "", "one file"},
		{"no order", []string{"--format", "kepware", "--order", "AB", tags}, exitUsage, "", "want ABCD"},
		{"another format", []string{"--format", "l5x", "--node", "ns=2;s={tag}", tags}, exitFailed, "", "read project"},
		{"a file that is there", []string{"--format", "kepware", tags, "--tags", taken}, exitFailed, "", "--force"},
		{"texts of several words", []string{"--format", "tia-alarms", list}, exitUsage, "", "{tag}"},
		{"one file for several words", []string{"--format", "tia-alarms", list, "--texts", filepath.Join(dir, "x.csv")}, exitUsage, "", "{tag}"},
		{"a folder that is not there", []string{"--format", "kepware", tags, "--tags", filepath.Join(dir, "no", "x.csv")}, exitFailed, "", "no such file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out, errOut, code := runCommand(t, append([]string{"import"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.errOut) {
				t.Errorf("exit %d, want %d\n%s\n%s", code, c.code, out, errOut)
			}
		})
	}
	if data, err := os.ReadFile(taken); err != nil || string(data) != "mine" {
		t.Errorf("a file that was there: %q, %v", data, err)
	}
	imported(t, "--format", "kepware", tags, "--tags", taken, "--force")
	var r exports.Result
	if err := json.Unmarshal([]byte(imported(t, "--format", "kepware", tags, "--json")), &r); err != nil || len(r.Tags) != 1 || len(r.Skipped) != 1 {
		t.Errorf("JSON: %+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".import-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
