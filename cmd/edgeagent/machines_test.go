package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"edgeagent"
	"edgeagent/alarm"
	"edgeagent/plc"
	"edgeagent/queue"
	upsync "edgeagent/sync"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/state-machines.md from what the code does")

const machinesFile = "../../docs/state-machines.md"

// machines are the tables that run, with the words that stand above them.
var machines = []struct {
	name, about string
	steps       []edgeagent.Step
}{
	{"Device", "One machine a unit, in `plc`. The waits between failures are 2, 4, 8, 16 and 30 s; the failure after the 30 s wait " +
		"stops the device. Then nothing is sent to it but one probe a `resume` period, or nothing at all with `resume = \"operator\"`. " +
		"State and counter survive a restart.", plc.Machine()},
	{"Alarm", "One machine an activation, in `alarm`. Losing a value is no event here: it never clears an alarm.", alarm.Machine()},
	{"Job", "One machine a job, in `queue`. An attempt counts when it ends; a job that is found running when the file is opened " +
		"counts an interrupt.", queue.Machine()},
	{"Upstream", "One machine an upstream, in `sync`, driven by real requests to the real endpoint.", upsync.Machine()},
}

// The drawing is made from the tables that run, so that it cannot lie.
func TestStateMachinesAreDrawnAsTheyRun(t *testing.T) {
	want := drawAll()
	if *update {
		if err := os.WriteFile(machinesFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(machinesFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/state-machines.md is not what the code does; run go test ./cmd/edgeagent -run StateMachines -update and read the change")
	}
}

func drawAll() string {
	var b strings.Builder
	b.WriteString("# State machines\n\nDrawn by a test from the tables in the code; do not edit. The provider's machine is gobreaker's:\n" +
		"closed, open, half-open, with a prober beside it (`llm`).\n")
	for _, m := range machines {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```mermaid\nstateDiagram-v2\n", m.name, m.about)
		for _, s := range m.steps {
			fmt.Fprintf(&b, "    %s --> %s: %s\n", node(s.From), node(s.To), s.Event)
		}
		b.WriteString("```\n\n| from | event | to | action |\n| --- | --- | --- | --- |\n")
		for _, s := range m.steps {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", dash(s.From), s.Event, dash(s.To), dash(s.Action))
		}
	}
	return b.String()
}

// node is a state in mermaid's terms: nothing is where a machine begins or ends.
func node(state string) string {
	if state == "" {
		return "[*]"
	}
	return strings.ReplaceAll(state, "-", "_")
}
