package runbook

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var fenced = regexp.MustCompile("(?s)```(markdown|csv)\n(.*?)```")

// The examples of the documentation are a runbook without a fault, and say what
// the words around them promise.
func TestDocumentedExamplesAreSound(t *testing.T) {
	raw, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for i, m := range fenced.FindAllStringSubmatch(string(raw), -1) {
		files[fmt.Sprintf("example-%d.%s", i, map[string]string{"markdown": "md", "csv": "csv"}[m[1]])] = m[2]
	}
	if len(files) != 2 {
		t.Fatalf("%d examples", len(files))
	}
	b := folder(t, files)
	plant := Plant{
		Alarms:  []PlantAlarm{{Device: "filler", Code: "F212"}, {Device: "filler", Code: "F205"}, {Device: "capper", Code: "C310"}},
		Devices: []string{"filler", "capper"},
	}
	for _, f := range b.Lint(plant, raised) {
		t.Error(f)
	}
	d := b.Diagnose(oneAlarm(alarm("filler", "F212"), nil))
	if want := "Runbook entry for filler/F212: Level sensor unstable. Owner: Electrical maintenance; reviewed 2026-10-05, 48 days ago."; d.Summary != want {
		t.Errorf("summary %q", d.Summary)
	}
	if len(d.Causes) != 3 || len(d.Checks) != 3 || !strings.HasPrefix(d.Safety, "The bowl is under CO2") {
		t.Errorf("%+v", d)
	}
	for _, key := range frontMatterKeys {
		if !strings.Contains(string(raw), "`"+key+"`") {
			t.Errorf("key %s is not explained", key)
		}
	}
}
