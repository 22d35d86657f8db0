package sim

import (
	"context"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
)

func plant(t *testing.T) *Plant {
	t.Helper()
	p, err := NewPlant(deviceNames...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func word(d *Device, addr uint16) uint16 {
	raw, _ := d.read(edgeagent.AreaHolding, addr, 1)
	return binary.BigEndian.Uint16(raw)
}

func float(d *Device, addr uint16, order edgeagent.ByteOrder) float64 {
	a, b := word(d, addr), word(d, addr+1)
	if order == edgeagent.OrderCDAB {
		a, b = b, a
	}
	return float64(math.Float32frombits(uint32(a)<<16 | uint32(b)))
}

// The conditions as a configuration states them, without their delays.
var conditions = map[string]func(*Plant) bool{
	"A101": func(p *Plant) bool { return word(p.Device("packaging"), 106)&1 != 0 },
	"A305": func(p *Plant) bool { return word(p.Device("packaging"), 106)&2 != 0 },
	"F212": func(p *Plant) bool { d := p.Device("filler"); return word(d, 108) > 50 && word(d, 0) == stateExecute },
}

// runs returns for each alarm the seconds at which it rose and cleared, once
// the condition has held for two seconds.
func runs(p *Plant, d time.Duration) map[string][][2]float64 {
	out, held := map[string][][2]float64{}, map[string]int{}
	for tick := 1; tick <= ticks(d); tick++ {
		p.Step(1)
		for code, holds := range conditions {
			now := (time.Duration(tick) * Tick).Seconds()
			if holds(p) {
				if held[code]++; held[code] == 20 {
					out[code] = append(out[code], [2]float64{now, 0})
				}
				continue
			}
			if n := len(out[code]); held[code] >= 20 {
				out[code][n-1][1] = now
			}
			held[code] = 0
		}
	}
	return out
}

func TestEveryRoundRaisesEachAlarmOnceAndInTime(t *testing.T) {
	for seed := range uint64(5) {
		p := plant(t)
		p.Seed(seed)
		got := runs(p, 2*round)
		latest := map[string]float64{"A101": 15, "F212": 38, "A305": 63}
		for code, by := range latest {
			rs := got[code]
			if len(rs) != 2 {
				t.Fatalf("seed %d: %s rose at %v, want once a round of two", seed, code, rs)
			}
			if rs[0][0] > by || rs[0][1] < rs[0][0]+10 || rs[0][1] > rs[0][0]+32 {
				t.Errorf("seed %d: %s rose and cleared at %v, want by %v s and for 10 to 32 s", seed, code, rs[0], by)
			}
			if math.Abs(rs[1][0]-rs[0][0]-round.Seconds()) > 1 {
				t.Errorf("seed %d: %s rose at %v, want one round apart", seed, code, rs)
			}
		}
	}
}

func TestOverloadIsAnnouncedByCurrentAndHeat(t *testing.T) {
	p := plant(t)
	d := p.Device("packaging")
	p.Step(ticks(40 * time.Second))
	current, temperature := float(d, 102, edgeagent.OrderCDAB), word(d, 104)
	p.Step(ticks(19 * time.Second))
	if word(d, 106)&2 != 0 {
		t.Fatal("the relay dropped before the motor was overloaded")
	}
	if got := float(d, 102, edgeagent.OrderCDAB); got < current+2 {
		t.Errorf("current went from %.1f to %.1f A before the trip", current, got)
	}
	if got := word(d, 104); got < temperature+100 {
		t.Errorf("temperature went from %d to %d tenths before the trip", temperature, got)
	}
	p.Step(ticks(5 * time.Second))
	if word(d, 106)&2 == 0 || word(d, 0) != stateAborted || float(d, 100, edgeagent.OrderABCD) > 1 {
		t.Errorf("after the trip: bits %d state %d speed %.1f", word(d, 106), word(d, 0), float(d, 100, edgeagent.OrderABCD))
	}
}

func TestQuietPlantStaysWithinItsRanges(t *testing.T) {
	p := plant(t)
	p.Step(ticks(95 * time.Second))
	for range ticks(140 * time.Second) {
		p.Step(1)
		f, c, k := p.Device("filler"), p.Device("capper"), p.Device("packaging")
		for name, v := range map[string][3]float64{
			"level":    {float(f, 100, edgeagent.OrderCDAB), 65, 80},
			"flow":     {float(f, 102, edgeagent.OrderABCD), 100, 180},
			"pressure": {float64(word(f, 106)), 300, 330},
			"jitter":   {float64(word(f, 108)), 0, 20},
			"torque":   {float(c, 100, edgeagent.OrderABCD), 1.5, 2.1},
			"caps":     {float64(word(c, 102)), 90, 900},
			"speed":    {float(k, 100, edgeagent.OrderABCD), 20, 25},
			"current":  {float(k, 102, edgeagent.OrderCDAB), 2.9, 3.6},
		} {
			if v[0] < v[1] || v[0] > v[2] {
				t.Fatalf("%s = %v at rest, want %v to %v", name, v[0], v[1], v[2])
			}
		}
	}
	d := p.Device("capper")
	beat := word(d, 1)
	if p.Step(1); word(d, 1) != beat+1 {
		t.Error("the heartbeat stands still")
	}
}

func TestSameSeedSameLife(t *testing.T) {
	a, b := plant(t), plant(t)
	a.Step(777)
	b.Step(777)
	for _, name := range deviceNames {
		x, _ := a.Device(name).read(edgeagent.AreaHolding, 0, 120)
		y, _ := b.Device(name).read(edgeagent.AreaHolding, 0, 120)
		if string(x) != string(y) {
			t.Errorf("%s differs after 777 ticks", name)
		}
	}
}

func TestUnknownNamesNameTheKnown(t *testing.T) {
	if _, err := NewPlant("filler", "press"); err == nil || !strings.Contains(err.Error(), `"press"`) ||
		!strings.Contains(err.Error(), "filler, capper, packaging") {
		t.Errorf("NewPlant = %v", err)
	}
	if plant(t).Device("press") != nil {
		t.Error("an unknown device has an image")
	}
}

func TestRunTicksTenTimesASecondUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plant(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+Tick/2)
		defer cancel()
		before := word(p.Device("filler"), 1)
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if got := word(p.Device("filler"), 1) - before; got != 100 {
			t.Errorf("%d ticks in 10 s, want 100", got)
		}
	})
}

