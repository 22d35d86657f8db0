package alarm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

// alm is a word of the filler as most manuals number it.
func alm() Word {
	return Word{
		Device: "filler", Line: "L1", Area: "A", Tag: "alm1", Bits: 16, Priority: 3, Diagnose: true,
		Rows: []Text{{Number: 0, Code: "E100", Priority: 1, Text: "Guard open"}, {Number: 5, Code: "E105", Text: "Low air"}},
	}
}

func words16(t *testing.T, w Word) *plant {
	t.Helper()
	return startWith(t, Options{Words: []Word{w}})
}

func TestWordRaisesEachBit(t *testing.T) {
	p := words16(t, alm())
	p.expect(p.scan("alm1", 0), "")
	ts := p.scan("alm1", 0b1010_0001)
	p.expect(ts, "raised filler/E100, raised filler/E105, raised filler/ALM1.7")
	if a := ts[0].Alarm; a.Priority != 1 || a.Text != "Guard open" || !a.Diagnose || !a.FirstOut || a.Line != "L1" || a.Area != "A" ||
		!a.Values["filler.alm1"].Equal(edgeagent.Int(161)) || strings.Join(p.evidence[0], " ") != "alm1" {
		t.Errorf("a bit with a row raised as %+v", a)
	}
	if a := ts[2].Alarm; a.Priority != 3 || a.Text != "unlisted bit 7 of alm1" || a.FirstOut {
		t.Errorf("a bit without a row raised as %+v", a)
	}
	p.expect(p.scan("alm1", 0b1010_0001), "")
	p.expect(p.scan("alm1", 0b1000_0011), "cleared filler/E105, raised filler/ALM1.1")
	p.expect(p.scan("alm1", 0), "cleared filler/E100, cleared filler/ALM1.1, cleared filler/ALM1.7")
}

func TestWordNumbering(t *testing.T) {
	tests := []struct {
		name string
		tag  string
		edit func(*Word)
		raw  any
		code string
	}{
		{"from zero", "alm1", func(*Word) {}, 1 << 9, "ALM1.9"},
		{"from one", "alm1", func(w *Word) { w.FirstBit = 1 }, 1 << 9, "ALM1.10"},
		{"below zero", "alm1", func(w *Word) { w.FirstBit = -4 }, 1, "ALM1.-4"},
		{"bytes swapped", "alm1", func(w *Word) { w.Swap = "bytes" }, 1 << 8, "ALM1.0"},
		{"bytes swapped back", "alm1", func(w *Word) { w.Swap = "bytes" }, 1 << 1, "ALM1.9"},
		{"32 bits", "alm2", func(w *Word) { w.Bits = 32 }, 1 << 31, "ALM2.31"},
		{"32 bits, words swapped", "alm2", func(w *Word) { w.Bits, w.Swap = 32, "words" }, 1 << 3, "ALM2.19"},
		{"32 bits, bytes swapped", "alm2", func(w *Word) { w.Bits, w.Swap = 32, "bytes" }, 1 << 16, "ALM2.24"},
		{"the sign of an int16", "alm3", func(*Word) {}, -32768, "ALM3.15"},
		{"the sign of an int32", "alm2", func(w *Word) { w.Bits = 32 }, -1 << 31, "ALM2.31"},
		{"a float that is whole", "alm1", func(*Word) {}, 2.0, "ALM1.1"},
		{"a float that is not", "alm1", func(*Word) {}, 2.5, ""},
		{"more than its bits", "alm1", func(*Word) {}, 1 << 16, ""},
		{"less than its bits", "alm1", func(*Word) {}, -32769, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := alm()
			w.Tag, w.Rows = tt.tag, nil
			tt.edit(&w)
			p := words16(t, w)
			p.scan(tt.tag, 0)
			want := ""
			if tt.code != "" {
				want = "raised filler/" + tt.code
			}
			p.expect(p.scan(tt.tag, tt.raw), want)
		})
	}
}

// All bits of an int16 are set when it is -1.
func TestWordOfMinusOne(t *testing.T) {
	w := alm()
	w.Tag, w.Rows = "alm3", nil
	p := words16(t, w)
	p.scan("alm3", 0)
	if n := len(p.scan("alm3", -1)); n != 16 {
		t.Errorf("%d raised, want 16", n)
	}
}

func TestWordLosesItsValue(t *testing.T) {
	p := words16(t, alm())
	p.scan("alm1", 0)
	p.scan("alm1", 1)
	p.expect(p.scan("alm1", nil), "marked filler/E100 lost")
	p.expect(p.scan("alm1", "text"), "")
	p.expect(p.wait(time.Hour), "")
	p.expect(p.scan("alm1", 1), "marked filler/E100")
	p.expect(p.wait(4*time.Second), "marked filler/E100 lost")
	p.expect(p.scan("alm1", 32), "cleared filler/E100, raised filler/E105")
	p.expect(p.event(stopped), "raised filler/device_stopped, marked filler/E105 lost")
	p.expect(p.event(resumed), "cleared filler/device_stopped")
	p.expect(p.scan("alm1", 33), "marked filler/E105, raised filler/E100")
}

