package exports

import (
	"fmt"
	"strings"
	"testing"

	"edgeagent"
)

func kepware(rows ...string) string {
	return "Tag Name,Address,Data Type,Client Access\n" + strings.Join(rows, "\n") + "\n"
}

func TestKepwareAddresses(t *testing.T) {
	cases := []struct {
		address, typ string
		want         string // zero-based, empty when skipped
		wantType     edgeagent.DataType
	}{
		{"400001", "Word", "holding:0", "uint16"},
		{"40001", "Short", "holding:0", "int16"},
		{"41", "Word", "holding:0", "uint16"},
		{"465536", "Word", "holding:65535", "uint16"},
		{"300101", "Float", "input:100", "float32"},
		{"000017", "Boolean", "coil:16", "bool"},
		{"1127", "Boolean", "discrete:126", "bool"},
		{"H17F", "Boolean", "discrete:126", "bool"},
		{"H410000", "Word", "holding:65535", "uint16"},
		{"400001.15", "Boolean", "holding:0.15", "bool"},
		{"400001.7", "Default", "holding:0.7", "bool"},
		{"400001", "Default", "holding:0", "uint16"},
		{"400001.4H", "Default", "holding:0", "string"},
		{"465535", "Long", "holding:65534", "int32"},
		{"465534", "QWord", "", ""},
		{"465536", "Float", "", ""},
		{"465537", "Word", "", ""},
		{"400001.17", "Boolean", "", ""},
		{"400001.3", "Word", "", ""},
		{"400001", "Boolean", "", ""},
		{"400001", "Char", "", ""},
		{"400001", "String", "", ""},
		{"400001.8H", "Word", "", ""},
		{"400001.242H", "String", "", ""},
		{"000001.1", "Boolean", "", ""},
		{"200001", "Word", "", ""},
		{"4000001", "Word", "", ""},
		{"400001 [4]", "Word", "", ""},
		{"400001[2][3]", "Word", "", ""},
		{"HR1", "Word", "", ""},
		{"", "Word", "", ""},
		{"-400001", "Word", "", ""},
		{"４00001", "Word", "", ""},
	}
	for _, c := range cases {
		t.Run(c.address+" "+c.typ, func(t *testing.T) {
			r := read(t, "kepware", kepware("a,"+c.address+","+c.typ+",RO"), Options{})
			if c.want == "" {
				if len(r.Tags) != 0 || len(r.Skipped) != 1 || r.Skipped[0].Line != 2 {
					t.Fatalf("tags %+v, skipped %+v; want one skip of line 2", r.Tags, r.Skipped)
				}
				return
			}
			if len(r.Tags) != 1 {
				t.Fatalf("skipped %+v", r.Skipped)
			}
			a, err := edgeagent.ParseAddress(r.Tags[0].Address, false)
			if err != nil || a.String() != c.want || r.Tags[0].Type != c.wantType {
				t.Errorf("%s is %v, %s, %v; want %s, %s", r.Tags[0].Address, a, r.Tags[0].Type, err, c.want, c.wantType)
			}
		})
	}
}

// The file itself shows two settings of the device, if it holds an address that
// exists under one of them only.
func TestKepwareSettingsShownByTheFile(t *testing.T) {
	cases := []struct {
		name string
		rows []string
		want string // addresses, zero-based
	}{
		{"item 0: zero-based", []string{"a,400000,Word,RO", "b,400001,Word,RO"}, "holding:0 holding:1"},
		{"item 65536: one-based", []string{"a,465536,Word,RO", "b,400001,Word,RO"}, "holding:65535 holding:0"},
		{"item 0 that is only written", []string{"a,400000,Word,WO", "b,400001,Word,RO"}, "holding:1"},
		{"item 0 of an array", []string{"a,400000 [10],Word Array,RO", "b,400001,Word,RO"}, "holding:1"},
		{"both: nothing", []string{"a,465536,Word,RO", "b,400000,Word,RO"}, ""},
		{"bit 16: one-based bits", []string{"a,400001.16,Boolean,RO", "b,400001.1,Boolean,RO"}, "holding:0.15 holding:0.0"},
		{"bit 0: zero-based bits", []string{"a,400001.0,Boolean,RO", "b,400001.1,Boolean,RO"}, "holding:0.0 holding:0.1"},
		{"bits 0 and 16: no bit", []string{"a,400001.0,Boolean,RO", "b,400001.16,Boolean,RO", "c,400001,Word,RO"}, "holding:0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := read(t, "kepware", kepware(c.rows...), Options{})
			var got []string
			for _, tag := range r.Tags {
				a, err := edgeagent.ParseAddress(tag.Address, false)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, a.String())
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
			if len(r.Tags)+len(r.Skipped) != len(c.rows) {
				t.Errorf("%d tags and %d skips of %d rows", len(r.Tags), len(r.Skipped), len(c.rows))
			}
		})
	}
}

func TestKepwareOrder(t *testing.T) {
	text := kepware("f,400001,Float,RO", "w,400003,Word,RO", "b,400004.1,Boolean,RO", "c,000001,Boolean,RO", "l,400005.4L,String,RO")
	cases := map[edgeagent.ByteOrder]string{
		"":     "CDAB    BADC",
		"ABCD": "ABCD    BADC",
		"DCBA": "DCBA DCBA DCBA  BADC",
	}
	for order, want := range cases {
		r := read(t, "kepware", text, Options{Order: order})
		var got []string
		for _, tag := range r.Tags {
			got = append(got, string(tag.Order))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("order %q: got %q, want %q", order, strings.Join(got, " "), want)
		}
		noted := strings.Contains(strings.Join(r.Notes, "\n"), "--order")
		if noted != (order == "") {
			t.Errorf("order %q: notes %v", order, r.Notes)
		}
	}
}

func TestHundredThousandRows(t *testing.T) {
	var b strings.Builder
	b.WriteString("Tag Name,Address,Data Type\n")
	for i := range 100_000 {
		fmt.Fprintf(&b, "Line.Tag %d,4%05d,Word\n", i%50_000, i%65_536+1)
	}
	r := read(t, "kepware", b.String(), Options{})
	if len(r.Tags) != 100_000 || len(r.Skipped) != 0 {
		t.Errorf("%d tags, %d skipped", len(r.Tags), len(r.Skipped))
	}
	sound(t, r)
}
