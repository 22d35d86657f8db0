package exports

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"edgeagent"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func read(t *testing.T, format, text string, o Options) *Result {
	t.Helper()
	r, err := Read(format, "export", strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shown is everything a reader of the output sees.
func shown(t *testing.T, r *Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteTags(&b); err != nil {
		t.Fatal(err)
	}
	for _, tag := range r.TextTags() {
		fmt.Fprintf(&b, "\n== texts of %s\n", tag)
		if err := r.WriteTexts(&b, tag); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.Alarms) > 0 {
		b.WriteString("\n== alarms\n")
		if err := r.WriteAlarms(&b); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString("\n== skipped\n")
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "%d: %s: %s\n", s.Line, s.What, s.Why)
	}
	b.WriteString("\n== notes\n")
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "%s\n", n)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	cases := []struct {
		file, format string
		options      Options
	}{
		{"kepware.csv", "kepware", Options{}},
		{"ignition.json", "ignition", Options{}},
		{"ignition7.csv", "ignition", Options{Order: "ABCD"}},
		{"project.L5X", "l5x", Options{Node: l5xNode}},
		{"tia-tags.xlsx", "tia-tags", Options{}},
		{"tia-hmi-tags.xlsx", "tia-tags", Options{}},
		{"tia-tags.sdf", "tia-tags", Options{}},
		{"tia-alarms.xlsx", "tia-alarms", Options{}},
		{"tia-alarms.csv", "tia-alarms", Options{}},
	}
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Read(c.format, c.file, bytes.NewReader(data), c.options)
			if err != nil {
				t.Fatal(err)
			}
			sound(t, r)
			golden := filepath.Join("testdata", c.file+".golden")
			got := shown(t, r)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

var (
	tagName   = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	alarmCode = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}$`)
)

// sound checks what holds of every result, whatever was read.
func sound(t *testing.T, r *Result) {
	t.Helper()
	names := map[string]bool{}
	for _, tag := range r.Tags {
		if !tagName.MatchString(tag.Name) || reserved[tag.Name] || names[tag.Name] {
			t.Errorf("line %d: name %q is refused, reserved or taken", tag.Line, tag.Name)
		}
		names[tag.Name] = true
		if why := tag.check(); why != "" {
			t.Errorf("line %d: %s cannot be read: %s", tag.Line, tag.Name, why)
		}
		if !slices.Contains(edgeagent.DataTypes, tag.Type) {
			t.Errorf("line %d: type %q", tag.Line, tag.Type)
		}
	}
	for tag, texts := range r.Texts {
		for _, text := range texts {
			if !alarmCode.MatchString(text.Code) || text.Number < 0 && text.Key == KeyBit {
				t.Errorf("texts of %s, line %d: code %q, number %d", tag, text.Line, text.Code, text.Number)
			}
		}
	}
	for _, a := range r.Alarms {
		if !alarmCode.MatchString(a.Code) || a.When == "" {
			t.Errorf("alarm, line %d: code %q, when %q", a.Line, a.Code, a.When)
		}
	}
	for _, s := range r.Skipped {
		if s.Why == "" || s.Line < 0 {
			t.Errorf("skip %+v says too little", s)
		}
	}
}

func TestReadRefusesALanguageThatNoColumnCanHave(t *testing.T) {
	for _, language := range []string{"english", "EN", "e", "e1", "de-DE"} {
		if _, err := Read("kepware", "f", strings.NewReader(kepware("a,400001,Word,RO")), Options{Language: language}); err == nil {
			t.Errorf("language %q was taken", language)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	long := strings.Repeat("x", 1<<20+1)
	cases := []struct{ name, format, text, want string }{
		{"an unknown format", "excel", "x", "unknown format"},
		{"nothing", "kepware", "\n \n", "is empty"},
		{"too much", "kepware", long, "longer than 1 MiB"},
		{"another file", "kepware", "Name,Path\na,b\n", `"tag name"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := readWithin(1<<20, c.format, "f.csv", strings.NewReader(c.text), Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

const german = "Tag Name;Address;Data Type;Scaling;Raw Low;Raw High;Scaled Low;Scaled High;Eng. Units;Description\r\n" +
	"Öldruck.Istwert;400001;Word;Linear;0;27648;0;2,5;µbar;\"Prüfdruck; gemessen\"\r\n"

func TestEncodings(t *testing.T) {
	units := utf16.Encode([]rune(german))
	wide := func(order binary.AppendByteOrder, mark []byte) string {
		out := mark
		for _, u := range units {
			out = order.AppendUint16(out, u)
		}
		return string(out)
	}
	var narrow []byte
	for _, r := range german {
		narrow = append(narrow, byte(r))
	}
	cases := map[string]string{
		"UTF-8":                  german,
		"UTF-8 with a mark":      "\ufeff" + german,
		"UTF-16 LE":              wide(binary.LittleEndian, []byte{0xff, 0xfe}),
		"UTF-16 BE":              wide(binary.BigEndian, []byte{0xfe, 0xff}),
		"UTF-16 without a mark":  wide(binary.LittleEndian, nil),
		"Windows-1252":           string(narrow),
		"tabs":                   strings.ReplaceAll(strings.ReplaceAll(german, "2,5", "2.5"), ";", "\t"),
		"a comment and a title":  "Kanal 1;;\r\n" + german,
		"lines that end with LF": strings.ReplaceAll(german, "\r\n", "\n"),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			r := read(t, "kepware", text, Options{})
			if len(r.Tags) != 1 {
				t.Fatalf("tags %+v, skipped %+v", r.Tags, r.Skipped)
			}
			got := r.Tags[0]
			if got.Name != "oeldruck_istwert" || got.Source != "Öldruck.Istwert" || got.EngUnit != "µbar" || got.Scaling.Eng[1] != 2.5 {
				t.Errorf("tag %+v, scaling %+v", got, got.Scaling)
			}
		})
	}
}

