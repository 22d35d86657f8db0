package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A healthy plant costs no flash and little memory: the agent alone, the
// simulated plant in a process of its own, three devices at one second.
func TestHealthyScanningWritesNothing(t *testing.T) {
	mostlyWaits(t)
	watch := 45 * time.Second
	if full() {
		watch = 5 * time.Minute
	}
	plant, tapped := quietPlant(t)
	a := newAgent(t, tapped)
	simulated := filepath.Join(a.dir, "sim.toml")
	if err := os.WriteFile(simulated, []byte(plant), 0o600); err != nil {
		t.Fatal(err)
	}
	sim := exec.Command(edgeagentBin, "sim", "-c", simulated)
	sim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Process.Kill(); _ = sim.Wait() })
	a.start()
	a.eventually(20*time.Second, "three devices are polled", func() bool {
		n := 0
		for _, d := range a.status().Devices {
			if d.State == "polling" {
				n++
			}
		}
		return n == 3
	})
	before := ""
	quiet := time.Now()
	a.eventually(20*time.Second, "what a start writes is written", func() bool {
		if now := digest(t, filepath.Join(a.dir, "data")); now != before {
			before, quiet = now, time.Now()
		}
		return time.Since(quiet) > 2*time.Second
	})
	written := wchar(t, a.pid())
	time.Sleep(watch) // the idle time is the measurement
	if after := digest(t, filepath.Join(a.dir, "data")); after != before {
		t.Errorf("healthy scanning wrote to the data directory:\n%swas\n%s", after, before)
	}
	rss := rssKiB(t, a.pid())
	t.Logf("%v of healthy scanning: RSS %d KiB, data file untouched, %d bytes written to sockets and logs", watch, rss, wchar(t, a.pid())-written)
	if rss > 40<<10 {
		t.Errorf("RSS %d KiB, budget %d", rss, 40<<10)
	}
	if s := a.status(); s.Alarms.Active != 0 {
		t.Errorf("the quiet plant has %d alarms: the measurement is worthless", s.Alarms.Active)
	}
}

// quietPlant is the reference configuration on free ports, its alarms taken
// out, so that the simulated faults change values and nothing else: once as the
// plant is simulated, and once as the agent reads it, Modbus through taps.
func quietPlant(t *testing.T) (plant, tapped string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[agent]\nid = \"gw\"\nsite = \"plant\"\n[status]\nlisten = \"127.0.0.1:0\"\n")
	inDevice, inAlarm := false, false
	for _, line := range strings.Split(string(text), "\n") {
		head := strings.TrimSpace(line)
		if strings.HasPrefix(head, "[") {
			inDevice = strings.HasPrefix(head, "[[device") || strings.HasPrefix(head, "[device.")
			inAlarm = strings.HasPrefix(head, "[[device.alarm")
		}
		if inDevice && !inAlarm {
			b.WriteString(line + "\n")
		}
	}
	out := b.String()
	// Lines are not part of this measurement: each device stands for itself.
	var lines []string
	for _, line := range strings.Split(out, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "line ") && !strings.HasPrefix(strings.TrimSpace(line), "line=") {
			lines = append(lines, line)
		}
	}
	plant = strings.Join(lines, "\n")
	tapped = plant
	for _, port := range []string{"15021", "15022", "15023"} {
		target := "127.0.0.1:" + freePort(t)
		plant = strings.ReplaceAll(plant, "127.0.0.1:"+port, target)
		through := target
		if !strings.Contains(tapped, "opc.tcp://127.0.0.1:"+port) { // a tap takes Modbus apart
			through = newTap(t, listenLoopback(t), target).addr()
		}
		tapped = strings.ReplaceAll(tapped, "127.0.0.1:"+port, through)
	}
	return plant, tapped
}

// digest is the content and the times of all files in a folder.
func digest(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %x %v\n", entry.Name(), sha256.Sum256(data), info.ModTime())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func rssKiB(t *testing.T, pid int) int {
	t.Helper()
	return procNumber(t, pid, "status", "VmRSS:")
}

func wchar(t *testing.T, pid int) int {
	t.Helper()
	return procNumber(t, pid, "io", "wchar:")
}

func procNumber(t *testing.T, pid int, file, key string) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in /proc/%d/%s", key, pid, file)
	return 0
}
