package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const checkGolden = "testdata/check.golden"

// What check prints is what an engineer holds against the PLC's manual.
func TestCheckOfTheReference(t *testing.T) {
	out, errOut, code := runCommand(t, "check", "-c", "../../config.toml")
	if code != exitOK || errOut != "" {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	// The hash changes with every comment of the file.
	first, rest, _ := strings.Cut(out, "\n")
	got := first[:strings.Index(first, "(")] + "\n" + rest
	if *update {
		if err := os.WriteFile(checkGolden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(checkGolden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("check prints something else; run go test ./cmd/edgeagent -run CheckOf -update and read the change\n%s", got)
	}
}

func TestCheckJSON(t *testing.T) {
	p := startPanel(t)
	r := newRig(t, p.device("filler"))
	out, _, code := r.run("check", "--json")
	var a checkAnswer
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	if strings.Contains(out, "probe") || len(a.Devices) != 1 || a.Devices[0].Tags[0].Address == "" || len(a.Devices[0].Scans[0].Requests) != 1 {
		t.Errorf("got %s", out)
	}
	if p.server.Accepted() != 0 {
		t.Error("a check without --probe reached the PLC")
	}
}

// The order of a device holds for its single registers too: there it is said
// where it swaps their bytes.
func TestCheckPrintsTheOrderThatMatters(t *testing.T) {
	r := newRig(t, `
[[device]]
name = "filler"
url = "modbus-tcp://127.0.0.1:1"
order = "BADC"
[[device.tag]]
name = "word"
address = "40001"
type = "uint16"
[[device.tag]]
name = "straight"
address = "40002"
type = "uint16"
order = "CDAB"
[[device.tag]]
name = "wide"
address = "40003"
type = "uint32"
order = "CDAB"
[[device.tag]]
name = "coil"
address = "00001"
`)
	out, errOut, code := r.run("check", "--json")
	var answer checkAnswer
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitOK {
		t.Fatalf("exit %d: %v\n%s", code, err, errOut)
	}
	want := map[string]string{"word": "BADC", "straight": "", "wide": "CDAB", "coil": ""}
	for _, tag := range answer.Devices[0].Tags {
		if tag.Order != want[tag.Name] {
			t.Errorf("%s: order %q, want %q", tag.Name, tag.Order, want[tag.Name])
		}
	}
}

// Every mistake at once, in line order, as editors read it.
func TestCheckOfABrokenFile(t *testing.T) {
	r := newRig(t, "[queue]\nworkers = 99\nretian = \"1d\"\n")
	out, errOut, code := r.run("check")
	lines := strings.Split(strings.TrimSpace(errOut), "\n")
	if code != exitConfig || out != "" || len(lines) != 2 {
		t.Fatalf("exit %d\n%s%s", code, out, errOut)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, r.path+":") {
			t.Errorf("no editor can jump to %q", line)
		}
	}
}
