package commission

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgeagent"
	"edgeagent/plc"
)

// examined runs a doctor in a bubble: the time between the two reads is none.
func examined(t *testing.T, p *plant, d Subject) *Report {
	t.Helper()
	var out *Report
	synctest.Test(t, func(t *testing.T) {
		r, err := Doctor(t.Context(), p.ask, d)
		if err != nil {
			t.Fatal(err)
		}
		out = r
	})
	if len(p.broken) > 0 {
		t.Errorf("asked for what must never be read: %v", p.broken)
	}
	return out
}

func at(m map[int]uint16) *plant {
	return &plant{units: map[uint8]bool{1: true}, registers: areas{3: m}}
}

func TestDoctorFindsTheOrder(t *testing.T) {
	for _, real := range orders {
		for _, configured := range append(orders, "") {
			t.Run(fmt.Sprintf("%s configured %s", real, configured), func(t *testing.T) {
				m := map[int]uint16{}
				var tags []plc.TagSpec
				for i, f := range []float32{21.53, 1013.25, -4.2, 0.731, 50.02} {
					putFloat(m, 100+2*i, f, real)
					tags = append(tags, holding(fmt.Sprintf("t%d", i), 100+2*i, "float32", configured))
				}
				r := examined(t, at(m), Subject{Device: "d", Unit: 1, Tags: tags})
				if want := "order " + string(real) + " at the configured addresses alone explains all 5"; len(r.Conclusions) != 1 || !strings.HasPrefix(r.Conclusions[0], want) {
					t.Errorf("conclusions %q, want %q; ranking %+v", r.Conclusions, want, r.Ranking)
				}
				for _, tag := range r.Tags {
					if tag.Suggest != "" && tag.Suggest != real {
						t.Errorf("%s suggests %s: %s", tag.Tag, tag.Suggest, tag.Verdict)
					}
				}
			})
		}
	}
}

func TestDoctorFindsTheOrderOfASingleValue(t *testing.T) {
	m := map[int]uint16{}
	putFloat(m, 100, 21.5, "CDAB")
	r := examined(t, at(m), Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{holding("temp", 100, "float32", "ABCD")}})
	if tag := r.Tags[0]; tag.Suggest != edgeagent.OrderCDAB || !strings.Contains(tag.Verdict, "CDAB gives 21.5: probably CDAB") {
		t.Errorf("verdict %q", tag.Verdict)
	}
}

// A whole device configured one address too low.
func TestDoctorFindsTheBase(t *testing.T) {
	m := map[int]uint16{100: 3, 111: 7}
	var tags []plc.TagSpec
	for i, f := range []float32{21.53, 1013.25, -4.2, 0.731, 50.02} {
		putFloat(m, 101+2*i, f, "ABCD")
		tags = append(tags, holding(fmt.Sprintf("t%d", i), 100+2*i, "float32", "ABCD"))
	}
	r := examined(t, at(m), Subject{Device: "d", Unit: 1, Tags: tags})
	if len(r.Conclusions) != 1 || !strings.Contains(r.Conclusions[0], "order ABCD one address further") {
		t.Errorf("conclusions %q; ranking %+v", r.Conclusions, r.Ranking)
	}
	for _, tag := range r.Tags {
		if tag.Suggest != "" {
			t.Errorf("%s suggests %s: %s", tag.Tag, tag.Suggest, tag.Verdict)
		}
	}
}

func limits(t plc.TagSpec, low, high float64) plc.TagSpec {
	t.Min, t.Max = &low, &high
	return t
}

