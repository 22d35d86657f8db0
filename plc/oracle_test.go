package plc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"edgeagent"
)

// oracleDevice holds at every address what oracle says, except where it has
// holes. It watches what it is asked for.
type oracleDevice struct {
	problem
	holes    []AddressRange
	most     int       // registers a request, untold; 0: the protocol's
	requests []Request // of the last scan
	refusals int       // of the last scan
}

func (o *oracleDevice) ask(_ context.Context, r Request) ([]byte, error) {
	o.requests = append(o.requests, r)
	for _, h := range o.holes {
		if h.overlaps(r.Area, int(r.Offset), r.end()) {
			o.refusals++
			return nil, &Exception{Function: r.Area.Function(), Code: 2}
		}
	}
	if o.most > 0 && !r.Area.Bits() && int(r.Quantity) > o.most {
		o.refusals++
		return nil, &Exception{Function: r.Area.Function(), Code: 3}
	}
	return (&fakeDriver{}).payload(r), nil
}

func (o *oracleDevice) illegal(t *TagSpec) bool {
	return slices.ContainsFunc(o.holes, func(h AddressRange) bool {
		return h.overlaps(t.Addr.Area, int(t.Addr.Offset), t.end())
	})
}

func randomOracle(rnd *rand.Rand) *oracleDevice {
	o := &oracleDevice{problem: randomProblem(rnd)}
	for i := range o.tags {
		o.tags[i].Scan = 0
	}
	for range rnd.IntN(6) {
		from := uint16(rnd.IntN(400))
		o.holes = append(o.holes, AddressRange{edgeagent.Area(1 + rnd.IntN(4)), from, from + uint16(rnd.IntN(6))})
	}
	if rnd.IntN(4) == 0 {
		o.most = 20 + rnd.IntN(60) // more than any tag takes
	}
	return o
}

// scans lets a device that is asked for these tags scan n times, and returns it
// and whether it ever had to leave narrowing for the next pass.
func (o *oracleDevice) scans(n int) (d *device, cutShort bool) {
	spec := filler()
	spec.Tags, spec.NeverRead = o.tags, o.limits.never
	spec.MaxRegisters, spec.MaxBits, spec.MaxGap = o.limits.registers, o.limits.bits, o.limits.gap
	d = newPolled(spec)
	for range n {
		o.requests, o.refusals = nil, 0
		p := &pass{ask: o.ask, d: &d.asks, classes: d.at(time.Time{})}
		p.run(context.Background())
		d.settle(p, time.Now(), time.Now())
		cutShort = cutShort || p.budget < 2
	}
	return d, cutShort
}

// checkScan holds the last scan against what is promised of all of them.
func (o *oracleDevice) checkScan(t *testing.T, d *device) {
	t.Helper()
	for _, r := range o.requests {
		o.checkLimits(t, r)
	}
	for i := range o.tags {
		o.checkTag(t, &o.tags[i], d.last[i])
	}
}

func (o *oracleDevice) checkTag(t *testing.T, tag *TagSpec, s edgeagent.Sample) {
	t.Helper()
	switch {
	case !o.limits.readable(tag):
		if s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonNeverRead) {
			t.Errorf("%s at %v is %v %v, want unreadable", tag.Name, tag.Addr, s.Quality, s.Reason)
		}
	case o.illegal(tag):
		if s.Quality != edgeagent.QualityBad || !s.Reason.Is(edgeagent.ReasonException) || !o.names(tag, s.Reason.Params["address"]) {
			t.Errorf("%s at %v (%d) is %v %v, want refused with an illegal address of its own", tag.Name, tag.Addr, tag.span(), s.Quality, s.Reason)
		}
	default:
		want := make([]uint16, tag.span())
		for i := range want {
			if want[i] = oracle(tag.Addr.Area, int(tag.Addr.Offset)+i); tag.Addr.Area.Bits() {
				want[i] &= 1
			}
		}
		known := s.Quality == edgeagent.QualityGood || s.Reason.Is(edgeagent.ReasonNotANumber)
		if !known || !slices.Equal(s.Raw, want) {
			t.Errorf("%s at %v is %v %v with %x, want %x", tag.Name, tag.Addr, s.Quality, s.Reason, s.Raw, want)
		}
	}
}

