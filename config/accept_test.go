package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// written puts a configuration file into a fresh directory.
func written(t *testing.T, text string) string {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("RUNTIME_DIRECTORY", "")
	path := filepath.Join(t.TempDir(), "config.toml")
	overwrite(t, path, text)
	return path
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// accept loads and accepts the file at path.
func accept(t *testing.T, path string) *Config {
	t.Helper()
	c, err := Load(path, checks)
	if err != nil {
		t.Fatal(err)
	}
	if err := Accept(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLastAcceptedAfterTheFileBroke(t *testing.T) {
	tests := map[string]struct {
		dataDir string // line of the accepted file
		broken  string // content afterwards; "" removes the file
	}{
		"unknown key":          {broken: minimal + "colour = 1\n"},
		"cut in the middle":    {broken: "[agent]\nid = \"g"},
		"file gone":            {},
		"no text":              {broken: "\x00\x01\x02"},
		"own data directory":   {dataDir: `data_dir = "var/state"`, broken: "[agent\n  data_dir = \"var/state\" # here\nid = "},
		"single quotes":        {dataDir: `data_dir = 'va r'`, broken: "data_dir='va r'\r\n[[[\r\n"},
		"dotted":               {dataDir: `data_dir = "x"`, broken: "agent.data_dir = \"x\"\nagent.id = 5"},
		"other data_dir first": {dataDir: `data_dir = "right"`, broken: "data_dir = \"wrong\"\ndata_dir = \"right\"\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := written(t, minimal+tt.dataDir+"\n")
			good := accept(t, path)
			overwrite(t, path, tt.broken)
			if tt.broken == "" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Load(path, checks); err == nil {
				t.Fatal("the broken file was accepted")
			}
			c, err := LastAccepted(path, checks)
			if err != nil {
				t.Fatal(err)
			}
			if c.Hash() != good.Hash() || c.Agent != good.Agent || c.Path != path {
				t.Errorf("got %s %+v from %s, want %s %+v", c.Hash(), c.Agent, c.Path, good.Hash(), good.Agent)
			}
		})
	}
}

func TestLastAcceptedInStateDirectory(t *testing.T) {
	state := t.TempDir()
	path := written(t, minimal+"data_dir = \""+state+"\"\n")
	accept(t, path)
	overwrite(t, path, "")
	if _, err := LastAccepted(path, checks); !errors.Is(err, ErrNoAccepted) {
		t.Fatalf("without a hint where the data is: %v, want ErrNoAccepted", err)
	}
	t.Setenv("STATE_DIRECTORY", "/nonexistent:"+state)
	if _, err := LastAccepted(path, checks); err != nil {
		t.Error(err)
	}
}

// TestLastAcceptedTorn cuts and bends the kept file at every byte: it is whole
// or it is refused, and never half a configuration.
func TestLastAcceptedTorn(t *testing.T) {
	path := written(t, minimal)
	c := accept(t, path)
	file := filepath.Join(c.Agent.DataDir, acceptedName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		overwrite(t, file, string(whole[:n]))
		if got, err := LastAccepted(path, checks); err == nil {
			t.Fatalf("cut at byte %d it is accepted as %+v", n, got.Agent)
		}
	}
	body := len(whole) - len(minimal)
	for n := body; n < len(whole); n++ {
		bent := append([]byte(nil), whole...)
		bent[n] ^= 1
		overwrite(t, file, string(bent))
		if _, err := LastAccepted(path, checks); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Fatalf("bent at byte %d: %v, want the checksum", n, err)
		}
	}
}

// TestAcceptLeftovers finds what a power cut during Accept leaves: a temporary
// file beside the old configuration.
func TestAcceptLeftovers(t *testing.T) {
	path := written(t, minimal)
	old := accept(t, path)
	overwrite(t, filepath.Join(old.Agent.DataDir, ".accepted.toml.new"), acceptedMark+`{"path":`+strings.Repeat("x", 4096))
	overwrite(t, path, "[agent")
	c, err := LastAccepted(path, checks)
	if err != nil {
		t.Fatal(err)
	}
	if c.Hash() != old.Hash() {
		t.Errorf("hash is %s, want %s", c.Hash(), old.Hash())
	}
	overwrite(t, path, minimal+"shutdown_grace = \"3s\"\n")
	next := accept(t, path)
	if got, err := LastAccepted(path, checks); err != nil || got.Hash() != next.Hash() {
		t.Errorf("after the leftover: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(old.Agent.DataDir, ".accepted*")); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

// TestLastAcceptedIsRefused: what an older version accepted may be refused now.
// The problems are the kept file's, not those of the file that is broken.
func TestLastAcceptedIsRefused(t *testing.T) {
	path := written(t, minimal+"[[device]]\nname = \"d\"\nurl = \"modbus-tcp://h\"\n"+
		"[[device.tag]]\nname = \"t\"\naddress = \"40001\"\ntype = \"uint16\"\n[[device.alarm]]\ncode = \"A1\"\nwhen = \"t > 1\"\n")
	c := accept(t, path)
	overwrite(t, path, "[agent")
	_, err := LastAccepted(path, Checks{Expr: func(string, []edgeagent.Tag) error { return errExpr }})
	kept := filepath.Join(c.Agent.DataDir, acceptedName)
	if err == nil || !strings.Contains(err.Error(), kept+":13:8: ") || strings.Contains(err.Error(), path+":") {
		t.Errorf("error is %v, want one at %s:13:8", err, kept)
	}
}

func TestAcceptReplaces(t *testing.T) {
	path := written(t, minimal)
	first := accept(t, path)
	overwrite(t, path, minimal+"shutdown_grace = \"3s\"\n")
	accept(t, path)
	overwrite(t, path, "")
	c, err := LastAccepted(path, checks)
	if err != nil {
		t.Fatal(err)
	}
	if c.Agent.ShutdownGrace != 3*time.Second || c.Hash() == first.Hash() {
		t.Errorf("grace is %s, want that of the second configuration", c.Agent.ShutdownGrace)
	}
	left, err := filepath.Glob(filepath.Join(c.Agent.DataDir, ".accepted*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

// TestAcceptSameWritesNothing: a restart must not wear out the card.
func TestAcceptSameWritesNothing(t *testing.T) {
	path := written(t, minimal)
	c := accept(t, path)
	file := filepath.Join(c.Agent.DataDir, acceptedName)
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	accept(t, path)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.ModTime().After(long.Add(time.Minute)) {
		t.Error("the same configuration was written again")
	}
}

func TestAcceptSaysWhereItCannotWrite(t *testing.T) {
	path := written(t, minimal)
	c, err := Load(path, checks)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, c.Agent.DataDir, "a file where the directory should be")
	if err := Accept(c); err == nil || !strings.Contains(err.Error(), c.Agent.DataDir) {
		t.Errorf("error is %v, want one that names %s", err, c.Agent.DataDir)
	}
}

// TestLastAcceptedOfAnother: two agents that share a data directory by mistake
// must not run each other's configuration.
func TestLastAcceptedOfAnother(t *testing.T) {
	path := written(t, minimal)
	accept(t, path)
	other := filepath.Join(filepath.Dir(path), "other.toml")
	overwrite(t, other, "[agent")
	if _, err := LastAccepted(other, checks); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v, want one that names %s", err, path)
	}
}
