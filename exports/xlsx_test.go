package exports

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// pack makes a workbook of one sheet out of its parts.
func pack(t *testing.T, rows, texts string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, part := range map[string]string{
		"xl/workbook.xml":            `<workbook xmlns:r="r"><sheets><sheet name="PLC Tags" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="rId1" Target="worksheets/s.xml"/></Relationships>`,
		"xl/worksheets/s.xml":        `<worksheet><sheetData>` + rows + `</sheetData></worksheet>`,
		"xl/sharedStrings.xml":       `<sst>` + texts + `</sst>`,
	} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const sheetHeader = `<row r="1"><c r="A1" t="inlineStr"><is><t>Name</t></is></c><c r="B1" t="str"><v>Data Type</v></c><c t="s"><v>0</v></c></row>`

func TestWorkbook(t *testing.T) {
	const shared = `<si><r><t>Logical </t></r><r><t>Address</t></r><rPh><t>x</t></rPh></si>`
	rows := sheetHeader + `<row><c r="A2" t="str"><v>Pump</v></c><c r="B2" t="str"><v>Bool</v></c></row><row r="7"><c r="A7" t="str"><v>Time</v></c></row>`
	r := read(t, "tia-tags", pack(t, rows, shared), Options{Node: "ns=3;s={tag}"})
	if len(r.Tags) != 1 || r.Tags[0].Address != `ns=3;s="Pump"` || r.Tags[0].Line != 2 {
		t.Errorf("tags %+v", r.Tags)
	}
	if len(r.Skipped) != 1 || r.Skipped[0].Line != 7 {
		t.Errorf("skipped %+v", r.Skipped)
	}
}

func TestHostileWorkbooks(t *testing.T) {
	const shared = `<si><t>Logical Address</t></si>`
	bomb := strings.Repeat("<si><t>"+strings.Repeat("0", 1<<16)+"</t></si>", 20)
	cases := []struct{ name, text, want string }{
		{"a bomb", pack(t, sheetHeader, shared+bomb), "unpacks to more than 1 MiB"},
		{"a bomb of empty cells", pack(t, sheetHeader+strings.Repeat(`<row><c r="SR1"/></row>`, 1000), shared), "unpacks to more than 1 MiB"},
		{"a text that is not there", pack(t, sheetHeader+`<row><c r="A2" t="s"><v>9</v></c></row>`, shared), "of which there are 1"},
		{"a negative text", pack(t, sheetHeader+`<row><c r="A2" t="s"><v>-1</v></c></row>`, shared), "of which there are 1"},
		{"a column far out", pack(t, sheetHeader+`<row><c r="ZZZZ2"><v>1</v></c></row>`, shared), "beyond the 512 columns"},
		{"no reference", pack(t, sheetHeader+`<row><c r="?2"><v>1</v></c></row>`, shared), "beyond the 512 columns"},
		{"a cell without a row", pack(t, `<c r="A1"><v>1</v></c>`, shared), "outside of all rows"},
		{"cut short", pack(t, sheetHeader, shared)[:200], "unpack the workbook"},
		{"another header", pack(t, `<row><c t="str"><v>Name</v></c></row>`, shared), `the sheets are "PLC Tags"`},
		{"broken XML", pack(t, `<row>`, shared), "read xl/worksheets/s.xml"},
		{"no workbook", "PK\x03\x04 nothing", "unpack the workbook"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := readWithin(1<<20, "tia-tags", "f.xlsx", strings.NewReader(c.text), Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestSymbolicNodes(t *testing.T) {
	cases := map[string]string{
		"DB_Alarms.Words[2]":       `"DB_Alarms"."Words"[2]`,
		`"DB 1".x`:                 `"DB 1"."x"`,
		`DB1."a.b"[1,2].c`:         `"DB1"."a.b"[1,2]."c"`,
		"Tag":                      `"Tag"`,
		"DB1.":                     "",
		".x":                       "",
		`"open`:                    "",
		"DB1.a[x]":                 "",
		`"a"b`:                     "",
		"":                         "",
		strings.Repeat("a.", 1000): "",
	}
	for in, want := range cases {
		got, ok := symbolicNode(in)
		if ok != (want != "") || ok && got != want {
			t.Errorf("symbolicNode(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
}

// Two trigger tags that get one name are two words: the texts of one do not
// belong to the bits of the other.
func TestTriggerTagsOfOneNameAreNotMixed(t *testing.T) {
	r := read(t, "tia-alarms", "ID\tName\tAlarm text\tTrigger tag\tTrigger bit\n"+
		"1\tA\ttext\tWord 1\t0\n2\tB\ttext\tWord-1\t1\n3\tC\ttext\tWORD 1\t2\n", Options{})
	if len(r.Texts["word_1"]) != 2 || len(r.Skipped) != 1 || r.Skipped[0].What != "2 B" {
		t.Errorf("texts %+v, skipped %+v", r.Texts, r.Skipped)
	}
}

func TestAlarmCodesAreUniqueAndValid(t *testing.T) {
	var b strings.Builder
	b.WriteString("ID\tName\tAlarm text\tTrigger tag\tTrigger bit\n")
	for i := range 40 {
		fmt.Fprintf(&b, "%d\tStörung Pumpe %d!\ttext\tw%d\t%d\n", i%5, i%20, i/32, i%32)
	}
	r := read(t, "tia-alarms", b.String(), Options{Language: "de"})
	sound(t, r)
	seen := map[string]bool{}
	for _, texts := range r.Texts {
		for _, x := range texts {
			if seen[x.Code] || x.Texts["de"] != "text" {
				t.Errorf("code %s twice, or texts %v", x.Code, x.Texts)
			}
			seen[x.Code] = true
		}
	}
	if len(seen) != 25 || len(r.Skipped) != 15 {
		t.Errorf("%d codes, %d skipped", len(seen), len(r.Skipped))
	}
}
