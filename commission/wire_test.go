package commission

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgeagent"
	"edgeagent/plc"
	"edgeagent/plc/modbus"
	"edgeagent/plc/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Over a real socket, with the agent's own link, against the simulated plant:
// nothing but reads goes out, and the answers are understood.
func TestOverTheWire(t *testing.T) {
	d := sim.NewDevice()
	d.Allow(edgeagent.AreaHolding, 100, 149)
	d.SetFloat32(110, 21.5, edgeagent.OrderCDAB)
	server, err := sim.Listen("127.0.0.1:0", map[uint8]*sim.Device{9: d})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	link := modbus.New(modbus.Options{Addr: server.Addr(), Timeout: 5 * time.Second})
	defer func() {
		link.Close()
		cancel()
		<-served
	}()

	var found []string
	o := ScanOptions{FirstUnit: 9, LastUnit: 9, Areas: []edgeagent.Area{edgeagent.AreaHolding}, To: 999}
	if err := Scan(ctx, link.Read, o, func(f Finding) {
		if f.Kind == FoundRange {
			found = append(found, f.Text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !strings.Contains(found[0], "holding:100-149") {
		t.Errorf("found %q", found)
	}

	tags := []plc.TagSpec{holding("temp", 110, "float32", "ABCD")}
	r, err := Doctor(ctx, link.Read, Subject{Device: "oven", Unit: 9, Tags: tags, Again: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Tags[0].Readings[0].Plausibility != Implausible || !strings.Contains(r.Tags[0].Verdict, "CDAB gives 21.5") {
		t.Errorf("verdict %q", r.Tags[0].Verdict)
	}
	if server.Writes() != 0 {
		t.Errorf("%d writes", server.Writes())
	}
}
