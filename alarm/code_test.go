package alarm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgeagent"
)

func faults() Code {
	return Code{
		Device: "filler", Line: "L1", Area: "A", Tag: "fault_no", None: []int64{0, 255}, Diagnose: true,
		Rows: []Text{{Number: 12, Code: "F12", Priority: 1, Text: "Overload"}, {Number: 15, Code: "F15", Text: "Door"}},
	}
}

func coded(t *testing.T, c Code) *plant {
	t.Helper()
	p := startWith(t, Options{Codes: []Code{c}})
	p.scan("fault_no", 0)
	return p
}

func TestCodeOneAfterTheOther(t *testing.T) {
	p := coded(t, faults())
	ts := p.scan("fault_no", 12)
	p.expect(ts, "raised filler/F12")
	if a := ts[0].Alarm; a.Priority != 1 || a.Text != "Overload" || !a.Values["filler.fault_no"].Equal(edgeagent.Int(12)) {
		t.Errorf("raised as %+v", a)
	}
	p.expect(p.scan("fault_no", 15), "cleared filler/F12, raised filler/F15")
	p.expect(p.scan("fault_no", 15), "")
	p.expect(p.scan("fault_no", 255), "cleared filler/F15")
	ts = p.scan("fault_no", 42)
	p.expect(ts, "raised filler/FAULT_NO.42")
	if a := ts[0].Alarm; a.Priority != 3 || a.Text != "unlisted number 42 of fault_no" {
		t.Errorf("raised as %+v", a)
	}
	p.expect(p.scan("fault_no", 43), "cleared filler/FAULT_NO.42, raised filler/FAULT_NO.43")
	p.expect(p.scan("fault_no", 12), "cleared filler/FAULT_NO.43, raised filler/F12")
	p.expect(p.scan("fault_no", -1), "cleared filler/F12, raised filler/FAULT_NO.-1")
	p.expect(p.scan("fault_no", 12.5), "")
	p.expect(p.scan("fault_no", nil), "marked filler/FAULT_NO.-1 lost")
	p.expect(p.scan("fault_no", 0), "cleared filler/FAULT_NO.-1")
}

func TestCodeOverARestart(t *testing.T) {
	for _, n := range []int{12, 42} {
		name := map[int]string{12: "F12", 42: "FAULT_NO.42"}[n]
		p := coded(t, faults())
		p.expect(p.scan("fault_no", n), "raised filler/"+name)
		p.expect(p.restart(), "")
		p.expect(p.scan("fault_no", n), "")
		p.expect(p.restart(), "")
		p.expect(p.scan("fault_no", 15), "cleared filler/"+name+" after_gap, raised filler/F15 at_start")
	}
	p := coded(t, faults())
	p.scan("fault_no", 42)
	p.options.Codes = nil
	p.expect(p.restart(), "cleared filler/FAULT_NO.42 removed")
}

func TestCodeOfBeforeTheRestartThatIsListedNow(t *testing.T) {
	p := coded(t, faults())
	p.scan("fault_no", 42)
	p.options.Codes[0].Rows = append(p.options.Codes[0].Rows, Text{Number: 42, Code: "F42"})
	p.expect(p.restart(), "cleared filler/FAULT_NO.42 removed")
	p.expect(p.scan("fault_no", 42), "raised filler/F42 at_start")
}

// A counter that somebody took for a fault number must not make an alarm a scan.
func TestCodeThatCountsUp(t *testing.T) {
	for name, between := range map[string][]int{"at once": nil, "with pauses": {0}, "with a fault between": {12, 0}} {
		t.Run(name, func(t *testing.T) {
			p := coded(t, faults())
			for n := range 3600 {
				p.scan("fault_no", 1000+n)
				p.wait(500 * time.Millisecond)
				for _, other := range between {
					p.scan("fault_no", other)
				}
				p.wait(500 * time.Millisecond)
			}
			raised := 0
			for _, x := range p.log {
				if x.Kind == edgeagent.TransitionRaised && strings.HasPrefix(x.Alarm.Code, "FAULT_NO.") {
					raised++
				}
			}
			if raised > 140 || raised < 21 {
				t.Errorf("%d raised in an hour, want some, and at most 20 in ten minutes and a few for all others", raised)
			}
			p.restart()
			p.expect(p.scan("fault_no", 0), "")
			p.wait(30 * time.Second)
			p.scan("fault_no", 0)
			for range 60 {
				p.scan("fault_no", 0)
				p.wait(time.Second)
			}
			if n := len(p.engine.Open()); n != 0 {
				t.Errorf("%d open a minute after the last: %v", n, p.engine.Open())
			}
			for range 600 {
				p.scan("fault_no", 0)
				p.wait(time.Second)
			}
			p.expect(p.scan("fault_no", 77), "raised filler/FAULT_NO.77")
		})
	}
}

func TestCodeRefuses(t *testing.T) {
	c := faults()
	c.Rows[1].Number = 12
	if _, err := New(nil, defs(), Options{Codes: []Code{c}}); err == nil || !strings.Contains(err.Error(), "alarm code filler.fault_no: number 12 has two rows; keep one") {
		t.Errorf("New = %v", err)
	}
	c.Tag = "flow"
	if _, err := New(nil, defs(), Options{Codes: []Code{c}}); err == nil || !strings.Contains(err.Error(), "its tag is a float32") {
		t.Errorf("New = %v", err)
	}
}

// Ten thousand rows are looked up, not searched.
func TestCodeWithManyRows(t *testing.T) {
	c := faults()
	for n := range 10_000 {
		c.Rows = append(c.Rows, Text{Number: int64(1000 + n), Code: fmt.Sprint("G", n)})
	}
	p := coded(t, c)
	p.expect(p.scan("fault_no", 10_999), "raised filler/G9999")
	p.expect(p.scan("fault_no", 1000), "cleared filler/G9999, raised filler/G0")
}