// names reports whether the address is the one of a hole in the tag.
func (o *oracleDevice) names(tag *TagSpec, address string) bool {
	for a := int(tag.Addr.Offset); a < tag.end(); a++ {
		if address != (edgeagent.Address{Area: tag.Addr.Area, Offset: uint16(a), Bit: -1}).String() {
			continue
		}
		return slices.ContainsFunc(o.holes, func(h AddressRange) bool { return h.overlaps(tag.Addr.Area, a, a+1) })
	}
	return false
}

// fewestKnowing is the optimum for one who has learned what the scans before
// have: no request reads over a refused tag or a hole.
func (o *oracleDevice) fewestKnowing() int {
	p := o.problem
	p.limits.holes = slices.Clone(o.holes)
	for i := range o.tags {
		if t := &o.tags[i]; o.limits.readable(t) && o.illegal(t) {
			p.limits.holes = append(p.limits.holes, AddressRange{t.Addr.Area, t.Addr.Offset, uint16(t.end() - 1)})
		}
	}
	return p.fewest(func(t *TagSpec) bool { return p.limits.readable(t) && !o.illegal(t) })
}

// learned is within how many scans everything is found out about up to 60 tags
// with five holes.
const learned = 2

// TestHolesOfAnOracleAreLearned: random tags, holes, never_read and limits, some
// of which the device keeps to itself.
func TestHolesOfAnOracleAreLearned(t *testing.T) {
	var compared int
	for seed := range uint64(1500) {
		o := randomOracle(rand.New(rand.NewPCG(seed, 2)))
		d, cutShort := o.scans(learned + 1)
		o.checkScan(t, d)
		if o.refusals > 0 && !o.allIllegal() {
			t.Errorf("%d requests are still refused in scan %d", o.refusals, learned+1)
		}
		if d.state == edgeagent.DevicePolling && !cutShort && o.most == 0 {
			compared++
			if best := o.fewestKnowing(); len(d.requests()) > best {
				t.Errorf("%d requests a scan, the optimum is %d: %v", len(d.requests()), best, d.requests())
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d: holes %v, untold limit %d, problem %+v", seed, o.holes, o.most, o.problem)
		}
	}
	if compared < 750 {
		t.Errorf("only %d cases were compared with the optimum", compared)
	}
}

// allIllegal reports whether nothing is left to be read: then one refused tag
// is asked for, to see whether the device is there.
func (o *oracleDevice) allIllegal() bool {
	return !slices.ContainsFunc(o.tags, func(t TagSpec) bool { return o.limits.readable(&t) && !o.illegal(&t) })
}

// FuzzHoles lets the fuzzer choose the device.
func FuzzHoles(f *testing.F) {
	f.Add([]byte("a plant that has grown"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		o := randomOracle(rand.New(&chosen{choices, rand.NewPCG(1, 2)}))
		d, _ := o.scans(learned + 1)
		if o.checkScan(t, d); t.Failed() {
			t.Logf("holes %v, untold limit %d, problem %+v", o.holes, o.most, o.problem)
		}
	})
}

// TestPassAllocatesByTheRequest: 10,000 tags must not be 10,000 pieces of
// garbage a second on a small box.
func TestPassAllocatesByTheRequest(t *testing.T) {
	spec := filler()
	spec.Tags = nil
	for i := range 10000 {
		tag := word(fmt.Sprint("t", i), uint16(i))
		if i >= 8000 {
			tag.Addr.Area, tag.Type = edgeagent.AreaCoil, edgeagent.TypeBool
		}
		spec.Tags = append(spec.Tags, tag)
	}
	d := newPolled(spec)
	registers, bits := make([]byte, 250), make([]byte, 250)
	ask := func(_ context.Context, r Request) ([]byte, error) {
		if r.Area.Bits() {
			return bits[:(r.Quantity+7)/8], nil
		}
		return registers[:2*r.Quantity], nil
	}
	requests := len(d.requests())
	allocs := testing.AllocsPerRun(10, func() {
		p := &pass{ask: ask, d: &d.asks, classes: d.at(time.Time{})}
		if p.run(context.Background()); len(p.samples) != 10000 {
			t.Fatalf("%d samples", len(p.samples))
		}
	})
	t.Logf("%.0f allocations for 10,000 tags in %d requests", allocs, requests)
	if requests != 65 || allocs > float64(2*requests) {
		t.Errorf("%.0f allocations in %d requests, want at most two a request", allocs, requests)
	}
}