func TestForcedFaultIsThereUntilItIsForcedOff(t *testing.T) {
	for code, holds := range conditions {
		p := plant(t)
		p.Step(ticks(120 * time.Second)) // nothing happens in the script
		for _, on := range []bool{true, false} {
			if err := p.ForceFault(code, on); err != nil {
				t.Fatal(err)
			}
			p.Step(ticks(5 * time.Second))
			if holds(p) != on {
				t.Errorf("%s forced %v: condition %v", code, on, holds(p))
			}
		}
	}
	if err := plant(t).ForceFault("A999", true); err == nil || !strings.Contains(err.Error(), "A305 or freeze") {
		t.Errorf("unknown fault: %v", err)
	}
}

// TestStoppedCPUAnswersAndStandsStill: what a heartbeat is watched for.
func TestStoppedCPUAnswersAndStandsStill(t *testing.T) {
	p := plant(t)
	p.Step(10)
	if err := p.ForceFault(CPUStop, true); err != nil {
		t.Fatal(err)
	}
	before, _ := p.Device("filler").read(edgeagent.AreaHolding, 0, 120)
	p.Step(100)
	after, code := p.Device("filler").read(edgeagent.AreaHolding, 0, 120)
	if code != 0 || string(before) != string(after) {
		t.Errorf("exception %d, or values that move under a stopped CPU", code)
	}
	if err := p.ForceFault(CPUStop, false); err != nil {
		t.Fatal(err)
	}
	beat := word(p.Device("filler"), 1)
	p.Step(1)
	if got := word(p.Device("filler"), 1); got != beat+1 {
		t.Errorf("heartbeat went from %d to %d, want it to go on where it stood", beat, got)
	}
}
