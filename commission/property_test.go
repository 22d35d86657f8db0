package commission

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"edgeagent"
	"edgeagent/plc"
)

// However a device's map looks and however little it allows in a request: every
// run of at least eight addresses is found whole, and nothing else; thoroughly,
// every single address is. Never-read addresses are not asked for.
func TestScanAgainstRandomMaps(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		thorough := seed%2 == 0
		m, want := randomMap(rng, thorough)
		never := randomNever(rng)
		p := &plant{units: map[uint8]bool{1: true}, registers: areas{3: m}, never: never}
		if rng.IntN(3) == 0 {
			p.most = 1 + rng.IntN(125)
		}
		o := ScanOptions{LastUnit: 1, Areas: []edgeagent.Area{edgeagent.AreaHolding}, To: 1999, Thorough: thorough, NeverRead: never}
		if rng.IntN(2) == 0 {
			o.MaxRegisters = 1 + rng.IntN(125)
		}
		found := map[int]bool{}
		if err := Scan(t.Context(), p.ask, o, func(f Finding) {
			if f.Kind == FoundRange {
				for a := int(f.From); a <= int(f.To); a++ {
					found[a] = true
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(p.broken) > 0 {
			t.Fatalf("seed %d: asked for what must never be read: %v", seed, p.broken)
		}
		if missed := compare(want, found, never, thorough); missed != "" {
			t.Fatalf("seed %d, thorough %v, limit %d, %d a request: %s", seed, thorough, p.most, o.MaxRegisters, missed)
		}
	}
}

// randomMap is a map of runs: of any length, or of at least eight.
func randomMap(rng *rand.Rand, short bool) (map[int]uint16, []bool) {
	m, want := map[int]uint16{}, make([]bool, 2000)
	for at := rng.IntN(40); at < len(want); at += 1 + rng.IntN(200) {
		n := 8 + rng.IntN(150)
		if short {
			n = 1 + rng.IntN(20)
		}
		for end := min(at+n, len(want)); at < end; at++ {
			m[at], want[at] = uint16(at), true
		}
	}
	return m, want
}

func randomNever(rng *rand.Rand) []plc.AddressRange {
	var out []plc.AddressRange
	for range rng.IntN(4) {
		from := uint16(rng.IntN(1990))
		out = append(out, plc.AddressRange{Area: edgeagent.AreaHolding, From: from, To: from + uint16(rng.IntN(10))})
	}
	return out
}

// compare names the first address that is wrong. Never-read ranges cut runs:
// what is left of one may be too short for a scan that is not thorough, so that
// only whole runs of eight count there.
func compare(want []bool, found map[int]bool, never []plc.AddressRange, thorough bool) string {
	open := make([]bool, len(want))
	for a := range want {
		open[a] = want[a] && !forbidden(never, edgeagent.AreaHolding, a, a+1)
	}
	for a := range want {
		switch {
		case found[a] && !open[a]:
			return fmt.Sprintf("address %d was found and is not there", a)
		case open[a] && !found[a] && (thorough || runAround(open, a) >= 8):
			return fmt.Sprintf("address %d was missed", a)
		}
	}
	return ""
}

// runAround is the length of the run that a lies in.
func runAround(open []bool, a int) int {
	from := a
	for from > 0 && open[from-1] {
		from--
	}
	end := slices.Index(append(open[a:len(open):len(open)], false), false)
	return a + end - from
}