func TestDoctorConcludesNoMoreThanTheValuesBear(t *testing.T) {
	cases := []struct {
		name string
		fill func(m map[int]uint16)
		tag  plc.TagSpec
		want string // in the verdict
	}{
		{"zero", func(m map[int]uint16) { putFloat(m, 100, 0, "ABCD") }, holding("z", 100, "float32", "CDAB"), "decides nothing"},
		// 0x41A041A0: the words are equal.
		{"equal words", func(m map[int]uint16) { put(m, 100, 0x41A041A0, "ABCD") }, holding("e", 100, "float32", "ABCD"), "does not tell them apart"},
		{"two rivals", func(m map[int]uint16) { putFloat(m, 100, 21.53, "BADC") }, holding("r", 100, "float32", "ABCD"), "equally plausible: nothing is concluded"},
		{"an integer without limits", func(m map[int]uint16) { put(m, 100, 21, "CDAB") }, holding("i", 100, "int32", "ABCD"), "decides nothing"},
		{"an integer with limits", func(m map[int]uint16) { put(m, 100, 21, "CDAB") }, limits(holding("i", 100, "int32", "ABCD"), 0, 100), "probably CDAB"},
		{"a float next to zero is not within its limits", func(m map[int]uint16) { putFloat(m, 100, 21.5, "CDAB") },
			limits(holding("f", 100, "float32", "ABCD"), 0, 100), "CDAB gives 21.5: probably CDAB"},
		{"a float over its range", func(m map[int]uint16) { putFloat(m, 100, 101.7, "ABCD") }, limits(holding("f", 100, "float32", "ABCD"), 0, 100), "may be over-range"},
		{"a register over its range", func(m map[int]uint16) { m[100] = 30_000 }, limits(holding("w", 100, "uint16", "ABCD"), 0, 27_648), "may be over-range"},
		{"an integer far outside", func(m map[int]uint16) { put(m, 100, 5, "CDAB") }, limits(holding("i", 100, "uint32", "ABCD"), 0, 10), "probably CDAB"},
		{"no BCD", func(m map[int]uint16) { put(m, 100, 0x1234ABCD, "ABCD") }, holding("b", 100, "bcd32", "ABCD"), "makes sense"},
		{"off by one or swapped", func(m map[int]uint16) { m[100] = 1; m[101] = 0x41AC; m[102] = 0x3D71 }, holding("o", 100, "float32", "ABCD"),
			"CDAB gives 21.5, but off by one holding:101 ABCD gives 21.53"},
		{"a bit", func(m map[int]uint16) { m[100] = 8 }, bit(3), "a bit cannot be judged"},
		{"not a number", func(m map[int]uint16) { put(m, 100, 0xFFFFFFFF, "ABCD") }, holding("n", 100, "float32", "ABCD"), "another type, another address"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := map[int]uint16{}
			c.fill(m)
			r := examined(t, at(m), Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{c.tag}})
			tag := r.Tags[0]
			if !strings.Contains(tag.Verdict, c.want) {
				t.Errorf("verdict %q, want %q", tag.Verdict, c.want)
			}
			if suggests := strings.Contains(c.want, "probably"); suggests != (tag.Suggest != "") {
				t.Errorf("suggests %q: %s", tag.Suggest, tag.Verdict)
			}
		})
	}
}

// Tags of one device may have different orders: then no single one explains
// them, and where each makes sense as it is configured none is put in its place.
func TestDoctorBelievesTagsOfDifferentOrders(t *testing.T) {
	values := []struct {
		f     float32
		order edgeagent.ByteOrder
	}{{12.5, "ABCD"}, {-3.25, "CDAB"}, {21.53, "ABCD"}, {1013.25, "CDAB"}}
	for n := 2; n <= len(values); n++ {
		m := map[int]uint16{}
		var tags []plc.TagSpec
		for i, v := range values[:n] {
			putFloat(m, 100+2*i, v.f, v.order)
			tags = append(tags, holding(fmt.Sprintf("t%d", i), 100+2*i, "float32", v.order))
		}
		m[99], m[100+2*n] = 0, 0
		r := examined(t, at(m), Subject{Device: "d", Unit: 1, Tags: tags})
		if said := strings.Join(r.Conclusions, "\n"); !strings.Contains(said, "each tag's own order as configured") {
			t.Errorf("%d tags: %s", n, said)
		}
	}
}

func bit(n int) plc.TagSpec {
	t := holding("flag", 100, edgeagent.TypeBool, "")
	t.Addr.Bit = n
	return t
}

// A counter whose words are swapped leaps by 65536 with every step.
func TestDoctorReadsTwice(t *testing.T) {
	m := map[int]uint16{}
	put(m, 100, 70_000, "CDAB")
	p := at(m)
	n := uint32(70_000)
	p.after = func(*plant) { n += 3; put(m, 100, n, "CDAB") }
	r := examined(t, p, Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{holding("count", 100, "uint32", "ABCD")}})
	if r.Tags[0].Suggest != edgeagent.OrderCDAB {
		t.Errorf("verdict %q, readings %+v", r.Tags[0].Verdict, r.Tags[0].Readings)
	}
}

func TestDoctorShowsFrames(t *testing.T) {
	m := run(100, 101)
	var before []Exchange
	p := at(m)
	d := Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{holding("a", 100, "uint16", "")}}
	d.Sending = func(e Exchange) {
		before = append(before, e)
		if len(before) != len(p.asked)+1 {
			t.Errorf("%s was shown after it was sent", e.Sent)
		}
	}
	r := examined(t, p, d)
	if len(before) != len(p.asked) || before[0].Sent != ".. .. 00 00 00 06 01 03 00 64 00 01" {
		t.Errorf("shown %+v, asked %v", before, p.asked)
	}
	if got := r.Tags[0].Exchanges[0].Heard; got != ".. .. 00 00 00 05 01 03 02 00 64" {
		t.Errorf("heard %s", got)
	}
	if got := r.Tags[0].Exchanges[1].Heard; got != ".. .. 00 00 00 03 01 83 02" {
		t.Errorf("heard %s for the exception of holding:99", got)
	}
}

