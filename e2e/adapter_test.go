package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cpu returns the processor time that the agent has used.
func (a *agent) cpu() time.Duration {
	a.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.pid()))
	if err != nil {
		a.t.Fatal(err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var ticks int
	for _, i := range []int{11, 12} { // utime and stime; a tick is 10 ms
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			a.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (a *agent) descriptors() int {
	a.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.pid()))
	if err != nil {
		a.t.Fatal(err)
	}
	return len(all)
}

// A USB adapter that is pulled in the middle of things costs no processor, no
// descriptor and no restart: what comes back under its name is read on.
func TestSerialAdapterVanishes(t *testing.T) {
	mostlyWaits(t)
	needsProgram(t, "out/libmodbus-server")
	p, url := onSerial(t, "libmodbus", "out/libmodbus-server", "rtu")
	device := strings.Replace(peerDevice("plc", "x", "line", ""), "modbus-tcp://x", url, 1)
	a := newAgent(t, plan{devices: device}.toml(t))
	a.start()
	polling := func() bool {
		d := a.device("plc")
		return d.State == "polling" && d.Tags.Good == 11
	}
	a.eventually(20*time.Second, "the line is read", polling)
	before := a.descriptors()
	for range 3 {
		p.line.hangUp()
		a.eventually(10*time.Second, "the loss is seen", func() bool {
			d := a.device("plc")
			return d.State == "retrying" && d.Tags.Good == 0
		})
		began := a.cpu()
		time.Sleep(2 * time.Second)
		if used := a.cpu() - began; used > 500*time.Millisecond {
			t.Errorf("%v of processor time in 2 s without an adapter", used)
		}
		p.down()
		p.line.plug()
		p.argv[len(p.argv)-1] = p.line.peer
		p.up()
		a.eventually(40*time.Second, "the new adapter is read", polling)
	}
	a.eventually(10*time.Second, fmt.Sprint("the descriptors are again ", before), func() bool { return a.descriptors() <= before+2 })
}
