package eval

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgeagent"
)

func TestFileOutlivesAPowerCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	f, before, err := OpenFile(path)
	if err != nil || len(before) != 0 {
		t.Fatalf("%v, %v", before, err)
	}
	a := Answer{Item: "a", Hash: "1", Provider: "p", Diagnosis: &edgeagent.Diagnosis{Summary: "ä\nb"}}
	for range 2 {
		if err := f.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	whole, _ := os.ReadFile(path)
	for cut := 0; cut <= len(whole)/2; cut += max(1, cut/4) { // of the second line
		if err := os.WriteFile(path, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f, before, err := OpenFile(path)
		if err != nil {
			t.Fatalf("cut by %d: %v", cut, err)
		}
		want := 1
		if cut <= 1 { // only its end is missing
			want = 2
		}
		if len(before) != want {
			t.Fatalf("cut by %d: %d answers, want %d", cut, len(before), want)
		}
		if err := f.Add(a); err != nil {
			t.Fatal(err)
		}
		f.Close()
		_, after, err := OpenFile(path)
		if err != nil || len(after) != want+1 || after[want].Diagnosis.Summary != "ä\nb" {
			t.Fatalf("cut by %d, then gone on: %d answers, %v", cut, len(after), err)
		}
	}
}

func TestFileOfSomebodyElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	for _, text := range []string{"hello", "hello\n", `{"a":1}`, "{\"a\":1}\n", "{\"item\":\"\"}\n", "\x00\x01"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := OpenFile(path); err == nil || !strings.Contains(err.Error(), ":1: ") {
			t.Errorf("%q: %v", text, err)
		}
		if after, _ := os.ReadFile(path); string(after) != text {
			t.Errorf("%q was changed to %q", text, after)
		}
	}
	if _, _, err := OpenFile(filepath.Join(t.TempDir(), "no", "folder")); err == nil {
		t.Error("a folder that is not there")
	}
	var none *File
	if err := none.Add(Answer{}); err != nil {
		t.Error(err)
	}
	none.Close()
}
