package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Ten thousand tags in twenty devices, all of them another value every second:
// what the whole agent takes of a small box. Ten minutes, a whole history, with
// the full numbers.
func TestTenThousandTagsFitASmallBox(t *testing.T) {
	mostlyWaits(t)
	const devices = 20
	watch, budget := time.Minute, 80<<10
	if full() { // on a quiet machine, where the collector is never late
		watch, budget = 10*time.Minute, 64<<10
	}
	needsProgram(t, "out/libmodbus-server")
	var config strings.Builder
	fmt.Fprintf(&config, "[agent]\nid = \"gw\"\nsite = \"plant\"\n[status]\nlisten = \"127.0.0.1:0\"\n")
	for d := range devices {
		port := freePort(t)
		p := startPeer(t, fmt.Sprint("libmodbus-", d), port, "out/libmodbus-server", port, "moving")
		movingDevice(&config, d, p.addr)
	}
	a := newAgent(t, config.String())
	a.start()
	a.eventually(30*time.Second, "all devices are polled", func() bool {
		n := 0
		for _, d := range a.status().Devices {
			if d.State == "polling" {
				n++
			}
		}
		return n == devices
	})
	begin, cpu, most := time.Now(), cpuTime(t, a.pid()), 0
	for time.Since(begin) < watch {
		time.Sleep(2 * time.Second) // memory is looked at while it is used
		most = max(most, rssKiB(t, a.pid()))
	}
	share := float64(cpuTime(t, a.pid())-cpu) / float64(time.Since(begin)) * 100
	t.Logf("%v of 10,000 tags at one second: RSS %d KiB at most, %d KiB at the end, %.1f %% of a core", watch, most, rssKiB(t, a.pid()), share)
	if most > budget {
		t.Errorf("RSS %d KiB, budget %d", most, budget)
	}
	a.eventually(20*time.Second, "all tags are good, or the measurement is worthless", func() bool {
		good := 0
		for _, d := range a.status().Devices {
			good += d.Tags.Good
		}
		return good >= devices*500*99/100
	})
}

// movingDevice writes a device of 500 tags and 25 alarms that never come, as
// out/libmodbus-server fills its registers.
func movingDevice(to *strings.Builder, d int, addr string) {
	fmt.Fprintf(to, "[[device]]\nname = \"machine_%02d\"\nurl = \"modbus-tcp://%s\"\nscan = \"1s\"\n", d, addr)
	tag := func(name, address, kind, more string) {
		fmt.Fprintf(to, "  [[device.tag]]\n  name = %q\n  address = %q\n  type = %q\n%s", name, address, kind, more)
	}
	for block := range 50 {
		at := 20 * block
		for i := range 4 {
			tag(fmt.Sprintf("word_%d_%d", block, i), fmt.Sprint("holding:", at+i), "uint16", "")
		}
		for i := range 3 {
			tag(fmt.Sprintf("level_%d_%d", block, i), fmt.Sprint("holding:", at+4+2*i), "float32", "  eng_unit = \"°C\"\n")
		}
		tag(fmt.Sprintf("speed_%d", block), fmt.Sprint("holding:", at+10), "uint16", "  scale = 0.1\n")
		tag(fmt.Sprintf("recipe_%d", block), fmt.Sprint("holding:", at+11), "uint16", "")
		tag(fmt.Sprintf("running_%d", block), fmt.Sprint("coil:", block), "bool", "")
	}
	for i := range 25 {
		fmt.Fprintf(to, "  [[device.alarm]]\n  code = \"M%02d-A%d\"\n  when = \"level_%d_0 > 1000\"\n", d, i, i)
	}
}

// cpuTime is what a process has used so far, in user and kernel mode.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	var ticks int
	for _, field := range strings.Fields(rest)[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 on every Linux
}