// A spreadsheet that writes 100,5 may mean 27648 by 27.648: a range that is a
// thousand times too small looks right.
func TestNumberThatCanBeReadTwoWaysIsNotTaken(t *testing.T) {
	scaled := func(rawHigh, scaledHigh string) *Result {
		return read(t, "kepware", "Tag Name;Address;Data Type;Scaling;Raw Low;Raw High;Scaled Low;Scaled High\n"+
			"a;400001;Short;Linear;0;"+rawHigh+";0;"+scaledHigh+"\n", Options{})
	}
	if r := scaled("27.648", "100,5"); len(r.Tags) != 0 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Why, `column raw high: "27.648" can be read as two numbers`) {
		t.Errorf("tags %+v, skipped %+v", r.Tags, r.Skipped)
	}
	for _, text := range []string{"27648", "27648,5", "0.125", "27.6"} {
		if r := scaled(text, "100,5"); len(r.Tags) != 1 {
			t.Errorf("%s: skipped %+v", text, r.Skipped)
		}
	}
	if r := scaled("27.648", "100.5"); len(r.Tags) != 1 || r.Tags[0].Scaling.Raw[1] != 27.648 {
		t.Errorf("tags %+v, skipped %+v", r.Tags, r.Skipped)
	}
}

func TestQuotesThatDoNotMatchCostTheirLinesOnly(t *testing.T) {
	text := "Tag Name,Address,Data Type\na,400001,Word\nb \"x\",400002,Word\nc,400003,Word\n\"d,400004,Word\ne,400005,Word\n"
	r := read(t, "kepware", text, Options{})
	if len(r.Tags) != 2 || r.Tags[1].Name != "c" || r.Tags[1].Line != 4 {
		t.Errorf("tags %+v", r.Tags)
	}
	if len(r.Skipped) != 2 || r.Skipped[0].Line != 3 || r.Skipped[1].Line != 5 || !strings.Contains(r.Skipped[1].What, "lines 5 to") {
		t.Errorf("skipped %+v", r.Skipped)
	}
}

// Whoever reads our JSON finds lists, never null.
func TestEmptyLists(t *testing.T) {
	data, err := json.Marshal(read(t, "kepware", kepware("a,400001,Word,RO"), Options{}))
	if err != nil || bytes.Contains(data, []byte("null")) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestNames(t *testing.T) {
	cases := map[string]string{
		"Hydraulic Pressure.PV":         "hydraulic_pressure_pv",
		"1st pump":                      "_1st_pump",
		"rate":                          "rate_value",
		"Füllhöhe":                      "fuellhoehe",
		"_already_fine":                 "_already_fine",
		"  a -- b  ":                    "a_b",
		"ТЕМПЕРАТУРА":                   "",
		strings.Repeat("long name ", 9): "long_name_long_name_long_name_long_name_long_name_long_name_lon",
	}
	for in, want := range cases {
		if got := derive(in); got != want {
			t.Errorf("derive(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNamesStayUnique(t *testing.T) {
	n := namer{}
	long := strings.Repeat("x", maxName)
	got := []string{n.claim("a_2"), n.claim("a"), n.claim("a"), n.claim("a"), n.claim(long), n.claim(long)}
	want := []string{"a_2", "a", "a_3", "a_4", long, long[:maxName-2] + "_2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWrittenTagsAreCSV(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "kepware.csv"))
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, "kepware", string(data), Options{})
	var b bytes.Buffer
	if err := r.WriteTags(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != len(r.Tags)+1 {
		t.Fatalf("%d rows for %d tags, %v", len(rows), len(r.Tags), err)
	}
}

func FuzzRead(f *testing.F) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(filepath.Join("testdata", file.Name())); err == nil && !file.IsDir() {
			for i := range Formats {
				f.Add(i, data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, format int, data []byte) {
		if format < 0 || format >= len(Formats) {
			return
		}
		r, err := Read(Formats[format], "fuzz", bytes.NewReader(data), Options{Node: l5xNode})
		if err != nil {
			return
		}
		sound(t, r)
		shown(t, r)
	})
}
