package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// TestGlobsAreTheSame: what was accepted is found again by the patterns that
// found it on the disk, in directories of any name.
func TestGlobsAreTheSame(t *testing.T) {
	for _, name := range []string{"plain", "a[b", "st*r", "qu?stion", `back\slash`} {
		root := filepath.Join(t.TempDir(), name)
		var all []file
		for _, path := range []string{"config.toml", "a.toml", "plant/b.toml", "plant/a.toml", "plant/.hidden.toml", "plant/c.csv", "plant/sub/d.toml"} {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			overwrite(t, path, "")
			all = append(all, file{Path: path})
		}
		for pattern, want := range map[string]string{
			"plant/*.toml": "plant/a.toml plant/b.toml",
			"./plant/*":    "plant/a.toml plant/b.toml plant/c.csv",
			"*/*/*.toml":   "plant/sub/d.toml",
			"../" + literal(name) + "/plant/[ab].toml": "plant/a.toml plant/b.toml",
			literal(root) + "/pl?nt/b*":                "plant/b.toml",
			"none/*":                                   "",
			"a.toml":                                   "a.toml",
			root + "/a.toml":                           "a.toml",
		} {
			for kind, from := range map[string]files{"disk": &disk{}, "kept": keep(all)} {
				found, err := from.glob(root, pattern)
				var got []string
				for _, path := range found {
					if kind == "disk" {
						if info, err := os.Stat(path); err != nil {
							t.Errorf("%s: %v", path, err)
						} else if info.IsDir() {
							continue
						}
					}
					got = append(got, strings.TrimPrefix(path, root+"/"))
				}
				if strings.Join(got, " ") != want || err != nil {
					t.Errorf("%s in %s finds %q, %v on %s; want %q", pattern, name, got, err, kind, want)
				}
			}
		}
	}
}

// TestPipeIsNoFile: what never ends, or never begins, does not hold up a reload.
func TestPipeIsNoFile(t *testing.T) {
	path := folder(t, map[string]string{
		"config.toml": "include = [\"pipe.toml\"]\nMINIMAL[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\ntags_file = \"pipe.csv\"\n",
	})
	for _, name := range []string{"pipe.toml", "pipe.csv"} {
		if err := syscall.Mkfifo(filepath.Join(filepath.Dir(path), name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(path, checks)
	if err == nil || strings.Count(err.Error(), "it is no regular file") != 2 {
		t.Errorf("error is %v", err)
	}
}

// TestFileReadOnce: a table that many devices name is read, kept and counted
// once.
func TestFileReadOnce(t *testing.T) {
	path := folder(t, map[string]string{
		"config.toml": "include = [\"plant/*.toml\", \"plant/a.toml\"]\nMINIMAL",
		"plant/a.toml": "[[device]]\nname = \"a\"\nurl = \"modbus-tcp://h1\"\ntags_file = \"../tags.csv\"\n" +
			"[[device]]\nname = \"b\"\nurl = \"modbus-tcp://h2\"\ntags_file = \"../plant/../tags.csv\"\n",
		"tags.csv": "name,address,type\nt,holding:1,uint16\n",
	})
	c := mustLoad(t, path)
	var got []string
	for _, f := range c.files {
		got = append(got, strings.TrimPrefix(f.Path, filepath.Dir(path)+"/"))
	}
	if want := []string{"config.toml", "plant/a.toml", "tags.csv"}; !reflect.DeepEqual(got, want) {
		t.Errorf("made of %q, want %q", got, want)
	}
	if c.Devices[0].Tags[0].Device != "a" || c.Devices[1].Tags[0].Device != "b" {
		t.Errorf("devices are %+v", c.Devices)
	}
}

// TestUnreadableFile says which file and why, at the key that names it.
func TestUnreadableFile(t *testing.T) {
	path := folder(t, map[string]string{
		"config.toml": "MINIMAL[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\ntags_file = \"loop.csv\"\n",
	})
	if err := os.Symlink("loop.csv", filepath.Join(filepath.Dir(path), "loop.csv")); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, checks)
	if err == nil || !strings.Contains(err.Error(), path+":7:13: read ") || !strings.Contains(err.Error(), "too many levels of symbolic links") {
		t.Errorf("error is %v", err)
	}
}
