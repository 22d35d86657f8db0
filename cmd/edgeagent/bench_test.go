package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgeagent/config"
)

// largePlant writes a configuration of ten devices with n tags and n/20 alarms
// in all.
func largePlant(b *testing.B, n int) string {
	b.Helper()
	var text strings.Builder
	text.WriteString("[agent]\nid = \"gw\"\nsite = \"plant\"\n")
	for d := range 10 {
		fmt.Fprintf(&text, "[[device]]\nname = \"d%d\"\nurl = \"modbus-tcp://10.0.0.%d\"\n", d, d+1)
		for i := range n / 10 {
			fmt.Fprintf(&text, "  [[device.tag]]\n  name = \"tag_%d\"\n  address = \"holding:%d\"\n  type = \"float32\"\n  order = \"CDAB\"\n"+
				"  scale = 0.1\n  eng_unit = \"°C\"\n  min = 0\n  max = 100.0\n", i, 2*i)
		}
		for i := range n / 200 {
			fmt.Fprintf(&text, "  [[device.alarm]]\n  code = \"A%d\"\n  when = \"tag_%d > 80 and tag_%d < 20\"\n  context = [\"tag_%d\"]\n", i, i, n/10-1-i, n/10-1)
		}
	}
	path := filepath.Join(b.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkLoad is a configuration of 10,000 tags and 500 alarms, read and
// checked as run, reload and check do it: CPU, and how long one waits for it.
func BenchmarkLoad(b *testing.B) {
	path := largePlant(b, 10_000)
	began, cpu, n := time.Now(), usedCPU(b), 0
	for b.Loop() {
		c, err := config.Load(path, checks())
		if err != nil || len(c.Devices) != 10 || len(c.Devices[9].Tags) != 1000 || len(c.Devices[9].Alarms) != 50 {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric((usedCPU(b)-cpu).Seconds()*1e3/float64(n), "ms-CPU/10000-tags")
	b.ReportMetric(time.Since(began).Seconds()*1e3/float64(n), "ms/10000-tags")
}

// usedCPU is what this process has used so far, in user and kernel mode.
func usedCPU(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
