// Package e2e runs the built edgeagentBin against real components: PLC servers of
// other implementations, PostgreSQL, network namespaces, a browser, another
// processor. It knows the agent from outside alone: its files, its commands and
// its HTTP interface.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// root is the repository, edgeagentBin the agent under test.
var (
	root         string
	edgeagentBin string
	seed         = flag.Int64("seed", 20261122, "of everything random")
)

// full says that an issue's full numbers are wanted, not the small ones of CI.
func full() bool { return os.Getenv("E2E_FULL") == "1" }

// skipped counts the rigs that this machine could not run.
var skipped struct {
	sync.Mutex
	names []string
}

func TestMain(m *testing.M) {
	flag.Parse()
	root, _ = filepath.Abs("..")
	edgeagentBin = filepath.Join(root, "bin", "edgeagent")
	if _, err := os.Stat(edgeagentBin); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: no edgeagentBin to test; run `make build` first")
		os.Exit(1)
	}
	code := m.Run()
	stopPostgres()
	if code == 0 {
		code = wireVerdict()
	}
	if n := len(skipped.names); n > 0 {
		fmt.Printf("e2e: %d rigs SKIPPED on this machine: %v\n", n, skipped.names)
	}
	os.Exit(code)
}

// mostlyWaits is for a test that takes long and costs little: several of them run
// at the same time, after all others, so that those have the machine to themselves.
// It needs what it shares with nobody: ports, folders, namespaces, servers.
func mostlyWaits(t *testing.T) {
	t.Helper()
	if !full() { // the full numbers are measured on a quiet machine
		t.Parallel()
	}
}

// needs skips the test loudly when this machine lacks something; in CI a
// skipped rig is a failure, because a rig that never runs proves nothing.
func needs(t *testing.T, what string, ok bool) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("REQUIRE_RIGS") == "1" {
		t.Fatalf("this machine lacks %s; e2e/setup.sh installs it", what)
	}
	skipped.Lock()
	skipped.names = append(skipped.names, t.Name())
	skipped.Unlock()
	t.Skipf("SKIPPED: this machine lacks %s; e2e/setup.sh installs it", what)
}

func needsProgram(t *testing.T, path string) {
	t.Helper()
	_, err := os.Stat(path)
	needs(t, path, err == nil)
}

func needsRoot(t *testing.T) {
	t.Helper()
	needs(t, "root (network namespaces)", os.Getuid() == 0)
}
