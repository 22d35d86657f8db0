package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The demo as a stranger starts it: no key, no Ollama, no network.
func TestDemo(t *testing.T) {
	mostlyWaits(t)
	demo(t, nil, edgeagentBin)
}

// The same on another processor, with the binary that is released for it.
func TestDemoOnARM64(t *testing.T) {
	mostlyWaits(t)
	needsProgram(t, "/usr/bin/qemu-aarch64-static")
	bin := filepath.Join(t.TempDir(), "edgeagent")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", bin, "./cmd/edgeagent")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build for arm64: %v\n%s", err, out)
	}
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("arm64, CGO off, stripped: %d bytes", info.Size())
	if info.Size() > 16_000_000 {
		t.Errorf("%d bytes, budget 16 MB", info.Size())
	}
	demo(t, []string{"/usr/bin/qemu-aarch64-static"}, bin)
}

func demo(t *testing.T, prefix []string, bin string) {
	t.Helper()
	a := newAgent(t, "")
	a.prefix = prefix
	text, err := os.ReadFile(filepath.Join(root, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config := string(text)
	for _, port := range []string{"8484", "15021", "15022", "15023"} { // the machine may have a demo of its own
		if !strings.Contains(config, "127.0.0.1:"+port) {
			t.Errorf("config.toml names no port %s", port)
		}
		config = strings.ReplaceAll(config, "127.0.0.1:"+port, "127.0.0.1:"+freePort(t))
	}
	a.writeConfig(config)
	if err := os.CopyFS(filepath.Join(a.dir, "runbook"), os.DirFS(filepath.Join(root, "runbook"))); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	a.launchBinary(bin, "demo", "-c", a.config(), "--data", filepath.Join(a.dir, "data"))
	a.eventually(20*time.Second, "three devices are polled", func() bool {
		var s statusDoc
		if a.get("/api/v1/status", &s) != nil || len(s.Devices) != 3 {
			return false
		}
		for _, d := range s.Devices {
			if d.State != "polling" {
				return false
			}
		}
		return true
	})
	polling := time.Since(started)
	var done jobDoc
	a.eventually(time.Minute-polling, "an alarm with a hint and a finished diagnosis", func() bool {
		for _, d := range a.alarms("history") {
			if d.Hint != nil && d.Job != "" {
				if j := a.job(d.Job); j.State == "completed" {
					done = j
					return true
				}
			}
		}
		return false
	})
	if done.Diagnosis.By.Kind != "runbook" || len(done.Diagnosis.Checks) == 0 {
		t.Errorf("diagnosis: %+v", done.Diagnosis)
	}
	if took, limit := time.Since(started), time.Minute+lateness; took > limit {
		t.Errorf("an answer after %v, a stranger waits a minute", took)
	}
	t.Logf("polling after %v, diagnosed after %v", polling.Round(100*time.Millisecond), time.Since(started).Round(100*time.Millisecond))
}
