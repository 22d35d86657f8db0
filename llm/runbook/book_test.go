package runbook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent"
)

// folder writes files and loads them.
func folder(t *testing.T, files map[string]string) *Book {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSampleRunbookIsSound(t *testing.T) {
	b, err := Load("../../runbook")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range b.Problems {
		t.Error(p)
	}
	for code, device := range map[string]string{"A101": "packaging", "A305": "packaging", "F212": "filler", "C310": "capper", "A110": "packaging"} {
		d := b.Hint(edgeagent.Alarm{Device: device, Code: code, Priority: 2}, nil, "Line-1")
		if d.InsufficientEvidence || len(d.Causes) < 2 || len(d.Checks) < 2 || len(d.Filtered) > 0 {
			t.Errorf("%s: %+v", code, d)
		}
		if strings.HasPrefix(code, "A1") && code != "A101" {
			continue // rows of the table
		}
		if d.Safety == "" {
			t.Errorf("%s has no safety text", code)
		}
	}
}
