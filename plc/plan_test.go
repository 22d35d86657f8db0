package plc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"edgeagent"
)

func TestPlanMergesAcrossSmallGapsOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		offsets []uint16
		gap     int
		never   []AddressRange
		want    []string
	}{
		"neighbours":        {[]uint16{100, 101, 102}, 0, nil, []string{"FC3 holding:100-102 (3 registers)"}},
		"gap of 16":         {[]uint16{100, 117}, 16, nil, []string{"FC3 holding:100-117 (18 registers)"}},
		"gap of 17":         {[]uint16{100, 118}, 16, nil, []string{"FC3 holding:100 (1 register)", "FC3 holding:118 (1 register)"}},
		"no gap allowed":    {[]uint16{100, 102}, 0, nil, []string{"FC3 holding:100 (1 register)", "FC3 holding:102 (1 register)"}},
		"never read within": {[]uint16{100, 110}, 16, []AddressRange{{edgeagent.AreaHolding, 105, 105}}, []string{"FC3 holding:100 (1 register)", "FC3 holding:110 (1 register)"}},
		"never read beside": {[]uint16{100, 110}, 16, []AddressRange{{edgeagent.AreaInput, 105, 105}}, []string{"FC3 holding:100-110 (11 registers)"}},
		"tag is never read": {[]uint16{100, 110}, 16, []AddressRange{{edgeagent.AreaHolding, 110, 120}}, []string{"FC3 holding:100 (1 register)"}},
		"both ends":         {[]uint16{0, 65535}, 16, nil, []string{"FC3 holding:0 (1 register)", "FC3 holding:65535 (1 register)"}},
		"unsorted":          {[]uint16{102, 100, 101}, 0, nil, []string{"FC3 holding:100-102 (3 registers)"}},
	} {
		var tags []TagSpec
		for _, o := range tc.offsets {
			tags = append(tags, word(fmt.Sprint("w", o), o))
		}
		var got []string
		for _, r := range Plan(tags, 0, 0, tc.gap, tc.never) {
			got = append(got, r.String())
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestPlanKeepsScanClassesAndAreasApart(t *testing.T) {
	a, b, c, d := word("a", 1), word("b", 2), word("c", 3), word("d", 4)
	b.Scan, c.Addr.Area = time.Second, edgeagent.AreaInput
	d.Addr.Area, d.Type = edgeagent.AreaCoil, edgeagent.TypeBool
	got := Plan([]TagSpec{a, b, c, d}, 0, 0, 16, nil)
	if len(got) != 4 || got[1].Scan != time.Second {
		t.Errorf("%v, want four requests, the second each second", got)
	}
	if s := got[3].String(); s != "FC1 coil:4 (1 bit)" {
		t.Errorf("coil request is %q", s)
	}
}

func TestPlanLeavesOutWhatNoRequestCanRead(t *testing.T) {
	long, edge := word("long", 10), word("edge", 65535)
	long.Type, long.Length = edgeagent.TypeString, 126
	edge.Type = edgeagent.TypeFloat32
	empty := word("empty", 5)
	empty.Type = edgeagent.TypeString
	if got := Plan([]TagSpec{long, edge, empty}, 0, 0, 16, nil); len(got) != 0 {
		t.Errorf("%v, want no request", got)
	}
	double := word("double", 10)
	double.Type = edgeagent.TypeFloat64
	if got := Plan([]TagSpec{double}, 2, 0, 16, nil); len(got) != 0 {
		t.Errorf("%v: a request over the limit of 2 registers", got)
	}
}

func TestPlanOfAThousandTags(t *testing.T) {
	var tags []TagSpec
	for i := range 1000 {
		tags = append(tags, word(fmt.Sprint("w", i), uint16(i/40*1000+i%40*3)))
	}
	if n := len(Plan(tags, 125, 2000, 16, nil)); n != 25 {
		t.Errorf("%d requests for 25 blocks of 118 registers, want 25", n)
	}
}

// TestPlanProperties holds random plans against what is promised of them.
func TestPlanProperties(t *testing.T) {
	for seed := range uint64(2000) {
		randomProblem(rand.New(rand.NewPCG(seed, 1))).checkPlan(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzPlan lets the fuzzer choose the problem.
func FuzzPlan(f *testing.F) {
	f.Add([]byte("a plant that has grown"))
	f.Add(bytes.Repeat([]byte{0xff, 0, 7}, 200))
	f.Fuzz(func(t *testing.T, choices []byte) {
		randomProblem(rand.New(&chosen{choices, rand.NewPCG(1, 2)})).checkPlan(t)
	})
}

// chosen is a source of chance that the fuzzer controls, as far as it wants to.
type chosen struct {
	choices []byte
	then    rand.Source
}

func (c *chosen) Uint64() uint64 {
	if len(c.choices) < 2 {
		return c.then.Uint64()
	}
	v := uint64(binary.BigEndian.Uint16(c.choices))
	c.choices = c.choices[2:]
	return v<<48 | v<<32 | v<<16 | v
}

func (p problem) checkPlan(t *testing.T) {
	t.Helper()
	plan := Plan(p.tags, p.limits.registers, p.limits.bits, p.limits.gap, p.limits.never)
	if p.check(t, plan); t.Failed() {
		t.Logf("problem %+v\nplan %v", p, plan)
	}
}

type problem struct {
	tags   []TagSpec
	limits limits
}

var someTypes = []edgeagent.DataType{edgeagent.TypeUint16, edgeagent.TypeInt32, edgeagent.TypeFloat64, edgeagent.TypeString}

func randomProblem(rnd *rand.Rand) problem {
	p := problem{limits: limits{registers: 4 + rnd.IntN(122), bits: 1 + rnd.IntN(2000), gap: rnd.IntN(30)}}
	for i := range 1 + rnd.IntN(60) {
		t := word(fmt.Sprint("t", i), uint16(rnd.IntN(400)))
		t.Addr.Area = edgeagent.Area(1 + rnd.IntN(4))
		t.Scan = time.Duration(rnd.IntN(2)) * time.Second
		t.Type = someTypes[rnd.IntN(len(someTypes))]
		t.Length = 1 + rnd.IntN(20)
		p.tags = append(p.tags, t)
	}
	for range rnd.IntN(4) {
		from := uint16(rnd.IntN(400))
		p.limits.never = append(p.limits.never, AddressRange{edgeagent.Area(1 + rnd.IntN(4)), from, from + uint16(rnd.IntN(10))})
	}
	return p
}

func (p problem) checkLimits(t *testing.T, r Request) {
	t.Helper()
	most := p.limits.registers
	if r.Area.Bits() {
		most = p.limits.bits
	}
	if int(r.Quantity) > most {
		t.Errorf("%v is over the limit of %d", r, most)
	}
	for _, n := range p.limits.never {
		if n.overlaps(r.Area, int(r.Offset), r.end()) {
			t.Errorf("%v touches never_read %v", r, n)
		}
	}
}

func (p problem) check(t *testing.T, plan []Request) {
	t.Helper()
	served := make([]int, len(p.tags))
	for _, r := range plan {
		p.checkLimits(t, r)
		for _, i := range r.Tags {
			served[i]++
			tag := p.tags[i]
			if tag.Addr.Area != r.Area || tag.Scan != r.Scan || tag.Addr.Offset < r.Offset || tag.end() > r.end() {
				t.Errorf("%v splits or misses %s at %v", r, tag.Name, tag.Addr)
			}
		}
	}
	for i, n := range served {
		if readable := p.limits.readable(&p.tags[i]); readable && n != 1 || !readable && n != 0 {
			t.Errorf("tag %d (readable: %v) is read %d times", i, readable, n)
		}
	}
	if best := p.fewest(p.limits.readable); len(plan) > best {
		t.Errorf("%d requests, the optimum is %d", len(plan), best)
	}
}

// fewest returns the least number of requests by trying, for each tag in the
// order of addresses, every place where its request may have begun. Only wanted
// tags are read.
func (p problem) fewest(wanted func(*TagSpec) bool) int {
	total := 0
	for _, scan := range []time.Duration{0, time.Second} {
		for area := edgeagent.AreaCoil; area <= edgeagent.AreaInput; area++ {
			var sorted []TagSpec
			for _, t := range p.tags {
				if t.Addr.Area == area && t.Scan == scan && wanted(&t) {
					sorted = append(sorted, t)
				}
			}
			slices.SortFunc(sorted, func(a, b TagSpec) int { return int(a.Addr.Offset) - int(b.Addr.Offset) })
			total += p.fewestOf(sorted)
		}
	}
	return total
}

func (p problem) fewestOf(sorted []TagSpec) int {
	best := make([]int, len(sorted)+1)
	for to := 1; to <= len(sorted); to++ {
		best[to] = best[to-1] + 1
		for from := to - 1; from >= 0; from-- {
			if p.together(sorted[from:to]) {
				best[to] = min(best[to], best[from]+1)
			}
		}
	}
	return best[len(sorted)]
}

// together reports whether one request may read all the tags, register by
// register.
func (p problem) together(tags []TagSpec) bool {
	wanted, first, end := map[int]bool{}, 1<<17, 0
	for i := range tags {
		first, end = min(first, int(tags[i].Addr.Offset)), max(end, tags[i].end())
		for a := int(tags[i].Addr.Offset); a < tags[i].end(); a++ {
			wanted[a] = true
		}
	}
	most, gap := p.limits.registers, p.limits.gap
	if tags[0].Addr.Area.Bits() {
		most, gap = p.limits.bits, gap*16
	}
	if end-first > most {
		return false
	}
	vain := 0
	for a := first; a < end; a++ {
		vain++
		if wanted[a] {
			vain = 0
		}
		if vain > gap || vain > 0 && slices.ContainsFunc(p.limits.holes, func(n AddressRange) bool { return n.overlaps(tags[0].Addr.Area, a, a+1) }) || slices.ContainsFunc(p.limits.never, func(n AddressRange) bool { return n.overlaps(tags[0].Addr.Area, a, a+1) }) {
			return false
		}
	}
	return true
}
