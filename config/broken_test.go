package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBroken reads every broken file under testdata and compares all that is
// said about it, word for word, with the golden file beside it.
func TestBroken(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	files, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d broken files, %v; want at least 25", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), data, checks)
			if _, ok := errors.AsType[*Invalid](err); !ok {
				t.Fatalf("error is %v, want *Invalid", err)
			}
			compareGolden(t, strings.TrimSuffix(file, ".toml")+".want", err.Error()+"\n")
		})
	}
}

// TestBrokenPlants reads configurations of several files.
func TestBrokenPlants(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	dirs, err := filepath.Glob("testdata/plants/*")
	if err != nil || len(dirs) < 8 {
		t.Fatalf("%d plants, %v; want at least 8", len(dirs), err)
	}
	golden, err := filepath.Abs("testdata/plants")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Chdir(dir)
			_, err := Load("config.toml", checks)
			if _, ok := errors.AsType[*Invalid](err); !ok {
				t.Fatalf("error is %v, want *Invalid", err)
			}
			compareGolden(t, filepath.Join(golden, filepath.Base(dir), "want"), err.Error()+"\n")
		})
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