// The checksum of the Modbus specification's own example.
func TestSerialFrame(t *testing.T) {
	r := plc.Request{Area: 3, Offset: 0, Quantity: 10}
	if got := frame(1, r, true); got != "01 03 00 00 00 0A C5 CD" {
		t.Errorf("frame %s", got)
	}
}

func TestDoctorTriesOtherUnits(t *testing.T) {
	cases := []struct {
		name   string
		serial bool
		there  uint8
		want   string
	}{
		{"255 behind a gateway", false, 255, "1 false, 255 true, 0 false"},
		{"none", false, 99, "1 false, 255 false, 0 false"},
		{"a serial line has neither 0 nor 255", true, 1, "1 true"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := &plant{units: map[uint8]bool{c.there: true}, registers: areas{3: run(0, 9)}}
			r := examined(t, p, Subject{Device: "d", Unit: 17, Serial: c.serial, Tags: []plc.TagSpec{holding("a", 0, "uint16", "")}})
			var got []string
			for _, u := range r.Units {
				got = append(got, fmt.Sprintf("%d %v", u.Unit, u.Answers))
			}
			if strings.Join(got, ", ") != c.want || r.UnitAnswers || len(r.Tags) != 0 {
				t.Errorf("units %q, answers %v, %d tags; want %q", got, r.UnitAnswers, len(r.Tags), c.want)
			}
		})
	}
}

func TestDoctorExplainsARefusal(t *testing.T) {
	p := &plant{units: map[uint8]bool{1: true}, registers: areas{3: run(101, 101), 4: run(100, 100)}}
	r := examined(t, p, Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{holding("a", 100, "uint16", "")}})
	v := r.Tags[0].Verdict
	for _, want := range []string{"exception 2", "holding:101 can be read: off by one?", "input:100 can be read: was that meant?"} {
		if !strings.Contains(v, want) {
			t.Errorf("verdict %q lacks %q", v, want)
		}
	}
}

func TestDoctorHonoursNeverRead(t *testing.T) {
	never := []plc.AddressRange{{Area: 3, From: 99, To: 99}, {Area: 3, From: 200, To: 219}}
	p := at(run(0, 400))
	p.never = never
	tags := []plc.TagSpec{holding("first", 205, "uint16", ""), holding("near", 100, "uint16", ""), holding("edge", 0, "uint16", "")}
	r := examined(t, p, Subject{Device: "d", Unit: 1, Tags: tags, NeverRead: never})
	if !strings.Contains(r.Tags[0].Verdict, "never_read") || len(r.Tags[0].Exchanges) != 0 {
		t.Errorf("tag in a never_read range: %+v", r.Tags[0])
	}
	if len(r.Tags[1].Exchanges) != 3 { // twice itself, once the neighbour above
		t.Errorf("exchanges %+v", r.Tags[1].Exchanges)
	}
}

func TestDoctorWithoutAConnection(t *testing.T) {
	for name, cause := range map[string]error{
		"unreachable": fmt.Errorf("dial: %w", plc.ErrUnreachable),
		"refused":     fmt.Errorf("tls: %w", plc.ErrRefused),
		"maintenance": fmt.Errorf("device d: %w", edgeagent.ErrConflict),
	} {
		t.Run(name, func(t *testing.T) {
			p := &plant{err: cause}
			r := examined(t, p, Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{holding("a", 0, "uint16", "")}})
			if r.Reachable || len(p.asked) != 1 || r.Reach == "" {
				t.Errorf("report %+v after %d requests", r, len(p.asked))
			}
		})
	}
}

// A device that takes its time is bounded by the context; what was found until
// then is in the report.
func TestDoctorIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		slow := func(ctx context.Context, _ uint8, r plc.Request) ([]byte, error) {
			if err := wait(ctx, time.Second); err != nil {
				return nil, err
			}
			return make([]byte, payload(r)), nil
		}
		tags := []plc.TagSpec{holding("a", 10, "uint16", ""), holding("b", 20, "uint16", "")}
		r, err := Doctor(ctx, slow, Subject{Device: "d", Unit: 1, Tags: tags})
		if !errors.Is(err, context.DeadlineExceeded) || r == nil || len(r.Tags) != 2 || len(r.Tags[0].Readings) == 0 {
			t.Fatalf("report %+v, error %v", r, err)
		}
		if !strings.Contains(r.Tags[1].Verdict, "not asked") {
			t.Errorf("verdict of the second tag %q", r.Tags[1].Verdict)
		}
	})
}