// A bit that waits for its delay when the value is lost starts again with it,
// though the word is the same as before.
func TestWordDelays(t *testing.T) {
	w := alm()
	w.OnDelay, w.OffDelay = 2*time.Second, time.Second
	p := words16(t, w)
	p.scan("alm1", 0)
	p.scan("alm1", 1)
	p.scan("alm1", nil)
	p.expect(p.scan("alm1", 1), "")
	p.expect(p.wait(2*time.Second), "raised filler/E100")
	p.scan("alm1", 0)
	p.scan("alm1", 1)
	p.expect(p.wait(1500*time.Millisecond), "")
	p.scan("alm1", 0)
	p.expect(p.wait(time.Second), "cleared filler/E100")
	p.scan("alm1", 1)
	p.wait(1900 * time.Millisecond)
	p.scan("alm1", 0) // chatters: the delay starts anew
	p.scan("alm1", 1)
	p.expect(p.wait(1900*time.Millisecond), "")
	p.expect(p.wait(100*time.Millisecond), "raised filler/E100")
}

func TestWordOverARestart(t *testing.T) {
	p := words16(t, alm())
	p.expect(p.scan("alm1", 0b1000_0001), "raised filler/E100 at_start, raised filler/ALM1.7 at_start")
	p.expect(p.restart(), "")
	p.expect(p.scan("alm1", 0b1010_0000), "cleared filler/E100 after_gap, raised filler/E105 at_start")
	w := alm()
	w.Bits, w.Tag, w.Rows = 16, "alm3", nil
	p.options.Words = []Word{w}
	p.expect(p.restart(), "cleared filler/ALM1.7 at_start removed, cleared filler/E105 at_start removed")
}

func TestWordIsMutedWhileTheDeviceIsStopped(t *testing.T) {
	p := words16(t, alm())
	p.event(stopped)
	at := p.now
	p.values["filler.alm1"] = edgeagent.Reading{Value: edgeagent.Int(33), Quality: edgeagent.QualityGood, At: &at}
	p.expect(p.keep(p.engine.Apply(edgeagent.Scan{Device: "filler", Samples: []edgeagent.Sample{{Tag: "alm1"}}}, p, p.now)), "")
	p.expect(p.event(resumed), "cleared filler/device_stopped, raised filler/E100 at_start, raised filler/E105 at_start")
}

func TestWordRefuses(t *testing.T) {
	tests := []struct {
		edit func(*Word)
		want string
	}{
		{func(w *Word) { w.Bits = 8 }, "alarm word filler.alm1: it has 8 bits; 16 and 32 are words"},
		{func(w *Word) { w.Swap = "nibbles" }, `swap "nibbles"; want none, bytes or words`},
		{func(w *Word) { w.Swap = "words" }, `swap "words" wants 32 bits`},
		{func(w *Word) { w.FirstBit = 1 }, "bit 0 is not one of its bits 1 to 16"},
		{func(w *Word) { w.Rows[1].Number = 0 }, "bit 0 has two rows; keep one"},
		{func(w *Word) { w.Tag = "alm11" }, `unknown tag "alm11"; did you mean "alm1"?`},
		{func(w *Word) { w.Tag = "level" }, "its tag is a float32; want a whole number such as uint16"},
		{func(w *Word) { w.Tag = "recipe" }, "its tag is a string"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			w := alm()
			tt.edit(&w)
			if _, err := New(nil, defs(), Options{Words: []Word{w}}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want %q", err, tt.want)
			}
		})
	}
}

// Whatever a word does, what is open are its set bits.
func TestWordHoldsToItsBits(t *testing.T) {
	w := alm()
	w.Tag, w.Bits, w.Rows = "alm2", 32, nil
	for seed := range uint64(20) {
		p, r := words16(t, w), rand.New(rand.NewPCG(seed, 3))
		p.scan("alm2", 0)
		for range 100 {
			bits := r.Uint32() & r.Uint32() & r.Uint32()
			switch r.IntN(6) {
			case 0:
				p.scan("alm2", nil)
			case 1:
				p.restart()
			}
			p.scan("alm2", int(bits))
			p.now = p.now.Add(time.Second)
			var open uint32
			for _, a := range p.engine.Open() {
				var k int
				if _, err := fmt.Sscanf(a.Code, "ALM2.%d", &k); err != nil {
					t.Fatal(err)
				}
				open |= 1 << k
			}
			if open != bits {
				t.Fatalf("seed %d: open %032b, want %032b", seed, open, bits)
			}
		}
	}
}

// counting counts how often a table is asked.
type counting struct {
	*costs
	asked int
}

func (c *counting) Reading(device, tag string) (edgeagent.Reading, bool) {
	c.asked++
	return c.costs.Reading(device, tag)
}

// Thousands of bits of a plant in order cost one look at each word.
func TestQuietWordIsReadOnce(t *testing.T) {
	c := newWords(t, 50)
	view := &counting{costs: c}
	c.set(0)
	c.engine.Apply(c.scan, view, c.now)
	view.asked = 0
	c.set(0)
	if ts := c.engine.Apply(c.scan, view, c.now); len(ts) != 0 || view.asked != 50 {
		t.Errorf("%d transitions, %d values asked for; want none and 50", len(ts), view.asked)
	}
	if _, ok := c.engine.Next(); ok {
		t.Error("a plant in order wants to be looked at again")
	}
}
