package runbook

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"
)

func utf16Text(order binary.AppendByteOrder, s string) []byte {
	raw := order.AppendUint16(nil, 0xfeff)
	for _, u := range utf16.Encode([]rune(s)) {
		raw = order.AppendUint16(raw, u)
	}
	return raw
}

func TestEncodingsAndSeparators(t *testing.T) {
	const want = "Füllstand – Schaum, 4,5 mA"
	for name, tt := range map[string]struct {
		file string
		raw  []byte
	}{
		"utf-8":               {"f.csv", []byte("code;cause\nF212;Füllstand – Schaum, 4,5 mA\n")},
		"windows-1252":        {"f.csv", []byte("code;cause\r\nF212;F\xfcllstand \x96 Schaum, 4,5 mA\r\n")},
		"excel unicode text":  {"f.tsv", utf16Text(binary.LittleEndian, "code\tcause\r\nF212\tFüllstand – Schaum, 4,5 mA\r\n")},
		"utf-16 big endian":   {"f.csv", utf16Text(binary.BigEndian, "code;cause\nF212;Füllstand – Schaum, 4,5 mA\n")},
		"excel's sep line":    {"f.csv", []byte("sep=;\r\ncode;cause\r\nF212;Füllstand – Schaum, 4,5 mA\r\n")},
		"tabs, empty cells":   {"f.tsv", []byte("code\tapplies_to\tdrawing\tcause\nF212\t\t\tFüllstand – Schaum, 4,5 mA\n")},
		"quotes in a cell":    {"f.csv", []byte("code,cause\nF212,\"Füllstand – Schaum, 4,5 mA\"\n")},
		"invalid behind mark": {"f.csv", append([]byte("\xef\xbb\xbfcode;cause\nF212;Füllstand – Schaum, 4,5 mA\nX1;b"), 0xff, '\n')},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), tt.raw, 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := Load(dir)
			if err != nil || len(b.entries) == 0 || len(b.Problems) > 0 {
				t.Fatalf("%v, %d entries, %q", err, len(b.entries), b.Problems)
			}
			if got := b.entries[0].causes[0].Cause; got != want {
				t.Errorf("cause %q, want %q", got, want)
			}
		})
	}
}

// The folder of a plant holds whatever people and tools leave there: none of it
// holds up the start or hides the good file.
func TestStrangeFilesHoldUpNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(dir string) error
		says string
	}{
		"fifo":              {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "x.md"), 0o600) }, "x.md: left out: not a file"},
		"link to itself":    {func(dir string) error { return os.Symlink("x.md", filepath.Join(dir, "x.md")) }, "x.md: cannot be read: too many levels of symbolic links"},
		"dangling link":     {func(dir string) error { return os.Symlink("gone.md", filepath.Join(dir, "x.md")) }, "x.md: cannot be read: no such file or directory"},
		"endless device":    {func(dir string) error { return os.Symlink("/dev/zero", filepath.Join(dir, "x.md")) }, "x.md: left out: not a file"},
		"link to folder":    {func(dir string) error { return os.Symlink(".", filepath.Join(dir, "x.md")) }, "x.md: left out: it is a folder behind a link"},
		"circle of folders": {func(dir string) error { return os.Symlink(dir, filepath.Join(dir, "again")) }, ""},
		"one line of 7 MB": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x.md"), []byte("## X1 Title\n"+strings.Repeat("**a** [b](c) ", 7<<20/13)), 0o600)
		}, "x.md:1: entry X1 is longer than"},
		"deep nesting": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x.md"), []byte("## X1 Title\n"+strings.Repeat(strings.Repeat(">", 2000)+strings.Repeat("[", 2000)+"\n", 100)), 0o600)
		}, "x.md:1: entry X1 is longer than"},
		"invalid UTF-8": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x.md"), []byte("## X1 Title\n- \xff\xfe\x80\n"), 0o600)
		}, ""},
		"half of a UTF-16": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x.md"), []byte("\xff\xfe#\x00#\x00\x41"), 0o600)
		}, ""},
		"only dashes": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "x.md"), []byte("---"), 0o600) }, "front matter is not closed"},
		"name with a newline": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "x\ny.md"), []byte("## X1 Title\n"), 0o600)
		}, `"x\ny.md": left out: its name holds`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "good.md"), []byte("## F212 Level\n1. Look.\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			b, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(b.Problems, "|")
			if !strings.Contains(all, tt.says) || tt.says == "" && all != "" {
				t.Errorf("problems %q, want %q", all, tt.says)
			}
			if strings.Contains(all, "\n") {
				t.Errorf("a problem of two lines: %q", all)
			}
			if d := b.Hint(alarm("filler", "F212"), nil, "Line-1"); d.InsufficientEvidence {
				t.Errorf("the good entry is gone: %+v", d)
			}
		})
	}
}

func TestFolderThatCannotBeReadIsAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	if err := os.Symlink("a", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
}

// A path of / by mistake must not walk the machine.
func TestTooManyFilesAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 5 {
		name := filepath.Join(dir, "a"+string(rune('a'+i%26))+strings.Repeat("b", i/26)+".md")
		if err := os.WriteFile(name, []byte("## F212 Level\ntext\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Load(dir)
	if err != nil || len(b.entries) != maxFiles || len(b.Problems) != 1 || !strings.Contains(b.Problems[0], "more than 2000 runbook files") {
		t.Errorf("%v, %d entries, problems %q", err, len(b.entries), b.Problems)
	}
}

func TestChangesOfTheFolderAreSeen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runbook")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string, at int64) {
		t.Helper()
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o700))
		must(os.WriteFile(path, []byte(text), 0o600))
		must(os.Chtimes(path, time.Unix(at, 0), time.Unix(at, 0)))
	}
	b, err := Load(dir)
	must(err)
	for _, step := range []struct {
		name   string
		change func()
		says   bool
	}{
		{"nothing", func() {}, false},
		{"folder made", func() { write("a.md", "## F212 Level\ntext\n", 1) }, true},
		{"file added", func() { write("sub/b.csv", "code,cause\nF213,Foam\n", 1) }, true},
		{"other file added", func() { write("notes.txt", "x", 1) }, false},
		{"written", func() { write("a.md", "## F212 Level\nother\n", 2) }, true},
		{"file removed", func() { must(os.RemoveAll(filepath.Join(dir, "sub"))) }, true},
	} {
		step.change()
		if b.Changed() != step.says {
			t.Errorf("%s: changed = %v", step.name, !step.says)
		}
		next, err := Load(dir)
		must(err)
		if next.Changed() {
			t.Errorf("%s: changed after it was loaded", step.name)
		}
		if b.Equal(next) == step.says {
			t.Errorf("%s: equal = %v", step.name, step.says)
		}
		b = next
	}
	write("a.md", "## F212 Level\nother\n", 3)
	if next, err := Load(dir); err != nil || !b.Changed() || !b.Equal(next) {
		t.Errorf("the same words written again make another book: %v", err)
	}
	if new(Book).Changed() {
		t.Error("a book of no folder changed")
	}
}

// All files are screened before the first scan: there is a limit to their sum.
func TestTooMuchTextIsLeftOut(t *testing.T) {
	half := strings.Repeat("## F1\n", 1) + strings.Repeat("x\n", maxBytes/4)
	b := folder(t, map[string]string{"a.md": half, "b.md": half, "c.md": "## F212 Level\ntext\n"})
	if len(b.entries) != 1 || !strings.Contains(b.Problems[len(b.Problems)-1], "b.md: left out with all that follows: the files are larger than 8388608 bytes together") {
		t.Errorf("%d entries, problems %q", len(b.entries), b.Problems)
	}
}