func TestDoctorJudgesTexts(t *testing.T) {
	cases := []struct{ text, want string }{
		{"Filler 2", "plausible as configured"},
		{"iFllre 2", "would make more sense: nothing is concluded"},
		{"pH value", "nothing is concluded"},
		{"", "decides nothing"},
		{"\x01\x02\x1b[31m", "no order"},
	}
	for _, c := range cases {
		t.Run(c.text, func(t *testing.T) {
			m := map[int]uint16{}
			for i := range 8 {
				b := []byte{0, 0}
				copy(b, c.text[min(2*i, len(c.text)):])
				m[100+i] = uint16(b[0])<<8 | uint16(b[1])
			}
			tag := holding("name", 100, edgeagent.TypeString, "")
			tag.Length = 8
			r := examined(t, at(m), Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{tag}})
			if !strings.Contains(r.Tags[0].Verdict, c.want) {
				t.Errorf("verdict %q, want %q", r.Tags[0].Verdict, c.want)
			}
		})
	}
}

func TestReportIsPrintedAndJSON(t *testing.T) {
	m := map[int]uint16{}
	putFloat(m, 100, 21.5, "CDAB")
	for i, c := range []uint16{0x1b5b, 0x3331, 0x6d20} {
		m[200+i] = c
	}
	text := holding("name", 200, edgeagent.TypeString, "")
	text.Length = 3
	r := examined(t, at(m), Subject{Device: "filler", Unit: 1, Tags: []plc.TagSpec{holding("temp", 100, "float32", "ABCD"), text}})
	var b bytes.Buffer
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"filler: unit 1 answers", "holding:100 = 40101 = wire 0x0064", "probably CDAB", "> .. .. 00 00 00 06 01 03 00 64 00 02"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, b.String())
		}
	}
	if strings.ContainsRune(b.String(), 0x1b) {
		t.Error("an escape of the device reached the terminal")
	}
	data, err := json.Marshal(r)
	if err != nil || !bytes.Contains(data, []byte(`"suggest":"CDAB"`)) || bytes.Contains(data, []byte("null,")) || bytes.Contains(data, []byte(":null}")) {
		t.Errorf("%s, %v", data, err)
	}
}

// A hostile device: whatever it answers, there is a report and no panic.
func FuzzDoctor(f *testing.F) {
	f.Add([]byte{0x41, 0xac, 0, 0}, uint8(8), 2, true)
	f.Add([]byte{}, uint8(16), 0, false)
	f.Fuzz(func(t *testing.T, data []byte, typ uint8, length int, refuse bool) {
		spec := holding("t", 100, edgeagent.DataTypes[int(typ)%len(edgeagent.DataTypes)], "CDAB")
		spec.Length = length
		ask := func(_ context.Context, _ uint8, r plc.Request) ([]byte, error) {
			if refuse && r.Offset != 100 {
				return nil, &plc.Exception{Function: 3, Code: uint8(len(data))}
			}
			return append([]byte(nil), data...), nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := Doctor(ctx, ask, Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{spec}, Again: time.Nanosecond})
		if r == nil {
			t.Fatalf("no report, %v", err)
		}
		if err := r.Print(&bytes.Buffer{}); err != nil {
			t.Error(err)
		}
	})
}

// What the configured order gives is not ruled out by being open: another order
// that happens to look like something proves nothing against it.
func TestDoctorDoesNotConcludeAgainstWhatIsOpen(t *testing.T) {
	later := func(m map[int]uint16, first, then uint32) *plant {
		put(m, 100, first, "ABCD")
		p := at(m)
		p.after = func(p *plant) {
			if len(p.asked) > 3 { // the unit was found, the tag and its neighbours read once
				put(m, 100, then, "ABCD")
			}
		}
		return p
	}
	cases := []struct {
		name string
		from *plant
		tag  plc.TagSpec
	}{
		// In BADC it counts by one.
		{"a counter that moved by 256", later(map[int]uint16{}, 0x01020304, 0x01020404), holding("count", 100, "uint32", "ABCD")},
		// 105.13 °C; its words swapped it is 12.51, and stays.
		{"a float over its range", later(map[int]uint16{}, 0x42D24148, 0x42D24148), limits(holding("temp", 100, "float32", "ABCD"), 0, 100)},
		// One address further and its words swapped it is 7 as well, and read once.
		{"one whose limits are too narrow", later(map[int]uint16{102: 0}, 7, 28), limits(holding("count", 100, "int32", "ABCD"), 0, 10)},
		{"one over its range that drifts", later(map[int]uint16{}, 0x42D24148, 0x42D24149), limits(holding("temp", 100, "float32", "ABCD"), 0, 100)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := examined(t, c.from, Subject{Device: "d", Unit: 1, Tags: []plc.TagSpec{c.tag}})
			if said := strings.Join(r.Conclusions, "\n"); strings.Contains(said, "alone explains") || r.Tags[0].Suggest != "" {
				t.Errorf("%q, suggests %q: %s", said, r.Tags[0].Suggest, r.Tags[0].Verdict)
			}
		})
	}
}
